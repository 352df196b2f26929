"""`Actions`: does what the watch over one cell asks for. What comes of it goes to the cell's inbox.

The server, the heartbeat and an interrupt may take seconds, so each runs in a thread of its own. Questions to the
kernel go over the cell's connection, behind the cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.subshells import Subshell
from kernel_bridge_magic.errors import KernelBridgeError, LinkError
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Event, Note
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code import record
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Inbox

_GREETING_SECONDS = 2.0  # it takes milliseconds, unless native code holds the GIL


@dataclass(frozen=True, slots=True)
class Call:
    """What another thread, or a signal handler, has for the watch. The iteration calls it with the monotonic clock."""

    function: Callable[[float], Sequence[Event | Action] | None]


class Actions:
    """The actions of one cell, which `watch` asks for. One thread may call; the answers come by `inbox`."""

    def __init__(
        self, transport: Transport, control: Control, watch: CellWatch, inbox: Inbox, subshell: Subshell | None
    ) -> None:
        self._transport = transport
        self._control = control
        self._watch = watch
        self._inbox = inbox
        self._subshell = subshell
        self._asked_info = self._asked_record = ""  # the `msg_id` of what was asked last
        self._interrupt_done = threading.Event()
        #: whether an interrupt was sent
        self.sent_interrupt = False

    def do(self, action: Action) -> None:
        """Begin an action. Nothing is waited for."""
        if action is Action.ASK_SERVER:
            self._in_a_thread(self._ask_server)
        elif action is Action.ASK_KERNEL:
            if self._asked_info:
                self._transport.forget(self._asked_info)
            self._asked_info = self._ask("kernel_info_request", {}) or self._asked_info
            self._watch.asked_kernel(self._asked_info, time.monotonic())
        elif action is Action.ASK_RECORD:
            if self._asked_record:
                self._transport.forget(self._asked_record)
            self._asked_record = self._ask("execute_request", record.question())
        elif action is Action.INTERRUPT:
            self.sent_interrupt = True
            self._interrupt_done.clear()
            self._in_a_thread(self._interrupt)

    def receive(self, item: object, now: float) -> Sequence[Event | Action] | None:
        """Hand an answer to the watch and return what it makes of that; None for an item that answers no action."""
        if isinstance(item, Call):
            return item.function(now) or []
        if not isinstance(item, Message) or not self._asked_record or item.parent_id != self._asked_record:
            return None
        if item.channel == "shell":
            return self._watch.judgment.kernel_recorded(record.read(item.content, self._watch.request.msg_id), now)
        self._watch.state.aftermath.record_heard(item, now)
        return []

    def is_interrupting(self, seconds: float) -> bool:
        """Wait for an interrupt that is under way, so long at most; return whether it still is."""
        return self.sent_interrupt and not self._interrupt_done.wait(seconds)

    def end(self) -> None:
        """Ask no more: answers that still come are no matter of the cell's."""
        for asked in filter(None, (self._asked_info, self._asked_record)):
            self._transport.forget(asked)

    def _ask(self, msg_type: str, content: dict[str, object]) -> str:
        """Send a request behind the cell; return its `msg_id`, "" over a closed connection, whose end has its rule."""
        subshell = "" if self._subshell is None else self._subshell.id
        with contextlib.suppress(LinkError):
            return self._transport.send(msg_type, content, inbox=self._inbox, subshell=subshell)
        return ""

    def _in_a_thread(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name="kernel-bridge-action", daemon=True).start()

    def _ask_server(self) -> None:
        asked_at = time.monotonic()
        state, connections = self._control.look()
        there = self._control.others() if state is None and self._watch.outage.happened else ""
        server_says = partial(self._watch.server_says, state, connections=connections, asked_at=asked_at, there=there)
        self._inbox.put(Call(server_says))
        beats = self._control.beats()
        greets = self._transport.greets(_GREETING_SECONDS) if beats else None
        self._inbox.put(Call(lambda now: self._watch.heart.receive(beats, greets)))

    def _interrupt(self) -> None:
        try:
            if self._subshell is None:
                self._control.interrupt(self._transport, self._runs_there)
            elif self._runs_there():
                self._subshell.interrupt()
        except KernelBridgeError as problem:
            self._inbox.put(Note(f"the interrupt was not sent ({problem})"))
        finally:
            self._interrupt_done.set()

    def _runs_there(self) -> bool:
        """Whether nothing yet says that the cell is over. What came may still be on its way to the watch."""
        request = self._watch.request
        return not (request.idle or request.reply is not None or self._watch.verdict is not None)
