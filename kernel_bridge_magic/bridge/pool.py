"""`Pool`: the connections that one process keeps open, one for each kernel and transport."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import require
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files, runtime_dirs
from kernel_bridge_magic.discovery.server_files import read_servers
from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, LinkError, NotRun, OwnKernel, ServerError
from kernel_bridge_magic.interrupts import acquired, check, held
from kernel_bridge_magic.models import Kernel, Server, may_have_unread
from kernel_bridge_magic.protocol.events import Event, Note, Queued
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import HeldUp

_OPEN_SECONDS = 75.0  # the first WebSocket to a busy kernel waits up to 60 s (FACTS.md#opening-a-websocket)
_END_SECONDS = 10.0  # to reach a kernel that is to end, which may be busy
_MOMENT = 0.7  # a server that does not wait for its kernel accepts us sooner
_SUSPENDED = "its process is suspended, and is waited for until it goes on. Ctrl-C gives up; nothing was sent yet"
_BUSY_SECONDS = 3.0  # with --if-busy fail: for a kernel that is not busy but starting
_MAY_DISCARD = "note: this connection may discard output that the server keeps for a closed notebook"

#: What stands for the cell where there is none: its code is never sent.
ANY_CELL = Cell("...")
_IN_NO_QUEUE = Cell("...", if_busy="fail")  # does not wait for a suspended process

Tell = Callable[[Event], None]


class Pool:
    """Opens connections and keeps them for the next cell. Safe to use from several threads."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._lock = threading.RLock()
        self._connections: dict[tuple[str, str, str], KernelConnection] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._times_closed = 0
        self._visited: set[tuple[str, str, str]] = set()  # kernels that another client was seen to be connected to

    def __len__(self) -> int:
        return len(self._connections)

    def known(self, kernel: Kernel) -> list[KernelConnection]:
        """Return the open connections to a kernel: they know of it without a request."""
        with self._lock:
            kept = list(self._connections.items())
        there = [one for key, one in kept if key == _key(kernel, key[-1]) and one.kernel.server == kernel.server]
        return [one for one in there if one.is_open]

    def see(self, kernels: Sequence[Kernel]) -> None:
        """Record which listed kernels have other clients: a client that leaves may leave unread output behind (H2)."""
        with self._lock:
            for kernel in kernels:
                if kernel.server is None or not kernel.connections:
                    continue
                known = self._connections.get(_key(kernel, "ws"))
                if kernel.connections > (known is not None and known.is_open):
                    self._visited.add(_key(kernel, "ws"))

    def _may_discard(self, kernel: Kernel, made: Transport) -> bool:
        """Return whether another client was connected and has left: the server may keep output for it.

        A kernel that is busy while nobody is connected runs the cell of a client that left, unless it is our own.
        """
        if kernel.connections != 0 or not kernel.sessions:
            return False
        with self._lock:
            visited = _key(kernel, "ws") in self._visited
            self._visited.discard(_key(kernel, "ws"))
        return visited or (kernel.state == "busy" and not made.main_shell.ahead_of("").ours)

    def connect(
        self, kernel: Kernel, transport: str = "auto", *, note: Tell | None = None, cell: Cell = ANY_CELL
    ) -> KernelConnection:
        """Return the open connection to a kernel: that of the last cell while it is alive, else a new one.

        `auto` is ZMQ where the kernel is yours and on this machine, else a WebSocket. `note` is called with events that
        the user should see first: connecting discards somebody's unread output, or has to wait for the kernel. The
        timeout of `cell` is kept here, too. If it is to fail at a busy kernel, we do not wait for a server that itself
        waits for its kernel.

        Raises:
            OwnKernel: it is this kernel itself.
            NotRun: the time is up, or the kernel is busy and must not be.
            LinkError, ServerError: it cannot be connected to.
        """
        _refuse(kernel)
        transports = self._transports(kernel, transport)
        with self._lock:
            lock = self._locks.setdefault(kernel.id, threading.Lock())
        # One lock for each kernel: opening may take a minute, and cells for other kernels must not wait for it.
        held_up = _Admission(kernel, note, cell).held_up
        with held(), acquired(lock, held_up):
            with self._lock:
                times_closed = self._times_closed
                found = [self._connections.get(_key(kernel, name)) for name in transports]
            for known in found:
                if known is not None and known.is_open:
                    return known
            self._tell_news(kernel, transports, note)
            connection = self._open(kernel, transports, note, held_up)
            self._keep(connection, times_closed)
            return connection

    def _keep(self, connection: KernelConnection, times_closed: int) -> None:
        """Keep a connection for the next cell; close it, and raise CannotConnect, if the pool was closed meanwhile."""
        kernel = connection.kernel
        with self._lock:
            closed = self._times_closed > times_closed
            if not closed:
                wanted = {key: it for key, it in self._connections.items() if it.is_open or it.has_news}
                self._connections = wanted
                self._connections[_key(kernel, connection.transport)] = connection
        if closed:
            connection.close()
            raise CannotConnect(f"{kernel.title} is no longer connected to: this shell or program has ended")

    @property
    def connections(self) -> list[KernelConnection]:
        """The connections that are kept, open or closed."""
        with self._lock:
            return list(self._connections.values())

    def release(self, connection: KernelConnection) -> None:
        """Close one connection, unless something keeps it open, such as a live widget."""
        if connection.is_kept:
            return
        with self._lock:
            self._connections = {key: it for key, it in self._connections.items() if it is not connection}
        with contextlib.suppress(KernelBridgeError):
            connection.close()

    def _tell_news(self, kernel: Kernel, transports: Sequence[str], note: Tell | None) -> None:
        """Report what a connection that has closed since had heard of its kernel after the last cell."""
        with self._lock:
            closed = [self._connections.pop(_key(kernel, transport), None) for transport in transports]
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
                made = self._open(kernel, self._transports(kernel, transport))
        except KeyboardInterrupt:
            if made is not None:
                made.close()
            raise
        return made

    def interrupt(self, kernel: Kernel) -> bool:
        """Interrupt the running cell of a kernel, whoever sent it; return False where the kernel is idle.

        Raises:
            KernelBridgeError: the kernel cannot be interrupted.
        """
        if self._is_idle(kernel):
            return False
        if kernel.server:
            Control(kernel, ServerAPI(kernel.server, self._vault)).interrupt()
        else:
            self.connect(kernel, cell=_IN_NO_QUEUE).interrupt()
        return True

    def shut_down(self, kernel: Kernel) -> None:
        """Shut down a kernel that has no server, over a connection of its own.

        Raises:
            LinkError: it cannot be connected to, or does not end.
        """
        _refuse(kernel)
        control = Control(kernel, None)
        made = self._make(kernel, self._transports(kernel, "zmq")[0], None, control)
        made.open(_END_SECONDS)
        try:
            control.shut_down(made)
        finally:
            made.close()

    @contextlib.contextmanager
    def ending(self, kernel: Kernel) -> Iterator[None]:
        """Restart or end a kernel in the block. Its connections know whose doing it is, and then are let go of."""
        for known in self.known(kernel):
            known.note_end(ours=True)
        refused = False
        try:
            yield
        except (ServerError, LinkError):  # it is as it was
            refused = True
            raise
        finally:
            with self._lock:
                there = {key: it for key, it in self._connections.items() if key == _key(kernel, key[-1])}
                for key in () if refused else there:
                    del self._connections[key]  # that is no news to the next cell
            for connection in there.values():
                connection.note_end(ours=not refused)
                if not refused:
                    connection.abandon()

    def is_busy(self, kernel: Kernel) -> bool:
        """Return whether a kernel is seen to run something; False where asking it would do harm."""
        if kernel.state == "busy":
            return True
        if not kernel.connection_file and not self.known(kernel):
            return False
        try:
            return not self.connect(kernel, cell=_IN_NO_QUEUE).is_idle()
        except KernelBridgeError:
            return False

    def _is_idle(self, kernel: Kernel) -> bool:
        """Return whether a kernel surely runs nothing; False where asking it would do harm."""
        if not kernel.connection_file and may_have_unread(kernel, datetime.now(UTC)):
            return False
        try:
            return self.connect(kernel, cell=_IN_NO_QUEUE).is_idle()
        except KernelBridgeError:
            return False

    def _transports(self, kernel: Kernel, transport: str) -> list[str]:
        possible = {"zmq": bool(kernel.connection_file), "ws": kernel.server is not None}
        wanted = ["zmq", "ws"] if transport == "auto" else [transport]
        transports = [name for name in wanted if possible[name]]
        if not transports:
            reason = "has no server" if wanted == ["ws"] else "has no connection file on this machine that is ours"
            raise CannotConnect(f"{kernel.title} {reason}, so it cannot be reached by {transport}")
        return transports

    def _open(
        self, kernel: Kernel, transports: Sequence[str], note: Tell | None = None, held_up: HeldUp | None = None
    ) -> KernelConnection:
        api = ServerAPI(kernel.server, self._vault) if kernel.server else None
        for transport in transports:
            check()
            control = Control(kernel, api)
            made = self._make(kernel, transport, note, control)
            try:
                made.open(_OPEN_SECONDS, held_up)
            except KernelBridgeError:
                if transport == transports[-1]:
                    raise
                continue  # for example an encrypted kernel and an old jupyter_client: its server may work
            return KernelConnection(kernel, made, control)
        raise AssertionError("there is at least one transport")

    def _make(self, kernel: Kernel, transport: str, note: Tell | None, control: Control) -> Transport:
        require()
        if transport == "zmq":
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
        """Return a restarted server of this machine, by its new runtime file; None if there is none (F14)."""
        if server.source != "runtime":
            return None
        found, _ = read_servers(read_runtime_files(runtime_dirs()).servers, self._vault)
        for one in found:
            if one.origin == server.origin and one.pid != server.pid:
                again = dataclasses.replace(one, name=server.name, ca_file=server.ca_file)
                control.serve(ServerAPI(again, self._vault))
                return again
        return None

    def close(self) -> None:
        """Close every connection, also one that is still being opened. Closing twice is no error."""
        with self._lock:
            self._times_closed += 1
            connections = list(self._connections.values())
            self._connections.clear()
        for connection in connections:
            with contextlib.suppress(KernelBridgeError):
                connection.close()


