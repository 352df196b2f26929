"""The end of a printed text, which depends on the text alone: `End`."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

_PIECE = 1 << 16
_MOST_JOINED = 1 << 10


class End:
    """Keeps the last `size` characters of what is printed; looking at them changes nothing.

    They are the same however the text was cut into pieces, so that equal texts have equal ends.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._piece = max(min(_PIECE, size // 8), 1)
        self._pieces: deque[tuple[str, str]] = deque()
        self._kept = 0
        self._open: list[str] = []  # the newest text, all of one stream: tiny strings would take 30 times their size
        self._open_name = ""
        self._open_size = 0
        #: characters that were printed
        self.characters = 0
        #: line ends among them
        self.lines = 0

    @property
    def is_cut(self) -> bool:
        """Whether text was left out at the beginning."""
        return self.characters > self._size

    def add(self, name: str, text: str) -> None:
        """Put text at the end; let go of what is too much at the beginning."""
        if not text:
            return
        self.characters += len(text)
        self.lines += text.count("\n")
        if name != self._open_name or self._open_size >= self._piece or len(self._open) >= _MOST_JOINED:
            self._close()
            self._open_name = name
        text = text[max(len(text) - self._size, 0) :]
        self._open.append(text)
        self._open_size += len(text)
        # Whole pieces go, and only those that no view needs.
        while self._pieces and self._kept + self._open_size - len(self._pieces[0][1]) >= self._size:
            self._kept -= len(self._pieces.popleft()[1])

    def _close(self) -> None:
        if self._open:
            self._pieces.append((self._open_name, "".join(self._open)))
            self._kept += self._open_size
            self._open, self._open_size = [], 0

    def texts(self) -> list[tuple[str, str]]:
        """Return what is kept, as names and texts of one stream each; a cut text begins with a whole line, if it can.

        A line that is longer than all that is kept cannot.
        """
        texts = self.last(self._size)
        if self.is_cut and texts:
            name, text = texts[0]
            line = text.find("\n") + 1
            texts[0] = (name, text[line:] or text)
        return texts

    def last(self, most: int) -> list[tuple[str, str]]:
        """Return the last characters, `most` of them, as names and texts of one stream each."""
        found: list[tuple[str, str]] = []
        newest = ((self._open_name, piece) for piece in reversed(self._open))
        for name, piece in itertools.chain(newest, reversed(self._pieces)):
            if most <= 0:
                break
            found.append((name, piece[-most:]))
            most -= len(piece)
        runs = itertools.groupby(reversed(found), key=lambda one: one[0])
        return [(name, "".join(text for _, text in run)) for name, run in runs]


def ending(newest_first: Iterable[str], most: int) -> str:
    """Return the last characters of a text, `most` of them, from its pieces; no more of these are asked for."""
    found: list[str] = []
    for piece in newest_first:
        found.append(piece[-most:])
        most -= len(piece)
        if most <= 0:
            break
    return "".join(reversed(found))
