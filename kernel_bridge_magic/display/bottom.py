"""Draw texts at the bottom of a terminal that change in place."""

from __future__ import annotations

import math
import os
import shutil
import sys
from typing import Any

from kernel_bridge_magic.display.neutral import IN_PLACE
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import cells, without_colours


class Bottom:
    """Texts that can be drawn over while nothing else stands below them in the terminal.

    `left_open` must hear of everything that is written to that terminal.
    """

    def __init__(self, left_open: LeftOpen) -> None:
        self._left_open = left_open
        self._drawn: dict[str, str] = {}  # what stands at the bottom, in its order
        self._known: set[str] = set()
        self._written = 0

    def draw(self, key: str, text: str, stream: Any, *, dim: bool = False) -> bool:
        """Draw whole lines over what `key` had drawn before; "" removes that.

        Return False, and draw nothing, if something else stands below that. Where there is no terminal to draw in, the
        lines are written below.
        """
        if not text and key not in self._known:
            return True
        moves = _has_escapes(stream)
        if moves and self._left_open.written != self._written:
            self._drawn.clear()
        if key in self._known and key not in self._drawn:
            return False
        if not text:
            self._known.discard(key)
        else:
            self._known.add(key)
        if is_terminal(stream):
            close_left_open(self._left_open)
        if not moves:
            stream.write(_lines(text))
            stream.flush()
            return True
        rows = sum(_rows(drawn, stream) for drawn in self._drawn.values())
        self._drawn[key] = dimmed(text, stream) if dim else text
        if not text:
            del self._drawn[key]
        up = f"\x1b[{rows}F\x1b[J" if rows else ""
        stream.write(up + "".join(map(_lines, self._drawn.values())))
        stream.flush()
        self._left_open.feed(_lines(text))
        self._written = self._left_open.written
        return True

    def inform(self, kind: str, text: str) -> None:
        """Write a neutral line of ours to stderr, as `Sink.inform` says; below, if it cannot be drawn over."""
        key = f"our {kind}" if kind in IN_PLACE else f"our {kind} {len(self._known)}"
        self.draw_or_write(key, text, sys.stderr, dim=True)

    def draw_or_write(self, key: str, text: str, stream: Any, *, dim: bool = False) -> None:
        """Draw whole lines as `draw` does; write them below, if they cannot be drawn over what `key` had drawn."""
        if not self.draw(key, text, stream, dim=dim):
            self._known.discard(key)
            self.draw(key, text, stream, dim=dim)


def is_terminal(stream: Any) -> bool:
    """Return whether a stream leads to a terminal; False for an object of the user's that does not know."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # ValueError: it is closed
        return False


def write_text(stream: Any, text: str) -> None:
    """Write text; what the stream cannot encode, such as half of a surrogate pair, is spelt out and ends no cell."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _has_escapes(stream: Any) -> bool:
    """Return whether a stream leads to a terminal that has colours and moves its cursor: Emacs' shell does not."""
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def close_left_open(left_open: LeftOpen) -> None:
    """End what a kernel's text has left open in the terminal, by whichever stream leads there."""
    terminal = next(filter(is_terminal, (sys.stdout, sys.stderr)), None)
    if terminal is not None:
        terminal.write(left_open.close())
        terminal.flush()


def dimmed(text: str, stream: Any) -> str:
    """Return `text` with the codes that show it dim, if `stream` leads to a terminal that has colours."""
    colours = _has_escapes(stream) and not os.environ.get("NO_COLOR")
    return f"\x1b[2m{text}\x1b[22m" if colours else text


def _lines(text: str) -> str:
    return text.rstrip("\n") + "\n" if text else ""


def _rows(text: str, stream: Any) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns  # stdout, which `shutil` asks, may lead elsewhere
    except (AttributeError, OSError, ValueError):
        columns = shutil.get_terminal_size().columns
    lines = without_colours(text.rstrip("\n")).split("\n")
    return sum(max(math.ceil(cells(line) / max(columns, 1)), 1) for line in lines)
