from __future__ import annotations

import socket
import threading

import pytest

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import AuthRefused, CannotConnect, KernelBridgeError, ServerUnreachable
from kernel_bridge_magic.fate.patience import Failure
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.transports.dialler import Dialler
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.scripted import ScriptedServer

KERNEL = Kernel("0f3c2c1e-1111-4222-8333-444455556666")


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
            one.dial(5, lambda: None)
        assert one.failure(raised.value) is means


def test_a_port_on_which_nobody_listens() -> None:
    one = dialler(nobody())
    asked: list[bool] = []
    with pytest.raises(ServerUnreachable) as raised:
        one.dial(5, lambda: asked.append(True))
    assert one.failure(raised.value) is Failure.REFUSED
    assert not asked, "nobody was there to be asked"


def test_an_open_websocket_has_said_something() -> None:
    with ScriptedServer() as scripted:
        connection = dialler(scripted.server, kernel=scripted.kernel).dial(5, lambda: None)
        assert connection.getstatus() == 101 and connection.heard > 0
        connection.shutdown()


def test_a_handshake_that_is_cut_ends_at_once() -> None:
    def silent(connection: socket.socket, request: bytes) -> None:
        raw.closing.wait(20)

    with RawServer(silent) as raw:
        one = dialler(raw.server())
        threading.Timer(0.2, one.cut).start()
        with pytest.raises(CannotConnect):
            one.dial(20, lambda: None)


def test_nothing_is_dialled_behind_a_stop() -> None:
    with RawServer(http()) as raw:
        one = dialler(raw.server())
        one.stop()
        with pytest.raises(CannotConnect, match="the connection is closed"):
            one.dial(5, lambda: None)
    assert not [request for request in raw.requests if request]


def test_a_server_that_was_started_anew_is_known_once_and_asked_from_then_on() -> None:
    with RawServer(http(body=b"{}")) as raw:
        one = dialler(nobody(), raw.server())
        assert not one.answers()
        assert one.is_renewed() and not one.is_renewed()
        one.answers()
    assert any(b"/api/kernels/" in request for request in raw.requests)
