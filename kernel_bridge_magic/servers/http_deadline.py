"""A socket for http.client with one deadline for all reads."""

from __future__ import annotations

import contextlib
import io
import socket
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.readiness import is_ready


class Timed:
    """A socket as http.client uses it, with a deadline for all reads together.

    The timeout of a plain socket is for each read: a server that drips one byte a second would hold up a call for
    ever (T24). `heard` is whether anything has come since the last sending.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self.deadline = deadline
        self.heard = False
        self._files = 0
        self._closed = False

    def sendall(self, data: bytes) -> None:
        """Send everything, by the deadline."""
        self.heard = False
        self._sock.settimeout(self.deadline.require())
        self._sock.sendall(data)

    def is_over(self) -> bool:
        """Return whether the other end has closed the connection, or has sent something unasked."""
        return is_ready(self._sock, 0)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """Return a file to read from, by the deadline."""
        self._files += 1
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: Any) -> int:
        """Read what is there into `buffer`, by the deadline; return the number of bytes."""
        self._sock.settimeout(self.deadline.require())
        number = self._sock.recv_into(buffer)
        self.heard = self.heard or number > 0
        return number

    def close(self) -> None:
        """Close the connection as soon as no file reads from it any more.

        When the server says `Connection: close`, http.client closes first and reads the body then.
        """
        self._closed = True
        self._close_if_unused()

    def file_closed(self) -> None:
        """Record that one of the files is closed."""
        self._files -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and self._files <= 0:
            with contextlib.suppress(OSError):
                self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, owner: Timed) -> None:
        super().__init__()
        self._owner = owner

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.file_closed()

    def readinto(self, buffer: Any) -> int:
        return self._owner.receive_into(buffer)
