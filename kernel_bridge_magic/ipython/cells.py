"""Where the cursor stands in a cell of ours: in the line of a magic, or in code for another kernel. Pure.

Positions count characters, as IPython and the messaging specification do.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kernel_bridge_magic.ipython.line_parser import MagicParser
from kernel_bridge_magic.ipython.options import parser_of

#: the head of a cell that is a cell magic of ours; IPython leaves out blank lines before it
_CELL = re.compile(r"(?:[ \t]*\n)*[ \t]*%%(?P<name>\w+)(?=\s|$)")
#: cell magics whose cell is a cell of this kernel, where magics of ours may stand
_PYTHON = frozenset({"time", "timeit", "capture", "prun", "local"})
#: a line that is a line magic, with what its result is bound to, perhaps behind `%time`
_BOUND = r"(?:[\w.,*\[\]'\" \t]+=[ \t]*|[ \t]*)"
_LINE = re.compile(rf"{_BOUND}(?:%time[ \t]{_BOUND})?%(?P<name>\w+)(?=\s|$)")


class InLine(NamedTuple):
    """The cursor stands in the line of a magic, behind its name."""

    #: the magic, without its percent signs
    name: str
    #: whether it has a cell below it
    is_cell: bool
    #: what stands behind the name, and where the cursor is in it
    line: str
    cursor: int
    #: where `line` begins in the whole text
    start: int


class InCode(NamedTuple):
    """The cursor stands in code that goes to another kernel."""

    #: the line of the magic, with its options and its MATCH; None where `%autoremote` sends the whole cell
    line: str | None
    #: the code, and where the cursor is in it
    code: str
    cursor: int
    #: where `code` begins in the whole text
    start: int


def spot(text: str, cursor: int, parser: MagicParser) -> InLine | InCode | None:
    """Return where the cursor stands in a cell; None where that is nothing of ours.

    `parser` is that of `%remote`: it tells MATCH from CODE.
    """
    top = 0
    while (cell := _CELL.match(text, top)) is not None:
        start = cell.end()
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if cursor <= start:
            return None
        if cursor <= end:
            return _in_line(cell["name"], True, text[start:end], cursor, start)
        if cell["name"] == "remote":
            return InCode(text[start:end], text[end + 1 :], cursor - end - 1, end + 1)
        if cell["name"] not in _PYTHON:
            return None
        top = end + 1
    begin = text.rfind("\n", 0, cursor) + 1
    end = text.find("\n", cursor)
    line = text[begin : len(text) if end < 0 else end]
    found = _LINE.match(line)
    if found is None or cursor - begin <= found.end():
        return None
    start = begin + found.end()
    rest = line[found.end() :]
    if found["name"] == "remote" and (head := parser.head_of(rest)) is not None and cursor - start > head:
        code = rest[head:].lstrip()
        skipped = len(rest) - len(code)
        if cursor - start >= skipped:
            return InCode(rest[:head], code, cursor - start - skipped, start + skipped)
    return _in_line(found["name"], False, rest, cursor, start)


def _in_line(name: str, is_cell: bool, line: str, cursor: int, start: int) -> InLine | None:
    return InLine(name, is_cell, line, cursor - start, start) if parser_of(name) is not None else None
