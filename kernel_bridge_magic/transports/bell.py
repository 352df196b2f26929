"""A pair of sockets that wakes whoever waits for one of them: a selector of Windows knows nothing but sockets."""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["Bell"]


class Bell:
    """Can be waited for by its `fileno`; any thread may ring it, also after it was closed."""

    def __init__(self) -> None:
        self._out, self._in = socket.socketpair()
        self._out.setblocking(False)
        self._in.setblocking(False)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor that has bytes to read once it was rung; -1 when it is closed."""
        return self._out.fileno()

    def ring(self) -> None:
        """Wake whoever waits."""
        with self._lock, contextlib.suppress(OSError):  # a full buffer rings already
            self._in.send(b"x")

    def hush(self) -> None:
        """Take back that it was rung."""
        with contextlib.suppress(OSError):
            while self._out.recv(4096):
                pass

    def close(self) -> None:
        """Close both ends."""
        with self._lock:
            self._in.close()
            self._out.close()
