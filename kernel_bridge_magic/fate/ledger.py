"""`Ledger`: which messages of a kernel never came, so that loss is never silent (R6). Pure.

An ipykernel numbers what it makes, over IOPub, shell and control: `msg_id` is `<session>_<pid>_<number>`. The ledger
keeps the highest number that came on IOPub, where order is kept, and below it the *holes*: numbers that have not come.
A hole is not always a loss. The reply to another client takes a number, and so does a result that is made and never
sent (of an object with `_ipython_display_`). So a hole counts, between a cell's first message and its last, where it
was made after the link broke; where it is long; where it stands in a flood, since ZMQ's PUB socket keeps a thousand
messages for each subscriber and drops the rest; and wherever it is known that something was dropped. One rule says how
sure the count is: it is exact where each hole stands between two messages of the cell itself and nobody else was
heard; everywhere else it is "up to N". It is never negative, and never too small for what a break, a flood or a limit
of a server may have taken. Ids that are no counters (IRkernel and xeus have random ones) are never counted: then nobody
can tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD, Numbering, numbered, read_number

#: numbers in a row that are a loss wherever they are missing
LONG = 10
#: A full queue of a thousand messages was filled by at least this many messages within this many seconds.
FLOOD = 500
FLOOD_SECONDS = 2.0
_FOLLOWERS = 3  # numbers that came right behind their predecessor, until ids are believed to be a counter
_MOST_KEPT = 5000  # holes, answers, children: a kernel that counts in steps of two would fill our memory


class Gap(NamedTuple):
    """How many messages are missing (`size`). Where `exact` is false there may be fewer, and never more."""

    size: int
    exact: bool


@dataclass(slots=True)
class _Hole:
    """The numbers from `start` to before `stop`, which have not come, and the parents of the messages around them."""

    start: int
    stop: int
    below: str
    above: str
    long: bool = False
    flood: bool = False
    came: int = 0  # numbers in between that have come, where several holes were made one

    @property
    def size(self) -> int:
        return self.stop - self.start - self.came

    def joined(self, later: _Hole) -> _Hole:
        """Return this hole and a later one as one, of which more may count than of the two."""
        alike = self.below == self.above == later.below
        return _Hole(
            self.start,
            later.stop,
            self.below if alike else "",
            later.above,
            long=self.long or later.long,
            flood=self.flood or later.flood,
            came=self.came + later.came + later.start - self.stop,
        )


@dataclass(slots=True)
class _Cell:
    """A cell that is expected. Its fields are numbers of messages, -1 for none yet."""

    position: int = -1  # the highest on IOPub when the cell was sent
    first: int = -1  # on IOPub, as the next three
    busy: int = -1
    highest: int = -1
    idle: int = -1
    reply: int = -1
    broken: int | None = None  # the highest on IOPub when the link first broke under it
    beside: float = float("inf")  # the lowest of somebody else's above its first
    children: int = 0  # messages that never came of processes that it forked

    @property
    def start(self) -> int | None:
        """The number behind which the cell's messages are; None where nobody knows."""
        if self.broken is None or self.busy >= 0:
            return self.first
        return self.position if self.position >= 0 else None


