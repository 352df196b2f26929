"""Build neutral lines of ours for a notebook: small and grey, and marked as ours. Pure.

A line of a kind in `IN_PLACE` is replaced by the next one of its kind in the cell; an empty update removes it.
"""

from __future__ import annotations

import html
from typing import Any

from kernel_bridge_magic.protocol.events import Queued

KERNEL = "kernel"  # which kernel MATCH means
QUEUED = "queued"  # what the cell waits for; it goes when the cell begins
LATE = "late"  # whose output it is that comes when its cell is over
INCOMING = "incoming"  # how much of a large message has come
WIDGETS = "widgets"  # why they are shown as text
REQUEST = "request"  # what the cell asked its front end for
KERNELS = "kernels"  # how far a cell is on many kernels
JOB = "job"  # how far a background job is
COPYING = "copying"  # how far a variable is on its way
PLACE = "place"  # in which kernel the cell ran, while %autoremote is on
VARIABLE = "variable"  # which variable was copied
#: the kinds whose next line replaces the one before
IN_PLACE = frozenset({QUEUED, INCOMING, COPYING})

# JupyterLab's and Notebook 7's colour, VS Code's, and one that can be read on white and on black.
_GREY = "var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #767676))"
_STYLE = f"color: {_GREY}; font: 0.85em var(--jp-code-font-family, monospace); white-space: pre-wrap; padding: 0 8px"

# Beside the first line of the output, and not above it.
_AT_THE_RIGHT = "float: right"


def bundle(text: str, kind: str = "") -> dict[str, Any]:
    """Build the MIME bundle of a line; an empty bundle removes the line."""
    if not text:
        return {}
    style = f"{_STYLE}; {_AT_THE_RIGHT}" if kind == PLACE else _STYLE
    return {"text/plain": text, "text/html": f'<div style="{style}">{html.escape(text)}</div>'}


def metadata(kind: str) -> dict[str, Any]:
    """Build the metadata that mark a display as ours: `{"kernel_bridge": {"line": kind}}`. Tools find it by that."""
    return {"kernel_bridge": {"line": kind}}


def waiting(event: Queued, kernel: str, stop: str, *, busy: bool = False) -> str:
    """Return the line for a cell that waits for its turn. `kernel` is the kernel's title, `stop` how one interrupts.

    `busy` is whether the kernel's server calls it busy. That counts if no connection of ours has heard what the kernel
    runs. A server that calls a kernel idle proves nothing, so no line says that.
    """
    left = f"{stop} to leave this one in the queue; nothing will be interrupted"
    if event.connecting:
        held_up = "lets nobody in until the kernel answers, which may be busy or starting (a minute at most)"
        return f"waiting: the server of {kernel} {held_up}. {stop} to give up; nothing was sent yet"
    if event.starting:
        return f"waiting: {kernel} does not answer; it may still be starting"
    if not event.since and not event.ours:
        if busy:
            return f"waiting: {kernel} is busy, as its server says. {left}"
        return f"waiting: {kernel} does not answer; it may be busy"
    whose = "an earlier cell of yours" if event.ours else "another client's cell"
    is_running = "is running" if event.sure else "is probably still running"
    since = f" (since {event.since})" if event.since else ""
    return f"waiting: {kernel} {is_running} {whose}{since}. {left}"
