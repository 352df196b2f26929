"""What comes over a connection beside the output of its running cell: late output, and widgets, both ways.

While a cell runs, the thread that shows it handles these, too, each at its place in the order: an Output widget
takes what is printed between two messages of its own. When none runs, one thread (`Pump`) does, for all connections
of a shell.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.display.comm_proxies import CommProxies, Forward
from kernel_bridge_magic.display.relay import Relay, Sink
from kernel_bridge_magic.display.widget_text import TextWidgets
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.fate.life import Sign
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import COMM_TYPES, Comms, Parent
from kernel_bridge_magic.protocol.events import Aside, CommMessage, DisplayData, Event, ExecuteResult
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request, display_of
from kernel_bridge_magic.sanitize.terminal import spell_out
from kernel_bridge_magic.transports.items import Closed

__all__ = ["CellSink", "Front", "Pump", "WidgetBridge"]

_SETTLE_SECONDS = 1.0  # for what came before a cell to be handled before it
_BEGIN_SECONDS = 0.5  # an idle kernel begins with a widget's message within milliseconds
_CALLBACK_SECONDS = 60.0
_MOST_DISPLAYS = 10_000  # the newest of those that are shown here: another client may still update them
_log = logging.getLogger(__name__)


class Front(Protocol):
    """The front end that a bridge shows in."""

    def late(self, parent: Parent, kernel: Kernel) -> Sink:
        """Give the sink for output that belongs to a message of long ago."""

    def comm_proxies(self, forward: Forward) -> CommProxies | None:
        """Give what shows live widgets, None where none can be shown."""


class CellSink(Sink, Protocol):
    """The sink of a cell that runs."""

    def flush(self) -> None:
        """Bring out what was shown."""

    def draw(self, key: str, text: str) -> None:
        """Show a text that changes, in the place of what `key` had shown before."""

    def finish(self) -> None:
        """Take the end of the cell."""


class Pump:
    """One thread, begun when it is first needed, that gives items to their bridges."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[tuple[WidgetBridge, object] | threading.Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, bridge: WidgetBridge, item: object) -> None:
        """Hand over an item; `bridge.take` gets it, in order, in the pump's thread."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kernel-bridge-pump", daemon=True)
                self._thread.start()
        self._items.put((bridge, item))

    def settle(self, seconds: float) -> None:
        """Wait until what was put before is handled, `seconds` at most."""
        if self._thread is None or self._thread is threading.current_thread():
            return
        reached = threading.Event()
        self._items.put(reached)
        reached.wait(seconds)

    def close(self) -> None:
        """End the thread when it has handled what was put before."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._items.put(None)
            thread.join(_SETTLE_SECONDS)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            bridge, what = item
            try:
                bridge.take(what)
            except Exception:
                # Whatever a front end raises for one message, the next ones are still to be shown.
                _log.warning("could not show what came after its cell", exc_info=True)


