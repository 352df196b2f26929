"""Who listens at the other end, by real sockets of another user; most of it needs root to become one."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kernel_bridge_magic.access import peers
from tests.support.far import can_be_far, far_machine
from tests.support.ports import free_port

NOBODY = 65534
NAME = pwd.getpwuid(NOBODY).pw_name
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """What is made meanwhile is another user's."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def listen(host: str, port: int = 0) -> socket.socket:
    six = ":" in host
    return socket.create_server(
        (host, port), family=socket.AF_INET6 if six else socket.AF_INET, dualstack_ipv6=six and host != "::1", backlog=5
    )


@pytest.fixture
def own_address() -> str:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect(("192.0.2.77", 9))  # sends nothing; tells which address we would have
        return str(probe.getsockname()[0])


WAYS = pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "own"),
        ("::", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("::1", "::1"),
        ("::", "::1"),
    ],
)


@WAYS
def test_we_are_no_stranger(host: str, dialled: str, own_address: str) -> None:
    with listen(host) as listener:
        where = own_address if dialled == "own" else dialled, listener.getsockname()[1]
        with socket.create_connection(where, 5) as sock:
            assert peers.is_within(sock)
            assert peers.owner(sock) == os.getuid()
            assert peers.stranger(sock) == ""


@as_root
@WAYS
def test_another_user_is_named(host: str, dialled: str, own_address: str) -> None:
    with nobody():
        listener = listen(host)
    with listener:
        where = own_address if dialled == "own" else dialled, listener.getsockname()[1]
        with socket.create_connection(where, 5) as sock:
            assert peers.owner(sock) == NOBODY
            assert peers.stranger(sock) == f"user {NAME}"


@as_root
@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_who_accepts_and_closes_the_port_is_seen_nevertheless(host: str) -> None:
    with nobody():
        listener = listen(host)
    with socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5) as sock:
        with nobody():
            accepted, _ = listener.accept()
        listener.close()
        with accepted:
            assert peers.stranger(sock) == f"user {NAME}"


@as_root
def test_a_servant_of_root_is_no_stranger() -> None:
    # A web server opens its port as root, and its workers accept as somebody else.
    with listen("127.0.0.1") as listener, socket.create_connection(listener.getsockname(), 5) as sock:
        with nobody():
            accepted, _ = listener.accept()
        with accepted:
            assert peers.owner(sock) == 0


@as_root
def test_a_user_without_a_name_is_a_number() -> None:
    os.seteuid(54321)
    try:
        listener = listen("127.0.0.1")
    finally:
        os.seteuid(0)
    with listener, socket.create_connection(listener.getsockname(), 5) as sock:
        assert peers.stranger(sock) == "uid 54321"


@as_root
def test_a_unix_socket_is_whose_who_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        for who, expected in ((contextlib.nullcontext, ""), (nobody, f"user {NAME}")):
            with who():
                listener.listen()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                assert peers.is_within(sock)
                assert peers.stranger(sock) == expected


