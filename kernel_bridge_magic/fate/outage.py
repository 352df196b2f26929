"""`Outage`: the times at which one cell's link was down, and what is said of them. Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Event, Note


class Outage:
    """Whether the link broke while a cell was under way, is down, or is back.

    `now` is seconds on a monotonic clock, `clock` the time of day as text.
    """

    def __init__(self) -> None:
        #: the time of day of the first break and of the last return; "" before them
        self.span = ("", "")
        #: the last break and its reason, to be told
        self.words = ""
        self._clock = ""
        self._down_at: float | None = None
        self._back_at: float | None = None
        self._told = False

    @property
    def happened(self) -> bool:
        """Whether the link broke at all."""
        return bool(self.span[0])

    @property
    def is_down(self) -> bool:
        """Whether it is broken now, and being opened again."""
        return self._down_at is not None

    def broke(self, why: str, clock: str, now: float) -> None:
        """Record a break, and why."""
        self._down_at, self._back_at, self._told = now, None, False
        self._clock, self.words = clock, f"link lost at {clock} ({why})"
        self.span = (self.span[0] or clock, "")

    def back(self, seconds: float, clock: str, now: float) -> Note:
        """Record the return, `seconds` after the break; return what to say of it."""
        self._down_at, self._back_at = None, now
        self.span = (self.span[0], clock)
        return Note(f"link lost at {self._clock}, back after {seconds:.1f} s")

    def closed(self) -> None:
        """Record that nobody opens it any more."""
        self._down_at = None

    def settled(self, now: float) -> bool:
        """Return whether it has been back for so long that the server has sent again what it had kept."""
        return self._back_at is not None and now - self._back_at >= timing.current.stragglers

    def tick(self, now: float, patience: float | None = None) -> list[Event]:
        """Return what to say of a link that stays down, once. `patience`: for how many seconds it is tried again."""
        if self._told or self._down_at is None or now - self._down_at < timing.current.tell_link_is_down:
            return []
        self._told = True
        limit = "" if patience is None else f" for {spoken(patience)} (reconnect_timeout)"
        return [Note(f"{self.words}. It is tried again{limit}; Ctrl-C ends the wait")]


def spoken(seconds: float) -> str:
    """Return a length of time as it would be typed: 5 min, 2 h, 90 s."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
