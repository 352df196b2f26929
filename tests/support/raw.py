"""A server by raw sockets that answers every request with what the test says, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.models import Server

Script = Callable[[socket.socket, bytes], object]


def http(status: str = "200 OK", body: bytes = b"[]", **headers: str) -> bytes:
    """Make an HTTP answer; `Content_Type="text/html"` becomes a header."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class RawServer:
    """Listens on a free loopback port; `script(connection, request)` answers, or `bytes` are the answer.

    `requests` are the heads of what came in, `closing` is set when the test is over.
    """

    def __init__(self, script: Script | bytes | dict[str, bytes]) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def server(self, name: str = "raw", base: str = "/") -> Server:
        url, origin, _ = parse_base_url(f"http://127.0.0.1:{self.port}{base}")
        return Server(url, name, origin)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            # 0x16 begins a TLS handshake, which has no end that we could see.
            while b"\r\n\r\n" not in request and request[:1] != b"\x16" and (data := connection.recv(65536)):
                request += data
            if request and b"\r\n\r\n" not in request and request[:1] != b"\x16":
                return  # a stranger: some kernel's client may still try a port that was its kernel's
            self.requests.append(request)
            if not request:
                return  # it was only looked whether somebody listens
            if isinstance(self.script, bytes):
                connection.sendall(self.script)
            elif isinstance(self.script, dict):
                path = request.split(b" ")[1].decode().rsplit("/", 1)[-1]
                connection.sendall(self.script.get(path, http("404 Not Found", b"{}")))
            else:
                self.script(connection, request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._listener.close()
