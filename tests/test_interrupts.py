"""Ctrl-C, held back: real signals to this process."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from kernel_bridge_magic.interrupts import acquired, aside, check, held, interrupts_to


def interrupt_ourselves() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def the_handler_comes_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


# -- held


def test_what_is_held_comes_when_all_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with held():
            interrupt_ourselves()
            done.append(1)
        done.append(2)
    assert done == [1]


def test_what_is_held_comes_at_a_check_and_once() -> None:
    with held():
        check()
        interrupt_ourselves()
        interrupt_ourselves()
        with pytest.raises(KeyboardInterrupt):
            check()
        check()


def test_a_hold_inside_another_is_the_outer_one() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        with held():
            interrupt_ourselves()
        done.append(1)
    assert done == [1]


def test_a_process_that_ignores_interrupts_goes_on_ignoring_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    came: list[str] = []
    try:
        with held(), interrupts_to(lambda: came.append("one")):
            interrupt_ourselves()
            check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == []


def test_an_error_is_not_replaced_by_the_interrupt() -> None:
    with pytest.raises(ZeroDivisionError), held():
        interrupt_ourselves()
        1 / 0  # noqa: B018


def test_a_handler_of_somebody_else_has_what_was_held() -> None:
    theirs: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: theirs.append(number))
    try:
        with held():
            interrupt_ourselves()
            assert theirs == []
            check()
            assert theirs == [signal.SIGINT]
            interrupt_ourselves()
        assert theirs == [signal.SIGINT] * 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_held_blocks_are_whole_whenever_it_comes() -> None:
    """Five hundred real signals at random moments: none is delivered between two steps of a block."""
    chance, over = random.Random(3), threading.Event()
    inside = False
    came: list[bool] = []

    def disturb() -> None:
        for _ in range(500):
            interrupt_ourselves()
            over.wait(chance.random() * 0.0005)
        over.set()

    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(inside))
    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        while not over.is_set():
            with held():
                inside = True
                sum(range(chance.randrange(2000)))
                inside = False
    finally:
        disturber.join()
        signal.signal(signal.SIGINT, before)
    assert len(came) > 10
    assert not any(came)


# -- the waits


def test_work_aside_gives_and_raises_what_it_does() -> None:
    with held():
        assert aside(lambda: threading.current_thread().name, "beside") == "beside"
        with pytest.raises(ZeroDivisionError):
            aside(lambda: 1 / 0, "beside")
    assert aside(lambda: threading.current_thread(), "here") is threading.main_thread()


def test_ctrl_c_leaves_work_aside_to_its_end() -> None:
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        interrupt_ourselves()
        go_on.wait(20)
        done.set()

    with held(), pytest.raises(KeyboardInterrupt):
        aside(work, "beside")
    assert not done.is_set()
    go_on.set()
    assert done.wait(20)


def test_ctrl_c_ends_the_wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.1, interrupt_ourselves).start()
    began = time.monotonic()
    with held(), pytest.raises(KeyboardInterrupt), acquired(lock):
        raise AssertionError("it was taken")
    assert time.monotonic() - began < 10
    lock.release()
    with acquired(lock):
        assert lock.locked()
    assert not lock.locked()


def test_what_came_before_goes_to_the_handler() -> None:
    hits: list[int] = []
    with held():
        interrupt_ourselves()
        with interrupts_to(lambda: hits.append(1)):
            interrupt_ourselves()
        check()
    assert hits == [1, 1]


def test_interrupts_go_to_the_handler_and_the_usual_one_is_restored() -> None:
    hits: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with interrupts_to(lambda: hits.append(1)):
        for _ in range(3):
            interrupt_ourselves()
        assert hits == [1, 1, 1]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ZeroDivisionError), interrupts_to(lambda: None):
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is before


def test_as_usual_an_interrupt_is_one() -> None:
    hits: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with interrupts_to(lambda: hits.append(1)) as as_usual:
        with pytest.raises(KeyboardInterrupt), as_usual():
            interrupt_ourselves()
        interrupt_ourselves()
    assert hits == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_somebody_else_had_set_comes_back() -> None:
    theirs: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: theirs.append(number))
    try:
        with interrupts_to(lambda: None):
            interrupt_ourselves()
        interrupt_ourselves()
    finally:
        signal.signal(signal.SIGINT, before)
    assert theirs == [signal.SIGINT]


def test_in_another_thread_nothing_changes() -> None:
    seen: list[object] = []
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with interrupts_to(lambda: None) as as_usual, as_usual():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [before]
