"""The signs that the kernel ends which has a cell, and what is still open about them. Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.life import ANNOUNCED, EndSignal, KernelEnd, since_the_last_cell
from kernel_bridge_magic.fate.verdicts import IN_THE_NEW_KERNEL
from kernel_bridge_magic.protocol.events import Error, Event, Note, Started


class Ending:
    """The signs of an end of the kernel, as one cell meets them.

    `awaited` is the sign of an end behind which no new life was heard when the cell was sent; with `told` people know
    of it. `served`: the kernel has a server. `now` is seconds on a monotonic clock.
    """

    def __init__(
        self, now: float, awaited: EndSignal | None = None, *, told: bool = False, served: bool = True
    ) -> None:
        #: the sign that explains the end best, None while there is none
        self.signal: EndSignal | None = awaited if awaited in ANNOUNCED else None  # it may end this cell as well
        #: the sign of an end before the cell behind which no new life was heard
        self.awaited = awaited
        #: whether the kernel has ended, and not only said that it will
        self.is_certain = False
        #: whether people know of the end, or are told of it by what is said of the cell
        self.is_told = told
        #: whether the server knew the kernel no more while it was open who had shut it down
        self.unknown_to_server = False
        self._server_gone = False
        self._signalled_at = now
        self._served = served

    @property
    def is_announced(self) -> bool:
        """Whether the kernel said goodbye: a client had it shut down or restarted."""
        return self.signal in ANNOUNCED

    @property
    def untold(self) -> EndSignal | None:
        """The sign of an end before the cell that nothing has told of, once the cell is judged."""
        return None if self.is_told else self.awaited

    @property
    def end(self) -> KernelEnd:
        """The end that the signs speak of; with no sign the kernel's process was seen to end."""
        if self.with_server:
            return KernelEnd("was shut down with its server", comes_back=False)
        return (self.signal or EndSignal.LEFT).end

    @property
    def with_server(self) -> bool:
        """Whether the kernel was shut down by its server, which is gone as well."""
        return self.signal is EndSignal.SHUTDOWN and self._server_gone

    def receive(self, signal: EndSignal, now: float) -> None:
        """Record a sign of the kernel's end."""
        # The first cause explains best: "restarted by another client" rather than "new session".
        if self.signal is None or signal is EndSignal.DEAD:
            self.signal, self._signalled_at = signal, now
        self.is_certain = self.is_certain or signal not in ANNOUNCED

    def asks_who(self, now: float) -> bool:
        """Return whether it is open who shut the kernel down: a client by its server, or its server, which ends."""
        recent = now - self._signalled_at < timing.current.server_end
        return self.signal is EndSignal.SHUTDOWN and self._served and recent and not self._server_gone

    def server_says(self, state: str | None) -> None:
        """Record the server's answer while it is open who shut the kernel down: "" for none, None for 404."""
        self._server_gone, self.unknown_to_server = state == "", state is None

    def begin(self) -> list[Event]:
        """Handle the cell's beginning; return a note on an end of the kernel before it that people do not know of."""
        if self.is_certain and self.signal is not None:
            news = f"{self.signal.end.told()} {IN_THE_NEW_KERNEL}"
            self.is_certain, self.signal = False, None
        elif self.awaited is not None and self.awaited not in ANNOUNCED:
            news = since_the_last_cell(self.awaited)
        else:
            return []  # what was announced may end this very cell
        known, self.is_told = self.is_told, True
        return [] if known else [Note(news)]


class HeldInterrupt:
    """A KeyboardInterrupt that nobody here asked for: somebody's interrupt, or the first act of a shutdown.

    A shutdown interrupts the cell first, which is its sign and not the user's interrupt (F4, F11). Older servers'
    shutdown_reply comes after it. So the error is held back until something shows what it was.
    """

    def __init__(self) -> None:
        #: whether it is open what the interrupt was: until then the cell does not end with it
        self.is_open = False
        self._held: list[Event] = []

    @property
    def is_held(self) -> bool:
        """Whether the error is not shown yet."""
        return bool(self._held)

    def hold(self, error: Error) -> None:
        """Hold the error back."""
        self.is_open, self._held = True, [error]

    def release(self, behind: Event | None = None) -> list[Event]:
        """Return the error if it is held: now, or where the event `behind` it shows that the cell went on."""
        if isinstance(behind, Started):
            return []
        held, self._held = self._held, []
        return held