@as_root
def test_whoever_has_the_port_here_is_nothing_to_another_machine() -> None:
    if not can_be_far():
        pytest.skip("no network namespaces here")
    with nobody():
        here = listen("0.0.0.0")
    port = here.getsockname()[1]
    code = f"import socket; s = socket.create_server(('0.0.0.0', {port})); print(flush=True); s.accept()[0].recv(1)"
    with here, far_machine() as (address, prefix):
        command = [*prefix, sys.executable, "-S", "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with socket.create_connection((address, port), 5) as sock:
                assert not peers.is_within(sock)
                assert peers.stranger(sock) == ""


@as_root
def test_where_all_others_look_the_same_nobody_is_known() -> None:
    code = (
        "import socket, sys; from kernel_bridge_magic.access import peers;"
        "print(peers.owner(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)))"
    )
    with nobody():
        listener = listen("127.0.0.1")
    with listener:
        command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, str(listener.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.stderr.startswith("unshare:"):
        pytest.skip("no user namespaces here")
    assert done.stdout == "None\n"


@pytest.mark.parametrize(
    ("where", "taken"),
    [("127.0.0.1", {"127.0.0.1"}), ("::1", {"::1"}), ("0.0.0.0", {"127.0.0.1"}), ("::", {"::1"}), ("127.0.0.2", set())],
)
def test_where_somebody_listens(where: str, taken: set[str]) -> None:
    port = free_port()  # one that the system gives for 127.0.0.2 may be somebody's on 127.0.0.1
    with listen(where, port) as listener:
        assert {ip for ip in ("127.0.0.1", "::1") if peers.is_taken(ip, port)} == taken
        with socket.create_connection(listener.getsockname()[:2]):
            pass
    assert not peers.is_taken("127.0.0.1", port) and not peers.is_taken("::1", port), "a connection that has ended"
    assert not peers.is_taken("127.0.0.1", 1), "not even looked at by a user"


# -- where the system does not tell whose a listener is


@pytest.fixture
def told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_bridge_magic.access.linux.has_tables", lambda: False)
    monkeypatch.delattr(socket, "SO_PEERCRED")


@contextlib.contextmanager
def connected(kind: str, directory: Path) -> Iterator[socket.socket]:
    """A connection to a listener of ours."""
    if kind == "unix":
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
            listener.bind(str(directory / "s"))
            listener.listen()
            sock.connect(str(directory / "s"))
            yield sock
    else:
        with listen(kind) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("::1" if kind == "::1" else "127.0.0.1", port), 5) as sock:
                yield sock


KINDS = pytest.mark.parametrize("kind", ["127.0.0.1", "0.0.0.0", "::", "::1", "unix"])


@pytest.mark.usefixtures("told_nothing")
@KINDS
def test_a_process_of_ours_that_is_seen_to_listen_is_no_stranger(kind: str, tmp_path: Path) -> None:
    with connected(kind, tmp_path) as sock:
        assert peers.stranger(sock) == ""


@pytest.mark.usefixtures("told_nothing")
@KINDS
def test_who_is_not_seen_to_be_ours_is_a_stranger(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_is_this_user_s", lambda process: False)
    with connected(kind, tmp_path) as sock:
        assert peers.stranger(sock) == peers.UNSEEN


@pytest.mark.usefixtures("told_nothing")
@pytest.mark.parametrize(("ours", "dialled"), [("127.0.0.1", "127.0.0.2"), ("0.0.0.0", "::1")])
def test_a_port_that_is_ours_at_another_address_proves_nothing(ours: str, dialled: str) -> None:
    with (
        listen(ours) as elsewhere,
        listen(dialled, elsewhere.getsockname()[1]) as listener,
        socket.create_connection(listener.getsockname()[:2], 5) as sock,
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert peers.stranger(sock) == ""
            listener.close()
            assert peers.stranger(sock) == peers.UNSEEN


@pytest.mark.usefixtures("told_nothing")
def test_an_address_that_is_in_use_may_be_anybodys() -> None:
    with listen("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        assert peers.is_taken("127.0.0.1", port) and not peers.is_taken("::1", port)


def test_users_are_told_by_their_names_where_they_have_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getuid")
    assert peers.is_ours(os.getpid())
    monkeypatch.setattr("psutil.Process.username", lambda process: str(process.pid))
    assert not peers.is_ours(os.getppid())


def test_an_interrupt_is_not_sent_where_it_would_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        assert peers.interrupt(os.getpid())
    monkeypatch.setattr(os, "name", "nt")
    assert not peers.interrupt(os.getpid())


def test_who_listens_on_several_ports_is_seen_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [sock.getsockname()[1] for sock in (one, other)]
        nobody = free_port()
        assert peers.listening_pids({*ports, nobody}) == dict.fromkeys(ports, os.getpid())
    assert peers.listening_pids(()) == {}


def test_where_the_table_is_forbidden_our_own_processes_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert peers.listening_pids([port]) == {port: os.getpid()}
        assert peers.who_listens(port) == "a process that cannot be looked at"
