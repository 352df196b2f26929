"""How a WebSocket is opened: `Dialler` opens that of a kernel, as often as needed, and says why it could not.

Five traps, which the code avoids (FACTS.md#opening-a-websocket): a list of subprotocols raises when the server
selects none, so the wish goes out as a raw header; redirects would carry the token elsewhere; a proxy from the
environment would get loopback connections; the library's errors may hold cookies and pages of the server, so only
their status is read; `websocket.enableTrace` would log the token.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import websocket

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.sockets import open_socket
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import AuthRefused, CannotConnect, Cause, KernelBridgeError, ServerUnreachable
from kernel_bridge_magic.fate.patience import Failure
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.frames import V1
from kernel_bridge_magic.servers.http_client import refuses_host
from kernel_bridge_magic.servers.refusals import host_refused
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.message_socket import MessageSocket

_LONGEST = 256 * 1024  # bytes of an answer that only opens a WebSocket, or says why not


def knock(server: Server, vault: Vault, path: str, timeout: float) -> int:
    """Open a WebSocket at `path` below the base URL and close it again; return the HTTP status, 101 if it opened.

    0 is an answer that is none of HTTP's, is too long, or has not come whole within `timeout` seconds, which are for
    everything together.

    Raises:
        ServerUnreachable: nobody answers.
    """
    deadline = Deadline.after(timeout)
    raw = open_socket(server, timeout, secret=vault.auth_method(server.origin) != "none")
    connection = websocket.WebSocket()
    try:
        _shake_hands(connection, raw, server, vault, path, deadline)
        return int(connection.getstatus() or 0)
    except Exception as error:
        # Its text may hold cookies and the server's page (FACTS.md#authentication): only the status is looked at.
        return int(getattr(error, "status_code", None) or 0)
    finally:
        with contextlib.suppress(Exception):
            connection.close(timeout=timing.current.websocket_close)
        raw.close()


class Dialler:
    """Knows the server of one kernel, also when it was started anew, and how we get in.

    `client_id` is the session id that the server keeps messages for. `renew` returns the server as it is known when it
    was started anew, with what it wants of us in the vault (F14); None while there is no other.
    """

    def __init__(
        self, kernel: Kernel, server: Server, vault: Vault, client_id: str, renew: Callable[[], Server | None] | None
    ) -> None:
        self._kernel = kernel
        self._server = server
        self._vault = vault
        self._client_id = client_id
        self._renew = renew
        self._raw: socket.socket | None = None
        self._status: int | None = None  # of the last handshake that was refused
        self._cut = False

    def dial(self, seconds: float, asked: Callable[[], None], is_unwanted: Callable[[], bool]) -> MessageSocket:
        """Open the WebSocket within `seconds`. `asked` is called when the server is there and is being asked.

        Nothing is sent to a server that answers when `is_unwanted`: the token, and a client that it takes note of.

        Raises:
            CannotConnect: it was not opened.
            ServerError: nobody answers, or we are not let in.
        """
        self._status = None
        secret = self._vault.auth_method(self._server.origin) != "none"
        raw = self._raw = open_socket(self._server, seconds, secret=secret)
        if self._cut or is_unwanted():  # perhaps before there was something to cut
            raw.close()
            raise CannotConnect("the connection is closed")
        raw.settimeout(seconds)
        asked()
        connection = MessageSocket()
        problem: KernelBridgeError | None = None
        try:
            path = f"api/kernels/{quote(self._kernel.id, safe='')}/channels?session_id={self._client_id}"
            _shake_hands(connection, raw, self._server, self._vault, path, Deadline.after(seconds))
            if connection.getstatus() != 101:
                # Versions before 1.7 take a redirect that they do not follow for a connection.
                raise websocket.WebSocketException
        except Exception as error:
            problem = self._refusal(error, seconds)
        if problem is not None:
            raw.close()
            raise problem  # outside the except block: the library's error does not come along as context
        connection.opened(raw)
        return connection

    def _refusal(self, error: Exception, seconds: float) -> AuthRefused | CannotConnect:
        status = self._status = getattr(error, "status_code", None)
        where = self._server.name
        if status == 404:
            return CannotConnect(f"{where} has no kernel {self._kernel.short_id} any more; list the kernels again")
        if status == 403 and refuses_host(self._server):
            return CannotConnect(str(host_refused(self._server)))
        if status in (401, 403):
            return AuthRefused(where, f"token not accepted ({status})", "give the right one with --token env:VAR")
        if "Timeout" in type(error).__name__:
            return CannotConnect(f"{where} did not open the connection within {seconds:g} s: the kernel may be busy")
        if status is not None:
            return CannotConnect(f"{where} refused the connection to the kernel (HTTP {status})")
        return CannotConnect(f"{where} did not open a WebSocket to the kernel (a proxy or a login page in between?)")

    def failure(self, problem: KernelBridgeError) -> Failure:
        """Return what the last `dial`, which raised `problem`, means for further ones."""
        if isinstance(problem, ServerUnreachable):
            return Failure.REFUSED if problem.cause is Cause.NOBODY else Failure.OTHER
        if isinstance(problem, AuthRefused):
            return Failure.DENIED
        return Failure.NO_KERNEL if self._status == 404 else Failure.OTHER

    def is_renewed(self) -> bool:
        """Return whether the server was started anew, and is known now with what it wants of us. True once."""
        server = None
        with contextlib.suppress(KernelBridgeError):  # no descriptors to look with: later, perhaps
            server = self._renew() if self._renew is not None else None
        if server is not None:
            self._server, self._renew = server, None
        return server is not None

    def answers(self) -> bool:
        """Ask the server on a new connection whether it is there, for seconds perhaps. Return whether it answered."""
        try:
            ServerAPI(self._server, self._vault).kernel(self._kernel.id)
        except KernelBridgeError as problem:
            return isinstance(problem, AuthRefused)
        return True

    def cut(self) -> None:
        """End a handshake or a receive that is under way, and open no other connection; called from any thread.

        Nothing else ends a receive in the middle of a frame, and a handshake that a server drips (T24).
        """
        self._cut = True
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)


def _shake_hands(
    connection: websocket.WebSocket, raw: socket.socket, server: Server, vault: Vault, path: str, deadline: Deadline
) -> None:
    """Open `connection` at `path` below the base URL over the open socket `raw`, by a deadline.

    It tells who we are, follows no redirect, and names no Origin (FACTS.md#authentication). Raises what
    websocket-client raises. Its errors may hold cookies and the server's page.
    """
    base = f"http://localhost{server.origin.base_path}" if server.socket_path else server.url
    headers = {"Sec-WebSocket-Protocol": V1, **vault.headers(server.origin)}
    cookie = headers.pop("Cookie", None)
    with _untraced():
        connection.connect(
            f"ws{base[4:]}{path}",
            socket=_Bounded(raw, deadline),
            header=[f"{key}: {value}" for key, value in headers.items()],
            cookie=cookie,
            suppress_origin=True,
            redirect_limit=0,
            timeout=deadline.left,
        )


class _Bounded:
    """A socket of which little is read, by a deadline.

    websocket-client reads a handshake byte by byte and for ever, and its timeout is for each byte: who drips or
    floods could hold a call (T24).
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._timeout = float("inf")
        self._room = _LONGEST

    def settimeout(self, seconds: float | None) -> None:
        """Wait no longer than this for one read, as a socket does."""
        self._timeout = float("inf") if seconds is None else seconds

    def gettimeout(self) -> float:
        """Return the seconds that the next read may last."""
        return max(min(self._timeout, self._deadline.left), 0.001)

    def recv(self, size: int) -> bytes:
        """Receive, unless the time is up or too much came."""
        self._wait_less()
        data = self._sock.recv(size)
        self._room -= len(data)
        return data

    def send(self, data: bytes) -> int:
        """Send, unless the time is up."""
        self._wait_less()
        return self._sock.send(data)

    def _wait_less(self) -> None:
        if self._deadline.is_over or self._room <= 0:
            raise TimeoutError
        self._sock.settimeout(self.gettimeout())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """Keep what this thread does out of `websocket.enableTrace`: a handshake holds our token and their cookies."""
    thread = threading.get_ident()
    logger = logging.getLogger("websocket")

    def others(record: logging.LogRecord) -> bool:
        return threading.get_ident() != thread

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)
