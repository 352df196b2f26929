"""A WebSocket by one end of a pair of sockets; the frames of the other end are written by hand."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import websocket

from kernel_bridge_magic.errors import BadCell, LinkLost
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.transports import message_socket
from kernel_bridge_magic.transports.message_socket import LARGEST_SENT, End, Fragments, MessageSocket, read_close

TEXT, CLOSE, PING, CONT = 1, 8, 9, 0
MODEL = {
    "channel": "iopub",
    "header": {"msg_id": "m", "msg_type": "stream"},
    "content": {"name": "stdout", "text": "a"},
}


def frame(opcode: int, data: bytes, *, last: bool = True) -> bytes:
    return struct.pack(">BBH", (last << 7) | opcode, 126, len(data)) + data


def opened(sock: socket.socket) -> MessageSocket:
    """A WebSocket over `sock`, as after the handshake."""
    made = MessageSocket()
    made.connected = True
    made.opened(sock)
    return made


@pytest.fixture
def pair() -> Iterator[tuple[MessageSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield opened(ours), theirs


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
        assert (link.progress, link.receiving_at) == ((number, 0, 0), float("-inf"))
    assert link.heard > link.opened_at and not link.is_torn


def test_what_is_still_coming_is_counted(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(frame(TEXT, b"{" * 9, last=False) + frame(CONT, b"x" * 50)[:14])
    assert link.receive() is None
    assert link.receive() is None
    assert link.receive() is None
    assert link.progress == (0, 19, 59)
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
        theirs.sendall(struct.pack(">BBQ", 0x81, 127, 2 << 20))
        end = receive(opened(ours))
    assert isinstance(end, End) and end.final


def test_what_is_too_large_is_refused_and_nothing_is_sent(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.setblocking(False)
    with pytest.raises(BadCell, match="split the cell"):
        link.send_message(Message("shell", {"msg_id": "m"}, content={"code": "x" * LARGEST_SENT}), "analysis")
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("size", [0, 100, 1000, 40_000, 300_001])
def test_what_is_sent_arrives_as_it_was(
    size: int, is_compiled: bool, pair: tuple[MessageSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the socket takes at once, over a server's end of the same library."""
    link, theirs = pair
    if not is_compiled:
        monkeypatch.setattr(message_socket, "websocket_mask", None)
    assert not is_compiled or callable(vars(message_socket)["websocket_mask"])
    message = Message("shell", {"msg_id": "m", "msg_type": "x"}, {}, {}, {"text": "ä" * size})
    sender = threading.Thread(target=link.send_message, args=(message, "it"))
    sender.start()
    server = websocket.WebSocket()
    server.sock = theirs
    opcode, data = server.recv_data()
    sender.join(20)
    assert opcode == TEXT and json.loads(data)["content"] == {"text": "ä" * size}


def test_a_send_that_breaks_tears_the_connection(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    with pytest.raises(LinkLost, match="did not run"):
        for _ in range(3):
            link.send_message(Message("shell", {"msg_id": "m"}), "analysis")
    assert link.is_torn


def test_a_close_ends_it_with_a_frame(pair: tuple[MessageSocket, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(frame(CLOSE, struct.pack(">H", 1000)))
    link.close_politely()
    assert theirs.recv(1)[0] & 0xF == CLOSE
    link.shutdown()
    assert link.sock is None


# -- how it ended


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", End("the server closed the connection")),
        (b"\x03", End("the server closed the connection")),
        ((1000).to_bytes(2, "big") + b"bye", End("the server closed the connection", 1000)),
        ((1001).to_bytes(2, "big"), End("the server closed the connection", 1001)),
        ((1008).to_bytes(2, "big") + b"no", End("the server closed the connection: 1008 no", 1008)),
        ((4001).to_bytes(2, "big"), End("the server closed the connection: 4001", 4001)),
    ],
)
def test_what_a_close_code_means(data: bytes, end: End) -> None:
    assert read_close(data) == end
    assert end.unwanted == (end.code in (1008, 4001))


def test_a_message_that_was_too_large_is_told_with_its_size() -> None:
    end = read_close((1009).to_bytes(2, "big") + b"whatever", 3_000_000)
    assert end.reason.startswith("3.0 MB is too large for the server in one message (1009)")
    assert end.final


def test_a_server_s_words_are_short_and_cannot_steer_a_terminal() -> None:
    end = read_close((1011).to_bytes(2, "big") + b"\x1b[2J" + b"x" * 500 + b"\xff")
    assert "\x1b" not in end.reason and len(end.reason) < 200


# -- fragments


def test_a_message_in_one_piece() -> None:
    fragments = Fragments()
    assert fragments.add(b"all", text=False, last=True) == b"all"
    assert fragments.add("é".encode(), text=True, last=True) == "é"
    assert fragments.add(b"", text=True, last=True) == ""
    assert (fragments.count, fragments.size, fragments.begun) == (3, 0, False)


def test_a_message_in_three_pieces_is_of_the_kind_of_the_first() -> None:
    fragments = Fragments()
    assert fragments.add("é".encode()[:1], text=True, last=False) is None
    assert fragments.begun and (fragments.size, fragments.count) == (1, 0)
    assert fragments.add("é".encode()[1:], text=None, last=False) is None
    assert fragments.add(b"!", text=None, last=True) == "é!"
    assert (fragments.count, fragments.size) == (1, 0)


def test_what_is_no_utf_8_is_replaced() -> None:
    assert Fragments().add(b"a\xff", text=True, last=True) == "a\ufffd"


def test_what_is_dropped_comes_no_more_and_is_counted() -> None:
    fragments = Fragments()
    fragments.add(b"half", text=False, last=False)
    fragments.drop()
    assert (fragments.begun, fragments.size, fragments.count) == (False, 0, 1)
    assert fragments.add(b"new", text=False, last=True) == b"new"


# -- a socket that another thread has closed


@pytest.fixture
def closed() -> MessageSocket:
    """A connection whose socket another thread has just closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.close()
    made = MessageSocket()
    made.sock = ours
    made.connected = True
    return made


def test_a_socket_that_is_closed_meanwhile_is_an_error_of_the_link(closed: MessageSocket) -> None:
    with pytest.raises((websocket.WebSocketException, OSError)):
        closed.send("x")
    assert closed.has_bytes(0), "a receive says what is wrong"
    with pytest.raises((websocket.WebSocketException, OSError)):
        closed.recv_frame()


def test_nothing_is_sent_in_passing_over_one(closed: MessageSocket) -> None:
    assert not closed.send_if_possible(closed.ping)
