"""The faces of this package, and what the user of each can do next. Pure.

A text that names a next step is made far below the face that shows it. So the face says which one it is when it asks
(`Bridge.face`), and nobody is told of a command that is not there where they are.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMAND_LINE", "MAGICS", "PYTHON", "Face"]


class Face(NamedTuple):
    """How a user asks us, in the words that a text tells them."""

    listing: str  # what lists the kernels
    details: str  # what lists them with whole ids, and the files that were skipped
    server: str  # what names a server
    here: str  # what to do with code for the kernel that asks


MAGICS = Face("%kernels", "%kernels -v", "%servers --add URL", "Run the cell without %%remote")
COMMAND_LINE = Face("kernel-bridge list", "kernel-bridge list -v", "--base-url URL", "Run the code there")
PYTHON = Face("kernels()", "kernels().listing", "server=URL", "Run the code without connect()")
