"""The proxy that the fault tests stand on does what it says."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kernel_bridge_magic.protocol.frames import V1, encode
from kernel_bridge_magic.protocol.messages import Message
from tests.faults.proxy import DOWN, UP, FaultProxy, Sieve
from tests.support.servers import wait_for


class Echo:
    """Answers with what it is sent; keeps what it got, and how each connection ended."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = b""
        self.ends: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        end = "FIN"
        try:
            while data := sock.recv(65536):
                self.got += data
                sock.sendall(data)
        except OSError as error:
            end = errno.errorcode[error.errno or 0]
        self.ends.append(end)
        sock.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.listener.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(echo.port) as made:
        yield made


def dial(proxy: FaultProxy) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", proxy.port), 5)
    sock.settimeout(5)
    return sock


def read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (part := sock.recv(count - len(data))):
        data += part
    return data


def test_it_passes_what_it_is_given(proxy: FaultProxy) -> None:
    with dial(proxy) as sock:
        whole = bytes(range(256)) * 4000
        threading.Thread(target=sock.sendall, args=(whole,)).start()
        assert read(sock, len(whole)) == whole


def test_a_reset_reaches_both_sides(proxy: FaultProxy, echo: Echo) -> None:
    with dial(proxy) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    wait_for(lambda: echo.ends == ["ECONNRESET"], "the reset at the server", 5)


def test_a_close_is_an_end_of_file(proxy: FaultProxy, echo: Echo) -> None:
    with dial(proxy) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        assert proxy.close_all() == 1
        assert sock.recv(1) == b""
    wait_for(lambda: echo.ends == ["FIN"], "the end at the server", 5)


@pytest.mark.parametrize("ways", [(), (UP,), (DOWN,)])
def test_a_black_hole_keeps_what_it_took(proxy: FaultProxy, echo: Echo, ways: tuple[str, ...]) -> None:
    with dial(proxy) as sock:
        sock.sendall(b"a")
        assert read(sock, 1) == b"a"
        proxy.hold(*ways)
        sock.sendall(b"b")
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert echo.got == (b"ab" if ways == (DOWN,) else b"a")
        proxy.release()
        sock.settimeout(5)
        assert read(sock, 1) == b"b"


def test_a_connection_that_is_forgotten_stays_so_and_new_ones_pass(proxy: FaultProxy) -> None:
    with dial(proxy) as old, dial(proxy) as unused:
        old.sendall(b"a")
        assert read(old, 1) == b"a"
        proxy.hold(for_good=True)
        proxy.release()
        old.sendall(b"b")
        old.settimeout(0.3)
        with pytest.raises(TimeoutError):
            old.recv(1)
        with dial(proxy) as new:
            new.sendall(b"c")
            assert read(new, 1) == b"c"
        unused.close()


@pytest.mark.parametrize("way", [UP, DOWN])
def test_a_reset_at_a_byte_lets_exactly_those_before_it_pass(proxy: FaultProxy, echo: Echo, way: str) -> None:
    proxy.reset_after(way, 1000)
    with dial(proxy) as sock:
        got = b""
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"x" * 3000)
            while part := sock.recv(65536):
                got += part
        if way == UP:
            wait_for(lambda: echo.ends, "the end at the server", 5)
            assert len(echo.got) == 1000
        else:
            assert len(got) <= 1000  # what lies unread at a reset is lost
            assert proxy.pairs[0].passed[DOWN] == 1000
    with dial(proxy) as sock:
        sock.sendall(b"y" * 3000)
        assert len(read(sock, 3000)) == 3000, "only the one connection"


def test_a_half_close_leaves_the_other_way_open(proxy: FaultProxy, echo: Echo) -> None:
    with dial(proxy) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"
        proxy.pairs[0].half_close(DOWN)
        assert sock.recv(1) == b""
        sock.sendall(b"more")
        wait_for(lambda: echo.got == b"xmore", "what was sent up", 5)


@pytest.mark.alone
def test_latency_and_rate(proxy: FaultProxy) -> None:
    with dial(proxy) as sock:
        proxy.latency = 0.1
        began = time.monotonic()
        sock.sendall(b"x")
        read(sock, 1)
        assert 0.2 <= time.monotonic() - began < 1
        proxy.latency, proxy.rate = 0.0, 20_000
        began = time.monotonic()
        sock.sendall(b"x" * 5000)
        read(sock, 5000)
        assert 0.25 <= time.monotonic() - began < 2


def test_what_it_refuses(proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError), dial(proxy) as sock:
        sock.sendall(b"x")
        sock.recv(1)
        sock.recv(1)
    proxy.refuse(False)
    with dial(proxy) as sock:
        sock.sendall(b"x")
        assert read(sock, 1) == b"x"


@pytest.mark.parametrize("subprotocol", [V1, ""])
@pytest.mark.parametrize("size", [10, 200, 70_000])
def test_a_server_that_loses_messages_loses_just_those_wherever_the_bytes_are_cut(subprotocol: str, size: int) -> None:
    def frame(kind: str) -> bytes:
        payload = encode(Message("shell", {"msg_type": kind, "msg_id": "1"}, {}, {}, {"x": "x" * size}), subprotocol)
        data = payload if isinstance(payload, bytes) else payload.encode()
        head = bytes([0x82 if isinstance(payload, bytes) else 0x81])
        if len(data) < 126:
            return head + bytes([len(data)]) + data
        wide = 2 if len(data) < 1 << 16 else 8
        return head + bytes([126 if wide == 2 else 127]) + len(data).to_bytes(wide, "big") + data

    head, ping = b"HTTP/1.1 101 Switching\r\nx: y\r\n\r\n", b"\x89\x00"
    sent = head + frame("kept") + ping + frame("lost") + frame("kept")
    for step in (1 if size < 1000 else 4096, len(sent)):
        sieve = Sieve(lambda message: message.msg_type == "lost")
        given = b"".join(sieve.pass_on(sent[place : place + step]) for place in range(0, len(sent), step))
        assert given == head + frame("kept") + ping + frame("kept")


def test_what_is_no_websocket_goes_through_a_lossy_server_as_it_is() -> None:
    sieve = Sieve(lambda message: True)
    assert sieve.pass_on(b"HTTP/1.1 200 OK\r\n\r\nabc") + sieve.pass_on(b"def") == b"HTTP/1.1 200 OK\r\n\r\nabcdef"
