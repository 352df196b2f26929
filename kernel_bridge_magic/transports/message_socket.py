"""`MessageSocket`: one WebSocket that carries messages, in either framing of the protocol, and how it ended.

Imported when the first one is opened: websocket-client takes 7 ms.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import websocket

try:
    from tornado.speedups import websocket_mask
except ImportError:  # a tornado that was built without a compiler
    websocket_mask = None  # type: ignore[assignment]

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import is_ready
from kernel_bridge_magic.errors import BadCell, LinkLost
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.protocol.frames import decode, encode
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.text import cut_end, visible
from kernel_bridge_magic.transports import timing

#: Bytes; tornado's limit for one message to the server, which drops the connection for a larger one (FACTS.md#limits).
LARGEST_SENT = 10 * 2**20 - 1024
#: Bytes; no message of a kernel may be larger (T23). The length that its frames announce is what counts.
LARGEST_RECEIVED = 256 * 2**20
_DATA = (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_CONT)
_SMALL = 1 << 16  # bytes of a frame that is sent in one part
_LONGEST_REASON = 120  # characters of a server's reason for closing
_TOO_BIG = 1009  # the close code for a message that is too large


class End(NamedTuple):
    """How a connection ended: in words, and the code of its close frame, 0 for none.

    `silent` is for how many seconds nothing had come: what is missing may be missing since then. `unheld` is how many
    messages were lost with it because no memory was left for them.
    """

    reason: str
    code: int = 0
    silent: float = 0.0
    unheld: int = 0
    #: whether coming back would only meet the same
    final: bool = False

    @property
    def unwanted(self) -> bool:
        """Whether the server said that it does not want us (F27)."""
        return self.code == 1008 or self.code >= 4000


def read_close(data: bytes, largest: int = 0) -> End:
    """Return what a close frame says. Its reason is a server's, and only shown where the code says nothing by itself.

    `largest` is the size in bytes of the largest message that we have sent.
    """
    code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 0
    if code in (0, 1000, 1001, 1005, 1006):
        return End("the server closed the connection", code)
    if code == _TOO_BIG:
        what = f"{largest / 1e6:.1f} MB is too large for the server in one message ({code})"
        return End(f"{what}; send less, or use ZMQ", code, final=True)
    said = cut_end(visible(data[2:].decode("utf-8", "replace")), _LONGEST_REASON)
    return End(f"the server closed the connection: {code}{' ' if said else ''}{said}", code)


class Fragments:
    """The message that is coming. websocket-client adds each fragment to the ones before: 19 s for 200 MB."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._is_text = False
        #: how many bytes have come of it
        self.size = 0
        #: how many messages have come whole, or will come no more
        self.count = 0

    @property
    def begun(self) -> bool:
        """Whether something has come of a message, and not all."""
        return bool(self._parts)

    def add(self, data: bytes, *, text: bool | None, last: bool) -> str | bytes | None:
        """Add a fragment, and return the message if this was its last; `text` is None for any but the first."""
        if text is not None:
            self._is_text = text
        self._parts.append(data)
        self.size += len(data)
        if not last:
            return None
        whole = data if len(self._parts) == 1 else b"".join(self._parts)
        self.drop()
        return whole.decode("utf-8", "replace") if self._is_text else whole

    def drop(self) -> None:
        """Forget what has come of the message: nothing more comes of it."""
        self._parts, self.size = [], 0
        self.count += 1


