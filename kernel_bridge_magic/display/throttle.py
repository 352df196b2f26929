"""Limit what a front end must show: `OutputThrottle` in steps a second, `Allowance` by what its server lets through."""

from __future__ import annotations

import operator
from collections import deque

from kernel_bridge_magic.protocol.events import DisplayData, Event, Started, Stream, Tick

STEP_SECONDS = 0.05  # 20 steps a second
_MOST_HELD = 1 << 20  # characters; more are released at once, for the sake of memory
_MOST_PIECES = 1 << 14
#: bytes of a message beside its text: its header, its parent's, a signature
MESSAGE_SIZE = 1000
_WINDOW_SECONDS = 3.1  # a server's `rate_limit_window` is 3 s, and it reads what was sent a moment later
_MOST_MESSAGES = 2600  # a server allows 3000 in that time; widgets send some beside us
_MOST_AT_THE_END = 300


class OutputThrottle:
    """Join printed text, and updates of one display, into at most 20 steps a second.

    The first piece is released at once; what follows within a step waits for its end. Everything else is released at
    once, behind what waits, so that the order stays. Of several updates of one display within a step only the last one
    is released, since it replaces the others. Times are in seconds on any clock that does not go back.
    """

    def __init__(self) -> None:
        self._held: dict[object, list[Event]] = {}  # by display id or by place, in the order of what came last
        self._last: list[Event] = []  # the value of `_held` that was put there last
        self._size = 0
        self._pieces = 0
        self._places = 0
        self._given_at = float("-inf")

    @property
    def due(self) -> float | None:
        """The time for a `Tick` if nothing else comes; None while nothing waits."""
        return self._given_at + STEP_SECONDS if self._held else None

    def receive(self, event: Event, now: float) -> list[Event]:
        """Handle an event that has come; return what to show now."""
        if isinstance(event, Started):
            return [event]  # leaves nothing to see, so nothing to keep in order
        if not isinstance(event, Tick):
            updates = isinstance(event, DisplayData) and event.update and event.display_id
            if not updates and not isinstance(event, Stream):
                return [*self.flush(now), event]
            self._hold(event)
        if now < self._given_at + STEP_SECONDS and self._size < _MOST_HELD and self._pieces < _MOST_PIECES:
            return []
        return self.flush(now)

    def flush(self, now: float) -> list[Event]:
        """Return all that waits."""
        if not self._held:
            return []
        given = [_joined(events) for events in self._held.values()]
        self._held, self._last, self._size, self._pieces, self._given_at = {}, [], 0, 0, now
        return given

    def _hold(self, event: Event) -> None:
        self._pieces += 1
        if isinstance(event, Stream):
            self._size += len(event.text)
            before = self._last[-1] if self._last else None
            if isinstance(before, Stream) and before.name == event.name:
                self._last.append(event)
                return
            self._places += 1
            key: object = self._places
        else:
            assert isinstance(event, DisplayData)
            key = event.display_id
            self._held.pop(key, None)
        self._last = self._held[key] = [event]


def _joined(events: list[Event]) -> Event:
    if len(events) == 1:
        return events[0]
    texts = [event for event in events if isinstance(event, Stream)]
    return Stream(texts[0].name, "".join(event.text for event in texts))


class Allowance:
    """Count what may still be sent to a notebook now, so that the Jupyter server in between drops none of it.

    A server counts what it got for a browser in the last three seconds: all messages, and the bytes of printed text. It
    drops what is beyond its limit, and goes on until there is a fifth less. So no more than the limit is sent in one
    window. The window is a little longer here, since a server reads later what we send. A part is reserved for the end
    of a cell. A server counts anew when a cell of the notebook has ended, so each cell has an allowance of its own.

    Use it from one thread at a time. Times are in seconds on any clock that does not go back.
    """

    def __init__(self, size: int) -> None:
        """Allow `size` bytes of printed text for one cell; a sixteenth of them is reserved for its end."""
        self._most = (size + size // 20, _MOST_MESSAGES)
        self._back = (size // 16 + size // 100, _MOST_AT_THE_END)
        self._sent: deque[tuple[float, int]] = deque()  # when it leaves the window, and its size
        self._size = 0

    def take(self, size: int, now: float, *, ends: bool = False) -> float:
        """Count a message with `size` bytes of text and return 0 if it may be sent; else return when to ask again.

        With `ends` the reserve may be used.
        """
        while self._sent and self._sent[0][0] <= now:
            self._size -= self._sent.popleft()[1]
        size = size + MESSAGE_SIZE if size else 0
        room, messages = self._most if ends else map(operator.sub, self._most, self._back)
        if self._sent and (self._size + size > room or len(self._sent) >= messages):
            return self._freed(size, room, messages)
        self._sent.append((now + _WINDOW_SECONDS, size))
        self._size += size
        return 0.0

    def _freed(self, size: int, room: int, messages: int) -> float:
        left, count = self._size, len(self._sent)
        for until, sent in self._sent:
            left -= sent
            count -= 1
            if left + size <= room and count < messages:
                return until
        return self._sent[-1][0]
