"""What gets through to a terminal, by a reader of its own: ECMA-48's syntax, not the filter's expressions."""

from __future__ import annotations

import itertools
import random
import time

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_bridge_magic.sanitize.terminal import Escapes, LeftOpen, spell_out
from tests.support.records import Record

PASSING = [
    "\x1b[m", "\x1b[0m", "\x1b[1;31m", "\x1b[38;5;200m", "\x1b[48:2::1:2:3m", "\x1b[A", "\x1b[3B", "\x1b[12C",
    "\x1b[9999D", "\x1b[J", "\x1b[0J", "\x1b[2J", "\x1b[K", "\x1b[2K", "\n", "\r", "\t", "\b", "\r\n",
]  # fmt: skip
HARMFUL = {
    "window title": "\x1b]0;title\x07",
    "window title, ended by ST": "\x1b]2;title\x1b\\",
    "icon": "\x1b]1;x\x07",
    "hyperlink": "\x1b]8;;http://evil.example/\x07here\x1b]8;;\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "colours of the palette": "\x1b]4;1;rgb:00/00/00\x07",
    "file in iTerm": "\x1b]1337;File=inline=1:AAAA\x07",
    "notification": "\x1b]9;pay here\x07",
    "DCS": "\x1bPq#0;2;0;0;0\x1b\\",
    "report of a setting": "\x1bP$qm\x1b\\",
    "APC (kitty's pictures)": "\x1b_Ga=T;AAAA\x1b\\",
    "PM": "\x1b^x\x1b\\",
    "SOS": "\x1bXx\x1b\\",
    "C1 CSI": "\x9b2J",
    "C1 OSC": "\x9d0;title\x9c",
    "C1 DCS": "\x90q\x9c",
    "where is the cursor": "\x1b[6n",
    "what are you": "\x1b[c",
    "what are you, secondary": "\x1b[>c",
    "report the title": "\x1b[21t",
    "scrollback": "\x1b[3J",
    "home": "\x1b[H",
    "anywhere": "\x1b[1;1H",
    "other screen": "\x1b[?1049h",
    "mouse": "\x1b[?1000h",
    "bracketed paste": "\x1b[?2004l",
    "hidden cursor": "\x1b[?25l",
    "keys": "\x1b[>4;2m",
    "keyboard of kitty": "\x1b[=1;1u",
    "reset": "\x1bc",
    "soft reset": "\x1b[!p",
    "character set": "\x1b(0",
    "index": "\x1bD",
    "insert lines": "\x1b[5L",
    "scroll": "\x1b[3S",
    "scroll region": "\x1b[5;10r",
    "repeat": "\x1b[999999b",
    "bell": "\x07",
    "form feed": "\x0c",
    "vertical tab": "\x0b",
    "shift out": "\x0e",
    "answerback": "\x05",
    "delete": "\x7f",
    "NUL": "\0",
    "next line": "\x85",
    "printer": "\x1b[5i",
    "control inside": "\x1b[3\x071m",
    "escape inside": "\x1b[3\x1b[31m",
    "intermediate": "\x1b[0 q",
    "long": "\x1b[" + "1;" * 500 + "m",
    "far": "\x1b[99999A",
    "unfinished": "\x1b[31",
    "alone": "\x1b",
}
ALPHABET = "\x1b\x1b\x1b[[[[]]P_^X\\\x07\x9b\x9d\x90\x9c0123;:?>=!$ ABCDJKHmmmhlnctrq\n\r\t\b\x00\x7f\x85aé日\ud800"


def is_safe(text: str) -> bool:
    """Read as a terminal does, and say whether it meets nothing but what may pass."""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char == "\x1b":
            if text[position : position + 1] != "[":
                return False
            start = position = position + 1
            while text[position : position + 1] in set("0123456789:;<=>?"):
                position += 1
            parameters, final = text[start:position], text[position : position + 1]
            position += 1
            if final == "m":
                if set(parameters) - set("0123456789;:") or len(parameters) > 60:
                    return False
            elif final in ("A", "B", "C", "D"):
                if parameters and not (parameters.isdecimal() and int(parameters) < 10_000):
                    return False
            elif final not in ("J", "K") or parameters not in ("", "0", "1", "2"):
                return False
        elif (ord(char) < 32 and char not in "\n\r\t\b") or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000:
            return False
    return True


def in_pieces(text: str, *at: int) -> str:
    escapes = Escapes()
    bounds = [0, *sorted(at), len(text)]
    return "".join(escapes.feed(text[a:b]) for a, b in itertools.pairwise(bounds)) + escapes.end()


@pytest.mark.parametrize("text", PASSING)
def test_colours_and_progress_bars_pass_at_every_cut(text: str) -> None:
    whole = f"a{text}b"
    assert spell_out(whole) == whole
    for cut in range(len(whole) + 1):
        assert in_pieces(whole, cut) == whole
    assert in_pieces(whole, *range(len(whole))) == whole


@pytest.mark.parametrize("name", HARMFUL)
def test_all_else_is_spelt_out_at_every_cut(name: str) -> None:
    text = f"a{HARMFUL[name]}b" if name not in ("unfinished", "alone") else f"a{HARMFUL[name]}"
    spelt = spell_out(text)
    assert is_safe(spelt)
    assert not is_safe(text)
    assert "^" in spelt
    for cut in range(len(text) + 1):
        assert in_pieces(text, cut) == spelt
    assert in_pieces(text, *range(len(text))) == spelt


