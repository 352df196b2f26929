"""Which cells `%autoremote` sends to the other kernel: the rules. No I/O, and nothing of IPython is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import FrameType
from typing import Any

#: ours, and those that work with the history, which is kept here
_OURS = frozenset({"remote", "local", "autoremote", "kernels", "servers", "jobs"})
_HISTORY = frozenset({"history", "hist", "rerun", "recall", "rep", "macro", "save", "notebook"})
#: A cell that loads the extension ran here when nothing else could be.
_EXTENSION = re.compile(r"^[ \t]*%(?:re|un)?load_ext[ \t]+kernel_bridge_magic\b", re.MULTILINE)
#: `%kernels`, `%%remote?`, `x = %remote`, with all that may stand around
_MAGIC = re.compile(r"(?:[\w.,*\[\]'\" \t]+=\s*)?\?{0,2}%%?(\w+)(?:\?{0,2}\s*$|\s)")
_SETTINGS = re.compile(r"%config\s+KernelBridge\b")
_AUTO = re.compile(r"autoremote(?:[ \t]+off)?")  # with no percent sign, as IPython lets one type it
_EXIT = re.compile(r"(?:exit|quit)\s*(?:\(\s*\))?\s*;?")
_LOCAL = re.compile(r"\s*%%local[ \t]*(?:\n|\Z)")
_STAY = re.compile(r"\s*(?:%|get_ipython\(\)\.run_line_magic\(')autoremote\b[^\n]*")


def stays_here(cell: str) -> bool:
    """Return whether a cell runs in this kernel although `%autoremote` is on: nothing, or a magic of ours, is in it."""
    text = cell.strip()
    if not text or _EXTENSION.search(text) or _AUTO.fullmatch(text):
        return True
    first = next((line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")), "")
    found = _MAGIC.match(first.strip() + "\n")
    return _SETTINGS.match(first.strip()) is not None or (found is not None and found[1] in _OURS | _HISTORY)


def leaves(cell: str) -> bool:
    """Return whether a cell is `exit` alone: it ends the stay, as in a shell on another machine."""
    return _EXIT.fullmatch(cell.strip()) is not None


def local_body(cell: str) -> str | None:
    """Return the code below `%%local`; None for another cell."""
    found = _LOCAL.match(cell)
    return None if found is None else cell[found.end() :]


def run_here(cell: str, body: str) -> str:
    """Return a cell with `%%local` as IPython is to run it: with its `await`, its magics, its value, and its lines.

    A comment takes the place of the line, so that a traceback counts lines as the cell shows them. But a magic of the
    whole cell must stand first, and so must what IPython shifts to the left.
    """
    first = next(line for line in body.split("\n") if line.strip())
    above = cell[: len(cell) - len(body)].strip()
    return body if first.startswith(("%%", " ", "\t")) else f"# {above}\n{body}"


def goes_on(cell: str) -> bool:
    """Return whether code stands below the `%autoremote` of a cell."""
    lines = cell.split("\n")
    at = next((number for number, line in enumerate(lines) if _STAY.fullmatch(line)), len(lines))
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines[at + 1 :])


def is_typed(frame: FrameType | None, *, in_kernel: bool) -> bool:
    """Return whether IPython transforms a cell that somebody has typed, by the calls that led here.

    A cell that runs within another one is none, but one of `%rerun`. Nor is one that a front end runs by itself,
    silently or outside of the history. In an ipykernel it begins with a request of the front end: what a widget or a
    task runs begins with none.
    """
    begun = False
    while frame is not None:
        name = frame.f_code.co_name
        if name == "do_execute" and _is_in(frame, "ipykernel."):
            return _is_stored(frame.f_locals)
        if name == "_run_cell" and not begun and _is_in(frame, "IPython.core."):
            begun = True
            if not _is_stored(frame.f_locals):
                return (cell := _rerunning(frame)) is not None and is_typed(cell.f_back, in_kernel=in_kernel)
        if name == "run_cell_async" and _is_in(frame, "IPython.core."):
            return False
        frame = frame.f_back
    return begun and not in_kernel


def typed_cell(frame: FrameType | None) -> str:
    """Return the text of the cell that runs, by the calls that led here; "" if there is none."""
    cell = _cell_around(frame)
    return "" if cell is None else str(cell.f_locals.get("raw_cell", ""))


def _is_stored(variables: Mapping[str, Any]) -> bool:
    return bool(variables.get("store_history")) and not variables.get("silent")


def _rerunning(frame: FrameType) -> FrameType | None:
    """Return the call of the cell whose `%rerun` runs the cell of `frame`: it does not store it anew."""
    before = frame.f_back
    while before is not None and before.f_code.co_name == "run_cell":
        before = before.f_back
    if before is None or before.f_code.co_name != "rerun" or not _is_in(before, "IPython.core."):
        return None
    cell = _cell_around(before)
    return None if cell is None or local_body(str(cell.f_locals.get("raw_cell", ""))) is not None else cell


def _cell_around(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not (frame.f_code.co_name == "run_cell_async" and _is_in(frame, "IPython.core.")):
        frame = frame.f_back
    return frame


def _is_in(frame: FrameType, package: str) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(package)
