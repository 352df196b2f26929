"""`Wakeup`: how a thread that waits for sockets is woken by other threads. Windows can wait for nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wakeup:
    """A pair of sockets: any thread may `ring` it, and wakes whoever polls `fileno` between `open` and `close`."""

    def __init__(self) -> None:
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the sockets; for the thread that polls."""
        self._pair = socket.socketpair()
        for made in self._pair:
            made.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that has bytes to read once `ring` was called, -1 if it is not open."""
        return -1 if self._pair is None else self._pair[0].fileno()

    def ring(self) -> bool:
        """Wake whoever polls. Return whether that is possible: whether it is open."""
        with self._lock:
            if self._pair is not None:
                with contextlib.suppress(OSError):  # it is full of bytes, which wake as well
                    self._pair[1].send(b"x")
            return self._pair is not None

    def clear(self) -> None:
        """Forget that it was rung; for the thread that polls."""
        if self._pair is not None:
            with contextlib.suppress(OSError):
                while self._pair[0].recv(4096):
                    pass

    def close(self) -> None:
        """Close the sockets; for the thread that polls."""
        with self._lock:
            pair, self._pair = self._pair, None
        for made in pair or ():
            made.close()
