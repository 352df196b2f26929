"""A pipe that wakes whoever polls it."""

from __future__ import annotations

import contextlib
import os
import threading

__all__ = ["Bell"]


class Bell:
    """Can be polled by its `fileno`; any thread may ring it, also after it was closed."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor that has bytes to read once it was rung."""
        return self._out

    def ring(self) -> None:
        """Wake whoever polls."""
        with self._lock, contextlib.suppress(OSError):  # a full pipe rings already
            if self._in >= 0:
                os.write(self._in, b"x")

    def hush(self) -> None:
        """Take back that it was rung."""
        with contextlib.suppress(OSError):
            os.read(self._out, 4096)

    def close(self) -> None:
        """Give the descriptors back."""
        with self._lock:
            os.close(self._in)
            os.close(self._out)
            self._in = self._out = -1
