"""Output in an IPython terminal."""

from __future__ import annotations

import sys
from typing import Any

from kernel_bridge_magic.display.notebook import NotebookSink

__all__ = ["TerminalSink"]


class TerminalSink(NotebookSink):
    """Shows through a terminal IPython: as a notebook does, but at once, and never without a word."""

    flush_always = True

    @property
    def can_ask(self) -> bool:
        """Whether somebody can type."""
        return sys.stdin is not None and sys.stdin.isatty()

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Publish a MIME bundle; one without text says at least what it is."""
        if data and "text/plain" not in data:
            data = {**data, "text/plain": f"<{next(iter(data))}>"}
        # A terminal prints an update again; IPython does the same with its own displays.
        super().display(data, metadata, display_id, update)
