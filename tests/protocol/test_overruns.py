"""Messages that a kernel could not send, by their numbers."""

from __future__ import annotations

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.overruns import LEAST, Overruns

OURS = "client"
CELL = "client_2"


def message(number: int, parent: str = CELL, session: str = OURS, channel: str = "iopub") -> Message:
    header = {"msg_id": f"kernel_1_{number}", "msg_type": "stream", "session": "kernel"}
    return Message(channel, header, {"msg_id": parent, "session": session}, {}, {})


def lost(*messages: Message) -> int:
    overruns = Overruns(OURS)
    for one in messages:
        overruns.receive(one)
    count = overruns.take(CELL)
    assert overruns.take(CELL) == 0
    return count


def test_a_run_of_numbers_between_two_messages_of_a_cell_is_lost() -> None:
    assert lost(message(1), message(2), message(3)) == 0
    assert lost(message(1), message(502), message(503), message(3000)) == 500 + 2496


def test_a_short_one_may_be_replies_to_others() -> None:
    assert lost(message(1), message(1 + LEAST)) == 0
    assert lost(message(1), message(2 + LEAST)) == LEAST


def test_what_stands_between_others_or_in_another_life_is_not_ours() -> None:
    other = "other_1"
    assert lost(message(1), message(100, other, "other"), message(300)) == 0
    assert lost(message(1, other, "other"), message(100, other, "other")) == 0
    new = Message("iopub", {"msg_id": "new_1_900", "msg_type": "stream", "session": "new"}, {"msg_id": CELL}, {}, {})
    assert lost(message(1), new) == 0


def test_replies_and_ids_that_are_no_numbers_are_left_alone() -> None:
    assert lost(message(1), message(50, channel="shell"), message(2)) == 0
    random = Message("iopub", {"msg_id": "a-b-c", "session": "kernel"}, {"msg_id": CELL, "session": OURS}, {}, {})
    assert lost(random, random) == 0
