"""What a server's refusal means: its Host check, which has nothing to do with who we are, is told as what it is."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.doctor import check
from kernel_bridge_magic.errors import AuthRefused, BadAnswer, CannotConnect, ServerError
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.faults.proxy import FaultProxy
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer, private_env

CANARY = "canary-40c1"
FORBIDDEN = http("403 Forbidden", b'{"message": "Forbidden", "reason": null}', Content_Type="application/json")


def told(host: str, local: str, name: str = "") -> str:
    """What is said of a refused host."""
    name = name or f"{host}:{parse_base_url(local).origin.port}"
    return (
        f"{name}: it refuses every request to the host {host}, whatever the token; use {local} (from another machine "
        "through an ssh tunnel), or start the server with --ServerApp.allow_remote_access=True "
        "(--ServerApp.local_hostnames=NAME allows one name)"
    )


def at(url: str, token: str) -> tuple[Server, Vault]:
    base, vault = parse_base_url(url), Vault()
    if token:
        vault.put(base.origin, Secret(token))
    return Server(base.url, "lab", base.origin, "added"), vault


def own_name() -> str:
    """The machine's name, where it means loopback; else an address that does, and that no Host check knows."""
    try:
        return socket.gethostname() if socket.gethostbyname(socket.gethostname()) == "127.0.0.1" else "0.0.0.0"
    except OSError:
        return "0.0.0.0"


def run(*args: str, directory: Path, **more: str) -> tuple[int, str]:
    env = private_env(directory, directory / "none", **more)
    argv = [sys.executable, "-m", "kernel_bridge_magic", *args]
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", own_name()])
@pytest.mark.parametrize("token", ["right", CANARY, ""])
def test_a_refused_host_is_told_as_such(jupyter_server: JupyterServer, host: str, token: str) -> None:
    url = f"http://{host}:{jupyter_server.port}/"
    server, vault = at(url, jupyter_server.token if token == "right" else token)
    says = told(host, f"http://localhost:{jupyter_server.port}/", "lab")
    with pytest.raises(BadAnswer) as raised:
        ServerAPI(server, vault).kernels()
    assert str(raised.value) == says
    bridge = Bridge()
    if token:
        bridge.vault.put(server.origin, Secret(token))
    with pytest.raises(BadAnswer) as raised:
        bridge.reach(url)
    assert str(raised.value) == told(host, f"http://localhost:{jupyter_server.port}/")
    bridge.close()
    steps = check(server, vault).steps
    (step,) = [step for step in steps if step.ok is False]
    assert (step.name, f"lab: {step.seen}; {step.remedy}") == ("base URL", says)


def test_a_refused_host_at_the_websocket(jupyter_server: JupyterServer, shared_kernel: str) -> None:
    server, vault = at(f"http://0.0.0.0:{jupyter_server.port}/", jupyter_server.token)
    with pytest.raises(CannotConnect) as raised:
        WebSocketTransport(Kernel(shared_kernel, server=server), server, vault).open(20)
    assert str(raised.value) == told("0.0.0.0", f"http://localhost:{jupyter_server.port}/", "lab")


@pytest.mark.parametrize(
    "words", [["list"], ["exec", "--code", "1"], ["servers", "--check"], ["interrupt", "shared"]], ids=lambda it: it[0]
)
def test_a_refused_host_on_the_command_line(jupyter_server: JupyterServer, tmp_path: Path, words: list[str]) -> None:
    url = f"http://0.0.0.0:{jupyter_server.port}/"
    where = [url] if words[-1] == "--check" else ["--base-url", url]
    status, said = run(*words, *where, "--token", "env:TOKEN", directory=tmp_path, TOKEN=jupyter_server.token)
    assert status == 2
    assert "it refuses every request to the host 0.0.0.0, whatever the token" in said
    assert f"use http://localhost:{jupyter_server.port}/ (from another machine through an ssh tunnel)" in said
    assert "not accept" not in said and jupyter_server.token not in said


def test_what_is_advised_works(tmp_path: Path) -> None:
    """Each way that the sentence names, through a forwarded port and at a base path as well."""
    with JupyterServer(tmp_path / "strict", base_url="/a/b%20c/") as there, FaultProxy(there.port) as forwarded:
        server, vault = at(f"http://0.0.0.0:{forwarded.port}{there.base_url}", there.token)
        with pytest.raises(BadAnswer) as raised:
            ServerAPI(server, vault).kernels()
        found = re.search(r"use (\S+) ", str(raised.value))
        assert found is not None
        assert ServerAPI(*at(found[1], there.token)).kernels() == []
    with JupyterServer(tmp_path / "open", extra=["--ServerApp.allow_remote_access=True"]) as there:
        assert ServerAPI(*at(f"http://0.0.0.0:{there.port}/", there.token)).kernels() == []
    name = own_name()
    if name != "0.0.0.0":
        with JupyterServer(tmp_path / "named", extra=[f"--ServerApp.local_hostnames={name}"]) as there:
            assert ServerAPI(*at(f"http://{name}:{there.port}/", there.token)).kernels() == []


def test_a_password_server_that_refuses_the_host(tmp_path: Path) -> None:
    with JupyterServer(tmp_path, token="", password="pass word") as there:
        server, vault = at(f"http://0.0.0.0:{there.port}/", "")
        vault.put_password(server.origin, lambda: Secret("pass word"))
        with pytest.raises(BadAnswer) as raised:
            ServerAPI(server, vault).kernels()
        assert str(raised.value) == told("0.0.0.0", f"http://localhost:{there.port}/", "lab")


def host_of(request: bytes) -> str:
    found = re.search(rb"\r\nHost: ([^\r]*)\r", request)
    assert found is not None
    return found[1].decode()


def old(connection: socket.socket, request: bytes) -> None:
    """As jupyter_server 1.24 and Notebook 6.5 do where the Host header is checked; `GET api` wants no token there."""
    local = host_of(request).startswith("localhost")
    wants_none = request.startswith(b"GET /api HTTP")
    connection.sendall(http(body=b'{"version": "1.24.0"}') if local and wants_none else FORBIDDEN)


def everything(connection: socket.socket, request: bytes) -> None:
    connection.sendall(FORBIDDEN)


def gateway(connection: socket.socket, request: bytes) -> None:
    connection.sendall(http("401 Unauthorized", b"{}") if b"GET /api HTTP" in request else FORBIDDEN)


def silent(connection: socket.socket, request: bytes) -> None:
    if b"GET /api HTTP" not in request:
        connection.sendall(FORBIDDEN)


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (old, BadAnswer, "it refuses every request to the host 127.0.0.1, whatever the token"),
        # What refuses everything, in front of a server, proves nothing of its Host check.
        (everything, AuthRefused, "token not accepted"),
        (gateway, AuthRefused, "token not accepted"),
        (silent, AuthRefused, "token not accepted"),
    ],
)
def test_other_servers(script: Callable[[socket.socket, bytes], None], error: type[ServerError], says: str) -> None:
    with RawServer(script) as raw:
        server = raw.server("lab")
        vault = Vault()
        vault.put(server.origin, Secret(CANARY))
        with pytest.raises(error, match=says):
            ServerAPI(server, vault).kernels()
        # The token went where it was meant to, and nowhere with another Host.
        sent = [request for request in raw.requests if CANARY.encode() in request]
        assert [request.split()[1] for request in sent] == [b"/api/kernels"]
        assert {host_of(request) for request in sent} == {f"127.0.0.1:{raw.port}"}
