"""`CellWatch`: the watch over one cell, from *sent* to a `Verdict`: R2, R3 and R5. Pure.

The other rules are in `protocol.request` (R1), `life` (R4), `ledger` (R6) and `patience` (R7, R8). What is made of
everything that may come is data, in `rules`; a test plays each of its rows to the watch. In short:

- A cell is *sent*, then *running* once the kernel's busy for it is in. Its reply and its idle end it.
- A sign that the kernel ended makes a running cell *died* (`ending`).
- For a cell that was only sent the kernel is asked for its info, behind the cell (`probe`). If our busy comes first,
  the cell runs in the new kernel. If the answer comes first, the cell was *not run* where the kernel had said goodbye,
  and is *unknown* where it crashed.
- A link that broke proves nothing of a cell that was only sent: it may still arrive, and stays *unknown* unless a
  proof excludes that (*not run*; `aftermath`).
- Of a cell that has ended, and whose reply is lost, the kernel's record tells how. Without a record the messages
  around its end may show that it ended, and then it is *ok* if it has shown no error (`aftermath`).

Nothing is ever sent again (R3): no rule here has an action that sends a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing, verdicts
from kernel_bridge_magic.fate.cell_state import CellState
from kernel_bridge_magic.fate.ending import Ending
from kernel_bridge_magic.fate.judgment import Judgment, Steps
from kernel_bridge_magic.fate.life import ANNOUNCED, EndSignal, KernelEnd
from kernel_bridge_magic.fate.verdicts import Action, Verdict
from kernel_bridge_magic.fate.waiting import Heart, spoken
from kernel_bridge_magic.protocol.events import Error, Event, Note, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import is_rate_limit
from kernel_bridge_magic.protocol.request import Request

#: Parts of the names of implementations whose replies say ok of code that raised (FACTS.md#when-a-cell-is-done).
_ALWAYS_OK = ("octave",)


class CellWatch:
    """The watch over one cell. `now` is seconds on a monotonic clock, in all methods.

    `kernel` is what people call the kernel, `implementation` what it calls itself, "" where that is not known.
    `served`: it has a server; `here`: that is a process that we see, whose end is the kernel's. `timeout` seconds are
    counted from `since`, when a connection to the kernel began to be looked for; None: from `now`. `awaited` is the
    sign of an end behind which no new life was heard when the cell was sent; with `told` people know of it.
    """

    def __init__(
        self,
        request: Request,
        *,
        now: float,
        kernel: str = "the kernel",
        timeout: float | None = None,
        since: float | None = None,
        served: bool = True,
        here: bool = True,
        implementation: str = "",
        awaited: EndSignal | None = None,
        told: bool = False,
    ) -> None:
        # A connection may have taken all of the time; most cells are over in a moment.
        least = now + timing.current.least_timeout
        deadline = None if timeout is None else max((now if since is None else since) + timeout, least)
        self.ending = Ending(now, awaited, told=told, served=served)
        self.state = state = CellState(request, self.ending, now, deadline)
        self.request, self.outage = request, state.outage
        self._probe, self._aftermath, self._held = state.probe, state.aftermath, state.held
        believes_ok = not any(name in implementation.lower() for name in _ALWAYS_OK)
        self.judgment = Judgment(state, kernel, here=here, believes_ok=believes_ok)
        #: what is known to be missing of the cell's output
        self.losses = self.judgment.losses
        #: whether the link was waited for in vain, and is not any more
        self.gave_link_up = False
        #: number of outputs that were returned; a stream counts its lines
        self.shown = 0
        self.heart = Heart()
        self._timeout = timeout
        self._interrupted_at: float | None = None

    @property
    def verdict(self) -> Verdict | None:
        """How the cell ended, None until that is known."""
        return self.judgment.verdict

    # -- what comes in

    def receive(self, message: Message, now: float) -> list[Event]:
        """Return the events of a message of this cell, or of the answer to a question about it."""
        if self._probe.msg_id and message.parent_id == self._probe.msg_id:
            return self._receive_probe(message, now)
        is_cells = message.parent_id == self.request.msg_id
        if is_cells and message.channel != "shell":
            self._aftermath.completion.receive(message)
        was_started = self.request.started
        events: list[Event | None] = []
        for event in self.request.receive(message):
            events += [*self._held.release(event), self._read(event)]
        if self.request.status == "ok":
            self._held.is_open = False  # whatever it was, the cell has gone on behind it
            events += self._held.release()
        self.state.heard_at = now
        if is_cells and message.channel != "stdin":
            self._aftermath.arrived = True
            if self._aftermath.proof is not None:
                # The last question may have gone before the cell: another one, if it is needed, in silence.
                self._aftermath.end_proof()
                self._probe.forget()
        if not was_started and (self.request.started or self.request.status in ("ok", "error")):
            events += self.ending.begin()
        if self.request.done and not self._held.is_open:
            events += self.judgment.finish()
        shown = [event for event in events if event is not None]
        self.shown += sum(_weight(event) for event in shown)
        self.state.was_seen = self.state.was_seen or self.shown > 0
        return shown

    def _read(self, event: Event) -> Event | None:
        if isinstance(event, Error) and event.ename == "KeyboardInterrupt" and self._interrupted_at is None:
            self._held.hold(event)
            return None
        if isinstance(event, Stream) and event.name == "stderr" and is_rate_limit(event.text):
            return self.losses.limit(event.text)
        return event

    def _receive_probe(self, message: Message, now: float) -> list[Event]:
        is_idle_due = self.verdict is None and self.state.idle_is_due
        if message.channel == "shell":
            self._receive_answer(message, now)
        elif message.channel == "iopub" and self._probe.behind_reply and is_idle_due:
            # IOPub has come to a question from behind the cell's reply: the cell's idle was lost.
            if not self.outage.happened:
                return self.judgment.finish(without_idle=True)
            # What the link has lost is counted up to here, once all of it is in.
            self._probe.passed_on_iopub = True
            self._receive_answer(message, now)
        elif message.channel == "iopub":
            self._aftermath.completion.receive_later(message)
            answered = message.execution_state == "idle" and not self._probe.is_answered
            if answered and self._aftermath.lacks_reply and not self.outage.happened:
                self._probe.answered(now)  # the answer itself may be lost as well
        return []

    def _receive_answer(self, message: Message, now: float) -> None:
        if not self.outage.happened and not self._aftermath.lacks_reply:
            self.judgment.conclude_probe(now)
        elif self._aftermath.proof is not None:
            self._aftermath.proof.answered(now)
        else:
            # What the server sends again, and what the kernel sends on IOPub, may come behind this answer.
            self._probe.answered(now)
            self.state.heard_at = now
            if not self.request.done:
                self._probe.answer_id = message.msg_id

    def broke(self, why: str, clock: str, now: float) -> None:
        """Handle the break of a link that is being opened again. `clock` is the time of day."""
        self.outage.broke(why, clock, now)
        self._probe.broke()
        self._aftermath.broke()

    def back(self, seconds: float, clock: str, now: float) -> list[Event | Action]:
        """Handle the return of the link, `seconds` after it broke."""
        note = self.outage.back(seconds, clock, now)
        self.state.heard_at = self.state.asked_server_at = now
        return [note] if self.verdict is not None else [note, Action.ASK_SERVER, Action.ASK_KERNEL]

    def signal(self, signal: EndSignal, now: float) -> None:
        """Record a sign of the kernel's end."""
        self.ending.receive(signal, now)
        if signal is EndSignal.RESTARTING and not self._probe.is_answered:
            self._probe.forget()  # the kernel died again while it started (F3), and with it what it was asked
        if signal not in ANNOUNCED:
            self.state.heard_at = now
        self._aftermath.end_proof()

    def closed(self, why: str, now: float, *, denied: bool = False, unaccepted: bool = False) -> list[Event]:
        """Handle the end of the connection itself; return the last events of a cell that ends with it.

        `denied`: the server is there and does not accept us any more. `unaccepted`: the kernel received nothing of us.
        """
        if unaccepted and not self.request.started:
            self.judgment.judge(Verdict(Fate.NOT_RUN, why))
        self.state.closed = why or "the connection broke"
        self.outage.closed()
        self.state.heard_at = now
        self.state.asked_server_at = now - timing.current.ask_server_after
        # A server that denies us would not tell us of the kernel, either.
        return self.judgment.link_closed(server_alive=True) if denied and self.verdict is None else []

    def server_says(
        self, state: str | None, now: float, *, connections: int | None = None, asked_at: float = 0.0, there: str = ""
    ) -> list[Event]:
        """Handle the server's answer; return the last events of a cell that ends with it.

        `state` is the kernel's `execution_state`, None for 404, "" for no answer. `connections` is how many the server
        has to the kernel, None if it does not say; it was asked at `asked_at`. `there` names, after a 404, the kernels
        that the server has instead.
        """
        if self.verdict is not None:
            return []
        if self._aftermath.proof is not None and state:
            self._aftermath.proof.server_says(connections, asked_at)
        if self.ending.asks_who(now):
            self.ending.server_says(state)
        elif state is None and self.outage.happened:
            return self.judgment.gone(KernelEnd(f"disappeared from its server ({there or 'which has no kernel now'})"))
        elif state is None:
            return self.judgment.gone(KernelEnd("was shut down or deleted", comes_back=False))
        elif state == "dead":
            return self.judgment.gone(EndSignal.DEAD.end)
        elif self.state.closed:
            return self.judgment.link_closed(server_alive=bool(state))
        else:
            # A server before a gateway says "starting" for ever.
            self._probe.server_says(is_idle=state == "idle" or (state == "starting" and self.request.started))
        return []

    def asked_kernel(self, msg_id: str, now: float) -> None:
        """Record the `msg_id` of the question that `Action.ASK_KERNEL` wanted sent."""
        self._probe.asked(msg_id, now, behind_reply=self.request.reply is not None)

    # -- whoever waits no longer

    def interrupt(self, now: float) -> list[Event | Action]:
        """Handle one interrupt of the user: the first one goes over there if the cell runs, else it ends here (H4)."""
        if self.verdict is not None:
            return []
        if self.outage.is_down:
            return list(self.judgment.leave(f"{self.outage.words}, and no longer waited for"))
        if self._aftermath.proof is not None:
            return list(self.judgment.unknown(verdicts.NOT_CONFIRMED))
        if not self.request.started:
            return list(self.judgment.leave_early())
        first = self._interrupted_at is None
        if first:
            self._interrupted_at, self.state.was_seen = now, True
        if not self._aftermath.has_ended:
            return [Action.INTERRUPT] if first else list(self.judgment.leave("no longer waiting"))
        return [] if first else list(self.judgment.leave_ended())

    def leave(self, why: str) -> list[Event]:
        """Stop waiting for the cell, which goes on over there; `why` is told."""
        if self.verdict is not None:
            return []
        return self.judgment.leave(f"{why} while the link was down" if self.outage.is_down else why)

    # -- time

    def tick(self, now: float) -> list[Event | Action]:
        """Return what is to be done or shown now that nothing comes. Call it a few times a second."""
        self.state.waiting.wait_for(self.state.surroundings.ahead, now)
        if self.verdict is not None:
            return []
        return list(next(step for holds, step in self._LAW if holds(self.state, now))(self, now))

    def _ask_kernel(self, now: float) -> Steps:
        return [Action.ASK_KERNEL]

    def _leave_in_time(self, now: float) -> list[Event]:
        return self.judgment.leave(f"no result within {self._timeout:g} s", timed_out=True)

    def _give_link_up(self, now: float) -> list[Event]:
        """Stop waiting for a link that gave no sign for as long as it was to be waited for."""
        self.gave_link_up = True
        limit = spoken(self.state.surroundings.reconnect_timeout or 0.0)
        lost = f"{self.outage.words}, not back within {limit}"
        return self.judgment.give_link_up(
            lost if self.outage.is_down else f"nothing was heard from its server for {limit}"
        )

    def _ask_who(self, now: float) -> Steps:
        return self._ask_server(now) if now - self.state.asked_server_at >= timing.current.ask_server_again else []

    def _ask_server(self, now: float) -> Steps:
        self.state.asked_server_at = now
        return [Action.ASK_SERVER]

    def _notes(self, now: float) -> list[Event]:
        if not self.request.started and not self.state.surroundings.unread:
            queued = self.state.waiting.tick(now, free=self.state.surroundings.free)
            if queued is not None:
                return [queued]
        if (note := self.heart.note()) is not None:
            return [note]
        if self._interrupted_at is not None and now - self._interrupted_at >= timing.current.slow_interrupt:
            self._interrupted_at = float("inf")
            return [Note(verdicts.SLOW_INTERRUPT)]
        return []

    def _questions(self, now: float) -> Steps:
        steps: list[Event | Action] = []
        if self.state.may_have_restarted(now):
            steps.append(Action.ASK_KERNEL)
        elif self._probe.is_overdue(now):
            if self.outage.happened:
                # The question may have gone with the link as well; only a busy kernel need not answer for so long.
                steps.append(Action.ASK_KERNEL)
            elif self._probe.take_mute():
                # No verdict: a busy kernel may be called so, once anybody has asked it something on control.
                steps.append(Note(verdicts.HANDS_NOTHING_ON))
        elif self._probe.is_wanted:
            steps.append(Action.ASK_KERNEL)
        return [*steps, *self._ask_server(now)] if self.state.is_server_due(now) else steps

    # The order of these rows is the law: the first whose condition holds says what is done.
    _LAW: ClassVar[tuple[tuple[Callable[[CellState, float], object], Callable[[CellWatch, float], Steps]], ...]] = (
        (CellState.is_out_of_time, _leave_in_time),
        (CellState.is_link_lost, _give_link_up),
        (lambda it, now: it.ending.with_server, lambda self, now: self.judgment.end()),
        (lambda it, now: it.ending.asks_who(now), _ask_who),
        (lambda it, now: it.ending.unknown_to_server, lambda self, now: self.server_says(None, now)),
        (
            lambda it, now: it.outage.is_down,
            lambda self, now: self.outage.tick(now, self.state.surroundings.reconnect_timeout),
        ),
        (lambda it, now: it.probe.is_settled(now), lambda self, now: self.judgment.conclude_probe(now)),
        (lambda it, now: it.aftermath.proof, lambda self, now: self.judgment.seek_proof(now)),
        (lambda it, now: it.aftermath.awaits_record, lambda self, now: self.judgment.await_record(now)),
        (lambda it, now: it.held.is_open and it.request.done, lambda self, now: self.judgment.settle_doubt(now)),
        (lambda it, now: it.held.is_held and it.was_no_shutdown(now), lambda self, now: self._held.release()),
        (CellState.lost_idle, lambda self, now: self.judgment.finish(without_idle=True)),
        (lambda it, now: it.misses_idle(now) and not it.probe.behind_reply, _ask_kernel),
        (CellState.has_died, lambda self, now: self.judgment.end()),
        (CellState.is_open_how, _ask_kernel),
        (
            lambda it, now: it.seems_over(now) and it.probe.is_mute(now),
            lambda self, now: self.judgment.unknown(verdicts.SAYS_NOTHING),
        ),
        (lambda it, now: True, lambda self, now: [*self._notes(now), *self._questions(now)]),
    )


def _weight(event: Event) -> int:
    if isinstance(event, Stream):
        return event.text.count("\n")
    return int(type(event).__name__ in ("DisplayData", "ExecuteResult", "Error", "Page"))
