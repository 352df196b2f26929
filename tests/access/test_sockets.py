"""Secrets stay on this machine, or go encrypted; proxies are for https to other machines."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from kernel_bridge_magic.access import sockets
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.sockets import check_ca_file, explain, open_socket, resolve
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.errors import BadServer, ServerUnreachable
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.support.far import can_be_far, far_machine
from tests.support.ports import free_port
from tests.support.raw import RawServer, http

CANARY = "canary-f4a1"
ECHO = """
import socket
listener = socket.create_server(("0.0.0.0", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    print(repr(connection.recv(65536)), flush=True)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n[]")
    connection.close()
"""


@pytest.fixture
def far_server() -> Iterator[tuple[Server, subprocess.Popen[str]]]:
    if not can_be_far():
        pytest.skip("no network namespaces here (root only)")
    with far_machine() as (address, prefix):
        process = subprocess.Popen([*prefix, sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Server(f"http://{address}:{port}/", "far", Origin("http", address, port, "/")), process
            process.kill()


def vault_for(server: Server) -> Vault:
    vault = Vault()
    vault.put(server.origin, Secret(CANARY))
    return vault


def test_a_token_does_not_cross_the_network_in_clear(far_server: tuple[Server, subprocess.Popen[str]]) -> None:
    server, process = far_server
    assert process.stdout is not None
    with pytest.raises(ServerUnreachable, match=r"unencrypted, so nothing was sent; use https://.*--allow-plain-http"):
        ServerAPI(server, vault_for(server)).kernels()
    assert process.stdout.readline() == "b''\n"
    with pytest.raises(ServerUnreachable, match="unencrypted"):
        ServerAPI(server, Vault()).log_in(Secret(CANARY))
    assert process.stdout.readline() == "b''\n"
    # Without a secret there is nothing to keep, and a user may decide otherwise.
    assert ServerAPI(server, Vault()).kernels() == []
    assert CANARY not in process.stdout.readline()
    assert ServerAPI(replace(server, allow_plain_http=True), vault_for(server)).kernels() == []
    assert CANARY in process.stdout.readline()


def test_this_machine_by_its_own_address_is_no_network() -> None:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect(("192.0.2.77", 9))  # sends nothing; tells which address we would have
        address = probe.getsockname()[0]
    with socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        server = Server(f"http://{address}:{port}/", "self", Origin("http", address, port, "/"))
        open_socket(server, 3).close()


def test_a_name_that_has_moved_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(http()) as raw:
        server = raw.server()
        # What was seen of this name before: it cannot be moved here without a name server.
        monkeypatch.setitem(sockets._WHERE, "127.0.0.1", False)
        with pytest.raises(
            ServerUnreachable,
            match="was another machine and is now this machine, so nothing was sent; restart this kernel",
        ):
            ServerAPI(server, vault_for(server)).kernels()
        assert CANARY.encode() not in b"".join(raw.requests)
        assert ServerAPI(server, Vault()).kernels() == []


def test_localhost_is_this_machine_only() -> None:
    server = Server("", "x", Origin("http", "localhost", 80, "/"))
    addresses = {address[0] for _, address in resolve(server, "localhost", 80, Deadline.after(9))}
    assert addresses and addresses <= {"127.0.0.1", "::1"}


def test_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        open_socket(Server(f"http://[::1]:{port}/", "six", Origin("http", "::1", port, "/")), 3).close()


# -- names with several addresses


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port of ::1 where connections are neither taken nor refused; on 127.0.0.1 it is free."""
    with (
        socket.create_server(("::1", free_port()), family=socket.AF_INET6, backlog=0) as listener,
        contextlib.ExitStack() as all_,
    ):
        for _ in range(4):  # until its queue is full: what comes then is dropped
            full = all_.enter_context(socket.socket(socket.AF_INET6))
            full.setblocking(False)
            full.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("timeout", "hosts", "within"),
    [
        (3, ["::1", "127.0.0.1"], 2.5),
        (60, ["::1", "127.0.0.1"], 3.5),
        (60, ["::1", "::1", "::1", "127.0.0.1"], 3.5),
    ],
)
def test_a_silent_address_does_not_hide_the_next(
    timeout: float, hosts: list[str], within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with black_hole() as port, socket.create_server(("127.0.0.1", port)):
        # What a name server would say: there is none here.
        known = [socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0] for host in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
        server = Server(f"http://two.example:{port}/", "two", Origin("http", "two.example", port, "/"))
        began = time.monotonic()
        with open_socket(server, timeout, secret=False) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)
            assert sock.gettimeout() == timeout
        assert time.monotonic() - began < within


@pytest.mark.bounded
def test_the_last_address_may_take_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as port:
        known = socket.getaddrinfo("::1", port, type=socket.SOCK_STREAM)[:1]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known * 2)
        server = Server(f"http://two.example:{port}/", "two", Origin("http", "two.example", port, "/"))
        began = time.monotonic()
        with pytest.raises(
            ServerUnreachable, match=r"^two: no answer within 3\.2 s; is it suspended or behind a firewall\?$"
        ):
            open_socket(server, 3.2, secret=False)
        assert 3.1 < time.monotonic() - began < 3.7


