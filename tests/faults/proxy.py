"""A TCP proxy that breaks connections in the ways in which networks do (toxiproxy's words).

with FaultProxy(server.port) as proxy:
    ...                                # dial proxy.port
    proxy.reset()                      # RST on both sides of every connection
    proxy.hold()                       # a black hole: nothing goes through, nothing is lost
    proxy.release()

`UP` is what the client sends, `DOWN` what the server sends. A black hole keeps what it has taken, as TCP does, which
sends again when the network is back. What one connection forgets (a NAT's table) is `hold(for_good=True)`. A server
that loses messages is `proxy.loses`, which is asked of each that comes over a WebSocket.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from kernel_bridge_magic.protocol.frames import V1, decode
from kernel_bridge_magic.protocol.messages import Message

UP, DOWN = "up", "down"
BOTH = (UP, DOWN)
_CHUNK = 65536
_NO_LINGER = struct.pack("ii", 1, 0)


class Sieve:
    """Takes messages out of what a server sends over a WebSocket; what is none of that goes through as it is."""

    def __init__(self, loses: Callable[[Message], bool]) -> None:
        self._loses = loses
        self._left = b""
        self._opened: bool | None = None

    def pass_on(self, data: bytes) -> bytes:
        """Take what has come; give what goes through of all that is whole by now."""
        self._left += data
        given = b""
        if self._opened is None:
            head, blank, _ = self._left.partition(b"\r\n\r\n")
            if not blank:
                return b""
            self._opened = b" 101 " in head.split(b"\r\n")[0]
            given, self._left = head + blank, self._left[len(head + blank) :]
        if not self._opened:
            given, self._left = given + self._left, b""
        while (size := self._size()) and len(self._left) >= size[1]:
            frame, self._left = self._left[: size[1]], self._left[size[1] :]
            if not self._is_lost(frame, size[0]):
                given += frame
        return given

    def _size(self) -> tuple[int, int] | None:
        """How long the next frame's head is, and the frame; None before its head has come."""
        if len(self._left) < 2:
            return None
        short = self._left[1] & 0x7F
        head = 2 + {126: 2, 127: 8}.get(short, 0)
        if len(self._left) < head:
            return None
        return head, head + (short if head == 2 else int.from_bytes(self._left[2:head], "big"))

    def _is_lost(self, frame: bytes, head: int) -> bool:
        if frame[0] & 0x0F not in (1, 2):  # a ping, a close
            return False
        binary = frame[0] & 0x0F == 2
        return self._loses(decode(frame[head:] if binary else frame[head:].decode(), V1 if binary else ""))


