"""Widgets as text that changes."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.display.widget_text import TextWidgets
from kernel_bridge_magic.protocol.comms import ForwardedComm
from kernel_bridge_magic.protocol.events import ClearOutput, DisplayData, Error, Note, Stream


class Page:
    """Widgets, and what was drawn of them, last text last."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, str]] = []
        self.widgets = TextWidgets(lambda key, text: self.drawn.append((key, text)))

    def open(self, comm_id: str, model: str, **state: Any) -> None:
        self._say("comm_open", comm_id, _model_name=model, **state)

    def update(self, comm_id: str, **state: Any) -> None:
        self._say("comm_msg", comm_id, **state)

    def close(self, comm_id: str) -> None:
        self._say("comm_close", comm_id)

    def _say(self, kind: str, comm_id: str, **state: Any) -> None:
        content = {"comm_id": comm_id, "data": {"state": state}}
        self.widgets.publish(
            ForwardedComm(kind, comm_id, content, {}, (), None, kind == "comm_msg" and "msg_id" in state)
        )


@pytest.fixture
def page() -> Page:
    return Page()


def tqdm(page: Page) -> None:
    """The models that `tqdm.notebook` makes."""
    page.open("left", "HTMLModel", value="  0%")
    page.open("bar", "FloatProgressModel", value=0, max=4)
    page.open("right", "HTMLModel", value=" 0/4\u2007[00:00&lt;?]")
    page.open("box", "HBoxModel", children=["IPY_MODEL_left", "IPY_MODEL_bar", "IPY_MODEL_right"])


def test_a_bar_of_tqdm_is_drawn_each_time_it_moves(page: Page) -> None:
    tqdm(page)
    assert page.drawn == []
    assert page.widgets.show("box")
    page.update("bar", value=2)
    page.update("left", value=" 50%")
    page.update("bar", style="wide")
    assert [text for _, text in page.drawn] == [
        "  0%|          | 0/4 [00:00<?]",
        "  0%|█████     | 0/4 [00:00<?]",
        " 50%|█████     | 0/4 [00:00<?]",
    ]


def test_what_has_no_text_is_left_to_the_kernels_own_text(page: Page) -> None:
    page.open("slider", "IntSliderModel", value=1)
    page.open("word", "LabelModel", value="x")
    page.open("box", "VBoxModel", children=["IPY_MODEL_slider", "IPY_MODEL_word"])
    for model in ("slider", "box", "unknown"):
        assert not page.widgets.show(model)
    page.open("words", "VBoxModel", children=["IPY_MODEL_word", "IPY_MODEL_word"])
    assert page.widgets.show("words") and page.drawn == [("words", "x\nx")]


@pytest.mark.parametrize(("state", "text"), [
    ({"value": 5, "min": 0, "max": 10}, "|█████     |"), ({"value": 99, "max": 10}, "|██████████|"),
    ({"value": None}, None), ({"value": 1, "min": 1, "max": 1}, None), ({"value": "x"}, None),
])  # fmt: skip
def test_bars_of_all_kinds(page: Page, state: dict[str, Any], text: str | None) -> None:
    page.open("bar", "IntProgressModel", **state)
    assert page.widgets.show("bar") == (text is not None)
    assert [drawn for _, drawn in page.drawn] == ([] if text is None else [text])


def test_a_box_that_holds_itself_ends(page: Page) -> None:
    page.open("box", "HBoxModel", children=["IPY_MODEL_box"])
    assert not page.widgets.show("box")


def test_an_output_widget_takes_what_comes_while_it_is_open(page: Page) -> None:
    page.open("out", "OutputModel", msg_id="")
    assert page.widgets.show("out") and page.drawn == []  # nothing in it yet, nothing to see
    assert not page.widgets.take(Stream("stdout", "outside"), "cell")
    page.update("out", msg_id="cell")
    assert page.widgets.take(Stream("stdout", "a\n"), "cell")
    assert page.widgets.take(DisplayData({"text/plain": "b"}, {}), "cell")
    assert not page.widgets.take(Note("ours"), "cell")
    page.update("out", msg_id="")
    assert not page.widgets.take(Stream("stdout", "outside"), "cell")
    assert page.drawn[-1] == ("out", "a\nb\n")


def test_an_output_widget_takes_what_its_own_cell_shows(page: Page) -> None:
    for cell in ("first", "second"):
        page.open(f"of {cell}", "OutputModel", msg_id="")
        page.widgets.show(f"of {cell}")
        page.update(f"of {cell}", msg_id=cell)
    assert page.widgets.take(Stream("stdout", "1"), "first")
    assert page.widgets.take(Stream("stdout", "2"), "second")
    page.update("of second", msg_id="")
    assert not page.widgets.take(Stream("stdout", "outside"), "second")
    assert page.widgets.take(Stream("stdout", "1"), "first")
    assert page.drawn == [("of first", "1"), ("of second", "2"), ("of first", "11")]


def test_an_output_widget_within_another_one_gives_back_to_that(page: Page) -> None:
    for name in ("out", "inner"):
        page.open(name, "OutputModel", msg_id="")
        page.widgets.show(name)
        page.update(name, msg_id="cell")
    assert page.widgets.take(Stream("stdout", "within\n"), "cell")
    page.update("inner", msg_id="")
    assert page.widgets.take(Stream("stdout", "after\n"), "cell")
    assert page.drawn == [("inner", "within\n"), ("out", "after\n")]
    page.close("out")
    assert not page.widgets.take(Stream("stdout", "outside"), "cell")


def test_an_output_widget_takes_errors_and_no_updates_of_displays(page: Page) -> None:
    page.open("out", "OutputModel", msg_id="")
    page.widgets.show("out")
    page.update("out", msg_id="cell")
    assert page.widgets.take(Error("E", "v", ("one", "two")), "cell")
    assert page.widgets.take(Error("", "127"), "cell")
    assert page.drawn[-1] == ("out", "one\ntwo\n: 127\n")
    assert not page.widgets.take(DisplayData({}, {}, "d", update=True), "cell")


def test_clearing_an_output_widget_clears_that(page: Page) -> None:
    page.open("out", "OutputModel", msg_id="")
    page.widgets.show("out")
    page.update("out", msg_id="cell")
    page.widgets.take(Stream("stdout", "a\n"), "cell")
    page.widgets.take(ClearOutput(wait=True), "cell")
    assert page.drawn[-1] == ("out", "a\n")
    page.widgets.take(Stream("stdout", "b\n"), "cell")
    assert page.drawn[-1] == ("out", "b\n")
    page.widgets.take(ClearOutput(), "cell")
    assert page.drawn[-1] == ("out", "")


def test_a_closed_widget_is_not_drawn_any_more(page: Page) -> None:
    tqdm(page)
    page.widgets.show("box")
    page.widgets.close("box")
    page.update("bar", value=4)
    assert len(page.drawn) == 1