class MessageSocket(websocket.WebSocket):  # type: ignore[misc] # the library is not typed
    """A WebSocket. One thread receives; any thread may send.

    It differs from its base in that a receive waits for nothing longer than a moment, and resumes at the next call. The
    socket's own timeout is for sending: one that fires there corrupts the stream (FACTS.md#opening-a-websocket).

    What comes is answered with an empty pong, without which small messages would wait 48 ms each.
    """

    frame_buffer: Any

    def __init__(self) -> None:
        # The library's validation of UTF-8 is pure Python: 9 s for 30 MB. Decoding finds the same.
        super().__init__(enable_multithread=True, skip_utf8_validation=True, fire_cont_frame=True)
        self.lock = _Turn()
        #: the framing that the server chose, "" for JSON
        self.framing = ""
        #: when it was opened, and when the last byte came, whatever it belonged to; seconds on the monotonic clock
        self.opened_at = self.heard = 0.0
        #: whether a frame was cut off in the middle: nothing more can be sent
        self.is_torn = False
        self._look_at = float("inf")  # when a receive in the middle of a frame is to come back, on the same clock
        self._largest = 0  # bytes of the largest message that was sent
        self._fragments = fragments = Fragments()

        class Capped(websocket.frame_buffer):  # type: ignore[misc] # it has no types
            def recv_length(self) -> None:
                super().recv_length()
                if fragments.size + self.length > LARGEST_RECEIVED:
                    raise _TooLarge

        self.frame_buffer = Capped(self.frame_buffer.recv, skip_utf8_validation=True)

    def opened(self, raw: socket.socket) -> None:
        """Begin to receive and send messages over `raw`, now that the handshake is over."""
        headers = {key.lower(): value for key, value in (self.getheaders() or {}).items()}
        self.sock, self.framing = raw, headers.get("sec-websocket-protocol", "")
        raw.settimeout(timing.current.websocket_send)
        self.heard = self.opened_at = time.monotonic()

    # -- what came

    @property
    def progress(self) -> tuple[int, int, int]:
        """How many messages have come, or will come no more; of the next one, the bytes held here, and those announced.

        All frames that have begun to come announce how long they are. Both are 0 where nothing is coming.
        """
        buffer, size = self.frame_buffer, self._fragments.size
        held = sum(map(len, buffer.recv_buffer)) if buffer.length else 0
        return self._fragments.count, size + held, size + (buffer.length or 0)

    @property
    def receiving_at(self) -> float:
        """When the last bytes of an incomplete message came, on the monotonic clock; -inf if none is incomplete."""
        return self.heard if self._fragments.begun or self.frame_buffer.length else float("-inf")

    def has_bytes(self, seconds: float) -> bool:
        """Return whether a receive would find something, or the end, within so many seconds."""
        sock = self.sock
        if sock is None:
            return True  # the receive says what is wrong
        if getattr(sock, "pending", lambda: 0)():  # TLS may hold bytes that poll cannot see
            return True
        return is_ready(sock, seconds)

    def receive(self) -> Message | End | None:
        """Receive a frame, or a part of one. Return the message that is complete with it, or how the connection ended.

        Raises:
            MalformedMessage: what came cannot be a message.
            MemoryError: there was no memory left for what came.
        """
        self._look_at = time.monotonic() + timing.current.websocket_look_in_frame
        try:
            opcode, frame = self.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return None  # in the middle of a frame: the next call resumes there (FACTS.md#opening-a-websocket)
        except _TooLarge:
            return End(f"a message of more than {LARGEST_RECEIVED >> 20} MiB came, which is not read", final=True)
        except (websocket.WebSocketException, OSError):
            return End("the server closed the connection")
        except MemoryError:
            # Where the next frame begins is not known any more.
            return End("no memory is left here for what the kernel sends", unheld=1)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return read_close(bytes(frame.data), self._largest)
        if opcode not in _DATA:
            return None
        # The server's Nagle waits for our ACK, which waits for data: give it some (FACTS.md#latency).
        self.send_if_possible(self.pong)
        text = None if opcode == websocket.ABNF.OPCODE_CONT else opcode == websocket.ABNF.OPCODE_TEXT
        last = bool(frame.fin)
        try:
            whole = self._fragments.add(bytes(frame.data), text=text, last=last)
            return None if whole is None else decode(whole, self.framing)
        except MemoryError:
            if last and self._fragments.begun:
                self._fragments.drop()
            raise

    def _recv(self, bufsize: int) -> Any:
        late = time.monotonic() >= self._look_at
        if self.sock is not None and (late or not self.has_bytes(timing.current.websocket_pause)):
            raise websocket.WebSocketTimeoutException("nothing came")
        data = super()._recv(bufsize)
        self.heard = time.monotonic()
        return data

    # -- what goes out

    def send_message(self, message: Message, kernel: str) -> None:
        """Send a message to a kernel, which people call `kernel`.

        Raises:
            BadCell: it is too large for the server; nothing was sent.
            LinkLost: the connection broke.
        """
        payload = encode(message, self.framing)
        if len(payload) > LARGEST_SENT:
            # In bytes: a size and a limit that are close to each other would be one number in MiB.
            raise BadCell(
                f"a message of {len(payload):,} bytes was not sent, since the server takes {LARGEST_SENT:,} at most; "
                "split the cell, or let it read its data from a file there",
                kernel=kernel,
            )
        opcode = websocket.ABNF.OPCODE_TEXT if isinstance(payload, str) else websocket.ABNF.OPCODE_BINARY
        self._largest = max(self._largest, len(payload))
        try:
            self._send_data(payload.encode() if isinstance(payload, str) else payload, opcode)
        except (websocket.WebSocketException, OSError, ValueError):
            # Part of the frame may be out: whatever followed it would be read as its rest. ValueError is select's word
            # for a socket that another thread has closed.
            self._tear()
            raise LinkLost("the connection broke while sending; the cell did not run") from None
        except KeyboardInterrupt:
            # For the same reason; it comes from `_send` where it waits. The next cell gets a connection of its own.
            self._tear()
            raise

    def _send_data(self, data: bytes, opcode: int) -> None:
        """Send one frame. The library would copy it five times, and mask 150 MiB a second, in Python."""
        key = os.urandom(4)
        masked = websocket.ABNF.mask(key, data) if websocket_mask is None else websocket_mask(key, data)
        head = frame_head(opcode, len(data)) + key
        with self.lock:
            for part in [head + masked] if len(data) < _SMALL else [head, masked]:
                left = memoryview(part)
                while left:
                    left = left[self._send(left) :]

    def _send(self, data: Any) -> Any:
        """Send a part of a frame; while the link accepts none, Ctrl-C ends the wait (the frame is then torn)."""
        sock = self.sock
        if sock is not None:
            deadline = Deadline.after(sock.gettimeout() or 0.0)
            while not is_ready(sock, PATIENCE, write=True) and not deadline.is_over:
                check()
        return super()._send(data)

    def send_if_possible(self, send: Callable[[bytes], object]) -> bool:
        """Send an empty ping or pong, unless it would have to wait for other things. Return whether it is out.

        Where it would wait there is enough under way that the other side answers. If that has left meanwhile, the next
        receive says so, behind all that had come before.
        """
        sock = self.sock
        if sock is None or self.is_torn or not is_ready(sock, 0, write=True):
            return False
        with contextlib.suppress(websocket.WebSocketException, OSError):
            send(b"")
            return True
        return False

    def _tear(self) -> None:
        """End the connection in the middle of a frame: whoever receives from it sees the end."""
        self.is_torn = True
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close_politely(self) -> None:
        """Close the connection, with the closing handshake.

        A socket that is closed with something unread in it is reset, and the server would then drop what was sent last.
        """
        seconds = timing.current.websocket_close
        with contextlib.suppress(Exception):
            self.sock.settimeout(seconds)
            self.close(timeout=seconds)
        self.shutdown()


def frame_head(opcode: int, size: int) -> bytes:
    """Return what stands before the mask of a whole frame with `size` bytes (RFC 6455, section 5.2)."""
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    return struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)


class _TooLarge(Exception):
    """A frame that announces more than may come."""


class _Turn:
    """The lock around a frame that is sent; whoever waits for it in the main thread can be interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        while not self._lock.acquire(timeout=PATIENCE):
            check()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._lock.release()