@pytest.mark.parametrize("name", HARMFUL)
def test_a_terminal_does_nothing_of_it(name: str) -> None:
    screen = pyte.Screen(200, 20)
    screen.set_title("mine")
    screen.draw("kept ")
    before = screen.mode.copy()
    pyte.Stream(screen).feed(spell_out(f"{HARMFUL[name]}after"))
    assert (screen.title, screen.mode, screen.margins) == ("mine", before, None)
    assert screen.display[0].startswith("kept ")


def test_what_is_spelt_out_can_be_read() -> None:
    assert spell_out("\x1b]0;title\x07") == "^[]0;title^G"
    assert spell_out("\x9b2J\x7f\0\x85") == "^[[2J^?^@^[E"
    assert spell_out("half \ud83d") == "half \ufffd"


def test_other_text_is_left_alone() -> None:
    text = "Grüße, 日本語, 👩‍👩‍👧, \u202eabc\u202c, \u2028, ~!@#^[[31m"
    assert spell_out(text) == text


def test_nothing_is_held_but_what_may_still_pass() -> None:
    escapes = Escapes()
    assert escapes.feed("done\x1b") == "done"
    assert escapes.feed("[3") == ""
    assert escapes.feed("1mred") == "\x1b[31mred"
    assert escapes.feed("\x1b[" + "1" * 100) == "^[[" + "1" * 100
    assert escapes.feed("\x1b]") == "^[]"
    assert escapes.end() == ""
    assert escapes.feed("\x1b[") == ""
    assert (escapes.end(), escapes.end()) == ("^[[", "")


@given(st.text() | st.text(alphabet=ALPHABET), st.lists(st.integers(0, 40), max_size=6))
@example("\x1b[31m", [1, 2, 3])
def test_no_text_gets_through_with_anything_else(text: str, cuts: list[int]) -> None:
    spelt = spell_out(text)
    assert is_safe(spelt)
    assert in_pieces(text, *(cut for cut in cuts if cut < len(text))) == spelt


def fuzz(count: int, seed: int) -> tuple[int, int]:
    """Check random strings at all their cuts; give how many pieces were fed, and how many sequences had passed."""
    pick = random.Random(seed)
    fed = kept = 0
    for _ in range(count):
        raw = pick.randbytes(pick.randrange(12))
        # Bytes as they are, as Latin-1 (C1 controls), and characters that meet each other more often.
        text = "".join(pick.choices(ALPHABET, k=pick.randrange(14)))
        text += pick.choice([raw.decode("utf-8", "replace"), raw.decode("latin-1"), pick.choice(PASSING)])
        spelt = spell_out(text)
        assert is_safe(spelt), repr(text)
        kept += spelt.count("\x1b")
        for cut in range(1, len(text)):
            assert in_pieces(text, cut) == spelt, (repr(text), cut)
        fed += 2 * len(text)
    return fed, kept


def test_random_strings_at_all_cuts() -> None:
    fuzz(100 * settings().max_examples, 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_random_strings_at_all_cuts(record: Record) -> None:
    began = time.monotonic()
    fed, kept = fuzz(1_000_000, 2)
    record(strings=1_000_000, pieces=fed, sequences_passed=kept, unsafe=0, seconds=round(time.monotonic() - began))


def test_it_is_fast() -> None:
    text = "a line of output like any other\n" * 100_000 + "\x1b[31mred\x1b[0m" * 10_000
    began = time.process_time()
    assert Escapes().feed(text) == text
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("texts", "acted", "in_line"),
    [
        ([""], False, False),
        (["line\n"], False, False),
        (["line"], False, True),
        (["50 %\r"], False, True),
        (["line", "\n"], False, False),
        (["a\n", "b", ""], False, True),
        (["\x1b[8;30;40m"], True, False),
        (["line\n\x1b[8m"], True, False),
        (["line\x1b[0m"], True, True),
        (["line\n\x1b["], True, False),
        (["line\n\x1b[", "3"], True, True),  # that it goes on is not seen: one line end too many
        (["\x1b]0;title"], True, False),
        (["\x1b]0;title\x07"], True, False),
        (["\x1b]0;title\x1b\\x\n"], True, False),
        (["\x1bP1$r"], True, False),
        (["\x9b31m\n"], True, False),
        (["\x0e\n"], True, False),
        (["\x1b(0\n"], True, False),
        (["x" * 100_000], False, True),
        (["\x1b[m" * 100_000], True, True),
    ],
)
def test_what_is_left_open_is_closed_once(texts: list[str], acted: bool, in_line: bool) -> None:
    left_open = LeftOpen()
    for text in texts:
        left_open.feed(text)
    closing = left_open.close()
    assert (closing.endswith("\n"), "\x1b[0m" in closing) == (in_line, acted)
    assert closing == "" or acted or closing == "\n"
    assert left_open.close() == ""


@pytest.mark.parametrize(
    "left", ["\x1b[8;30;40m", "\x1b[", "\x1b[31", "\x1b", "\x1b]0;title", "\x1bP1", "x\x1b[7", "\x1b(0"]
)
def test_a_line_behind_what_was_left_open_is_read_as_it_is(left: str) -> None:
    left_open = LeftOpen()
    screen = pyte.Screen(40, 5)
    stream = pyte.Stream(screen)
    for text in ("first\n\r" + left,):
        left_open.feed(text)
        stream.feed(text)
    stream.feed(left_open.close().replace("\n", "\r\n") + "ours: qx")
    row = next(number for number, line in enumerate(screen.display) if line.strip() == "ours: qx")
    assert row >= 1
    for column in range(8):
        letter = screen.buffer[row][column]
        assert (letter.fg, letter.bg, letter.reverse, letter.bold) == ("default", "default", False, False)
