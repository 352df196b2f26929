"""What wakes a thread that polls."""

from __future__ import annotations

import os
import select

import pytest

from kernel_bridge_magic.transports.wakeup import Wakeup


@pytest.fixture
def wakeup() -> Wakeup:
    wakeup = Wakeup()
    wakeup.open()
    return wakeup


def is_rung(wakeup: Wakeup) -> bool:
    poll = select.poll()
    poll.register(wakeup, select.POLLIN)
    return bool(poll.poll(0))


def test_it_is_rung_until_it_is_cleared(wakeup: Wakeup) -> None:
    assert not is_rung(wakeup)
    for _ in range(3):
        assert wakeup.ring()
    assert is_rung(wakeup)
    wakeup.clear()
    assert not is_rung(wakeup)
    wakeup.clear()  # does not wait
    wakeup.close()


def test_one_that_is_full_is_rung_already(wakeup: Wakeup) -> None:
    for _ in range(70_000):  # more than it holds
        assert wakeup.ring()
    assert is_rung(wakeup)
    wakeup.close()


def test_nothing_is_left_and_whoever_rings_later_is_told() -> None:
    before = len(os.listdir("/proc/self/fd"))
    wakeup = Wakeup()
    assert not wakeup.ring(), "nobody polls it yet"
    assert wakeup.fileno() == -1
    wakeup.open()
    wakeup.close()
    assert not wakeup.ring()
    wakeup.clear()
    wakeup.close()
    assert len(os.listdir("/proc/self/fd")) == before
