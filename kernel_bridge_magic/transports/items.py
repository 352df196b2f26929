"""What a connection puts into the queues of those who listen to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.messages import Message


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
