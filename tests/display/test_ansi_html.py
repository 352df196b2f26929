r"""What a terminal would show of a text, as HTML."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.display.ansi_html import to_html, to_plain

texts = st.text(
    st.sampled_from(["a", "<", "&", "\n", "\r", "\b", "\t", "\x1b", "[", "3", "1", ";", "m", "K", "C", "D", "]", "é"])
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("one\ntwo", "one\ntwo"),
        ("  0%\r 50%\r100%", "100%"),
        ("long line\rshort", "shortline"),
        ("long line\r\x1b[Kshort", "short"),
        ("abc\b\bX", "aXc"),
        ("\b\bab", "ab"),
        ("a\r\nb", "a\nb"),
        ("a\tb", "a       b"),
        ("a\x1b[5Cb\x1b[3DX", "a   X b"),
        ("abcdef\x1b[2D\x1b[1K", "     f"),
        ("abc\x1b[2Kd", "   d"),
        ("x\x1b]0;title\x07y\x1b(Bz\x1b[?25l", "xyz"),
        ("ends in the middle \x1b[", "ends in the middle "),
        ("\x1b[3", ""),
        ("bell\x07 and nul\x00", "bell and nul"),
        ("\x1b[999999999Cx", " " * 65536 + "x"),
    ],
)
def test_what_stands_on_the_screen_at_the_end(text: str, plain: str) -> None:
    assert to_plain(text) == plain


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("\x1b[31mred\x1b[0m plain", '<span class="ansi-red-fg">red</span> plain'),
        ("\x1b[1;31mbold\x1b[22mred", '<span class="ansi-red-intense-fg ansi-bold">bold</span>'
         '<span class="ansi-red-fg">red</span>'),
        ("\x1b[92;41mx", '<span class="ansi-green-intense-fg ansi-red-bg">x</span>'),
        ("\x1b[4;3mx\x1b[24my", '<span class="ansi-underline" style="font-style:italic">x</span>'
         '<span style="font-style:italic">y</span>'),
        ("\x1b[7mx", '<span class="ansi-default-inverse-fg ansi-default-inverse-bg">x</span>'),
        ("\x1b[7;31mx", '<span class="ansi-default-inverse-fg ansi-red-bg">x</span>'),
        ("\x1b[38;5;9mx", '<span class="ansi-red-intense-fg">x</span>'),
        ("\x1b[38;5;202mx", '<span style="color:rgb(255,95,0)">x</span>'),
        ("\x1b[48;5;240mx", '<span style="background-color:rgb(88,88,88)">x</span>'),
        ("\x1b[38;2;1;2;300mx", '<span style="color:rgb(1,2,255)">x</span>'),
        ("\x1b[31mone\ntwo", '<span class="ansi-red-fg">one</span>\n<span class="ansi-red-fg">two</span>'),
        ("\x1b[mx\x1b[38mx\x1b[38;5mx\x1b[77mx", "xxxx"),
        ("\x1b[32m50%\x1b[0m\r\x1b[32m99%", '<span class="ansi-green-fg">99%</span>'),
    ],
)  # fmt: skip
def test_colours_are_classes_of_the_front_ends(text: str, html: str) -> None:
    assert to_html(text) == html


@given(texts)
def test_nothing_of_the_text_becomes_html(text: str) -> None:
    html = to_html(text)
    spans = re.compile(r'<span(?: class="[a-z -]+")?(?: style="[a-z:;(),0-9-]+")?>|</span>')
    assert unescape(spans.sub("", html)) == to_plain(text)
    assert "<" not in spans.sub("", html)


def test_a_flood_of_progress_takes_no_time() -> None:
    began = time.monotonic()
    to_html("\r\x1b[31m50%|" + "█" * 100 + "|" * 200)
    to_html("".join(f"\r{n:6}|{'█' * 50}" for n in range(1000)))
    assert time.monotonic() - began < 5


CHARACTERS = ["a", "<", "é", "\n", "\r", "\b", "\t", "\x07", "\x9b"]
SEQUENCES = ["[31m", "[0m", "[1;42m", "[K", "[1K", "[2K", "[3C", "[2D", "[3G", "]0;a\nb\x07", "[?25l", "(B"]
tokens = st.lists(st.sampled_from([*CHARACTERS, *(f"\x1b{rest}" for rest in SEQUENCES)]), max_size=40)


@given(tokens)
def test_lines_in_which_nothing_moves_are_as_those_in_which_all_does(parts: list[str]) -> None:
    # Each character is written over another one, so that no line is only appended to.
    moved = "".join(f"x\b{part}" if part.isprintable() else part for part in parts)
    assert to_html("".join(parts)) == to_html(moved)
    assert to_plain("".join(parts)) == to_plain(moved)


@given(tokens, st.lists(st.text("a<é\n", max_size=30), max_size=3))
def test_lines_of_text_alone_are_as_they_came(parts: list[str], texts: list[str]) -> None:
    plain = "".join(texts)
    assert to_plain(plain) == plain and unescape(to_html(plain)) == plain
    assert to_plain("".join(parts) + f"\n{plain}").endswith(f"\n{plain}")


FLOODS = {
    "a long line": "x" * 20_000_000,
    "many lines": "\x1b[31mred\x1b[0m" + "text\n" * 1_000_000,
    "a long line that is written over": "x" * 1_000_000 + "\ry",
    "a long colour": "\x1b[" + ";" * 500_000 + "m",
}


@pytest.mark.parametrize("text", FLOODS.values(), ids=FLOODS.keys())
def test_much_text_takes_little_time(text: str) -> None:
    began = time.monotonic()
    to_html(text)
    to_plain(text)
    assert time.monotonic() - began < 10
