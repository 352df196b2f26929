"""Neutral lines of ours as a notebook shows and keeps them: small and grey, and marked as ours. Pure.

Of a kind there is one line in a cell that changes in its place; it is taken away by an update to nothing.
"""

from __future__ import annotations

import html
from typing import Any

__all__ = ["INCOMING", "IN_PLACE", "KERNEL", "LATE", "QUEUED", "REQUEST", "WIDGETS", "bundle", "metadata"]

KERNEL = "kernel"  # which one MATCH means
QUEUED = "queued"  # what the cell waits for; it goes when the cell begins
LATE = "late"  # whose output it is that comes when its cell is over
INCOMING = "incoming"  # how much of a large message has come
WIDGETS = "widgets"  # why they are shown as text
REQUEST = "request"  # what the cell asked its front end for
#: the kinds whose next line takes the place of the one before
IN_PLACE = frozenset({QUEUED, INCOMING})

# JupyterLab's and Notebook 7's colour, VS Code's, and one that can be read on white and on black.
_GREY = "var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #767676))"
_STYLE = f"color: {_GREY}; font: 0.85em var(--jp-code-font-family, monospace); white-space: pre-wrap; padding: 0 8px"


def bundle(text: str) -> dict[str, Any]:
    """Build the MIME bundle of a line, the empty one of a line that is taken away."""
    if not text:
        return {}
    return {"text/plain": text, "text/html": f'<div style="{_STYLE}">{html.escape(text)}</div>'}


def metadata(kind: str) -> dict[str, Any]:
    """Build what marks a display as ours: `{"kernel_bridge": {"line": kind}}`, where a tool may find and drop it."""
    return {"kernel_bridge": {"line": kind}}
