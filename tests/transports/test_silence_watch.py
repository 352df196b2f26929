"""The rules of `fate.patience` on a connection whose clock the test turns."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.patience import SleepDetector
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.transports import silence_watch
from kernel_bridge_magic.transports.silence_watch import SilenceWatch, clocks_apart


class Link:
    """A connection over which nothing comes from `heard` on."""

    number = received = announced = 0

    def __init__(self, heard: float) -> None:
        self.heard = heard
        self.pings = 0
        self.connection = SimpleNamespace(ping_if_possible=self._ping)

    def _ping(self) -> bool:
        self.pings += 1
        return True


class Clock:
    """`time`, as the module under test sees it."""

    CLOCK_BOOTTIME, CLOCK_MONOTONIC = 7, 1

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def clock_gettime(self, which: int) -> float:
        return self.now + (self.slept if which == self.CLOCK_BOOTTIME else 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(silence_watch, "time", made)
    return made


def watch(link: Link, *, answers: bool) -> tuple[SilenceWatch, list[Note]]:
    told: list[Note] = []
    as_link: Any = link
    return SilenceWatch(as_link, SleepDetector(), lambda: answers, told.append), told


def run(watch: SilenceWatch, clock: Clock, seconds: float) -> Any:
    for _ in range(round(seconds * 2)):
        clock.now += 0.5
        if end := watch.tick(running=True):
            return end
        for thread in threading.enumerate():
            if thread.name == "kernel-bridge-probe":
                thread.join(5)
    return None


def test_a_connection_that_is_heard_is_pinged_only(clock: Clock) -> None:
    link = Link(clock.now)
    watched, told = watch(link, answers=True)
    for _ in range(200):
        link.heard = clock.now
        assert run(watched, clock, 1) is None
    assert not told and not watched.doubts


def test_one_that_says_nothing_while_the_server_answers_is_given_up(clock: Clock) -> None:
    link = Link(clock.now)
    watched, told = watch(link, answers=True)
    end = run(watched, clock, 200)
    assert link.pings and watched.doubts
    assert end.silent >= timing.current.silent_beside_answer and "nothing was heard for" in end.reason
    assert told


def test_one_whose_server_does_not_answer_either_is_kept_for_longer(clock: Clock) -> None:
    link = Link(clock.now)
    watched, _ = watch(link, answers=False)
    assert run(watched, clock, 200).silent >= timing.current.silent_running


def test_after_a_sleep_of_this_machine_it_is_asked_at_once(clock: Clock) -> None:
    link = Link(clock.now)
    watched, _ = watch(link, answers=True)
    run(watched, clock, 1)
    before = link.pings
    clock.slept = 3600.0
    run(watched, clock, 0.5)
    assert link.pings == before + 1


def test_the_clock_that_goes_on_in_sleep_is_never_behind() -> None:
    apart = clocks_apart()
    assert apart is None or apart > -0.1  # the two are read one after the other
    assert hasattr(time, "CLOCK_BOOTTIME") or apart is None
