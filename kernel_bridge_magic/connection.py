"""`KernelConnection`: an open road to one kernel, and `Execution`: one cell on it.

It drives `protocol.link` with a clock and does what that says; it decides nothing itself.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kernel_bridge_magic.control import Control
from kernel_bridge_magic.errors import (
    Fate,
    FateError,
    KernelBridgeError,
    LinkError,
    RemoteError,
    fate_error,
    remote_error,
)
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol import semicolons
from kernel_bridge_magic.protocol.events import Error, Event, ExecuteResult, Note
from kernel_bridge_magic.protocol.link import Action, Link, Sign
from kernel_bridge_magic.protocol.messages import Message, check_code, execute_content
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.transports.base import Closed, Inbox, Transport

__all__ = ["Execution", "KernelConnection"]

_TICK = 0.1  # seconds between looks at the clock while nothing comes


@dataclass(frozen=True, slots=True)
class _ServerSays:
    state: str | None


class _Interrupted:
    """What an interrupt puts into the inbox; a SimpleQueue takes it even inside a signal handler."""


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
        keep_outputs: bool,
        metadata: dict[str, Any] | None,
    ) -> None:
        self._transport = transport
        self._control = control
        self._kernel = kernel
        self._inbox: Inbox = queue.SimpleQueue()
        self._outputs = Outputs() if keep_outputs else None
        self._value: RemoteValue | None = None
        self._stdin_parent: dict[str, Any] = {}
        self._asked: str = ""
        content = execute_content(check_code(code), store_history=store_history, allow_stdin=stdin)
        self._began = time.monotonic()
        msg_id = _send(transport, content, self._inbox, metadata)
        self._link = Link(Request(msg_id), now=self._began, timeout=timeout, client_id=transport.client_id)
        #: the outcome, None until the iteration has come to its end
        self.result: RemoteResult | None = None

    def interrupt(self) -> None:
        """Interrupt: once stops the cell over there if it runs, else leaves it queued; twice leaves it running."""
        self._inbox.put(_Interrupted())

    def answer(self, value: str) -> None:
        """Give the line that the last `InputRequest` asked for.

        Raises:
            LinkLost: the connection is closed.
        """
        self._transport.send("input_reply", {"value": value}, channel="stdin", parent=self._stdin_parent)

    def __iter__(self) -> Iterator[Event]:
        ticked = self._began
        try:
            while self._link.verdict is None:
                try:
                    item = self._inbox.get(timeout=_TICK)
                except queue.Empty:
                    steps: list[Event | Action] = []
                else:
                    steps = list(self._take(item))
                now = time.monotonic()
                if self._link.verdict is None and now - ticked >= _TICK:
                    ticked = now
                    steps += self._link.tick(now)
                for step in steps:
                    if isinstance(step, Action):
                        self._act(step)
                    else:
                        self._keep(step)
                        yield step
        finally:
            self._transport.forget(self._link.request.msg_id)
            if self._asked:
                self._transport.forget(self._asked)
        self.result = self._conclude()

    def _take(self, item: object) -> list[Event] | list[Event | Action]:
        now = time.monotonic()
        if isinstance(item, Message):
            if item.msg_type == "input_request":
                self._stdin_parent = item.header
            return self._link.receive(item, now)
        if isinstance(item, Sign):
            self._link.sign(item, now)
        elif isinstance(item, Closed):
            self._link.closed(item.reason, now)
        elif isinstance(item, _ServerSays):
            self._link.server_says(item.state, now)
        elif isinstance(item, _Interrupted):
            return self._link.interrupt(now)
        elif isinstance(item, Note):
            return [item]
        return []

    def _act(self, action: Action) -> None:
        if action is Action.ASK_SERVER:
            self._beside(lambda: self._inbox.put(_ServerSays(self._control.state())))
        elif action is Action.ASK_KERNEL:
            # A connection that is closed cannot ask; its end has its own rule.
            with contextlib.suppress(LinkError):
                self._asked = self._transport.send("kernel_info_request", {}, inbox=self._inbox)
            self._link.asked_kernel(self._asked, time.monotonic())
        elif action is Action.INTERRUPT:
            self._beside(self._interrupt_there)

    def _interrupt_there(self) -> None:
        try:
            self._control.interrupt(self._transport)
        except KernelBridgeError as problem:
            self._inbox.put(Note(f"could not interrupt: {problem}"))

    def _beside(self, work: Callable[[], None]) -> None:
        """Do what may take seconds in a thread of its own: output and interrupts go on meanwhile."""
        threading.Thread(target=work, name="kernel-bridge-aside", daemon=True).start()

    def _keep(self, event: Event) -> None:
        if isinstance(event, ExecuteResult):
            self._value = RemoteValue(event.data, event.metadata)
        if self._outputs is not None:
            self._outputs.add(event)

    def _conclude(self) -> RemoteResult:
        verdict = self._link.verdict
        assert verdict is not None
        seconds = time.monotonic() - self._began
        error: RemoteError | FateError | None = None
        if verdict.fate is Fate.FAILED:
            shown = self._link.request.error or Error("", "")
            error = remote_error(shown.ename, shown.evalue, shown.traceback, self._kernel.title)
        elif verdict.fate is not Fate.OK:
            error = fate_error(
                verdict.fate,
                verdict.reason,
                kernel=self._kernel.title,
                shown=self._link.shown,
                missing=self._link.missing,
                seconds=seconds,
            )
        result = RemoteResult(
            status="ok" if verdict.fate is Fate.OK else "error",
            fate=verdict.fate,
            kernel=self._kernel,
            outputs=self._outputs.items if self._outputs is not None else [],
            value=self._value,
            error=error,
            seconds=seconds,
            missing=self._link.missing,
        )
        if error is not None:
            error.result = result
        return result


def _send(transport: Transport, content: dict[str, Any], inbox: Inbox, metadata: dict[str, Any] | None) -> str:
    """Send the cell, before it what an IPython kernel needs to give its result; give its `msg_id`."""
    if transport.semicolons.must_arm(transport.life.session):
        transport.send("execute_request", semicolons.arm())
        transport.farewell = semicolons.disarm()
    return transport.send("execute_request", content, inbox=inbox, metadata={semicolons.GUEST: metadata or {}})


class KernelConnection:
    """An open road to one kernel. A context manager; closing it does not touch the kernel.

    Safe to use from several threads: the kernel runs their cells one after the other.
    """

    def __init__(self, kernel: Kernel, transport: Transport, control: Control) -> None:
        #: the `Kernel` that was found
        self.kernel = kernel
        self._transport = transport
        self._control = control

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would reach the kernel that was found."""
        return self._transport.is_open

    @property
    def transport(self) -> str:
        """Which road this is: `zmq` or `ws`."""
        return self._transport.name

    def start(
        self,
        code: str,
        *,
        store_history: bool = False,
        stdin: bool = False,
        timeout: float | None = None,
        keep_outputs: bool = True,
        metadata: dict[str, Any] | None = None,
    ) -> Execution:
        """Send one cell and return at once; iterate over what is returned.

        `timeout` is in seconds, in all, None for none. `metadata` goes with the cell, under `kernel_bridge`. With `stdin` the cell may ask for input: answer each
        `InputRequest` with `Execution.answer`. Without, it is refused there at once.

        Raises:
            BadCell: the code cannot be sent.
            LinkLost: the connection is closed.
        """
        return Execution(
            self._transport,
            self._control,
            self.kernel,
            code,
            store_history=store_history,
            stdin=stdin,
            timeout=timeout,
            keep_outputs=keep_outputs,
            metadata=metadata,
        )

    def stream(self, code: str, *, timeout: float | None = None, store_history: bool = False) -> Iterator[Event]:
        """Run code and yield its events as they come; at the end raise what the cell ended with.

        Raises:
            RemoteError: the remote code raised.
            FateError: the cell did not come to its end.
            BadCell, LinkLost: as `start`.
        """
        execution = self.start(code, timeout=timeout, store_history=store_history, keep_outputs=False)
        yield from execution
        assert execution.result is not None
        execution.result.raise_for_error()

    def execute(self, code: str, *, timeout: float | None = None, store_history: bool = False) -> RemoteResult:
        """Run code to its end and give its `RemoteResult`.

        Raises:
            RemoteError: the remote code raised; its `result` has what was shown until then.
            FateError: the cell did not come to its end.
            BadCell, LinkLost: as `start`.
        """
        execution = self.start(code, timeout=timeout, store_history=store_history)
        for _ in execution:
            pass
        assert execution.result is not None
        execution.result.raise_for_error()
        return execution.result

    def interrupt(self) -> None:
        """Interrupt whatever the kernel runs now, also if it is somebody else's.

        Raises:
            KernelBridgeError: it could not be done.
        """
        self._control.interrupt(self._transport)

    def close(self) -> None:
        """Close the connection. Closing twice is no error."""
        self._transport.close()

    def __enter__(self) -> KernelConnection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<KernelConnection {self.kernel.title!r} over {self.transport}, {state}>"
