"""Why nothing comes of a cell, and what people are told of that. Pure.

`Waiting`: its kernel has not begun it. `Heart`: the kernel does not answer. `Outage`: the link is down.
"""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Event, Note, Queued

MISSED_BEATS = 2  # one may be missed by a machine that swaps for a moment


class Waiting:
    """What one cell waits for, and what people were told of that. `now` is seconds on a monotonic clock."""

    def __init__(self, now: float) -> None:
        #: what people were told that the cell waits for, None before
        self.told: Queued | None = None
        self._sent = now
        self._ahead, self._ahead_since = Queued(), now

    def wait_for(self, ahead: Queued, now: float) -> None:
        """Record what the kernel does first, as far as that is known."""
        if ahead != self._ahead:
            self._ahead, self._ahead_since = ahead, now

    def tick(self, now: float, *, free: bool) -> Queued | None:
        """Return what is to be said of it now. `free`: the kernel was heard to have nothing to run."""
        bounds = timing.current
        if self._ahead == self.told:
            return None
        if self.told is None:
            is_due = now - self._sent >= (bounds.queued_after_free if free else bounds.queued_after)
        else:
            is_due = now - self._ahead_since >= bounds.queued_after  # what is over at once is not worth a line
        if not is_due:
            return None
        self.told = self._ahead
        return self.told


class Heart:
    """The questions to its heartbeat, and to its Python, that a kernel did not answer (R5).

    Each note is returned once, and again after an answer.
    """

    def __init__(self) -> None:
        self._missed_beats = 0
        self._missed_greetings = 0
        self._told_stopped = False
        self._told_native = False

    def receive(self, beats: bool | None, greets: bool | None = None) -> None:
        """Record whether it beats, None where nobody can ask, and whether its Python runs, None where not known."""
        self._missed_greetings = self._missed_greetings + 1 if beats and greets is False else 0
        self._told_native = self._told_native and not greets
        self._missed_beats = self._missed_beats + 1 if beats is False else 0
        self._told_stopped = self._told_stopped and not beats

    def note(self) -> Note | None:
        """Return what is to be said now."""
        if self._missed_beats >= MISSED_BEATS and not self._told_stopped:
            self._told_stopped = True
            return Note("it does not answer (suspended or swapping?); still waiting")
        if self._missed_greetings >= MISSED_BEATS and not self._told_native:
            self._told_native = True
            return Note("its process lives, but its Python does not answer (busy in native code?); still waiting")
        return None


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
