"""Run one cell and show it: the loop that the magics and the command line share."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Generator

from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.display.pace import Pace
from kernel_bridge_magic.display.relay import HOLD_SECONDS, Relay, Sink
from kernel_bridge_magic.errors import Fate, LinkError, RemoteError
from kernel_bridge_magic.interrupts import Terminated, interrupts_to
from kernel_bridge_magic.protocol.events import STOP, Event, InputRequest, Note, Tick
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.text import visible

__all__ = ["run"]

_LOOK_SECONDS = 0.2  # between looks at a link that is down
_SETTLE_SECONDS = 1.0  # for what the server kept to come when the link is back: the question may be over

_NO_INPUT = "\x04"  # what ipykernel reads as the end of input
_MAY_BE_LOST = f"the link broke after your answer, which may be lost. If the cell does not go on, {STOP} interrupts it"

_NOT_SENT = "your answer was not sent. The cell may wait for it there, and holds up everybody who uses the kernel"

AsUsual = Callable[[], contextlib.AbstractContextManager[None]]


def run(execution: Execution, relay: Relay, sink: Sink) -> RemoteResult:
    """Show what comes of a cell that was sent, until its fate is known.

    The first Ctrl-C interrupts the cell over there, the second leaves it running; so does a signal that tells this
    process to end. Nothing is raised for what the cell ends with: that is in the result's `error`.
    `relay.error_is_shown` says whether it was shown already.

    What goes wrong here while it is shown is raised, and a line tells what became of the cell: it is left running.
    """
    execution.heeds_interrupts = True
    with interrupts_to(execution.interrupt, lambda number: execution.leave(_told(number))) as as_usual:
        questions = _Questions(execution, relay, sink, as_usual)
        events = iter(execution)
        try:
            with relay.waiting():
                _show(events, execution, relay, questions)
                assert execution.result is not None
                if questions.unanswered and execution.result.fate in (Fate.LEFT_RUNNING, Fate.UNKNOWN):
                    relay.note(_NOT_SENT)
                relay.finish(execution.error)
                _tell_whose(execution.result.error, relay, sink)
        except BaseException as problem:
            events.close()
            _tell(problem, f"kernel-bridge: {_became(execution, problem)}")
            raise
    return execution.result


def _show(events: Generator[Event], execution: Execution, relay: Relay, questions: _Questions) -> None:
    pace = Pace()
    error_due: float | None = None  # when the error that is held is to be shown
    for came in events:
        try:
            questions.hear(came)
            for event in pace.take(came, time.monotonic()):
                relay.show(event)
                if isinstance(event, InputRequest):
                    questions.ask(event)
            now = time.monotonic()
            if error_due is not None and now >= error_due:
                relay.show_error()
            error_due = (error_due or now + HOLD_SECONDS) if relay.holds_error else None
            due = [when for when in (pace.due, questions.mind(now), error_due) if when is not None]
            execution.wake_at = min(due, default=None)
        except KeyboardInterrupt:
            execution.interrupt()  # as in the wait, see `Execution.heeds_interrupts`
    for event in pace.flush(time.monotonic()):
        relay.show(event)


def _tell_whose(error: BaseException | None, relay: Relay, sink: Sink) -> None:
    """Let an error name its kernel where the front end does not say it; else tell of an interrupt that is not ours."""
    if not isinstance(error, RemoteError):
        return
    if sink.names_kernel:
        error.say_where()
    elif error.interruption:
        relay.note(f"the cell was {error.interruption}")


def _told(number: int) -> str:
    return f"this process was told to end ({signal.Signals(number).name})"


def _tell(problem: BaseException, line: str) -> None:
    """Tell on stderr what became of a cell; where that is what is broken, in a note of the error.

    IPython prints errors in a terminal to stdout, which is mostly what is broken.
    """
    try:
        print(line, file=sys.stderr, flush=True)
    except Exception:
        problem.add_note(line)


def _became(execution: Execution, problem: BaseException) -> str:
    """Wait no longer for a cell, since `problem` was raised while it was shown or waited for; say what became of it."""
    execution.leave(f"{type(problem).__name__} was raised here, so it is not waited for")
    for _ in execution:
        pass
    result = execution.result
    assert result is not None
    title = visible(result.kernel.title)
    if result.fate is Fate.OK:
        return f"{title}: the cell has ended there without an error"
    if isinstance(result.error, RemoteError):
        return f"{title}: the cell has failed there ({visible(result.error.summary)})"
    return str(result.error)


class _Questions:
    """The questions of one cell, and an answer that waits until the link is back.

    A connection that is closed is no matter here: the rules tell what became of the cell, and end it.
    """

    def __init__(self, execution: Execution, relay: Relay, sink: Sink, as_usual: AsUsual) -> None:
        self._execution = execution
        self._relay = relay
        self._sink = sink
        self._as_usual = as_usual
        self._kept: str | None = None
        self._kept_for = ""  # the question that it answers, also when it has been sent
        self._back_at: float | None = None
        # How often the link had broken when the last answer was sent; None once the cell has gone on.
        self._breaks: int | None = None

    @property
    def unanswered(self) -> bool:
        """Whether there is an answer that was not sent."""
        return self._kept is not None

    def ask(self, event: InputRequest) -> None:
        """Ask the user, and answer or interrupt. What was asked already, and waits for the link, is not asked again."""
        question = self._execution.question
        if question and question == self._kept_for:
            return
        self._kept = None  # the kernel asks something else: it waits no more for that
        try:
            # Inside the try as a whole: an interrupt may come while the handlers change places.
            with self._as_usual():
                value = self._sink.ask(self._relay.prompt(event.prompt), event.password)
        except Terminated as told:
            # Nobody will answer here any more, and an open question holds up everybody over there.
            self._answer(_NO_INPUT, question)
            self._execution.leave(_told(told.number))
            return
        except KeyboardInterrupt:
            self._execution.interrupt()
            return
        except EOFError:
            value = _NO_INPUT
        self._answer(value, question)

    def hear(self, event: Event) -> None:
        """Take what came: where the cell has gone on, nobody doubts that it has its answer."""
        if not isinstance(event, Note | Tick):
            self._breaks = None

    def mind(self, now: float) -> float | None:
        """Send the answer that waits, if it can be; give when to come back for it, None if nothing waits.

        One that was sent just before the link broke is told of: sent twice it might answer the next question.

        A kernel gives an answer to whoever asks when it comes. If the cell's question is over, which the server's
        kept messages tell, that may be somebody else: so those are waited for.
        """
        if self._kept is not None and self._execution.question != self._kept_for:
            self._kept = None
        may_be_lost = self._breaks is not None and self._execution.breaks > self._breaks
        if self._kept is None and not may_be_lost:
            return None
        if not self._execution.is_linked:
            self._back_at = None
        elif self._back_at is None:
            self._back_at = now
        elif now - self._back_at >= _SETTLE_SECONDS:
            if self._kept is not None:
                self._answer(self._kept, self._kept_for)
            else:
                self._relay.note(_MAY_BE_LOST)
                may_be_lost, self._breaks = False, None
        return now + _LOOK_SECONDS if may_be_lost or self._kept is not None else None

    def _answer(self, value: str, question: str) -> None:
        self._back_at = None
        breaks = self._execution.breaks
        try:
            self._execution.answer(value)
        except LinkError:
            # Nothing was sent, so that sending it once later is right.
            self._kept, self._kept_for = value, question
        else:
            self._kept = None
            self._breaks = breaks
