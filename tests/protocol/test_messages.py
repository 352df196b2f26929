from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.errors import BadCell
from kernel_bridge_magic.protocol.messages import (
    MalformedMessage,
    Message,
    check_code,
    describe_kernel,
    describe_language,
    evaluate_content,
    evaluated,
    execute_content,
    has_subshells,
    make_message,
    read_json,
)
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import save


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


# -- the gate: JSON


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (r'"\ud800"', "\ufffd"),
        (r'"a\uDC80b"', "a\ufffdb"),
        (r'{"\ud83d": ["\ude00", {"k\udfff": 1}]}', {"\ufffd": ["\ufffd", {"k\ufffd": 1}]}),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\\ud800 \u00e9"', "\\ud800 é"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\x80"', "\ufffd"),
        ("[NaN, Infinity, -Infinity, 1e999, -1e999, 1.5]", [None, None, None, None, None, 1.5]),
        ("9" * 400 + ".5", None),
        (f'{{"n": {"9" * 5000}, "x": 1, "y": -1e400}}', {"n": None, "x": 1, "y": None}),
    ],
)
def test_what_nobody_could_be_handed_on_is_replaced(raw: str | bytes, read: Any) -> None:
    assert read_json(raw) == read


@pytest.mark.parametrize("raw", ["", "{", "{} {}", "\ufeff{}", b"\xff\xfe{\0}\0", "nan", "'x'", "[1,]"])
def test_what_is_no_json_is_none_after_the_gate_either(raw: str | bytes) -> None:
    with pytest.raises(ValueError):
        read_json(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=4), inner),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_what_is_read_can_be_written_for_every_reader(value: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only)
    whole = read_json(raw if ascii_only else raw.encode("utf-8", "surrogatepass"))
    again = json.dumps(whole, ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(again) == whole
    if ascii_only and raw == json.dumps(value, ensure_ascii=False) and "NaN" not in raw and "Infinity" not in raw:
        assert whole == value and not any(isinstance(it, float) and math.isnan(it) for it in [whole])


def test_a_large_output_is_not_looked_at_letter_by_letter() -> None:
    plain, pairs = json.dumps({"text": "x" * 50_000_000}), json.dumps({"text": "é😀x" * 1_000_000})
    for raw in (plain, pairs):
        began = time.monotonic()
        json.loads(raw)
        usual = time.monotonic() - began
        began = time.monotonic()
        read_json(raw)
        assert time.monotonic() - began < 5 * usual + 0.5


# -- the gate: what is shown

ODD: list[Any] = [None, True, 5, -1, 1.5, "x", "", [], ["a\n", "b"], ["a", 5], [[]], {}, {"x": None}, {"image/png": 5}]
KINDS = ["stream", "display_data", "update_display_data", "execute_result", "error", "execute_reply"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5, "5"),
        (True, "true"),
        (["a\n", "b"], "a\nb"),
        ({"k": "é"}, '{"k": "é"}'),
        ([1, "x"], '[1, "x"]'),
        ("x", "x"),
    ],
)
def test_a_type_of_text_holds_text_and_loses_nothing(value: Any, shown: str) -> None:
    content = {"data": {"text/plain": value, "image/png": value, "application/json": value, "x": None}}
    message = Message.parse("iopub", {"msg_type": "display_data"}, content=content)
    assert message.content["data"] == {"text/plain": shown, "image/png": shown, "application/json": value}
    page = {"payload": [{"source": "page", "data": {"text/plain": value}}, 5, None]}
    payload = Message.parse("shell", {"msg_type": "execute_reply"}, content=page).content["payload"]
    assert payload == [{"source": "page", "data": {"text/plain": shown}}, 5, None]
    stream = Message.parse("iopub", {"msg_type": "stream"}, content={"name": "stdout", "text": value})
    assert stream.content["text"] == shown


