from __future__ import annotations

import pytest

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.semicolons import Semicolons, arm, disarm, may_end_quietly
from tests.support.wire import OURS, msg

INFO = msg("kernel_info_reply", {"implementation": "ipython"}, channel="shell")


def history(*lines: str) -> Message:
    message = msg("history_reply", {"history": [[0, 1, line] for line in lines]}, channel="shell")
    message.parent_header["session"] = OURS
    return message


def theirs(code: str) -> Message:
    message = msg("execute_input", {"code": code})
    message.parent_header["session"] = "somebody"
    return message


def state(*messages: Message) -> Semicolons:
    known = Semicolons(OURS)
    for message in messages:
        known.receive(message)
    return known


def test_only_ipython_has_this_rule() -> None:
    assert not state().matter("x;")
    assert not state(msg("kernel_info_reply", {"implementation": "bash"}, channel="shell")).matter("x;")
    assert state(INFO).matter("x")


@pytest.mark.parametrize(("lines", "last"), [((), False), (("x = 1",), False), (("plot();",), True)])
def test_the_history_s_last_input_decides(lines: tuple[str, ...], last: bool) -> None:
    known = state(INFO, history(*lines))
    assert known.last is last
    assert known.matter("1") is last
    assert known.matter("1;")


@pytest.mark.parametrize(
    ("before", "code", "last"),
    [("x", "y", False), ("x", "y;", None), ("x;", "y", None), ("x;", "y;", None)],
)
def test_what_others_run_meanwhile_makes_it_unknown_unless_it_cannot_matter(
    before: str, code: str, last: bool | None
) -> None:
    assert state(INFO, history(before), theirs(code)).last is last


def test_our_own_cells_are_not_in_the_history() -> None:
    ours = msg("execute_input", {"code": "x;"})
    ours.parent_header["session"] = OURS
    assert state(INFO, history("x"), ours).last is False


@pytest.mark.parametrize("content", [{"history": None}, {"history": [["odd"]]}, {"history": [[0, 1, None]]}, {}])
def test_odd_answers_raise_nothing(content: dict[str, object]) -> None:
    message = msg("history_reply", content, channel="shell")
    message.parent_header["session"] = OURS
    assert state(INFO, message).last in (None, False)


@pytest.mark.parametrize(
    ("code", "may"),
    [("x", False), ("x;", True), ("x;\n\n# done\n", True), ("x; # done", True), ("x;\ny", False), ("", False)],
)
def test_the_end_of_code_is_read_on_the_careful_side(code: str, may: bool) -> None:
    assert may_end_quietly(code) is may


def test_what_is_sent_around_a_cell_runs_no_statement_and_leaves_no_history() -> None:
    for content in (arm(), disarm()):
        assert content["code"] == ""
        assert content["silent"] is True
        assert content["store_history"] is False
        for expression in content["user_expressions"].values():
            compile(expression, "", "eval")
