from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.display.foreign import tame

CANARY = "alert('canary')"
STATIC = ["text/plain", "text/latex", "application/json", "image/png", "image/jpeg", "image/gif", "image/webp"]
FRAMED = ["text/html", "image/svg+xml"]
DROPPED = [
    "application/javascript",
    "text/javascript",
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.plotly.v1+json",
    "application/vnd.vegalite.v5+json",
    "application/vnd.bokehjs_exec.v0+json",
    "application/pdf",
    "application/geo+json",
    "text/vnd.mermaid",
    "image/bmp",
    "audio/mpeg",
    "TEXT/HTML",
    " text/html",
    "text/html; charset=utf-8",
    "",
]
PAYLOADS = [
    f"<script>{CANARY}</script>",
    f"<img src=x onerror={CANARY}>",
    f'"><script>{CANARY}</script>',
    f"'><script>{CANARY}</script>",
    f"</iframe><script>{CANARY}</script>",
    f'" onload="{CANARY}',
    f'" srcdoc="<script>{CANARY}</script>',
    '" sandbox="allow-scripts allow-same-origin allow-top-navigation',
    f"&quot;><script>{CANARY}</script>",
    f"<svg onload={CANARY}>",
    '<a href="javascript:x" target=_top>',
    "<meta http-equiv=refresh content=0;url=//evil>",
    "<button data-commandlinker-command=x>",
    "--><script>",
    "\0<script>",
]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute twice: the first one counts"
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def framed(html: str) -> str:
    """The page in the sandbox; fails if the HTML is anything but one sandboxed frame."""
    tags = Tags(html)
    ((tag, attributes),) = tags.found
    assert tag == "iframe"
    assert tags.text == ""
    assert attributes["sandbox"] == "allow-scripts", "its own origin, no forms, no top navigation"
    assert set(attributes) == {"sandbox", "srcdoc", "style"}
    page = attributes["srcdoc"]
    assert page is not None
    return page


@pytest.mark.parametrize("mime", STATIC)
def test_what_only_shows_is_shown_as_it_is(mime: str) -> None:
    data = {"text/plain": "text", mime: "x"}
    assert tame(data) == data


def test_nothing_stays_nothing() -> None:
    assert tame({}) == {}


@pytest.mark.parametrize("mime", FRAMED)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_acts_goes_into_a_sandbox_and_the_text_stays(mime: str, payload: str) -> None:
    tamed = tame({"text/plain": "text", mime: payload})
    assert set(tamed) == {"text/plain", "text/html"}
    assert tamed["text/plain"] == "text"
    assert framed(tamed["text/html"]).replace("\ufffd", "\0") == unescaped_once(payload)


def unescaped_once(payload: str) -> str:
    # What the frame gets is the payload itself: its own entities are its own affair.
    return payload


@given(payload=st.text() | st.text(alphabet="<>\"'&;=/ \n\0scriptfame"))
def test_no_text_leaves_its_sandbox(payload: str) -> None:
    html = tame({"text/html": payload})["text/html"]
    found = re.fullmatch(r'<iframe sandbox="allow-scripts" srcdoc="([^"<>]*)" style="[^"<>]*"></iframe>', html)
    assert found is not None
    assert unescape(found[1]) == unescape(found[1].replace("&amp;", "&amp;"))
    framed(html)


@pytest.mark.parametrize("mime", DROPPED)
def test_what_cannot_be_framed_is_dropped_and_the_text_stays(mime: str) -> None:
    assert tame({"text/plain": "text", mime: CANARY}) == {"text/plain": "text"}


@pytest.mark.parametrize("mime", DROPPED)
def test_what_is_dropped_with_no_text_is_named(mime: str) -> None:
    tamed = tame({mime: CANARY})
    assert set(tamed) == {"text/plain"}
    assert CANARY not in tamed["text/plain"]
    assert mime in tamed["text/plain"]
    assert "not shown" in tamed["text/plain"]


def test_markdown_becomes_text() -> None:
    markdown = f"# Title\n<img src=x onerror={CANARY}>"
    assert tame({"text/markdown": markdown}) == {"text/plain": markdown}
    assert tame({"text/markdown": [markdown, "\nmore"]}) == {"text/plain": f"{markdown}\nmore"}
    assert tame({"text/markdown": markdown, "text/plain": "text"}) == {"text/plain": "text"}


def test_html_is_preferred_to_svg_and_pictures_stay_beside() -> None:
    data = {"image/svg+xml": "<svg/>", "text/html": "<b>x</b>", "image/png": "iVBO", "text/plain": "t"}
    tamed = tame(data)
    assert framed(tamed["text/html"]) == "<b>x</b>"
    assert (tamed["image/png"], tamed["text/plain"]) == ("iVBO", "t")
    assert "image/svg+xml" not in tamed


def test_lines_are_joined() -> None:
    assert framed(tame({"text/html": ["<b>", "x", "</b>"]})["text/html"]) == "<b>x</b>"


@given(
    data=st.dictionaries(
        st.sampled_from([*STATIC, *FRAMED, *DROPPED, "text/markdown"]) | st.text(max_size=20),
        st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3) | st.just({}),
        max_size=5,
    )
)
def test_no_bundle_gets_through_with_anything_that_acts(data: dict[str, Any]) -> None:
    tamed = tame(data)
    assert set(tamed) <= {*STATIC, "text/html"}
    if "text/html" in tamed:
        framed(tamed["text/html"])
    assert bool(tamed) == bool(data)


def test_the_bundle_that_came_is_not_changed() -> None:
    data = {"text/html": "<b>x</b>", "text/markdown": "x"}
    tame(data)
    assert data == {"text/html": "<b>x</b>", "text/markdown": "x"}
