"""Run one cell and show it: the loop that the magics and the command line share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from kernel_bridge_magic.display.relay import Relay, Sink
from kernel_bridge_magic.execution import Execution
from kernel_bridge_magic.interrupts import interrupts_to
from kernel_bridge_magic.protocol.events import InputRequest
from kernel_bridge_magic.protocol.pace import Pace
from kernel_bridge_magic.results import RemoteResult

__all__ = ["run"]


def run(execution: Execution, relay: Relay, sink: Sink) -> RemoteResult:
    """Show what comes of a cell that was sent, until its fate is known.

    The first Ctrl-C interrupts the cell over there, the second leaves it running. Nothing is raised for what
    the cell ends with: that is in the result's `error`.
    """
    pace = Pace()
    with interrupts_to(execution.interrupt) as as_usual:
        for came in execution:
            for event in pace.take(came, time.monotonic()):
                if isinstance(event, InputRequest):
                    _ask(execution, event, relay, sink, as_usual)
                else:
                    relay.show(event)
            execution.wake_at = pace.due
        for event in pace.flush(time.monotonic()):
            relay.show(event)
    relay.finish()
    assert execution.result is not None
    return execution.result


def _ask(
    execution: Execution,
    event: InputRequest,
    relay: Relay,
    sink: Sink,
    as_usual: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    try:
        # Inside the try as a whole: an interrupt may come while the handlers change places.
        with as_usual():
            value = sink.ask(relay.prompt(event.prompt), event.password)
    except KeyboardInterrupt:
        execution.interrupt()
        return
    except EOFError:
        value = "\x04"  # what ipykernel reads as the end of input
    execution.answer(value)
