"""Ctrl-C, held back: while our code is at work in the main thread, it comes only where nothing is left behind.

A KeyboardInterrupt is raised between any two bytecodes: half of a frame is sent, a connection is open and nobody
knows of it yet, a lock is taken. Inside `held` the signal is only noted. It becomes an exception at the next `check`,
which every wait of ours calls a few times a second, or goes to whom `interrupts_to` names, or comes when all is done.
What the handlers of other signals raise (a time limit by SIGALRM) is held back in the same way; a KeyboardInterrupt
is as good as Ctrl-C, whoever raises it. Signals reach the main thread only: elsewhere nothing here changes anything.
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

__all__ = [
    "PATIENCE",
    "Terminated",
    "acquired",
    "as_usual",
    "aside",
    "check",
    "held",
    "interrupts_to",
    "sends_nothing",
    "spent",
    "told_to_end",
]

#: Seconds that a wait may go on without a `check`.
PATIENCE = 0.1

Given = TypeVar("Given")


class Terminated(KeyboardInterrupt):
    """A signal told this process to end: SIGTERM, or SIGHUP when the terminal is gone."""

    def __init__(self, number: int) -> None:
        self.name = signal.Signals(number).name
        super().__init__(self.name)
        self.number = number


class _CtrlC(KeyboardInterrupt):
    """What is noted of a SIGINT; what is raised is up to the handler that was there before."""


class _NothingSent(KeyboardInterrupt):
    """Ctrl-C before anything was sent: IPython shows it as one line, and not the frames that it came to."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


_NothingSent.__name__ = "KeyboardInterrupt"  # what front ends show, and notebooks save


class _Hold:
    """The handlers, as long as they are ours."""

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self._then = then
        #: by signal: the handler that was there, and ours
        self._handlers: dict[int, tuple[Any, Any]] = {}
        self._before: Any = signal.getsignal(signal.SIGINT)
        #: what came, and nobody has had yet
        self.pending: BaseException | None = None
        #: who has Ctrl-C, and the number of a signal to end, instead of waiting for the next `check`
        self.takers: tuple[Callable[[], None], Callable[[int], None]] | None = None
        #: whether it is raised at once, as if nobody held it
        self.usual = False
        #: the signal that told this process to end, 0 before one did
        self.told = 0

    def take_over(self, told: tuple[int, ...]) -> None:
        """Note SIGINT and the signals `told` from now on, unless they are ignored, and what others' handlers raise."""
        for number in (signal.SIGINT, *told):
            # A job in the background of a script must not hear Ctrl-C; nor one under `nohup` that its terminal is gone.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._put(number, self._note)
        for number in signal.valid_signals() - {signal.SIGINT, *told}:
            before = signal.getsignal(number)
            if callable(before):
                self._put(number, self._guarded(before))

    def _put(self, number: int, handler: Callable[[int, Any], None]) -> None:
        # Noted first: a handler that is still another's may raise between any two steps.
        self._handlers[number] = signal.getsignal(number), handler
        signal.signal(number, handler)

    def give_back(self) -> None:
        """Put every handler back that nobody has changed meanwhile, SIGINT's last. It may be interrupted and called
        again."""
        while self._handlers:
            number, (before, ours) = next(reversed(self._handlers.items()))
            if signal.getsignal(number) == ours:
                # None: it was not set from Python, which cannot put it back, only the next best.
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, default if before is None else before)
            del self._handlers[number]

    def _note(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT:
            self._came(_CtrlC(), frame)
        else:
            if self._then is not None and not self.told:
                self._then(number)
            self.told = number
            self._came(Terminated(number), frame)

    def _guarded(self, handler: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:
        def guard(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except BaseException as problem:
                if _hold is not self:
                    raise
                self._came(problem, frame)

        return guard

    def _came(self, what: BaseException, frame: Any) -> None:
        if self.usual:
            self.usual = False  # here: whoever is interrupted may not come to it
            self.deliver(what, frame)
        elif not self.hand_over(what) and not isinstance(self.pending, Terminated):
            self.pending = what

    def hand_over(self, what: BaseException) -> bool:
        """Give what came to its taker; tell whether it has one."""
        if self.takers is None or not isinstance(what, KeyboardInterrupt):
            return False
        interrupted, ended = self.takers
        if isinstance(what, Terminated):
            ended(what.number)
        else:
            interrupted()
        return True

    def deliver(self, what: BaseException, frame: Any = None) -> None:
        """Do what would have been done without us: mostly that raises KeyboardInterrupt."""
        if not isinstance(what, _CtrlC):
            raise what
        (self._before if callable(self._before) else signal.default_int_handler)(signal.SIGINT, frame)


_hold: _Hold | None = None  # the main thread's


def _ours() -> _Hold | None:
    return _hold if threading.current_thread() is threading.main_thread() else None


@contextlib.contextmanager
def held(*told: int, then: Callable[[int], None] | None = None) -> Iterator[None]:
    """Note Ctrl-C while the block runs; what nobody took comes when it has ended well.

    A command line names the signals by which it is `told` to end: they are noted in the same way, as `Terminated`, and
    `then` has the number of the first at once.
    One inside another is no more than the outer one. A block that ends with an exception has been left already, and
    the interrupt is spent.
    """
    global _hold
    if threading.current_thread() is not threading.main_thread() or _hold is not None:
        yield
        return
    ours = _Hold(then)
    try:
        ours.take_over(told)
        _hold = ours
        yield
    finally:
        try:
            ours.give_back()
        finally:  # a handler that has just been put back may raise
            _hold = None
            ours.give_back()
    if ours.pending is not None:
        ours.deliver(ours.pending)


def check() -> None:
    """Let an interrupt come that is held back: here nothing would be left behind.

    Raises:
        KeyboardInterrupt: there was one.
    """
    ours = _ours()
    if ours is not None and ours.pending is not None:
        what, ours.pending = ours.pending, None
        ours.deliver(what)


def spent() -> None:
    """Drop an interrupt that is held back: what it was to stop is over, and has been told."""
    if (ours := _ours()) is not None:
        ours.pending = None


def told_to_end() -> int:
    """Give the number of the signal that told this process to end while they are held, 0 for none."""
    ours = _ours()
    return 0 if ours is None else ours.told


@contextlib.contextmanager
def as_usual() -> Iterator[None]:
    """Raise Ctrl-C at once while the block runs, also one that came before and is held: for what waits for a person,
    or leaves nothing behind wherever it ends."""
    ours = _ours()
    if ours is None:
        yield
        return
    check()
    ours.usual = True
    try:
        yield
    finally:
        ours.usual = False


@contextlib.contextmanager
def interrupts_to(
    interrupted: Callable[[], None], ended: Callable[[int], None] = lambda number: None
) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give Ctrl-C to `interrupted` while the block runs, also one that came before and is held; what is yielded gives a
    block in which it is raised as usual. `ended` has the number of a signal that tells this process to end.

    A handler that only leaves word lost none of 6000 messages; a KeyboardInterrupt raised in the middle of a
    receive lost some in every run (FACTS 10).
    """
    with held():
        ours = _ours()
        if ours is None:
            yield as_usual
            return
        before, ours.takers = ours.takers, (interrupted, ended)
        if ours.pending is not None and ours.hand_over(ours.pending):
            ours.pending = None
        try:
            yield as_usual
        finally:
            ours.takers = before


@contextlib.contextmanager
def sends_nothing() -> Iterator[None]:
    """Say of a Ctrl-C in the block, in one line, that nothing was run."""
    try:
        yield
    except Terminated:
        raise
    except KeyboardInterrupt:
        raise _NothingSent("interrupted; nothing was run") from None


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
