"""`MainShell`: whose cell a kernel's main shell runs, as far as that was heard. Safe to use from several threads.

There is one for each kernel, fed by every connection of this process. So what one connection heard begin, the others
wait for as well, and a cell of ours stays ours when its connection is gone.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, TypeVar

from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.models import Kernel, is_uuid
from kernel_bridge_magic.protocol.events import Queued
from kernel_bridge_magic.protocol.messages import Message

T = TypeVar("T")

_MOST = 1000  # ids that are remembered of each kind
_MOST_KERNELS = 200  # whose main shells are remembered, though nobody listens to them
_COMING_BACK = frozenset({EndSignal.RESTARTING, EndSignal.RESTART})


class _Running(NamedTuple):
    since: str
    ours: bool
    is_cell: bool


class MainShell:
    """What the main shell of one kernel runs. Requests to subshells and on control are in nobody's way there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners = 0
        self._clients: set[str] = set()  # the `session` of each connection of ours
        self._cells: dict[str, None] = {}  # ours, from when they are sent to their end
        # Requests on control, and those that are over. A kernel may say busy of either once more, which counts for
        # nothing.
        self._aside: dict[str, None] = {}
        # Requests that have begun and were not heard to end. The oldest has the main shell: what is busy beside it is
        # on control.
        self._running: dict[str, _Running] = {}
        self._sure = True  # everything was heard since the running one began
        self._starting = False
        self._interrupted: dict[str, bool] = {}  # cells that were, and whether by another client
        #: whether the main shell was heard to end a request, and to begin none since
        self.is_free = False

    @property
    def is_needed(self) -> bool:
        """Whether somebody listens, or a cell of ours was left there."""
        with self._lock:
            return self._listeners > 0 or any(turn.ours and turn.is_cell for turn in self._running.values())

    def join(self, client_id: str) -> None:
        """Record that a connection of ours hears the kernel from now on. `client_id` is its `session`."""
        with self._lock:
            self._listeners += 1
            self._clients.add(client_id)

    def leave(self) -> None:
        """Record that a connection hears the kernel no more, since it was closed or its link broke."""
        with self._lock:
            self._listeners -= 1
            if not self._listeners:
                self._sure = self.is_free = False

    def send(self, msg_id: str) -> None:
        """Record that a cell of ours is sent."""
        with self._lock:
            _put(self._cells, msg_id, None)

    def send_aside(self, msg_id: str) -> None:
        """Record that a request is sent that does not need the main shell, since it runs on control."""
        with self._lock:
            _put(self._aside, msg_id, None)

    def interrupt(self) -> None:
        """Record that this process interrupts whatever runs now."""
        with self._lock:
            self._interrupt(by_another=False)

    def interrupted_by_another(self, cell: str) -> bool | None:
        """Return whether another client was heard to interrupt that cell; None where nobody was heard to."""
        with self._lock:
            return self._interrupted.get(cell)

    def end(self, msg_id: str) -> None:
        """Record that a cell of ours is over, by whatever showed it."""
        with self._lock:
            self.is_free = self.is_free or list(self._running) == [msg_id]
            self._end(msg_id)

    def kernel_ended(self, sign: EndSignal) -> None:
        """Record a sign that the kernel ends: nothing runs there any more."""
        with self._lock:
            self._running.clear()
            self._sure, self.is_free = True, False
            self._starting = sign in _COMING_BACK

    def receive(self, message: Message, clock: str) -> None:
        """Record a message of IOPub. `clock` is the time of day at which it was sent, "" where that is not known."""
        parent, state, request = message.parent_header, message.execution_state, message.parent_id
        with self._lock:
            if state in ("busy", "idle") and parent.get("msg_type") != "shutdown_request":
                self._starting = False
            if state == "busy" and parent.get("msg_type") == "interrupt_request":
                self._interrupt(by_another=str(parent.get("session")) not in self._clients)
            if parent.get("msg_type") != "execute_request" or parent.get("subshell_id") or request in self._aside:
                return
            if state == "busy":
                self._begin(request, str(parent.get("session")), clock)
            elif state == "idle":
                if not self._sure and request not in self._running:
                    self._running.clear()  # it began when nobody heard it, behind those
                self._end(request)
                self.is_free = not self._running
            elif request in self._running and not message.execution_state:
                # What shows something has the main shell, so the end of those before it was not heard.
                self._only(request)
                self._sure = True

    def _interrupt(self, *, by_another: bool) -> None:
        for cell in list(self._running)[:1]:
            # Where both did it is ours to tell: whoever interrupts here knows why the cell ended.
            _put(self._interrupted, cell, by_another and self._interrupted.get(cell, True))

    def _begin(self, request: str, session: str, clock: str) -> None:
        self.is_free = False
        if request in self._running:
            return
        if not self._sure:
            self._running.clear()
        is_cell = session not in self._clients or request in self._cells
        self._running[request] = _Running(clock, session in self._clients, is_cell)
        self._sure = True

    def _end(self, request: str) -> None:
        self._running.pop(request, None)
        self._cells.pop(request, None)
        _put(self._aside, request, None)
        self._sure = self._sure or not self._running

    def _only(self, request: str) -> None:
        for earlier in list(self._running):
            if earlier == request:
                return
            del self._running[earlier]

    def ahead_of(self, cell: str) -> Queued:
        """Return what a cell that has not begun waits for, as far as that is known."""
        with self._lock:
            first = next(iter(self._running), cell)
            turn = self._running.get(first)
            if self._starting:
                return Queued(starting=True)
            if first == cell or turn is None or not turn.is_cell:
                return Queued()  # it begins this very moment, or nothing is known
            # Of another client's nobody can tell whether it has gone on; ours is a fair guess.
            known = turn.ours or (self._sure and turn.since)
            return Queued(turn.since, turn.ours, self._sure) if known else Queued()

    def runs(self, cell: str) -> bool:
        """Return whether that cell has the main shell."""
        with self._lock:
            return next(iter(self._running), "") == cell


def _put(ids: dict[str, T], msg_id: str, what: T) -> None:
    """Remember an id, and forget the oldest where there are too many."""
    ids[msg_id] = what
    if len(ids) > _MOST:
        del ids[next(iter(ids))]


_main_shells: dict[object, MainShell] = {}
_main_shells_lock = threading.Lock()


def main_shell_of(kernel: Kernel) -> MainShell:
    """Return what this process knows of a kernel's main shell, whichever of its connections heard it."""
    key = kernel.id if is_uuid(kernel.id) and not kernel.claimed else (kernel.place, kernel.id)
    with _main_shells_lock:
        if len(_main_shells) >= _MOST_KERNELS:
            for stale in [known for known, shell in _main_shells.items() if not shell.is_needed]:
                del _main_shells[stale]
        return _main_shells.setdefault(key, MainShell())
