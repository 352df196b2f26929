"""`MessageSocket`: one open WebSocket that carries messages, in either framing of the protocol."""

from __future__ import annotations

import contextlib
import socket
import time

import websocket

from kernel_bridge_magic.errors import BadCell, LinkLost
from kernel_bridge_magic.protocol.frames import decode, encode
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.close_codes import End, read_close
from kernel_bridge_magic.transports.fragments import Fragments
from kernel_bridge_magic.transports.watched import TooLarge, WatchedSocket

#: Bytes; tornado's limit for one message to the server, which drops the connection for a larger one (FACTS.md#limits).
LARGEST_SENT = 10 * 2**20 - 1024
#: Bytes; no message of a kernel may be larger (T23). The length that its frames announce is what counts.
LARGEST_RECEIVED = 256 * 2**20
_DATA = (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_CONT)


class MessageSocket:
    """An open WebSocket. One thread receives; any thread may send.

    What comes is answered with an empty pong, without which small messages would wait 48 ms each.
    """

    def __init__(self, connection: WatchedSocket) -> None:
        #: the WebSocket itself
        self.connection = connection
        headers = {key.lower(): value for key, value in (connection.getheaders() or {}).items()}
        #: the framing that the server chose, "" for JSON
        self.subprotocol = headers.get("sec-websocket-protocol", "")
        self._fragments = Fragments(LARGEST_RECEIVED)
        connection.cap(lambda: self._fragments.room)
        self._opened_at = connection.heard
        self._largest = 0  # bytes of the largest message that was sent

    # -- what came

    @property
    def heard(self) -> float:
        """When the last byte came, in seconds on the monotonic clock."""
        return self.connection.heard

    @property
    def gave_sign(self) -> bool:
        """Whether anything came since it was opened."""
        return self.heard > self._opened_at

    @property
    def is_torn(self) -> bool:
        """Whether a frame was cut off in the middle: nothing more can be sent."""
        return self.connection.torn

    @property
    def received(self) -> int:
        """How many bytes of the message that is coming are held here; 0 if none is coming."""
        return self._fragments.size + self.connection.under_way[0]

    @property
    def announced(self) -> int:
        """How many bytes the frames of the message that is coming have announced."""
        return self._fragments.size + self.connection.under_way[1]

    @property
    def number(self) -> int:
        """How many messages have come, or will come no more."""
        return self._fragments.count

    @property
    def receiving_at(self) -> float:
        """When the last bytes of an incomplete message came, on the monotonic clock; -inf if none is incomplete."""
        return self.heard if self._fragments.begun or self.connection.under_way[1] else float("-inf")

    def receive(self) -> Message | End | None:
        """Receive a frame, or a part of one. Return the message that is complete with it, or how the connection ended.

        Raises:
            MalformedMessage: what came cannot be a message.
            MemoryError: there was no memory left for what came.
        """
        self.connection.until = time.monotonic() + timing.current.websocket_look_in_frame
        try:
            opcode, frame = self.connection.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return None  # in the middle of a frame: the next call resumes there (FACTS.md#opening-a-websocket)
        except TooLarge:
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
        # The server's Nagle waits for our ACK, which waits for data: give it some (FACTS.md#latency). If it has left
        # meanwhile, the next receive says so, behind all that had come before.
        self.connection.pong_if_possible()
        text = None if opcode == websocket.ABNF.OPCODE_CONT else opcode == websocket.ABNF.OPCODE_TEXT
        return self._read(frame.data, text=text, last=bool(frame.fin))

    def _read(self, data: bytes | bytearray, *, text: bool | None, last: bool) -> Message | None:
        try:
            whole = self._fragments.take(bytes(data), text=text, last=last)
            return None if whole is None else decode(whole, self.subprotocol)
        except MemoryError:
            if last and self._fragments.begun:
                self._fragments.drop()
            raise

    # -- what goes out

    def send(self, message: Message, kernel: str) -> None:
        """Send a message to a kernel, which people call `kernel`.

        Raises:
            BadCell: it is too large for the server; nothing was sent.
            LinkLost: the connection broke.
        """
        payload = encode(message, self.subprotocol)
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
            self.connection.send(payload, opcode)
        except (websocket.WebSocketException, OSError, ValueError):
            # Part of the frame may be out: whatever followed it would be read as its rest. ValueError is select's word
            # for a socket that another thread has closed.
            self._tear()
            raise LinkLost("the connection broke while sending; the cell did not run") from None
        except KeyboardInterrupt:
            # For the same reason; it comes from `send` where it waits. The next cell gets a connection of its own.
            self._tear()
            raise

    def _tear(self) -> None:
        """End the connection in the middle of a frame: whoever receives from it sees the end."""
        self.connection.torn = True
        sock = self.connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # -- the end

    def drop(self) -> None:
        """Close a connection that broke."""
        self.connection.shutdown()

    def close(self) -> None:
        """Close a connection, with the closing handshake.

        A socket that is closed with something unread in it is reset, and the server would then drop what was sent last.
        """
        seconds = timing.current.websocket_close
        with contextlib.suppress(Exception):
            self.connection.sock.settimeout(seconds)
            self.connection.close(timeout=seconds)
        self.connection.shutdown()
