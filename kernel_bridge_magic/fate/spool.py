"""Put the messages of a durable cell in order: what came by itself, and what was fetched from the other kernel. Pure.

After a break, or when the server's rate limit drops output, what comes is held back here until the missing messages
were fetched by number. So each is shown once, in the order in which the kernel made them. `remote_code.spool` has the
requests.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

from kernel_bridge_magic.protocol.messages import Message, evaluated, read_json, text
from kernel_bridge_magic.protocol.numbering import is_rate_limit, numbered

_MOST_UNPACKED = 256 * 2**20  # one message may be larger than a chunk; no kernel's reply may fill our memory
_MARGIN = 50  # messages; threads over there may send in another order than they are kept


class Catch(list[Message]):
    """The messages of one chunk.

    `base` is the first number of the ring, `start` the first of this chunk, `end` the next one of the ring.
    """

    base = start = end = 0

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Catch | None:
        """Read the `execute_reply` to a fetch. Return None if it is no chunk: then nothing can be fetched any more."""
        try:
            packed = evaluated(content, "spool")
            unpacker = zlib.decompressobj()
            plain = unpacker.decompress(base64.b64decode(packed[1:-1], validate=True), _MOST_UNPACKED)
            base, start, end, items = read_json(plain)
            chunk = cls(
                Message.parse(channel, header, parent, metadata, body, [base64.b64decode(part) for part in buffers])
                for channel, header, parent, metadata, body, buffers in items
            )
            chunk.base, chunk.start, chunk.end = int(base), int(start), int(end)
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error, RecursionError):
            return None
        return chunk


class Spool:
    """Know of one cell's spool what came, what is held back, and whether to fetch.

    Children that the cell forks have numbers of their own, and the ring does not keep what they print: their messages
    are never held back.
    """

    def __init__(self, cell: str) -> None:
        self.cell = cell
        #: number of messages that the ring had dropped before we could fetch them, until somebody takes it
        self.lost = 0
        #: whether anything can still be fetched
        self.usable = True
        #: whether what comes is held back
        self.holding = False
        #: whether a fetch should go out at once
        self.wanted = False
        self._seen: set[str] = set()
        self._upto = 0  # all numbers below were seen, or are lost
        self._came = 0  # distinct messages of the ring that came, and those that are lost
        self._held: list[Message] = []
        self._had = 0  # how many of those came before the last fetch went out
        self._others: set[int] = set()
        self._counter = ""  # what the ids of the ring's messages begin with, "" before it is known
        self._number = -1  # of the last message on IOPub, in the kernel's own count
        #: the reply is in, and the cell's idle is not
        self.headless = False
        self._ended = False
        self._children = self._lossy = False

    @property
    def start(self) -> int:
        """The number to fetch from."""
        return max(self._upto, self._came - _MARGIN, 0)

    @property
    def waiting(self) -> bool:
        """Whether something came that is held back."""
        return bool(self._held)

    @property
    def uncounted(self) -> bool:
        """Whether children printed while messages were lost, so that nobody can tell whether theirs were."""
        return self._children and self._lossy

    def receive(self, message: Message) -> list[Message]:
        """Handle a message that came by itself; return those that may be shown now."""
        ours = message.parent_id == self.cell
        if not self.usable or message.channel == "stdin":
            return [message]
        if ours and _tells_limit(message):
            self.hold()
            self._lossy = True
            self._held.append(message)  # shown if nothing can be fetched
            return []
        if ours and not self.holding:
            self._learn(message)
        if ours and self._is_childs(message):
            return self._fresh([message])
        if ours and not self.holding and message.msg_id not in self._seen and self._skips(message):
            # A message was lost, or went to another client: the fetch will tell.
            self.hold()
        if self.holding:
            # The answer to a question about the cell, too: it says that all before it has come.
            self._held.append(message)
            return []
        return self._fresh([message])

    def hold(self) -> None:
        """Hold back what comes, until what may be missing is fetched."""
        self.holding = self.wanted = self.usable

    def _skips(self, message: Message) -> bool:
        number = self._own(message)
        if message.channel != "iopub" or number < 0 or self._number < 0 or number <= self._number + 1:
            return False
        # A fetch uses up numbers, too: without this each fetch would seem to leave a hole for the next.
        return any(one not in self._others for one in range(self._number + 1, min(number, self._number + 100)))

    def beside(self, message: Message) -> None:
        """Record a message that answers a request of ours beside the cell: its number is no hole."""
        self._learn(message)
        self._others.add(self._own(message))

    def broke(self) -> None:
        """Record that the link broke."""
        self.holding, self.wanted, self._lossy = self.usable, False, True

    def back(self) -> None:
        """Record that the link is back."""
        self.wanted = self.usable

    def asked(self) -> None:
        """Record that a fetch goes out."""
        self.wanted, self._had = False, len(self._held)

    def fetched(self, catch: Catch) -> list[Message]:
        """Handle a chunk; return what may be shown now."""
        for message in catch[:1]:
            self._learn(message)
        if catch.start > self._came:
            self.lost += catch.start - self._came
            self._came = catch.start
        shown = self._fresh(catch)
        self._upto = catch.start + len(catch)
        if self._upto < catch.end:
            self.wanted = True
            return shown
        self.holding = False
        held, self._held = self._held, []
        for place, message in enumerate(held):
            if message.parent_id == self.cell and _tells_limit(message):
                continue
            # What came before the fetch went out has no hole that a further one could fill; the rest may have.
            shown += self._fresh([message]) if place < self._had else self.receive(message)
        self._had = 0
        return shown

    def give_up(self) -> list[Message]:
        """Fetch nothing any more: it cannot be done, or nobody waits for it. Return what was held back."""
        self.usable = self.holding = self.wanted = False
        held, self._held = self._held, []
        return self._fresh(held)

    def _fresh(self, messages: list[Message]) -> list[Message]:
        fresh = []
        for message in messages:
            if message.parent_id == self.cell and message.msg_id:
                if message.msg_id in self._seen:
                    continue
                self._seen.add(message.msg_id)
                if self._is_childs(message):
                    self._children = True
                else:
                    self._note(message)
            fresh.append(message)
        return fresh

    def _note(self, message: Message) -> None:
        number = self._own(message)
        self._came += number >= 0
        if message.channel == "shell":
            self.headless = not self._ended
        elif message.channel == "iopub":
            self._number = max(self._number, number)
            if message.execution_state == "idle":
                self._ended, self.headless = True, False

    def _learn(self, message: Message) -> None:
        """Learn from a message of the kernel's own process how its ids begin."""
        self._counter = self._counter or numbered(message)[0]

    def _own(self, message: Message) -> int:
        """Return the number of a message of the kernel's own process; -1 for others, which the ring does not have."""
        counter, number = numbered(message)
        return number if counter and counter == self._counter else -1

    def _is_childs(self, message: Message) -> bool:
        """Return whether a message is from another process that uses the kernel's session; a server has its own."""
        counter = numbered(message)[0]
        session, own = (name.rpartition("_")[0] for name in (counter, self._counter))
        return bool(session) and session == own and counter != self._counter


def _tells_limit(message: Message) -> bool:
    return message.msg_type == "stream" and is_rate_limit(text(message.content.get("text")))
