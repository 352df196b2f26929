"""`MainShell`: whose cell a kernel's main shell runs, as far as that was heard. Safe to use from several threads.

There is one for each kernel, fed by every connection of this process. So what one connection heard begin, the others
wait for as well, and a cell of ours stays ours when its connection is gone.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TypeVar

from kernel_bridge_magic.fate.life import RESTARTS, EndSignal
from kernel_bridge_magic.models import Kernel, is_uuid
from kernel_bridge_magic.protocol.events import Queued
from kernel_bridge_magic.protocol.messages import Message

#: requests that show nothing themselves; of the last kind only those that are silent
QUIET = frozenset({"complete_request", "inspect_request", "kernel_info_request", "execute_request"})
_What = TypeVar("_What")
_MOST = 2000  # ids that are remembered of each kind
_MOST_KERNELS = 200  # whose main shells are remembered, though nobody listens to them


class MainShell:
    """What the main shell of one kernel runs. Requests to subshells and on control are in nobody's way there.

    It runs one request at a time, in the order in which they came, and says busy and idle of each. So of those that
    were heard to begin and not to end, the oldest runs; one that shows something runs as well, so the end of those
    before it was missed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # The `session` of each connection of ours, and of those that hear the kernel now.
        self._clients: set[str] = set()
        self._listeners: set[str] = set()
        # Whether a request is a cell of ours that is yet to end. False for one on control, and for one that is over:
        # a kernel may say busy of either once more, which counts for nothing.
        self._is_cell: dict[str, bool] = {}
        # Requests that have begun and were not heard to end, and what is known of each; None for one that is no cell.
        # What is busy beside the oldest is on control.
        self._running: dict[str, Queued | None] = {}
        self._sure = True  # everything was heard since the running one began
        self._starting = False
        self._interrupted: dict[str, bool] = {}  # cells that were, and whether by another client
        self._last = ""  # the `msg_id` of the cell of ours that was sent last
        self._shown_for: dict[str, str] = {}  # the last cell before each quiet request
        #: whether the main shell was heard to end a request, and to begin none since
        self.is_free = False

    @property
    def is_needed(self) -> bool:
        """Whether somebody listens, or a cell of ours was left there."""
        with self._lock:
            return bool(self._listeners) or any(turn is not None and turn.ours for turn in self._running.values())

    def join(self, client_id: str) -> None:
        """Record that a connection of ours hears the kernel from now on. `client_id` is its `session`."""
        with self._lock:
            self._listeners.add(client_id)
            self._clients.add(client_id)

    def leave(self, client_id: str) -> None:
        """Record that a connection hears the kernel no more, since it was closed or its link broke."""
        with self._lock:
            if self._listeners == {client_id}:
                self._sure = self.is_free = False
            self._listeners.discard(client_id)

    def send(self, msg_id: str, *, aside: bool = False) -> None:
        """Record that a cell of ours is sent, or a request that does not need the main shell: one on control."""
        with self._lock:
            _put(self._is_cell, msg_id, not aside)
            if not aside:
                self._last = msg_id

    def ask(self, msg_id: str) -> None:
        """Record that a quiet request of ours is sent: what names it as its parent is what the last cell shows.

        ipykernel takes the newest request for the parent of what a thread shows (FACTS.md#other-peoples-cells).
        """
        with self._lock:
            _put(self._shown_for, msg_id, self._last)

    def shown_for(self, msg_id: str) -> str:
        """Return the request that shows what names `msg_id` as its parent: that one, or the cell before a quiet one."""
        return self._shown_for.get(msg_id) or msg_id

    def interrupt(self, *, by_another: bool = False) -> None:
        """Record that whatever runs now is interrupted: by this process, or by another client."""
        with self._lock:
            if cell := self._first:
                # Where both did it is ours to tell: whoever interrupts here knows why the cell ended.
                _put(self._interrupted, cell, by_another and self._interrupted.get(cell, True))

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
            self._starting = sign in {EndSignal.RESTARTING, *RESTARTS}

    def receive(self, message: Message, clock: str) -> None:
        """Record a message of IOPub. `clock` is the time of day at which it was sent, "" where that is not known."""
        parent, state, request = message.parent_header, message.execution_state, message.parent_id
        ours = str(parent.get("session")) in self._clients
        with self._lock:
            if state in ("busy", "idle") and parent.get("msg_type") != "shutdown_request":
                self._starting = False
            if state == "busy" and parent.get("msg_type") == "interrupt_request":
                self.interrupt(by_another=not ours)
            if parent.get("msg_type") != "execute_request" or parent.get("subshell_id"):
                return
            is_cell = self._is_cell.get(request, None if ours else True)
            if is_cell is False:
                return
            if state and not self._sure and request not in self._running:
                self._running.clear()  # it began behind those, when nobody heard it
            if state == "busy":
                self.is_free = False
                if request not in self._running:
                    self._running[request], self._sure = Queued(clock, ours) if is_cell else None, True
            elif state == "idle":
                self._end(request)
                self.is_free = not self._running
            elif request in self._running:
                while self._first != request:
                    del self._running[self._first]
                self._sure = True

    @property
    def _first(self) -> str:
        """The request that has the main shell, "" for none."""
        return next(iter(self._running), "")

    def _end(self, request: str) -> None:
        self._running.pop(request, None)
        _put(self._is_cell, request, False)
        self._sure = self._sure or not self._running

    def ahead_of(self, cell: str) -> Queued:
        """Return what a cell that has not begun waits for, as far as that is known."""
        with self._lock:
            turn = self._running.get(self._first)
            if self._starting:
                return Queued(starting=True)
            if turn is None or self._first == cell:
                return Queued()  # it begins this very moment, or nothing is known
            # Of another client's nobody can tell whether it has gone on; ours is a fair guess.
            known = turn.ours or (self._sure and turn.since)
            return replace(turn, sure=self._sure) if known else Queued()

    @property
    def is_running(self) -> bool:
        """Whether the main shell was heard to begin a cell, and not to end it, or the kernel is starting."""
        with self._lock:
            return self._starting or (self._sure and self._running.get(self._first) is not None)

    def runs(self, cell: str) -> bool:
        """Return whether that cell has the main shell."""
        with self._lock:
            return self._first == cell


def _put(ids: dict[str, _What], msg_id: str, what: _What) -> None:
    """Remember an id as the newest one, and forget the oldest where there are too many."""
    ids.pop(msg_id, None)
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