# -- another user of this machine

# Listens where it is told, as `nobody`, and prints of each connection what came over it.
THIEF = """
import os, socket, sys
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
s.bind(path or ('127.0.0.1', 0))
os.setgid(65534); os.setuid(65534)
s.listen()
print('' if path else s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    data = c.recv(65536)
    print(repr(data), flush=True)
    if data: c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n[]')
    c.close()
"""
# As the one above, but it opens its port when it is `nobody` already.
TCP_THIEF = THIEF.replace("s = socket", "os.setgid(65534); os.setuid(65534); s = socket", 1)


@contextlib.contextmanager
def thief(path: str = "") -> Iterator[tuple[Server, Any]]:
    """A server that the user added, and what came to whoever has taken its place."""
    command = [sys.executable, "-S", "-c", THIEF if path else TCP_THIEF, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/", env={}) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        origin = Origin("unix", path, 0, "/") if path else Origin("http", "localhost", int(port), "/")
        try:
            yield Server(f"http://localhost:{port or 80}/", "tunnel", origin, "saved", socket_path=path), process.stdout
        finally:
            process.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("source", ["added", "saved", "config", "option"])
def test_a_secret_does_not_go_to_another_user_of_this_machine(kind: str, source: str, tmp_path: Path) -> None:
    with thief(str(tmp_path / "s") if kind == "unix" else "") as (server, came):
        server = replace(server, source=source)
        place = server.socket_path or f"port {server.origin.port} of this machine"
        user = pwd.getpwuid(65534).pw_name
        with pytest.raises(
            ServerUnreachable, match=rf"{place} is used by user {user}, so nothing was sent; .*--trust"
        ) as no:
            ServerAPI(server, vault_for(server)).kernels()
        assert "\n" not in str(no.value)
        assert came.readline() == "b''\n"
        with pytest.raises(ServerUnreachable, match="nothing was sent"):
            ServerAPI(server, Vault()).log_in(Secret(CANARY))
        assert came.readline() == "b''\n"
        # Without a secret there is nothing to keep, and whom the user trusts is sent it.
        assert ServerAPI(server, Vault()).kernels() == []
        assert CANARY not in came.readline()
        trusted = replace(server, trusted=True)
        assert ServerAPI(trusted, vault_for(trusted)).kernels() == []
        assert CANARY in came.readline()


# -- certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    from datetime import UTC, datetime

    expired = datetime(2020, 1, 1, tzinfo=UTC)
    for name, leaf in {
        "good": authority.issue_cert("127.0.0.1", "localhost"),
        "host": authority.issue_cert("elsewhere.example"),
        "expired": authority.issue_cert("127.0.0.1", not_after=expired, not_before=datetime(2019, 1, 1, tzinfo=UTC)),
    }.items():
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / name))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "9"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "self").write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return folder


@contextlib.contextmanager
def tls_server(certificate: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Answers over TLS; gives its port and what came in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                        came.append(secure.recv(65536))
                        secure.sendall(http())

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], came
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("name", "ca", "says"),
    [
        ("good", "ca.pem", ""),
        ("good", "", "signed by an authority that is not trusted here; give its CA certificate with --ca-file FILE$"),
        ("self", "", "is self-signed; if it is right, save it and give it with --ca-file FILE$"),
        ("self", "cert", ""),
        ("host", "ca.pem", "is for another"),
        ("expired", "ca.pem", "has expired; it must be renewed there"),
    ],
)
def test_a_certificate_that_does_not_hold_is_one_sentence(certificates: Path, name: str, ca: str, says: str) -> None:
    with tls_server(certificates / name) as (port, came):
        origin = Origin("https", "127.0.0.1", port, "/")
        server = Server(f"https://127.0.0.1:{port}/", "lab", origin, ca_file=str(certificates / ca) if ca else "")
        if not says:
            assert ServerAPI(server, vault_for(server)).kernels() == []
            return
        with pytest.raises(ServerUnreachable, match=says) as raised:
            ServerAPI(server, vault_for(server)).kernels()
        assert "\n" not in str(raised.value)
        assert CANARY.encode() not in b"".join(came)


def test_a_ca_file_is_checked_when_it_is_named(certificates: Path) -> None:
    check_ca_file("")
    check_ca_file(str(certificates / "ca.pem"))
    for bad in ("nowhere.pem", str(certificates), __file__):
        with pytest.raises(BadServer, match="missing or no PEM file"):
            check_ca_file(bad)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_that_nothing_more_can_be_opened_is_no_fault_of_the_server_s(number: int) -> None:
    server = Server("https://example.org/", "it", Origin("https", "example.org", 443, "/"))
    said = str(explain(server, OSError(number, os.strerror(number)), 1.0))
    assert said.startswith("it: this process has no file descriptors to spare") and "cannot be reached" not in said
