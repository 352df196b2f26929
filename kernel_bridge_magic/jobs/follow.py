"""`Follow`: what somebody runs in a kernel, input and output, as it comes. Nothing is sent."""

from __future__ import annotations

import queue
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    CommMessage,
    DisplayData,
    Event,
    ExecuteResult,
    Lost,
    Started,
)
from kernel_bridge_magic.protocol.messages import Message, text
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.transports.inbox import Closed

#: How many messages wait to be shown. Of more the newest are dropped, and that is said.
MOST_WAITING = 100_000
_MOST_OPEN = 100  # requests whose output may still come


@dataclass(frozen=True, slots=True)
class Input:
    """A cell that somebody has begun to run there: its code, and the kernel's count of it."""

    code: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Cleared:
    """A cell has cleared what it has shown, with `wait` only when its next output comes; `input` is the cell's."""

    wait: bool
    input: Input | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The kernel, or the connection to it, has come to its end; `reason` says how.

    `comes_back`: there is a kernel again, or will be, as far as is known.
    """

    reason: str
    comes_back: bool = True


Came = Input | Cleared | Ended | Event


class Follow:
    """What comes of the cells of all other clients of a kernel. A context manager; iterate for what comes.

    One thread iterates. Of cells that were sent over the same connection nothing is among it, also not what comes when
    they are over.
    """

    def __init__(self, connection: KernelConnection) -> None:
        self._connection = connection
        self._came: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._requests: OrderedDict[str, tuple[Request, Input | None]] = OrderedDict()
        self._dropped = 0
        self._end_is_told = False  # the kernel's, of which there may be several signs

    def put(self, item: object) -> None:
        """Receive what answers no request of ours; the transport's thread calls this."""
        if isinstance(item, Message) and (item.channel != "iopub" or self._connection.has_sent(item.parent_id)):
            return
        if self._came.qsize() < MOST_WAITING or not isinstance(item, Message):
            self._came.put(item)
        else:
            self._dropped += 1

    def __enter__(self) -> Follow:
        self._connection.subscribe(self)
        self._connection.keep(self, True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.unsubscribe(self)
        self._connection.keep(self, False)

    def __iter__(self) -> Iterator[Came | None]:
        """Yield what comes, until the connection ends; None while nothing comes, a few times a second.

        What ends the kernel is told once, though it may end the connection as well.

        Raises:
            KeyboardInterrupt: somebody has seen enough.
        """
        while True:
            check()
            try:
                item = self._came.get(timeout=PATIENCE)
            except queue.Empty:
                yield None
                continue
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                yield Lost(f"{dropped:,} messages omitted: they came faster than they can be shown here", dropped)
            if isinstance(item, Message):
                yield from self._receive(item)
            elif isinstance(item, Closed):
                if not self._end_is_told:
                    yield Ended(item.reason or "the connection has ended")
                return
            elif isinstance(item, EndSignal):
                told, self._end_is_told = self._end_is_told, item is not EndSignal.NEW_LIFE  # that is the last sign
                if not told:
                    yield Ended(item.end.told(), item.end.comes_back)

    def _receive(self, message: Message) -> Iterator[Came]:
        request, cell = self._requests.get(message.parent_id) or (Request(message.parent_id), None)
        if message.msg_type == "execute_input" and message.parent_id:
            self._end_is_told = False
            count = message.content.get("execution_count")
            cell = Input(text(message.content.get("code")), count if isinstance(count, int) else None)
            yield cell
        self._requests[message.parent_id] = request, cell
        if len(self._requests) > _MOST_OPEN:
            self._requests.popitem(last=False)
        for event in request.receive(message):
            if isinstance(event, ExecuteResult):  # it is no result of this shell
                yield DisplayData(event.data, event.metadata, event.display_id)
            elif isinstance(event, ClearOutput):
                yield Cleared(event.wait, cell)
            elif not isinstance(event, Started | CommMessage):
                yield event
