"""How long one thread waits until another has connected, and what wakes a thread that polls."""

from __future__ import annotations

import os
import select
import threading
import time

import pytest

from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError
from kernel_bridge_magic.transports.threads import Opening, TimeIsUp, Wakeup
from tests.support.still import StillTransport


class Patience:
    """Is told how long the wait takes, and ends it when it has been told `most` times."""

    def __init__(self, most: int) -> None:
        self.told: list[tuple[float, bool]] = []
        self._most = most

    def __call__(self, seconds: float, suspended: bool) -> None:
        self.told.append((seconds, suspended))
        if len(self.told) == self._most:
            raise CannotConnect("waited for long enough")


@pytest.mark.parametrize("problem", [None, CannotConnect("no")], ids=["open", "refused"])
def test_what_is_said_first_counts(problem: KernelBridgeError | None) -> None:
    opening = Opening()
    opening.finish(problem)
    opening.finish(CannotConnect("said behind it"))
    assert opening.wait(0, None) is problem


def test_the_time_is_up() -> None:
    with pytest.raises(TimeIsUp):
        Opening().wait(0.05, None)


def test_a_time_limit_of_the_user_s_is_no_time_that_is_up() -> None:
    """The handler of a SIGALRM raises TimeoutError as a rule, in the midst of the wait."""
    over = threading.Event()

    class Slow(StillTransport):
        def _connect(self) -> None:
            self._opening.asked()
            over.wait(20)
            raise CannotConnect("nobody waits any more")

        def _release(self) -> None:
            pass

    def limit(seconds: float, suspended: bool) -> None:
        raise TimeoutError("the user's")

    try:
        with pytest.raises(TimeoutError, match="the user's"):
            Slow().open(20, limit)
    finally:
        over.set()


def test_nobody_is_told_of_a_wait_before_a_server_was_asked() -> None:
    patience = Patience(1)
    with pytest.raises(TimeIsUp):
        Opening().wait(0.25, patience)
    assert patience.told == []


def test_whoever_minds_the_wait_is_told_how_long_the_server_takes() -> None:
    opening, patience = Opening(), Patience(2)
    opening.asked()
    with pytest.raises(CannotConnect, match="long enough"):
        opening.wait(20, patience)
    (first, suspended), (second, _) = patience.told
    assert 0 < first < second < 20 and not suspended


def test_a_kernel_that_is_suspended_is_waited_for_without_an_end() -> None:
    opening, patience = Opening(), Patience(4)
    opening.suspended()
    with pytest.raises(CannotConnect, match="long enough"):
        opening.wait(0.1, patience)
    assert [suspended for _, suspended in patience.told] == [True] * 4
    began = time.monotonic()
    with pytest.raises(TimeIsUp):
        opening.wait(0.1, None)  # nobody would end that wait
    assert time.monotonic() - began < 5


def test_a_kernel_that_goes_on_is_connected_to_behind_the_time() -> None:
    opening = Opening()
    opening.suspended()
    timer = threading.Timer(0.3, opening.finish, (None,))
    timer.start()
    assert opening.wait(0.05, lambda seconds, suspended: None) is None
    timer.join()


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
