r"""Show what a terminal would show of a text, as HTML: `\r`, `\b`, erased lines and colours. Pure.

The classes of the colours (`ansi-red-fg`, …) are those of JupyterLab, Notebook 7 and nbconvert, whose themes define
them. A colour of the 256, or of 24 bits, is a style, as there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_STEPS = (0, 95, 135, 175, 215, 255)  # of red, green and blue in the colour cube of xterm
_TAB = 8
_LONGEST_REMEMBERED = 100  # characters of a colour sequence
_MOST_COLUMNS = 1 << 16  # a cursor that is sent further stays
_TOKEN = re.compile(
    r"\x1b\[(?P<numbers>[0-9;:]*)(?P<final>[A-Za-z])"  # CSI: colours, moves, erasing
    r"|\x1b\[[0-?]*[ -/]*(?:[@-~]|\Z)|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"  # all others; half of one
    r"|(?P<control>[\x00-\x09\x0b-\x1f\x7f-\x9f])"
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # a line end needs none of what is below


class _Style(NamedTuple):
    """How characters look. A colour is "" (none), the name of a class, or `rgb(r,g,b)`."""

    foreground: str = ""
    background: str = ""
    bold: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False


_PLAIN = _Style()
_Run = tuple[str, _Style]


def newest(line: str) -> str:
    """Return what a terminal shows of a line that has not ended: of a progress bar only its last state."""
    # What ends with a carriage return is shown until more comes, and that may be the end of the line.
    return line[line.rfind("\r", 0, max(len(line) - 1, 0)) + 1 :]


def to_html(text: str) -> str:
    """Return a text as HTML for a `<pre>`: escaped, with `<span>`s for its colours."""
    if not _CONTROL.search(text):
        return escape(text)
    return "\n".join("".join(map(_span, groupby(line, key=itemgetter(1)))) for line in _lines(text))


def to_plain(text: str) -> str:
    """Return what stands on the screen at the end, without colours."""
    if not _CONTROL.search(text):
        return text
    return "\n".join("".join(part for part, _ in line) for line in _lines(text))


class _Line:
    """A line of the screen. While text comes at its end only it is a few runs; after that each character has a cell."""

    def __init__(self) -> None:
        self.length = 0
        self._runs: list[_Run] = []
        self._has_cells = False
        self._chars: list[str] = []
        self._styles: list[_Style] = []

    def runs(self) -> list[_Run]:
        """Return its text in parts of one style each; neighbours may have the same."""
        if not self._has_cells:
            return self._runs
        chars = iter(self._chars)
        parts = ((style, len(list(cells))) for style, cells in groupby(self._styles))
        return [("".join(islice(chars, size)), style) for style, size in parts]

    def write(self, column: int, text: str, style: _Style) -> None:
        """Write over what is there, from a column on, which may lie behind the end."""
        if not text:
            return
        end = column + len(text)
        gap = column - self.length
        if column == 0 and end >= self.length:
            self._set([(text, style)])
        elif gap >= 0 and not self._has_cells:
            self._runs += [(" " * gap, _PLAIN), (text, style)] if gap else [(text, style)]
        else:
            self._give_cells()
            self._chars += " " * gap
            self._styles += [_PLAIN] * gap
            self._chars[column:end] = text
            self._styles[column:end] = [style] * len(text)
        self.length = max(self.length, end)

    def erase(self, column: int) -> None:
        """Erase what stands from a column on."""
        if column == 0:
            self._set([])
        elif column < self.length:
            self._give_cells()
            del self._chars[column:], self._styles[column:]
        self.length = min(self.length, column)

    def blank(self, column: int) -> None:
        """Put blanks over what stands before a column."""
        self.write(0, " " * min(column, self.length), _PLAIN)

    def _set(self, runs: list[_Run]) -> None:
        self._runs = runs
        self._chars, self._styles, self._has_cells = [], [], False

    def _give_cells(self) -> None:
        if not self._has_cells:
            self._chars = [char for text, _ in self._runs for char in text]
            self._styles = [each for text, style in self._runs for each in [style] * len(text)]
            self._runs, self._has_cells = [], True


def _lines(text: str) -> Iterator[list[_Run]]:
    """Write a text on a screen of endless width, whose cursor stays in its line; yield its lines.

    Lines without a colour in which nothing moves come as one.
    """
    line, column, style, position = _Line(), 0, _PLAIN, 0
    for found in chain(_TOKEN.finditer(text), [None]):
        first, *more = text[position : found.start() if found else len(text)].split("\n")
        line.write(column, first, style)
        column += len(first)
        if more:
            yield line.runs()
            yield from _unmoved(more[:-1], style)
            line, column = _Line(), len(more[-1])
            line.write(0, more[-1], style)
        if found is None:
            break
        position, control, final = found.end(), found["control"], found["final"]
        if control == "\r":
            column = 0
        elif control == "\b":
            column = max(column - 1, 0)
        elif control == "\t":
            blanks = _TAB - column % _TAB
            line.write(column, " " * blanks, style)
            column += blanks
        elif final == "m":
            style = _style_behind(style, found["numbers"])
        elif final is not None:
            column = _moved(line, column, final, found["numbers"])
    yield line.runs()


def _unmoved(lines: list[str], style: _Style) -> Iterator[list[_Run]]:
    """Yield lines that are just text."""
    if style == _PLAIN and lines:
        yield [("\n".join(lines), style)]
    else:
        yield from ([(line, style)] if line else [] for line in lines)


def _moved(line: _Line, column: int, final: str, numbers: str) -> int:
    """Obey a sequence that moves the cursor within its line or erases there; return the column."""
    number = int(numbers[:6]) if numbers.isdecimal() else 0
    if final == "K" and number == 0:
        line.erase(column)
    elif final == "K":  # also what stands before the cursor
        line.blank(line.length if number == 2 else column + 1)
    elif final == "C":
        return min(column + max(number, 1), _MOST_COLUMNS)
    elif final == "D":
        return max(column - max(number, 1), 0)
    elif final == "G":
        return min(max(number, 1) - 1, _MOST_COLUMNS)
    return column


def _restyled(style: _Style, numbers: str) -> _Style:
    """Return the style behind a colour sequence."""
    codes = deque(int(part[:6]) if part.isdecimal() else 0 for part in re.split("[;:]", numbers))
    while codes:
        code = codes.popleft()
        if code == 0:
            style = _PLAIN
        elif code in (38, 48):
            changed: dict[str, Any] = {"foreground" if code == 38 else "background": _colour(codes)}
            style = style._replace(**changed)
        else:
            style = style._replace(**_CODES.get(code, {}))
    return style


_remembered = lru_cache(maxsize=1024)(_restyled)  # a text has few colours, and many changes of them


def _style_behind(style: _Style, numbers: str) -> _Style:
    return (_remembered if len(numbers) <= _LONGEST_REMEMBERED else _restyled)(style, numbers)


def _codes() -> dict[int, dict[str, Any]]:
    codes: dict[int, dict[str, Any]] = {39: {"foreground": ""}, 49: {"background": ""}}
    for field, on, off in (("bold", 1, 22), ("italic", 3, 23), ("underline", 4, 24), ("inverse", 7, 27)):
        codes |= {on: {field: True}, off: {field: False}}
    for number, name in enumerate(_NAMES):
        codes |= {30 + number: {"foreground": name}, 40 + number: {"background": name}}
        codes |= {90 + number: {"foreground": f"{name}-intense"}, 100 + number: {"background": f"{name}-intense"}}
    return codes


_CODES = _codes()


def _colour(codes: deque[int]) -> str:
    """Take the colour from the head of the codes that follow 38 or 48."""
    kind = codes.popleft() if codes else 0
    if kind == 5 and codes:
        return _of_256(codes.popleft())
    if kind == 2 and len(codes) >= 3:
        red, green, blue = (min(codes.popleft(), 255) for _ in range(3))
        return f"rgb({red},{green},{blue})"
    return ""


def _of_256(number: int) -> str:
    if number < 16:
        return _NAMES[number % 8] + ("-intense" if number >= 8 else "")
    if number < 232:
        red, green, blue = (_STEPS[(number - 16) // step % 6] for step in (36, 6, 1))
        return f"rgb({red},{green},{blue})"
    grey = min(8 + (number - 232) * 10, 238)
    return f"rgb({grey},{grey},{grey})"


def _span(run: tuple[_Style, Iterable[_Run]]) -> str:
    style, parts = run
    text = escape("".join(part for part, _ in parts))
    attributes = _attributes(style)
    return f"<span{attributes}>{text}</span>" if attributes else text


@lru_cache(maxsize=1024)
def _attributes(style: _Style) -> str:
    """Return what a `<span>` of that style has, "" where none is needed."""
    foreground, background = style.foreground, style.background
    if style.inverse:
        foreground, background = background or "default-inverse", foreground or "default-inverse"
    # As in JupyterLab a bold colour is the bright one.
    if style.bold and foreground in _NAMES:
        foreground += "-intense"
    classes, styles = [], []
    for colour, end, name in ((foreground, "fg", "color"), (background, "bg", "background-color")):
        if colour.startswith("rgb"):
            styles.append(f"{name}:{colour}")
        elif colour:
            classes.append(f"ansi-{colour}-{end}")
    classes += ["ansi-bold"] * style.bold + ["ansi-underline"] * style.underline
    styles += ["font-style:italic"] * style.italic
    attributes = f' class="{" ".join(classes)}"' if classes else ""
    return attributes + (f' style="{";".join(styles)}"' if styles else "")
