"""How a connection's thread and those that use the connection wait for each other: `Opening` and `Wakeup`."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.transports.inbox import HeldUp


class TimeIsUp(Exception):
    """A connection was not open in time. Not a TimeoutError, which a time limit of the user's may raise in the wait."""


class Opening:
    """The wait for a connection: one thread waits, the connection's own thread says how far it is."""

    def __init__(self) -> None:
        self._outcome: queue.SimpleQueue[KernelBridgeError | None] = queue.SimpleQueue()
        self._asked_at: float | None = None
        self._suspended = False

    def asked(self) -> None:
        """Record that a server has just been asked to let us in."""
        self._asked_at = time.monotonic()

    def suspended(self) -> None:
        """Record that the kernel's process was seen to be suspended: it lets us in once it goes on."""
        self._suspended = True
        self._asked_at = self._asked_at or time.monotonic()

    def finish(self, problem: KernelBridgeError | None) -> None:
        """Record that the connection is open, or why it is not. What is said first counts."""
        self._outcome.put(problem)

    def wait(self, timeout: float, held_up: HeldUp | None) -> KernelBridgeError | None:
        """Wait for `timeout` seconds, and return why the connection could not be opened; None for one that is open.

        `held_up` is called again and again meanwhile, see `Transport.open`. Whoever passes it ends the wait for a
        process that is suspended: it may go on tomorrow.

        Raises:
            TimeIsUp: it was not open in time.
        """
        deadline = Deadline.after(timeout)
        while True:
            is_over = deadline.is_over
            try:
                return self._outcome.get(timeout=PATIENCE if self._suspended else min(deadline.left, PATIENCE))
            except queue.Empty:
                if is_over and not (self._suspended and held_up is not None):
                    raise TimeIsUp from None
                check()
                if held_up is not None and self._asked_at is not None:
                    held_up(time.monotonic() - self._asked_at, self._suspended)


class Wakeup:
    """A pair of sockets: any thread may `ring` it, and wakes whoever polls `fileno` between `open` and `close`.

    Windows can wait for nothing but sockets.
    """

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