@pytest.mark.parametrize(
    ("lines", "read"), [("a\nb", ["a", "b"]), (None, []), (["a", None, 5], ["a"]), ({}, []), (7, ["7"]), ("", [])]
)
def test_a_traceback_is_lines_whatever_was_sent(lines: Any, read: list[str]) -> None:
    for channel, kind in (("iopub", "error"), ("shell", "execute_reply")):
        content = {"status": "error", "ename": None, "evalue": 5, "traceback": lines}
        parsed = Message.parse(channel, {"msg_type": kind}, content=content).content
        assert (parsed["ename"], parsed["evalue"], parsed["traceback"]) == ("", "5", read)


@pytest.mark.parametrize("count", ["3", -1, True, 1.5, None, [], {}])
def test_a_count_that_cannot_be_is_none(count: Any) -> None:
    for kind in ("execute_result", "execute_input"):
        content = Message.parse("iopub", {"msg_type": kind}, content={"execution_count": count}).content
        assert content["execution_count"] is None
    assert Message.parse("iopub", {"msg_type": kind}, content={"execution_count": 0}).content["execution_count"] == 0


mimes = st.sampled_from(["text/plain", "image/png", "application/json", "application/x+json", "application/json\n", ""])
odd = st.sampled_from(ODD)
bundles = st.dictionaries(mimes, odd)
pages = st.lists(st.fixed_dictionaries({"source": st.just("page"), "data": bundles}))
others = ("metadata", "transient", "name", "text", "ename", "evalue", "traceback", "execution_count")
contents = st.fixed_dictionaries(
    {},
    optional={
        "data": odd | bundles,
        "payload": odd | pages,
        "status": st.sampled_from(["ok", "error"]),
        **dict.fromkeys(others, odd),
    },
)


@given(st.lists(st.tuples(st.sampled_from(KINDS), contents), max_size=5))
def test_whatever_a_kernel_sends_is_valid_nbformat(sent: list[tuple[str, dict[str, Any]]]) -> None:
    request, outputs = Request("cell"), Outputs()
    for kind, content in sent:
        channel = "shell" if kind == "execute_reply" else "iopub"
        message = Message.parse(channel, {"msg_type": kind}, {"msg_id": "cell"}, content=content)
        for event in request.receive(message):
            outputs.add(event)
    save(outputs.items)


def test_a_message_for_a_subshell_says_so_in_its_header() -> None:
    for subshell, said in (("", None), ("s1", "s1")):
        made = make_message("x", {}, channel="shell", msg_id="id", client_id="us", date="now", subshell=subshell)
        assert made.header.get("subshell_id") == said


SUBSHELLS = "kernel subshells"


@pytest.mark.parametrize(
    ("info", "has"),
    [
        ({"implementation": "ipython", "supported_features": [SUBSHELLS]}, True),
        ({"implementation": "bash", "supported_features": [SUBSHELLS]}, False),
        ({"implementation": "ipython", "supported_features": SUBSHELLS}, False),
        ({"implementation": "ipython", "supported_features": ["debugger"]}, False),
        ({}, False),
    ],
)
def test_only_ipykernel_s_word_for_subshells_is_taken(info: dict[str, Any], has: bool) -> None:
    assert has_subshells(info) == has


@pytest.mark.parametrize(
    ("info", "program", "language"),
    [
        (
            {
                "implementation": "bash_kernel",
                "implementation_version": "0.10.0",
                "language_info": {"name": "bash", "version": "5"},
            },
            "bash_kernel 0.10.0",
            "bash 5",
        ),
        ({"implementation": "x", "language_info": {"name": "y", "version": 3}}, "x", "y"),
        ({"implementation": 5, "language_info": "python"}, "", ""),
        ({}, "", ""),
    ],
)
def test_what_a_kernel_says_it_is(info: dict[str, Any], program: str, language: str) -> None:
    assert (describe_kernel(info), describe_language(info)) == (program, language)


def test_a_name_that_fills_pages_is_cut() -> None:
    assert len(describe_kernel({"implementation": "x" * 10_000})) < 1000
    assert len(describe_language({"language_info": {"name": "x" * 10_000}})) < 1000
