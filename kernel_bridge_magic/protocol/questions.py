"""When a question of the cell is asked: behind what the cell has shown before it, which comes on another channel. Pure.

An ipykernel numbers its messages over all channels (`numbering`), and flushes its output before it asks: once the IOPub
message with the number before the question's is in, or a later one, all is. Where that number never comes (it was a
reply to another client, or is lost), or where messages are not numbered, silence must do.
"""

from __future__ import annotations

import math

from kernel_bridge_magic.protocol.events import InputRequest
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import numbered

# Seconds.
_SILENCE = 0.05  # what was shown before is under way no longer than that
_LONGER_SILENCE = 0.5  # where a number is missing: on a loaded machine it was
_LATEST = 1.0  # if there is no silence


class Questions:
    """Holds back the last question of one cell until it is due. `now` is in seconds on a monotonic clock."""

    def __init__(self) -> None:
        #: the header of the last `input_request`, empty before the first
        self.header: dict[str, object] = {}
        self._question: InputRequest | None = None
        self._before = "", 0  # the counter and the number of the message before it
        self._heard = "", 0  # those of the last message on IOPub
        self._at = self._last = 0.0

    def receive(self, message: Message, now: float) -> None:
        """Record any message of the cell, in the order in which they come."""
        self._last = now
        if message.channel == "iopub":
            self._heard = numbered(message)
        elif message.channel == "stdin":
            self.header = message.header
            name, number = numbered(message)
            self._before, self._at = (name, number - 1), now

    def hold(self, question: InputRequest) -> None:
        """Hold back the question that the last message was."""
        self._question = question

    def patience(self, now: float) -> float:
        """Return how many seconds it may still take until a question is due; infinity where there is none."""
        if self._question is None:
            return math.inf
        name, number = self._before
        if name and self._heard[0] == name and self._heard[1] >= number:
            return 0.0
        due = min(self._last + (_LONGER_SILENCE if name else _SILENCE), self._at + _LATEST)
        return max(due - now, 0.0)

    def due(self, now: float) -> InputRequest | None:
        """Return the question, once, when it is to be asked."""
        if self.patience(now) > 0:
            return None
        question, self._question = self._question, None
        return question
