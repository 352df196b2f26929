"""What a broken link has lost, counted, so that loss is never silent (R6). Pure.

An ipykernel numbers its messages: `msg_id` is `<session>_<pid>_<number>`, with one counter for IOPub, shell and
control. Numbers that never come were lost, if they were for us: a reply goes to its own client only, so that every
foreign request leaves one hole, and a message that the kernel makes and does not send leaves one, too. So holes are
looked at only where a link broke, and are called exact only where no other client was heard, and our own cell stands
on both sides of them, or what stands there is ours as well and nobody else is connected. Kernels whose ids are no
counters (IRkernel, xeus: random ones) are never counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from kernel_bridge_magic.fate.nudges import Nudges
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import Numbering, read_number

__all__ = ["Gap", "Gaps"]

_FOLLOWERS = 3  # numbers that came right behind their predecessor: then it is a counter
_MOST_HOLES = 100_000  # a kernel that counts in steps of two would fill our memory
_MOST_REQUESTS = 50  # only those just before a cell are asked for


class Gap(NamedTuple):
    """How many numbers are missing (`size`); `exact` is false where some of them may have been other clients'."""

    size: int
    exact: bool


@dataclass(slots=True)
class _Sent:
    """A request of ours to the main shell, by which link it went, and how far it was heard.

    A request makes at least busy, reply and idle, in this order.
    """

    link: int
    busy: float = float("inf")
    lowest: float = float("inf")
    highest: int = -1
    left: int = 3

    def hear(self, message: Message, number: int) -> None:
        """Take a message of it. Its output is no sign of its end: a thread may print on when the next request runs."""
        self.lowest = min(self.lowest, number)
        if message.execution_state == "busy":
            self.busy, self.left = number, min(self.left, 2)
        elif message.channel == "shell":
            self.left = min(self.left, 1)
        elif message.execution_state == "idle":
            self.left = 0
        else:
            return
        self.highest = max(self.highest, number)


@dataclass(slots=True)
class _Hole:
    """Numbers from `start` to before `stop` that have not come; the parents of the messages around them."""

    start: int
    stop: int
    below: str
    above: str


