"""Get variables: read the offer that a kernel has made, and fetch what waits there."""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.text import cut_end, some_of
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.refusals import NO_ANSWER, answer_of, is_size, refused_by

#: bytes that come in the answer itself, without another request
INLINE = 256 << 10
_PIECE = 1 << 20  # bytes: larger frames are slower over a WebSocket (FACTS.md#copying-variables)
_UNDER_WAY = 8  # pieces
_TOGETHER = 4  # pieces that one request asks for: every client of the kernel receives two messages for each request
_DIGITS = 10  # of a checksum
_MOST_NAMED = 5
_LONGEST_NOTE = 400  # characters

Progress = Callable[[int, int], object]


class Getting:
    """Variables that are got from one kernel: `expression` asks for them, `receive` reads its value and does the rest.

    The expression may be part of a cell: then the values are as they were in the cell's own turn. With `keeps` the
    kernel keeps them for a minute where they are too large. The error has the token for it, which is `kept` of whoever
    gets them all the same.
    """

    def __init__(
        self,
        wanted: Mapping[str, str],
        most: int,
        *,
        pickles: bool = False,
        folder: str | None = None,
        keeps: bool = False,
        kept: str = "",
    ) -> None:
        self._wanted = dict(wanted)
        order = remote.Order(codec().libraries(), most, INLINE, pickles, folder, keeps)
        self._names = list(dict.fromkeys(wanted.values()))
        self._order = order
        self._token = secrets.token_hex(16)
        self._waits = False  # whether something of it waits there
        #: the user expression
        self.expression = remote.give(self._names, self._token, order, kept)

    def receive(self, content: Mapping[str, Any], exchange: Exchange, progress: Progress) -> dict[str, Copied]:
        """Return the variables by their names here; `content` is the reply to the request with the expression.

        Raises:
            BadVariable: there is no such variable, or it cannot be copied.
            NotCopied: it broke off half way.
        """
        failed = f"could not write {some_of(self._names, _MOST_NAMED)}"
        try:
            answer = answer_of(content, self._order.most, exchange.kernel, failed=failed)
        except BadVariable as problem:
            problem.kept = self._token if self._order.keeps and problem.size else ""
            raise
        if answer.get("dropped"):
            kept = some_of(self._names, _MOST_NAMED)
            raise NotCopied(
                f"{exchange.kernel} has kept {kept} for a minute only", "run it again with a larger --max-size"
            )
        if missing := answer.get("missing"):
            raise self._missing(missing, exchange.kernel)
        sizes = answer.get("sizes")
        self._waits = "data" not in answer
        try:
            whole, crc, checked = self._fetch(answer, _end_of(sizes, self._order.most), exchange, progress)
        finally:
            self._forget(exchange)
        try:
            order = self._order
            values, notes = codec().unpack(memoryview(whole), sizes, crc, order.most, order.pickles, checked)
        except codec().Refused as problem:
            raise refused_by(problem, self._order.most, exchange.kernel) from None
        if set(values) != set(self._names):
            raise NotCopied(NO_ANSWER)
        notes = [note for note in (*notes, *(answer.get("notes") or ())) if isinstance(note, str)]
        note = cut_end(", ".join(dict.fromkeys(notes)), _LONGEST_NOTE)
        weights = answer.get("weights")
        weights = weights if isinstance(weights, dict) else {}
        told = {name: size for name, size in weights.items() if is_size(size)}
        # Two names for one variable here share it, as they would have done there.
        return {here: Copied(here, values[there], told.get(there, 0), note) for here, there in self._wanted.items()}

    def _missing(self, missing: object, kernel: str) -> BadVariable:
        names = [name for name in self._names if isinstance(missing, list) and name in missing]
        if not names:
            raise NotCopied(NO_ANSWER)
        return BadVariable(f"{kernel} has no variable {some_of(names, _MOST_NAMED)}", name=names[0])

    def _fetch(
        self, answer: Mapping[str, Any], size: int, exchange: Exchange, progress: Progress
    ) -> tuple[Any, object, bool]:
        """Return all of it, its checksum if it has one, and whether each piece of it was checked as it came."""
        crc = answer.get("crc")
        if not self._waits:
            try:
                return base64.b64decode(answer["data"], validate=True), crc, False
            except (binascii.Error, TypeError, ValueError):
                raise NotCopied(NO_ANSWER) from None
        if self._order.folder is not None and isinstance(answer.get("place"), list):
            whole = codec().open_shared(answer["place"], size, self._order.folder)
            if whole is not None:
                return whole, crc, False
        pieces = _Pieces(self._token, size, exchange, progress)
        whole = pieces.fetch()
        if crc is None and not pieces.are_checked:
            told = remote.read_text(exchange.ask(remote.checksum(self._token, size)))
            crc = int(told) if told.isdecimal() and len(told) <= _DIGITS else -1
        return whole, crc, pieces.are_checked

    def _forget(self, exchange: Exchange) -> None:
        exchange.close()
        if self._waits:
            self.abandon(exchange)

    def abandon(self, exchange: Exchange) -> None:
        """Have the kernel drop what waits there; where that does not reach it, it does so by itself."""
        if exchange.subshell:
            with contextlib.suppress(NotCopied):
                exchange.ask(remote.drop(self._token))  # the subshell is about to be deleted
        else:
            exchange.leave(remote.drop(self._token))


