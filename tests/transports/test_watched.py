"""The library's socket, as ours: what another thread's close does to it."""

from __future__ import annotations

import socket

import pytest
import websocket

from kernel_bridge_magic.transports.watched import WatchedSocket


@pytest.fixture
def closed() -> WatchedSocket:
    """A connection whose socket another thread has just closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.close()
    made = WatchedSocket()
    made.sock = ours
    made.connected = True
    return made


def test_a_socket_that_is_closed_meanwhile_is_an_error_of_the_link(closed: WatchedSocket) -> None:
    with pytest.raises((websocket.WebSocketException, OSError)):
        closed.send("x")
    assert closed.has_bytes(0), "a receive says what is wrong"
    with pytest.raises((websocket.WebSocketException, OSError)):
        closed.recv_frame()


def test_nothing_is_sent_in_passing_over_one(closed: WatchedSocket) -> None:
    assert not closed.ping_if_possible()
    closed.pong_if_possible()
