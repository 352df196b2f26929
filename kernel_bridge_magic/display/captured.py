"""Repeat notes that went to a captured stderr outside of it, when the cell is over."""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.interactiveshell import InteractiveShell


class Captured:
    """Remember the notes that one cell wrote to stderr, until it is known whether they were captured.

    `%%capture`, `capture_output` and `redirect_stderr` all replace `sys.stderr`, and put it back before the cell ends.
    A stream that still stands there at the cell's end is not theirs: the user has put it there for good, and it gets
    nothing twice.
    """

    def __init__(self, shell: Any) -> None:
        self._events = shell.events
        self._told: list[tuple[Any, str]] = []

    def told(self, text: str) -> None:
        """Record what was written to `sys.stderr` just now."""
        if not self._told:
            self._events.register("post_run_cell", self._tell_again)
            self._events.register("pre_run_cell", self._forget)
        self._told.append((sys.stderr, text))

    def _tell_again(self, result: object = None) -> None:
        # A cell within a cell ends as well, such as the one in `%%capture`: there its stream still stands, or that of
        # another `%%capture` around it.
        for stream, text in self._told:
            if stream is not sys.stderr:
                sys.stderr.write(text)
        self._told = [(sys.stderr, text) for _, text in self._told]

    def _forget(self, info: object = None) -> None:
        """Forget the notes: the next cell begins, and may capture for itself."""
        if _is_nested():
            return
        self._events.unregister("post_run_cell", self._tell_again)
        self._events.unregister("pre_run_cell", self._forget)
        self._told.clear()


def _is_nested() -> bool:
    """Return whether the cell that begins now runs within another one, as by `get_ipython().run_cell`."""
    frame, cells = sys._getframe(), 0
    while frame is not None and cells < 2:
        cells += frame.f_code is InteractiveShell.run_cell_async.__code__
        frame = frame.f_back  # type: ignore[assignment]
    return cells == 2
