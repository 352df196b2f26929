"""`Answers`: the questions of one cell (`input()`), and what becomes of the answers when the link is lost.

A kernel that asks waits for the answer, and everybody who uses it waits too. An answer must not be sent twice, for the
second one might answer the next question.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel_bridge_magic.errors import LinkError
from kernel_bridge_magic.protocol.events import STOP, Event, InputRequest, Note
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.questions import Questions
from kernel_bridge_magic.transports.base import Transport

#: The answer from which an ipykernel makes an EOFError.
END_OF_INPUT = "\x04"

_SETTLE_SECONDS = 1.0  # for what the server kept to come when the link is back: the question may be over

_MAY_BE_LOST = f"the link broke after your answer, which may be lost. If the cell does not go on, {STOP} interrupts it"
_NOT_SENT = "your answer was not sent. The cell may wait for it there, and holds up everybody who uses the kernel"
_ASKS_AGAIN = "the cell asks for input again, which nobody can give here; it is interrupted"


class Answers:
    """Questions that are due, and an answer that waits until the link is back. Times are on the monotonic clock.

    With `refuses` nobody here may be asked: the first question is answered with the end of input. Kernels may ask
    though the request forbids it.
    """

    def __init__(self, transport: Transport, *, refuses: bool) -> None:
        self._transport = transport
        self._questions = Questions()
        self._refuses = refuses
        self._refused = 0
        self._insists = False
        self._waiting: str | None = None  # the answer that waits for the link
        self._waiting_for = ""  # the question that it answers, also when it has been sent
        self._back_at: float | None = None
        # How often the link had broken when the last answer was sent; None once the cell has gone on.
        self._breaks: int | None = None

    @property
    def _question(self) -> str:
        """The `msg_id` of the last question, "" before the first or where the kernel sends none."""
        msg_id = self._questions.header.get("msg_id")
        return msg_id if isinstance(msg_id, str) else ""

    def receive(self, message: Message, events: Sequence[Event], now: float) -> list[Event]:
        """Handle a message of the cell, of which `events` were made. Return them without the questions."""
        self._questions.receive(message, now)
        if any(not isinstance(event, Note) for event in events):
            self._breaks = None  # the cell has gone on, so it has its answer
        rest: list[Event] = []
        for event in events:
            if not isinstance(event, InputRequest):
                rest.append(event)
            elif self._refuses:
                rest += self._refuse()
            else:
                self._questions.hold(event)
        return rest

    def _refuse(self) -> list[Event]:
        self._refused += 1
        if self._refused == 1:
            self.answer(END_OF_INPUT)
        self._insists = self._refused == 2
        return [Note(_ASKS_AGAIN)] if self._insists else []

    def insists(self) -> bool:
        """Return, once, whether the cell has asked a second time where nobody may be asked.

        It must be interrupted then: a loop that asks until it has an answer would hold up everybody for ever.
        """
        insists, self._insists = self._insists, False
        return insists

    def patience(self, now: float) -> float:
        """Return how many seconds it may still take until a question is due; infinity where there is none."""
        return self._questions.patience(now)

    def due(self, now: float) -> list[Event]:
        """Return the question that is to be asked now, once. One that waits for its answer to be sent is left out."""
        question = self._questions.due(now)
        if question is None or (self._question and self._question == self._waiting_for):
            return []
        self._waiting = None  # the kernel asks something else: it waits no more for that
        return [question]

    def answer(self, value: str) -> None:
        """Send the answer to the last question; if the link is lost, keep it until `tick` can send it.

        A connection that is closed is no error here: its end decides what becomes of the cell.
        """
        self._send(value, self._question)

    def tick(self, now: float) -> list[Event]:
        """Send the answer that waits, if it can be sent. Return a note, once, where one that was sent may be lost.

        A kernel passes an answer to whoever asks when it arrives. If the cell's question is over by then, that may be
        somebody else. The messages that the server kept tell, so they are waited for.
        """
        if self._waiting is not None and self._question != self._waiting_for:
            self._waiting = None
        may_be_lost = self._breaks is not None and self._transport.breaks > self._breaks
        if (self._waiting is None and not may_be_lost) or not self._transport.is_open:
            self._back_at = None
            return []
        if self._back_at is None:
            self._back_at = now
        if now - self._back_at < _SETTLE_SECONDS:
            return []
        if self._waiting is not None:
            self._send(self._waiting, self._waiting_for)
            return []
        self._breaks = None
        return [Note(_MAY_BE_LOST)]

    def left(self) -> list[Event]:
        """Return what to say of an answer that still waits when the cell is not waited for any more."""
        return [] if self._waiting is None or self._refuses else [Note(_NOT_SENT)]

    def _send(self, value: str, question: str) -> None:
        self._back_at = None
        breaks = self._transport.breaks
        try:
            self._transport.send("input_reply", {"value": value}, channel="stdin", parent=self._questions.header)
        except LinkError:
            # Nothing was sent, so that sending it once later is right.
            self._waiting, self._waiting_for = value, question
        else:
            self._waiting = None
            self._breaks = None if self._refuses else breaks  # nobody here would understand a word about it