class Pair:
    """One connection that was taken: the client's socket, the server's, and two streams between them."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.sockets = {UP: client, DOWN: server}  # by what they send to us
        #: bytes that went through
        self.passed = {UP: 0, DOWN: 0}
        self.open = {UP: threading.Event(), DOWN: threading.Event()}
        self.limits: dict[str, int] = {}
        self._sieve = None if proxy.loses is None else Sieve(proxy.loses)
        self.ended = False
        #: nothing goes through any more, for good
        self.forgotten = False
        self._left: set[str] = set()
        self._lock = threading.Lock()
        for way in BOTH:
            self.open[way].set()

    def start(self) -> None:
        """Begin to pass on, both ways."""
        for way in BOTH:
            self._start(way)

    def _start(self, way: str) -> None:
        source, target = self.sockets[way], self.sockets[DOWN if way == UP else UP]
        line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        for work in (lambda: self._read(way, source, line), lambda: self._write(way, target, line)):
            threading.Thread(target=work, daemon=True, name=f"proxy-{way}").start()

    def _read(self, way: str, source: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"x"
        while data:
            data = b""
            with contextlib.suppress(OSError):
                data = source.recv(_CHUNK)
            line.put((time.monotonic() + self.proxy.latency, data))
        self._left.add(way)
        if self.forgotten and len(self._left) == len(BOTH):
            self.close()  # both sides have given it up: nobody hears of this, and the threads end

    def _write(self, way: str, target: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        while not self.ended:
            due, data = line.get()
            time.sleep(max(due - time.monotonic(), 0.0))
            self.open[way].wait()
            if self.ended:
                return
            if not data:
                with contextlib.suppress(OSError):
                    target.shutdown(socket.SHUT_WR)
                return
            self._pass(way, target, data)

    def _pass(self, way: str, target: socket.socket, data: bytes) -> None:
        if way == DOWN and self._sieve is not None:
            data = self._sieve.pass_on(data)
        limit = self.limits.get(way)
        cut = limit is not None and self.passed[way] + len(data) >= limit
        if cut and limit is not None:
            data = data[: limit - self.passed[way]]
        with contextlib.suppress(OSError):
            for part in self._slices(data):
                target.sendall(part)
        self.passed[way] += len(data)
        if cut:
            self.reset()

    def _slices(self, data: bytes) -> Iterable[bytes]:
        rate = self.proxy.rate
        if not rate:
            yield data
            return
        step = max(rate // 20, 1)
        for start in range(0, len(data), step):
            time.sleep(step / rate)
            yield data[start : start + step]

    def half_close(self, way: str) -> None:
        """Say that `way` has ended (FIN to whoever listens there); the other way goes on."""
        with contextlib.suppress(OSError):
            self.sockets[DOWN if way == UP else UP].shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST to both sides."""
        self._end(_NO_LINGER)

    def close(self) -> None:
        """FIN to both sides."""
        self._end(b"")

    def _end(self, linger: bytes) -> None:
        with self._lock:
            ended, self.ended = self.ended, True
        for way in BOTH:
            self.open[way].set()
        if ended:
            return
        for sock in self.sockets.values():
            with contextlib.suppress(OSError):
                if linger:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    # A receive that waits holds the descriptor, and close() alone would send nothing.
                    sock.shutdown(socket.SHUT_RD)
                else:
                    sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class FaultProxy:
    """Listens on `port` of loopback and hands on to `target`, a port there.

    `latency` is in seconds each way, `rate` in bytes a second each way (0: none); both may be changed at any time.
    `loses` is for connections that are opened when it is set: which messages of the server they lose.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self.loses: Callable[[Message], bool] | None = None
        self.latency = 0.0
        self.rate = 0
        self.pairs: list[Pair] = []
        self._forgotten: list[Pair] = []
        self._held: tuple[str, ...] = ()
        self._limits: dict[str, int] = {}
        self._refusing = self._ended = False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True, name="proxy-accept").start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._take(client)

    def _take(self, client: socket.socket) -> None:
        try:
            if self._refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            # As near as one can come to "refused" while one listens.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            client.close()
            return
        server.settimeout(None)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            pair = Pair(self, client, server)
            pair.limits, self._limits = dict(self._limits), {}
            for way in self._held:
                pair.open[way].clear()
            self.pairs = [known for known in self.pairs if not known.ended]
            if self._refusing or self._ended:  # since it was accepted
                pair.reset()
                return
            self.pairs.append(pair)
            pair.start()

    # -- faults

    def hold(self, *ways: str, for_good: bool = False) -> None:
        """Let nothing through, both ways unless one is named; new connections hang, too.

        With `for_good` only the connections that are open now hang, and `release` does not free them.
        """
        with self._lock:
            pairs, self.pairs = self.pairs, [] if for_good else self.pairs
            self._held = () if for_good else (ways or BOTH)
            for pair in pairs:
                pair.forgotten = for_good
                for way in ways or BOTH:
                    pair.open[way].clear()
            known = [pair for pair in self._forgotten if not pair.ended]
            self._forgotten = known + (pairs if for_good else [])

    def release(self) -> None:
        """Let through again, what was held first."""
        with self._lock:
            self._held = ()
            for pair in self.pairs:
                for way in BOTH:
                    pair.open[way].set()

    def reset(self) -> int:
        """RST on both sides of every connection; gives how many there were."""
        return self._each(Pair.reset)

    def close_all(self) -> int:
        """FIN on both sides of every connection; gives how many there were."""
        return self._each(Pair.close)

    def _each(self, action: Callable[[Pair], None]) -> int:
        with self._lock:
            pairs = [pair for pair in self.pairs if not pair.ended]
        for pair in pairs:
            action(pair)
        return len(pairs)

    def refuse(self, refuse: bool = True) -> None:
        """Reset new connections at once."""
        self._refusing = refuse

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Reset all connections, and let none be opened while the block runs."""
        self.refuse()
        self.reset()
        yield
        self.refuse(False)

    def reset_after(self, way: str, count: int) -> None:
        """RST the next connection as soon as `count` bytes have gone `way`."""
        with self._lock:
            self._limits[way] = count

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            self._ended = True
        self.release()
        for pair in [*self.pairs, *self._forgotten]:
            pair.close()
