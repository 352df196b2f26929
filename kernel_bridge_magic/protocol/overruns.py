"""What a kernel made and never came though the link held (R6): dropped by its own queue, or by its server. Pure.

ZMQ's PUB socket keeps a thousand messages for each subscriber and drops the rest, without a word: above a few thousand
messages a second a kernel loses some, at the end even its *idle*. A server's rate limit drops others. The numbers that
an ipykernel gives its messages (`gaps`) tell: those that came on no channel between a cell's *busy* and its *idle*.

Not every hole is a loss. A reply to another client takes a number, and so does a result that is made and not sent
(of an object that has `_ipython_display_`). So a short hole counts only in the midst of a flood, or where it is known
that something was dropped, and is then called an upper bound.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kernel_bridge_magic.protocol.gaps import Gap, numbered
from kernel_bridge_magic.protocol.messages import Message

__all__ = ["FLOOD", "FLOOD_SECONDS", "LEAST", "Overruns"]

#: numbers in a row that are a loss wherever they are missing
LEAST = 10
#: A queue of a thousand that is full was filled by at least as many messages, in no time.
FLOOD = 500
FLOOD_SECONDS = 2.0
_MOST_CELLS = 100  # whose counts wait to be taken; one that is taken is forgotten


@dataclass(slots=True)
class _Cell:
    """One of our requests: the numbers of its first message and of its last, and of those between that never came."""

    first: int
    last: int | None = None
    #: in long holes, in short ones of a flood, in other short ones
    long: int = 0
    short: int = 0
    faint: int = 0
    #: numbers in holes that came later, on another channel or out of order
    late: int = 0
    #: other clients' requests that the kernel worked on meanwhile
    others: set[str] = field(default_factory=set)
    replied: int = -1

    def spans(self, number: int) -> bool:
        return self.first < number and (self.last is None or number < self.last)


class Overruns:
    """Counts, for each of our own cells, the messages that never came though the link held."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._reset("")

    def _reset(self, life: str) -> None:
        self._life = life
        self._top = -1  # the highest number on IOPub, where order is kept
        self._ahead: set[int] = set()  # numbers of other channels beyond it
        self._dates: deque[Any] = deque(maxlen=FLOOD)  # of the last messages on IOPub, by the kernel's clock
        self._cells: dict[str, _Cell] = {}

    def receive(self, message: Message) -> None:
        """Take any message of the connection, in the order in which they come."""
        life, number = numbered(message)
        if not life or message.sender == self._client_id:
            return  # what a server says in a kernel's place has numbers of its own
        if life != self._life:
            self._reset(life)
        if number < self._top:
            for cell in self._cells.values():
                cell.late += cell.spans(number)
        elif message.channel != "iopub":
            self._ahead.add(number)
        else:
            self._move_to(number, message)
        if message.channel == "iopub":
            self._note_parent(message, number)
        elif message.msg_type == "execute_reply" and message.parent_id in self._cells:
            self._cells[message.parent_id].replied = number

    def _move_to(self, number: int, message: Message) -> None:
        skipped = number - self._top - 1
        if self._ahead:
            skipped -= sum(n < number for n in self._ahead)
            self._ahead = {n for n in self._ahead if n > number}
        if skipped and self._cells:
            kind = "long" if skipped >= LEAST else "short" if self._is_flood(message) else "faint"
            for cell in self._cells.values():
                if cell.last is None:
                    setattr(cell, kind, getattr(cell, kind) + skipped)
        self._top = number
        self._dates.append(message.header.get("date"))

    def _is_flood(self, message: Message) -> bool:
        if len(self._dates) < FLOOD:
            return False
        began, now = _parse(self._dates[0]), _parse(message.header.get("date"))
        return began is not None and now is not None and now - began <= FLOOD_SECONDS

    def _note_parent(self, message: Message, number: int) -> None:
        parent = message.parent_header
        if parent.get("session") != self._client_id:
            if message.execution_state:
                for cell in self._cells.values():
                    if cell.last is None:
                        cell.others.add(message.parent_id)
        elif parent.get("msg_type") == "execute_request":
            if message.parent_id not in self._cells:
                self._cells[message.parent_id] = _Cell(number)
                while len(self._cells) > _MOST_CELLS:
                    del self._cells[next(iter(self._cells))]
            if message.execution_state == "idle":
                self._cells[message.parent_id].last = number

    def take(self, cell: str, *, dropped: bool = False) -> Gap | None:
        """Count what never came of a cell, once; None where this kernel's messages have no numbers.

        `dropped`: it is known that something was. Without the cell's idle the numbers up to its reply count as well.
        """
        if not self._life:
            return None
        found = self._cells.pop(cell, None)
        if found is None:
            return Gap(0, True)
        faint, short = (0, found.short + found.faint) if dropped else (found.faint, found.short)
        late = max(found.late - faint, 0)  # numbers that are accounted for, the short holes' first
        missing = found.long - max(late - short, 0)
        short = max(short - late, 0)
        if found.last is None and found.replied > self._top:
            missing += found.replied - self._top - 1 - sum(n < found.replied for n in self._ahead)
        if missing + short <= len(found.others):
            return Gap(0, True)
        return Gap(missing + short, not short and not found.others)


def _parse(date: Any) -> float | None:
    """Give a header's date as seconds since 1970; None where it is none."""
    try:
        return datetime.fromisoformat(date).timestamp()
    except (TypeError, ValueError):
        return None
