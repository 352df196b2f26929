from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.servers.http_deadline import Timed


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
