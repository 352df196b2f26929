"""The road over a Jupyter server: one WebSocket, both framings, through `websocket-client`.

Its traps, and why this code looks as it does (FACTS 3, 4, 13): a list of subprotocols raises when the server
selects none, so the wish goes out as a raw header; redirects would carry the token elsewhere; a proxy from
the environment would get loopback connections; small messages wait 48 ms unless an empty pong follows each.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kernel_bridge_magic.auth import Vault
from kernel_bridge_magic.errors import AuthRefused, BadCell, CannotConnect, LinkLost
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.frames import V1, decode, encode
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.server import open_socket
from kernel_bridge_magic.transports.base import Transport

if TYPE_CHECKING:
    from websocket import WebSocket

__all__ = ["CONNECT_TIMEOUT", "WebSocketTransport"]

#: A first connection to a busy kernel answers only when the kernel is free, or after 60 s (FACTS 3).
CONNECT_TIMEOUT = 70.0
#: tornado's limit for one message to the server; beyond it the server just drops the connection (FACTS 7).
LARGEST_SENT = 10 * 2**20 - 1024
#: A send that waits longer has corrupted the stream anyhow: the connection is then broken.
SEND_TIMEOUT = 90.0
_CLOSE_SECONDS = 0.5  # for the server's half of the closing handshake
_LOOK_AROUND = 15.0  # seconds between looks at whether the connection is still wanted


class WebSocketTransport(Transport):
    """A WebSocket to `/api/kernels/<id>/channels` of the kernel's server."""

    name = "ws"

    def __init__(self, kernel: Kernel, server: Server, vault: Vault) -> None:
        super().__init__()
        self._kernel = kernel
        self._server = server
        self._vault = vault
        self._socket: WebSocket | None = None
        self._subprotocol = ""
        self._wake_out, self._wake_in = os.pipe()
        self._woken = False

    def _connect(self) -> None:
        import websocket

        raw = open_socket(self._server, CONNECT_TIMEOUT)
        raw.settimeout(CONNECT_TIMEOUT)
        # Its validation of UTF-8 is pure Python: 9 s for 30 MB. Decoding finds the same.
        connection = websocket.WebSocket(enable_multithread=True, skip_utf8_validation=True)
        try:
            connection.connect(self._url(), socket=raw, **self._options())
            if connection.getstatus() != 101:
                # Versions before 1.7 take a redirect that they do not follow for a connection.
                raise websocket.WebSocketException
        except Exception as error:
            # Its text may hold cookies and the server's page (FACTS 4): only the status is looked at.
            raw.close()
            raise self._refusal(error) from None
        raw.settimeout(SEND_TIMEOUT)
        headers = {key.lower(): value for key, value in (connection.getheaders() or {}).items()}
        self._subprotocol = headers.get("sec-websocket-protocol", "")
        self._socket = connection
        # Nobody waits for the answer: it teaches `life` the kernel's session before our first cell does.
        self.send("kernel_info_request", {})

    def _url(self) -> str:
        base = self._server.url
        if self._server.socket_path:
            base = "http://localhost" + self._server.origin.base_path
        return f"ws{base[4:]}api/kernels/{quote(self._kernel.id, safe='')}/channels?session_id={self.client_id}"

    def _options(self) -> dict[str, Any]:
        headers = {"Sec-WebSocket-Protocol": V1, **self._vault.headers(self._server.origin)}
        cookie = headers.pop("Cookie", None)
        return {
            "header": [f"{key}: {value}" for key, value in headers.items()],
            "cookie": cookie,
            "suppress_origin": True,
            "redirect_limit": 0,
            "timeout": CONNECT_TIMEOUT,
        }

    def _refusal(self, error: Exception) -> AuthRefused | CannotConnect:
        status = getattr(error, "status_code", None)
        where = self._server.name
        if status == 404:
            return CannotConnect(f"{where} has no kernel {self._kernel.short_id} any more; list again with %kernels")
        if status in (401, 403):
            return AuthRefused(f"{where} does not accept our token ({status}); see %servers")
        if "Timeout" in type(error).__name__:
            return CannotConnect(
                f"{where} did not open the connection within {CONNECT_TIMEOUT:g} s: the kernel may be busy"
            )
        if status is not None:
            return CannotConnect(f"{where} refused the connection to the kernel (HTTP {status})")
        return CannotConnect(f"{where} did not open a WebSocket to the kernel (a proxy or a login page in between?)")

    def _pump(self) -> str:
        assert self._socket is not None
        raw = self._socket.sock
        pending = getattr(raw, "pending", lambda: 0)  # TLS may hold bytes that select cannot see
        poll = select.poll()  # select() fails on descriptors above 1023, which notebooks reach
        poll.register(raw, select.POLLIN)
        poll.register(self._wake_out, select.POLLIN)
        while not self._closing:
            ready = [raw.fileno()] if pending() else [fd for fd, _ in poll.poll(_LOOK_AROUND * 1000)]
            if self._closing or (not ready and self._expired()):
                self._closing = True
                break
            if raw.fileno() in ready:
                reason = self._receive()
                if reason:
                    return reason
        return ""

    def _deliver(self, message: Message) -> None:
        self._send(message)

    def _listen(self, seconds: float) -> None:
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket.sock, select.POLLIN)
        if poll.poll(seconds * 1000) and self._receive():
            raise LinkLost("the connection is closed")

    def _receive(self) -> str:
        """Take one frame; give the reason if it was the end."""
        import websocket

        assert self._socket is not None
        try:
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return ""  # in the middle of a frame: the next call resumes there (FACTS 3)
        except (websocket.WebSocketException, OSError):
            return "the server closed the connection"
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return "the server closed the connection"
        if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            # The server's Nagle waits for our ACK, which waits for data: give it some (FACTS, head 4). If it has
            # left meanwhile, the next receive says so, behind all that had come before.
            with contextlib.suppress(websocket.WebSocketException, OSError):
                self._socket.pong(b"")
        if opcode == websocket.ABNF.OPCODE_TEXT:
            self._take(bytes(frame.data).decode("utf-8", "replace"))
        elif opcode == websocket.ABNF.OPCODE_BINARY:
            self._take(bytes(frame.data))
        return ""

    def _take(self, payload: str | bytes) -> None:
        try:
            message = decode(payload, self._subprotocol)
        except MalformedMessage:
            self.malformed += 1
            return
        self._dispatch(message)

    def _send(self, message: Message) -> None:
        payload = encode(message, self._subprotocol)
        if len(payload) > LARGEST_SENT:
            size = len(payload) / 2**20
            raise BadCell(f"{size:.0f} MiB is too large: the server takes 10 MiB in one message; send less, or use ZMQ")
        import websocket

        opcode = websocket.ABNF.OPCODE_TEXT if isinstance(payload, str) else websocket.ABNF.OPCODE_BINARY
        connection = self._socket
        try:
            if connection is None:
                raise LinkLost("the connection is closed")
            connection.send(payload, opcode)
        except (websocket.WebSocketException, OSError):
            # Part of the frame may be out: whatever followed it would be read as its rest.
            self.close(wait=0)
            raise LinkLost("the connection broke while sending") from None

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):
                os.write(self._wake_in, b"x")

    def _break(self) -> None:
        connection = self._socket
        if connection is not None and connection.sock is not None:
            # A receive in the middle of a frame ends only so.
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            # With the closing handshake: a socket that is closed with something unread in it is reset, and the
            # server would then drop what we have sent last.
            with contextlib.suppress(Exception):
                connection.sock.settimeout(_CLOSE_SECONDS)
                connection.close(timeout=_CLOSE_SECONDS)
            connection.shutdown()
        os.close(self._wake_in)
        os.close(self._wake_out)
