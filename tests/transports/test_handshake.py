"""How a WebSocket is opened, or why it is not: refusals, servers that drip and flood, and those that are gone."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
import time
from dataclasses import replace

import pytest
import websocket

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import AuthRefused, CannotConnect, KernelBridgeError, ServerUnreachable
from kernel_bridge_magic.fate.patience import Failure
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.handshake import Dialler, knock
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.scripted import ScriptedServer

KERNEL = Kernel("0f3c2c1e-1111-4222-8333-444455556666")

#: The lowest version does not read the page of a refusal, and so knows its status whatever the page does.
KNOWS_STATUS = websocket.__version__ == "1.6.1"


def opened(request: bytes) -> bytes:
    """The right answer to a handshake."""
    key = re.search(rb"Sec-WebSocket-Key: (.*)\r", request)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def test_a_knock_gives_the_status() -> None:
    with RawServer(lambda connection, request: connection.sendall(opened(request))) as raw:
        assert knock(raw.server(), Vault(), "api/events/subscribe", 5) == 101
        assert raw.requests[0].startswith(b"GET /api/events/subscribe HTTP/1.1\r\n")
    for answer, status in ((http("403 Forbidden", b"no" * 5000), 403), (http(), 200), (b"\0\1", 0)):
        with RawServer(answer) as raw:
            assert knock(raw.server(), Vault(), "x", 5) == status


@pytest.mark.parametrize(
    ("begins", "status"),
    [
        (b"", 0),
        (b"HTTP/1.1 101 Switching Protocols\r\nX: ", 0),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9999\r\n\r\n", 0),
        (b"opened", 101),  # the answer to our close drips
        (b"opened\x81\x7e\xff\xff", 101),
    ],
)
@pytest.mark.bounded
def test_a_knock_ends_in_time_whatever_drips(begins: bytes, status: int) -> None:
    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(begins.replace(b"opened", opened(request)))
        while not raw.closing.wait(0.05):
            connection.sendall(b"\x81")

    with RawServer(drip) as raw:
        server = raw.server()
        began = time.monotonic()
        assert knock(server, Vault(), "x", 0.4) == (403 if b"403" in begins and KNOWS_STATUS else status)
        assert time.monotonic() - began < 0.6


def test_a_kernel_s_connection_is_given_up_in_time_whatever_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "current", replace(timing.current, websocket_open=0.3))

    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
        while not raw.closing.wait(0.05):
            connection.sendall(b"x")

    with RawServer(drip) as raw:
        transport = WebSocketTransport(Kernel(id="k"), raw.server(), Vault())
        began = time.monotonic()
        with pytest.raises(CannotConnect, match="did not open the connection"):
            transport.open(20)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "begins", [b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 403 No\r\nContent-Length: 9999999999\r\n\r\n"]
)
def test_a_knock_reads_no_flood(begins: bytes) -> None:
    sent = 0

    def flood(connection: socket.socket, request: bytes) -> None:
        nonlocal sent
        connection.sendall(begins)
        while sent < 100 << 20:
            connection.sendall(b"X: " + b"y" * 65531 + b"\r\n")
            sent += 65536

    with RawServer(flood) as raw:
        assert knock(raw.server(), Vault(), "x", 30) == (403 if b"403" in begins and KNOWS_STATUS else 0)
        assert sent < 16 << 20  # what the system takes for us


# -- the socket of a kernel


def dialler(server: Server, renewed: Server | None = None, kernel: Kernel = KERNEL) -> Dialler:
    return Dialler(kernel, server, Vault(), "client", lambda: renewed)


def nobody() -> Server:
    """A server on whose port nobody listens."""
    base = parse_base_url(f"http://127.0.0.1:{free_port()}/")
    return Server(base.url, "gone", base.origin)


@pytest.mark.parametrize(
    ("answer", "kind", "means"),
    [
        (http("404 Not Found"), CannotConnect, Failure.NO_KERNEL),
        (http("401 Unauthorized"), AuthRefused, Failure.DENIED),
        (http("500 Oops"), CannotConnect, Failure.OTHER),
        (http("302 Found", Location="http://127.0.0.1:1/"), CannotConnect, Failure.OTHER),
        (http(), CannotConnect, Failure.OTHER),
        (b"SSH-2.0\r\n", CannotConnect, Failure.OTHER),
    ],
)
def test_what_a_refusal_means_for_further_tries(answer: bytes, kind: type[KernelBridgeError], means: Failure) -> None:
    with RawServer(answer) as raw:
        one = dialler(raw.server())
        with pytest.raises(kind) as raised:
            one.dial(5, lambda: None, lambda: False)
        assert one.failure(raised.value) is means


def test_a_port_on_which_nobody_listens() -> None:
    one = dialler(nobody())
    asked: list[bool] = []
    with pytest.raises(ServerUnreachable) as raised:
        one.dial(5, lambda: asked.append(True), lambda: False)
    assert one.failure(raised.value) is Failure.REFUSED
    assert not asked, "nobody was there to be asked"


def test_an_open_websocket_has_said_something() -> None:
    with ScriptedServer() as scripted:
        connection = dialler(scripted.server, kernel=scripted.kernel).dial(5, lambda: None, lambda: False)
        assert connection.getstatus() == 101 and connection.heard > 0
        connection.shutdown()


def test_a_handshake_that_is_cut_ends_at_once() -> None:
    def silent(connection: socket.socket, request: bytes) -> None:
        raw.closing.wait(20)

    with RawServer(silent) as raw:
        one = dialler(raw.server())
        threading.Timer(0.2, one.cut).start()
        with pytest.raises(CannotConnect):
            one.dial(20, lambda: None, lambda: False)


def test_nothing_is_dialled_behind_a_cut() -> None:
    with RawServer(http()) as raw:
        one = dialler(raw.server())
        one.cut()
        with pytest.raises(CannotConnect, match="the connection is closed"):
            one.dial(5, lambda: None, lambda: False)
    assert not [request for request in raw.requests if request]


def test_a_server_that_is_there_too_late_is_sent_nothing() -> None:
    with RawServer(http()) as raw, pytest.raises(CannotConnect, match="the connection is closed"):
        dialler(raw.server()).dial(5, lambda: None, lambda: True)
    assert not [request for request in raw.requests if request]


def test_a_server_that_was_started_anew_is_known_once_and_asked_from_then_on() -> None:
    with RawServer(http(body=b"{}")) as raw:
        one = dialler(nobody(), raw.server())
        assert not one.answers()
        assert one.is_renewed() and not one.is_renewed()
        one.answers()
    assert any(b"/api/kernels/" in request for request in raw.requests)
