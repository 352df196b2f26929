"""A cell that prints fast is shown in steps that a front end can follow: `Pace`."""

from __future__ import annotations

from kernel_bridge_magic.protocol.events import DisplayData, Event, Started, Stream, Tick

__all__ = ["STEP_SECONDS", "Pace"]

STEP_SECONDS = 0.05  # 20 steps a second
_MOST_HELD = 1 << 20  # characters; more are given at once, for the sake of memory
_MOST_PIECES = 1 << 14


class Pace:
    """Joins printed text, and updates of one display, into at most 20 steps a second.

    The first piece is given at once; what follows within a step waits for its end. Everything else is given at
    once, behind what waits, so that the order stays. Of several updates of one display within a step the last one
    is given: it replaces the others anyway. Times are seconds on any clock that does not go back.
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
        """When to come back with a `Tick` if nothing else comes; None while nothing waits."""
        return self._given_at + STEP_SECONDS if self._held else None

    def take(self, event: Event, now: float) -> list[Event]:
        """Give what is to be shown now that `event` has come."""
        if isinstance(event, Started):
            return [event]  # leaves nothing to see, so nothing to keep in order
        if not isinstance(event, Tick):
            if not _can_wait(event):
                return [*self.flush(now), event]
            self._hold(event)
        if now < self._given_at + STEP_SECONDS and self._size < _MOST_HELD and self._pieces < _MOST_PIECES:
            return []
        return self.flush(now)

    def flush(self, now: float) -> list[Event]:
        """Give all that waits."""
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


def _can_wait(event: Event) -> bool:
    return isinstance(event, Stream) or (isinstance(event, DisplayData) and event.update and event.display_id != "")


def _joined(events: list[Event]) -> Event:
    if len(events) == 1:
        return events[0]
    texts = [event for event in events if isinstance(event, Stream)]
    return Stream(texts[0].name, "".join(event.text for event in texts))
