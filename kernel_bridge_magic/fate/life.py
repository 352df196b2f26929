"""Which process of its kernel a connection talks to, and the signs that one ends. Rule R4. Pure.

A kernel has a new *life* with each restart: another process, which knows nothing of the variables before.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import is_from_server

#: What ended where a kernel did not end as a whole, for `KernelEnd.subject`.
PROCESS = "its kernel process"
#: what the next cell tells where a lost link ended the wait for the last one
LEFT_UNKNOWN = (
    "the link was lost under an earlier cell, so its end is not known. It may still be running there; its variables "
    "are still there unless the kernel was restarted"
)


class KernelEnd(NamedTuple):
    """How a kernel ended: what `subject` did, or the kernel itself where that is "".

    `comes_back`: there is a kernel again, or will be, as far as is known. `restarted`: somebody restarted it.
    """

    how: str
    comes_back: bool = True
    subject: str = ""
    restarted: bool = False

    def told(self, kernel: str = "") -> str:
        """Return the begin of a sentence: "X was restarted", "X: its kernel process ended"; with no name "it was …"."""
        if self.subject:
            return f"{kernel}{': ' if kernel else ''}{self.subject} {self.how}"
        return f"{kernel or 'it'} {self.how}"


class EndSignal(enum.Enum):
    """Something that says that the kernel ended, or is about to."""

    RESTARTING = "kernel process ended (server says: restarting)"
    NEW_LIFE = "kernel was restarted"
    DEAD = "kernel process ended and does not come back (server says: dead)"
    LEFT = "kernel process ended"
    SHUTDOWN = "kernel was shut down by another client"
    RESTART = "kernel was restarted by another client"
    OUR_SHUTDOWN = "kernel was shut down by this process"
    OUR_RESTART = "kernel was restarted by this process"

    @property
    def end(self) -> KernelEnd:
        """The end that it says."""
        return _ENDS[self]


_ENDS = {
    EndSignal.RESTARTING: KernelEnd("ended", subject=PROCESS),
    EndSignal.NEW_LIFE: KernelEnd("was restarted", restarted=True),
    EndSignal.DEAD: KernelEnd("ended for good", subject=PROCESS),
    EndSignal.LEFT: KernelEnd("ended", subject=PROCESS),
    EndSignal.SHUTDOWN: KernelEnd("was shut down by another client", comes_back=False),
    EndSignal.RESTART: KernelEnd("was restarted by another client", restarted=True),
    EndSignal.OUR_SHUTDOWN: KernelEnd("was shut down from here", comes_back=False),
    EndSignal.OUR_RESTART: KernelEnd("was restarted from here", restarted=True),
}


def since_the_last_cell(sign: EndSignal) -> str:
    """Return a sentence on a kernel that ended while nobody here waited for it (F8)."""
    return f"{sign.end.told()} since the last cell. Its variables are gone"


RESTARTS = frozenset({EndSignal.RESTART, EndSignal.OUR_RESTART})
_SHUTDOWNS = frozenset({EndSignal.SHUTDOWN, EndSignal.OUR_SHUTDOWN})
#: These may come long before the end: the kernel finishes the running cell first (FACTS.md#kernel-deaths).
ANNOUNCED = RESTARTS | _SHUTDOWNS


class Life:
    """Which life of the kernel a connection talks to, as its messages' `header.session` tells (R4)."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self.session = ""
        # The requests that `session` answered. A kernel may make up a session for each message or request, and then
        # a change says nothing; a session that answered two requests is the kernel's.
        self._answered: set[str] = set()
        self._changes = 0
        #: the last sign of an end that a new life has not made good
        self.ended: EndSignal | None = None
        #: the last sign of an end behind which no new life was heard yet: whatever is sent may still meet the old one
        self.awaited: EndSignal | None = None
        #: whether this process has the kernel restarted or shut down: a goodbye is then not another client's doing
        self.end_is_ours = False

    def receive(self, message: Message) -> EndSignal | None:
        """Return the sign that a message of the connection is of an end, None for any other message."""
        if message.channel != "iopub":
            return None
        sign = self._read(message)
        if sign is not None:
            # A restart that is only announced, or done, leaves a kernel to talk to.
            self.ended = sign if sign in {EndSignal.DEAD, *_SHUTDOWNS} else None
            self.awaited = None if sign is EndSignal.NEW_LIFE else sign
        return sign

    def _read(self, message: Message) -> EndSignal | None:
        by_server = is_from_server(message, self._client_id)
        if message.msg_type == "shutdown_reply":
            if not by_server:
                self._learn(message)  # whose life it is that ends
            if message.content.get("restart"):
                return EndSignal.OUR_RESTART if self.end_is_ours else EndSignal.RESTART
            return EndSignal.OUR_SHUTDOWN if self.end_is_ours else EndSignal.SHUTDOWN
        state = message.execution_state
        if state == "restarting":
            self._answered.clear()  # whatever comes next is the new life, and no second sign
            return EndSignal.RESTARTING
        if state == "dead":
            return EndSignal.DEAD
        # A gateway's own messages bear the gateway's session: only the kernel's speak of its life.
        if by_server:
            return None
        if self.awaited not in ANNOUNCED:
            self.awaited = None  # a process that has ended says nothing: this is the next one
        return self._learn(message)

    def _learn(self, message: Message) -> EndSignal | None:
        if not message.sender:
            return None
        # Behind a goodbye any other session is the new life's.
        said_goodbye = bool(self.session) and self.awaited is not None
        known = (len(self._answered) >= 2 or said_goodbye) and self._changes < 3
        if message.sender == self.session:
            if len(self._answered) < 2:
                self._answered.add(message.parent_id)
            return None
        self._changes += bool(self.session) and not known
        self.session, self._answered = message.sender, {message.parent_id}
        return EndSignal.NEW_LIFE if known else None
