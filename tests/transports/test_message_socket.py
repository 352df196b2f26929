"""A WebSocket by one end of a pair of sockets; the frames of the other end are written by hand."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from kernel_bridge_magic.errors import BadCell, LinkLost
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.transports import message_socket
from kernel_bridge_magic.transports.close_codes import End
from kernel_bridge_magic.transports.message_socket import LARGEST_SENT, MessageSocket
from kernel_bridge_magic.transports.watched import WatchedSocket

TEXT, CLOSE, PING, CONT = 1, 8, 9, 0
MODEL = {
    "channel": "iopub",
    "header": {"msg_id": "m", "msg_type": "stream"},
    "content": {"name": "stdout", "text": "a"},
}


def frame(opcode: int, data: bytes, *, last: bool = True) -> bytes:
    return struct.pack(">BBH", (last << 7) | opcode, 126, len(data)) + data


@pytest.fixture
def pair() -> Iterator[tuple[MessageSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = WatchedSocket(skip_utf8_validation=True, fire_cont_frame=True)
        connection.sock, connection.connected = ours, True
        yield MessageSocket(connection), theirs


def receive(link: MessageSocket) -> Any:
    """What comes next: a message, or an end."""
    for _ in range(20):
        if (item := link.receive()) is not None:
            return item
    raise AssertionError("nothing came")


def test_a_message_comes_whole_or_in_fragments(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    payload = json.dumps(MODEL).encode()
    theirs.sendall(frame(TEXT, payload))
    theirs.sendall(frame(TEXT, payload[:9], last=False) + frame(PING, b"") + frame(CONT, payload[9:]))
    for number in (1, 2):
        assert receive(link).content["text"] == "a"
        assert (link.number, link.received, link.announced, link.receiving_at) == (number, 0, 0, float("-inf"))
    assert link.gave_sign and not link.is_torn


def test_what_is_still_coming_is_counted(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(frame(TEXT, b"{" * 9, last=False) + frame(CONT, b"x" * 50)[:14])
    assert link.receive() is None
    assert link.receive() is None
    assert link.receive() is None
    assert (link.received, link.announced) == (19, 59)
    assert link.receiving_at == link.heard


def test_what_is_no_message_is_told_and_the_next_one_comes(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(frame(TEXT, b"no JSON") + frame(TEXT, json.dumps(MODEL).encode()))
    with pytest.raises(MalformedMessage):
        receive(link)
    assert isinstance(receive(link), Message)


def test_a_server_that_leaves(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    assert receive(link) == End("the server closed the connection")


def test_a_closing_frame_is_an_end(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(frame(CLOSE, struct.pack(">H", 1001)))
    assert isinstance(receive(link), End)


def test_what_is_larger_than_may_come_is_not_read(
    pair: tuple[MessageSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_socket, "LARGEST_RECEIVED", 1 << 20)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = WatchedSocket(skip_utf8_validation=True, fire_cont_frame=True)
        connection.sock, connection.connected = ours, True
        theirs.sendall(struct.pack(">BBQ", 0x81, 127, 2 << 20))
        end = receive(MessageSocket(connection))
    assert isinstance(end, End) and end.final


def test_what_is_too_large_is_refused_and_nothing_is_sent(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.setblocking(False)
    with pytest.raises(BadCell, match="split the cell"):
        link.send(Message("shell", {"msg_id": "m"}, content={"code": "x" * LARGEST_SENT}), "analysis")
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_a_send_that_breaks_tears_the_connection(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    with pytest.raises(LinkLost, match="did not run"):
        for _ in range(3):
            link.send(Message("shell", {"msg_id": "m"}), "analysis")
    assert link.is_torn


def test_a_close_and_a_drop_end_it(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(frame(CLOSE, struct.pack(">H", 1000)))
    link.close()
    assert theirs.recv(1)[0] & 0xF == CLOSE
    link.drop()
    assert link.connection.sock is None
