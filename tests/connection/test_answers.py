"""What becomes of questions and answers, with a link that is lost and comes back when the test says so."""

from __future__ import annotations

import math

import pytest

from kernel_bridge_magic.connection.answers import END_OF_INPUT, Answers
from kernel_bridge_magic.protocol.events import Event, InputRequest, Note, Stream
from kernel_bridge_magic.protocol.messages import Message
from tests.support.still import StillTransport
from tests.support.wire import CELL, KERNEL, stream

MAY_BE_LOST = "the link broke after your answer, which may be lost. If the cell does not go on, Ctrl-C interrupts it"
PROMPT = InputRequest("name? ")


class Cell:
    """A cell that asks, as far as `Answers` sees it."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.transport = StillTransport()
        self.answers = Answers(self.transport, refuses=refuses)

    def ask(self, msg_id: str = "first", now: float = 0.0) -> list[Event]:
        header = {"msg_type": "input_request", "msg_id": msg_id, "session": KERNEL}
        message = Message.parse("stdin", header, {"msg_id": CELL}, {}, {"prompt": "name? "})
        return self.answers.receive(message, [PROMPT], now)

    def go_on(self) -> None:
        self.answers.receive(stream("on"), [Stream("stdout", "on")], 0.0)

    def due(self, now: float = math.inf) -> list[Event]:
        return self.answers.due(now)

    def goes_down(self) -> None:
        self.transport.down = True
        self.transport.breaks += 1

    def comes_back(self, now: float) -> list[Event]:
        """The link is back at `now`; what is said within the two seconds after."""
        self.transport.down = False
        return [event for step in range(21) for event in self.answers.tick(now + step / 10)]

    @property
    def sent(self) -> list[tuple[str, str]]:
        """The answers, each with the question that it is for."""
        return [(it.content["value"], it.parent_header["msg_id"]) for it in self.transport.of("input_reply")]


@pytest.fixture
def cell() -> Cell:
    return Cell()


def test_a_question_is_due_behind_what_was_shown_and_once(cell: Cell) -> None:
    assert cell.ask(now=10.0) == []
    assert 0.0 < cell.answers.patience(10.0) < 1.0
    assert cell.due(10.0) == []
    assert (cell.due(12.0), cell.due(12.0)) == ([PROMPT], [])
    assert cell.answers.patience(12.0) == math.inf


def test_an_answer_goes_to_its_question(cell: Cell) -> None:
    cell.ask()
    cell.answers.answer("ann")
    assert cell.sent == [("ann", "first")]
    assert (cell.answers.left(), cell.answers.tick(100.0)) == ([], [])


def test_an_answer_waits_until_the_link_is_back_and_settled(cell: Cell) -> None:
    cell.ask()
    cell.goes_down()
    cell.answers.answer("ann")
    assert cell.answers.tick(50.0) == []
    assert cell.answers.tick(55.0) == []
    assert cell.sent == []
    cell.transport.down = False
    assert cell.answers.tick(60.0) == []
    assert cell.answers.tick(60.9) == []
    assert cell.sent == [], "what the server kept may tell that the question is over"
    cell.answers.tick(61.0)
    assert cell.sent == [("ann", "first")]
    assert cell.comes_back(62.0) == []
    assert cell.sent == [("ann", "first")]


def test_a_link_that_breaks_again_meanwhile_is_waited_for_anew(cell: Cell) -> None:
    cell.ask()
    cell.goes_down()
    cell.answers.answer("ann")
    cell.transport.down = False
    cell.answers.tick(10.0)
    cell.goes_down()
    cell.answers.tick(10.5)
    cell.transport.down = False
    cell.answers.tick(11.1)
    assert cell.sent == []
    cell.answers.tick(12.1)
    assert cell.sent == [("ann", "first")]


@pytest.mark.parametrize("sent", [False, True])
def test_a_question_that_comes_again_while_its_answer_waits_is_not_asked_again(cell: Cell, sent: bool) -> None:
    cell.ask()
    cell.due()
    cell.goes_down()
    cell.answers.answer("ann")
    if sent:
        cell.comes_back(10.0)
    cell.ask()
    assert cell.due() == []
    assert cell.comes_back(20.0) == []
    assert cell.sent == [("ann", "first")]


def test_an_answer_to_a_question_that_is_over_is_never_sent(cell: Cell) -> None:
    cell.ask()
    cell.due()
    cell.goes_down()
    cell.answers.answer("ann")
    cell.ask("second")
    assert cell.comes_back(10.0) == []
    assert (cell.sent, cell.due()) == ([], [PROMPT])
    cell.answers.answer("bob")
    assert cell.sent == [("bob", "second")]


def test_an_answer_that_never_went_is_told_of(cell: Cell) -> None:
    cell.ask()
    cell.goes_down()
    cell.answers.answer("ann")
    (note,) = cell.answers.left()
    assert isinstance(note, Note) and note.text.startswith("your answer was not sent. ")


def test_an_answer_that_went_just_before_a_break_may_be_lost_and_is_not_sent_twice(cell: Cell) -> None:
    cell.ask()
    cell.answers.answer("ann")
    cell.goes_down()
    assert cell.comes_back(10.0) == [Note(MAY_BE_LOST)]
    assert cell.comes_back(20.0) == []
    assert cell.sent == [("ann", "first")]


def test_a_cell_that_has_gone_on_has_its_answer(cell: Cell) -> None:
    cell.ask()
    cell.answers.answer("ann")
    cell.go_on()
    cell.goes_down()
    assert cell.comes_back(10.0) == []


def test_a_note_does_not_show_that_the_cell_has_gone_on(cell: Cell) -> None:
    cell.ask()
    cell.answers.answer("ann")
    cell.answers.receive(stream("limit", "stderr"), [Note("the server drops output")], 0.0)
    cell.goes_down()
    assert cell.comes_back(10.0) == [Note(MAY_BE_LOST)]


def test_where_nobody_may_be_asked_the_first_question_is_refused_and_the_second_interrupts_once() -> None:
    cell = Cell(refuses=True)
    assert (cell.ask(), cell.answers.insists()) == ([], False)
    assert cell.sent == [(END_OF_INPUT, "first")]
    (note,) = cell.ask("second")
    assert note == Note("the cell asks for input again, which nobody can give here; it is interrupted")
    assert (cell.answers.insists(), cell.answers.insists()) == (True, False)
    assert (cell.ask("third"), cell.answers.insists()) == ([], False)
    assert cell.sent == [(END_OF_INPUT, "first")]
    assert cell.due() == []


def test_a_refusal_waits_for_the_link_without_a_word_about_an_answer_of_yours() -> None:
    cell = Cell(refuses=True)
    cell.goes_down()
    cell.ask()
    assert cell.answers.left() == []
    assert cell.comes_back(10.0) == []
    assert cell.sent == [(END_OF_INPUT, "first")]
    cell.goes_down()
    assert cell.comes_back(20.0) == []
