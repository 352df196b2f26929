from __future__ import annotations

import math

import pytest

from kernel_bridge_magic.protocol.events import InputRequest
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.questions import Questions
from tests.support.wire import CELL, KERNEL

QUESTION = InputRequest("? ")


def message(number: int | None, channel: str = "iopub", pid: int = 7) -> Message:
    """A message with an ipykernel's id; without a number, one of a kernel that numbers nothing."""
    msg_id = "random" if number is None else f"{KERNEL}_{pid}_{number}"
    kind = "input_request" if channel == "stdin" else "stream"
    return Message.parse(channel, {"msg_type": kind, "msg_id": msg_id, "session": KERNEL}, {"msg_id": CELL}, {}, {})


def asked(*messages: Message, now: float = 10.0) -> Questions:
    questions = Questions()
    for one in messages:
        questions.receive(one, now)
        if one.channel == "stdin":
            questions.hold(QUESTION)
    return questions


def test_a_question_behind_the_last_number_is_asked_at_once_and_once() -> None:
    questions = asked(message(3), message(4, "stdin"))
    assert questions.patience(10.0) == 0.0
    assert questions.due(10.0) == QUESTION
    assert questions.due(10.0) is None and questions.patience(20.0) == math.inf
    assert questions.header["msg_id"] == f"{KERNEL}_7_4"


def test_what_was_shown_before_is_waited_for_and_what_comes_later_is_not() -> None:
    questions = asked(message(3), message(6, "stdin"))
    assert questions.due(10.4) is None
    questions.receive(message(4), 10.4)
    assert questions.due(10.4) is None
    questions.receive(message(7), 10.41)  # of a thread that goes on printing; IOPub keeps its order
    assert questions.due(10.41) == QUESTION


@pytest.mark.parametrize(
    ("before", "silence"),
    [
        (None, 0.05),  # nothing is numbered
        (3, 0.5),  # a number is missing: another client's reply
    ],
)
def test_where_no_number_tells_silence_does(before: int | None, silence: float) -> None:
    questions = asked(message(before), message(None if before is None else 6, "stdin"))
    assert questions.due(9.99 + silence) is None
    assert questions.patience(10.0) == pytest.approx(silence)
    assert questions.due(10.001 + silence) == QUESTION


def test_a_number_of_another_process_tells_nothing() -> None:
    questions = asked(message(900, pid=8), message(6, "stdin"))
    assert questions.due(10.4) is None  # a child that the kernel forked has printed
    assert questions.due(10.6) == QUESTION


def test_a_question_is_asked_in_the_end_though_output_never_ends() -> None:
    questions = asked(message(None), message(None, "stdin"))
    for tenth in range(1, 100):
        questions.receive(message(None), 10 + tenth / 100)
        assert questions.due(10 + tenth / 100) is None
    assert questions.due(11.0) == QUESTION


def test_without_a_question_nothing_is_due() -> None:
    assert asked(message(3)).patience(10.0) == math.inf
    assert asked(message(3)).due(10.0) is None
