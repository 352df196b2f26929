"""`CellState`: all that is known of one cell, and what follows from it at a moment. Pure; nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass

from kernel_bridge_magic.choices import RECONNECT
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.aftermath import Aftermath
from kernel_bridge_magic.fate.ending import Ending, HeldInterrupt
from kernel_bridge_magic.fate.life import RESTARTS, EndSignal
from kernel_bridge_magic.fate.probe import Probe
from kernel_bridge_magic.fate.waiting import Outage, Waiting
from kernel_bridge_magic.protocol.events import Queued
from kernel_bridge_magic.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the connection knows of the kernel and of the link. Times are seconds on a monotonic clock.

    `ahead`: what the kernel does before the cell, as far as that is known. `free`: the kernel was heard to end what it
    ran, and to begin nothing since. `unread`: something has come that the rules have not seen yet, perhaps that the
    cell has begun. `remembers`: the kernel can be asked how a cell ended. `receiving_at`: when the last bytes of an
    incomplete message arrived. `lost_since`: since when nothing was heard over a link that broke or does not answer,
    None for one that is well. `reconnect_timeout`: for how many seconds such a link is waited for, None for ever.
    """

    ahead: Queued = Queued()  # noqa: RUF009 (it is frozen)
    free: bool = False
    unread: bool = False
    remembers: bool = True
    receiving_at: float = float("-inf")
    lost_since: float | None = None
    reconnect_timeout: float | None = RECONNECT


class CellState:
    """What has come of one cell, and what has happened to its kernel and its link. `now` is monotonic, in seconds.

    The questions that take `now` are the conditions of the rules in `watch`.
    """

    def __init__(self, request: Request, ending: Ending, now: float, deadline: float | None) -> None:
        self.request = request
        self.ending = ending
        self.outage, self.probe, self.aftermath = Outage(), Probe(), Aftermath(request)
        #: a KeyboardInterrupt that may be the first act of a shutdown
        self.held = HeldInterrupt()
        #: what it waits for while it has not begun
        self.waiting = Waiting(now)
        self.surroundings = Surroundings()
        #: when something of the cell, or of an end, was last heard
        self.heard_at = now
        #: when the server was last asked whether the kernel is there
        self.asked_server_at = now
        #: why the connection is closed for good, "" while it is not
        self.closed = ""
        #: whether the cell has shown something, or was interrupted from here
        self.was_seen = False
        self._sent_at = now
        self._deadline = deadline

    def silent(self, now: float) -> float:
        """Return for how many seconds nothing was heard."""
        return now - self.heard_at

    def is_out_of_time(self, now: float) -> bool:
        """Return whether the time is up, and nothing is on its way: idle and reply of a cell go separate ways."""
        halfway = self.aftermath.has_ended and not self.request.done and not self.outage.is_down
        rest_may_come = halfway and self.silent(now) < timing.current.reply_grace
        return self._deadline is not None and now >= self._deadline and not rest_may_come

    def is_link_lost(self, now: float) -> bool:
        """Return whether the link gave no sign for as long as it was to be waited for."""
        limit, since = self.surroundings.reconnect_timeout, self.surroundings.lost_since
        return limit is not None and since is not None and now - max(since, self._sent_at) >= limit

    def was_no_shutdown(self, now: float) -> bool:
        """Return whether an interrupt that is held back was the first act of no shutdown: its next one would be in."""
        return self.ending.signal is None and self.silent(now) >= timing.current.shutdown_reply

    @property
    def idle_is_due(self) -> bool:
        """Whether the cell's reply is in, and its idle is not."""
        return self.request.reply is not None and not self.request.idle

    def misses_idle(self, now: float) -> bool:
        """Return whether the cell's idle is later than it ever was without a reason."""
        silent = min(self.silent(now), now - self.surroundings.receiving_at)
        return self.idle_is_due and silent >= timing.current.reply_grace

    def lost_idle(self, now: float) -> bool:
        """Return whether nothing can show any more that the cell's idle was lost.

        Silence does not: a server was seen to hand on a message of 20 MB, and the IOPub of ten clients, seconds after
        the replies. What the kernel says on IOPub of a question that was asked behind the reply does.
        """
        late = self.silent(now) >= timing.current.iopub_backlog
        return self.misses_idle(now) and (bool(self.closed) or self.ending.signal is not None or late)

    def seems_over(self, now: float) -> bool:
        """Return whether the kernel has ended, or our idle is in without a reply, and all else is in as well."""
        return (self.ending.is_certain or self.request.idle) and self.silent(now) >= timing.current.settle

    def has_died(self, now: float) -> bool:
        """Return whether nobody is left to be asked about a cell that seems to be over."""
        signal, closed = self.ending.signal, bool(self.closed) and not self.probe.is_asked
        known = signal is EndSignal.DEAD or (signal is not None and self.request.started) or closed
        return known and self.seems_over(now)

    def is_open_how(self, now: float) -> bool:
        """Return whether the kernel is to be asked about a cell that seems to be over."""
        late = self.ending.is_certain or self.silent(now) >= timing.current.reply_grace
        return self.seems_over(now) and late and not self.probe.is_asked

    def may_have_restarted(self, now: float) -> bool:
        """Return whether to ask again for a restart that was announced.

        The new life's first words are often lost: who reads the kernel's IOPub has to subscribe anew. An answer from
        behind our cell says that its life is over; the old life gives none before the cell's reply.
        """
        silent = self.silent(now) >= timing.current.ask_kernel_again
        return self.ending.signal in RESTARTS and silent and self.probe.may_repeat(now)

    def is_server_due(self, now: float) -> bool:
        """Return whether to ask the server whether the kernel is there."""
        every = timing.current.ask_server_after
        return self.silent(now) >= (0.0 if self.closed else every) and now - self.asked_server_at >= every

    def begun(self, fate: Fate | None) -> bool | None:
        """Return whether the cell, with such a fate, has begun; None if nobody can tell."""
        if fate is Fate.NOT_RUN:
            return False  # though the kernel says busy and idle of a cell that it passes over
        if self.request.started or fate in (Fate.OK, Fate.FAILED):
            return True  # of one that has ended the first message may be lost
        if fate not in (None, Fate.LEFT_RUNNING):
            return None
        # No busy after all that time: before that it may be on its way.
        return False if self.waiting.told is not None and not self.outage.happened else None