class _Admission:
    """The wait for a server that does not accept us yet: its kernel is busy or starting, or another thread waits."""

    def __init__(self, kernel: Kernel, note: Tell | None, cell: Cell) -> None:
        self._kernel = kernel
        self._note = note
        self._timeout = float("inf") if cell.timeout is None else cell.timeout
        self._until = Deadline.after(self._timeout)
        self._fails = cell.if_busy == "fail"

    def held_up(self, seconds: float, suspended: bool = False) -> None:
        """Report the wait, once, and end it when it is too long.

        `seconds` have passed since the server was asked, or since the wait for the other thread began. `suspended` says
        that the kernel's process is seen to be stopped.
        """
        if seconds < _MOMENT:
            return
        title = self._kernel.title
        why = "its process is suspended" if suspended else "the kernel is busy or starting"
        if self._fails and seconds > _BUSY_SECONDS:
            closed = f": {why}" if suspended else " is busy or starting, and its server lets nobody in"
            raise self._not_run(f"{title}{closed}")
        if self._until.is_over:
            raise self._not_run(f"{title}: no connection within {self._timeout:g} s, since {why}")
        if self._note is not None and not self._fails:
            self._note(Note(_SUSPENDED) if suspended else Queued(connecting=True))
            self._note = None

    def _not_run(self, reason: str) -> NotRun:
        text = f"{reason}; nothing was sent, so it is safe to run the cell again"
        return NotRun(text, kernel=self._kernel.title)


def _refuse(kernel: Kernel) -> None:
    if kernel.is_this_kernel:
        raise OwnKernel(f"{kernel.title} is this kernel: a cell sent to it would wait for itself", kernel)
    if kernel.state == "dead":
        raise CannotConnect(f"{kernel.title} is dead. Restart it where it was started")


def _key(kernel: Kernel, transport: str) -> tuple[str, str, str]:
    # Not the id alone: two directories may hold connection files of one name, and two servers count their kernels.
    where = kernel.server.url if kernel.server and transport == "ws" else kernel.connection_file
    return where, kernel.id, transport
