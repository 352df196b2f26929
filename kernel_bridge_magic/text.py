"""Make text that others chose (paths, names) safe to show, and fit it into a terminal's columns. Pure."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import SupportsIndex, TypeVar, cast

# Controls (C0, DEL, C1), line and paragraph separators, lone surrogates (they cannot be encoded), and all that
# steers the direction of text: each can make a table say something that it does not hold (T22).
# Joiners and variation selectors stay: emoji and several scripts are spelt with them.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COLUMN_GAP = "  "
_ACCENT = 200  # the combining class that accents begin with
_FIRST_COLUMN = 0.6  # of the width: as much as a first column may use that is never cut
_LEAST_DETAIL = 8  # columns; fewer say nothing


class Hidden(str):
    """Text with a secret in it: http.client can send it; tracebacks that show local variables show `'***'`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return Hidden(super().__getitem__(key))  # what shows a long text shows the repr of its beginning


_Value = TypeVar("_Value")


def hide(value: _Value) -> _Value:
    """Return a text that may be a URL with a secret as `Hidden`, which no traceback shows; all else unchanged."""
    if not isinstance(value, str) or value.startswith("re:") or not any(char in value for char in "?#@"):
        return value
    return cast(_Value, Hidden(value))


def visible(text: str) -> str:
    r"""Return `text` with the characters spelt out that a terminal or browser would obey: `\x1b`, `\n`, `\u202e`."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def without_colours(text: str) -> str:
    """Return `text` without its colour sequences (SGR), which tracebacks have."""
    return _COLOURS.sub("", text)


def fold(text: str) -> str:
    """Return `text` without case and accents, as people compare names.

    Accents are the marks above and below a letter (combining classes from 200 on). Marks of a lower class make another
    letter: the voicing mark turns か into が. A text of nothing but marks keeps them.
    """
    if text.isascii():
        return text.lower()
    # Decomposed before and after casefold(): a dotted capital İ becomes an i and a mark, and ǰ a j and a mark.
    apart = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    bare = "".join(char for char in apart if unicodedata.combining(char) < _ACCENT)
    return unicodedata.normalize("NFC", bare or apart)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 kernel`, `2 kernels`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def clock(seconds: float) -> str:
    """Return a duration in seconds as `0:42`, or `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def some_of(names: Sequence[str], most: int) -> str:
    """Return names in one line, the first `most` of them: `a, b and 3 more`."""
    some = ", ".join(names[:most])
    return f"{some} and {len(names) - most} more" if len(names) > most else some


def cells(text: str) -> int:
    """Return the display width of `text` in columns: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return max(_measure()(text), 0)


@functools.cache
def _measure() -> Callable[[str], int]:
    try:
        # IPython depends on it by way of prompt_toolkit. Imported late: a listing of ASCII names never needs it.
        from wcwidth import wcswidth
    except ImportError:
        return _measure_roughly
    return wcswidth


def _measure_roughly(text: str) -> int:
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def cut_end(text: str, width: int) -> str:
    """Return `text` cut to at most `width` columns, with … at its end where something is missing."""
    if width <= 0:
        return ""
    if _fits(text, width):
        return text
    return _head(text, width - 1) + "…"


def cut_middle(text: str, width: int) -> str:
    """Return `text` cut to at most `width` columns, with … in its middle: a path is known by its end."""
    if width <= 0:
        return ""
    if _fits(text, width):
        return text
    tail = (width - 1) * 2 // 3
    return _head(text, width - 1 - tail) + "…" + _tail(text, tail)


def _fits(text: str, width: int) -> bool:
    # Combining marks have no width: without a limit on characters, one name could hold a million of them.
    return len(text) <= 4 * width and cells(text) <= width


def _head(text: str, width: int) -> str:
    text = text[: 4 * max(width, 0)]
    while cells(text) > width:
        text = text[:-1]
    return text.rstrip("\u200d")


def _tail(text: str, width: int) -> str:
    text = text[-4 * width :] if width > 0 else ""
    while cells(text) > width or (text and _joins(text[0])):
        text = text[1:]
    return text


def _joins(char: str) -> bool:
    """Return whether `char` would combine with what stands before it, which is then the … and not its own letter."""
    return unicodedata.category(char) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= char <= "\U0001f3ff"


def align(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Return `rows` (of equal length) as lines, in columns two spaces apart; the columns in `right` are flush right."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [
        _COLUMN_GAP.join(
            _pad(text, width, index in right) for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def fit_columns(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return one line of at most `width` columns for each of `rows`; their first cell is never cut.

    A further column that says the same in each row is left out.
    """
    columns = list(zip(*rows, strict=True))
    varied = [column for column in columns[1:] if len(set(column)) > 1]
    details = align(list(zip(*varied, strict=True))) if varied else [""] * len(rows)
    heads = [row[0] for row in rows]
    # One long name must not push the details of the other rows out of sight.
    first = max((cells(head) for head in heads if cells(head) <= width * _FIRST_COLUMN), default=0)
    lines = []
    for head, detail in zip(heads, details, strict=True):
        room = width - max(first, cells(head)) - len(_COLUMN_GAP)
        detail = cut_end(detail, room) if room >= _LEAST_DETAIL else ""
        lines.append(f"{_pad(head, first, False)}{_COLUMN_GAP}{detail}".rstrip() if detail else head)
    return lines


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space
