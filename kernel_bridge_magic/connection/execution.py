"""`Execution`: one cell that was sent over a connection.

It drives the watch over the cell (`fate.watch`) with a clock, and does what that says. It decides nothing itself.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Generator, Iterator

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.choices import RECONNECT
from kernel_bridge_magic.connection.actions import Actions, Call
from kernel_bridge_magic.connection.answers import Answers
from kernel_bridge_magic.connection.cell import Cell, Outcome
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.copying import Copying
from kernel_bridge_magic.connection.sending import send
from kernel_bridge_magic.connection.subshells import Subshell
from kernel_bridge_magic.errors import BadVariable, Fate, NotCopied
from kernel_bridge_magic.fate.cell_state import Surroundings
from kernel_bridge_magic.fate.life import EndSignal, since_the_last_cell
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Aside, Error, Event, Note, Queued, Tick
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code import record
from kernel_bridge_magic.results import Copied, RemoteResult
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Back, Broken, Closed, Inbox

_TICK = 0.1  # seconds between looks at the clock while nothing comes
_INTERRUPT_SECONDS = 4.0  # for an interrupt that is under way to be done; a server has 3 s
_LINGER = 0.05  # seconds for what an unorderly kernel sends after its idle


class Execution:
    """One cell that was sent. Iterate over it for its events; then `result` has its outcome.

    Only one thread may iterate; `interrupt` may be called from any thread and from a signal handler. A link that is
    lost is waited for `reconnect_timeout` seconds, None for ever.
    """

    def __init__(
        self,
        transport: Transport,
        control: Control,
        kernel: Kernel,
        cell: Cell,
        *,
        subshell: Subshell | None = None,
        reconnect_timeout: float | None = RECONNECT,
        copying: Copying | None = None,
    ) -> None:
        """Send the cell. Longer than others, since it lists what a cell has."""
        self._transport = transport
        self._kernel = kernel
        self._subshell = subshell
        self._reconnect_timeout = reconnect_timeout
        #: what has come and waits for the iteration; an `Aside` that is put there is yielded among the cell's events
        self.inbox = Inbox()
        self._outcome = Outcome(kernel, cell, None if copying is None else copying.sent)
        self._copying = copying
        self._answers = Answers(transport, refuses=not cell.stdin)
        where = "" if subshell is None else subshell.id
        extra = {} if copying is None else copying.expressions
        self._sent = send(
            *(transport, cell, self.inbox, extra), kernel=kernel, served=control.has_server, subshell=where
        )
        self._watch = self._sent.watch
        #: what the kernel has told of the cell
        self.request = self._watch.request
        #: the `msg_id` of the request
        self.msg_id = self._sent.msg_id
        #: what has the kernel keep the cell's messages; None for a cell that is not durable
        self.durable = self._sent.durable
        self._ticked = self._sent.began
        self._actions = Actions(transport, control, self._watch, self.inbox, subshell)
        #: when the iteration is to yield a `Tick`, once, whatever comes; on the monotonic clock
        self.wake_at: float | None = None
        #: whether a KeyboardInterrupt that comes in the wait is handled as `interrupt`, and the wait goes on
        self.heeds_interrupts = False
        # Interrupts from here: those that were asked for, and those that the iteration has come to.
        self._interrupts_asked = self._interrupts_done = 0
        #: the outcome, None until the iteration has come to its end
        self.result: RemoteResult | None = None

    @property
    def error(self) -> Error | None:
        """The event that told of the error that a failed cell ended with; None for a cell that did not fail."""
        return self.request.error if self._fate is Fate.FAILED else None

    @property
    def sent(self) -> dict[str, Copied]:
        """The variables that were bound there before the cell, by their names there."""
        return self._outcome.sent

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted from here."""
        return self._interrupts_done > 0

    @property
    def _fate(self) -> Fate | None:
        return None if self._watch.verdict is None else self._watch.verdict.fate

    @property
    def _can_fetch(self) -> bool:
        return self.durable is not None and self.durable.spool.usable

    def leftovers(self) -> list[object]:
        """Return what came when the cell's fate was known already, oldest first, once."""
        left: list[object] = []
        while not self.inbox.empty():
            item = self.inbox.get()
            if isinstance(item, Aside):
                left.append(item.item)
            elif isinstance(item, Message | EndSignal | Closed):
                left.append(item)
        return left

    def interrupt(self) -> None:
        """Interrupt: once stops the cell over there if it runs, else leaves it queued; twice leaves it running."""
        self._interrupts_asked += 1
        self.inbox.put(Call(self._interrupt))

    def leave(self, why: str) -> None:
        """Stop waiting, for the reason `why`; the cell goes on over there. As safe as `interrupt`."""
        self.inbox.put(Call(lambda now: self._watch.leave(why)))

    def answer(self, value: str) -> None:
        """Answer the last `InputRequest`; an answer for which there is no link is sent when it is back."""
        self._answers.answer(value)

    # -- the iteration

    def __iter__(self) -> Generator[Event]:
        try:
            if self._sent.news is not None:
                yield Note(since_the_last_cell(self._sent.news))
            while self._fate is None:
                for step in self._heedful_steps():
                    if isinstance(step, Action):
                        self._actions.do(step)
                    else:
                        self._outcome.add(step)
                        yield step
            if not self._transport.state.orderly:
                yield from self._stragglers()
            yield from map(Note, self._sent.faults(self._transport))
            self._await_interrupt()
            self._get_variables()
            if (untold := self._watch.ending.untold) is not None:
                yield Note(since_the_last_cell(untold))
            if self._fate in (Fate.LEFT_RUNNING, Fate.UNKNOWN):
                yield from self._answers.left()
        finally:
            self._let_go()
        assert self._fate is not None
        self._end(self._fate)

    def _heedful_steps(self) -> list[Event | Action]:
        try:
            return self._steps()
        except KeyboardInterrupt:
            # Not a signal's, which are held; somebody raised it in this very thread, as we do in subshells.
            if not self.heeds_interrupts:
                raise
            self.interrupt()
            return []

    def _steps(self) -> list[Event | Action]:
        """Wait for what comes next, or a moment; return what is to be shown or done now."""
        check()
        now = time.monotonic()
        waking = _TICK if self.wake_at is None else max(self.wake_at - now, 0.0)
        try:
            item = self.inbox.get(timeout=min(_TICK, waking, self._answers.patience(now)))
        except queue.Empty:
            steps: list[Event | Action] = []
        else:
            now = time.monotonic()
            items = [item] if self.durable is None else self.durable.receive(item, now)
            steps = [step for one in items for step in self._receive(one, now)]
        now = time.monotonic()
        steps += self._tick_durable(now)
        steps += self._answers.due(now)
        if self._fate is not None:
            steps += self._count(now)
        elif now - self._ticked >= _TICK:
            steps += self._tick(now)
        if self.wake_at is not None and now >= self.wake_at:
            self.wake_at = None
            steps += [Tick()]
        return steps

    def _tick(self, now: float) -> list[Event | Action]:
        self._ticked = now
        self._watch.state.surroundings = Surroundings(
            ahead=self._ahead(),
            free=self._transport.main_shell.is_free,
            unread=not self.inbox.empty(),
            remembers=record.is_kept(self._transport.state.info),
            receiving_at=self._transport.receiving_at,
            lost_since=self._transport.lost_since,
            # What the kernel keeps for us can still be fetched in a week.
            reconnect_timeout=None if self._can_fetch else self._reconnect_timeout,
        )
        steps = [*self._answers.tick(now), *self._watch.tick(now)]
        if self._watch.state.aftermath.wants_proof:
            self._watch.judgment.proven(self._transport.unexplained(self.msg_id))
        # At a verdict durable mode returns what it holds back.
        return [*steps, *self._tick_durable(now), *self._count(now)]

    def _ahead(self) -> Queued:
        """What the kernel does before the cell, as far as we heard."""
        if self._subshell is not None:
            return Queued()  # what the main shell runs is in nobody's way there
        if self._kernel.state == "starting" and not self._transport.state.heard_iopub:
            return Queued(starting=True)
        return self._transport.main_shell.ahead_of(self.msg_id)

    # -- what comes

    def _receive(self, item: object, now: float) -> list[Event | Action]:
        if (answered := self._actions.receive(item, now)) is not None:
            return list(answered)
        if isinstance(item, Message):
            events = self._answers.receive(item, self._watch.receive(item, now), now)
            return [*events, *(self._watch.interrupt(now) if self._answers.insists() else [])]
        if isinstance(item, Back):
            return self._watch.back(item.seconds, item.clock, now)
        if isinstance(item, Note | Aside):
            return [item]
        if isinstance(item, EndSignal):
            self._watch.signal(item, now)
        elif isinstance(item, Closed):
            return list(self._watch.closed(item.reason, now, denied=item.denied, unaccepted=item.unaccepted))
        elif isinstance(item, Broken):
            self._watch.broke(item.reason, item.clock, now)
        return []

    def _interrupt(self, now: float) -> list[Event | Action]:
        self._interrupts_done += 1
        return self._watch.interrupt(now)

    def _tick_durable(self, now: float) -> list[Event | Action]:
        if self.durable is None:
            return []
        items = self.durable.tick(now) if self._fate is None else self.durable.let_go()
        steps = [step for item in items for step in self._receive(item, now)]
        if lost := self.durable.newly_lost():
            steps.append(self._watch.losses.no_room(lost, "more than the other side keeps"))
        if self.durable.spool.uncounted:
            self._watch.losses.missing = None
        return steps

    def _count(self, now: float) -> list[Event]:
        """Say what is missing, once that is certain. What can be fetched is not missing."""
        steps: list[Event] = []
        if self._fate is not None and (dropped := self.inbox.newly_dropped()):
            steps.append(self._watch.losses.no_room(dropped, "more than can wait here while nothing is shown"))
        if not self._can_fetch and self._watch.judgment.wants_count(now):
            answer, limited = self._watch.state.probe.answer_id, bool(self._watch.losses.limited)
            steps += self._watch.judgment.count(self._transport.missing(self.msg_id, answer, dropped=limited))
        return steps

    # -- the end

    def _stragglers(self) -> Iterator[Event]:
        """Yield what still comes of a cell that is over: Deno was seen to send a result after its idle."""
        for item in self.inbox.within(_LINGER):
            if not isinstance(item, Message):
                self.inbox.put(item)  # for `leftovers`
                return
            events = self._answers.receive(item, self.request.receive(item), time.monotonic())
            for event in [*events, *self._answers.due(math.inf)]:
                self._outcome.add(event)
                yield event

    def _await_interrupt(self) -> None:
        """Wait until the interrupt that was sent is done: one that is still under way would hit the next cell (H4).

        The user may end that, too: by a further interrupt.
        """
        deadline = Deadline.after(_INTERRUPT_SECONDS)
        while self._fate is not Fate.LEFT_RUNNING and self._actions.is_interrupting(PATIENCE):
            check()
            if self._interrupts_asked > self._interrupts_done or deadline.is_over:
                break

    def _get_variables(self) -> None:
        """Get the variables that the cell was asked for. A further interrupt ends that."""
        if self._copying is None or self._fate is not Fate.OK:
            return
        asked = self._interrupts_asked
        self._copying.stopped = lambda: "you have stopped it" if self._interrupts_asked > asked else ""
        try:
            self._outcome.variables = self._copying.behind(self.request.reply)
        except (BadVariable, NotCopied) as problem:
            self._outcome.not_copied = problem

    def _let_go(self) -> None:
        """End what was begun for the cell: routes, its subshell, what the kernel keeps of it."""
        if self._watch.gave_link_up and self._fate is not None:
            self._transport.abandon(left_unknown=self._fate is Fate.UNKNOWN)
        self._transport.forget(self.msg_id)
        self._actions.end()
        subshell, self._subshell = self._subshell, None
        if subshell is not None:
            subshell.leave(ended=self.request.idle)
        if self.durable is not None:
            self.durable.end()

    def _end(self, fate: Fate) -> None:
        ours = self.interrupted or self._actions.sent_interrupt
        self.result = self._outcome.result(
            self._watch,
            seconds=time.monotonic() - self._sent.began,
            interrupted=self.interrupted,
            by_another=False if ours else self._transport.main_shell.interrupted_by_another(self.msg_id),
        )
        self._transport.state.end_cell(self._watch.ending, fate)
        if fate not in (Fate.LEFT_RUNNING, Fate.UNKNOWN):
            self._transport.main_shell.end(self.msg_id)
