from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.errors import BadAnswer, ServerUnreachable
from kernel_bridge_magic.servers.http_client import HttpClient, Timed
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.support.hostile import HostileServer
from tests.support.raw import RawServer, http
from tests.support.servers import wait_for


def keeping(*answers: bytes | None) -> tuple[Callable[[socket.socket, bytes], None], list[bytes]]:
    """A script that keeps its connections, though no answer says so; with the heads of all requests.

    The answers are given in turn, the last one again and again; None closes the connection with no word.
    """
    left, seen = list(answers), []

    def script(connection: socket.socket, request: bytes) -> None:
        while request:
            seen.append(request.split(b" HTTP")[0])
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is None:
                return
            connection.sendall(answer.replace(b"Connection: close\r\n", b""))
            request = connection.recv(65536)

    return script, seen


def test_a_server_that_closes_a_kept_connection_behind_each_answer() -> None:
    with HostileServer() as hostile:
        hostile.closes = True
        hostile.sessions = [{"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"id": "scripted"}}]
        with ServerAPI(hostile.server, Vault()) as api:
            for _ in range(3):
                assert [item["id"] for item in api.kernels()] == ["scripted"]
                assert [item["path"] for item in api.sessions()] == ["a.ipynb"]
        listing = look([hostile.server], Vault(), local=False)
        assert [kernel.title for kernel in listing.kernels] == ["a.ipynb"]
        assert [report.problem for report in listing.servers] == [""]
        assert len(hostile.connections) == len(hostile.requests)


def test_a_question_that_nobody_heard_is_asked_once_more() -> None:
    # The connection is closed when the question has come: nobody can see that beforehand.
    script, seen = keeping(http(), None, http(body=b'[{"id": "a"}]'), None)
    with RawServer(script) as raw, ServerAPI(raw.server(), Vault()) as api:
        assert api.kernels() == [] and api.kernels() == [{"id": "a"}]
        assert len(raw.requests) == 2  # connections
        with pytest.raises(BadAnswer, match="broke off without an answer"):
            api.kernels()
        # Once: the new connection was closed, too.
        assert seen == [b"GET /api/kernels"] * 5 and len(raw.requests) == 3


@pytest.mark.parametrize("act", [ServerAPI.restart, ServerAPI.delete, ServerAPI.start])
def test_what_does_something_is_not_sent_twice(act: Callable[[ServerAPI, str], object]) -> None:
    script, seen = keeping(http(), None, http(body=b"{}"))
    with RawServer(script) as raw, ServerAPI(raw.server(), Vault()) as api:
        assert api.kernels() == []
        with pytest.raises(BadAnswer, match="broke off without an answer"):
            act(api, "x")
        assert len(seen) == 2 and len(raw.requests) == 1


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["])
def test_an_answer_that_has_begun_is_not_asked_for_again(begun: bytes) -> None:
    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(http().replace(b"Connection: close\r\n", b""))
        connection.recv(65536)
        connection.sendall(begun)

    with RawServer(script) as raw, ServerAPI(raw.server(), Vault()) as api:
        assert api.kernels() == []
        with pytest.raises(BadAnswer, match=r"broke off|not JSON"):
            api.kernels()
        assert len(raw.requests) == 1


#: Some servers say why they close: that is no answer to the question that comes next.
WHY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("word", [b"", WHY])
def test_a_connection_that_is_closed_by_now_takes_nothing_along(word: bytes) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket, request: bytes) -> None:
        seen.append(request.split(b" HTTP")[0])
        connection.sendall(http(body=b"{}").replace(b"Connection: close\r\n", b"") + word)

    with RawServer(script) as raw:
        client = HttpClient(raw.server(), Vault())
        client.keep = True
        assert client.ask("GET", "api/kernels/x").body == b"{}"
        wait_for(lambda: client.is_lost, "the end of the connection")
        assert client.ask("POST", "api/kernels/x/restart", {}).body == b"{}"
        client.drop()
        assert seen == [b"GET /api/kernels/x", b"POST /api/kernels/x/restart"]


def test_asking_again_has_no_time_of_its_own() -> None:
    def script(connection: socket.socket, request: bytes) -> None:
        if len(raw.requests) == 1:
            connection.sendall(http().replace(b"Connection: close\r\n", b""))
            connection.recv(65536)
        else:
            raw.closing.wait(20)

    with RawServer(script) as raw, ServerAPI(raw.server(), Vault(), 0.5) as api:
        assert api.kernels() == []
        start = time.monotonic()
        with pytest.raises(ServerUnreachable, match=r"within 0\.5 s"):
            api.kernels()
        assert time.monotonic() - start < 3
        assert len(raw.requests) == 2


# -- the socket with a deadline


@pytest.fixture
def ends() -> Iterator[tuple[Timed, socket.socket]]:
    ours, other = socket.socketpair()
    with ours, other:
        yield Timed(ours, Deadline.after(5.0)), other


def test_one_deadline_for_all_reads(ends: tuple[Timed, socket.socket]) -> None:
    timed, other = ends
    file = timed.makefile()
    other.sendall(b"first\n")
    assert file.readline() == b"first\n"
    timed.deadline = Deadline.after(0.05)
    other.sendall(b"no end")  # bytes that come do not make it later
    with pytest.raises(TimeoutError):
        file.readline()
    other.sendall(b"\n")
    with pytest.raises(TimeoutError):
        file.readline()
    with pytest.raises(TimeoutError):
        timed.sendall(b"too late")


def test_whether_anything_came_since_the_last_sending(ends: tuple[Timed, socket.socket]) -> None:
    timed, other = ends
    assert not timed.heard
    other.sendall(b"x\n")
    assert timed.makefile().readline() == b"x\n" and timed.heard
    timed.sendall(b"next")
    assert not timed.heard and other.recv(9) == b"next"


def test_it_is_over_when_the_other_end_closes_or_speaks_unasked(ends: tuple[Timed, socket.socket]) -> None:
    timed, other = ends
    assert not timed.is_over()
    other.sendall(b"unasked")
    assert timed.is_over()
    timed.makefile().read(7)
    assert not timed.is_over()
    other.close()
    assert timed.is_over()


def test_it_closes_when_the_last_file_does(ends: tuple[Timed, socket.socket]) -> None:
    timed, other = ends
    other.sendall(b"body")
    file = timed.makefile()
    timed.close()
    assert file.read(4) == b"body"
    file.close()
    assert other.recv(1) == b""
    assert timed.is_over()
