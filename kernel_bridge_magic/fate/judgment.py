"""`Judgment`: what the facts of a cell come to, once it ends in one way or another. Pure.

The rules of `watch` say when to judge; here stands which verdict that gives. Values come back: the methods return the
cell's last events, and `verdict` is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import verdicts
from kernel_bridge_magic.fate.aftermath import MESSAGES_OF_A_CELL, Proof, ProofStep
from kernel_bridge_magic.fate.cell_state import CellState
from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.life import KernelEnd
from kernel_bridge_magic.fate.losses import NO_BUSY, Losses
from kernel_bridge_magic.fate.verdicts import Action, Verdict
from kernel_bridge_magic.protocol.events import Event, Note

Steps = Sequence[Event | Action]


class Judgment:
    """The verdict on one cell, which is given once.

    `kernel` is what people call the kernel. `here`: its server is a process that we see, whose end is the kernel's.
    `believes_ok`: replies of this kernel that say ok are believed.
    """

    def __init__(self, state: CellState, kernel: str, *, here: bool = True, believes_ok: bool = True) -> None:
        #: how the cell ended, None until that is known
        self.verdict: Verdict | None = None
        #: what is known to be missing of its output
        self.losses = Losses()
        #: whether its reply, or its idle, was lost
        self.lost_reply = self.lost_idle = False
        self._state = state
        self._request, self._held = state.request, state.held
        self._ending, self._outage = state.ending, state.outage
        self._probe, self._aftermath = state.probe, state.aftermath
        self._kernel = kernel
        self._here = here
        self._believes_ok = believes_ok

    def judge(self, verdict: Verdict) -> list[Event]:
        """Set the verdict, unless there is one; return no events."""
        if self.verdict is None:
            self.verdict = verdict
        return []

    def finish(self, *, without_idle: bool = False) -> list[Event]:
        """Judge the cell by its reply. `without_idle`: its idle is not waited for any more."""
        # ipykernel says busy and idle of a cell that it passes over, too, and nothing else. bash_kernel calls a cell
        # aborted that was interrupted while it ran.
        seen = self._request.entered or self._state.was_seen or self._outage.happened
        passed_over = not self._request.started or not seen
        verdict, told_by_reply = verdicts.of_reply(
            self._request, self._kernel, passed_over=passed_over, believes_ok=self._believes_ok
        )
        self.judge(verdict)
        events: list[Event] = [] if told_by_reply is None else [told_by_reply]
        if self.verdict in (verdicts.OK, verdicts.FAILED):
            # Above 4000 messages a second the kernel's own queue loses even the idle (FACTS.md#when-a-cell-is-done).
            # IRkernel sends none for a request that it aborted.
            self.lost_idle = without_idle and not self._request.idle
            if not self._request.started and not self._outage.happened:
                # Seen where a kernel had just been restarted: the server subscribes anew, and what comes before is
                # lost.
                events.append(self.losses.uncounted(NO_BUSY))
        return events

    def end(self) -> list[Event]:
        """Judge a cell whose kernel is no more, as its signs say."""
        return self.gone(self._ending.end)

    def gone(self, end: KernelEnd) -> list[Event]:
        """Judge a cell whose kernel is no more; `end` is said of it, unless the kernel has said goodbye."""
        if self._request.reply is not None and not self._held.is_open:
            return self.finish()
        said_goodbye = self._ending.is_announced and (self._request.started or not self._outage.happened)
        end = self._ending.end if said_goodbye else end
        self._ending.is_told = True
        if self._request.started:
            return self.judge(verdicts.died(self._kernel, end))
        return self.judge(verdicts.ended_before(self._kernel, end, said_goodbye=said_goodbye))

    def link_closed(self, *, server_alive: bool) -> list[Event]:
        """Judge a cell whose link is closed for good."""
        if self._ending.signal is not None:
            return self.end()
        if self._here and not server_alive:
            return self.gone(KernelEnd("stopped, and the kernel with it,", subject="its server"))
        return self._lose(f"{'link lost' if server_alive else 'its server stopped answering'} ({self._state.closed})")

    def give_link_up(self, link: str) -> list[Event]:
        """Judge a cell whose link was waited for in vain."""
        if self._ending.signal is not None:
            return self.end()
        self._held.is_open = False
        if self._request.reply is not None:
            return self.leave_ended()
        return [*self._lose(link), *self._held.release()]

    def _lose(self, link: str) -> list[Event]:
        return self.unknown(verdicts.may_go_on(link, started=self._request.started))

    def leave(self, why: str, *, timed_out: bool = False) -> list[Event]:
        """Judge a cell that is no longer waited for, and say why."""
        if self._aftermath.has_ended:
            return self.leave_ended()
        is_down = self._outage.is_down
        self.judge(verdicts.left(self._kernel, why, self.begun, is_down=is_down, timed_out=timed_out))
        return self._held.release()

    def leave_early(self) -> list[Event]:
        """Judge a cell that was interrupted before it is known to have begun."""
        told = self._state.waiting.told if self.begun is False else None
        return self.judge(verdicts.interrupted_early(self._kernel, told))

    def leave_ended(self) -> list[Event]:
        """Judge a cell that is over, the rest of which is no longer waited for."""
        if self._request.reply is not None:
            return [*self._held.release(), *self.finish(without_idle=True)]
        return [*self.unknown(verdicts.REPLY_NOT_AWAITED), *self._held.release()]

    def unknown(self, what: str) -> list[Event]:
        """Judge a cell of which nobody can tell how it ended; `what` is said behind the kernel's name."""
        # A kernel whose reply is in has not answered a later question.
        alive = None if self._request.reply is not None else self._aftermath.completion.goes_on
        return self.judge(verdicts.unknown(self._kernel, what, alive=alive))

    @property
    def begun(self) -> bool | None:
        """Whether the cell has begun; None if nobody can tell."""
        return self._state.begun(None if self.verdict is None else self.verdict.fate)

    def wants_count(self, now: float) -> bool:
        """Return whether it is time to count what is missing, for `count`."""
        if self.verdict is not None:
            return self.verdict.fate is not Fate.NOT_RUN
        # Between idle and reply the reply's own number is a hole: they come by channels of their own. And a cell of
        # which nothing has come may prove not to have run.
        return self._aftermath.arrived and not self._request.idle and self._outage.settled(now)

    def count(self, gap: Gap | None) -> list[Event]:
        """Record what is missing, None where nobody can tell; return what to say of it, once."""
        if not self._outage.happened:
            return self.losses.by_kernel(gap, idle_lost=self.lost_idle)
        idle_lost = self.lost_idle and not self._probe.answer_id
        uncounted = [] if self.verdict is None else self.losses.uncountable(idle_lost=idle_lost)
        # A reply that is lost is told of by itself.
        return [*uncounted, *self.losses.by_link(gap, self._outage.span, told=int(self.lost_reply))]

    # -- what comes late

    def kernel_recorded(self, reply: dict[str, Any] | None, now: float) -> list[Event]:
        """Handle the reply that the cell had, as its kernel remembers it; None if it does not."""
        if self.verdict is not None or not self._aftermath.awaits_record:
            return []
        return self._unrecorded(now) if reply is None else self._stand_in(reply, verdicts.REMEMBERED)

    def await_record(self, now: float) -> list[Event]:
        """Judge a cell whose kernel is known not to tell how it ended."""
        return self._unrecorded(now) if self._aftermath.is_unrecorded(now) else []

    def _unrecorded(self, now: float) -> list[Event]:
        """Judge a cell that its kernel does not remember by what it said on IOPub, if that is enough."""
        faultless = self._request.error is None and not self.losses.limited
        completed = self._aftermath.complete(now, faultless=faultless)
        if completed:
            return self._stand_in({"status": "ok"}, verdicts.COMPLETED)
        return self.unknown(verdicts.REPLY_LOST) if completed is False else []

    def _stand_in(self, reply: dict[str, Any], why: str) -> list[Event]:
        """Judge a cell by what stands for the reply that was lost; say why it may."""
        self._request.reply, self.lost_reply = reply, True
        self._held.is_open = False
        note = Note(f"the cell's reply was lost{' with the link' if self._outage.happened else ''}, {why}")
        return [note, *self._held.release(), *self.finish()]

    def seek_proof(self, now: float) -> Steps:
        """Return the next question of the proof that the cell never arrived, or judge the cell for want of one."""
        step = self._aftermath.tick_proof(now)
        if step is ProofStep.GIVE_UP:
            return self.unknown(verdicts.NOT_CONFIRMED)
        return [step] if isinstance(step, Action) else []

    def proven(self, unexplained: int | None) -> None:
        """Handle the count of messages that may have been the cell's, see `Ledger.unexplained`."""
        if unexplained is not None and unexplained < MESSAGES_OF_A_CELL:
            self.judge(verdicts.not_run(self._kernel, verdicts.NEVER_ARRIVED))
        self.unknown(verdicts.NOT_CONFIRMED)
        self._aftermath.end_proof()

    def settle_doubt(self, now: float) -> list[Event]:
        """Judge a cell that ended with a KeyboardInterrupt, once it is known what that was."""
        if self._ending.signal is not None:
            self._ending.is_told = True
            return self.judge(verdicts.died(self._kernel, self._ending.end))
        if not self._state.was_no_shutdown(now):
            return []
        self._held.is_open = False
        return [*self._held.release(), *self.finish()]

    def conclude_probe(self, now: float) -> Steps:
        """Conclude what the kernel's answer from behind the cell proves."""
        self._probe.concluded()
        if self.verdict is not None:
            return []
        if self._request.reply is not None:
            return self.finish(without_idle=True) if self._probe.passed_on_iopub else []
        broke, signal = self._outage.happened, self._ending.signal
        if signal is not None:
            # The new life did not run the cell. The old one may have: a process that crashes takes along what its
            # IOPub thread has not sent, our `busy` too (seen with `os._exit` as the cell's first act).
            return self.end()
        if not self._aftermath.arrived:
            if not broke:
                return self.judge(verdicts.not_run(self._kernel, verdicts.NEVER_BEGAN))
            self._aftermath.proof = Proof(now)  # it may be on its way still, by the connection that broke
        elif not broke and not self._aftermath.lacks_reply:
            return self.unknown(verdicts.REPLY_LOST)
        elif not self._aftermath.awaits_record:
            self._aftermath.ask_record(now)
            return [Action.ASK_RECORD] if self._state.surroundings.remembers else self._unrecorded(now)
        return []
