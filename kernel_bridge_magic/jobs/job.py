"""`RemoteJob`: a cell that runs in the background, while other cells run here."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Protocol

from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.bridge.runner import leave_after, note_interruption, show_events
from kernel_bridge_magic.bridge.widgets import CellSink, WidgetBridge
from kernel_bridge_magic.choices import RECONNECT, check_duration
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.display.neutral import QUEUED, VARIABLE
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import BadVariable, FateError, NotCopied, NotRun
from kernel_bridge_magic.interrupts import PATIENCE, check, interrupt_says
from kernel_bridge_magic.jobs.fanout import not_run, outcome_of
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import Parent
from kernel_bridge_magic.protocol.events import Event, Started
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.text import clock, visible
from kernel_bridge_magic.transfer.summary import THERE, lacking, line

_LINE_SECONDS = 1.0  # between two states of the line that says how long a job has run


class Screen(Protocol):
    """Where a job is shown: below the cell that has begun it, or above the prompt of a terminal."""

    #: whether the line is to say that a job is left running; where all are told of in one line it is not
    tells_left: bool
    #: whether the line is shown once more at the end; else what was bound is shown by itself
    tells_end: bool

    @property
    def sink(self) -> CellSink:
        """The sink of what the cell shows."""

    @property
    def parent(self) -> Parent:
        """The request of this front end that has begun the job."""

    def line(self, text: str, *, over: bool) -> None:
        """Show the line about the job in place of the last one, where that can be done. `over`: it is the last one."""

    def waited(self, *, raises: bool) -> None:
        """Show in the cell that has waited for the job what could not be shown before; `raises` its error there."""


class RemoteJob:
    """A cell that runs in the background. Its outputs and its errors are shown as they come.

    `number` is what `%jobs` calls it, `kernel` the kernel that it runs in. In an event loop `await job` gives its
    result. All methods may be called from any thread.
    """

    def __init__(
        self,
        number: int,
        kernel: Kernel,
        cell: Cell,
        pool: Pool,
        screen: Screen,
        *,
        transport: str = "auto",
        widgets_of: Callable[[KernelConnection], WidgetBridge] | None = None,
        reconnect_timeout: float | None = RECONNECT,
        bind: Callable[[RemoteResult], list[str]] | None = None,
    ) -> None:
        self.number = number
        self.kernel = kernel
        self._cell = cell
        self._pool = pool
        self._screen = screen
        self._transport = transport
        self._widgets_of = widgets_of
        self._reconnect_timeout = reconnect_timeout
        self._bind = bind
        self._bound: list[str] = []  # a line for each variable that was
        self._outputs = Outputs()
        self._lock = threading.RLock()
        self._doing = "connecting"
        self._began = time.monotonic()
        self._seconds = 0.0  # how long it has run, once it is over
        self._is_sent = False  # or is being sent; it cannot be called off any more
        self._called_off: NotRun | None = None
        self._since = time.strftime("%H:%M")
        self._execution: Execution | None = None
        self._interrupts = 0
        self._left = ""  # why it is no longer waited for
        self._told = float("-inf")  # when the line was shown last
        self._result: RemoteResult | None = None
        self._over = threading.Event()
        self._callbacks: list[Callable[[], object]] = []

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._tell()
        threading.Thread(target=self._work, name=f"kernel-bridge-job-{self.number}", daemon=True).start()

    # -- for the user

    @property
    def status(self) -> str:
        """What it does, `connecting`, `queued` or `running`; once it is over its fate, such as `ok` or `failed`."""
        return self._doing if self._result is None else str(self._result.fate)

    @property
    def is_over(self) -> bool:
        """Whether it is over."""
        return self._over.is_set()

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What it has shown so far, as nbformat outputs."""
        with self._lock:
            return [dict(item) for item in self._outputs.items]

    def wait(self, timeout: float | str | None = None) -> bool:
        """Wait until it is over, for `timeout` seconds at most, or `"5m"` (None: for ever); return whether it is.

        Raises:
            BadOption: `timeout` is no length of time.
        """
        self._wait(_length_of(timeout))
        if self._over.is_set():
            self._screen.waited(raises=False)
        return self._over.is_set()

    def _wait(self, timeout: float | None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        with interrupt_says(f"no longer waiting; job {self.number} goes on"):
            while not self._over.wait(PATIENCE if until is None else max(min(PATIENCE, until - time.monotonic()), 0)):
                check()
                if until is not None and time.monotonic() >= until:
                    break

    def result(self, timeout: float | str | None = None) -> RemoteResult:
        """Wait until it is over and return its `RemoteResult`.

        Raises:
            TimeoutError: it is not over after `timeout` seconds (or `"5m"`); it goes on.
            BadOption: `timeout` is no length of time.
            RemoteError: the remote code raised.
            FateError: the cell did not come to its end.
        """
        seconds = _length_of(timeout)
        self._wait(seconds)
        if not self._over.is_set():
            raise TimeoutError(f"{self._name} is not over after {seconds:g} s; it goes on")
        return self._outcome()

    def _outcome(self) -> RemoteResult:
        assert self._result is not None
        self._screen.waited(raises=self._result.error is not None)
        self._result.raise_for_error()
        return self._result

    def leave(self, why: str) -> None:
        """Stop waiting for it, for the reason `why`; it goes on over there, and nothing more of it is shown here."""
        with self._lock:
            self._left = why
            if self._execution is not None:
                self._execution.leave(why)
        self._call_off(why)

    def interrupt(self) -> None:
        """Interrupt it: once stops the cell over there if it runs, twice stops waiting for it.

        A cell that was not sent yet is not run.
        """
        with self._lock:
            self._interrupts += 1
            if self._execution is not None:
                self._execution.interrupt()
        self._call_off("interrupted before the cell was sent")

    def _call_off(self, why: str) -> None:
        """End it if it was not sent yet. Its thread may wait for a connection for another minute."""
        with self._lock:
            if self._is_sent:
                return
            self._called_off = self._called_off or NotRun(f"{why}; nothing was run", kernel=self.kernel.title)
        self._end(not_run(self.kernel, self._called_off))

    def __await__(self) -> Generator[Any, None, RemoteResult]:
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def tell() -> None:
            if not over.done():
                over.set_result(None)

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(tell)

        with self._lock:
            if self._over.is_set():
                tell()
            else:
                self._callbacks.append(wake)
        yield from over
        return self._outcome()

    def __repr__(self) -> str:
        return f"<RemoteJob {self.number}: {visible(self.kernel.title)}, {self.status}>"

    # -- in its thread

    def _work(self) -> None:
        sink = self._screen.sink
        try:
            connection, execution = self._send()
        except Exception as problem:  # also the sink's, as below
            result = outcome_of(self.kernel, problem, is_sent=self._is_sent)
        else:
            try:
                result = self._show(connection, execution, sink)
            except Exception as problem:  # the sink's, such as a terminal that is gone: whoever waits must hear of it
                result = leave_after(problem, execution)
        self._end(result)

    def _send(self) -> tuple[KernelConnection, Execution]:
        """Connect and send the cell.

        Raises:
            KernelBridgeError: nothing was sent.
        """
        notes = Relay(self._screen.sink, self.kernel)

        def note(event: Event) -> None:
            if self._result is None:
                notes.show(event)

        known = self._pool.known(self.kernel)
        connection = self._pool.connect(self.kernel, self._transport, note=note, cell=self._cell)
        with self._lock:
            called_off = self._called_off
            self._is_sent = called_off is None
        if called_off is not None:
            if connection not in known:
                self._pool.release(connection)
            raise called_off
        connection.reconnect_timeout = self._reconnect_timeout
        execution = connection.start(self._cell, note, self._why_stopped)
        self._cell.variables.release()
        for copied in execution.sent.values():
            notes.inform(VARIABLE, line(copied, THERE, self.kernel.title))
        with self._lock:
            self._execution = execution
            for _ in range(self._interrupts):  # they came while it was being sent
                execution.interrupt()
            if self._left:
                execution.leave(self._left)
        self._doing = "queued"
        return connection, execution

    def _show(self, connection: KernelConnection, execution: Execution, sink: CellSink) -> RemoteResult:
        """Show the cell to its end, and return its result."""
        with contextlib.ExitStack() as stack:
            widgets = None
            if self._widgets_of is not None:
                cells = self._widgets_of(connection).cell(execution, self._screen.parent, sink)
                widgets = stack.enter_context(cells)
            relay = Relay(sink, self.kernel, widgets=widgets)
            self._tell()
            show_events(execution, execution, relay, seen=self._note, every=_LINE_SECONDS)
            relay.finish()
            result = execution.result
            assert result is not None
            note_interruption(result.error, relay)
        return result

    def _note(self, event: Event) -> None:
        """Keep an event, and tell how far the job is."""
        if isinstance(event, Started):
            self._doing, self._began, self._since = "running", time.monotonic(), time.strftime("%H:%M")
        with self._lock:
            self._outputs.add(event)
        if isinstance(event, Started) or time.monotonic() >= self._told + _LINE_SECONDS:
            self._tell()

    def _end(self, result: RemoteResult) -> None:
        """End it, unless that was done: show how it has ended, and tell all who wait."""
        with self._lock:
            if self._result is not None:
                return
            self._seconds = time.monotonic() - self._began if self._doing == "running" else result.seconds
            self._result = result
        if result.variables and self._bind is not None:
            self._bound = self._bind(result)
        with contextlib.suppress(Exception):  # whoever waits is to hear of the end also where nothing can be shown
            self._screen.sink.inform(QUEUED, "")
            if isinstance(result.error, FateError | BadVariable | NotCopied) and not self._left:
                self._screen.sink.error(result.error)
            for text in () if self._screen.tells_end else self._bound:
                self._screen.sink.inform(VARIABLE, text)
            if not self._left or self._screen.tells_left:
                self._tell()
        with self._lock:
            self._over.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @property
    def _name(self) -> str:
        return f"job {self.number} → {visible(self.kernel.title)}"

    def _why_stopped(self) -> str:
        """Return why the variables that go with the cell are not waited for any more."""
        return "you have stopped it" if self._interrupts else self._left

    def state(self) -> str:
        """Return in a few words what it does, and since when or for how long."""
        if self._result is not None:
            return f"{self.status} {clock(self._seconds)}"
        since = f"{self._doing} since {self._since}"
        return f"{since}, {clock(time.monotonic() - self._began)}" if self._doing == "running" else since

    def line(self) -> str:
        """Return one line: which job it is, and its state."""
        told = self._bound or lacking(self._result, self._cell.variables.wanted)
        return "; ".join([f"{self._name}: {self.state()}", *told])

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._screen.line(self.line(), over=self._result is not None)


def _length_of(timeout: float | str | None) -> float | None:
    # Zero and less are no wait at all, as for `threading.Event.wait`.
    return timeout if isinstance(timeout, int | float) and timeout <= 0 else check_duration("timeout", timeout)
