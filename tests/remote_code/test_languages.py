"""Requests to kernels of other languages, and what is made of their answers."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.remote_code import languages as remote
from kernel_bridge_magic.remote_code import source
from kernel_bridge_magic.remote_code.r_nodes import r_node, r_value

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ({"language_info": {"name": "R"}}, "R"),
        ({"language_info": {"name": "r"}}, "R"),
        ({"language_info": {"name": "bash"}}, "bash"),
        ({"language_info": {"name": "python"}}, "python"),
        ({"language_info": {"name": "julia"}}, "julia"),
        ({"language_info": {"name": 7}}, ""),
        ({"language_info": "python"}, ""),
        ({}, ""),
    ],
)
def test_language_of(info: dict[str, Any], language: str) -> None:
    assert remote.language_of(info) == language


@given(TEXTS, TEXTS)
def test_the_code_for_bash_is_constant_but_for_base64(name: str, value: str) -> None:
    plain = remote.bash_request("g:YQ==:")["code"].replace("g:YQ==:", "")
    given_words = remote.bash_words([name], {name: value})
    code = remote.bash_request(given_words)["code"]
    assert re.fullmatch("[A-Za-z0-9+/=:]*", given_words)
    assert code.replace(f"'{given_words}'", "''", 1) == plain
    path = remote.bash_request(path=value or "x")["code"]
    assert re.sub("given='@[A-Za-z0-9+/=]*'", "given=''", path) == plain


@given(st.lists(TEXTS), TEXTS)
def test_the_code_for_r_is_constant(names: list[str], value: str) -> None:
    content = remote.r_request(names, [{"t": "character", "v": [value]}], 10)
    assert content["code"] == source("values", ".R") and content["silent"] and not content["store_history"]
    assert json.loads(content["user_expressions"]["kernel_bridge"])["names"] == names


@given(TEXTS)
def test_names_that_pass_are_names_only(name: str) -> None:
    for language in ("R", "bash"):
        try:
            remote.check_name(language, name)
        except BadVariable:
            continue
        assert re.fullmatch("[A-Za-z0-9_.]+", name)


@given(st.text("=-+! abcXYZ019/", max_size=60))
def test_an_answer_of_bash_is_read_as_it_was_written(answer: str) -> None:
    written = answer
    for escape, char in (("_p", "+"), ("_s", "/"), ("_e", "="), ("_b", " "), ("_m", "-"), ("_x", "!")):
        written = written.replace(char, escape)
    assert remote.bash_answer({"matches": ["$HOME", f"$__kernel_bridge_answer_{written}"]}) == answer


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"matches": None},
        {"matches": [7, None]},
        {"matches": ["$HOME"]},
        {"matches": ["$__kernel_bridge_answer_a"] * 2},
    ],
)
def test_what_is_no_answer_of_bash_is_none(content: dict[str, Any]) -> None:
    assert remote.bash_answer(content) is None


@pytest.mark.parametrize("answer", [None, "", "=", "= =", "x", "eA=="])
def test_other_words_than_asked_for_are_refused(answer: str | None) -> None:
    with pytest.raises(NotCopied):
        remote.bash_words_of(answer, 3)


@pytest.mark.parametrize("word", ["=x", "=é", "=%%%%", "=" + base64.b64encode(b"\xff").decode()])
def test_a_word_that_is_no_text_is_refused(word: str) -> None:
    with pytest.raises(NotCopied):
        remote.bash_value(word)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"payload": 1},
        {"payload": [1, {}, {"source": "page"}]},
        {"payload": [{"source": "kernel_bridge"}]},
        {"payload": [{"source": "kernel_bridge", "data": 1}]},
        {"payload": [{"source": "kernel_bridge", "data": {"text/plain": 1}}]},
        {"payload": [{"source": "kernel_bridge", "data": {"text/plain": "[1]"}}]},
        {"payload": [{"source": "kernel_bridge", "data": {"text/plain": "[" * 100_000}}]},
    ],
)
def test_what_is_no_answer_of_r_is_none(content: dict[str, Any]) -> None:
    assert remote.r_answer(content) is None


def node(kind: str, *items: object, **more: object) -> dict[str, Any]:
    return {"t": kind, "v": list(items), "n": [], "named": False, **more}


NESTED: dict[str, Any] = node("null")
for _ in range(300):
    NESTED = node("list", NESTED)
FRAME: dict[str, Any] = {"t": "frame", "n": ["a"], "rows": [], "count": 1, "v": [node("integer", "1")]}


@pytest.mark.parametrize(
    "what",
    [
        None,
        7,
        [],
        {},
        {"t": []},
        {"t": "integer"},
        node("unknown", "1"),
        node("integer", 1),
        node("integer", "1; x"),
        node("integer", "9" * 5000),
        node("double", "__import__('os')"),
        node("logical", "maybe"),
        node("raw", "fff"),
        node("raw", None),
        node("Date", "2024-99-01"),
        node("POSIXct", "0x1p+200", zone="UTC"),
        node("POSIXct", "0x1p+1", zone="../../etc/passwd"),
        node("POSIXct", "0x1p+1"),
        node("integer", "1", named=True),
        node("integer", "1", named=True, n=[3]),
        node("list", 7),
        NESTED,
        {**FRAME, "n": []},
        {**FRAME, "count": 10**12},
        {**FRAME, "count": "1"},
        {**FRAME, "rows": ["a", "b"]},
        {**FRAME, "v": [node("integer", "9" * 30)]},
        {**FRAME, "v": [node("factor", "a", levels=["b", "b"], ordered=False)]},
        {**FRAME, "v": [node("POSIXct", "0x1p+1", zone="Nowhere/None")]},
        {**FRAME, "v": 7},
    ],
    ids=lambda what: str(what)[:40],
)
def test_what_r_never_writes_is_refused(what: Any) -> None:
    with pytest.raises(NotCopied):
        r_value(what)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["t", "v", "n", "named", "rows", "count"]), inner),
)


@given(st.sampled_from(["list", "frame", "integer", "double", "factor", "POSIXct", "raw"]), JSON, JSON, JSON)
def test_any_answer_is_a_value_or_not_copied(kind: str, items: Any, names: Any, rows: Any) -> None:
    made = {
        "t": kind,
        "v": items,
        "n": names,
        "named": bool(names),
        "rows": rows,
        "count": 1,
        "levels": names,
        "zone": rows,
    }
    try:
        r_value(made)
    except NotCopied as problem:
        assert problem.problem.startswith("what R has sent")


def test_cycles_end() -> None:
    ring: list[Any] = [1, "a"]
    ring.append(ring)
    with pytest.raises(ValueError, match="contains itself"):
        r_node(ring)
