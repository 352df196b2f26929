"""`Bridge`: what all faces share: known servers, open connections, what a MATCH meant, the last listing."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

from kernel_bridge_magic import discovery
from kernel_bridge_magic.auth import Secret, Vault, read_secret
from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.control import Control
from kernel_bridge_magic.discovery.this_kernel import own_connection_file, own_kernel_id
from kernel_bridge_magic.errors import BadServer, CannotConnect, KernelBridgeError, OwnKernel
from kernel_bridge_magic.levels import is_server
from kernel_bridge_magic.matching import find_one
from kernel_bridge_magic.models import Kernel, Listing, Origin, Server
from kernel_bridge_magic.named_servers import may_have_unread, only, read_url
from kernel_bridge_magic.server import ServerAPI
from kernel_bridge_magic.transports.base import Transport

__all__ = ["Bridge"]

_REMEMBER_SECONDS = 10.0  # what a MATCH meant, while its connection is open: the next cell asks no server
_REST_SECONDS = 30.0  # a server that did not answer is left alone that long (INTERFACE 2)
_OPEN_SECONDS = 75.0  # a busy kernel's first WebSocket opens after up to 60 s (FACTS 3)


class Bridge:
    """The state of one process: nothing is opened, started or read before it is needed.

    Safe to use from several threads. `close` closes every connection; no kernel is touched by it.
    """

    def __init__(self) -> None:
        self.vault = Vault()
        #: the kernels of the listing shown last: what `#2` means
        self.rows: tuple[Kernel, ...] | None = None
        self._servers: dict[str, Server] = {}
        self._lock = threading.RLock()
        self._connections: dict[tuple[str, str], KernelConnection] = {}
        self._doors: dict[str, threading.Lock] = {}
        self._meant: dict[tuple[str, str | None], tuple[float, Kernel]] = {}
        self._silent: dict[Origin, tuple[float, str]] = {}

    @property
    def own_id(self) -> str:
        """The id of the kernel that this process is, "" if it is none."""
        return own_kernel_id()

    # -- servers

    @property
    def servers(self) -> list[Server]:
        """The servers that the user added, in that order."""
        return list(self._servers.values())

    def add_server(
        self,
        url: str,
        *,
        name: str = "",
        token: str = "",
        trusted: bool = False,
        ask: Callable[[], str] | None = None,
    ) -> Server:
        """Remember a server, whether it can be reached or not, for this process. `token` is a reference.

        Raises:
            BadServer: the URL, the name or the reference cannot be used; nothing is remembered.
        """
        server, secret = read_url(url, name=name, source="added", trusted=trusted)
        if token:
            secret = read_secret(token, ask=ask)
        known = self._servers.get(server.name)
        if known is not None and known.origin != server.origin:
            raise BadServer(f"there is a server {server.name!r} already ({known.url}); give another --name")
        if secret is not None:
            self.vault.put(server.origin, secret)
        self._servers[server.name] = server
        self._silent.pop(server.origin, None)
        self._forget_meanings()
        return server

    def remove_server(self, name: str) -> Server:
        """Forget an added server and its secret.

        Raises:
            BadServer: none of the added servers is called so.
        """
        server = self._servers.pop(name, None)
        if server is None:
            known = ", ".join(self._servers) or "none"
            raise BadServer(f"no added server is called {name!r} (added: {known})")
        self._forget_meanings()
        self.vault.forget(server.origin)
        return server

    def _forget_meanings(self) -> None:
        # What was found knows its server as it was: another name, not trusted yet, or still there.
        with self._lock:
            self._meant.clear()

    # -- finding

    def look(self, server: str | None = None, *, patient: bool = True) -> Listing:
        """Look around: every kernel in reach, in 3 s at most; or those of one server, by name or URL.

        A server that has just failed is asked again only if `patient`.

        Raises:
            BadServer: no such server is known.
        """
        if server is not None and "://" in server and not any(is_server(server, known) for known in self.servers):
            return self._look_at_url(server)
        now = time.monotonic()
        silent = {} if patient else {o: why for o, (until, why) in self._silent.items() if until > now}
        listing = discovery.look(
            self.servers, self.vault, own_id=own_kernel_id(), own_file=own_connection_file(), skip=silent
        )
        for report in listing.servers:
            if report.problem and not report.kernels and report.server.origin not in silent:
                self._silent[report.server.origin] = (now + _REST_SECONDS, report.problem)
        return listing if server is None else only(listing, server)

    def _look_at_url(self, url: str) -> Listing:
        server = self.server_at(url)
        listing = discovery.look(
            [server], self.vault, own_id=own_kernel_id(), own_file=own_connection_file(), given_only=True
        )
        kernels = tuple(kernel for kernel in listing.kernels if kernel.server is not None)
        return dataclasses.replace(listing, kernels=kernels, skipped=())

    def server_at(self, url: str) -> Server:
        """Give the server at a URL for this once; a token in the URL goes to the vault.

        Raises:
            BadServer: the URL cannot be used.
        """
        server, secret = read_url(url, source="option")
        if secret is not None:
            self.vault.put(server.origin, secret)
        return server

    def find(self, match: str, server: str | None = None) -> Kernel:
        """Give the one kernel that MATCH means.

        Raises:
            KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: as `matching.find_one`.
            BadServer: no such server is known.
        """
        key = (match, server)
        with self._lock:
            when, kernel = self._meant.get(key, (0.0, None))
            if kernel is not None and time.monotonic() - when < _REMEMBER_SECONDS and self._open_to(kernel):
                return kernel
        listing = self.look(server, patient=False)
        kernel = find_one(match, listing.kernels, rows=self.rows, reports=listing.servers)
        with self._lock:
            # A row's number means something else after the next listing.
            if not match.startswith("#"):
                self._meant[key] = (time.monotonic(), kernel)
        return kernel

    def find_by_id(self, kernel_id: str, server: str | None = None) -> Kernel:
        """Give the kernel of that whole id; a server that is named is asked for this one only.

        A gateway may tell of one kernel where it does not list them (FACTS 13).

        Raises:
            KernelNotFound, OwnKernel, BadServer, ServerError: it cannot be had.
        """
        listing = self.look(server)
        found = [kernel for kernel in listing.kernels if kernel.id == kernel_id]
        if not found and server is not None:
            where = listing.servers[0].server
            model = ServerAPI(where, self.vault).kernel(kernel_id)
            found = [] if model is None else [Kernel.from_json(model, server=where)]
        return find_one(kernel_id, found, reports=listing.servers)

    def reach(self, url: str) -> Server:
        """Make sure that a server answers us.

        Raises:
            BadServer, ServerError: it does not; AuthRefused where only the secret is missing or wrong.
        """
        server = self.look(url).servers[0].server
        ServerAPI(server, self.vault).kernelspecs()
        return server

    def log_in(self, server: Server, password: Secret) -> None:
        """Log in to a server with a password.

        Raises:
            ServerError: it is not accepted, or nobody answers.
        """
        ServerAPI(server, self.vault).log_in(password)
        self._silent.pop(server.origin, None)

    def _open_to(self, kernel: Kernel) -> bool:
        return any(
            known.is_open and known.kernel.id == kernel.id and known.kernel.server == kernel.server
            for known in self._connections.values()
        )

    # -- connecting

    def connect(
        self, kernel: Kernel, transport: str = "auto", *, note: Callable[[str], None] | None = None
    ) -> KernelConnection:
        """Give the open connection to a kernel, kept from the last cell while it is alive, else a new one.

        `auto` is ZMQ where the kernel is ours and on this machine, else a WebSocket. `note` is called with a line
        that the user should know before (somebody's unread output that connecting throws away).

        Raises:
            OwnKernel: it is the kernel that asks.
            LinkError, ServerError: it cannot be connected to.
        """
        _refuse(kernel)
        roads = self._roads(kernel, transport)
        with self._lock:
            door = self._doors.setdefault(kernel.id, threading.Lock())
        # One door for each kernel: opening may take a minute, and other kernels' cells must not wait for it.
        with door:
            known = self._open_connection(kernel, roads)
            if known is not None:
                return known
            connection = self._open(kernel, roads, note)
            with self._lock:
                self._connections = {key: it for key, it in self._connections.items() if it.is_open}
                self._connections[_key(kernel, connection.transport)] = connection
            return connection

    def _open_connection(self, kernel: Kernel, roads: Sequence[str]) -> KernelConnection | None:
        with self._lock:
            found = [self._connections.get(_key(kernel, road)) for road in roads]
        return next((known for known in found if known is not None and known.is_open), None)

    def open(self, kernel: Kernel, transport: str = "auto") -> KernelConnection:
        """Open a connection that the caller owns and closes.

        Raises:
            OwnKernel, LinkError, ServerError: as `connect`.
        """
        _refuse(kernel)
        return self._open(kernel, self._roads(kernel, transport), None)

    def interrupt(self, kernel: Kernel) -> None:
        """Interrupt what a kernel runs, whoever began it.

        Raises:
            KernelBridgeError: it cannot be done.
        """
        api = ServerAPI(kernel.server, self.vault) if kernel.server else None
        if api is not None:
            Control(kernel, api).interrupt()
        else:
            self.connect(kernel).interrupt()

    def _roads(self, kernel: Kernel, transport: str) -> list[str]:
        possible = {"zmq": bool(kernel.connection_file), "ws": kernel.server is not None}
        wanted = ["zmq", "ws"] if transport == "auto" else [transport]
        roads = [road for road in wanted if possible[road]]
        if not roads:
            reason = "has no server" if wanted == ["ws"] else "has no connection file on this machine that is ours"
            raise CannotConnect(f"{kernel.title} {reason}: it cannot be reached by {transport}")
        return roads

    def _open(self, kernel: Kernel, roads: Sequence[str], note: Callable[[str], None] | None) -> KernelConnection:
        api = ServerAPI(kernel.server, self.vault) if kernel.server else None
        for road in roads:
            made = self._make(kernel, road, note)
            try:
                made.open(_OPEN_SECONDS)
            except KernelBridgeError:
                if road == roads[-1]:
                    raise
                continue  # an encrypted kernel and an old jupyter_client, say: the server may still do
            return KernelConnection(kernel, made, Control(kernel, api))
        raise AssertionError("there is at least one road")

    def _make(self, kernel: Kernel, road: str, note: Callable[[str], None] | None) -> Transport:
        if road == "zmq":
            from kernel_bridge_magic.transports.zmq import ZMQTransport

            return ZMQTransport(kernel)
        from kernel_bridge_magic.transports.websocket import WebSocketTransport

        assert kernel.server is not None
        if note is not None and may_have_unread(kernel):
            note("connecting discards output that a disconnected client of this kernel has not read yet")
        return WebSocketTransport(kernel, kernel.server, self.vault)

    def __repr__(self) -> str:
        return f"<Bridge: {len(self._servers)} servers added, {len(self._connections)} connections>"

    def close(self) -> None:
        """Close every connection, and remember nothing of what was found. Closing twice is no error."""
        with self._lock:
            connections = list(self._connections.values())
            self._connections.clear()
            self._meant.clear()
        for connection in connections:
            with contextlib.suppress(KernelBridgeError):
                connection.close()


def _refuse(kernel: Kernel) -> None:
    if kernel.is_own:
        raise OwnKernel(f"{kernel.title} is this kernel: a cell sent to it would wait for itself")
    if kernel.state == "dead":
        raise CannotConnect(f"{kernel.title} is dead: restart it where it was started")


def _key(kernel: Kernel, road: str) -> tuple[str, str]:
    where = kernel.server.url if kernel.server and road == "ws" else ""
    return f"{where}{kernel.id}", road