class Ledger:
    """The numbers of one connection's kernel, and what never came of each cell that is expected."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._numbering = Numbering(client_id)
        self._cells: dict[str, _Cell] = {}
        self._reset()

    def _reset(self) -> None:
        """Begin anew: another process of the kernel counts from zero."""
        self._life = self._numbering.life
        self._top, self._top_parent = -1, ""  # the highest number on IOPub
        self._ahead: dict[int, str] = {}  # numbers above it that came on other channels, and their parents
        self._followers = self._repeated = 0
        self._holes: list[_Hole] = []  # ascending
        self._dates: deque[Any] = deque(maxlen=FLOOD)  # of the last messages on IOPub, by the kernel's clock
        self._stranger = -1  # the highest number of a message that is of no cell of ours
        # Requests whose replies are not for us: one of their states, and its number, until the other state comes.
        self._others: dict[str, tuple[str, int]] = {}
        # The numbers of both states, and whether there certainly was a reply in between.
        self._answers: deque[tuple[int, int, bool]] = deque(maxlen=_MOST_KEPT)
        self._children: dict[str, int] = {}  # processes that the kernel forked: their highest numbers
        for cell, known in self._cells.items():
            self._cells[cell] = _Cell(broken=None if known.broken is None else -1)

    # -- what happens

    def expect(self, cell: str) -> None:
        """Count what never comes of a cell, from before it is sent until `forget`. `cell` is its `msg_id`."""
        self._cells[cell] = _Cell(position=self._top)

    def forget(self, cell: str) -> None:
        """Stop counting for a cell. One that is not expected is no error."""
        self._cells.pop(cell, None)
        if not self._cells:
            self._holes.clear()
            self._answers.clear()

    def broke(self) -> None:
        """Record that the link broke: any hole from here on may be a loss."""
        for cell in self._cells.values():
            cell.broken = self._top if cell.broken is None else cell.broken

    def share(self) -> None:
        """Record that the kernel was asked for a message that may be lost among a cell's, unheard."""
        for cell in self._cells.values():
            cell.beside = -1

    def receive(self, message: Message) -> None:
        """Record any message of the connection, in the order in which they come, each once."""
        number = self._numbering.number(message)
        if self._numbering.life != self._life:
            self._reset()
        if number is None:
            return self._note_child(message)
        parent, on_iopub = message.parent_id, message.channel == "iopub"
        self._note_parent(message, parent, number)
        if number <= self._top:
            self._repeated += number == self._top and on_iopub
            self._followers += number == self._top - 1 and not on_iopub  # a reply comes behind the idle that follows it
            self._fill(number, parent)
        elif not on_iopub:
            self._ahead[number] = parent
        else:
            # The first message of all follows nobody.
            self._followers += self._top >= 0 and (number == self._top + 1 or number - 1 in self._ahead)
            if self._cells and 0 <= self._top < number - 1:
                self._skip(number, message)
            if self._ahead:
                self._ahead = {ahead: whose for ahead, whose in self._ahead.items() if ahead > number}
            self._top, self._top_parent = number, parent
            self._dates.append(message.header.get("date"))

    # -- what is asked

    def missing(self, cell: str, behind: str = "", *, dropped: bool = False) -> Gap | None:
        """Return how many messages of a cell never came, as far as the kernel was heard; None where nobody can tell.

        `behind` is the `msg_id` of a message that the kernel made behind the cell, "" if none is known. `dropped`
        tells that something is known to have been dropped.
        """
        found = self._cells.get(cell)
        if found is None or not self._counts:
            return None
        broken, forked, start = found.broken, cell in self._numbering.forked, found.start
        dropped = dropped or (broken is None and found.idle < 0 <= found.reply)  # its idle was
        if start is None or (forked and dropped) or (broken is not None and (forked or self._numbering.doubted)):
            return None
        if start < 0:
            return Gap(0, True)  # nothing has come of it, over a link that holds
        end, sure, short, exact = self._end(found, behind), 0, 0, not forked
        for hole in self._between(start, end):
            if hole.long or (broken is not None and hole.stop > broken + 1):
                sure += hole.size
                exact = exact and hole.below == hole.above == cell
            elif hole.flood or dropped:
                short += hole.size
        since = start if dropped or broken is None else max(start, broken)
        answers = [answer for answer in self._answers if since <= answer[0] and answer[1] <= end]
        if dropped or broken is not None:
            sure -= sum(certain for _, _, certain in answers)
        elif short:
            short -= sum(self._is_reply_in_flood(low, high) for low, high, _ in answers)
        size = max(sure + short, 0) + found.children
        return Gap(size, not size or (exact and not short and found.beside >= end))

    def unexplained(self, cell: str) -> int | None:
        """Return how many messages that never came since a cell was sent may have been the cell's.

        Rather too many than too few. None where nobody can tell, or the link has not broken since.
        """
        found = self._cells.get(cell)
        known = self._counts and not self._numbering.doubted
        if found is None or not known or found.broken is None or found.position < 0:
            return None
        absent = sum(hole.size for hole in self._between(found.position, max(self._ahead, default=self._top)))
        return absent - sum(sure for low, _, sure in self._answers if low > found.position)

    # -- numbers and holes

    @property
    def _counts(self) -> bool:
        """Whether the kernel's ids are known to be a counter."""
        return bool(self._life) and self._followers >= _FOLLOWERS > self._repeated

    def _end(self, cell: _Cell, behind: str) -> int:
        """Return the highest number that counts for a cell."""
        if cell.idle >= 0:
            return cell.idle
        if cell.broken is None:
            return cell.reply if cell.reply >= 0 else self._top
        life, _, digits = behind.rpartition("_")
        number = read_number(digits) if life == self._life else None
        return max(cell.highest if cell.highest >= 0 else self._top, -1 if number is None else number)

    def _fill(self, number: int, parent: str) -> None:
        """Take a number out of its hole, if it was in one."""
        place = bisect_right(self._holes, number, key=lambda hole: hole.start) - 1
        if place >= 0 and number < self._holes[place].stop and not self._holes[place].came:
            hole = self._holes[place]
            parts = replace(hole, stop=number, above=parent), replace(hole, start=number + 1, below=parent)
            self._holes[place : place + 1] = [part for part in parts if part.size]

    def _skip(self, number: int, message: Message) -> None:
        """Record the holes below a message on IOPub that is above all others there."""
        holes = list(self._beyond(number, message.parent_id))
        skipped = sum(hole.size for hole in holes)
        flood = 0 < skipped < LONG and self._is_flood(message)
        self._holes += [replace(hole, long=skipped >= LONG, flood=flood) for hole in holes]
        if len(self._holes) > _MOST_KEPT:
            pairs = zip(self._holes[::2], self._holes[1::2], strict=False)
            self._holes = [hole.joined(later) for hole, later in pairs] + self._holes[len(self._holes) & ~1 :]

    def _beyond(self, upto: int, above: str) -> Iterator[_Hole]:
        """Return the holes between the highest number on IOPub and one above it, which came and has that parent."""
        if upto - self._top > MOST_AHEAD:
            return  # the first number of a life is believed, whatever it is, and others behind it for its sake
        start, below = self._top + 1, self._top_parent
        for number, parent in (*sorted(pair for pair in self._ahead.items() if pair[0] < upto), (upto, above)):
            if start < number:
                yield _Hole(start, number, below, parent)
            start, below = number + 1, parent

    def _between(self, start: int, end: int) -> Iterator[_Hole]:
        """Return the holes between two numbers. Those above all of IOPub count as long ones, however short."""
        last = max(self._ahead, default=-1)
        tail = self._beyond(last, self._ahead[last]) if end > self._top and last >= 0 else ()
        for hole in (*self._holes, *(replace(hole, long=True) for hole in tail)):
            if hole.start < end and hole.stop > start + 1:
                yield hole

    def _is_reply_in_flood(self, low: int, high: int) -> bool:
        """Return whether one number alone is missing between the states of a request, and counts as one of a flood."""
        place = bisect_right(self._holes, low, key=lambda hole: hole.start)
        holes = [hole for hole in self._holes[place : place + 2] if hole.start < high]
        return len(holes) == 1 and holes[0].flood and holes[0].size == 1

    def _is_flood(self, message: Message) -> bool:
        if len(self._dates) < FLOOD:
            return False
        began, now = _parse(self._dates[0]), _parse(message.header.get("date"))
        return began is not None and now is not None and now - began <= FLOOD_SECONDS

    # -- whose messages they are

    def _note_parent(self, message: Message, parent: str, number: int) -> None:
        """Record a message for its cell, and for all others that they were not alone."""
        own, state = self._cells.get(parent), message.execution_state
        for cell in self._cells.values():
            if cell is not own and 0 <= cell.first < number:
                cell.beside = min(cell.beside, number)
        if own is None:
            self._stranger = max(self._stranger, number)
            if parent and state in ("busy", "idle"):
                self._note_other(message, state, number)
        elif message.channel != "iopub":
            own.reply = number if message.msg_type == "execute_reply" else own.reply
        else:
            own.highest = max(own.highest, number)
            own.idle = number if state == "idle" else own.idle
            if own.first < 0 or (state == "busy" and own.busy < 0):
                own.first = number
                own.busy = number if state == "busy" else -1
                if number < self._stranger or any(known == "busy" for known, _ in self._others.values()):
                    own.beside = min(own.beside, number)

    def _note_other(self, message: Message, state: str, number: int) -> None:
        """Record a state of a request that is no cell of ours. A reply stands between the two states of its request.

        When we connect, jupyter_server asks the kernel in our name, on shell and on control, until it hears it: with
        ids `<ours>_<pid>_<n>`, from 0 for each WebSocket, where ours are `<ours>_<n>`. It keeps these replies, and
        the first message that it hears. Every kernel answers them; other requests may fail there.
        """
        parent = message.parent_id
        by_server = parent.startswith(f"{self._client_id}_") and parent.count("_") > self._client_id.count("_") + 1
        if message.parent_header.get("session") == self._client_id and not by_server:
            return  # the reply is for us
        known, other = self._others.pop(parent, ("", -1))
        low, high = (other, number) if state == "idle" else (number, other)
        if {known, state} != {"busy", "idle"} or low >= high:
            self._others[parent] = state, number
            if len(self._others) > _MOST_KEPT:
                del self._others[next(iter(self._others))]
        elif by_server or str(message.parent_header.get("msg_type")).endswith("_request"):
            self._answers.append((low, high, by_server))

    def _note_child(self, message: Message) -> None:
        """Record what a process prints that the kernel forked: it counts on from where it was forked."""
        name, number = numbered(message)
        if not name or name == self._life or message.sender != self._numbering.session:
            return
        top = self._children.get(name, number)
        if LONG < number - top <= MOST_AHEAD:
            for cell in self._cells.values():
                cell.children += number - top - 1 if cell.first >= 0 > cell.idle else 0
        if number - top <= MOST_AHEAD and (len(self._children) < _MOST_KEPT or name in self._children):
            self._children[name] = max(number, top)


def _parse(date: Any) -> float | None:
    """Return a header's date in seconds since 1970; None where it is none. jupyter_client has parsed it already."""
    try:
        return (date if isinstance(date, datetime) else datetime.fromisoformat(date)).timestamp()
    except (TypeError, ValueError):
        return None
