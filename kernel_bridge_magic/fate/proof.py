"""`Proof`: that a cell which was sent over a link that broke never reached its kernel. It is not sent again. Pure.

What may still happen to the cell, and what excludes that, one after the other::

    the old connection is alive at the server, and hands it on later (a reset that only we have seen; a proxy that
    holds bytes; a server that replaces a stale connection reads from it for 5 s more)
        ──▶ over the new connection, which works by now, the server is asked how many it has to this kernel. One: that
            is ours. A server counts one down when it has stopped reading it.
    the server has handed it to a ZMQ socket, which it closed then: for 1 s more that tries to send
        ──▶ 2 s later the kernel is asked over the new connection (the second question)
    the kernel was busy, and has both in its queues, which it reads in turns
        ──▶ when that is answered it is asked once more: whatever was in a queue has had its turn by now
    it ran, and all that it sent was lost
        ──▶ an ipykernel numbers what it sends: a cell makes four messages at least (busy, execute_input, reply, idle).
            Since the last message before the cell fewer are missing.

Without all of that there is no proof, and the fate stays unknown: where there are other clients, where the kernel does
not number its messages, and where it was not heard before the cell was sent.
"""

from __future__ import annotations

import enum

from kernel_bridge_magic.fate import timing

#: Messages that a cell makes at least: busy, execute_input, execute_reply, idle.
MESSAGES_OF_A_CELL = 4
# Seconds


class ProofStep(enum.Enum):
    """What is to be done now for the proof."""

    ASK_SERVER = "ask the server, answer with `server_says`"
    ASK_KERNEL = "ask the kernel on shell, answer with `answered`"
    COUNT = "count what is missing, answer with `counted`"
    GIVE_UP = "there is no proof"


class Proof:
    """The steps of one proof, which begins when the kernel has answered over the new connection.

    `now` is seconds on a monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self._began = now
        self._counted_at = float("-inf")  # when the server was last asked
        self._alone_at: float | None = None
        self._asked = 0  # questions to the kernel
        self._answered = 0
        self._answered_at = now
        self._hopeless = False

    def server_says(self, connections: int | None, asked_at: float) -> None:
        """Record the number of the server's connections to the kernel, None if it did not say; asked at `asked_at`."""
        if asked_at < self._began or self._alone_at is not None:
            return  # of a question before the proof: the old connection may have been counted, and ours not yet
        if connections == 1:
            self._alone_at = asked_at
        elif connections is None:
            self._hopeless = True

    def answered(self, now: float) -> None:
        """Record that the kernel has answered the last question."""
        self._answered, self._answered_at = self._asked, now

    def tick(self, now: float) -> ProofStep | None:
        """Return what is to be done, each thing once."""
        if self._hopeless or now - self._began >= timing.current.proof:
            return ProofStep.GIVE_UP
        if self._alone_at is None:
            if now - self._counted_at < timing.current.ask_connections_again:
                return None
            self._counted_at = now
            return ProofStep.ASK_SERVER
        if self._answered < self._asked or now - self._alone_at < timing.current.socket_linger:
            return None
        if self._asked < 2:
            self._asked += 1
            return ProofStep.ASK_KERNEL
        return ProofStep.COUNT if now - self._answered_at >= timing.current.settle else None