class _Answer:
    """How far the kernel is with one message of the front end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.done = threading.Event()

    def end(self) -> None:
        self.done.set()
        self.begun.set()


class WidgetBridge:
    """One connection's late output and widgets. Its methods may be called from any thread."""

    def __init__(self, connection: KernelConnection, front: Front, pump: Pump) -> None:
        self._connection = connection
        self._front = front
        self._pump = pump
        self._comms = Comms()
        # The widgets of a kernel that is not one's own stay outside (T16): only their text is shown.
        proxies = front.comm_proxies(self._forward) if connection.kernel.own else None
        self._live = proxies is not None
        self._texts = TextWidgets(self._draw)
        self._widgets: CommProxies | TextWidgets = proxies or self._texts
        # One orders our requests and what they bring, the other only says which cell runs: the transport's thread
        # takes that one, and must never wait for a send.
        self._order = threading.RLock()
        self._lock = threading.Lock()
        self._running: Execution | None = None
        self._sink: CellSink | None = None
        self._answers: dict[str, _Answer] = {}
        self._told = False
        #: the displays that cells of ours have shown, each with the request that it belongs to
        self._displays: OrderedDict[str, str] = OrderedDict()
        self._prefix = ""  # of the `msg_id` of every request of the connection, "" before its first cell
        connection.subscribe(self)

    # -- from the connection

    def put(self, item: object) -> None:
        """Take what no request claims; the transport's thread calls this."""
        if isinstance(item, Message) and not self._is_wanted(item):
            return  # here: while nothing is shown, what other clients do would add up
        with self._lock:
            self._note_late_display(item)
            running = self._running
            if running is not None:
                running.hand(Aside(item))
                return
        self._pump.put(self, item)

    def _is_wanted(self, message: Message) -> bool:
        """Whether `take` may have a use for it; rather too much, as a request of ours may not be noted down yet."""
        if message.msg_type in ("comm_msg", "comm_close"):
            return True  # for whose comm is known when what came before is handled
        if self._is_of_ours(message):
            return True
        # A front end finds a display by its id, whoever updates it. While a cell runs, what it shows is noted down
        # only when it is shown.
        display_id = display_of(message)
        return display_id != "" and (display_id in self._displays or self._running is not None)

    def _is_of_ours(self, message: Message) -> bool:
        return message.channel == "iopub" and bool(self._prefix) and message.parent_id.startswith(self._prefix)

    def _note_late_display(self, item: object) -> None:
        if isinstance(item, Message) and self._is_of_ours(item) and item.msg_type != "update_display_data":
            self._note_display(display_of(item), item.parent_id)

    def _note_display(self, display_id: str, msg_id: str) -> None:
        if display_id:
            self._displays[display_id] = msg_id
            self._displays.move_to_end(display_id)
            if len(self._displays) > _MOST_DISPLAYS:
                self._displays.popitem(last=False)

    @contextlib.contextmanager
    def cell(self, execution: Execution, parent: Parent, sink: CellSink) -> Iterator[None]:
        """While the block runs, what comes is handled where `execution` is shown, which is in `sink`.

        `parent` is the message of this front end that runs the cell.
        """
        self._prefix = execution.msg_id.rpartition("_")[0]
        with self._order:
            self._comms.sent(execution.msg_id, parent)
        self._pump.settle(_SETTLE_SECONDS)
        with self._lock:
            self._running, self._sink = execution, sink
        try:
            yield
        finally:
            try:
                sink.finish()
            finally:
                self._end_cell(execution)

    def _end_cell(self, execution: Execution) -> None:
        with self._lock:
            self._running, self._sink = None, None
            for item in execution.leftovers():
                self._note_late_display(item)
                self._pump.put(self, item)

    def take_event(self, event: Event) -> bool:
        """Handle an event of the running cell, if it is a widget's or goes into one; else give False."""
        if isinstance(event, CommMessage):
            self.take(event.message)
        elif isinstance(event, Aside):
            self.take(event.item)
        else:
            running = self._running
            if running is not None and isinstance(event, DisplayData | ExecuteResult) and not _is_update(event):
                with self._lock:
                    self._note_display(event.display_id, running.msg_id)
            return self._texts.take(event)
        return True

    def take(self, item: object) -> None:
        """Handle one item: a message that no request claims, or a sign of the kernel's or the connection's end."""
        if isinstance(item, Message):
            if item.msg_type in COMM_TYPES:
                self._take_comm(item)
            elif item.channel == "iopub" and self._comms.is_ours(item.parent_id):
                self._show_late(item)
                self._note_state(item)
            elif display_of(item) in self._displays:
                self._update_display(item)
        elif isinstance(item, Sign | Closed):
            self._end_widgets()

    def _take_comm(self, message: Message) -> None:
        with self._order:
            forwarded = self._comms.receive(message)
        if forwarded is None:
            return
        if forwarded.captures and (sink := self._sink) is not None:
            sink.flush()
        self._widgets.publish(forwarded)
        # While a widget lives, so does its connection (H5).
        self._connection.keep(self._live and bool(self._comms.ids))

    def _note_state(self, message: Message) -> None:
        answer = self._answers.get(message.parent_id)
        if answer is not None and message.execution_state == "idle":
            answer.end()
        elif answer is not None and message.execution_state == "busy":
            answer.begun.set()

    def _show_late(self, message: Message) -> None:
        relay = self._late(self._comms.parent(message.parent_id))
        for event in Request(message.parent_id).receive(message):
            self._connection.use()
            relay.show(event)
        relay.finish()

    def _late(self, parent: Parent) -> Relay:
        kernel = self._connection.kernel
        return Relay(self._front.late(parent, kernel), kernel, widgets=self)

    def _update_display(self, message: Message) -> None:
        """Show what another client's request has made of a display of ours; what it shows itself is none of ours."""
        relay = self._late(self._comms.parent(self._displays[display_of(message)]))
        self._connection.use()
        for event in Request(message.parent_id).receive(message):
            if isinstance(event, ExecuteResult):
                event = DisplayData(event.data, event.metadata, event.display_id)
            if isinstance(event, DisplayData):
                relay.show(replace(event, update=True))

    # -- what can be shown

    def draw_text(self, model_id: str) -> bool:
        """Show a widget as a text that changes, if there is one for it here."""
        return self._sink is not None and self._texts.show(model_id)

    def _draw(self, model_id: str, text: str) -> None:
        if self._sink is not None:
            self._sink.draw(model_id, text if self._connection.kernel.own else spell_out(text))

    def is_live(self, model_id: str) -> bool:
        """Whether the widget of that model works here."""
        return self._live and model_id in self._comms.ids

    def why_text(self) -> str:
        """Say, once, why a widget is shown as its text."""
        if self._told:
            return ""
        self._told = True
        title = self._connection.kernel.title
        if not self._connection.kernel.own:
            return f"{title}'s widgets are shown as text: its server is not marked as yours ({MAGICS.server} --trust)"
        if not self._live:
            return "widgets are shown as text: a terminal cannot display them"
        return f"this widget is shown as text: it belongs to {title}, which made it"

    # -- to the kernel

    def _forward(self, msg_type: str, msg: Mapping[str, Any]) -> None:
        """Hand on what the front end says to a widget; ipykernel's threads call this."""
        content = dict(msg["content"])
        if msg_type == "comm_close":
            self._comms.close(str(content.get("comm_id")))
        buffers = [bytes(buffer) for buffer in msg.get("buffers") or ()]
        answer = _Answer()
        try:
            with self._order:
                msg_id = self._connection.post(msg_type, content, metadata=msg.get("metadata") or {}, buffers=buffers)
                self._comms.sent(msg_id, {"header": msg["header"]})
                self._answers[msg_id] = answer
        except KernelBridgeError:
            self._end_widgets()
            return
        self._await_answer(answer)
        self._answers.pop(msg_id, None)

    def _await_answer(self, answer: _Answer) -> None:
        """Wait until the kernel has handled a message of the front end.

        ipykernel says `idle` when this returns, and from then on the front end takes no more output for the message:
        an Output widget that a callback prints into would stay empty. A kernel that is busy with a cell is not
        waited for.
        """
        if answer.begun.wait(_BEGIN_SECONDS):
            answer.done.wait(_CALLBACK_SECONDS)

    # -- the end

    def _end_widgets(self) -> None:
        """The kernel that had the widgets is gone, or the way to it: show them as disconnected."""
        for answer in list(self._answers.values()):
            answer.end()
        for comm_id in self._comms.ids:
            self._comms.close(comm_id)
            self._widgets.close(comm_id)
        self._connection.keep(False)

    def close(self) -> None:
        """End all that is shown live. The connection stays open, and is not listened to any more."""
        self._connection.unsubscribe(self)
        self._end_widgets()


def _is_update(event: DisplayData | ExecuteResult) -> bool:
    return isinstance(event, DisplayData) and event.update
