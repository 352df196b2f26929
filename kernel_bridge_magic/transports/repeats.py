"""What a server sends again after a break: `Repeats` tells it from what is new. Pure."""

from __future__ import annotations

from collections import deque

from kernel_bridge_magic.protocol.messages import Message

_REMEMBERED = 5000  # ids; far more than a socket's buffers hold


class Repeats:
    """Which messages come twice, when a server sends again what we had before the link broke.

    A kernel whose ids are not unique is left alone: then nothing is called a repeat.
    """

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._before: frozenset[str] = frozenset()

    def broke(self) -> None:
        """Record that the link broke."""
        # The deque alone bounds it: what was added up over every break of a link grew for hours.
        known = frozenset(self._recent)
        self._before = known if len(known) == len(self._recent) else frozenset()

    def is_repeat(self, message: Message) -> bool:
        """Record any message of the connection; return whether it came before the link broke."""
        msg_id = message.msg_id
        if not msg_id:
            return False
        name = f"{message.channel} {msg_id}"
        if name in self._before:
            return True
        self._recent.append(name)
        return False
