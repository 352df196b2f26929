from __future__ import annotations

from itertools import permutations

import pytest

from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    CommMessage,
    DisplayData,
    Error,
    ExecuteResult,
    InputRequest,
    Page,
    Payload,
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request, display_of
from tests.support.wire import CELL, error, msg, reply, status, stream


def test_done_is_reply_and_idle_in_either_order() -> None:
    for order in permutations([reply(), status("idle")]):
        request = Request(CELL)
        request.receive(order[0])
        assert not request.done
        request.receive(order[1])
        assert request.done


def test_what_belongs_to_others_is_not_ours() -> None:
    request = Request(CELL)
    for message in (stream("x", parent="other"), status("idle", parent=""), reply()):
        if message.parent_id != CELL:
            assert request.receive(message) == ()
    assert not request.idle


@pytest.mark.parametrize("first", [status("busy"), msg("execute_input", {"code": "1"})])
def test_it_has_started_once_busy_or_its_input_is_seen(first: object) -> None:
    request = Request(CELL)
    assert request.receive(first) == (Started(),)  # type: ignore[arg-type]
    assert request.receive(status("busy")) == ()


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (stream("a"), Stream("stdout", "a")),
        (stream("a", "stderr"), Stream("stderr", "a")),
        (stream("a", "weird"), Stream("stdout", "a")),
        (msg("stream", {"text": None}), Stream("stdout", "")),
        (msg("display_data", {"data": {"text/plain": "1"}, "metadata": None}), DisplayData({"text/plain": "1"}, {})),
        (
            msg("display_data", {"data": {}, "metadata": {}, "transient": {"display_id": "d"}}),
            DisplayData({}, {}, "d"),
        ),
        (
            msg("update_display_data", {"data": {"a/b": 1}, "transient": {"display_id": "d"}}),
            DisplayData({"a/b": "1"}, {}, "d", True),
        ),
        (msg("clear_output", {"wait": True}), ClearOutput(True)),
        (msg("clear_output", None), ClearOutput(False)),
        (
            msg("execute_result", {"data": {"text/plain": "2"}, "execution_count": 7}),
            ExecuteResult({"text/plain": "2"}, {}, 7),
        ),
        (msg("execute_result", {"data": None, "execution_count": "x"}), ExecuteResult({}, {}, None)),
        (error("E", "v"), Error("E", "v", ("E: v",))),
        (msg("error", {"ename": None, "traceback": [1, "a"]}), Error("", "", ("a",))),
        (msg("input_request", {"prompt": "p", "password": True}, channel="stdin"), InputRequest("p", True)),
    ],
)
def test_each_message_means_one_event(message: object, event: object) -> None:
    assert Request(CELL).receive(message) == (event,)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["iopub_welcome", "debug_event", "anything_new"])
def test_unknown_types_are_no_errors(kind: str) -> None:
    assert Request(CELL).receive(msg(kind, {"x": 1})) == ()


@pytest.mark.parametrize("kind", ["comm_open", "comm_msg", "comm_close"])
def test_widgets_messages_come_whole(kind: str) -> None:
    message = msg(kind, {"comm_id": "c"})
    assert Request(CELL).receive(message) == (CommMessage(message),)


def test_a_page_is_shown_and_all_other_payloads_are_only_told_of() -> None:
    asked: list[dict[str, object]] = [
        {"source": "set_next_input", "text": "rm -rf /", "replace": True},
        {"source": "edit_magic", "filename": "/etc/passwd", "line_number": None},
        {"source": "ask_exit", "keepkernel": True},
        {"source": "anything_new"},
    ]
    payload = [
        *asked,
        {"source": "ask_exit", "keepkernel": False},  # the kernel's end is told by itself
        {"source": "page", "data": {"text/plain": "help"}},
        {"source": "page", "data": None},
        {"source": 5},
        "nonsense",
    ]
    expected = (*(Payload(str(item["source"]), item) for item in asked), Page({"text/plain": "help"}))
    assert Request(CELL).receive(reply(payload=payload)) == expected
    assert Request(CELL).receive(reply(payload="nonsense")) == ()


