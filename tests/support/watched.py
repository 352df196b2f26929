"""A watch over one cell, played to with a clock of our own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Event, Lost, Note
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, msg, status

T = timing.current

SAFE = "the cell was not run, so it is safe to run it again"
IN_THE_NEW_ONE = (
    "its kernel process ended before this cell began. It runs in the new kernel, where the earlier variables are gone"
)
SKIPPED = f"the kernel skipped the cell after another client's cell failed or was interrupted; {SAFE}"
DATA_RATE = "IOPub data rate exceeded.\nThe Jupyter server will temporarily stop sending output\n"


class Watched:
    """A watch, its clock, and all that it said."""

    def __init__(self, timeout: float | None = None) -> None:
        self.now = 1000.0
        self.watch = CellWatch(Request(CELL), now=self.now, timeout=timeout)
        self.said: list[Event | Action] = []

    def get(self, *messages: Message) -> Watched:
        for message in messages:
            self.said += self.watch.receive(message, self.now)
        return self

    def around(self, **known: Any) -> Watched:
        """Let the caller know something about the kernel or the link."""
        self.watch.state.surroundings = replace(self.watch.state.surroundings, **known)
        return self

    def sign(self, sign: EndSignal) -> Watched:
        self.watch.signal(sign, self.now)
        return self

    def wait(self, seconds: float) -> Watched:
        """Let time pass in ticks, as the caller does: of a tenth of a second, and a thousand of a long time."""
        until, tick = self.now + seconds, max(0.1, seconds / 1000)
        while self.now < until:
            self.now = min(self.now + tick, until)
            self.said += self.watch.tick(self.now)
        return self

    def asked_kernel(self) -> Watched:
        assert Action.ASK_KERNEL in self.said
        self.watch.asked_kernel("probe", self.now)
        return self

    @property
    def fate(self) -> Fate | None:
        return self.watch.verdict.fate if self.watch.verdict else None

    @property
    def reason(self) -> str:
        assert self.watch.verdict is not None
        return self.watch.verdict.reason


PROBE_ANSWER = msg("kernel_info_reply", {}, channel="shell", parent="probe")


def running(timeout: float | None = None) -> Watched:
    return Watched(timeout).get(status("busy"))


def broken(cell: Watched, seconds: float = 0.4) -> Watched:
    cell.watch.broke("the server closed the connection", "14:02:07", cell.now)
    return cell.wait(seconds)


def back(cell: Watched, seconds: float = 0.4) -> Watched:
    broken(cell, seconds)
    cell.said += cell.watch.back(seconds, "14:02:10", cell.now)
    return cell.asked_kernel()


def notes(cell: Watched) -> list[str]:
    return [event.text for event in cell.said if isinstance(event, Note)]


def losses(cell: Watched) -> list[Lost]:
    return [event for event in cell.said if isinstance(event, Lost)]
