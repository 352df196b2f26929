"""Get variables: read the offer that a kernel has made, and fetch what waits there."""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
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
_MOST_NAMED = 5
_LONGEST_NOTE = 400  # characters

Progress = Callable[[int, int], object]


class Getting:
    """Variables that are got from one kernel: `expression` asks for them, `receive` reads its value and does the rest.

    The expression may be part of a cell: then the values are as they were in the cell's own turn.
    """

    def __init__(
        self, wanted: Mapping[str, str], most: int, *, pickles: bool = False, folder: str | None = None
    ) -> None:
        self._wanted = dict(wanted)
        order = remote.Order(codec().libraries(), most, INLINE, pickles, folder)
        self._names = list(dict.fromkeys(wanted.values()))
        self._order = order
        self._token = secrets.token_hex(16)
        self._waits = False  # whether something of it waits there
        #: the user expression
        self.expression = remote.give(self._names, self._token, order)

    def receive(self, content: Mapping[str, Any], exchange: Exchange, progress: Progress) -> dict[str, Copied]:
        """Return the variables by their names here; `content` is the reply to the request with the expression.

        Raises:
            BadVariable: there is no such variable, or it cannot be copied.
            NotCopied: it broke off half way.
        """
        failed = f"could not write {some_of(self._names, _MOST_NAMED)}"
        answer = answer_of(content, self._order.most, exchange.kernel, failed=failed)
        if missing := answer.get("missing"):
            raise self._missing(missing, exchange.kernel)
        sizes, crc = answer.get("sizes"), answer.get("crc")
        self._waits = "data" not in answer
        try:
            whole = self._fetch(answer, _end_of(sizes, self._order.most), exchange, progress)
        finally:
            self._forget(exchange)
        try:
            values, notes = codec().unpack(memoryview(whole), sizes, crc, self._order.most, self._order.pickles)
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
        what = f"{kernel} has no variable {some_of(names, _MOST_NAMED)}"
        return BadVariable(what, name=names[0] if names else "")

    def _fetch(self, answer: Mapping[str, Any], size: int, exchange: Exchange, progress: Progress) -> Any:
        if not self._waits:
            try:
                return base64.b64decode(answer["data"], validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise NotCopied(NO_ANSWER) from None
        if self._order.folder is not None and isinstance(answer.get("place"), list):
            whole = codec().open_shared(answer["place"], size, self._order.folder)
            if whole is not None:
                return whole
        return _Pieces(self._token, size, exchange, progress).fetch()

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
        self._asked: dict[str, int] = {}  # starts by `msg_id`
        self._got: set[int] = set()

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
        while self._todo and len(self._asked) < _UNDER_WAY:
            start = self._todo.popleft()
            stop = min(start + _PIECE, self._size)
            content = remote.piece(self._token, start, stop, post=self._exchange.is_binary)
            self._asked[self._exchange.send(content)] = start

    def _go_aside(self) -> None:
        for msg_id in self._asked:
            self._exchange.forget(msg_id)
        self._todo.extendleft(sorted(set(self._asked.values()) - self._got, reverse=True))
        self._asked.clear()
        self._exchange.go_aside()

    def _take(self, message: Message) -> None:
        start = self._asked[message.parent_id]
        if message.msg_type == remote.DATA:
            data = message.buffers[0] if message.buffers else b""
        elif not self._exchange.is_binary:
            data = _decoded(remote.read_text(message.content))
        elif remote.read_text(message.content) == str(self._length(start)):
            return  # the piece comes by another socket
        else:
            raise NotCopied(_dropped(message.content, self._exchange.kernel))
        if len(data) != self._length(start):
            raise NotCopied(_dropped(message.content, self._exchange.kernel))
        # Memory is taken as it comes: a size that is only said costs nothing.
        if len(self._whole) < start + len(data):
            self._whole.extend(bytes(start + len(data) - len(self._whole)))
        self._whole[start : start + len(data)] = data
        self._got.add(start)
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
