from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from kernel_bridge_magic.access.sockets import open_socket
from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.errors import AuthRefused, BadAnswer, ServerError, ServerUnreachable
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.support.hostile import HostileServer
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer, wait_for

CANARY = "canary-77ab01"


def found(server: JupyterServer) -> Server:
    """The server as its runtime file would tell of it."""
    parsed = parse_base_url(server.url)
    return Server(parsed.url, "lab", parsed.origin, source="runtime", pid=server.pid)


def vault_for(server: Server, token: str = CANARY) -> Vault:
    vault = Vault()
    vault.put(server.origin, Secret(token))
    return vault


@pytest.fixture
def api(jupyter_server: JupyterServer) -> Iterator[ServerAPI]:
    server = found(jupyter_server)
    with ServerAPI(server, vault_for(server, jupyter_server.token)) as api:
        yield api


def test_every_call_to_a_real_server(api: ServerAPI, jupyter_server: JupyterServer) -> None:
    assert api.version().startswith("2.")
    assert api.kernelspecs()["python3"].language == "python"
    model = api.start(path="rest.ipynb")
    kernel_id = model["id"]
    assert kernel_id in {item["id"] for item in api.kernels()}
    assert ("rest.ipynb", kernel_id) in {(item["path"], item["kernel"]["id"]) for item in api.sessions()}
    assert (api.kernel(kernel_id) or {})["name"] == "python3"
    api.interrupt(kernel_id)
    api.restart(kernel_id)
    api.delete(kernel_id)
    assert api.kernel(kernel_id) is None
    for act in (api.interrupt, api.restart, api.delete):
        with pytest.raises(BadAnswer, match="no kernel"):
            act(kernel_id)
    other = api.start("python3")
    api.delete(other["id"])
    with pytest.raises(ServerError):
        api.start("no-such-kernelspec")


@pytest.mark.parametrize("kernel_id", ["..", "../sessions", "a/b", "x?y#z", "é", "\r\nX: y", " "])
def test_hostile_ids_lead_nowhere(api: ServerAPI, kernel_id: str) -> None:
    with contextlib.suppress(BadAnswer):
        assert api.kernel(kernel_id) is None


def test_wrong_token(jupyter_server: JupyterServer) -> None:
    server = found(jupyter_server)
    with pytest.raises(
        AuthRefused, match=r"^lab: token not accepted \(403\); give the right one with --token env:VAR$"
    ):
        ServerAPI(server, vault_for(server)).kernels()
    with pytest.raises(
        AuthRefused,
        match=r"^lab: it wants a token or password \(403\); give it with --token env:VAR or --password env:VAR$",
    ):
        ServerAPI(server, Vault()).kernels()


def test_wrong_base_path(jupyter_server: JupyterServer) -> None:
    server = found(jupyter_server)
    origin = server.origin._replace(base_path="/elsewhere/")
    server = replace(server, url=server.url + "elsewhere/", origin=origin)
    with pytest.raises(BadAnswer, match=r"there is no Jupyter server at .*/elsewhere/ \(404\); check the base URL$"):
        ServerAPI(server, vault_for(server, jupyter_server.token)).kernels()


def test_open_server_with_base_path_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "j.sock")
    with JupyterServer(tmp_path, sock=path, token="", base_url="/a/b%20c/") as jupyter:
        origin = Origin("unix", path, 0, "/a/b%20c/")
        server = Server("http://localhost/a/b%20c/", "sock", origin, "runtime", jupyter.pid, socket_path=path)
        with ServerAPI(server, Vault()) as api:
            # An open server takes POST and DELETE with our own XSRF cookie and header alone.
            kernel = api.start()
            assert [item["id"] for item in api.kernels()] == [kernel["id"]]
            api.delete(kernel["id"])
        with pytest.raises(ServerUnreachable, match="now served by process"):
            ServerAPI(replace(server, pid=os.getpid()), Vault()).kernels()
        assert ServerAPI(replace(server, source="added", pid=None), Vault()).kernels() == []
    with pytest.raises(
        ServerUnreachable, match=r"^sock: nothing is listening on .*; the server has stopped, or the URL is wrong$"
    ):
        ServerAPI(server, Vault()).kernels()


