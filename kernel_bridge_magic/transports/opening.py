"""`Opening`: how one thread waits until another has connected."""

from __future__ import annotations

import queue
import time

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.transports.items import HeldUp


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
            TimeoutError: the time is up.
        """
        deadline = Deadline.after(timeout)
        while True:
            left, is_over = deadline.left, deadline.is_over
            endless = self._suspended and held_up is not None
            try:
                return self._outcome.get(timeout=PATIENCE if endless else min(left, PATIENCE))
            except queue.Empty:
                if is_over and not (self._suspended and held_up is not None):
                    raise TimeoutError from None
                check()
                if held_up is not None and self._asked_at is not None:
                    held_up(time.monotonic() - self._asked_at, self._suspended)
