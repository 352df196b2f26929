"""`Inbox`: where what answers a request waits until it is read, and the items there that are no messages."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.events import Aside, Note
from kernel_bridge_magic.protocol.messages import Message

#: What waits beyond this is dropped and counted: the connection's thread must go on reading, or the server's memory
#: would fill in place of ours.
MOST_BYTES = 256 * 2**20
#: What only shows something. A state, a reply or an error is never dropped.
HEAVY = frozenset({"stream", "display_data", "update_display_data", "execute_result", "comm_msg"})
_EACH = 2000  # bytes that a message occupies beside its text: headers and their dicts


@dataclass(frozen=True, slots=True)
class Closed:
    """The last item of every queue: the connection is closed, and why ("" when we closed it).

    `denied` says that the server is there and does not accept us any more, `unaccepted` that the kernel never took
    anything of ours.
    """

    reason: str
    denied: bool = False
    unaccepted: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The link broke, and is being opened again. `clock` is the time of day, for people."""

    reason: str
    clock: str


@dataclass(frozen=True, slots=True)
class Back:
    """The link is open again, `seconds` after it broke."""

    seconds: float
    clock: str


#: What is called again and again while a connection is waited for, since its kernel is busy or starting
#: (FACTS.md#opening-a-websocket): with the seconds since the server was asked, and whether the kernel's process is seen
#: to be suspended, which is waited for without an end. What it raises ends the wait.
HeldUp = Callable[[float, bool], None]

Item = Message | EndSignal | Closed | Broken | Back | Note


class Subscriber(Protocol):
    """Who is handed what no request claims. `put` is called by the connection's thread, and must return at once.

    One whose `put` raises is logged, unsubscribed, and told of at the end of a cell.
    """

    def put(self, item: Any) -> None:
        """Handle one item."""


class Inbox:
    """A queue of messages and other items, whose memory has an end (T23, F37).

    Any thread may put, and a signal handler; one thread gets.
    """

    def __init__(self, most: int | None = None) -> None:
        self._items: queue.SimpleQueue[tuple[Any, int]] = queue.SimpleQueue()
        self._most = MOST_BYTES if most is None else most
        # Each is changed by one thread only: the connection's, and the one that gets.
        self._came = self._gone = 0
        #: messages that were dropped because too much waited
        self.dropped = 0
        self._told = 0  # of those

    def put(self, item: object) -> None:
        """Queue one item; called by the connection's thread if it is a message."""
        message = item.item if isinstance(item, Aside) else item
        size = _size(message) if isinstance(message, Message) else 0
        if isinstance(message, Message):
            if self._came - self._gone + size > self._most and message.msg_type in HEAVY:
                self.dropped += 1
                return
            self._came += size
        self._items.put((item, size))

    def get(self, timeout: float | None = None) -> Any:
        """Return the next item.

        Raises:
            queue.Empty: there was none for `timeout` seconds.
        """
        item, size = self._items.get(timeout=timeout)
        self._gone += size
        return item

    def within(self, seconds: float) -> Iterator[Any]:
        """Yield what comes for so many seconds."""
        deadline = Deadline.after(seconds)
        with contextlib.suppress(queue.Empty):
            while True:
                yield self.get(timeout=deadline.left)

    def newly_dropped(self) -> int:
        """Return how many messages were dropped since the last call; for the thread that gets."""
        more = self.dropped - self._told
        self._told += more
        return more

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return self._items.empty()

    def __len__(self) -> int:
        return self._items.qsize()


def _size(message: Message) -> int:
    """Return about how many bytes a message occupies here."""
    size = _EACH + sum(map(len, message.buffers))
    data = message.content.get("data")
    for values in (message.content, data if isinstance(data, dict) else {}):
        size += sum(len(value) for value in values.values() if isinstance(value, str))
    return size