def test_tls(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, ca, wrong = (str(tmp_path / name) for name in ("cert", "key", "ca", "wrong"))
    issued.private_key_and_cert_chain_pem.write_to_path(key)
    issued.private_key_and_cert_chain_pem.write_to_path(cert)
    authority.cert_pem.write_to_path(ca)
    other.cert_pem.write_to_path(wrong)
    with JupyterServer(tmp_path, certfile=cert, keyfile=key) as jupyter:
        server = replace(found(jupyter), ca_file=ca)
        vault = vault_for(server, jupyter.token)
        with ServerAPI(server, vault) as api:
            assert api.kernels() == api.sessions() == []
        for file, reason in ((wrong, "not trusted here"), ("", "not trusted here"), (str(tmp_path / "no"), "missing")):
            with pytest.raises(ServerUnreachable, match=reason):
                ServerAPI(replace(server, ca_file=file), vault).kernels()
        named = server.origin._replace(host="localhost")
        with pytest.raises(ServerUnreachable, match="another host name"):
            ServerAPI(replace(server, origin=named, source="added"), vault).kernels()
        plain = server.origin._replace(scheme="http")
        with pytest.raises(BadAnswer, match="https:// instead of http://"):
            ServerAPI(replace(server, origin=plain), vault).kernels()
        with contextlib.closing(open_socket(server, 3)) as sock:
            assert isinstance(sock, ssl.SSLSocket)


def test_https_to_a_plain_port() -> None:
    with RawServer(http(body=b"[]")) as raw:
        server = raw.server()
        server = replace(server, origin=server.origin._replace(scheme="https"))
        with pytest.raises(ServerUnreachable, match="http:// instead of https://"):
            ServerAPI(server, vault_for(server)).kernels()
        assert CANARY.encode() not in b"".join(raw.requests)


# -- who listens: looked at before a secret goes out (T2, T3)


def test_port_taken_by_another_process_gets_nothing() -> None:
    # The pid in the file is alive and ours, and listens elsewhere; the port is another process's.
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
        "c, _ = s.accept(); print(len(c.recv(9999)), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as thief:
        assert thief.stdout is not None
        port = int(thief.stdout.readline())
        server = Server(
            f"http://127.0.0.1:{port}/", "lab", Origin("http", "127.0.0.1", port, "/"), "runtime", os.getpid()
        )
        with pytest.raises(ServerUnreachable, match=rf"port {port} is now used by .*pid {thief.pid}\) of user"):
            ServerAPI(server, vault_for(server)).kernels()
        assert thief.stdout.readline() == "0\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_listener_of_another_user_gets_nothing() -> None:
    code = (
        "import os, socket; os.setgid(65534); os.setuid(65534); s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); c, _ = s.accept(); print(len(c.recv(9999)), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True, cwd="/") as thief:
        assert thief.stdout is not None
        port = int(thief.stdout.readline())
        origin = Origin("http", "127.0.0.1", port, "/")
        server = Server(f"http://127.0.0.1:{port}/", "lab", origin, "runtime", thief.pid)
        with pytest.raises(ServerUnreachable, match="now used by"):
            ServerAPI(server, vault_for(server)).kernels()
        assert thief.stdout.readline() == "0\n"


def test_process_that_has_ended() -> None:
    with RawServer(http()) as raw:
        ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
        ended.wait()
        server = replace(raw.server(), source="runtime", pid=ended.pid)
        with pytest.raises(
            ServerUnreachable,
            match=rf"its process {ended.pid} has ended, and port {raw.port} is now used by .*, so nothing was sent; "
            "start the server again$",
        ):
            ServerAPI(server, vault_for(server)).kernels()
        assert CANARY.encode() not in b"".join(raw.requests)


# -- answers that are wrong


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            http("401 Unauthorized", b"{}"),
            AuthRefused,
            "token not accepted (401); give the right one with --token env:VAR",
        ),
        (
            http("403 Forbidden", b"<html>login"),
            AuthRefused,
            "token not accepted (403); give the right one with --token env:VAR",
        ),
        (
            http("302 Found", b"", Location="/hub/login?next=%2F"),
            AuthRefused,
            "it redirects to another page of it to log in; give its token with --token env:VAR, or start its server",
        ),
        (
            http("302 Found", b"", Location="https://evil.example/x"),
            BadAnswer,
            "it redirects to https://evil.example, which is not followed; give the URL that it means",
        ),
        (
            http("200 OK", b"<html><form action='/login'>"),
            AuthRefused,
            "its answer is a login page; give its token with --token env:VAR",
        ),
        (
            http("200 OK", b"<!doctype html><h1>Grafana"),
            BadAnswer,
            "its answer is a web page, so this is no Jupyter server's base URL; check the URL",
        ),
        (http("200 OK", b"oops"), BadAnswer, "its answer is not JSON; is it a Jupyter server?"),
        (http("200 OK", b"\xff\xfe"), BadAnswer, "its answer is not JSON; is it a Jupyter server?"),
        (http("200 OK", b""), BadAnswer, "its answer is not JSON; is it a Jupyter server?"),
        (http("200 OK", b"[" * 100_000), BadAnswer, "its answer is not JSON; is it a Jupyter server?"),
        (http("200 OK", b"1" * 100_000), BadAnswer, "its answer is JSON of another shape; is it a Jupyter server?"),
        (
            http("200 OK", b'{"message": "hi"}'),
            BadAnswer,
            "its answer is JSON of another shape; is it a Jupyter server?",
        ),
        (http("200 OK", b"null"), BadAnswer, "its answer is JSON of another shape; is it a Jupyter server?"),
        (http("404 Not Found"), BadAnswer, "there is no Jupyter server at URL (404); check the base URL"),
        (http("405 Method Not Allowed"), BadAnswer, "it does not take this request (405); is it a Jupyter server?"),
        (
            http("424 Failed Dependency"),
            ServerUnreachable,
            "the server behind it is not running (424); start it, on a JupyterHub from the hub's page",
        ),
        (
            http("503 Service Unavailable"),
            ServerUnreachable,
            "the server behind it is not running (503); start it, on a JupyterHub from the hub's page",
        ),
        (http("500 Internal Server Error"), BadAnswer, "the server failed (500); its log says why"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[",
            BadAnswer,
            "it broke off in the middle of its answer; try again",
        ),
        (
            b"SSH-2.0-OpenSSH_9.6\r\n",
            BadAnswer,
            "it broke off without an answer; is its URL right (https:// instead of http:// ?)",
        ),
        (b"", BadAnswer, "it broke off without an answer; is its URL right (https:// instead of http:// ?)"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            BadAnswer,
            "it broke off without an answer; is its URL right (https:// instead of http:// ?)",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            BadAnswer,
            "it broke off without an answer; is its URL right (https:// instead of http:// ?)",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            BadAnswer,
            "it broke off without an answer; is its URL right (https:// instead of http:// ?)",
        ),
    ],
)
def test_wrong_answers_are_one_sentence(answer: bytes, error: type[ServerError], text: str) -> None:
    with RawServer(answer) as raw:
        server = raw.server()
        with pytest.raises(error) as caught:
            ServerAPI(server, vault_for(server)).kernels()
        assert str(caught.value) == f"raw: {text}".replace("URL (", f"{server.url} (")
        shown = "".join(traceback.format_exception(caught.value))
        assert CANARY not in shown
        assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize("half", ["\ud800", "a\udfffb", "\ud83d \ude00"])
