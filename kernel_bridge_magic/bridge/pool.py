"""`Pool`: the connections that one process keeps open, one for each kernel and road."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from kernel_bridge_magic.access.descriptors import require
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files, read_servers, runtime_dirs
from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, NotRun, OwnKernel
from kernel_bridge_magic.interrupts import acquired, check, held
from kernel_bridge_magic.models import Kernel, Server, may_have_unread
from kernel_bridge_magic.protocol.events import Event, Note, Queued
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.items import HeldUp

__all__ = ["Pool"]

_OPEN_SECONDS = 75.0  # a busy kernel's first WebSocket opens after up to 60 s (FACTS 3)
_MOMENT = 0.7  # a server that does not wait for its kernel lets us in at once
_SUSPENDED = "its process is suspended, and is waited for until it goes on. Ctrl-C gives up; nothing was sent yet"
_BUSY_SECONDS = 3.0  # for a kernel that is not busy but only starting, where a busy one is not waited for
_MAY_DISCARD = "note: this connection may discard output that the server keeps for a closed notebook"


class Pool:
    """Safe to use from several threads. No kernel is touched by it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._lock = threading.RLock()
        self._connections: dict[tuple[str, str, str], KernelConnection] = {}
        self._doors: dict[str, threading.Lock] = {}
        self._visited: set[tuple[str, str, str]] = set()  # kernels that another client was seen to be connected to

    def __len__(self) -> int:
        return len(self._connections)

    def has(self, kernel: Kernel) -> bool:
        """Whether there is an open connection to a kernel."""
        return bool(self.known(kernel))

    def known(self, kernel: Kernel) -> list[KernelConnection]:
        """Return the open connections to a kernel: what they have heard of it, nobody need ask."""
        with self._lock:
            return [
                known
                for key, known in self._connections.items()
                if known.is_open and key == _key(kernel, key[-1]) and known.kernel.server == kernel.server
            ]

    def see(self, kernels: Sequence[Kernel]) -> None:
        """Take what a listing tells of the clients of kernels: who was there may have left something unread (H2)."""
        with self._lock:
            for kernel in kernels:
                if kernel.server is None or not kernel.connections:
                    continue
                known = self._connections.get(_key(kernel, "ws"))
                if kernel.connections > (known is not None and known.is_open):
                    self._visited.add(_key(kernel, "ws"))

    def _may_discard(self, kernel: Kernel, made: Transport) -> bool:
        """Whether a client other than we was there and went: its server may keep output for it.

        A kernel that is at work though nobody is connected to it runs the cell of one that went, unless it is ours.
        """
        if kernel.connections != 0 or not kernel.sessions:
            return False
        with self._lock:
            visited = _key(kernel, "ws") in self._visited
            self._visited.discard(_key(kernel, "ws"))
        return visited or (kernel.state == "busy" and not made.turns.ahead_of("").ours)

    def connect(
        self,
        kernel: Kernel,
        transport: str = "auto",
        *,
        note: Callable[[Event], None] | None = None,
        timeout: float | None = None,
        if_busy: str = "wait",
    ) -> KernelConnection:
        """Give the open connection to a kernel, kept from the last cell while it is alive, else a new one.

        `auto` is ZMQ where the kernel is ours and on this machine, else a WebSocket. `note` is called with an event
        that the user should know of before (somebody's unread output that connecting throws away; that the kernel
        has to be waited for). `timeout` is in seconds, None for as long as it takes a server. With `if_busy` as
        `fail` a server that waits for the kernel is not waited for.

        Raises:
            OwnKernel: it is the kernel that asks.
            NotRun: the time is up, or the kernel is busy and must not be.
            LinkError, ServerError: it cannot be connected to.
        """
        _refuse(kernel)
        roads = self._roads(kernel, transport)
        with self._lock:
            door = self._doors.setdefault(kernel.id, threading.Lock())
        # One door for each kernel: opening may take a minute, and other kernels' cells must not wait for it.
        held_up = _Doorway(kernel, note, timeout, if_busy).held_up
        with held(), acquired(door, held_up):
            known = self._open_connection(kernel, roads)
            if known is not None:
                return known
            self._tell_news(kernel, roads, note)
            connection = self._open(kernel, roads, note, held_up)
            with self._lock:
                wanted = {key: it for key, it in self._connections.items() if it.is_open or it.has_news}
                self._connections = wanted
                self._connections[_key(kernel, connection.transport)] = connection
            return connection

    def _open_connection(self, kernel: Kernel, roads: Sequence[str]) -> KernelConnection | None:
        with self._lock:
            found = [self._connections.get(_key(kernel, road)) for road in roads]
        return next((known for known in found if known is not None and known.is_open), None)

    def _tell_news(self, kernel: Kernel, roads: Sequence[str], note: Callable[[Event], None] | None) -> None:
        """Say what a connection that is closed by now had heard of its kernel since the last cell."""
        with self._lock:
            closed = [self._connections.pop(_key(kernel, road), None) for road in roads]
        for known in closed:
            if note is not None and known is not None and (news := known.take_news()):
                note(Note(news))

    def open(self, kernel: Kernel, transport: str = "auto") -> KernelConnection:
        """Open a connection that the caller owns and closes.

        Raises:
            OwnKernel, LinkError, ServerError: as `connect`.
        """
        _refuse(kernel)
        made: KernelConnection | None = None
        try:
            with held():
                made = self._open(kernel, self._roads(kernel, transport))
        except KeyboardInterrupt:
            if made is not None:
                made.close()
            raise
        return made

    def interrupt(self, kernel: Kernel) -> bool:
        """Interrupt what a kernel runs, whoever began it; give False where it is idle, and nothing was done.

        Raises:
            KernelBridgeError: it cannot be done.
        """
        if self._is_idle(kernel):
            return False
        api = ServerAPI(kernel.server, self._vault) if kernel.server else None
        if api is not None:
            Control(kernel, api).interrupt()
        else:
            self.connect(kernel, if_busy="fail").interrupt()  # a suspended one is not waited for
        return True

    def _is_idle(self, kernel: Kernel) -> bool:
        """Whether it is certain that a kernel runs nothing. One that cannot be asked without harm is not asked."""
        if not kernel.connection_file and may_have_unread(kernel, datetime.now(UTC)):
            return False
        try:
            return self.connect(kernel, if_busy="fail").is_idle()
        except KernelBridgeError:
            return False

    def _roads(self, kernel: Kernel, transport: str) -> list[str]:
        possible = {"zmq": bool(kernel.connection_file), "ws": kernel.server is not None}
        wanted = ["zmq", "ws"] if transport == "auto" else [transport]
        roads = [road for road in wanted if possible[road]]
        if not roads:
            reason = "has no server" if wanted == ["ws"] else "has no connection file on this machine that is ours"
            raise CannotConnect(f"{kernel.title} {reason}, so it cannot be reached by {transport}")
        return roads

    def _open(
        self,
        kernel: Kernel,
        roads: Sequence[str],
        note: Callable[[Event], None] | None = None,
        held_up: HeldUp | None = None,
    ) -> KernelConnection:
        api = ServerAPI(kernel.server, self._vault) if kernel.server else None
        for road in roads:
            check()
            control = Control(kernel, api)
            made = self._make(kernel, road, note, control)
            try:
                made.open(_OPEN_SECONDS, held_up)
            except KernelBridgeError:
                if road == roads[-1]:
                    raise
                continue  # an encrypted kernel and an old jupyter_client, say: the server may still do
            return KernelConnection(kernel, made, control)
        raise AssertionError("there is at least one road")

    def _make(self, kernel: Kernel, road: str, note: Callable[[Event], None] | None, control: Control) -> Transport:
        require()
        if road == "zmq":
            from kernel_bridge_magic.transports.zmq import ZMQTransport

            return ZMQTransport(kernel)
        from kernel_bridge_magic.transports.websocket import WebSocketTransport

        assert kernel.server is not None
        server = kernel.server
        made = WebSocketTransport(kernel, server, self._vault, lambda: self._read_again(server, control))
        if note is not None and self._may_discard(kernel, made):
            note(Note(_MAY_DISCARD))
        return made

    def _read_again(self, server: Server, control: Control) -> Server | None:
        """Give a server of this machine as its file says now; None if there is no other file than before (F14)."""
        if server.source != "runtime":
            return None
        found, _ = read_servers(read_runtime_files(runtime_dirs()).servers, self._vault)
        again = next((one for one in found if one.origin == server.origin and one.pid != server.pid), None)
        if again is None:
            return None
        again = dataclasses.replace(again, name=server.name, ca_file=server.ca_file)
        control.serve(ServerAPI(again, self._vault))
        return again

    def close(self) -> None:
        """Close every connection. Closing twice is no error."""
        with self._lock:
            connections = list(self._connections.values())
            self._connections.clear()
        for connection in connections:
            with contextlib.suppress(KernelBridgeError):
                connection.close()