class Gaps:
    """The numbers of one connection's kernel, and which of them have not come since the link first broke."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._numbering = Numbering(client_id)
        self._watching = False
        self._blind = False
        self._life = ""
        self._reset("")

    def _reset(self, life: str) -> None:
        # A link that broke before the kernel was heard: nobody knows where its numbers stood.
        self._blind = self._watching and not self._life
        self._watching = self._blind
        self._life = life
        self._top = -1  # the highest number of IOPub, where order is kept; of all channels once the link broke
        self._top_parent = ""
        # Numbers of other channels beyond `_top`: a reply may overtake the output before it.
        self._ahead: dict[int, str] = {}
        self._followers = 0
        self._repeated = 0
        self._holes: list[_Hole] = []
        self._foreign = -1  # the highest number with another client's parent
        self._nudges = Nudges(self._client_id)
        self._requests: dict[str, _Sent] = {}  # in the order in which they were sent

    def sent(self, msg_id: str) -> None:
        """Take note that a request goes to the kernel's main shell, which runs one after the other."""
        self._requests[msg_id] = _Sent(self._nudges.link)
        if len(self._requests) > _MOST_REQUESTS:
            del self._requests[next(iter(self._requests))]

    def receive(self, message: Message) -> None:
        """Take any message of the connection, in the order in which they come."""
        number = self._numbering.number(message)
        if number is None:
            return
        if self._numbering.life != self._life:
            self._reset(self._numbering.life)
        parent = message.parent_id
        self._note_strangers(message, number)
        if self._watching:
            self._take(number, parent)
        elif message.channel != "iopub":
            self._ahead[number] = parent
        elif number > self._top:
            # The first message of all follows nobody.
            self._followers += self._top >= 0 and (number == self._top + 1 or number - 1 in self._ahead)
            self._top, self._top_parent = number, parent
            self._ahead = {n: p for n, p in self._ahead.items() if n >= number} if self._ahead else self._ahead
        else:
            self._repeated += number == self._top

    def broke(self) -> None:
        """Take note that the link broke: from here on it is known what has not come."""
        self._nudges.broke()
        if self._watching:
            return
        self._watching = True
        for number in sorted(self._ahead):
            self._take(number, self._ahead[number])
        self._ahead = {}

    @property
    def position(self) -> str:
        """The `msg_id` of the last message so far, "" before the first."""
        return f"{self._life}_{self._top}" if self._life and self._top >= 0 else ""

    def missing(self, cell: str, first: str, last: str, *, alone: bool = False) -> Gap | None:
        """Count what did not come of a cell between two messages; None where this kernel's ids are no numbers.

        `cell` is the `msg_id` of the request, `first` the `msg_id` of its first message, or the `position` before it
        was sent, `last` the `msg_id` of its last message; "" for no bound. `alone`: the server says that nobody else
        is connected, and the link broke once: then what stands between another request of ours and the cell is the
        cell's; also behind it, once all that the server asks in our name is known.
        """
        if (self._blind and not first) or not self._counts() or (first and self._number_of(first, -1) < 0):
            return None
        if cell in self._numbering.forked or self._numbering.doubted:
            return None  # what its children have printed is not numbered with it
        after, upto = self._number_of(first, -1), self._number_of(last, self._top)
        after, before = self._begins(cell, after)
        holes = list(self._between(after, upto))
        # Behind the cell a whole request of the server's own may be missing, of which nothing was heard.
        behind = alone and self._nudges.all_heard
        ours = all(
            self._is_ours(hole.above, cell, behind) and self._is_ours(hole.below, cell, alone) for _, hole in holes
        )
        unheard, sure = self._nudges.unheard(after, upto, self._absent)
        count = sum(width for width, _ in holes) - unheard - before
        return Gap(max(count, 0), ours and sure and not after < self._foreign <= upto)

    def _begins(self, cell: str, after: int) -> tuple[int, int]:
        """Give the number behind which the cell's are, and how many of those behind it are earlier requests' of ours.

        What was sent before the cell by the same link came there before it, and is over before the cell begins.
        """
        sent = self._requests.get(cell)
        if sent is None or sent.busy <= after:
            return after, 0
        theirs = 0
        for msg_id, one in self._requests.items():
            if msg_id == cell:
                break
            if one.highest > sent.lowest:
                continue  # two threads sent at the same moment, and it came there after all
            if one.highest >= 0:
                after, theirs = max(after, one.highest), 0  # and all before it is over
            if one.link == sent.link:
                theirs += one.left
        return after, theirs

    def _between(self, after: int, upto: int) -> Iterator[tuple[int, _Hole]]:
        """Give the holes between two numbers, and how much of each is there."""
        for hole in self._holes:
            if hole.start < upto and hole.stop > after + 1:
                yield min(hole.stop, upto) - max(hole.start, after + 1), hole

    def _absent(self, after: int, upto: int) -> int:
        return sum(width for width, _ in self._between(after, upto))

    def _is_ours(self, parent: str, cell: str, alone: bool) -> bool:
        return parent == cell or (alone and parent.startswith(f"{self._client_id}_"))

    def unexplained(self, first: str) -> int | None:
        """How many of the numbers behind the message `first` neither came nor belong, for sure, to the server itself.

        None where these are no numbers, or where nobody knows. Rather too many than too few.
        """
        after = self._number_of(first, -1)
        if after < 0 or not self._watching or self._blind or not self._counts() or self._numbering.doubted:
            return None
        return self._absent(after, self._top) - self._nudges.replies(after)  # they are not for us

    def _counts(self) -> bool:
        return bool(self._life) and self._followers >= _FOLLOWERS > self._repeated and len(self._holes) < _MOST_HOLES

    def _number_of(self, msg_id: str, default: int) -> int:
        life, _, digits = msg_id.rpartition("_")
        number = read_number(digits)
        return default if number is None or life != self._life else number

    def _note_strangers(self, message: Message, number: int) -> None:
        asker = str(message.parent_header.get("session") or "")
        if not message.parent_id or asker == self._client_id:
            if self._watching:
                self._nudges.receive(message, number)
            else:
                self._nudges.receive_early(message)
            if (sent := self._requests.get(message.parent_id)) is not None:
                sent.hear(message, number)
            return
        self._foreign = max(self._foreign, number)

    def _take(self, number: int, parent: str) -> None:
        if number > self._top:
            self._followers += number == self._top + 1
            if number > self._top + 1 and self._top >= 0 and len(self._holes) < _MOST_HOLES:
                self._holes.append(_Hole(self._top + 1, number, self._top_parent, parent))
            self._top, self._top_parent = number, parent
            return
        for place, hole in enumerate(self._holes):
            if hole.start <= number < hole.stop:
                parts = (
                    _Hole(hole.start, number, hole.below, parent),
                    _Hole(number + 1, hole.stop, parent, hole.above),
                )
                self._holes[place : place + 1] = [part for part in parts if part.start < part.stop]
                return
