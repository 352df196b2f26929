"""The faces of this package, and what the user of each can do next. Pure.

A text that names a next step is made far below the face that shows it. So the face says which one it is when it asks
(`Bridge.face`), and nobody is told of a command that is not there where they are.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMAND_LINE", "INTERRUPT", "MAGICS", "PYTHON", "Face"]


class Face(NamedTuple):
    """How a user asks us, in the words that a text tells them."""

    listing: str  # what lists the kernels
    details: str  # what lists them with whole ids, and the files that were skipped
    server: str  # what names a server
    add: str  # what adds one, so that its name means it
    run: str  # what runs code in a kernel
    here: str  # what to do with code for the kernel that asks
    undone: str = "nothing was run"  # what became of a request where it was not clear which kernel it is for


_ADD = "kernel-bridge servers --add URL --name NAME"

MAGICS = Face(
    listing="%kernels",
    details="%kernels -v",
    server="%servers --add URL",
    add="%servers --add URL --name NAME",
    run="%%remote NAME",
    here="Run the cell without %%remote",
)
COMMAND_LINE = Face(
    listing="kernel-bridge list",
    details="kernel-bridge list -v",
    server="--base-url URL",
    add=_ADD,
    run="kernel-bridge exec NAME -c CODE",
    here="Run the code there",
)
INTERRUPT = COMMAND_LINE._replace(run="kernel-bridge interrupt NAME", undone="nothing was interrupted")
PYTHON = Face(
    listing="kernels()",
    details="kernels().listing",
    server="server=URL",
    add=_ADD,
    run="connect(NAME)",
    here="Run the code without connect()",
)
