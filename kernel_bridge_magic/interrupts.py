"""Ctrl-C, held back: while our code is at work in the main thread, it comes only where nothing is left behind.

A KeyboardInterrupt is raised between any two bytecodes: half of a frame is sent, a connection is open and nobody
knows of it yet, a lock is taken. Inside `held` the signal is only noted. It becomes an exception at the next `check`,
which every wait of ours calls a few times a second, or goes to whom `interrupts_to` names, or comes when all is done.
Signals reach the main thread only: elsewhere nothing here changes anything.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

__all__ = ["PATIENCE", "acquired", "aside", "check", "held", "interrupts_to"]

#: Seconds that a wait may go on without a `check`.
PATIENCE = 0.1

Given = TypeVar("Given")


class _Hold:
    """The handler, as long as it is ours."""

    def __init__(self) -> None:
        self.before: Any = None
        #: one came, and nobody has had it yet
        self.pending = False
        #: who has it now instead of waiting for the next `check`
        self.taker: Callable[[], None] | None = None
        #: whether it is raised at once, as if nobody held it
        self.usual = False

    def __call__(self, number: int, frame: Any) -> None:
        if self.usual:
            self.usual = False  # here: whoever is interrupted may not come to it
            self.deliver(frame)
        elif self.taker is not None:
            self.taker()
        else:
            self.pending = True

    def deliver(self, frame: Any = None) -> None:
        """Do what would have been done without us: mostly that raises KeyboardInterrupt."""
        before = self.before if callable(self.before) else signal.default_int_handler
        before(signal.SIGINT, frame)


_hold: _Hold | None = None  # the main thread's


def _is_deaf() -> bool:
    """Whether Ctrl-C is not meant for this process: a job in the background of a script must not hear it."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _ours() -> _Hold | None:
    return _hold if threading.current_thread() is threading.main_thread() else None


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Note Ctrl-C while the block runs; what nobody took comes when it has ended well.

    One inside another is no more than the outer one. A block that ends with an exception has been left already, and
    the interrupt is spent.
    """
    global _hold
    if threading.current_thread() is not threading.main_thread() or _hold is not None or _is_deaf():
        yield
        return
    ours = _Hold()
    # From the first of these two lines on nothing is raised; up to it there is nothing to lose.
    ours.before = signal.signal(signal.SIGINT, ours)
    _hold = ours
    try:
        yield
    finally:
        _hold = None
        # None: it was not set from Python, which cannot put it back, only the next best.
        signal.signal(signal.SIGINT, signal.default_int_handler if ours.before is None else ours.before)
    if ours.pending:
        signal.raise_signal(signal.SIGINT)


def check() -> None:
    """Let an interrupt come that is held back: here nothing would be left behind.

    Raises:
        KeyboardInterrupt: there was one.
    """
    ours = _ours()
    if ours is not None and ours.pending:
        ours.pending = False
        ours.deliver()


@contextlib.contextmanager
def interrupts_to(
    handler: Callable[[], None],
) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give Ctrl-C to `handler` while the block runs, also one that came before and is held; what is yielded gives a
    block in which it is raised as usual.

    A handler that only leaves word lost none of 6000 messages; a KeyboardInterrupt raised in the middle of a
    receive lost some in every run (FACTS 10).
    """
    with held():
        ours = _ours()
        if ours is None:
            yield contextlib.nullcontext
            return

        @contextlib.contextmanager
        def usual() -> Iterator[None]:
            ours.usual = True
            try:
                yield
            finally:
                ours.usual = False

        before, ours.taker = ours.taker, handler
        if ours.pending:
            ours.pending = False
            handler()
        try:
            yield usual
        finally:
            ours.taker = before


def aside(work: Callable[[], Given], name: str) -> Given:
    """Do what may take seconds, and leaves nothing behind, in a thread of its own; Ctrl-C leaves it to its end there.

    Where no interrupts are held it is done here. Gives and raises what `work` does.
    """
    if _ours() is None:
        return work()
    outcome: queue.SimpleQueue[tuple[list[Given], BaseException | None]] = queue.SimpleQueue()

    def do() -> None:
        try:
            outcome.put(([work()], None))
        except BaseException as problem:
            outcome.put(([], problem))

    threading.Thread(target=contextvars.copy_context().run, args=(do,), name=name, daemon=True).start()
    while True:
        try:
            given, problem = outcome.get(timeout=PATIENCE)
            break
        except queue.Empty:
            check()
    if problem is not None:
        # Outside the except block: it comes with no context of ours.
        raise problem
    return given[0]


@contextlib.contextmanager
def acquired(lock: threading.Lock, held_up: Callable[[float], None] | None = None) -> Iterator[None]:
    """Hold a lock that somebody else may hold for long; Ctrl-C ends the wait for it.

    `held_up` is called again and again while it waits, with the seconds since it began. What it raises ends the wait.

    Raises:
        KeyboardInterrupt: before the lock was taken.
    """
    began = time.monotonic()
    while not lock.acquire(timeout=PATIENCE):
        check()
        if held_up is not None:
            held_up(time.monotonic() - began)
    try:
        yield
    finally:
        lock.release()
