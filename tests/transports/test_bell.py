"""The pipe that wakes a poll."""

from __future__ import annotations

import os
import select

from kernel_bridge_magic.transports.bell import Bell


def rung(bell: Bell) -> bool:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    return bool(poll.poll(0))


def test_it_is_heard_until_it_is_hushed() -> None:
    bell = Bell()
    assert not rung(bell)
    for _ in range(3):
        bell.ring()
    assert rung(bell)
    bell.hush()
    assert not rung(bell)
    bell.hush()  # does not wait
    bell.close()


def test_a_full_pipe_rings_already() -> None:
    bell = Bell()
    for _ in range(70_000):  # more than a pipe holds
        bell.ring()
    assert rung(bell)
    bell.close()


def test_nothing_is_left_and_whoever_rings_later_writes_nowhere() -> None:
    before = len(os.listdir("/proc/self/fd"))
    bell = Bell()
    bell.close()
    bell.ring()
    assert len(os.listdir("/proc/self/fd")) == before
