from __future__ import annotations

import pytest

from kernel_bridge_magic.fate.nudges import Nudges
from kernel_bridge_magic.protocol.messages import Message

OURS = "ours"


def state(which: str, execution_state: str = "busy") -> Message:
    header = {"msg_id": "any", "msg_type": "status", "session": "kernel-life"}
    content = {"execution_state": execution_state}
    return Message.parse("iopub", header, {"msg_id": f"{OURS}_{which}", "session": OURS}, {}, content)


def nudges(*heard: tuple[str, str, int]) -> Nudges:
    given = Nudges(OURS)
    given.broke()
    for which, execution_state, number in heard:
        given.receive(state(which, execution_state), number)
    return given


@pytest.mark.parametrize(
    ("heard", "count", "sure"),
    [
        ([], 0, True),
        ([("9_0", "busy", 11), ("9_0", "idle", 13)], 1, True),  # the reply
        ([("9_0", "idle", 13)], 2, True),  # it swallowed the busy
        ([("9_0", "busy", 11), ("9_0", "idle", 30)], 0, False),
        ([("9_0", "busy", 11)], 0, False),
        ([("9_0", "busy", 21), ("9_0", "idle", 23)], 0, True),  # behind it all
        ([("9_0", "idle", 10)], 0, True),  # before it
        ([("9_0", "idle", 13), ("9_1", "busy", 14), ("9_1", "idle", 16)], 3, True),
        ([("7", "busy", 11), ("7", "idle", 13)], 0, True),  # a request of our own, whose reply is for us
    ],
)
def test_what_was_made_for_the_server_is_counted(heard: list[tuple[str, str, int]], count: int, sure: bool) -> None:
    assert nudges(*heard).unheard(10, 20, lambda after, upto: 2) == (count, sure)


@pytest.mark.parametrize(
    ("heard", "absent", "count", "sure"),
    [
        ([("9_1", "idle", 23)], {21, 22}, 0, True),  # its busy, which was swallowed, and its reply are behind it all
        ([("9_1", "idle", 23)], {19, 21}, 1, True),  # its busy is not
        ([("9_1", "idle", 21)], {18, 19}, 2, True),
        ([("9_0", "idle", 24), ("9_1", "busy", 23), ("9_1", "idle", 26)], {21, 22, 25}, 0, True),
        ([("9_1", "idle", 26), ("9_0", "busy", 22), ("9_0", "idle", 24)], {21, 23, 25}, 0, True),
        ([("9_1", "idle", 26), ("9_0", "busy", 22), ("9_0", "idle", 24)], {23, 25}, 1, True),  # 23 is 9_0's
        ([("9_1", "idle", 26), ("9_0", "busy", 22)], {23, 25}, 0, False),  # 23 or 25 may be 9_0's
        ([("9_1", "busy", 21), ("9_1", "idle", 23)], {22}, 0, True),
    ],
)
def test_what_was_swallowed_may_be_before_an_idle_that_is_behind_the_cell(
    heard: list[tuple[str, str, int]], absent: set[int], count: int, sure: bool
) -> None:
    def between(after: int, upto: int) -> int:
        return sum(after < number < upto for number in absent)

    assert nudges(*heard).unheard(10, 20, between) == (count, sure)


@pytest.mark.parametrize(
    ("which", "known"),
    [("", False), ("0", False), ("1", False), ("01", True), ("10", True), ("012", True), ("02", False)],
)
def test_all_are_known_once_shell_and_control_were_heard(which: str, known: bool) -> None:
    assert nudges(*((f"9_{one}", "idle", 13) for one in which)).all_heard is known


def test_those_of_the_link_before_are_no_sign_for_this_one() -> None:
    given = nudges(("9_0", "idle", 13), ("9_1", "idle", 16))
    given.broke()
    assert not given.all_heard
    given.receive(state("9_1"), 20)
    assert not given.all_heard
    given.receive(state("9_0"), 21)
    assert given.all_heard


def test_a_reply_is_behind_a_number_where_both_states_are() -> None:
    given = nudges(("9_0", "busy", 11), ("9_0", "idle", 13), ("9_1", "idle", 16))
    assert [given.replies(after) for after in (10, 11)] == [1, 0]


def test_a_busy_that_came_before_the_link_broke_is_not_taken_for_one_that_was_swallowed() -> None:
    def heard(*early: str, again: bool = False) -> tuple[int, bool]:
        given = Nudges(OURS)
        for execution_state in early:
            given.receive_early(state("9_1", execution_state))
        given.broke()
        if again:
            given.receive(state("9_1"), 11)
            given.broke()
        given.receive(state("9_1", "idle"), 13)
        return given.unheard(10, 20, lambda after, upto: 2)

    assert heard() == heard("busy", "idle") == (2, True)
    # It may be the idle of the new link's request of that number: up to one more is missing then, and never one less.
    assert heard("busy") == heard(again=True) == (1, False)
