"""HTTP proxies, for real: one that speaks CONNECT, between us and a server with TLS."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.proxies import Proxy, proxy_for, tunnel
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import ServerUnreachable
from kernel_bridge_magic.models import Kernel, Origin, Server
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.raw import RawServer
from tests.support.servers import JupyterServer

CANARY = "canary-90be"
NAME = "lab.kernel-bridge.example"  # a name that only the proxy knows


class ConnectProxy:
    """Connects every CONNECT to `aim`; `answer` is what it says first."""

    def __init__(self, aim: tuple[str, int] | None, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.aim, self.answer = aim, answer
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
                head += data
            self.heads.append(head)
            connection.sendall(self.answer)
            if self.aim is None:
                return
            with socket.create_connection(self.aim) as there:
                back = threading.Thread(target=_copy, args=(there, connection), daemon=True)
                back.start()
                _copy(connection, there)
                back.join()

    def __enter__(self) -> ConnectProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JupyterServer, str]]:
    import trustme  # with cryptography, which takes long

    folder = tmp_path_factory.mktemp("tunnel")
    authority = trustme.CA()
    cert, ca = str(folder / "cert.pem"), str(folder / "ca.pem")
    authority.issue_cert(NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(cert)
    authority.cert_pem.write_to_path(ca)
    extra = ["--ServerApp.allow_remote_access=True"]  # it is asked by its name
    with JupyterServer(folder, certfile=cert, keyfile=cert, extra=extra) as server:
        yield server, ca


def test_a_cell_runs_through_a_proxy_that_sees_no_secret(
    jupyter: tuple[JupyterServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, ca = jupyter
    kernel_id = there.start_kernel(path="far.ipynb")
    with ConnectProxy(("127.0.0.1", there.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        server = Server(f"https://{NAME}/", "lab", Origin("https", NAME, 443, "/"), ca_file=ca)
        vault = Vault()
        vault.put(server.origin, Secret(there.token))
        with ServerAPI(server, vault) as api:
            assert kernel_id in {model["id"] for model in api.kernels()}
            kernel = Kernel(kernel_id, server=server)
            transport = WebSocketTransport(kernel, server, vault)
            transport.open(60)
            with KernelConnection(kernel, transport, Control(kernel, api)) as connection:
                assert connection.execute("6 * 7").text == "42"
        assert len(proxy.heads) == 2
        for head in proxy.heads:
            assert head.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
            assert b"Proxy-Authorization: Basic bWU6cEBzcw==" in head
            assert there.token.encode() not in head


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants a login"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", r"does not connect to .*:443 \(403\)"),
        (b"SSH-2.0\r\n\r\n", "no HTTP answer"),
        (b"", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000, "does not connect"),
    ],
)
def test_a_proxy_that_refuses_is_one_sentence(answer: bytes, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ConnectProxy(None, answer) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:{CANARY}@127.0.0.1:{proxy.port}")
        server = Server(f"https://{NAME}/", "lab", Origin("https", NAME, 443, "/"))
        with pytest.raises(ServerUnreachable, match=says) as raised:
            ServerAPI(server, Vault()).kernels()
        assert CANARY not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.bounded
def test_a_proxy_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not proxy.closing.wait(0.1):
            connection.sendall(b"y")

    with RawServer(drip) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        began = time.monotonic()
        with pytest.raises(
            ServerUnreachable, match=r"no answer within 0\.5 s; is it suspended or behind a firewall\?$"
        ):
            ServerAPI(FAR, Vault(), timeout=0.5).kernels()
        assert 0.4 < time.monotonic() - began < 0.7


FAR = Server(f"https://{NAME}/", "lab", Origin("https", NAME, 443, "/"))


@pytest.mark.parametrize(
    ("change", "used"),
    [
        (lambda s: s, True),
        (lambda s: replace(s, origin=s.origin._replace(scheme="http", port=80)), False),
        (lambda s: replace(s, origin=s.origin._replace(host="localhost")), False),
        (lambda s: replace(s, origin=s.origin._replace(host="127.0.0.9")), False),
        (lambda s: replace(s, origin=s.origin._replace(host="::1")), False),
        (lambda s: replace(s, source="runtime"), False),
        (lambda s: replace(s, origin=Origin("unix", "/x", 0, "/"), socket_path="/x"), False),
        (lambda s: replace(s, origin=s.origin._replace(host="a.example.com")), False),
        (lambda s: replace(s, origin=s.origin._replace(host="evilexample.com")), True),
    ],
)
def test_which_servers_a_proxy_is_for(
    change: Callable[[Server], Server], used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxy_for(change(FAR)) is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", ".example.com")
    assert proxy_for(change(FAR)) == (Proxy("proxy.example", 3128) if used else None)


@pytest.mark.parametrize("url", [f"socks5://me:{CANARY}@p:1", f"http://me:{CANARY}@p:port", f"https://{CANARY}@p"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", url)
    with pytest.raises(ServerUnreachable, match="the proxy in https_proxy is") as raised:
        proxy_for(FAR)
    assert CANARY not in str(raised.value)
    assert CANARY not in repr(Proxy("p", 1, CANARY))


def through(proxy: Proxy, answer: bytes, server: Server = FAR) -> bytes:
    """Return what a proxy is asked that gives this answer and then hangs up, over a pair of sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        tunnel(server, proxy, ours, Deadline.after(5))
        return theirs.recv(4096)


OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(("host", "where"), [(NAME, f"{NAME}:443"), ("2001:db8::1", "[2001:db8::1]:443")])
def test_a_proxy_is_asked_for_the_server_with_its_login_alone(host: str, where: str) -> None:
    server = replace(FAR, origin=FAR.origin._replace(host=host))
    asked = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n"
    assert through(Proxy("p", 1), OPEN, server).decode() == f"{asked}\r\n"
    login = "Proxy-Authorization: Basic bWU6cEBzcw=="
    assert through(Proxy("p", 1, "me:p@ss"), OPEN, server).decode() == f"{asked}{login}\r\n\r\n"


def test_what_comes_behind_a_proxy_s_answer_is_the_server_s() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(OPEN + b"hello")
        tunnel(FAR, Proxy("p", 1), ours, Deadline.after(5))
        assert ours.recv(99) == b"hello"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "lab: the proxy p:1 wants a login; put it in"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "lab: the proxy p:1 does not connect to .*:443 \\(502\\); set no_proxy"),
        (b"HTTP/1.1 200 OK\r\nX: cut off", "lab: the proxy p:1 does not connect to .*:443 \\(200\\)"),
        (b"HTTP/1.1 \xff\xfe x\r\n\r\n", "no HTTP answer"),
        (b"", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000, "does not connect"),
    ],
)
def test_a_proxy_s_refusal_tells_no_login(answer: bytes, says: str) -> None:
    with pytest.raises(ServerUnreachable, match=says) as raised:
        through(Proxy("p", 1, f"me:{CANARY}"), answer)
    assert CANARY not in str(raised.value)


def test_a_proxy_that_says_nothing_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        tunnel(FAR, Proxy("p", 1), ours, Deadline.after(0.05))