def test_names_that_cannot_be_encoded_are_replaced(half: str) -> None:
    with HostileServer() as hostile:
        hostile.kernels = [{"id": f"k{half}", "name": half, "execution_state": half, "connections": float("nan")}]
        hostile.sessions = [{"path": f"{half}.ipynb", "name": half, half: half, "kernel": {"id": f"k{half}"}}]
        specs = {"kernelspecs": {half: {"spec": {"display_name": half, "language": half}}}}
        hostile.paths["/api/kernelspecs"] = 200, {"Content-Type": "application/json"}, json.dumps(specs)
        with ServerAPI(hostile.server, Vault()) as api:
            assert api.kernels()[0]["connections"] is None
        [kernel] = look([hostile.server], Vault(), local=False).kernels
    told = [kernel.id, kernel.name, kernel.state, *kernel.paths, kernel.title, kernel.display_name, kernel.language]
    assert "\ufffd" in "".join(told).encode().decode()


@pytest.mark.parametrize("status", ["301 A", "302 B", "303 C", "307 D", "308 E"])
@pytest.mark.parametrize("target", ["http://{other}/", "//{other}/", "https://{other}/", "http://{own}/x", "y", "/z"])
def test_no_redirect_is_followed(status: str, target: str) -> None:
    with RawServer(http()) as trap:
        with RawServer(b"") as raw:
            location = target.format(other=f"127.0.0.1:{trap.port}", own=f"127.0.0.1:{raw.port}")
            raw.script = http(status, b"", Location=location)
            server = raw.server()
            with pytest.raises(ServerError, match="redirects"):
                ServerAPI(server, vault_for(server)).kernels()
            assert len(raw.requests) == 1
        assert trap.requests == []


