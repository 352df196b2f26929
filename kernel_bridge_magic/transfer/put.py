"""Put variables: write them here, hand them over, and have them bound there in one step."""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kernel_bridge_magic.errors import NotCopied
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.get import INLINE, Progress
from kernel_bridge_magic.transfer.refusals import NO_ANSWER, answer_of, refused_by

#: bytes of a piece, in buffers and as text in the request: a server takes no message above 10 MiB
_PIECE, _TEXT_PIECE = 4 << 20, 512 << 10
_UNDER_WAY, _TEXTS_UNDER_WAY = 4, 8  # pieces


class Outgoing:
    """Variables of this process that go to one kernel or to several. Each form of them is made once.

    `most` is how many bytes they may have, `pickles` whether what no format knows is pickled. Safe to use from several
    threads.
    """

    def __init__(self, values: Mapping[str, Any], most: int, *, pickles: bool = False) -> None:
        self.values = dict(values)
        self.most = most
        self.pickles = pickles
        self._lock = threading.Lock()
        self._parcels: dict[frozenset[tuple[str, str]], Any] = {}
        self._forms: dict[tuple[int, str], Any] = {}

    def parcel(self, has: Mapping[str, str]) -> Any:
        """Return the variables as they are written for a side that has these libraries.

        Raises:
            BadVariable: one of them cannot be copied.
        """
        key = frozenset(has.items())
        with self._lock:
            if key not in self._parcels:
                with self._refused_here():
                    self._parcels[key] = codec().pack(self.values, has, self.most, self.pickles)
            return self._parcels[key]

    def keep(self) -> None:
        """Copy the values, so that nothing that happens to them from now on changes what is sent.

        Raises:
            BadVariable: one of them cannot be copied.
        """
        parcel = self.parcel(codec().libraries())
        with self._refused_here():
            whole = memoryview(parcel.to_bytes())
            self.values, _ = codec().unpack(whole, parcel.sizes, parcel.crc, 2**62, self.pickles)
        self.release()

    def form(self, parcel: Any, name: str, make: Callable[[], Any]) -> Any:
        """Return a form of a parcel, such as its bytes, which `make` makes when it is wanted first.

        Raises:
            BadVariable: a value has changed since it was looked at.
        """
        with self._lock:
            key = (id(parcel), name)
            if key not in self._forms:
                with self._refused_here():
                    self._forms[key] = make()
            return self._forms[key]

    @contextlib.contextmanager
    def _refused_here(self) -> Iterator[None]:
        try:
            yield
        except codec().Refused as problem:
            raise refused_by(problem, self.most) from None

    def release(self) -> None:
        """Free what was made. It is made anew where it is wanted once more."""
        with self._lock:
            for form in self._forms.values():
                if hasattr(form, "close"):
                    form.close()
            self._forms.clear()
            self._parcels.clear()


def put(outgoing: Outgoing, exchange: Exchange, folder: str | None, progress: Progress) -> dict[str, Copied]:
    """Bind variables in the kernel, all or nothing; return them by their names there.

    Raises:
        BadVariable: one of them cannot be copied, here or there.
        NotCopied: it broke off; nothing was bound, unless the answer of the last request was lost.
    """
    try:
        return _Putting(outgoing, exchange, folder, progress).put()
    finally:
        exchange.close()


class _Putting:
    def __init__(self, outgoing: Outgoing, exchange: Exchange, folder: str | None, progress: Progress) -> None:
        self._outgoing, self._exchange = outgoing, exchange
        self._folder, self._progress = folder, progress
        self._token = secrets.token_hex(16)
        self._order = remote.Order({}, outgoing.most, INLINE, outgoing.pickles, folder)

    def put(self) -> dict[str, Copied]:
        answer = self._ask(remote.tell())
        has = answer.get("has")
        has = {str(name): str(version) for name, version in has.items()} if isinstance(has, dict) else {}
        parcel = self._outgoing.parcel(has)
        answer = self._hand_over(parcel)
        replaced, notes = answer.get("replaced"), answer.get("notes")
        if not isinstance(replaced, list) or not isinstance(notes, list):
            raise NotCopied(NO_ANSWER)
        note = ", ".join(dict.fromkeys(note for note in (*parcel.notes, *notes) if isinstance(note, str)))
        return {
            name: Copied(name, value, parcel.weights[name], note, name in replaced)
            for name, value in self._outgoing.values.items()
        }

    def _hand_over(self, parcel: Any) -> dict[str, Any]:
        if parcel.size > INLINE and self._folder is not None:
            answer = self._bind_file(parcel)
            if "unreachable" not in answer:
                return answer
        counts = parcel.size <= INLINE or codec().may_change()  # each piece has a checksum of its own
        data = self._outgoing.form(parcel, "bytes", partial(parcel.to_bytes, counts))
        if parcel.size <= INLINE:
            return self._bind(parcel, parcel.crc, data=base64.b64encode(data).decode())
        try:
            self._send(data)
            return self._bind(parcel, parcel.crc)
        except BaseException:
            self._exchange.leave(remote.drop(self._token))
            raise

    def _bind_file(self, parcel: Any) -> dict[str, Any]:
        def share() -> Any:
            return codec().share(parcel, self._folder)

        try:
            file = self._outgoing.form(parcel, "file", share)
        except OSError:
            return {"unreachable": True}
        return self._bind(parcel, file.crc, place=file.place)

    def _bind(self, parcel: Any, crc: int | None, **where: Any) -> dict[str, Any]:
        return self._ask(remote.bind(self._token, parcel.sizes, crc, self._order, **where))

    def _send(self, data: bytearray) -> None:
        """Send all pieces, a few at a time, and have each confirmed."""
        self._ask(remote.expect(self._token, len(data)))
        exchange, view = self._exchange, memoryview(data)
        binary = exchange.is_binary
        piece, most = (_PIECE, _UNDER_WAY) if binary else (_TEXT_PIECE, _TEXTS_UNDER_WAY)
        most = most if exchange.takes_several else 1
        todo, done = deque(range(0, len(data), piece)), 0
        under_way: set[str] = set()
        while todo or under_way:
            while todo and len(under_way) < most:
                start = todo.popleft()
                part = view[start : start + piece]
                text = "" if binary else base64.b64encode(part).decode()
                content = remote.fill(self._token, start, zlib.crc32(part), text)
                under_way.add(exchange.send(content, [part] if binary else ()))
            message = exchange.next()
            if message is None or message.parent_id not in under_way or message.channel != "shell":
                continue
            if remote.read_text(message.content) != "1":
                raise NotCopied(f"{exchange.kernel} no longer takes what was sent; try again")
            under_way.discard(message.parent_id)
            exchange.forget(message.parent_id)
            done += piece
            self._progress(min(done, len(data)), len(data))

    def _ask(self, content: dict[str, Any]) -> dict[str, Any]:
        answer = answer_of(self._exchange.ask(content), self._outgoing.most, self._exchange.kernel)
        if "dropped" in answer:
            raise NotCopied(f"{self._exchange.kernel} no longer has what was sent; try again")
        return answer