def _end_of(sizes: object, most: int) -> int:
    """Return how many bytes parts of these sizes have, if that is what a kernel may send.

    Raises:
        NotCopied: it is not.
    """
    if not isinstance(sizes, list) or not all(map(is_size, sizes)):
        raise NotCopied(NO_ANSWER)
    size: int = codec().end_of(sizes)
    if size > most + codec().ALIGNED * len(sizes):
        raise NotCopied(NO_ANSWER)
    return size


class _Pieces:
    """What waits under a token, fetched piece by piece into one buffer, a few of them under way at a time."""

    def __init__(self, token: str, size: int, exchange: Exchange, progress: Progress) -> None:
        self._token, self._size = token, size
        self._exchange, self._progress = exchange, progress
        self._whole = bytearray()
        self._todo = deque(range(0, size, _PIECE))
        # By the `msg_id` of a request: the starts of the pieces that are still to come, and the bytes of all.
        self._asked: dict[str, tuple[set[int], int]] = {}
        self._got: set[int] = set()
        #: whether each piece had a checksum
        self.are_checked = True

    def fetch(self) -> bytearray:
        """Return all of it.

        Raises:
            NotCopied: it broke off.
        """
        while len(self._got) < -(-self._size // _PIECE):
            self._ask()
            message = self._exchange.next()
            if message is None:
                self._go_aside()
            elif message.parent_id in self._asked:
                self._take(message)
                self._progress(min(len(self._got) * _PIECE, self._size), self._size)
        return self._whole

    def _ask(self) -> None:
        together = _TOGETHER if self._exchange.is_binary else 1
        most = _UNDER_WAY if self._exchange.takes_several else 1
        while self._todo and self._under_way + together <= most:
            starts = [self._todo.popleft()]
            while self._todo and len(starts) < together and self._todo[0] == starts[-1] + _PIECE:
                starts.append(self._todo.popleft())
            first, stop = starts[0], min(starts[-1] + _PIECE, self._size)
            if self._exchange.is_binary:
                content = remote.post(self._token, first, stop, _PIECE)
            else:
                content = remote.piece(self._token, first, stop)
            self._asked[self._exchange.send(content)] = set(starts), stop - first

    @property
    def _under_way(self) -> int:
        return sum(len(starts) for starts, _ in self._asked.values())

    def _go_aside(self) -> None:
        for msg_id in self._asked:
            self._exchange.forget(msg_id)
        again = [start for starts, _ in self._asked.values() for start in starts]
        self._todo.extendleft(sorted(again, reverse=True))
        self._asked.clear()
        self._exchange.go_aside()

    def _take(self, message: Message) -> None:
        awaited, size = self._asked[message.parent_id]
        if message.msg_type == remote.DATA:
            start, data = message.content.get("start"), message.buffers[0] if message.buffers else b""
            if message.content.get("crc") != zlib.crc32(data):
                raise NotCopied("a piece was damaged on its way; try again")
        elif not self._exchange.is_binary:
            (start,), data = awaited, _decoded(remote.read_text(message.content))
            self.are_checked = False
        elif remote.read_text(message.content) == str(size):
            return  # the pieces come by another socket
        else:
            raise NotCopied(_dropped(message.content, self._exchange.kernel))
        if type(start) is not int or start not in awaited or len(data) != self._length(start):
            raise NotCopied(_dropped(message.content, self._exchange.kernel))
        # Memory is taken as it comes: a size that is only said costs nothing.
        if len(self._whole) < start:
            self._whole.extend(bytes(start - len(self._whole)))
        self._whole[start : start + len(data)] = data
        self._got.add(start)
        awaited.discard(start)
        if not awaited:
            del self._asked[message.parent_id]
            self._exchange.forget(message.parent_id)

    def _length(self, start: int) -> int:
        return min(_PIECE, self._size - start)


def _dropped(content: Mapping[str, Any], kernel: str) -> str:
    why = remote.problem(content)
    return f"{kernel} failed ({why})" if why else f"{kernel} no longer has what was to be fetched; try again"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