def test_proxies_and_netrc_see_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with RawServer(http()) as trap, RawServer(http()) as raw:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
        (tmp_path / "netrc").write_text("default login a password b\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        server = raw.server()
        assert ServerAPI(server, vault_for(server)).kernels() == []
        assert trap.requests == []
        head = raw.requests[0]
        assert f"Authorization: token {CANARY}\r\n".encode() in head
        assert CANARY.encode() not in head.split(b"\r\n")[0]


# -- time and size


@pytest.mark.alone
def test_a_drip_ends_at_the_deadline() -> None:
    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not raw.closing.wait(0.1):
            connection.sendall(b" ")

    with RawServer(drip) as raw:
        server = raw.server()
        start = time.monotonic()
        with pytest.raises(
            ServerUnreachable, match=r"^raw: no answer within 0\.5 s; is it suspended or behind a firewall\?$"
        ):
            ServerAPI(server, vault_for(server), timeout=0.5).kernels()
        assert 0.4 < time.monotonic() - start < 0.7


@pytest.mark.parametrize("announced", [True, False])
def test_a_huge_body_is_not_read(announced: bool) -> None:
    sent = 0

    def flood(connection: socket.socket, request: bytes) -> None:
        nonlocal sent
        length = b"Content-Length: 500000000\r\n" if announced else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        while sent < 500_000_000:
            connection.sendall(bytes(1 << 20))
            sent += 1 << 20

    with RawServer(flood) as raw:
        server = raw.server()
        with pytest.raises(BadAnswer, match="more than 16 MiB"):
            ServerAPI(server, vault_for(server), timeout=20).kernels()
        assert sent < 40 << 20


def test_nobody_listens() -> None:
    port = free_port()
    server = Server("", "gone", Origin("http", "127.0.0.1", port, "/"))
    with pytest.raises(
        ServerUnreachable,
        match=f"nothing is listening on 127.0.0.1:{port}; the server has stopped, or the URL is wrong$",
    ):
        ServerAPI(server, Vault()).kernels()


def test_name_that_is_not_known() -> None:
    server = Server("", "x", Origin("http", "no-such-host.invalid", 80, "/"))
    with pytest.raises(
        ServerUnreachable,
        match=r"^x: the host name no-such-host\.invalid cannot be resolved; check the URL or the network$",
    ):
        ServerAPI(server, Vault()).kernels()


def test_forbidden_loopback_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    # A sandbox cannot be had here: the one call that it refuses stands for it.
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    server = Server("", "x", Origin("http", "127.0.0.1", 9, "/"))
    with pytest.raises(ServerUnreachable, match="forbidden here"):
        open_socket(server, 1)


@pytest.mark.alone
def test_stopped_server_is_given_up_and_comes_back(jupyter_server: JupyterServer) -> None:
    server = found(jupyter_server)
    api = ServerAPI(server, vault_for(server, jupyter_server.token), timeout=0.5)
    jupyter_server.signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(ServerUnreachable, match=r"no answer within .* s; is it suspended or behind a firewall\?$"):
            api.kernels()
        assert time.monotonic() - start < 0.7
    finally:
        jupyter_server.signal(signal.SIGCONT)
    wait_for(lambda: _answers(api), "an answer after SIGCONT", 10)


def _answers(api: ServerAPI) -> bool:
    with contextlib.suppress(ServerUnreachable):
        return isinstance(api.kernels(), list)
    return False


def test_socket_is_ready_to_use() -> None:
    with RawServer(http()) as raw, contextlib.closing(open_socket(raw.server(), 2.5)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() == 2.5
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_kernelspecs_leniently() -> None:
    body = {"kernelspecs": {"a": {"spec": {"display_name": "A", "language": "R"}}, "b": None, "c": {"spec": [1]}}}
    with RawServer(http(body=json.dumps(body).encode())) as raw:
        specs = ServerAPI(raw.server(), Vault()).kernelspecs()
    assert specs["a"].display_name == "A" and specs["a"].language == "r"
    assert specs["b"].display_name == specs["c"].language == ""


# -- the life of a kernel


@pytest.mark.parametrize(
    ("status", "is_there", "text"),
    [
        (403, True, "scripted does not let you do that with its kernels (403); ask whoever runs it"),
        (404, True, "scripted does not let you do that with its kernels (404); ask whoever runs it"),
        (405, True, "scripted does not let you do that with its kernels (405); ask whoever runs it"),
        (404, False, "scripted has no kernel scripted any more; list the kernels again"),
        (500, False, "scripted has no kernel scripted any more; list the kernels again"),
        (500, True, "scripted: the server failed (500); its log says why"),
    ],
)
def test_a_server_that_will_not_is_one_sentence(status: int, is_there: bool, text: str) -> None:
    with HostileServer() as hostile:
        hostile.state = "idle" if is_there else None
        hostile.paths["/api/kernels/scripted/restart"] = status, {}, ""
        with pytest.raises(BadAnswer) as refused:
            ServerAPI(hostile.server, Vault()).restart("scripted")
        assert str(refused.value) == text
        assert hostile.requests.count(("POST", "/api/kernels/scripted/restart")) == 1, "nothing is done twice"


def test_a_refusal_does_not_say_that_a_kernel_is_gone() -> None:
    """A server that wants a cookie says 403 to all that changes something, also of kernels that never were."""
    with HostileServer() as hostile:
        hostile.state = None
        hostile.paths["/api/kernels/scripted/restart"] = 403, {}, ""
        with pytest.raises(AuthRefused):
            ServerAPI(hostile.server, Vault()).restart("scripted")


@pytest.mark.parametrize(
    ("notebook", "spec"),
    [
        ({"metadata": {"kernelspec": {"name": "ir"}}}, "ir"),
        ({"metadata": {"kernelspec": {"name": 7}}}, ""),
        ({"metadata": {"kernelspec": []}}, ""),
        ({"metadata": {}}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_kernelspec_of_a_notebook_leniently(notebook: object, spec: str) -> None:
    with HostileServer() as hostile:
        hostile.paths["/api/contents/work/a b.ipynb"] = 200, {}, json.dumps({"content": notebook})
        hostile.paths["/api/contents/work/a%20b.ipynb"] = 200, {}, json.dumps({"content": notebook})
        assert ServerAPI(hostile.server, Vault()).notebook_kernel("/work/a b.ipynb") == spec
        with pytest.raises(
            BadAnswer, match=r"^scripted has no notebook x\.ipynb; write its path from the server's root$"
        ):
            ServerAPI(hostile.server, Vault()).notebook_kernel("x.ipynb")
