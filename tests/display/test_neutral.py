from __future__ import annotations

from html.parser import HTMLParser

import pytest

from kernel_bridge_magic.display.neutral import KERNEL, PLACE, bundle, metadata, waiting
from kernel_bridge_magic.protocol.events import Queued


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", ["plain", "<script>alert(1)</script>", "'a' & \"b\" → <b>c</b>", "&lt; é 漢\n\ttwo"])
def test_a_line_is_one_element_whose_text_is_what_was_given(text: str) -> None:
    line = bundle(text)
    seen = Seen()
    seen.feed(line["text/html"])
    assert (line["text/plain"], seen.text, seen.tags) == (text, text, ["div"])


def test_its_colour_is_the_theme_s_where_there_is_one() -> None:
    style = bundle("x")["text/html"]
    assert "color: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #767676))" in style


def test_the_mark_of_a_place_stands_at_the_right_and_no_other_line() -> None:
    seen = Seen()
    seen.feed((mark := bundle("→ <b>x", PLACE))["text/html"])
    assert (mark["text/plain"], seen.text, seen.tags) == ("→ <b>x", "→ <b>x", ["div"])
    assert "float: right" in mark["text/html"] and "float" not in bundle("x", KERNEL)["text/html"]


def test_a_line_that_is_taken_away_is_an_empty_bundle() -> None:
    assert bundle("") == {}


def test_what_marks_it_as_ours_says_its_kind() -> None:
    assert metadata("queued") == {"kernel_bridge": {"line": "queued"}}


# -- a cell that waits: whole texts, since they are the matter


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Queued(), "does not answer; it may be busy"),
        (Queued(starting=True), "does not answer; it may still be starting"),
        (
            Queued("22:18:48", ours=True),
            "is running an earlier cell of yours (since 22:18:48). Stop to leave this one in the queue; nothing will "
            "be interrupted",
        ),
        (
            Queued("22:18:48"),
            "is running another client's cell (since 22:18:48). Stop to leave this one in the queue; nothing will be "
            "interrupted",
        ),
        (
            Queued("22:18:48", ours=True, sure=False),
            "is probably still running an earlier cell of yours (since 22:18:48). Stop to leave this one in the queue; "
            "nothing will be interrupted",
        ),
        (
            Queued(ours=True),
            "is running an earlier cell of yours. Stop to leave this one in the queue; nothing will be interrupted",
        ),
    ],
)
def test_no_more_is_said_than_is_known(event: Queued, line: str) -> None:
    assert waiting(event, "work/a.ipynb", "Stop") == f"waiting: work/a.ipynb {line}"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Queued(), "is busy, as its server says. Stop to leave this one in the queue; nothing will be interrupted"),
        (Queued(starting=True), "does not answer; it may still be starting"),
        (
            Queued("22:18:48"),
            "is running another client's cell (since 22:18:48). Stop to leave this one in the queue; nothing will be "
            "interrupted",
        ),
    ],
)
def test_its_server_s_word_counts_where_nothing_else_is_known(event: Queued, line: str) -> None:
    assert waiting(event, "a.ipynb", "Stop", busy=True) == f"waiting: a.ipynb {line}"


def test_it_names_the_key_that_interrupts_here() -> None:
    assert "(since 10:00:00). Ctrl-C to leave" in waiting(Queued("10:00:00"), "a", "Ctrl-C")


def test_a_server_that_lets_nobody_in_is_told_of() -> None:
    assert waiting(Queued(connecting=True), "a.ipynb", "Stop") == (
        "waiting: the server of a.ipynb lets nobody in until the kernel answers, which may be busy or starting (a "
        "minute at most). Stop to give up; nothing was sent yet"
    )
