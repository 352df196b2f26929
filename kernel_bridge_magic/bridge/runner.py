"""Run one cell and show it: the loop that the magics and the command line share."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterable

from kernel_bridge_magic.connection.answers import END_OF_INPUT
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.display.relay import HOLD_SECONDS, Relay, Sink
from kernel_bridge_magic.display.throttle import OutputThrottle
from kernel_bridge_magic.errors import Fate, RemoteError
from kernel_bridge_magic.interrupts import Terminated, interrupts_to
from kernel_bridge_magic.protocol.events import Event, InputRequest
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.text import visible

AsUsual = Callable[[], contextlib.AbstractContextManager[None]]


def run(execution: Execution, relay: Relay, sink: Sink) -> RemoteResult:
    """Show the events of a cell that was sent, until its fate is known; return its result.

    The first Ctrl-C interrupts the remote cell. The second one leaves it running, and so does a signal that tells this
    process to end. An error of the cell is not raised: it is the result's `error`. `relay.error_is_shown` says whether
    it was shown already.

    An error while showing is raised. The cell is then left running, and a line on stderr says what became of it.
    """
    execution.heeds_interrupts = True
    with interrupts_to(execution.interrupt, lambda number: execution.leave(told_to_end(number))) as as_usual:
        events = iter(execution)
        try:
            with relay.waiting():
                show_events(events, execution, relay, ask=lambda asked: _ask(asked, execution, relay, sink, as_usual))
                assert execution.result is not None
                relay.finish(execution.error)
                _tell_whose(execution.result.error, relay, sink)
        except BaseException as problem:
            events.close()
            say_beside(problem, _became(leave_after(problem, execution)))
            raise
    return execution.result


def show_events(
    events: Iterable[Event],
    execution: Execution,
    relay: Relay,
    *,
    ask: Callable[[InputRequest], None] = lambda asked: None,
    seen: Callable[[Event], object] = lambda event: None,
    every: float = float("inf"),
) -> None:
    """Show the events of a cell as they come, at a pace that a front end can follow.

    `seen` is called with each event, and after `every` seconds without one. `ask` answers the cell's questions.
    """
    throttle = OutputThrottle()
    error_due: float | None = None  # when the error that is held is to be shown
    for came in events:
        seen(came)
        try:
            for event in throttle.receive(came, time.monotonic()):
                relay.show(event)
                if isinstance(event, InputRequest):
                    ask(event)
            now = time.monotonic()
            if error_due is not None and now >= error_due:
                relay.show_error()
            error_due = (error_due or now + HOLD_SECONDS) if relay.holds_error else None
            due = min((when for when in (throttle.due, error_due) if when is not None), default=float("inf"))
            due = min(due, now + every)
            execution.wake_at = None if due == float("inf") else due
        except KeyboardInterrupt:
            execution.interrupt()  # as in the wait, see `Execution.heeds_interrupts`
    for event in throttle.flush(time.monotonic()):
        relay.show(event)


def _ask(asked: InputRequest, execution: Execution, relay: Relay, sink: Sink, as_usual: AsUsual) -> None:
    """Ask the user what the cell asks, and answer or interrupt it."""
    try:
        # Inside the try as a whole: an interrupt may come while the handlers change places.
        with as_usual():
            value = sink.ask(relay.prompt(asked.prompt), asked.password)
    except Terminated as told:
        # Nobody will answer here any more, and an open question holds up everybody over there.
        execution.answer(END_OF_INPUT)
        execution.leave(told_to_end(told.number))
    except KeyboardInterrupt:
        execution.interrupt()
    except EOFError:
        execution.answer(END_OF_INPUT)
    else:
        execution.answer(value)


def _tell_whose(error: BaseException | None, relay: Relay, sink: Sink) -> None:
    """Add the kernel's name to an error whose front end does not show it; else note an interrupt that was not ours."""
    if isinstance(error, RemoteError) and sink.names_kernel:
        error.say_where()
    else:
        note_interruption(error, relay)


def note_interruption(error: BaseException | None, relay: Relay) -> None:
    """Note an interrupt that was not ours, if the cell has ended by one."""
    if isinstance(error, RemoteError) and error.interruption:
        relay.note(f"the cell was {error.interruption}")


def told_to_end(number: int) -> str:
    """Return why a cell is not waited for when the signal of that number came."""
    return f"this process was told to end ({signal.Signals(number).name})"


def say_beside(problem: BaseException, text: str) -> None:
    """Say what became of cells on stderr, beside an error that is raised here; in the error where that fails."""
    line = f"kernel-bridge: {text}"
    try:
        print(line, file=sys.stderr, flush=True)
    except Exception:  # in a terminal IPython prints errors to stdout, which is usually the broken stream
        problem.add_note(line)


def leave_after(problem: BaseException, execution: Execution) -> RemoteResult:
    """Stop waiting for a cell, since `problem` was raised while it was shown; return its result."""
    execution.leave(f"{type(problem).__name__} was raised here, so it is not waited for")
    for _ in execution:
        pass
    assert execution.result is not None
    return execution.result


def _became(result: RemoteResult) -> str:
    """Return what became of a cell that is not waited for."""
    title = visible(result.kernel.title)
    if result.fate is Fate.OK:
        return f"{title}: the cell has ended there without an error"
    if isinstance(result.error, RemoteError):
        return f"{title}: the cell has failed there ({visible(result.error.summary)})"
    return str(result.error)
