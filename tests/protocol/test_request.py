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
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.request import Request
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


def test_a_page_is_shown_and_all_other_payloads_are_not() -> None:
    payload = [
        {"source": "set_next_input", "text": "rm -rf /"},
        {"source": "ask_exit", "keepkernel": False},
        {"source": "page", "data": {"text/plain": "help"}},
        {"source": "page", "data": None},
        "nonsense",
    ]
    assert Request(CELL).receive(reply(payload=payload)) == (Page({"text/plain": "help"}),)
    assert Request(CELL).receive(reply(payload="nonsense")) == ()


def test_an_error_that_only_the_reply_tells_of_is_found() -> None:
    request = Request(CELL)
    request.receive(reply("error", ename="UsageError", evalue="bad", traceback=[]))
    assert request.missing_error() == Error("UsageError", "bad")
    assert request.missing_error() is None


def test_an_error_that_was_shown_is_not_shown_again() -> None:
    request = Request(CELL)
    request.receive(error())
    request.receive(reply("error", ename="ValueError", evalue="no"))
    assert request.missing_error() is None


def test_bash_s_abort_is_the_specification_s_aborted() -> None:
    request = Request(CELL)
    assert request.status == ""
    request.receive(reply("abort"))
    assert request.status == "aborted"
