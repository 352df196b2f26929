"""A WebSocket that knows when its last byte came and how much of a frame, and that waits for none longer than a moment.

Imported when the first one is opened: websocket-client takes 7 ms.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import websocket

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import is_ready
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.transports import timing


class TooLarge(Exception):
    """A frame that announces more than may come."""


class WatchedSocket(websocket.WebSocket):  # type: ignore[misc] # the library is not typed
    """As its base; a receive that would wait for long raises WebSocketTimeoutException, and the next one resumes.

    The socket's own timeout is for sending: one that fires there corrupts the stream (FACTS.md#opening-a-websocket).
    """

    frame_buffer: Any
    #: when the last byte came, whatever it belonged to; seconds on the monotonic clock
    heard = 0.0
    #: whether a frame was cut off in the middle: nothing more can be sent
    torn = False

    def __init__(self, **options: Any) -> None:
        super().__init__(enable_multithread=True, **options)
        self.lock = _Turn()

    #: when a receive that is in the middle of a frame is to come back, and to be resumed; on the same clock
    until = float("inf")

    def _recv(self, bufsize: int) -> Any:
        sock = self.sock
        if sock is not None and (
            time.monotonic() >= self.until or not self.has_bytes(timing.current.websocket_pause * 1000)
        ):
            raise websocket.WebSocketTimeoutException("nothing came")
        data = super()._recv(bufsize)
        self.heard = time.monotonic()
        return data

    def _send(self, data: Any) -> Any:
        """Send a part of a frame; while the link takes none, Ctrl-C ends the wait (the frame is then torn)."""
        sock = self.sock
        if sock is not None:
            deadline = Deadline.after(sock.gettimeout() or 0.0)
            while not is_ready(sock, PATIENCE, write=True) and not deadline.is_over:
                check()
        return super()._send(data)

    @property
    def under_way(self) -> tuple[int, int]:
        """How many bytes of the frame that is being received have come, and how many it announced; 0, 0 for none."""
        buffer = self.frame_buffer
        return (sum(map(len, buffer.recv_buffer)), buffer.length) if buffer.length else (0, 0)

    def cap(self, room: Callable[[], int]) -> None:
        """Let a receive raise TooLarge for a frame that announces more bytes than there is `room` for."""

        class Capped(websocket.frame_buffer):  # type: ignore[misc] # it has no types
            def recv_length(self) -> None:
                super().recv_length()
                if self.length > room():
                    raise TooLarge

        self.frame_buffer = Capped(self.frame_buffer.recv, self.frame_buffer.skip_utf8_validation)

    def has_bytes(self, wait_ms: float) -> bool:
        """Return whether a receive would find something, or the end, within `wait_ms`."""
        sock = self.sock
        if sock is None:
            return True  # the receive says what is wrong
        if getattr(sock, "pending", lambda: 0)():  # TLS may hold bytes that poll cannot see
            return True
        return is_ready(sock, wait_ms / 1000)

    def ping_if_possible(self) -> bool:
        """Send a ping, unless that would wait for other things to go out first; return whether it is out."""
        if not self._can_send():
            return False
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self.ping(b"")
            return True
        return False

    def pong_if_possible(self) -> None:
        """Send an empty pong, unless that would wait: then there is enough under way that the other side answers."""
        if self._can_send():
            # If the other side has left meanwhile, the next receive says so, behind all that had come before.
            with contextlib.suppress(websocket.WebSocketException, OSError):
                self.pong(b"")

    def _can_send(self) -> bool:
        sock = self.sock
        return sock is not None and not self.torn and is_ready(sock, 0, write=True)


class _Turn:
    """The lock around a frame that is sent; whoever waits for it in the main thread can be interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        while not self._lock.acquire(timeout=PATIENCE):
            check()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._lock.release()
