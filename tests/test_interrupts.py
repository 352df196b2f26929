"""Ctrl-C, held back: real signals to this process."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.interrupts import (
    Terminated,
    acquired,
    as_usual,
    aside,
    check,
    heard_in_calls,
    held,
    interrupts_to,
    sends_nothing,
    spent,
    told_to_end,
)
from tests.support.servers import wait_for


def interrupt_ourselves() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def no_garbage() -> Iterator[None]:
    """Collect no garbage: hypothesis hears of each collection, and what a signal's handler raises there is lost."""
    gc.disable()
    yield
    gc.enable()


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


# -- what is no Ctrl-C


@pytest.fixture
def on_usr1() -> Iterator[Callable[[BaseException], None]]:
    """Give what makes SIGUSR1 raise an exception."""
    before = signal.getsignal(signal.SIGUSR1)

    def raises(problem: BaseException) -> None:
        def handler(number: int, frame: object) -> None:
            raise problem

        signal.signal(signal.SIGUSR1, handler)

    yield raises
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("problem", [KeyboardInterrupt("theirs"), TimeoutError("too long"), SystemExit(3)])
def test_what_another_handler_raises_comes_at_a_check_as_well(
    problem: BaseException, on_usr1: Callable[[BaseException], None]
) -> None:
    on_usr1(problem)
    theirs = signal.getsignal(signal.SIGUSR1)
    done = []
    with pytest.raises(type(problem)) as came, held():
        signal.raise_signal(signal.SIGUSR1)
        done.append(1)
        check()
    assert came.value is problem and done == [1]
    assert signal.getsignal(signal.SIGUSR1) is theirs


def test_a_keyboard_interrupt_of_another_handler_goes_to_whom_ctrl_c_goes(
    on_usr1: Callable[[BaseException], None],
) -> None:
    hits: list[int] = []
    on_usr1(KeyboardInterrupt())
    with interrupts_to(lambda: hits.append(1)) as as_usual:
        signal.raise_signal(signal.SIGUSR1)
        assert hits == [1]
        with pytest.raises(KeyboardInterrupt), as_usual():
            signal.raise_signal(signal.SIGUSR1)
        check()
    assert hits == [1]


def test_a_handler_that_puts_another_in_its_place_is_not_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)

    def once(number: int, frame: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    signal.signal(signal.SIGUSR1, once)
    try:
        with held():
            signal.raise_signal(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_while_it_is_put_back_leaves_none_of_ours() -> None:
    before = signal.getsignal(signal.SIGALRM)
    rung = []

    def ring(number: int, frame: object) -> None:
        rung.append(1)
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(300):
            with contextlib.suppress(TimeoutError):
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                with held():
                    pass
                while not rung:
                    pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            rung.clear()
            assert signal.getsignal(signal.SIGALRM) is ring
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- a process that is told to end


def test_a_signal_to_end_comes_at_a_check_and_says_which() -> None:
    before = signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)
    first: list[int] = []
    with pytest.raises(Terminated) as came, held(signal.SIGTERM, signal.SIGHUP, then=first.append):
        signal.raise_signal(signal.SIGHUP)
        interrupt_ourselves()
        assert told_to_end() == signal.SIGHUP
        check()
    assert (came.value.name, came.value.number, first) == ("SIGHUP", signal.SIGHUP, [signal.SIGHUP])
    assert (signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)) == before
    assert told_to_end() == 0


def test_a_signal_to_end_goes_to_whom_it_is_given_and_is_raised_where_somebody_is_asked() -> None:
    told: list[int] = []
    with held(signal.SIGTERM):
        signal.raise_signal(signal.SIGTERM)
        with interrupts_to(lambda: None, told.append) as as_usual:
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Terminated), as_usual():
                signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGTERM] * 2


def test_a_signal_to_end_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with held(signal.SIGHUP):
            signal.raise_signal(signal.SIGHUP)
            check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux whether a thread waits")
def test_a_signal_to_end_that_interrupts_no_call_is_heard() -> None:
    """As one does that comes between the prompt that asks somebody and the read that waits for the answer."""
    never, write = os.pipe()
    main = Path(f"/proc/self/task/{threading.get_native_id()}/stat")
    over = threading.Event()
    late: list[str] = []

    def signalled() -> None:
        while main.read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.01)
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # it interrupts this thread only
        if not over.wait(20):
            late.append("the handler was called after the wait")
            os.write(write, b"the end of the wait")

    before = signal.getsignal(signal.SIGURG), signal.set_wakeup_fd(-1)
    thread = threading.Thread(target=signalled)
    try:
        with held(signal.SIGHUP), heard_in_calls(), pytest.raises(Terminated), as_usual():
            thread.start()
            os.read(never, 100)
    finally:
        over.set()
        thread.join()
        os.close(never)
        os.close(write)
    assert not late
    assert (signal.getsignal(signal.SIGURG), signal.set_wakeup_fd(-1)) == before
    wait_for(lambda: "kernel-bridge-signals" not in {it.name for it in threading.enumerate()}, "the thread's end")


def test_what_is_spent_does_not_come() -> None:
    with held():
        interrupt_ourselves()
        spent()


def test_before_anything_was_sent_it_is_one_line() -> None:
    with pytest.raises(KeyboardInterrupt) as came, sends_nothing(), held():
        interrupt_ourselves()
    assert type(came.value).__name__ == "KeyboardInterrupt"
    assert came.value._render_traceback_() == ["KeyboardInterrupt: interrupted; nothing was run"]  # type: ignore[attr-defined]
