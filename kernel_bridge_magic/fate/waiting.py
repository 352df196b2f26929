"""`Waiting`: what is said of a cell that its kernel has not begun. Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Queued


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
