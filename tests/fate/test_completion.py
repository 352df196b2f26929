"""What the kernel's own messages prove of a cell whose reply was lost."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate.completion import Completion
from kernel_bridge_magic.protocol.messages import Message
from tests.support.wire import entered, msg, status, stream


def completion(*messages: Message, later: Message | None = None) -> Completion:
    made = Completion()
    for message in messages:
        made.receive(message)
    if later is not None:
        made.receive_later(later)
    return made


WHOLE = (status("busy", number=3), entered(number=4), stream("x", number=5), status("idle", number=7))
LATER = status("idle", parent="probe", number=10)


def test_a_cell_of_which_the_reply_alone_is_missing_and_a_later_answer_of_the_same_process() -> None:
    assert not completion(*WHOLE).is_proven
    assert completion(*WHOLE).is_whole and completion(*WHOLE).is_awaited
    assert completion(*WHOLE, later=LATER).is_proven
    nothing_shown = (entered(number=4), status("idle", number=6))
    assert completion(*nothing_shown, later=LATER).is_proven


def test_questions_and_widgets_have_numbers_too() -> None:
    asked = msg("input_request", {"prompt": ""}, channel="stdin", number=5)
    comm = msg("comm_msg", {}, number=6)
    assert completion(entered(number=4), asked, comm, status("idle", number=8), later=LATER).is_proven


def test_what_comes_behind_the_idle_is_no_part_of_it() -> None:
    assert completion(*WHOLE, stream("a thread's", number=8), later=LATER).is_proven
    holed = (entered(number=4), status("idle", number=7), stream("a thread's", number=8))
    assert not completion(*holed, later=LATER).is_whole


def test_what_a_child_prints_under_numbers_of_its_own_counts_for_nothing() -> None:
    child = stream("x", sender="kernel-life-1", number=6)
    child.header["msg_id"] = "kernel-life-1_8_6"
    assert not completion(entered(number=4), child, status("idle", number=7), later=LATER).is_whole


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (status("busy", number=3), status("idle", number=5)),
        (entered(number=4),),
        (entered(number=4), status("idle", number=7)),
        (entered(), status("idle")),
        (entered(number=4), status("idle", number=6, sender="kernel-life-2")),
        (entered(number=4), status("idle", number=6, sender="our-session")),
    ],
    ids=["nothing", "not entered", "not ended", "a hole", "no numbers", "another life", "a server's word"],
)
def test_what_proves_nothing(messages: tuple[Message, ...]) -> None:
    assert not completion(*messages, later=LATER).is_proven


@pytest.mark.parametrize(
    "later",
    [
        status("busy", parent="probe", number=10),
        status("idle", parent="probe"),
        status("idle", parent="probe", number=5),
        status("idle", parent="probe", number=10, sender="kernel-life-2"),
    ],
    ids=["busy alone", "no numbers", "numbered anew", "another life"],
)
def test_a_later_answer_that_proves_nothing(later: Message) -> None:
    assert not completion(*WHOLE, later=later).is_proven
