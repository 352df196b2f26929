from __future__ import annotations

import pytest

from kernel_bridge_magic.errors import BadCell
from kernel_bridge_magic.protocol.messages import (
    MalformedMessage,
    Message,
    check_code,
    evaluate_content,
    evaluated,
    execute_content,
    make_message,
)


def test_what_is_missing_or_null_becomes_empty() -> None:
    message = Message.parse("iopub", {"msg_type": "status"}, None, None, None)
    assert (message.parent_header, message.metadata, message.content, message.buffers) == ({}, {}, {}, ())
    assert (message.msg_id, message.parent_id, message.sender, message.execution_state) == ("", "", "", "")


@pytest.mark.parametrize(
    ("channel", "header"),
    [
        ("nowhere", {"msg_type": "x"}),
        (None, {"msg_type": "x"}),
        ("iopub", None),
        ("iopub", {}),
        ("shell", {"msg_type": 3}),
    ],
)
def test_what_cannot_be_a_message_is_refused(channel: object, header: object) -> None:
    with pytest.raises(MalformedMessage):
        Message.parse(channel, header)


def test_fields_of_a_wrong_type_read_as_nothing() -> None:
    message = Message.parse("iopub", {"msg_type": "status", "session": 7}, {"msg_id": []}, [], {"execution_state": 1})
    assert (message.sender, message.parent_id, message.execution_state) == ("", "", "")


def test_a_guest_never_aborts_the_owner_s_queue_nor_counts_in_it() -> None:
    content = execute_content("1")
    assert content["stop_on_error"] is False
    assert content["store_history"] is False
    assert content["silent"] is False


def test_a_message_of_ours_names_its_parent_and_client() -> None:
    message = make_message(
        "input_reply", {"value": "x"}, channel="stdin", msg_id="a", client_id="me", date="d", parent={"msg_id": "p"}
    )
    assert (message.parent_id, message.sender, message.msg_type) == ("p", "me", "input_reply")


@pytest.mark.parametrize("code", ["", "  \n\t\n", "\ufeff\n"])
def test_an_empty_cell_is_not_sent(code: str) -> None:
    with pytest.raises(BadCell, match="nothing to run"):
        check_code(code)


@pytest.mark.parametrize(
    ("code", "where"),
    [("a\0", "line 1, column 2"), ("x = 1\ny = '\ud800'", "line 2, column 6"), ("\n\n\0", "line 3, column 1")],
)
def test_what_no_kernel_can_be_sent_is_refused_with_its_place(code: str, where: str) -> None:
    with pytest.raises(BadCell, match=where):
        check_code(code)


@pytest.mark.parametrize("code", ["# only a comment", "\tx\f\n", "x = 1\r\ny", "%%time\n1", "'😀'"])
def test_every_other_cell_is_sent_as_it_is(code: str) -> None:
    assert check_code(code) == code
    assert check_code("\ufeff" + code) == code


def test_a_silent_request_of_our_own_shows_counts_and_asks_nothing() -> None:
    content = evaluate_content(value="6 * 7")
    assert (content["code"], content["user_expressions"]) == ("", {"value": "6 * 7"})
    assert content["silent"] and not content["store_history"]
    assert content["allow_stdin"] and not content["stop_on_error"]


def test_the_text_of_an_expression_or_nothing() -> None:
    assert evaluated({"user_expressions": {"value": {"status": "ok", "data": {"text/plain": "42"}}}}, "value") == "42"
    failed = {"user_expressions": {"value": {"status": "error", "ename": "NameError"}}}
    for content in (
        {},
        failed,
        {"user_expressions": None},
        {"user_expressions": {"value": {"data": {"text/plain": 7}}}},
    ):
        assert evaluated(content, "value") == ""
