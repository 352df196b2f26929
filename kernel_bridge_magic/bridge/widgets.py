"""`WidgetBridge`: widgets in both directions, and output that comes after its cell has ended.

While a cell runs, the thread that shows it handles these, too, each in its place in the order: an Output widget
captures what is printed between two messages of its own. Several cells may run: what belongs to none of them goes to
the one that was sent first, since a kernel runs cells in that order. While no cell runs, the thread of `Pump` handles
these.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from kernel_bridge_magic.bridge.pump import Pump
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.display.comm_proxies import CommProxies, Forward
from kernel_bridge_magic.display.relay import Relay, Sink
from kernel_bridge_magic.display.widget_text import TextWidgets
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import COMM_TYPES, Comms, Parent
from kernel_bridge_magic.protocol.events import Aside, CommMessage, DisplayData, Event, ExecuteResult
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request, display_of
from kernel_bridge_magic.sanitize.terminal import spell_out
from kernel_bridge_magic.transports.inbox import Closed

_SETTLE_SECONDS = 1.0  # for handling what came before a cell, so that it is shown before it
_BEGIN_SECONDS = 0.5  # an idle kernel starts to handle a widget's message within milliseconds
_CALLBACK_SECONDS = 60.0  # for a widget's callback in the kernel
_MOST_DISPLAYS = 10_000  # the newest displays that are shown here: another client may still update them


class Front(Protocol):
    """The front end that shows late output and widgets: a notebook or a terminal."""

    def late(self, parent: Parent, kernel: Kernel, *, together: bool = False) -> Sink:
        """Return the sink for output of the request `parent`, which is over; kernels share it if it ran `together`."""

    def comm_proxies(self, forward: Forward) -> CommProxies | None:
        """Return what shows live widgets, None where none can be shown. `forward` receives what the user does."""


class CellSink(Sink, Protocol):
    """The sink of a cell that runs."""

    def flush(self) -> None:
        """Write out all that was shown."""

    def draw(self, key: str, text: str) -> None:
        """Show a text that changes, in place of the last text for the same `key`."""

    def finish(self) -> None:
        """Handle the end of the cell."""


class CellWidgets:
    """The `Widgets` of the relay of one cell, which runs, or has ended. `sink` is where texts of widgets are drawn."""

    def __init__(self, bridge: WidgetBridge, msg_id: str, parent: Parent, sink: CellSink | None) -> None:
        self._bridge = bridge
        self.msg_id = msg_id
        self.sink = sink
        #: the id of the message here that runs the cell, by which Output widgets know it; "" where there is none
        self.request = str((parent or {}).get("header", {}).get("msg_id", ""))

    def take_event(self, event: Event) -> bool:
        """Handle an event of the cell if it is for a widget; return whether it was."""
        return self._bridge.take_event(event, self)

    def draw_text(self, model_id: str) -> bool:
        """Show a widget as a text that changes; return whether that is possible here."""
        return self._bridge.draw_text(model_id, self)

    def is_live(self, model_id: str) -> bool:
        """Return whether the widget of that model is live here."""
        return self._bridge.is_live(model_id)

    def why_text(self) -> str:
        """Return why a widget is shown as text; "" from the second call on."""
        return self._bridge.why_text()


class _Answer:
    """Whether the kernel has begun, and has ended, to handle one message of the front end."""

    def __init__(self) -> None:
        self.begun, self.done = threading.Event(), threading.Event()

    def end(self) -> None:
        self.done.set()
        self.begun.set()


class WidgetBridge:
    """The widgets and the late output of one connection. Its methods may be called from any thread."""

    def __init__(self, connection: KernelConnection, front: Front, pump: Pump) -> None:
        self._connection = connection
        self._front = front
        self._pump = pump
        self._comms = Comms()
        # Live widgets run code in the browser, so that a sandboxed kernel has none (T16): only their text is shown.
        proxies = front.comm_proxies(self._forward) if connection.kernel.is_yours else None
        self._live = proxies is not None
        self._texts = TextWidgets(self._draw)
        self._widgets: CommProxies | TextWidgets = proxies or self._texts
        # `_order` is held while a request is sent and noted, so that its answers find it, and while a comm message is
        # handled. `_drawing` guards texts of widgets. `_lock` only guards which cells run: the transport's thread
        # acquires it, and must never wait for a send.
        self._order = threading.RLock()
        self._lock = threading.Lock()
        self._drawing = threading.RLock()
        #: the cells that run, by `msg_id`; what was sent first stands first
        self._running: dict[str, Execution] = {}
        self._drawn_in: CellWidgets | None = None  # where texts of widgets are drawn now
        self._answers: dict[str, _Answer] = {}
        self._told = False
        #: maps the id of each display that our cells have shown to the `msg_id` of its cell
        self._displays: OrderedDict[str, str] = OrderedDict()
        self._prefix = ""  # what every `msg_id` of the connection begins with, "" before its first cell
        connection.subscribe(self)

    # -- from the connection

    def put(self, item: object) -> None:
        """Receive an item that belongs to no request; the transport's thread calls this."""
        if isinstance(item, Message) and not self._is_wanted(item):
            return  # dropped at once: the queue would fill with what other clients do
        with self._lock:
            self._note_late_display(item)
            self._pass_on(item)

    def _pass_on(self, item: object) -> None:
        """Have an item handled in the thread of the cell that the kernel runs, or of the pump; `_lock` is held."""
        if self._running:
            next(iter(self._running.values())).inbox.put(Aside(item))
        else:
            self._pump.put(partial(self.handle, item))

    def _is_wanted(self, message: Message) -> bool:
        """Return whether `handle` may need a message. In doubt it does: our own request may not be noted yet."""
        if message.msg_type in ("comm_msg", "comm_close"):
            return True  # whose comm it is, is known only when the messages before it are handled
        if self._is_of_ours(message):
            return True
        # A display is found by its id, whoever updates it. The displays of a running cell are noted only when they
        # are shown, so that meanwhile every id counts.
        display_id = display_of(message)
        return display_id != "" and (display_id in self._displays or bool(self._running))

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
    def cell(
        self, execution: Execution, parent: Parent, sink: CellSink, *, together: bool = False
    ) -> Iterator[CellWidgets]:
        """Handle what comes, while the block runs, in the thread that shows `execution` in `sink`.

        `parent` is the request of this front end that runs the cell, `together` with others. Other cells may run, too.
        """
        self._prefix = execution.msg_id.rpartition("_")[0]
        with self._order:
            self._comms.sent(execution.msg_id, parent, together=together)
        self._pump.settle(_SETTLE_SECONDS)
        with self._lock:
            self._running[execution.msg_id] = execution
        try:
            yield CellWidgets(self, execution.msg_id, parent, sink)
        finally:
            try:
                sink.finish()
            finally:
                self._end_cell(execution)

    def _end_cell(self, execution: Execution) -> None:
        with self._lock:
            del self._running[execution.msg_id]
            for item in execution.leftovers():
                self._note_late_display(item)
                self._pass_on(item)

    def take_event(self, event: Event, cell: CellWidgets) -> bool:
        """Handle an event of a cell if it is for a widget; return whether it was."""
        if isinstance(event, CommMessage):
            self.handle(event.message, cell)
        elif isinstance(event, Aside):
            self.handle(event.item, cell)
        else:
            updates = isinstance(event, DisplayData) and event.update
            if isinstance(event, DisplayData | ExecuteResult) and not updates:
                with self._lock:
                    self._note_display(event.display_id, cell.msg_id)
            with self._drawing_in(cell):
                return self._texts.take(event, cell.request)
        return True

    def handle(self, item: object, cell: CellWidgets | None = None) -> None:
        """Handle one item: a message of no open request, or a sign of the kernel's or the connection's end.

        `cell` is the running cell whose thread calls this, None where the pump does.
        """
        if isinstance(item, Message):
            if item.msg_type in COMM_TYPES:
                self._take_comm(item, cell)
            elif item.channel == "iopub" and self._comms.is_ours(item.parent_id):
                self._show_late(item, cell)
                self._note_state(item)
            elif display_of(item) in self._displays:
                self._update_display(item, cell)
        elif isinstance(item, EndSignal | Closed):
            self._end_widgets()

    def _take_comm(self, message: Message, cell: CellWidgets | None) -> None:
        with self._order:
            forwarded = self._comms.receive(message)
            if forwarded is None:
                return
            if forwarded.captures and cell is not None and cell.sink is not None:
                cell.sink.flush()
            with self._drawing_in(cell):
                self._widgets.publish(forwarded)
        # The connection stays open while a widget is live (H5).
        self._connection.keep(self, self._live and bool(self._comms.ids))

    def _note_state(self, message: Message) -> None:
        answer = self._answers.get(message.parent_id)
        if answer is not None and message.execution_state == "idle":
            answer.end()
        elif answer is not None and message.execution_state == "busy":
            answer.begun.set()

    def _show_late(self, message: Message, cell: CellWidgets | None) -> None:
        relay = self._late_relay(message.parent_id, cell)
        for event in Request(message.parent_id).receive(message):
            self._connection.use()
            relay.show(event)
        relay.finish()

    def _update_display(self, message: Message, cell: CellWidgets | None) -> None:
        """Update a display of ours from another client's request; what that request shows itself is not for us."""
        relay = self._late_relay(self._displays[display_of(message)], cell)
        self._connection.use()
        for event in Request(message.parent_id).receive(message):
            if isinstance(event, ExecuteResult):
                event = DisplayData(event.data, event.metadata, event.display_id)
            if isinstance(event, DisplayData):
                relay.show(replace(event, update=True))

    def _late_relay(self, msg_id: str, cell: CellWidgets | None) -> Relay:
        kernel, parent = self._connection.kernel, self._comms.parent(msg_id)
        widgets = CellWidgets(self, msg_id, parent, None if cell is None else cell.sink)
        sink = self._front.late(parent, kernel, together=self._comms.is_together(msg_id))
        return Relay(sink, kernel, widgets=widgets)

    # -- what can be shown

    def draw_text(self, model_id: str, cell: CellWidgets) -> bool:
        """Show a widget of a cell as a text that changes; return whether that is possible here."""
        with self._drawing_in(cell):
            return cell.sink is not None and self._texts.show(model_id)

    @contextlib.contextmanager
    def _drawing_in(self, cell: CellWidgets | None) -> Iterator[None]:
        """Have text widgets that change in the block drawn in a cell, whose thread calls this; in none for None."""
        with self._drawing:
            before, self._drawn_in = self._drawn_in, cell
            try:
                yield
            finally:
                self._drawn_in = before

    def _draw(self, model_id: str, text: str) -> None:
        if self._drawn_in is not None and self._drawn_in.sink is not None:
            self._drawn_in.sink.draw(model_id, text if self._connection.kernel.is_yours else spell_out(text))

    def is_live(self, model_id: str) -> bool:
        """Return whether the widget of that model is live here."""
        return self._live and model_id in self._comms.ids

    def why_text(self) -> str:
        """Return why a widget is shown as text; "" from the second call on."""
        if self._told:
            return ""
        self._told = True
        title = self._connection.kernel.title
        if not self._connection.kernel.is_yours:
            return f"{title}'s widgets are shown as text: its server is not marked as yours ({MAGICS.server} --trust)"
        if not self._live:
            return "widgets are shown as text: a terminal cannot display them"
        return f"this widget is shown as text: it belongs to {title}, which made it"

    # -- to the kernel

    def _forward(self, msg_type: str, msg: Mapping[str, Any]) -> None:
        """Forward a front end's message to the kernel's widget; ipykernel's threads call this."""
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
        # When this returns, ipykernel reports `idle`, and from then on the front end ignores output for the message:
        # an Output widget that a callback prints into would stay empty. A kernel busy with a cell is not waited for.
        if answer.begun.wait(_BEGIN_SECONDS):
            answer.done.wait(_CALLBACK_SECONDS)
        self._answers.pop(msg_id, None)

    # -- the end

    def _end_widgets(self) -> None:
        """Show the widgets as disconnected: their kernel is gone, or its connection."""
        for answer in list(self._answers.values()):
            answer.end()
        for comm_id in self._comms.ids:
            self._comms.close(comm_id)
            self._widgets.close(comm_id)
        self._connection.keep(self, False)

    def close(self) -> None:
        """Disconnect all widgets and ignore what comes from now on. The connection stays open."""
        self._connection.unsubscribe(self)
        self._end_widgets()
