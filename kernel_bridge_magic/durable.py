"""`Durable`: has the other kernel keep one cell's messages, and fetches from there what did not come.

It drives `protocol.spool` over a transport.
"""

from __future__ import annotations

import contextlib

from kernel_bridge_magic.errors import BadOption, LinkError
from kernel_bridge_magic.protocol import spool
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.life import Sign
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.base import Back, Broken, Closed, Transport
from kernel_bridge_magic.transports.inbox import Inbox

__all__ = ["Durable"]

_PAUSE = 0.2  # seconds between two fetches: a flood has many holes
_HEADLESS = 0.5  # seconds between a cell's reply and its idle, until that is fetched
_DROP_SECONDS = 1.0  # for a kernel to end its keeping


class Durable:
    """The keeping of one cell. The cell itself is sent by the caller, as `cell`, behind this.

    Raises:
        BadOption: that kernel is known to have no way to keep anything; nothing was sent.
        LinkLost: the connection is closed.
    """

    def __init__(self, transport: Transport, inbox: Inbox) -> None:
        if transport.info and (problem := spool.needs(dict(transport.info))):
            raise BadOption(problem)
        self._transport = transport
        self._inbox = inbox
        #: the `msg_id` that the cell must be sent with
        self.cell = transport.new_id()
        self._spool = spool.Spool(self.cell)
        self._gone = False  # with the kernel's process, or with our connection
        self._asked: set[str] = set()
        self._fetch = ""  # the request that is under way
        self._fetches = 0
        self._fetched_at = 0.0
        self._headless_at = 0.0
        self._told_lost = 0
        self._arming = transport.send("execute_request", spool.arm(self.cell), inbox=inbox)
        self._asked.add(self._arming)

    @property
    def usable(self) -> bool:
        """Whether what is missing can be fetched."""
        return self._spool.usable

    def take(self, item: object, now: float) -> list[object]:
        """Take what came; give what is to be handled in its place, in order."""
        kept = self._spool
        if isinstance(item, Message) and item.parent_id in self._asked:
            return self._take_answer(item, now)
        if isinstance(item, Message):
            return list(kept.receive(item))
        if isinstance(item, Broken):
            self._fetch = ""
            kept.broke()
        elif isinstance(item, Back):
            kept.back()
        elif isinstance(item, Sign | Closed):
            self._gone = True
            return [*kept.give_up(), item]
        return [item]

    def _take_answer(self, message: Message, now: float) -> list[object]:
        if message.parent_id == self._arming:
            if message.channel != "shell" or spool.is_armed(message.content):
                return []
            note = "that kernel does not keep this cell's output (--durable needs ipykernel 7 there); it runs without"
            return [Note(note), *self._spool.give_up()]
        self._spool.beside(message)
        if message.channel != "control" or message.parent_id != self._fetch:
            return []
        self._fetch, self._fetched_at = "", now
        return list(self._spool.fetched(spool.Catch.parse(message.content)))

    def mind(self, now: float, *, ended: bool) -> int:
        """Fetch if that is wanted and the cell's fate is not known; give how many more messages the ring lost."""
        kept = self._spool
        if not kept.headless:
            self._headless_at = now
        elif not kept.holding and now - self._headless_at >= _HEADLESS:
            self._headless_at = now
            kept.hold()
        ready = not self._fetch and now - self._fetched_at >= _PAUSE
        if kept.wanted and kept.usable and ready and not ended:
            kept.wanted = False
            self._fetches += 1
            msg_id = spool.quiet_id(self.cell, str(self._fetches))
            with contextlib.suppress(LinkError):  # it is fetched when the link is back
                self._asked.add(msg_id)
                fetch = spool.fetch(self.cell, kept.start)
                self._fetch = self._transport.send(
                    "execute_request", fetch, channel="control", inbox=self._inbox, msg_id=msg_id
                )
        more, self._told_lost = kept.lost - self._told_lost, kept.lost
        return more

    def end(self) -> None:
        """Have the other side forget the cell's messages, and wait a moment until it has."""
        for asked in self._asked:
            self._transport.forget(asked)
        if self._gone:
            return
        with contextlib.suppress(LinkError):
            self._transport.ask(
                "execute_request",
                spool.drop(),
                channel="control",
                seconds=_DROP_SECONDS,
                msg_id=spool.quiet_id(self.cell, spool.DROP),
            )
