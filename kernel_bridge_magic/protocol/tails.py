"""The end of a text that is too long to be kept: `Tail`."""

from __future__ import annotations

from collections import deque

__all__ = ["MAX_OUTPUT", "Tail", "size_of", "spoken"]

#: Bytes of printed text that one cell may leave in a notebook; a browser still opens that.
MAX_OUTPUT = 16 << 20
_PIECE = 1 << 16
_MOST_JOINED = 1 << 10


class Tail:
    """Keeps about the last `size` characters of what is printed, an eighth more at most; counts what it lets go of."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._piece = min(_PIECE, size // 8)
        self._pieces: deque[tuple[str, str]] = deque()
        self._open: list[str] = []  # the newest text, all of one stream: tiny strings would take 30 times their size
        self._open_name = ""
        self._open_size = 0
        self._kept = 0
        #: characters that were let go of
        self.left_out = 0
        #: line ends among them
        self.lines = 0

    @property
    def kept(self) -> int:
        """How many characters are kept."""
        return self._kept + self._open_size

    def add(self, name: str, text: str) -> None:
        """Put text at the end; let go of what is too much at the beginning, in pieces."""
        if name != self._open_name or self._open_size >= self._piece or len(self._open) >= _MOST_JOINED:
            self._close()
            self._open_name = name
        if len(text) > self._size:
            self._close()
            for _, old in self._pieces:
                self._let_go(old)
            self._pieces.clear()
            self._kept = 0
            cut = len(text) - self._size
            self._let_go(text[:cut])
            text = text[cut:]
        self._open.append(text)
        self._open_size += len(text)
        while self.kept > self._size and self._pieces:
            _, old = self._pieces.popleft()
            self._kept -= len(old)
            self._let_go(old)

    def take(self) -> list[tuple[str, str]]:
        """Give what is kept, as names and texts, once; where something was left out, from the start of a line."""
        self._close()
        taken = list(self._pieces)
        self._pieces.clear()
        self._kept = 0
        if self.left_out and taken:
            name, text = taken[0]
            end = text.find("\n") + 1
            self._let_go(text[:end])
            taken[0] = (name, text[end:])
        return [(name, text) for name, text in taken if text]

    def _let_go(self, text: str) -> None:
        self.left_out += len(text)
        self.lines += text.count("\n")

    def _close(self) -> None:
        if self._open:
            self._pieces.append((self._open_name, "".join(self._open)))
            self._kept += self._open_size
            self._open, self._open_size = [], 0


def size_of(text: str) -> int:
    """How many bytes a text takes in a notebook's file."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def spoken(lines: int, size: int) -> str:
    """Say how much: "1,234 lines (5.6 MB)"."""
    return f"{lines:,} lines ({size / 1e6:,.1f} MB)"
