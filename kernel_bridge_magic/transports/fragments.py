"""The messages of a WebSocket, put together from what comes of them. Pure."""

from __future__ import annotations


class Fragments:
    """The message that is coming: its fragments, `largest` bytes of them at most.

    websocket-client adds each fragment to the ones before, 19 s for 200 MB, and knows no end (T23).
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._parts: list[bytes] = []
        self._is_text = False
        #: how many bytes have come of it
        self.size = 0
        #: how many messages have come whole, or will come no more
        self.count = 0

    @property
    def room(self) -> int:
        """How many bytes the next fragment may have."""
        return self._largest - self.size

    @property
    def begun(self) -> bool:
        """Whether something has come of a message, and not all."""
        return bool(self._parts)

    def take(self, data: bytes, *, text: bool | None, last: bool) -> str | bytes | None:
        """Add a fragment, and return the message if this was its last; `text` is None for any but the first."""
        if text is not None:
            self._is_text = text
        self._parts.append(data)
        self.size += len(data)
        if not last:
            return None
        whole = data if len(self._parts) == 1 else b"".join(self._parts)
        self.drop()
        return whole.decode("utf-8", "replace") if self._is_text else whole

    def drop(self) -> None:
        """Forget what has come of the message: nothing more comes of it."""
        self._parts, self.size = [], 0
        self.count += 1
