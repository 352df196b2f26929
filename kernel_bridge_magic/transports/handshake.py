"""How a WebSocket to a server is opened: by a deadline for the whole of it, unseen by `websocket.enableTrace`."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.sockets import open_socket
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.protocol.frames import V1

_LONGEST = 256 * 1024  # bytes of an answer that only opens a WebSocket, or says why not
_CLOSE_SECONDS = 0.5  # for the server's half of the closing handshake


def knock(server: Server, vault: Vault, path: str, timeout: float) -> int:
    """Open a WebSocket at `path` below the base URL and close it again; return the HTTP status, 101 if it opened.

    0 is an answer that is none of HTTP's, is too long, or has not come whole within `timeout` seconds, which are for
    everything together.

    Raises:
        ServerUnreachable: nobody answers.
    """
    import websocket

    deadline = Deadline.after(timeout)
    raw = open_socket(server, timeout, secret=vault.auth_method(server.origin) != "none")
    bounded = Bounded(raw, deadline)
    connection = websocket.WebSocket()
    try:
        with untraced():
            connection.connect(ws_url(server) + path, socket=bounded, **options(server, vault, timeout))
        return int(connection.getstatus() or 0)
    except Exception as error:
        # Its text may hold cookies and the server's page (FACTS.md#authentication): only the status is looked at.
        return int(getattr(error, "status_code", None) or 0)
    finally:
        with contextlib.suppress(Exception):
            connection.close(timeout=_CLOSE_SECONDS)
        raw.close()


class Bounded:
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
        """Return the seconds that the next read may take."""
        return max(min(self._timeout, self._deadline.left), 0.001)

    def recv(self, size: int) -> bytes:
        """Read, unless the time is up or too much came."""
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


def ws_url(server: Server) -> str:
    """Return the server's base URL, as WebSockets spell it."""
    base = "http://localhost" + server.origin.base_path if server.socket_path else server.url
    return f"ws{base[4:]}"


def options(server: Server, vault: Vault, timeout: float) -> dict[str, Any]:
    """Return websocket-client's options: who we are, no redirects, no Origin (FACTS.md#authentication)."""
    headers = {"Sec-WebSocket-Protocol": V1, **vault.headers(server.origin)}
    cookie = headers.pop("Cookie", None)
    return {
        "header": [f"{key}: {value}" for key, value in headers.items()],
        "cookie": cookie,
        "suppress_origin": True,
        "redirect_limit": 0,
        "timeout": timeout,
    }


@contextlib.contextmanager
def untraced() -> Iterator[None]:
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
