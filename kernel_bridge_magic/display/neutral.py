"""Build neutral lines of ours for a notebook: small and grey, and marked as ours. Pure.

A line of a kind in `IN_PLACE` is replaced by the next one of its kind in the cell; an empty update removes it.
"""

from __future__ import annotations

import html
from typing import Any

KERNEL = "kernel"  # which kernel MATCH means
QUEUED = "queued"  # what the cell waits for; it goes when the cell begins
LATE = "late"  # whose output it is that comes when its cell is over
INCOMING = "incoming"  # how much of a large message has come
WIDGETS = "widgets"  # why they are shown as text
REQUEST = "request"  # what the cell asked its front end for
#: the kinds whose next line replaces the one before
IN_PLACE = frozenset({QUEUED, INCOMING})

# JupyterLab's and Notebook 7's colour, VS Code's, and one that can be read on white and on black.
_GREY = "var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #767676))"
_STYLE = f"color: {_GREY}; font: 0.85em var(--jp-code-font-family, monospace); white-space: pre-wrap; padding: 0 8px"


def bundle(text: str) -> dict[str, Any]:
    """Build the MIME bundle of a line; an empty bundle removes the line."""
    if not text:
        return {}
    return {"text/plain": text, "text/html": f'<div style="{_STYLE}">{html.escape(text)}</div>'}


def metadata(kind: str) -> dict[str, Any]:
    """Build the metadata that mark a display as ours: `{"kernel_bridge": {"line": kind}}`. Tools find it by that."""
    return {"kernel_bridge": {"line": kind}}
