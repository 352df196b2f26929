"""`Reconnecting`: how often, and when, a link that broke is tried again. Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate.patience import Failure, Retry
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.close_codes import End


class Reconnecting:
    """The tries to open the link of one connection again. `now` is the monotonic clock in seconds.

    `here` is whether the server is a process of this machine, which has ended where nobody listens any more.
    """

    def __init__(self, *, here: bool) -> None:
        self._here = here
        self._retry = Retry(here=here)
        self._back_at: float | None = None
        #: how often the link was opened again
        self.count = 0

    def broke(self, end: End, now: float) -> None:
        """Record that the link broke."""
        if self._back_at is None or now - self._back_at > timing.current.websocket_short_lived:
            self._retry = Retry(once=end.unwanted, here=self._here)
        else:
            # A link that breaks as soon as it is back: each try counts, as if it had failed.
            self._retry.failed(Failure.DENIED if end.unwanted else Failure.OTHER)

    def failed(self, why: Failure) -> None:
        """Record that a try failed."""
        self._retry.failed(why)

    def renewed(self) -> None:
        """Record that the server was started anew: whatever it refused before says nothing."""
        self._retry = Retry(here=self._here)

    def back(self, now: float) -> None:
        """Record that the link is open again."""
        self.count += 1
        self._back_at = now

    def wait(self, chance: float) -> float | None:
        """Return the seconds until the next try, None to give up. `chance` is a random number from 0 to 1."""
        return self._retry.wait(chance)
