"""`Execution`: one cell that was sent over a connection.

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
from kernel_bridge_magic.protocol.life import Sign
from kernel_bridge_magic.protocol.link import Action, Link
from kernel_bridge_magic.protocol.messages import Message, check_code, execute_content
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.transports.base import Closed, Inbox, Transport

__all__ = ["Execution"]

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
        self._link = Link(Request(msg_id), now=self._began, timeout=timeout)
        #: whether it was interrupted from here
        self.interrupted = False
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
                    steps = self._take(item)
                now = time.monotonic()
                if self._link.verdict is None and now - ticked >= _TICK:
                    ticked = now
                    self._link.iopub_heard(self._transport.heard_iopub)
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

    def _take(self, item: object) -> list[Event | Action]:
        now = time.monotonic()
        if isinstance(item, Message):
            if item.msg_type == "input_request":
                self._stdin_parent = item.header
            return list(self._link.receive(item, now))
        if isinstance(item, Sign):
            self._link.sign(item, now)
        elif isinstance(item, Closed):
            self._link.closed(item.reason, now)
        elif isinstance(item, _ServerSays):
            self._link.server_says(item.state, now)
        elif isinstance(item, _Interrupted):
            self.interrupted = True
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
                timed_out=verdict.timed_out,
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
            interrupted=self.interrupted,
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
