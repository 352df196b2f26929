"""One output of a kernel as HTML of ours, or as text."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.display.group_html import (
    as_text,
    display,
    html_of,
    is_html,
    joined,
    picture_of,
    text_of,
    texts_of,
)

PIXEL = "iVBORw0KGgo="
ERROR = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}


def stream(text: Any, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def test_each_kind_of_output_has_a_text() -> None:
    assert text_of(stream(["a\n", "b"])) == "a\nb"
    assert text_of(ERROR) == "E: v\n"
    assert text_of(display({"text/plain": "x"})) == "x\n"
    assert text_of(display({})) == "" == joined("")
    assert texts_of([stream("a"), display({"text/plain": "x"}), stream("b"), ERROR]) == "a\nx\nb\nE: v\n"


@pytest.mark.parametrize(
    ("data", "is_ours"),
    [
        ({}, True),
        ({"text/plain": "x"}, True),
        ({"image/png": PIXEL, "text/plain": "x"}, True),
        ({"image/png": PIXEL}, True),
        ({"image/png": "no <picture>"}, False),
        ({"text/html": "<p>", "text/plain": "x"}, False),
    ],
)
def test_only_text_and_pictures_are_html_of_ours(data: dict[str, Any], is_ours: bool) -> None:
    assert is_html(display(data)) is is_ours


def test_a_picture_has_a_text_in_its_place() -> None:
    assert picture_of(stream("x")) == ""
    assert f"base64,{PIXEL}" in picture_of(display({"image/png": [PIXEL[:4], "\n", PIXEL[4:]]}))
    assert as_text(display({"image/png": PIXEL}))["data"] == {"text/plain": "<image/png>"}
    assert as_text(display({"image/png": PIXEL, "text/plain": "<Figure>"}))["data"] == {"text/plain": "<Figure>"}
    assert "<img" in picture_of({**display({"image/png": PIXEL}), "metadata": None})


def test_many_outputs_take_no_time() -> None:
    whole = html_of("head", [display({"text/plain": str(n)}) for n in range(20_000)], "plain")
    assert whole["data"]["text/plain"].count("\n") == 20_000
