"""`SilenceWatch`: whether a WebSocket that says nothing is still alive: pings, and questions on a new connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel_bridge_magic.fate.patience import Incoming, Silence, SilenceStep, SleepDetector
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.transports.close_codes import End

if TYPE_CHECKING:
    from kernel_bridge_magic.transports.message_socket import MessageSocket


class SilenceWatch:
    """Does what the rules of `fate.patience` say of one connection.

    `answers` asks the server on a new connection whether it is there. `tell` hands a note to all who wait. `detector`
    outlives the connection: this machine may sleep between two of them.
    """

    def __init__(
        self, link: MessageSocket, detector: SleepDetector, answers: Callable[[], bool], tell: Callable[[Note], None]
    ) -> None:
        self._link = link
        self._detector = detector
        self._answers = answers
        self._tell = tell
        self._silence = Silence()
        self._incoming = Incoming()

    @property
    def doubts(self) -> bool:
        """Whether a cell is under way, and people were told that a ping has gone unanswered."""
        return self._silence.doubts

    def tick(self, *, running: bool) -> End | None:
        """Do what is due. Return how the connection is to end where it is to be given up.

        `running` is whether a request is under way.
        """
        now, link = time.monotonic(), self._link
        if slept := self._detector.slept(clocks_apart()):
            self._silence.woke(slept)
        for note in self._incoming.tick(number=link.number, come=link.received, size=link.announced, now=now):
            self._tell(note)
        for step in self._silence.tick(heard=link.heard, running=running, now=now):
            if step is SilenceStep.PING:
                if link.connection.ping_if_possible():
                    self._silence.pinged(now)
            elif step is SilenceStep.PROBE:
                threading.Thread(target=self._probe, name="kernel-bridge-probe", daemon=True).start()
            elif step is SilenceStep.GIVE_UP:
                silent = now - link.heard
                return End(f"nothing was heard for {silent:.0f} s", silent=silent)
            elif isinstance(step, Note):
                self._tell(step)
        return None

    def _probe(self) -> None:
        """Ask the server on a new connection whether it is there; runs in a thread of its own."""
        for note in self._silence.probed(self._answers(), time.monotonic()):
            self._tell(note)


def clocks_apart() -> float | None:
    """Return by how many seconds the clock that goes on while the machine sleeps is ahead; None where there is none."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
