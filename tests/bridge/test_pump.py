"""The thread that handles what comes between cells: in order, whatever a handler raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from kernel_bridge_magic.bridge.pump import Pump


@pytest.fixture
def pump() -> Iterator[Pump]:
    made = Pump()
    yield made
    made.close()


def fail() -> None:
    raise OSError("disk full")


def test_handlers_are_called_in_order_in_one_other_thread(pump: Pump) -> None:
    handled: list[int] = []
    threads: set[threading.Thread] = set()

    def handle(number: int) -> None:
        handled.append(number)
        threads.add(threading.current_thread())

    for number in range(100):
        pump.put(lambda number=number: handle(number))  # type: ignore[misc]
    pump.settle(30)
    assert handled == list(range(100))
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_a_handler_that_raises_is_logged_and_the_next_is_called(pump: Pump, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with caplog.at_level(logging.WARNING):
        pump.put(fail)
        pump.put(done.set)
        pump.settle(30)
    assert done.is_set()
    assert "could not show" in caplog.text and "disk full" in caplog.text


def test_no_thread_is_started_before_it_is_needed_and_none_is_left() -> None:
    before = threading.active_count()
    pump = Pump()
    pump.settle(30)
    pump.close()
    assert threading.active_count() == before
    handled = threading.Event()
    pump.put(handled.set)
    pump.close()
    assert handled.is_set() and threading.active_count() == before


def test_a_handler_may_wait_for_what_was_put_before_it(pump: Pump) -> None:
    done = threading.Event()
    pump.put(lambda: (pump.settle(30), done.set()))
    assert done.wait(30), "it is its own thread, and does not wait for itself"
