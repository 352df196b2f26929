"""What a kernel made and could not send: above a few thousand messages a second its own queue drops some. Pure.

ZMQ's PUB socket keeps a thousand messages for each subscriber and drops the rest, without a word. The numbers that an
ipykernel gives its messages (`gaps`) tell: two messages of one cell, one behind the other on IOPub where order is
kept, and a run of numbers between them. A short one says nothing: a reply to somebody else takes a number, too, and
so does a message that is made and not sent.
"""

from __future__ import annotations

from kernel_bridge_magic.protocol.gaps import numbered
from kernel_bridge_magic.protocol.messages import Message

__all__ = ["LEAST", "Overruns"]

#: numbers in a row; a queue that is full stays so for far more
LEAST = 10


class Overruns:
    """Counts, for each of our own cells, the messages that never came though the link held."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._life = self._parent = ""
        self._number = 0
        self._lost: dict[str, int] = {}

    def receive(self, message: Message) -> None:
        """Take any message of the connection, in the order in which they come."""
        if message.channel != "iopub":
            return
        life, number = numbered(message)
        same = life and life == self._life and message.parent_id == self._parent
        skipped = number - self._number - 1
        if same and skipped >= LEAST and message.parent_header.get("session") == self._client_id:
            self._lost[self._parent] = self._lost.get(self._parent, 0) + skipped
        self._life, self._number, self._parent = life, number, message.parent_id

    def take(self, cell: str) -> int:
        """Give how many messages of that cell are missing, once."""
        return self._lost.pop(cell, 0)
