"""`Durable`: has the other kernel keep one cell's messages, and fetches from there those that did not come.

It drives `fate.spool` over a transport; `remote_code.spool` has the requests.
"""

from __future__ import annotations

import contextlib

from kernel_bridge_magic.connection.subshells import ask_aside, send_aside
from kernel_bridge_magic.errors import BadOption, LinkError
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.spool import Catch, Spool
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code import spool
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Back, Broken, Closed, Inbox

_PAUSE = 0.2  # seconds between two fetches: a flood has many holes
_HEADLESS = 0.5  # seconds between a cell's reply and its idle, until that is fetched
_DROP_SECONDS = 1.0  # for a kernel to end its keeping
_FETCH_SECONDS = 10.0  # for the answer to a fetch that something is held back for; it takes milliseconds
_MOMENT = 1.0  # seconds within which what was under way already comes
_SILENT_SECONDS = 95.0  # a link that says nothing for that long is declared broken before (R7)

_NOT_KEPT = "it does not keep this cell's output (--durable needs ipykernel 7 there); the cell runs without"
_UNFETCHED = "so what is missing of the output cannot be fetched any more (--durable)"
_CHILDREN = "the cell's child processes print, too; whether any of that was lost cannot be told"


class Durable:
    """What has the kernel keep the messages of one cell. The caller sends the cell behind this, under the id `cell`.

    Requests beside the cell go over the control channel only once the kernel is known to keep the cell's messages.
    Before that everybody would see their idle, and take a kernel that is busy for its owner to be idle
    (FACTS.md#busy-kernels).

    Raises:
        BadOption: that kernel is known to have no way to keep anything; nothing was sent.
        LinkLost: the connection is closed.
    """

    def __init__(self, transport: Transport, inbox: Inbox) -> None:
        if transport.state.info and (problem := spool.needs(dict(transport.state.info))):
            raise BadOption(problem)
        self._transport = transport
        self._inbox = inbox
        #: the `msg_id` that the cell must be sent with
        self.cell = transport.new_id()
        #: what is known here of the messages that are kept
        self.spool = Spool(self.cell)
        #: whether the kernel is known to keep the cell's messages
        self.armed = False
        self._gone = False  # with the kernel's process, or with our connection; or it never did
        self._asked: set[str] = set()
        #: the `msg_id` of the fetch that is under way, "" for none
        self.under_way = ""
        #: how many requests to fetch were sent
        self.fetches = 0
        self._fetched_at = 0.0
        self._headless_at = 0.0
        self._overdue = Overdue()
        self._told_children = False
        self._arming = transport.send("execute_request", spool.arm(self.cell), inbox=inbox)
        self._asked.add(self._arming)

    def newly_lost(self) -> int:
        """Return how many messages the ring lost since the last call."""
        lost, self.spool.lost = self.spool.lost, 0
        return lost

    def receive(self, item: object, now: float) -> list[object]:
        """Handle one item of the cell's inbox; return what is to be handled in its place, in order."""
        kept = self.spool
        if isinstance(item, Message):
            if item.parent_id in self._asked:
                return self._receive_answer(item, now)
            if item.parent_id == self.cell and item.sender != self._transport.client_id:
                self._note_begun()
            return list(kept.receive(item))
        if isinstance(item, Broken):
            self.under_way = ""
            kept.broke()
        elif isinstance(item, Back):
            kept.back()
        elif isinstance(item, EndSignal | Closed):
            self.armed, self._gone = False, True
            return [*kept.give_up(), item]
        return [item]

    def _note_begun(self) -> None:
        """Conclude that the messages are kept: a kernel that has come to the cell has come to the request before it.

        The answer to that may be lost.
        """
        info = dict(self._transport.state.info)
        if not self._gone and info and not spool.needs(info):
            self._note_armed()

    def _note_armed(self) -> None:
        if not self.armed:
            self.armed = True
            if self.under_way:  # on shell, where it waits for the cell's end
                self.under_way, self.spool.wanted = "", True

    def _receive_answer(self, message: Message, now: float) -> list[object]:
        self.spool.beside(message)
        if message.parent_id == self._arming:
            if message.channel != "shell":
                return []
            if spool.is_armed(message.content):
                self._gone = False  # whatever had ended before, this is a kernel that keeps
                self._note_armed()
                return []
            self.armed, self._gone = False, True
            return [Note(_NOT_KEPT), *self.spool.give_up()]
        if message.channel not in ("control", "shell") or message.parent_id != self.under_way:
            return []
        self.under_way, self._fetched_at = "", now
        catch = Catch.parse(message.content)
        if catch is not None:
            self._note_armed()
            return list(self.spool.fetched(catch))
        self._gone = not self.armed
        return [Note(f"the kernel has nothing of this cell, {_UNFETCHED}"), *self.spool.give_up()]

    def tick(self, now: float) -> list[object]:
        """Fetch if that is wanted, while the cell's fate is not known; return what is to be handled, in order."""
        kept = self.spool
        if not kept.headless:
            self._headless_at = now
        elif not kept.holding and now - self._headless_at >= _HEADLESS:
            self._headless_at = now
            kept.hold()
        waits = bool(self.under_way) and kept.waiting
        if self._overdue.tick(now, self._transport.state.heard_iopub, self._transport.receiving_at, waits=waits):
            self.under_way = ""
            return [Note(f"the kernel does not answer, {_UNFETCHED}"), *kept.give_up()]
        if kept.wanted and kept.usable and not self.under_way and now - self._fetched_at >= _PAUSE:
            self._ask()
        return self._note_children()

    def let_go(self) -> list[object]:
        """Fetch no more, for the cell's fate is known; return what is to be handled, in order."""
        held = self.spool.give_up() if self.spool.holding else []
        return [*held, *self._note_children()]

    def _note_children(self) -> list[object]:
        if self._told_children or not self.spool.uncounted:
            return []
        self._told_children = True
        return [Note(_CHILDREN)]

    def _ask(self) -> None:
        kept = self.spool
        kept.asked()
        self.fetches += 1
        msg_id = spool.quiet_id(self.cell, str(self.fetches))
        self._asked.add(msg_id)
        with contextlib.suppress(LinkError):  # it is fetched when the link is back
            content = spool.fetch(self.cell, kept.start)
            if self.armed:
                self.under_way = send_aside(self._transport, content, self._inbox, msg_id=msg_id)
            else:
                # On shell it comes behind the cell, and tells whether anything was kept.
                self.under_way = self._transport.send("execute_request", content, inbox=self._inbox, msg_id=msg_id)

    def end(self) -> None:
        """Have the kernel forget the cell's messages; wait a moment until it has, if it can do so now.

        Where nothing is kept nothing is sent. A link that is lost is no error.
        """
        for asked in self._asked:
            self._transport.forget(asked)
        if self._gone:
            return
        msg_id = spool.quiet_id(self.cell, spool.DROP)
        with contextlib.suppress(LinkError):
            if self.armed:
                ask_aside(self._transport, spool.drop(), seconds=_DROP_SECONDS, msg_id=msg_id)
            else:
                # Behind the cell, which waits for its turn: nobody waits for it here.
                self._transport.send("execute_request", spool.drop(), msg_id=msg_id)


class Overdue:
    """Tells whether an answer will not come, though the link holds. Pure.

    Silence proves nothing: the network may be away without a word, the kernel may be stopped, or native code may hold
    its Python. What else comes meanwhile tells that both are there.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._proven_at = float("inf")

    def tick(self, now: float, heard: float, receiving: float, *, waits: bool) -> bool:
        """Return whether it will not come; begin anew where nothing `waits`. Times are on a monotonic clock.

        `heard` is when something last came, `receiving` when the last bytes of an incomplete message arrived.
        """
        if not waits or self._since is None:
            self._since, self._proven_at = now if waits else None, float("inf")
            return False
        if heard >= self._since + _MOMENT:
            self._proven_at = min(self._proven_at, now)
        enough = min(self._proven_at + _MOMENT, self._since + _SILENT_SECONDS)
        return now >= max(self._since + _FETCH_SECONDS, enough) and now - receiving >= _MOMENT
