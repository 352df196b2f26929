"""`KernelConnection`: an open road to one kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_bridge_magic.control import Control
from kernel_bridge_magic.execution import Execution
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.transports.base import Transport

__all__ = ["KernelConnection"]


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

        `timeout` is in seconds, in all, None for none. With `stdin` the cell may ask for input: answer each
        `InputRequest` with `Execution.answer`. Without, it is refused there at once. `metadata` goes with the
        cell, under `kernel_bridge`.

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
