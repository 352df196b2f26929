"""`Control`: interrupts a kernel, ends it, and asks whether it is still there.

Its server is asked first, then its control channel, then the process that listens on its port. Where none of these is
at hand it cannot be done, and the error says so.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from kernel_bridge_magic.access import peers as ports
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.files import read_object
from kernel_bridge_magic.discovery.asking import join
from kernel_bridge_magic.discovery.heartbeat import Heartbeats
from kernel_bridge_magic.discovery.standalone import endpoint_at
from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, LinkError
from kernel_bridge_magic.interrupts import check
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.text import cut_middle, some_of
from kernel_bridge_magic.transports.base import Transport

_HEARTBEAT_SECONDS = 1.5  # answered in 1 ms, also while native code holds the GIL (FACTS.md#kernels-without-a-server)
_MOST_NAMES, _LONGEST_NAME = 3, 16  # kernels that one line names, and cells of each
_INTERRUPT_SECONDS = 2.0  # a kernel's control thread answers in milliseconds, unless native code holds the GIL
_SHUTDOWN_SECONDS = 5.0  # for a kernel that ends by itself; jupyter_client waits as long before it kills
_LOOK_SECONDS = 0.05


class Control:
    """What can be done to one kernel beside running cells in it."""

    def __init__(self, kernel: Kernel, api: ServerAPI | None) -> None:
        self._kernel = kernel
        self._api = api

    def look(self) -> tuple[str | None, int | None]:
        """Return the server's word on the kernel: its `execution_state`, and how many connections there are to it.

        The state is None if the server has the kernel no more, "" if it does not answer. The number is None if it does
        not say.
        """
        if self._api is None:
            return "", None
        try:
            model = self._api.kernel(self._kernel.id)
        except KernelBridgeError:
            return "", None
        if model is None:
            return None, None
        connections = model.get("connections")
        number = connections if type(connections) is int else None  # a bool is none
        return str(model.get("execution_state") or "unknown"), number

    @property
    def has_server(self) -> bool:
        """Whether there is a server that knows the kernel."""
        return self._api is not None

    def serve(self, api: ServerAPI) -> None:
        """Ask the server by `api` from now on: it was started anew."""
        self._api = api

    def others(self) -> str:
        """Return a line that names the kernels of the server, three at most: "there now: a.ipynb"; "" for none."""
        if self._api is None:
            return ""
        try:
            found = join(self._api.server, self._api.kernels(), self._api.sessions())
        except KernelBridgeError:
            return "it does not say which it has now"
        names = [cut_middle(kernel.title, _LONGEST_NAME) for kernel in found]
        return f"there now: {some_of(names, _MOST_NAMES)}" if names else ""

    def beats(self) -> bool | None:
        """Return whether the kernel's heartbeat answers; None where it cannot be asked from here."""
        path = self._kernel.connection_file
        where = endpoint_at(path) if path else None
        if where is None:
            return None
        heart = Heartbeats([where], _HEARTBEAT_SECONDS)
        heart.wait([path], Deadline.after(_HEARTBEAT_SECONDS))
        return not heart.problem(path)

    def interrupt(self, transport: Transport | None = None, wanted: Callable[[], bool] = lambda: True) -> None:
        """Interrupt whatever the kernel runs now. Return when that is done, not only under way.

        `wanted` is called at the last moment, and may forbid it: what is to be interrupted may have ended meanwhile.

        Raises:
            ServerError: the server would not.
            CannotConnect: there is no server, no control channel that answers, and no process of ours.
        """
        if self._api is not None:
            # The server knows the kernelspec's interrupt_mode; we do not.
            self._api.interrupt(self._kernel.id, wanted)
            return
        if not wanted():
            return
        if transport is not None:
            with contextlib.suppress(LinkError):
                reply = transport.ask("interrupt_request", {}, channel="control", seconds=_INTERRUPT_SECONDS)
                if reply is not None and reply.get("status") == "ok":
                    return
        if not wanted():
            return
        pid = listening_process(self._kernel.connection_file)
        if pid is None or not ports.interrupt(pid):
            raise CannotConnect(f"{self._kernel.title} cannot be interrupted from here: no server, no process of ours")

    def shut_down(self, transport: Transport, seconds: float = _SHUTDOWN_SECONDS) -> None:
        """End a kernel that has no server, over its control channel, and return when its process is gone.

        What it runs is interrupted first: until that is over it would not end.

        Raises:
            CannotConnect: it does not answer, or has not ended in time.
        """
        title, file = self._kernel.title, self._kernel.connection_file
        pid = listening_process(file)
        with contextlib.suppress(KernelBridgeError):
            self.interrupt(transport)
        reply = transport.ask("shutdown_request", {"restart": False}, channel="control", seconds=seconds)
        deadline = Deadline.after(seconds)
        while pid is not None and listening_process(file) == pid:
            if deadline.is_over:
                break
            check()
            time.sleep(_LOOK_SECONDS)
        else:
            if reply is not None or not self.beats():
                return
        told = "does not answer, so it was not shut down" if reply is None else "was told to shut down, and has not yet"
        raise CannotConnect(f"{title} {told}. It has no server that could end it: end it where it was started")


def listening_process(connection_file: str) -> int | None:
    """Return the pid of this user's process that listens on the connection file's shell port; None for none."""
    try:
        return ports.listening_process(read_object(connection_file)["shell_port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