@pytest.mark.parametrize(
    ("payload", "exits"),
    [
        ([{"source": "page", "data": {}}, {"source": "ask_exit", "keepkernel": False}], True),
        ([{"source": "ask_exit"}], True),
        ([{"source": "ask_exit", "keepkernel": True}], False),
        ([{"source": "page", "data": {}}, "nonsense"], False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_a_reply_says_whether_its_kernel_exits(payload: object, exits: bool) -> None:
    request = Request(CELL)
    assert not request.exits
    request.receive(reply(payload=payload))
    assert request.exits == exits


def test_an_error_that_only_the_reply_tells_of_is_found() -> None:
    request = Request(CELL)
    request.receive(reply("error", ename="UsageError", evalue="bad", traceback=[]))
    assert request.conclude_error() == Error("UsageError", "bad")
    assert request.error == Error("UsageError", "bad")


def test_an_error_that_was_shown_is_not_shown_again() -> None:
    request = Request(CELL)
    request.receive(error())
    request.receive(reply("error", ename="ValueError", evalue="no"))
    assert request.conclude_error() is None


def concluded(*errors: Error, told: Error) -> tuple[Error | None, Error | None]:
    """What the cell ended with, and what of it was not shown, where these errors and that reply came."""
    request = Request(CELL)
    for it in errors:
        request.receive(msg("error", {"ename": it.ename, "evalue": it.evalue, "traceback": list(it.traceback)}))
    request.receive(reply("error", ename=told.ename, evalue=told.evalue, traceback=list(told.traceback)))
    new = request.conclude_error()
    return request.error, new


A, B = Error("KeyError", "'a'", ("a",)), Error("ValueError", "b", ("b",))


@pytest.mark.parametrize(
    ("errors", "told", "ended"),
    [
        ((A, B), B, B),
        ((B, A), B, B),  # a hook has failed behind it
        ((A, B), Error("KeyError", "'a'", ("b",)), A),  # ipykernel's reply has the newest traceback
        ((A, B), Error("", "", ()), B),
        ((Error("E", "1"), Error("E", "2")), Error("E", "1"), Error("E", "1")),
        ((Error("E", "at 0x1"),), Error("E", "at 0x2"), Error("E", "at 0x1")),  # it says something else each time
        ((Error("", "127"),), Error("", "127"), Error("", "127")),  # bash
        ((A,), Error("NoneType", "None", ("a",)), A),  # ipykernel 7, of one that came while a result was formatted
    ],
)
def test_what_the_cell_ended_with_is_the_error_of_which_the_reply_tells(
    errors: tuple[Error, ...], told: Error, ended: Error
) -> None:
    assert concluded(*errors, told=told) == (ended, None)


@pytest.mark.parametrize("shown", [(), (A,), (A, B)])
def test_an_error_that_no_message_told_of_is_found_behind_others(shown: tuple[Error, ...]) -> None:
    usage = Error("UsageError", "bad")
    assert concluded(*shown, told=usage) == (usage, usage)


def test_where_ipykernel_s_reply_has_another_one_s_traceback_the_text_has_told_of_it() -> None:
    usage = Error("UsageError", "bad", ("a",))
    assert concluded(A, told=usage) == (usage, None)


def test_bash_s_abort_is_the_specification_s_aborted() -> None:
    request = Request(CELL)
    assert request.status == ""
    request.receive(reply("abort"))
    assert request.status == "aborted"


def test_a_message_of_another_channel_means_nothing() -> None:
    request = Request(CELL)
    assert request.receive(msg("interrupt_reply", {"status": "ok"}, channel="control")) == ()
    assert request.receive(msg("comm_open", {}, channel="stdin")) == ()
    assert request.receive(status("starting")) == () and not (request.started or request.idle)


@pytest.mark.parametrize(
    ("message", "display"),
    [
        (msg("display_data", {"data": {}, "transient": {"display_id": "d"}}), "d"),
        (msg("update_display_data", {"data": {}, "transient": {"display_id": "d"}}, parent="other"), "d"),
        (msg("execute_result", {"data": {}, "transient": {"display_id": "d"}}, channel="shell"), ""),
        (msg("display_data", {"data": {}, "transient": "d"}), ""),
        (stream("x"), ""),
    ],
)
def test_which_display_a_message_shows(message: Message, display: str) -> None:
    assert display_of(message) == display
