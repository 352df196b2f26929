"""`Aftermath`: what is found out of a cell whose link broke, or whose reply is lost. Pure.

Of a cell of which nothing has come a `Proof` is sought that it never arrived. Of one that has ended the kernel's record
is asked for, and without a record its `Completion` must do.
"""

from __future__ import annotations

import enum

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import numbered
from kernel_bridge_magic.protocol.request import Request

#: Messages that a cell makes at least: busy, execute_input, execute_reply, idle.
MESSAGES_OF_A_CELL = 4
_NONE = ("", 0)


class Aftermath:
    """What is known of one cell from around the place where the link broke. `now` is seconds on a monotonic clock."""

    def __init__(self, request: Request) -> None:
        #: whether something of the cell has come
        self.arrived = False
        #: the end of the cell, as IOPub tells it
        self.completion = Completion()
        #: the proof that is sought now
        self.proof: Proof | None = None
        #: whether it is time to count what may have been the cell's messages, for `Judgment.proven`
        self.wants_proof = False
        self._request = request
        self._record_due: float | None = None  # the cell has ended, and its reply is lost: when the record must be in
        self._unrecorded = False  # there is none

    @property
    def has_ended(self) -> bool:
        """Whether the kernel has ended the cell, though not all that tells how is in."""
        return self._request.idle or self._request.reply is not None or self.awaits_record

    @property
    def lacks_reply(self) -> bool:
        """Whether the cell has begun and ended, and its reply is not in."""
        return self._request.entered and self._request.idle and self._request.reply is None

    @property
    def awaits_record(self) -> bool:
        """Whether the kernel is asked how the cell ended, in place of the reply."""
        return self._record_due is not None and self._request.reply is None

    def broke(self) -> None:
        """Handle a break of the link: what was sought is sought anew when it is back."""
        self.end_proof()
        self._record_due, self._unrecorded = None, False

    def tick_proof(self, now: float) -> Action | ProofStep | None:
        """Return what is to be done for the proof, each thing once."""
        step = None if self.proof is None else self.proof.tick(now)
        self.wants_proof = self.wants_proof or step is ProofStep.COUNT
        return step

    def end_proof(self) -> None:
        """Seek no proof any more."""
        self.proof, self.wants_proof = None, False

    def ask_record(self, now: float) -> None:
        """Record that the cell has ended, and that the kernel is asked how."""
        self._record_due = now + timing.current.kernel_answer

    def record_heard(self, message: Message, now: float) -> None:
        """Handle IOPub's word of the question for the record: that is over, though its answer may be lost as well."""
        self.completion.receive_later(message)
        if message.execution_state == "idle" and self._record_due is not None:
            self._record_due = min(self._record_due, now + timing.current.record_grace)

    def is_unrecorded(self, now: float) -> bool:
        """Return whether the kernel is known not to tell how the cell ended."""
        return self._record_due is not None and (self._unrecorded or now >= self._record_due)

    def complete(self, now: float, *, faultless: bool) -> bool | None:
        """Return whether a cell without a record came to its end, None while that may still show itself.

        `faultless`: it has shown no error, and nothing that the server dropped can have been one.
        """
        self._unrecorded = True
        if not faultless or not self.completion.is_whole:
            return False
        if self.completion.is_proven:
            return True
        in_time = self._record_due is not None and now < self._record_due
        return None if self.completion.is_awaited and in_time else False


class ProofStep(enum.Enum):
    """What ends the search for a proof."""

    COUNT = "count what is missing, answer with `Judgment.proven`"
    GIVE_UP = "there is no proof"


class Proof:
    """The proof that a cell which was sent over a link that broke never reached its kernel. It is not sent again.

    It begins when the kernel has answered over the new connection. `now` is seconds on a monotonic clock.

    What may still happen to the cell, and what excludes that, one after the other::

        the old connection is alive at the server, and hands it on later (a reset that only we have seen; a proxy that
        holds bytes; a server that replaces a stale connection reads from it for 5 s more)
            ──▶ over the new connection, which works by now, the server is asked how many it has to this kernel. One:
                that is ours. A server counts one down when it has stopped reading it.
        the server has handed it to a ZMQ socket, which it closed then: for 1 s more that tries to send
            ──▶ 2 s later the kernel is asked over the new connection (the second question)
        the kernel was busy, and has both in its queues, which it reads in turns
            ──▶ when that is answered it is asked once more: whatever was in a queue has had its turn by now
        it ran, and all that it sent was lost
            ──▶ an ipykernel numbers what it sends: a cell makes four messages at least (busy, execute_input, reply,
                idle). Since the last message before the cell fewer are missing.

    Without all of that there is no proof, and the fate stays unknown: where there are other clients, where the kernel
    does not number its messages, and where it was not heard before the cell was sent.
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

    def tick(self, now: float) -> Action | ProofStep | None:
        """Return what is to be done, each thing once; `server_says` and `answered` have the answers."""
        if self._hopeless or now - self._began >= timing.current.proof:
            return ProofStep.GIVE_UP
        if self._alone_at is None:
            if now - self._counted_at < timing.current.ask_connections_again:
                return None
            self._counted_at = now
            return Action.ASK_SERVER
        if self._answered < self._asked or now - self._alone_at < timing.current.socket_linger:
            return None
        if self._asked < 2:
            self._asked += 1
            return Action.ASK_KERNEL
        return ProofStep.COUNT if now - self._answered_at >= timing.current.settle else None


class Completion:
    """Whether a cell whose reply was lost came to its end, by what its kernel said on IOPub.

    Its `execute_input`, its idle and the idle of a later question say so, if one process of the kernel sent all three:
    it has done with the cell, and went on. That it was one is known only where messages are numbered over all channels,
    `<session>_<pid>_<number>` (`ledger`). A session alone may be the same in each life of a kernel, or echo ours; and a
    restart in between, which ends a cell with the same idle, would pass for its end.

    None of this says how the cell ended. An `error` message does, which must not be among what did not come. So no
    number between the beginning and the end may be missing but the reply's own.
    """

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
