from __future__ import annotations

from html.parser import HTMLParser

import pytest

from kernel_bridge_magic.display.neutral import bundle, metadata


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


def test_a_line_that_is_taken_away_is_an_empty_bundle() -> None:
    assert bundle("") == {}


def test_what_marks_it_as_ours_says_its_kind() -> None:
    assert metadata("queued") == {"kernel_bridge": {"line": "queued"}}
