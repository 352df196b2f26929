"""`FanOut`: one cell on many kernels at once.

One short-lived thread for each kernel connects, sends the cell, and passes on what comes. So a kernel that is slow,
frozen or dead holds up nobody. The caller's thread alone shows, and alone hears of Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.bridge.runner import told_to_end
from kernel_bridge_magic.choices import RECONNECT
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.errors import BadInput, FateError, FateUnknown, KernelBridgeError, NotRun
from kernel_bridge_magic.interrupts import PATIENCE, check, interrupts_to
from kernel_bridge_magic.jobs.results import RemoteResults
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event
from kernel_bridge_magic.results import RemoteResult

#: How long the first word of a kernel that its server calls starting is waited for.
STARTING_SECONDS = 30.0
_AT_ONCE = 64  # kernels, unless the user says otherwise
_KEPT_OPEN = 16  # connections that a fan-out leaves open, unless more were open before: each has a thread
_MOST_WAITING = 1000  # events of one kernel that wait to be shown; a flood then waits where it is capped
_LEAVE_SECONDS = 1.0  # for cells that are left running to say so


@dataclass(frozen=True, slots=True)
class Begun:
    """The cell was sent to a kernel, over `connection`. What `execution` yields comes next."""

    connection: KernelConnection
    execution: Execution


#: What comes of one kernel: `Begun`, then events, then the result; of a cell that was not sent, only the result.
Came = Begun | Event | RemoteResult


class FanOut:
    """One cell that runs on many kernels. Iterate over it for what comes; then `results` has their outcomes.

    Only one thread may iterate. `interrupt` may be called from any thread and from a signal handler.

    It runs on `at_once` kernels at the same time. `if_busy` is as for one cell, or `skip`: a kernel that runs something
    else is left out. A kernel that its server calls *starting* is waited for without end if that is `wait`, for 30
    seconds if it is None.
    """

    def __init__(
        self,
        pool: Pool,
        kernels: Sequence[Kernel],
        cell: Cell,
        *,
        transport: str = "auto",
        at_once: int | None = None,
        if_busy: str | None = None,
        reconnect_timeout: float | None = RECONNECT,
    ) -> None:
        self.kernels = tuple(kernels)
        self._pool = pool
        of_one = {None: "wait", "skip": "fail"}.get(if_busy, if_busy or "")
        self._cell = dataclasses.replace(cell, if_busy=of_one)
        self._transport = transport
        self._skip = if_busy == "skip"
        self._patient = if_busy == "wait"
        self._reconnect_timeout = reconnect_timeout
        self._slots = threading.Semaphore(at_once or _AT_ONCE)
        self._came: queue.SimpleQueue[tuple[int, Came | BaseException]] = queue.SimpleQueue()
        self._waiting = [threading.Semaphore(_MOST_WAITING) for _ in kernels]
        # Reentrant: a signal handler acquires it, and may interrupt itself.
        self._lock = threading.RLock()
        #: why nothing is sent any more, "" while cells may be
        self._called_off = ""
        #: why cells that were sent are left running, "" while they are waited for
        self._left = ""
        self._interrupts = 0
        self._sending: set[int] = set()  # kernels to which the cell was sent, or is being sent
        self._executions: dict[int, Execution] = {}
        self._opened: list[KernelConnection] = []
        self._known = 0  # connections that were open before
        self._over = threading.Event()
        #: by kernel, in their order; None for what is not over
        self.results: list[RemoteResult | None] = [None] * len(self.kernels)

    # -- the thread that shows

    def __iter__(self) -> Iterator[tuple[int, Came] | None]:
        """Yield what comes with the number of its kernel; None a few times a second, so that the caller can look.

        Raises:
            KeyboardInterrupt: somebody interrupted, and `interrupt` was not called for it.
        """
        try:
            for number in range(len(self.kernels)):
                name = f"kernel-bridge-{number}"
                threading.Thread(target=self._work, args=(number,), name=name, daemon=True).start()
            while None in self.results:
                yield self._next()
        finally:
            self._end()

    def _next(self) -> tuple[int, Came] | None:
        check()
        try:
            number, came = self._came.get(timeout=PATIENCE)
        except queue.Empty:
            return self._not_sent()
        self._waiting[number].release()
        if isinstance(came, Exception):
            came = outcome_of(self.kernels[number], came, is_sent=number in self._sending)
        if isinstance(came, BaseException):
            raise came
        if self.results[number] is not None:
            return None  # it was called off, and is no longer waited for
        if isinstance(came, RemoteResult):
            self.results[number] = came
        return number, came

    def _not_sent(self) -> tuple[int, Came] | None:
        """Return the outcome of one cell that was called off: its thread may still wait for a connection."""
        if not self._called_off:
            return None
        for number, result in enumerate(self.results):
            if result is None and number not in self._sending:
                kernel = self.kernels[number]
                outcome = not_run(kernel, NotRun(self._called_off, kernel=kernel.title))
                self.results[number] = outcome
                return number, outcome
        return None

    def interrupt(self) -> None:
        """Interrupt: once stops every cell that runs and sends none any more; twice leaves them running."""
        with self._lock:
            self._interrupts += 1
            self._called_off = self._called_off or "interrupted before the cell was sent; nothing was run"
            for execution in self._executions.values():
                execution.interrupt()

    def leave(self, why: str) -> None:
        """Stop waiting, for the reason `why`; cells that were sent go on over there. As safe as `interrupt`."""
        with self._lock:
            self._left = self._left or why
            self._called_off = self._called_off or f"{why}; nothing was sent"
            for execution in self._executions.values():
                execution.leave(why)

    def _end(self) -> None:
        """Leave what is not over, and close connections that nobody will miss."""
        if None in self.results:
            self.leave("it is no longer waited for")
            until = time.monotonic() + _LEAVE_SECONDS
            while None in self.results and time.monotonic() < until:
                try:
                    number, came = self._came.get(timeout=PATIENCE)
                except queue.Empty:
                    self._not_sent()
                    continue
                self._waiting[number].release()
                if isinstance(came, RemoteResult):
                    self.results[number] = came
        self._cell.variables.release()
        with self._lock:
            self._over.set()
            released = self._opened[max(_KEPT_OPEN - self._known, 0) :]
        for connection in released:
            self._pool.release(connection)

    # -- the thread of one kernel

    def _work(self, number: int) -> None:
        try:
            with self._slots:
                self._check(number)  # connecting is seen there, and may cost somebody output
                for came in self._run(number):
                    self._put(number, came)
        except BaseException as problem:
            self._put(number, problem)

    def _put(self, number: int, came: Came | BaseException) -> None:
        while not self._waiting[number].acquire(timeout=PATIENCE):
            if self._over.is_set():
                return  # nobody takes it any more
        self._came.put((number, came))

    def _check(self, number: int) -> None:
        """Raise NotRun if the cells that were not sent yet were called off."""
        with self._lock:
            if self._called_off:
                raise NotRun(self._called_off, kernel=self.kernels[number].title)

    def _run(self, number: int) -> Iterator[Came]:
        cell = dataclasses.replace(self._cell, since=time.monotonic())
        connection = self._connect(number, cell)
        connection.reconnect_timeout = self._reconnect_timeout
        execution = self._begin(number, connection, cell)
        yield Begun(connection, execution)
        yield from execution
        assert execution.result is not None
        yield execution.result

    def _connect(self, number: int, cell: Cell) -> KernelConnection:
        """Return a connection; to a kernel that its server calls starting once the kernel has answered.

        Raises:
            NotRun: it has not answered in time.
        """
        kernel = self.kernels[number]
        if kernel.state != "starting" or self._patient:
            return self._open(number, cell)
        patience = min(STARTING_SECONDS, cell.timeout or STARTING_SECONDS)
        until = time.monotonic() + patience
        title = kernel.title
        never = f"{title} is starting, as its server says, and did not answer within {patience:g} s; nothing was sent"
        try:
            # It may let us in only then: FACTS.md#opening-a-websocket.
            connection = self._open(number, dataclasses.replace(cell, timeout=patience))
        except NotRun:
            raise NotRun(never, kernel=title) from None
        if not connection.answers(until - time.monotonic()):
            if connection in self._opened:
                self._pool.release(connection)
            raise NotRun(never, kernel=title)
        return connection

    def _open(self, number: int, cell: Cell) -> KernelConnection:
        """Return an open connection. One that is new is closed at the end, if there are many, or if that has come."""
        kernel = self.kernels[number]
        known = self._pool.known(kernel)
        note = functools.partial(self._put, number)
        connection = self._pool.connect(kernel, self._transport, cell=cell, note=note)
        with self._lock:
            is_new = connection not in known
            if is_new:
                self._opened.append(connection)
            else:
                self._known += 1
            is_late = self._over.is_set()
        if is_new and is_late:
            self._pool.release(connection)
        return connection

    def _begin(self, number: int, connection: KernelConnection, cell: Cell) -> Execution:
        """Send the cell, unless it was called off.

        Raises:
            NotRun: it was, or the kernel is busy and is to be skipped.
        """
        title = self.kernels[number].title
        with self._lock:
            self._check(number)
            self._sending.add(number)
        try:
            show = functools.partial(self._put, number)
            execution = connection.start(cell, show, lambda: self._called_off or self._left)
        except NotRun as busy:
            raise NotRun(f"{title} is busy, and was skipped", kernel=title) if self._skip else busy from None
        with self._lock:
            self._executions[number] = execution
            for _ in range(self._interrupts):  # they came while it was being sent
                execution.interrupt()
            if self._left:
                execution.leave(self._left)
        return execution


def run(
    fan: FanOut, show: Callable[[int, Came], object] = lambda number, came: None, look: Callable[[], object] = int
) -> RemoteResults:
    """Run a fan-out to its end and return the outcomes.

    `show` is called with what comes, and the kernel's number; `look` a few times a second.

    The first Ctrl-C interrupts all cells, the second one leaves them running.
    """
    with interrupts_to(fan.interrupt, lambda number: fan.leave(told_to_end(number))):
        for item in fan:
            if item is not None:
                show(*item)
            look()
    return RemoteResults([result for result in fan.results if result is not None])


def outcome_of(kernel: Kernel, problem: Exception, *, is_sent: bool) -> RemoteResult:
    """Return the outcome of a cell for which something was raised here: `is_sent` says whether it was sent by then."""
    if isinstance(problem, KernelBridgeError):
        return not_run(kernel, problem)
    unforeseen = FateUnknown if is_sent else NotRun
    error = unforeseen(f"{kernel.title}: {type(problem).__name__} was raised here: {problem}", kernel=kernel.title)
    error.__cause__ = problem
    return not_run(kernel, error)


def not_run(kernel: Kernel, error: KernelBridgeError) -> RemoteResult:
    """Return the outcome of a cell that was not sent, or of which nobody knows more than `error`."""
    if not isinstance(error, FateError):
        reason = str(error) if isinstance(error, BadInput) else f"{kernel.title} was not reached: {error}"
        error = NotRun(reason, kernel=kernel.title)
    result = RemoteResult("error", error.fate, kernel, error=error, started=error.started)
    error.result = result
    return result
