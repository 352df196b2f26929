"""Show a cell that runs on many kernels in a terminal: lines that change, and at the end blocks."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from typing import TextIO

from kernel_bridge_magic.display.ansi_html import to_plain
from kernel_bridge_magic.display.bottom import Bottom, is_terminal
from kernel_bridge_magic.display.group_plain import write_all
from kernel_bridge_magic.display.groups import Shown, block_text, fold, last_line, summary
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import cells, cut_end, visible

_KEY = "kernels"
_WIDEST_NAME = 24
_KEPT_FREE = 3  # rows of the terminal: the line about all, the cursor's, one to spare


class TerminalGroups:
    """One line for each kernel at the bottom of a terminal, and blocks at the end. All methods belong to one thread."""

    def __init__(self, stream: TextIO, left_open: LeftOpen) -> None:
        self._stream = stream
        self._bottom = Bottom(left_open)
        self._left_open = left_open

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> None:
        """Draw the line of each kernel anew, as many as there is room for: those that are not over first."""
        if not is_terminal(self._stream):
            return  # it is captured: the end is all that is to be kept
        columns, rows = shutil.get_terminal_size()
        room = max(rows - _KEPT_FREE, 1)
        width = min(max((cells(one.name) for one in shown), default=0), _WIDEST_NAME)
        first = sorted(shown, key=lambda one: one.fate is not None)[:room]
        lines = [_line(one, width, columns - 1) for one in shown if any(one is it for it in first)]
        self._bottom.draw(_KEY, "\n".join([*lines, cut_end(summary(shown), columns - 1)]), self._stream)

    def end(self, shown: Sequence[Shown], seconds: float, *, group: bool) -> None:
        """Write a block for each kernel, or for all that have shown the same, and the line about all."""
        self._bottom.draw(_KEY, "", self._stream)
        texts = [block_text([shown[number] for number in numbers]) for numbers in fold(shown, group=group)]
        whole = "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)
        whole += f"{summary(shown, seconds)}\n"
        if not is_terminal(self._stream):
            whole = to_plain(whole)
        write_all(self._stream, whole)
        self._left_open.feed(whole)


def _line(one: Shown, width: int, columns: int) -> str:
    name = cut_end(visible(one.name), _WIDEST_NAME)
    said = last_line(one) if one.fate in (None, Fate.OK) else ""
    state = f"{one.state}: {one.why}" if one.why else one.state
    return cut_end(f"{name}{' ' * (width - cells(name))}  {visible(state)}  {visible(said)}".rstrip(), columns)