class _Doorway:
    """What is said and done while a server does not let us in, because its kernel is busy or starting, or while
    another thread waits for that already."""

    def __init__(
        self, kernel: Kernel, note: Callable[[Event], None] | None, timeout: float | None, if_busy: str
    ) -> None:
        self._kernel = kernel
        self._note = note
        self._timeout = float("inf") if timeout is None else timeout
        self._until = time.monotonic() + self._timeout
        self._if_busy = if_busy

    def held_up(self, seconds: float, suspended: bool = False) -> None:
        """See to it; `seconds` have gone since the server was asked, or since the other thread is waited for.

        `suspended`: its process is seen to stand still.

        Raises:
            NotRun: that is long enough.
        """
        if seconds < _MOMENT:
            return
        title = self._kernel.title
        why = "its process is suspended" if suspended else "the kernel is busy or starting"
        if self._if_busy == "fail" and seconds > _BUSY_SECONDS:
            closed = f": {why}" if suspended else " is busy or starting, and its server lets nobody in"
            raise self._not_run(f"{title}{closed}")
        if time.monotonic() > self._until:
            raise self._not_run(f"{title}: no connection within {self._timeout:g} s, since {why}")
        if self._note is not None and self._if_busy != "fail":
            self._note(Note(_SUSPENDED) if suspended else Queued(connecting=True))
            self._note = None

    def _not_run(self, reason: str) -> NotRun:
        text = f"{reason}; nothing was sent, so it is safe to run the cell again"
        return NotRun(text, kernel=self._kernel.title)


def _refuse(kernel: Kernel) -> None:
    if kernel.is_own:
        raise OwnKernel(f"{kernel.title} is this kernel: a cell sent to it would wait for itself", kernel)
    if kernel.state == "dead":
        raise CannotConnect(f"{kernel.title} is dead. Restart it where it was started")


def _key(kernel: Kernel, road: str) -> tuple[str, str, str]:
    # Not the id alone: two directories may hold connection files of one name, and two servers count their kernels.
    where = kernel.server.url if kernel.server and road == "ws" else kernel.connection_file
    return where, kernel.id, road
