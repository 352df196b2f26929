"""Whether a socket can be read or written, with `poll` and without."""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from kernel_bridge_magic.access.readiness import is_ready, selector


@pytest.fixture(params=["poll", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, ...]]:
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
        monkeypatch.delattr(selectors, "PollSelector")
    one, other = socket.socketpair()
    with one, other:
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def test_what_has_come_can_be_read(pair: Pair) -> None:
    assert not is_ready(pair[0], 0)
    pair[1].send(b"x")
    assert is_ready(pair[0], 0) and is_ready(pair[0], 10)


def test_the_wait_has_an_end(pair: Pair) -> None:
    began = time.monotonic()
    assert not is_ready(pair[0], 0.05)
    assert 0.04 < time.monotonic() - began < 5


def test_a_full_link_takes_no_more(pair: Pair) -> None:
    pair[0].setblocking(False)
    assert is_ready(pair[0], 0, write=True)
    with pytest.raises(BlockingIOError):
        while True:
            pair[0].send(bytes(1 << 16))
    assert not is_ready(pair[0], 0, write=True)


def test_an_end_is_ready_on_either_side(pair: Pair) -> None:
    pair[1].close()
    assert is_ready(pair[0], 0)
    pair[0].close()
    assert is_ready(pair[0], 0) and is_ready(pair[0], 0, write=True)


def test_of_several_those_that_are_ready_are_given(pair: Pair) -> None:
    waiting = selector()
    for sock in pair:
        waiting.register(sock, selectors.EVENT_READ)
    assert not waiting.select(0)
    pair[1].send(b"x")
    assert [key.fileobj for key, _ in waiting.select(1)] == [pair[0]]
