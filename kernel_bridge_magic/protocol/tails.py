"""The end of a text that is too long to be kept: `Tail`."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable

#: Bytes of printed text that one cell may leave in a notebook: what a Jupyter server with its default
#: `iopub_data_rate_limit` lets through to a browser within its `rate_limit_window`, and a little less.
MAX_OUTPUT = 2_800_000
#: Characters of printed text that are kept for a program, and bytes of one picture or page that a browser still opens.
MAX_KEPT = 16 << 20
_PIECE = 1 << 16
_MOST_JOINED = 1 << 10


class Tail:
    """Keeps about the last `size` characters of what is printed, an eighth more at most; counts what it lets go of.

    With another `measure` than `len` the size is that of the text in its units, and each change of the stream counts
    as `change` of them.
    """

    def __init__(self, size: int, measure: Callable[[str], int] = len, change: int = 0) -> None:
        self._size = size
        self._measure = measure
        self._change = change
        self._piece = max(min(_PIECE, size // 8), 1)
        self._pieces: deque[tuple[str, str, int]] = deque()
        self._open: list[str] = []  # the newest text, all of one stream: tiny strings would take 30 times their size
        self._open_name = ""
        self._open_size = 0
        self._kept = 0
        self._is_cut = False  # whether what is kept begins within a line, whose beginning was let go of
        #: characters that were let go of
        self.left_out = 0
        #: line ends among them
        self.lines = 0

    @property
    def kept(self) -> int:
        """How much is kept, as it is measured."""
        return self._kept + self._open_size

    def add(self, name: str, text: str) -> None:
        """Put text at the end; let go of what is too much at the beginning, in pieces."""
        changes = name != self._open_name
        if changes:
            self._close()
            self._open_name = name
        size = self._measure(text)
        if size > self._size:
            self._close()
            for _, old, _ in self._pieces:
                self._let_go(old)
            self._pieces.clear()
            self._kept = 0
            cut = len(text) - len(_ending(text, self._size, self._measure))
            self._let_go(text[:cut])
            text = text[cut:]
        # In pieces: whenever too much is kept, one of them is let go of, and no more.
        for start in range(0, max(len(text), 1), self._piece):
            self._append(text[start : start + self._piece])
        if changes:
            self._open_size += self._change
        while self.kept > self._size and self._pieces:
            _, old, size = self._pieces.popleft()
            self._kept -= size
            self._let_go(old)

    def _append(self, text: str) -> None:
        if self._open_size >= self._piece or len(self._open) >= _MOST_JOINED:
            self._close()
        self._open.append(text)
        self._open_size += self._measure(text)

    def take(self) -> list[tuple[str, str]]:
        """Return what is kept, as names and texts, once; where a line was cut, from the next one, if there is one."""
        self._close()
        by_stream = itertools.groupby(self._pieces, key=lambda piece: piece[0])
        taken = [(name, "".join(text for _, text, _ in pieces)) for name, pieces in by_stream]
        self._pieces.clear()
        self._kept = 0
        if self._is_cut and taken:
            name, text = taken[0]
            end = text.find("\n") + 1
            if end < len(text) or len(taken) > 1:  # else nothing would be left
                self._let_go(text[:end])
                taken[0] = (name, text[end:])
        self._is_cut = False
        return [(name, text) for name, text in taken if text]

    def _let_go(self, text: str) -> None:
        self.left_out += len(text)
        self.lines += text.count("\n")
        if text:
            self._is_cut = not text.endswith("\n")

    def _close(self) -> None:
        if self._open:
            self._pieces.append((self._open_name, "".join(self._open), self._open_size))
            self._kept += self._open_size
            self._open, self._open_size = [], 0


def size_of(text: str) -> int:
    """Return how many bytes a text has in a message and in a notebook's file: both are JSON in UTF-8."""
    written = json.dumps(text, ensure_ascii=False)
    return len(written if written.isascii() else written.encode("utf-8", "surrogatepass")) - 2


def beginning(text: str, size: int) -> str:
    """Return as much of a text's beginning as has at most `size` bytes, as `size_of` counts them."""
    cut = text[: max(size, 0)]
    while cut and (now := size_of(cut)) > size:
        cut = cut[: min(len(cut) * size // now, len(cut) - 1)]
    return cut


def _ending(text: str, size: int, measure: Callable[[str], int]) -> str:
    cut = text[-size:]
    while cut and (now := measure(cut)) > size:
        cut = cut[len(cut) - min(len(cut) * size // now, len(cut) - 1) :]
    return cut


def spoken(lines: int, size: int) -> str:
    """Return in words how much: "1,234 lines (5.6 MB)"."""
    return f"{lines:,} lines ({size / 1e6:,.1f} MB)"
