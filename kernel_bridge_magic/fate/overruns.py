"""What a kernel made and never came though the link held (R6): dropped by its own queue, or by its server. Pure.

ZMQ's PUB socket keeps a thousand messages for each subscriber and drops the rest, without a word: above a few thousand
messages a second a kernel loses some, at the end even its *idle*. A server's rate limit drops others. The numbers that
an ipykernel gives its messages (`gaps`) tell: those that came on no channel between a cell's *busy* and its *idle*.

Not every hole is a loss. A reply to another client takes a number, and so does a result that is made and not sent
(of an object that has `_ipython_display_`). So a short hole counts only in the midst of a flood, or where it is known
that something was dropped, and is then called an upper bound; so is any hole beside messages that are not the cell's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_bridge_magic.fate.gaps import Gap
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD, Numbering, numbered

__all__ = ["FLOOD", "FLOOD_SECONDS", "LEAST", "Overruns"]

#: numbers in a row that are a loss wherever they are missing
LEAST = 10
#: A queue of a thousand that is full was filled by at least as many messages, in no time.
FLOOD = 500
FLOOD_SECONDS = 2.0
_MOST_CHILDREN = 1000
_MOST_HOLES = 10_000  # a kernel that counts in steps of two would fill our memory


@dataclass(slots=True)
class _Cell:
    """One of our cells: the numbers of its first message and of its last, and of those between that never came."""

    first: int | None = None
    last: int | None = None
    #: in long holes, in short ones of a flood, in other short ones
    long: int = 0
    short: int = 0
    faint: int = 0
    #: numbers in holes that came later, on another channel or out of order
    late: int = 0
    #: other clients' requests that the kernel answered meanwhile: each reply leaves a hole
    answers: int = 0
    #: whether anything came meanwhile that was not the cell's
    mixed: bool = False
    replied: int = -1

    @property
    def runs(self) -> bool:
        return self.first is not None and self.last is None

    def spans(self, number: int) -> bool:
        return self.first is not None and self.first < number and (self.last is None or number < self.last)

    def skip(self, count: int, flood: bool) -> None:
        if count >= LEAST:
            self.long += count
        elif flood:
            self.short += count
        else:
            self.faint += count


class _Holes:
    """The numbers below the highest that have not come. What comes a second time is in none of them."""

    def __init__(self) -> None:
        self._starts: list[int] = []  # ascending, as the stops
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Take the numbers from `start` to before `stop`, which are above all that were taken before."""
        if start < stop:
            self._starts.append(start)
            self._stops.append(stop)
        if len(self._starts) > _MOST_HOLES:
            del self._starts[: _MOST_HOLES // 2], self._stops[: _MOST_HOLES // 2]

    def fill(self, number: int) -> bool:
        """Tell whether a number was among them; it has come now."""
        place = bisect_right(self._starts, number) - 1
        if place < 0 or number >= self._stops[place]:
            return False
        start, stop = self._starts[place], self._stops[place]
        parts = [(a, b) for a, b in ((start, number), (number + 1, stop)) if a < b]
        self._starts[place : place + 1] = [a for a, _ in parts]
        self._stops[place : place + 1] = [b for _, b in parts]
        return True


class Overruns:
    """Counts, for each cell that is expected, the messages that never came though the link held."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._numbering = Numbering(client_id)
        self._cells: dict[str, _Cell] = {}
        self._reset()

    def _reset(self) -> None:
        self._life = self._numbering.life
        self._top = -1  # the highest number on IOPub, where order is kept
        self._ahead: set[int] = set()  # numbers of other channels beyond it
        self._holes = _Holes()  # numbers below it
        self._dates: deque[Any] = deque(maxlen=FLOOD)  # of the last messages on IOPub, by the kernel's clock
        self._children: dict[str, int] = {}  # processes that it forked: their highest numbers
        self._cells = {cell: _Cell() for cell in self._cells}

    def expect(self, cell: str) -> None:
        """Count what never comes of a cell, by the `msg_id` of its request, until that is taken."""
        self._cells[cell] = _Cell()

    def receive(self, message: Message) -> None:
        """Take any message of the connection, in the order in which they come."""
        number = self._numbering.number(message)
        if self._numbering.life != self._life:
            self._reset()
        if message.channel == "iopub":
            self._note_parent(message, number)
        if number is None:
            self._take_child_s(message)
        elif number <= self._top:
            if self._holes.fill(number):
                for cell in self._cells.values():
                    cell.late += cell.spans(number)
        elif message.channel != "iopub":
            self._ahead.add(number)
        else:
            self._move_to(number, message)
        own = self._cells.get(message.parent_id)
        if own is not None and number is not None:
            if message.execution_state == "idle":
                own.last = number
            elif message.msg_type == "execute_reply":
                own.replied = number

    def _note_parent(self, message: Message, number: int | None) -> None:
        for cell_id, cell in self._cells.items():
            if cell_id == message.parent_id:
                if cell.first is None and number is not None:
                    cell.first = max(number, self._top)  # holes below were none of it when they were made
            elif not cell.runs:
                continue
            elif self._is_our_question(message):
                if number is not None and self._top < cell.replied < number:
                    # Its idle was dropped: what came behind it is here.
                    cell.long += self._not_come(cell.replied)
                    cell.last = cell.replied
            else:
                cell.mixed = True
                asked = str(message.parent_header.get("msg_type"))
                cell.answers += message.execution_state == "idle" and asked.endswith("_request")

    def _is_our_question(self, message: Message) -> bool:
        """Whether this is of a question of ours, which the kernel answers between cells."""
        asked = message.parent_header
        return asked.get("session") == self._client_id and asked.get("msg_type") == "kernel_info_request"

    def _not_come(self, number: int) -> int:
        """How many numbers before this one never came, beyond the last that did on IOPub."""
        skipped = number - self._top - 1
        if skipped > MOST_AHEAD and self._top >= 0:
            # The first number of a life is believed, whatever it is, and others behind it for its sake.
            return 0
        return skipped - sum(n < number for n in self._ahead) if self._ahead else skipped  # for each message on IOPub

    def _move_to(self, number: int, message: Message) -> None:
        skipped = self._not_come(number)
        if skipped:
            start = self._top + 1
            for came in sorted(n for n in self._ahead if n < number):
                self._holes.add(start, came)
                start = came + 1
            self._holes.add(start, number)
        if self._ahead:
            self._ahead = {n for n in self._ahead if n > number}
        if skipped and self._cells:
            self._skip(skipped, message, number)
        self._top = number
        self._dates.append(message.header.get("date"))

    def _skip(self, count: int, message: Message, number: int) -> None:
        flood = count < LEAST and self._is_flood(message)
        for cell in self._cells.values():
            if cell.runs and cell.first != number:
                cell.skip(count, flood)

    def _is_flood(self, message: Message) -> bool:
        if len(self._dates) < FLOOD:
            return False
        began, now = _parse(self._dates[0]), _parse(message.header.get("date"))
        return began is not None and now is not None and now - began <= FLOOD_SECONDS

    def _take_child_s(self, message: Message) -> None:
        """A child that the kernel forked counts on from where it was forked."""
        name, number = numbered(message)
        if not name or message.sender != self._numbering.session:
            return
        top = self._children.get(name)
        if top is not None and number - top > MOST_AHEAD:
            return
        if top is not None and number - top > LEAST:
            for cell in self._cells.values():
                if cell.runs:
                    cell.long += number - top - 1
        if len(self._children) < _MOST_CHILDREN or name in self._children:
            self._children[name] = max(number, -1 if top is None else top)

    def take(self, cell: str, *, dropped: bool = False) -> Gap | None:
        """Count what never came of a cell, once; None where that cannot be: the messages have no numbers, say.

        `dropped`: it is known that something was. Without the cell's idle the numbers up to its reply count as well.
        """
        found = self._cells.pop(cell, None)
        if not self._life or (dropped and cell in self._numbering.forked):
            return None
        if found is None or found.first is None:
            return Gap(0, True)
        faint, short = (0, found.short + found.faint) if dropped else (found.faint, found.short)
        late = max(found.late - faint, 0)  # numbers that are accounted for, the short holes' first
        missing = max(found.long - max(late - short, 0), 0)
        short = max(short - late, 0)
        if found.last is None and found.replied > self._top:
            missing += self._not_come(found.replied)
        if not missing and not dropped and short <= found.answers:
            return Gap(0, True)
        whole = not short and not found.mixed and cell not in self._numbering.forked
        return Gap(missing + short, whole)


def _parse(date: Any) -> float | None:
    """Give a header's date as seconds since 1970; None where it is none. jupyter_client has parsed it already."""
    try:
        return (date if isinstance(date, datetime) else datetime.fromisoformat(date)).timestamp()
    except (TypeError, ValueError):
        return None
