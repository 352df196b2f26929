"""`Completion`: whether a cell whose reply was lost came to its end, by what its kernel said on IOPub. Pure.

Its `execute_input`, its idle and the idle of a later question say so, if one process of the kernel sent all three: it
has done with the cell, and went on. That it was one is known only where messages are numbered over all channels,
`<session>_<pid>_<number>` (`ledger`). A session alone may be the same in each life of a kernel, or echo ours; and a
restart in between, which ends a cell with the same idle, would pass for its end.

None of this says how the cell ended. An `error` message does, which must not be among what did not come. So no number
between the beginning and the end may be missing but the reply's own.
"""

from __future__ import annotations

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import numbered

_NONE = ("", 0)


class Completion:
    """The end of one cell, as IOPub tells it."""

    def __init__(self) -> None:
        self._began = self._ended = self._later = _NONE
        self._came = 0  # messages of the cell between its beginning and its end

    def receive(self, message: Message) -> None:
        """Handle any message of the cell but its reply, in the order in which they come."""
        name, number = numbered(message)
        if message.msg_type == "execute_input":
            self._began = name, number
        elif message.execution_state == "idle":
            self._ended = name, number
        elif self._ended == _NONE and name == self._began[0]:
            self._came += 1

    def receive_later(self, message: Message) -> None:
        """Handle any message on IOPub of a question that was asked behind the cell."""
        if message.execution_state == "idle":
            self._later = numbered(message)

    @property
    def is_whole(self) -> bool:
        """Whether one process of the kernel began the cell and ended it, and nothing between is missing but a reply."""
        (life, first), (same, last) = self._began, self._ended
        return bool(life) and life == same and last - first - 1 - self._came <= 1

    @property
    def is_awaited(self) -> bool:
        """Whether no later question has been answered yet, by whatever process."""
        return self._later == _NONE

    @property
    def goes_on(self) -> bool | None:
        """Whether the process that had the cell has answered a later question; False: another has, None: not known."""
        had, (later, _) = self._ended[0] or self._began[0], self._later
        return had == later if had and later else None

    @property
    def is_proven(self) -> bool:
        """Whether it came to its end: the same process has answered a later question."""
        (life, last), (same, later) = self._ended, self._later
        return self.is_whole and life == same and last < later
