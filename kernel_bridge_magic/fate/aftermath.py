"""`Aftermath`: what is found out of a cell whose link broke, or whose reply is lost. Pure.

Of a cell of which nothing has come a `proof` is sought that it never arrived. Of one that has ended the kernel's record
is asked for, and without a record its `completion` must do.
"""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.completion import Completion
from kernel_bridge_magic.fate.proof import Proof, ProofStep
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request


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

    def tick_proof(self, now: float) -> ProofStep | None:
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
