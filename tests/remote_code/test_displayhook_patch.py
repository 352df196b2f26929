from __future__ import annotations

import dataclasses

import pytest

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code.displayhook_patch import DisplayhookPatch, arm, disarm
from tests.support.wire import msg


def info(implementation: str) -> DisplayhookPatch:
    known = DisplayhookPatch("us")
    known.receive(msg("kernel_info_reply", {"implementation": implementation}, channel="shell"))
    return known


def armed(known: DisplayhookPatch, *lives: str) -> list[bool]:
    return [known.must_arm(life, now=1.0, breaks=0) for life in lives]


def status(session: str, username: str) -> Message:
    header = {"msg_id": "1", "session": session, "username": username}
    return dataclasses.replace(msg("status", {"execution_state": "idle"}), parent_header=header)


def test_only_ipython_kernels_and_those_that_have_not_said_are_armed() -> None:
    assert armed(info("ipython"), "life-1") == [True]
    assert armed(DisplayhookPatch(), "") == [True]
    assert armed(info("bash"), "life-1") == [False]


def test_once_for_each_life() -> None:
    assert armed(info("ipython"), "life-1", "life-1", "life-2", "life-2") == [True, False, True, False]


def test_a_life_that_becomes_known_is_no_other_one() -> None:
    assert armed(info("ipython"), "", "", "life-1", "", "life-1", "life-2") == [True, *[False] * 4, True]


def test_anew_before_it_goes_by_itself_and_behind_each_break() -> None:
    known = info("ipython")
    times = [(0.0, 0), (299.0, 0), (301.0, 0), (302.0, 0), (303.0, 1), (304.0, 1)]
    assert [known.must_arm("life", now=now, breaks=breaks) for now, breaks in times] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("message", "each"),
    [
        (status("them", "kernel_bridge"), True),
        (status("us", "kernel_bridge"), False),
        (status("them", "owner"), False),
        (msg("status", {"execution_state": "idle"}), False),
    ],
)
def test_before_each_cell_where_other_guests_were_heard(message: Message, each: bool) -> None:
    known = info("ipython")
    assert armed(known, "life") == [True]
    known.receive(message)
    assert armed(known, "life", "life") == [each, each]


@pytest.mark.parametrize(("said", "each"), [("True", True), ("False", False), ("", False)])
def test_before_each_cell_where_the_answer_tells_of_others(said: str, each: bool) -> None:
    known = info("ipython")
    assert armed(known, "life") == [True]
    content = {"user_expressions": {"quiet": {"data": {"text/plain": said}}}}
    reply = dataclasses.replace(msg("execute_reply", content, channel="shell"), parent_header={"session": "us"})
    known.receive(reply)
    assert armed(known, "life") == [each]


def test_what_is_sent_runs_no_statement_and_leaves_no_history() -> None:
    for content in (arm(), disarm()):
        assert content["code"] == ""
        assert content["silent"] is True
        assert content["store_history"] is False
        for expression in content["user_expressions"].values():
            compile(expression, "", "eval")
