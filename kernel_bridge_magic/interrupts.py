"""Hold Ctrl-C back while our code is at work in the main thread, until it can be raised without harm.

Python may raise KeyboardInterrupt between any two bytecodes: when half of a frame is sent, a connection is open that
nobody knows of yet, or a lock is held. Inside `held` the signal is only noted. It becomes an exception at the next
`check`, which every wait of ours calls a few times a second; or it goes to whom `interrupts_to` names; or it is raised
at the end. What the handlers of other signals raise (a time limit by SIGALRM) is held back in the same way. Signals
reach the main thread only: in other threads nothing here has any effect.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

#: Seconds that a wait may go on without a `check`.
PATIENCE = 0.1
#: Seconds after a signal until a call that waits all the same is interrupted, and once more.
_INTERRUPT_AFTER = (0.05, 0.5)

Given = TypeVar("Given")


class Terminated(KeyboardInterrupt):
    """A signal told this process to end: SIGTERM, or SIGHUP when the terminal is gone."""

    def __init__(self, number: int) -> None:
        self.name = signal.Signals(number).name
        super().__init__(self.name)
        self.number = number


class _CtrlC(KeyboardInterrupt):
    """The note of a SIGINT; what is raised for it is up to the handler that was there before."""


class _Told(KeyboardInterrupt):
    """Ctrl-C that says what it has done: IPython shows it as one line, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


_Told.__name__ = "KeyboardInterrupt"  # what front ends show, and notebooks save


class _Hold:
    """The handlers, as long as they are ours."""

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self._then = then
        #: by signal: the handler that was there, and ours
        self._handlers: dict[int, tuple[Any, Any]] = {}
        self._before: Any = signal.getsignal(signal.SIGINT)
        #: what came, and nobody has had yet
        self.pending: BaseException | None = None
        #: who is called for Ctrl-C, and for a signal to end, instead of waiting for the next `check`
        self.takers: tuple[Callable[[], None], Callable[[int], None]] | None = None
        #: whether it is raised at once, as if nobody held it
        self.usual = False
        #: the signal that told this process to end, 0 before one did
        self.told = 0

    def take_over(self, told: tuple[int, ...]) -> None:
        """Note SIGINT and the signals `told` from now on, unless they are ignored, and what others' handlers raise."""
        for number in (signal.SIGINT, *told):
            # A background job of a script must ignore Ctrl-C; one under `nohup` must ignore that its terminal is gone.
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
        """Put back every handler that nobody has changed meanwhile, SIGINT's last.

        It may be interrupted, and is called again then.
        """
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
            self.usual = False  # not later: whoever is interrupted may not come to it
            self.deliver(what, frame)
        elif not self.hand_over(what) and not isinstance(self.pending, Terminated):
            self.pending = what

    def hand_over(self, what: BaseException) -> bool:
        """Call the taker for what came; return whether there is one."""
        if self.takers is None or not isinstance(what, KeyboardInterrupt):
            return False
        interrupted, ended = self.takers
        if isinstance(what, Terminated):
            ended(what.number)
        else:
            interrupted()
        return True

    def deliver(self, what: BaseException, frame: Any = None) -> None:
        """Do what would have been done without us, which mostly raises KeyboardInterrupt."""
        if not isinstance(what, _CtrlC):
            raise what
        (self._before if callable(self._before) else signal.default_int_handler)(signal.SIGINT, frame)


_hold: _Hold | None = None  # the main thread's


def _ours() -> _Hold | None:
    return _hold if threading.current_thread() is threading.main_thread() else None


@contextlib.contextmanager
def held(*told: int, then: Callable[[int], None] | None = None) -> Iterator[None]:
    """Note Ctrl-C while the block runs; raise what nobody took when the block has ended well.

    A command line names the signals by which it is `told` to end: they are noted in the same way, as `Terminated`, and
    `then` is called at once with the number of the first. A block inside another one has no effect of its own. A block
    that ends with an exception has been left already, so the interrupt is dropped.
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
    """Raise an interrupt that is held back; call this where it does no harm.

    Raises:
        KeyboardInterrupt: there was one.
    """
    ours = _ours()
    if ours is not None and ours.pending is not None:
        what, ours.pending = ours.pending, None
        ours.deliver(what)


def spent() -> None:
    """Drop an interrupt that is held back: what it was to stop is over, and the user knows."""
    if (ours := _ours()) is not None:
        ours.pending = None


def told_to_end() -> int:
    """Return the number of the signal that told this process to end while signals are held; 0 for none."""
    ours = _ours()
    return 0 if ours is None else ours.told


@contextlib.contextmanager
def heard_in_calls() -> Iterator[None]:
    """Call a signal's handler also where the main thread waits in a call, while the block runs.

    Python calls handlers between two steps of the main thread. A signal that comes just before a call begins to wait,
    such as one that reads from a terminal, does not end that wait, and its handler would be called after it. A thread
    that is told of each signal interrupts the call then. It is for a process of our own: SIGURG gets a handler that
    does nothing, and `signal.set_wakeup_fd` is taken. Windows has no calls that a signal interrupts.
    """
    if not hasattr(signal, "pthread_kill"):
        yield
        return
    main = threading.get_ident()
    told, tell = os.pipe()

    def interrupt() -> None:
        while number := os.read(told, 1):
            for seconds in _INTERRUPT_AFTER if number[0] != signal.SIGURG else ():
                time.sleep(seconds)
                signal.pthread_kill(main, signal.SIGURG)
        os.close(told)

    os.set_blocking(tell, False)
    before = signal.signal(signal.SIGURG, lambda number, frame: None)
    told_before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=interrupt, name="kernel-bridge-signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(told_before)
        os.close(tell)  # which ends the thread
        signal.signal(signal.SIGURG, before)


@contextlib.contextmanager
def as_usual() -> Iterator[None]:
    """Raise Ctrl-C at once while the block runs, also one that came before.

    This is for a block that waits for a person, or that may end anywhere without harm.
    """
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
    """Call `interrupted` for Ctrl-C while the block runs, also for one that came before.

    Yield a context manager inside of which Ctrl-C is raised as usual. `ended` is called with the number of a signal
    that tells this process to end. A handler that only notes the signal lost none of 6000 messages; a KeyboardInterrupt
    that was raised in the middle of a receive lost some in every run (FACTS.md#showing-output-here).
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


def sends_nothing() -> contextlib.AbstractContextManager[None]:
    """Turn a Ctrl-C in the block into one that says in one line that nothing was run."""
    return interrupt_says("interrupted; nothing was run")


@contextlib.contextmanager
def interrupt_says(what: str) -> Iterator[None]:
    """Turn a Ctrl-C in the block into one that says in one line what it has done."""
    try:
        yield
    except Terminated:
        raise
    except KeyboardInterrupt:
        raise _Told(what) from None


def aside(work: Callable[[], Given], name: str) -> Given:
    """Do work that may take seconds in a thread of its own, and return or raise what it does.

    Ctrl-C ends the wait, and the work goes on there to its end: it must do no harm then. Where no interrupts are held,
    it is done in this thread.
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

    `held_up` is called again and again during the wait, with the seconds since it began. An exception from it ends the
    wait.

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
