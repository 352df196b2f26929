"""`Execution`: one cell that was sent over a connection.

It drives `protocol.link` with a clock and does what that says; it decides nothing itself.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.durable import Durable
from kernel_bridge_magic.connection.outcome import outcome
from kernel_bridge_magic.connection.subshells import Subshell, interrupt_thread
from kernel_bridge_magic.errors import Fate, KernelBridgeError, LinkError, LinkLost, NotRun
from kernel_bridge_magic.fate.life import Sign, since_the_last_cell, told_of
from kernel_bridge_magic.fate.patience import RECONNECT
from kernel_bridge_magic.fate.watch import Action, Link
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Aside, Error, Event, ExecuteResult, InputRequest, Note, Queued, Tick
from kernel_bridge_magic.protocol.messages import Message, check_code, execute_content, text
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.protocol.questions import Questions
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.remote_code import displayhook_patch, record
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.sanitize.html import tame
from kernel_bridge_magic.text import count
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Inbox
from kernel_bridge_magic.transports.items import Back, Broken, Closed

__all__ = ["Execution"]

_TICK = 0.1  # seconds between looks at the clock while nothing comes
_PROOF_SECONDS = 3.0  # for a restarted kernel's output to find its way here
_ANSWER_SECONDS = 4.0  # for an interrupt that is under way to be done; a server has 3 s
_SERVER_SECONDS = 0.5  # it answers in milliseconds
_ARM_SECONDS = 0.3  # an idle kernel answers in milliseconds
_GREETING_SECONDS = 2.0  # it takes milliseconds, unless native code holds the GIL
_NO_INPUT = "\x04"  # ipykernel makes an EOFError of it
_LINGER = 0.05  # seconds for what an unorderly kernel sends after its idle


@dataclass(frozen=True, slots=True)
class _ServerSays:
    state: str | None
    connections: int | None
    asked_at: float
    there: str


@dataclass(frozen=True, slots=True)
class _Heartbeat:
    beats: bool | None
    greets: bool | None


class _InterruptDone:
    """The interrupt that was sent is done, or cannot be."""


class _Interrupted:
    """What an interrupt puts into the inbox; a SimpleQueue takes it even inside a signal handler."""


@dataclass(frozen=True, slots=True)
class _Leave:
    """What puts an end to the wait, and why."""

    why: str


class Execution:
    """One cell that was sent. Iterate over it for its events; then `result` has its outcome.

    Only one thread may iterate; `interrupt` may be called from any thread and from a signal handler.
    """

    def __init__(
        self,
        transport: Transport,
        control: Control,
        kernel: Kernel,
        code: str,
        *,
        store_history: bool,
        stdin: bool,
        timeout: float | None,
        since: float | None,
        outputs: Outputs | None,
        metadata: dict[str, Any] | None,
        subshell: Subshell | None = None,
        durable: bool = False,
        reconnect_timeout: float | None = RECONNECT,
    ) -> None:
        self._transport = transport
        self._control = control
        self._kernel = kernel
        self._inbox = Inbox()
        self._outputs = outputs
        self._value: RemoteValue | None = None
        self._questions = Questions()
        self._asked: str = ""
        self._asked_record = ""
        self._subshell = subshell
        self._thread = 0 if subshell is None else subshell.thread
        #: how many questions were refused here, None where they are asked. Kernels may ask though they must not
        self._refused = None if stdin else 0
        # In a subshell that they must not would hold for the main shell's cell as well.
        stdin = stdin or subshell is not None
        content = execute_content(check_code(code), store_history=store_history, allow_stdin=stdin)
        self._reconnect_timeout = reconnect_timeout
        self._began = self._ticked = time.monotonic()
        self._malformed, self._unheld = transport.malformed, transport.unheld
        self._durable: Durable | None = None
        try:
            _prepare(transport, self._subshell_id)
            check()  # the last moment at which nothing is done for it over there
            # Of an end behind which no new life was heard yet the cell tells, once it is known what becomes of it.
            self._news = transport.take_news() if transport.life.awaited is None else None
            self._durable = Durable(transport, self._inbox) if durable else None
            self._position, self._breaks = transport.position(), transport.breaks
            msg_id = self._durable.cell if self._durable else transport.new_id()
            transport.send(
                "execute_request",
                content,
                inbox=self._inbox,
                metadata={displayhook_patch.GUEST: metadata or {}, **record.mark(msg_id)},
                subshell=self._subshell_id,
                msg_id=msg_id,
            )
        except BaseException as problem:
            if self._durable is not None:
                self._durable.end()  # nobody else would
            if isinstance(problem, LinkLost) and (sign := transport.take_news(told=True)) is not None:
                raise NotRun(_before_it_was_sent(kernel.title, sign), kernel=kernel.title) from None
            raise
        self._awaited = transport.life.awaited
        self._link = Link(
            Request(msg_id),
            now=self._began,
            kernel=kernel.title,
            timeout=timeout,
            since=since,
            served=control.has_server,
            here=kernel.here,
            implementation=text(transport.info.get("implementation")),
            awaited=self._awaited,
            told=transport.told,
        )
        #: when the iteration is to give a `Tick`, once, whatever comes; on the monotonic clock
        self.wake_at: float | None = None
        #: whether a KeyboardInterrupt that comes in the wait is taken as `interrupt`, and the wait goes on
        self.heeds_interrupts = False
        #: whether it was interrupted from here
        self.interrupted = False
        self._sent_interrupt = False
        self._interrupting = False
        self._asking_server = False
        self._late: list[object] = []  # what came while the end of the interrupt was waited for
        #: the outcome, None until the iteration has come to its end
        self.result: RemoteResult | None = None

    @property
    def _subshell_id(self) -> str:
        return "" if self._subshell is None else self._subshell.id

    @property
    def msg_id(self) -> str:
        """The `msg_id` of the request."""
        return self._link.request.msg_id

    @property
    def error(self) -> Error | None:
        """The event that told of the error that a failed cell ended with; None for a cell that did not fail."""
        verdict = self._link.verdict
        return self._link.request.error if verdict is not None and verdict.fate is Fate.FAILED else None

    @property
    def exits(self) -> bool:
        """Whether the cell has asked its kernel to exit, which that does behind the cell."""
        return self._link.request.exits

    @property
    def question(self) -> str:
        """The `msg_id` of the kernel's last question, "" before the first or where it gives none."""
        msg_id = self._questions.header.get("msg_id")
        return msg_id if isinstance(msg_id, str) else ""

    @property
    def is_linked(self) -> bool:
        """Whether the cell's link is neither down nor closed."""
        return self._transport.is_open

    @property
    def breaks(self) -> int:
        """How often the link has broken, or could not be opened again, since the cell was sent."""
        return self._transport.breaks - self._breaks

    def hand(self, event: Aside) -> None:
        """Put an event among those of the cell, behind what has come so far."""
        self._inbox.put(event)

    def leftovers(self) -> list[object]:
        """Give what came when the cell's fate was known already, oldest first, once."""
        left: list[object] = []
        while not self._inbox.empty():
            self._late.append(self._inbox.get())
        for item in self._late:
            if isinstance(item, Aside):
                left.append(item.item)
            elif isinstance(item, Message | Sign | Closed):
                left.append(item)
        self._late.clear()
        return left

    def interrupt(self) -> None:
        """Interrupt: once stops the cell over there if it runs, else leaves it queued; twice leaves it running."""
        self._inbox.put(_Interrupted())

    def leave(self, why: str) -> None:
        """Wait no longer, which is told with the reason `why`; the cell goes on over there. As safe as `interrupt`."""
        self._inbox.put(_Leave(why))

    def answer(self, value: str) -> None:
        """Give the line that the last `InputRequest` asked for.

        Raises:
            LinkLost: the connection is closed.
        """
        self._transport.send("input_reply", {"value": value}, channel="stdin", parent=self._questions.header)

    def __iter__(self) -> Generator[Event]:
        try:
            if self._news is not None:
                yield Note(since_the_last_cell(self._news))
            while self._link.verdict is None:
                for step in self._heedful_steps():
                    if isinstance(step, Action):
                        self._act(step)
                    else:
                        self._keep(step)
                        yield step
            if not self._transport.orderly:
                yield from self._stragglers()
            if dropped := self._transport.malformed - self._malformed:
                what = "1 message that is" if dropped == 1 else f"{dropped} messages that are"
                yield Note(f"dropped {what} damaged or not signed by the kernel; output may be incomplete")
            if unheld := self._transport.unheld - self._unheld:
                what = count(unheld, "message")
                yield Note(f"no memory was left here for {what}; output is incomplete")
            yield from map(Note, self._transport.take_faults())
            self._await_interrupt()
            if (untold := self._link.untold) is not None:
                yield Note(since_the_last_cell(untold))
        finally:
            if self._link.gave_link_up and self._link.verdict is not None:
                self._transport.abandon(left_unknown=self._link.verdict.fate is Fate.UNKNOWN)
            self._let_go()
        self.result = outcome(
            self._link,
            self._kernel,
            outputs=self._outputs,
            value=self._value,
            seconds=time.monotonic() - self._began,
            interrupted=self.interrupted,
            by_another=self._interrupted_by_another,
        )
        self._settle_news(self.result.fate)
        if self.result.fate not in (Fate.LEFT_RUNNING, Fate.UNKNOWN):
            self._transport.turns.end(self.msg_id)

    def _settle_news(self, fate: Fate) -> None:
        """Leave to the next cell what it shall tell of the kernel's end."""
        life = self._transport.life
        has_ended = fate in (Fate.OK, Fate.FAILED)
        if has_ended and life.awaited is self._awaited:
            life.awaited = None  # whichever life it was that ran the cell
        told = self._link.untold is not None  # just now, and that end may still be to come
        if told or (life.awaited is None if has_ended else self._link.end_is_told):
            self._transport.take_news(told=told or not has_ended)

    def _let_go(self) -> None:
        self._transport.forget(self._link.request.msg_id)
        for asked in filter(None, (self._asked, self._asked_record)):
            self._transport.forget(asked)
        self._leave_subshell()
        if self._durable is not None:
            self._durable.end()

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
        """Wait for what comes next, or a moment; give what is to be shown or done now."""
        check()
        try:
            item = self._inbox.get(timeout=self._patience())
        except queue.Empty:
            steps: list[Event | Action] = []
        else:
            steps = self._take(item)
        now = time.monotonic()
        steps += self._mind_durable(now)
        if (question := self._questions.due(now)) is not None:
            steps.append(question)
        if self._link.verdict is not None:
            steps += self._count(now)
        elif now - self._ticked >= _TICK:
            steps += self._tick(now)
        if self.wake_at is not None and now >= self.wake_at:
            self.wake_at = None
            steps += [Tick()]
        return steps

    def _tick(self, now: float) -> list[Event | Action]:
        self._ticked = now
        self._link.receiving(self._transport.receiving_at)
        self._link.free = self._transport.turns.free
        self._link.wait_for(self._ahead(), now)
        self._link.unread = not self._inbox.empty()
        self._link.remembers = record.is_kept(self._transport.info)
        self._link.lost_since = self._transport.lost_since
        # What the kernel keeps for us can still be fetched in a week.
        is_kept = self._durable is not None and self._durable.usable
        self._link.reconnect_timeout = None if is_kept else self._reconnect_timeout
        steps = self._link.tick(now)
        if self._link.wants_proof:
            self._link.proven(self._transport.unexplained(self._position))
        # At a verdict durable mode gives what it holds back.
        return [*steps, *self._mind_durable(now), *self._count(now)]

    def _ahead(self) -> Queued:
        """What the kernel does before the cell, as far as we heard."""
        if self._subshell is not None:
            return Queued()  # what the main shell runs is in nobody's way there
        if self._kernel.state == "starting" and not self._transport.heard_iopub:
            return Queued(starting=True)
        return self._transport.turns.ahead_of(self.msg_id)

    def _await_interrupt(self) -> None:
        """Wait until the interrupt that was sent is done: one that is still under way would hit the next cell (H4).

        The user may end that, too: by a further interrupt.
        """
        end = time.monotonic() + _ANSWER_SECONDS
        while self._interrupting and not self._left_running and time.monotonic() < end:
            check()
            with contextlib.suppress(queue.Empty):
                item = self._inbox.get(timeout=PATIENCE)
                if isinstance(item, _InterruptDone | _Interrupted):
                    self._interrupting = False
                else:
                    self._late.append(item)

    def _await_server(self) -> None:
        """Wait a moment for what the server says, if it was asked: whether anybody else is connected to the kernel.

        And for the end of its own questions to the kernel, where the link has only just come back.
        """
        end = time.monotonic() + _SERVER_SECONDS
        while self._link.verdict is not None and (now := time.monotonic()) < end:
            if not self._asking_server and not self._link.outage.is_fresh(now):
                break
            check()
            with contextlib.suppress(queue.Empty):
                item = self._inbox.get(timeout=PATIENCE)
                if isinstance(item, _ServerSays):
                    self._take_now(item, time.monotonic())
                else:
                    self._late.append(item)

    @property
    def _interrupted_by_another(self) -> bool | None:
        if self.interrupted or self._sent_interrupt:
            return False
        return self._transport.turns.interrupted_by_another(self.msg_id)

    @property
    def _left_running(self) -> bool:
        verdict = self._link.verdict
        return verdict is not None and verdict.fate is Fate.LEFT_RUNNING

    def _patience(self) -> float:
        """How many seconds to wait for the next item."""
        now = time.monotonic()
        waking = _TICK if self.wake_at is None else max(self.wake_at - now, 0.0)
        return min(_TICK, waking, self._questions.patience(now))

    def _leave_subshell(self) -> None:
        subshell, self._subshell = self._subshell, None
        if subshell is None:
            return
        if self._link.request.idle:
            subshell.delete()
        else:
            subshell.delete_itself()

    def _stragglers(self) -> Iterator[Event]:
        """What still comes of a cell that is over: Deno was seen to send a result after its idle."""
        end = time.monotonic() + _LINGER
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._inbox.get(timeout=max(end - time.monotonic(), 0.0))
                if not isinstance(item, Message):
                    self._inbox.put(item)  # for `leftovers`
                    return
                self._questions.receive(item, time.monotonic())
                for event in self._link.request.receive(item):
                    if isinstance(event, InputRequest) and self._refused is not None:
                        self._answer_nothing()
                        continue
                    self._keep(event)
                    yield event

    def _count(self, now: float) -> list[Event]:
        steps: list[Event] = []
        if self._link.verdict is not None and (dropped := self._inbox.newly_dropped()):
            steps.append(self._link.losses.no_room(dropped, "more than can wait here while nothing is shown"))
        if self._durable is not None and self._durable.usable:
            return steps  # it fetches what is missing
        if self._link.verdict is not None:
            steps += self._link.overran(self._transport.overran(self.msg_id, dropped=self._link.was_limited))
        if self._link.wants_count(now):
            self._await_server()
            first, last = self._link.bounds
            first = first or self._position
            # A connection that broke again may have taken requests of its own along, which leave numbers as well.
            alone = self._link.alone and self.breaks == 1
            gap = self._transport.missing(self.msg_id, first, last, alone=alone)
            steps += self._link.count(gap)
        return steps

    def _mind_durable(self, now: float) -> list[Event | Action]:
        if self._durable is None:
            return []
        items = self._durable.mind(now) if self._link.verdict is None else self._durable.let_go()
        steps = [step for item in items for step in self._take_now(item, now)]
        if lost := self._durable.newly_lost():
            steps.append(self._link.losses.no_room(lost, "more than the other side keeps"))
        if self._durable.uncounted:
            self._link.losses.missing = None
        return steps

    def _take(self, item: object) -> list[Event | Action]:
        now = time.monotonic()
        items = [item] if self._durable is None else self._durable.take(item, now)
        return [step for one in items for step in self._take_now(one, now)]

    def _take_now(self, item: object, now: float) -> list[Event | Action]:
        if isinstance(item, Message) and self._asked_record and item.parent_id == self._asked_record:
            if item.channel == "shell":
                return list(self._link.kernel_recorded(record.read(item.content, self.msg_id), now))
            self._link.record_heard(item, now)
            return []
        if isinstance(item, Message):
            self._questions.receive(item, now)
            events = list(self._link.receive(item, now))
            for question in events:
                if isinstance(question, InputRequest) and self._refused is None:
                    self._questions.hold(question)
            asked = sum(isinstance(it, InputRequest) for it in events)
            steps: list[Event | Action] = [it for it in events if not isinstance(it, InputRequest)]
            return [*steps, *self._refuse(now)] if asked and self._refused is not None else steps
        if isinstance(item, Sign):
            self._link.sign(item, now)
        elif isinstance(item, Closed):
            self._link.closed(item.reason, now, denied=item.denied, unaccepted=item.unaccepted)
        elif isinstance(item, Broken):
            self._link.broke(item.reason, item.clock, now)
        elif isinstance(item, Back):
            return self._link.back(item.seconds, item.clock, now)
        elif isinstance(item, _ServerSays):
            self._asking_server = False
            self._link.server_says(
                item.state, now, connections=item.connections, asked_at=item.asked_at, there=item.there
            )
        elif isinstance(item, _Heartbeat):
            self._link.heartbeat(item.beats, item.greets)
        elif isinstance(item, _Interrupted):
            self.interrupted = True
            return self._link.interrupt(now)
        elif isinstance(item, _Leave):
            return list(self._link.leave(item.why))
        elif isinstance(item, _InterruptDone):
            self._interrupting = False
        elif isinstance(item, Note | Aside):
            return [item]
        return []

    def _refuse(self, now: float) -> list[Event | Action]:
        """Answer a question that nobody here may be asked: with the end of input, once; then the cell is interrupted.

        A loop that asks until it has an answer would ask for ever, and hold up everybody over there.
        """
        assert self._refused is not None
        self._refused += 1
        if self._refused == 1:
            self._answer_nothing()
        if self._refused != 2:
            return []
        return [
            Note("the cell asks for input again, which nobody can give here; it is interrupted"),
            *self._link.interrupt(now),
        ]

    def _answer_nothing(self) -> None:
        with contextlib.suppress(LinkError):
            self.answer(_NO_INPUT)

    def _act(self, action: Action) -> None:
        if action is Action.ASK_SERVER:
            self._asking_server = True
            self._beside(self._ask_outside)
        elif action is Action.ASK_KERNEL:
            if self._asked:
                self._transport.forget(self._asked)
            # A connection that is closed cannot ask; its end has its own rule.
            with contextlib.suppress(LinkError):
                self._asked = self._transport.send(
                    "kernel_info_request", {}, inbox=self._inbox, subshell=self._subshell_id
                )
            self._link.asked_kernel(self._asked, time.monotonic())
        elif action is Action.ASK_RECORD:
            with contextlib.suppress(LinkError):
                self._asked_record = self._transport.send(
                    "execute_request", record.question(), inbox=self._inbox, subshell=self._subshell_id
                )
        elif action is Action.INTERRUPT:
            self._interrupting = self._sent_interrupt = True
            self._beside(self._interrupt_there)

    def _ask_outside(self) -> None:
        asked_at = time.monotonic()
        state, connections = self._control.look()
        there = self._control.others() if state is None and self._link.outage.happened else ""
        self._inbox.put(_ServerSays(state, connections, asked_at, there))
        beats = self._control.beats()
        self._inbox.put(_Heartbeat(beats, self._transport.greets(_GREETING_SECONDS) if beats else None))

    def _interrupt_there(self) -> None:
        try:
            if self._subshell is None:
                self._control.interrupt(self._transport, self._runs_there)
            elif self._runs_there():
                interrupt_thread(self._transport, self._thread)
        except KernelBridgeError as problem:
            self._inbox.put(Note(f"the interrupt was not sent ({problem})"))
        finally:
            self._inbox.put(_InterruptDone())

    def _runs_there(self) -> bool:
        """Whether nothing yet says that the cell is over; what came may still be on its way to the rules."""
        request = self._link.request
        return not (request.idle or request.reply is not None or self._link.verdict is not None)

    def _beside(self, work: Callable[[], None]) -> None:
        """Do what may take seconds in a thread of its own: output and interrupts go on meanwhile."""
        threading.Thread(target=work, name="kernel-bridge-aside", daemon=True).start()

    def _keep(self, event: Event) -> None:
        if isinstance(event, ExecuteResult):
            shown = None if self._kernel.own else tame(event.data)
            self._value = RemoteValue(event.data, event.metadata, shown=shown)
        if self._outputs is not None:
            self._outputs.add(event)


def _before_it_was_sent(kernel: str, sign: Sign) -> str:
    rest = "Its variables are gone" if sign.comes_back else "It has no kernel now"
    return f"{told_of(kernel, sign.told)} before the cell was sent, so it is safe to run the cell again. {rest}"


def _prepare(transport: Transport, subshell: str) -> None:
    """Send what an IPython kernel needs before it gives our cells' results.

    Over a link that may break its answer is waited for, unless the kernel is busy: it says where the kernel's messages
    stand before the cell, and without that nobody could tell later whether the cell has made any.
    """
    transport.prove(_PROOF_SECONDS)
    if not transport.displayhook_patch.must_arm(transport.life.session, now=time.monotonic(), breaks=transport.breaks):
        return
    transport.farewell = displayhook_patch.disarm()
    if transport.reopens:
        arm = displayhook_patch.arm()
        transport.ask("execute_request", arm, subshell=subshell, seconds=_ARM_SECONDS, harmless=True, whole=True)
    else:
        transport.send("execute_request", displayhook_patch.arm(), subshell=subshell)
