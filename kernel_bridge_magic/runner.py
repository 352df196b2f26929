"""Run one cell and show it: the loop that the magics and the command line share."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.display.relay import Relay, Sink
from kernel_bridge_magic.execution import Execution
from kernel_bridge_magic.protocol.events import InputRequest
from kernel_bridge_magic.results import RemoteResult

__all__ = ["run"]


def run(
    connection: KernelConnection,
    code: str,
    relay: Relay,
    sink: Sink,
    *,
    stdin: bool,
    store_history: bool = False,
    timeout: float | None = None,
    keep_outputs: bool = False,
    metadata: dict[str, Any] | None = None,
) -> RemoteResult:
    """Run `code` over `connection` and show what comes, until the cell's fate is known.

    The first Ctrl-C interrupts the cell over there, the second leaves it running. Nothing is raised for what
    the cell ends with: that is in the result's `error`.

    Raises:
        BadCell, LinkLost: as `KernelConnection.start`.
    """
    execution = connection.start(
        code,
        store_history=store_history,
        stdin=stdin,
        timeout=timeout,
        keep_outputs=keep_outputs,
        metadata=metadata,
    )
    with interrupts_to(execution.interrupt) as as_usual:
        for event in execution:
            if isinstance(event, InputRequest):
                _ask(execution, event, relay, sink, as_usual)
            else:
                relay.show(event)
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


@contextlib.contextmanager
def interrupts_to(
    handler: Callable[[], None],
) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give Ctrl-C to `handler` while the block runs; what is yielded puts the usual handler back for a while.

    A handler that only leaves word lost none of 6000 messages; a KeyboardInterrupt raised in the middle of a
    receive lost some in every run (FACTS 10). Signals reach the main thread only: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield contextlib.nullcontext
        return

    @contextlib.contextmanager
    def usual() -> Iterator[None]:
        try:
            signal.signal(signal.SIGINT, before)
            yield
        finally:
            signal.signal(signal.SIGINT, ours)

    def ours(number: int, frame: object) -> None:
        handler()

    before = signal.signal(signal.SIGINT, ours)
    if before is None:
        # It was not set from Python; Python cannot put it back, only the next best.
        before = signal.default_int_handler
    try:
        yield usual
    finally:
        signal.signal(signal.SIGINT, before)
