"""The interfaces of this package ("faces"), and what a user can type in each. Pure.

Error texts are made far below the interface that shows them, and name what to type next. So each interface says which
one it is (`Bridge.face`), and nobody reads of a command that does not exist where they are.
"""

from __future__ import annotations

from typing import NamedTuple


class Face(NamedTuple):
    """What the user of one interface types, for error texts."""

    listing: str  # what lists the kernels
    details: str  # what lists them with whole ids, and the files that were skipped
    server: str  # what names a server
    add: str  # what adds one, so that its name means it
    run: str  # what runs code in a kernel
    here: str  # how to run code in this kernel itself
    only: str  # what has a command ask one server only
    undone: str = "nothing was run"  # the outcome of a request that may be for several kernels


_ADD = "kernel-bridge servers --add URL --name NAME"

MAGICS = Face(
    listing="%kernels",
    details="%kernels -v",
    server="%servers --add URL",
    add="%servers --add URL --name NAME",
    run="%%remote NAME",
    here="Run the cell without %%remote",
    only="-s NAME",
)
COMMAND_LINE = Face(
    listing="kernel-bridge list",
    details="kernel-bridge list -v",
    server="--base-url URL",
    add=_ADD,
    run="kernel-bridge exec NAME -c CODE",
    here="Run the code there",
    only="--base-url URL",
)
PYTHON = Face(
    listing="kernels()",
    details="kernels().listing",
    server="server=URL",
    add=_ADD,
    run="connect(NAME)",
    here="Run the code without connect()",
    only="server=NAME",
)

_DONE = {"interrupt": "interrupted", "restart": "restarted", "shutdown": "shut down"}


def acting(face: Face, verb: str) -> Face:
    """Return a face as it is where a kernel is not to run code: `verb` is `interrupt`, `restart` or `shutdown`."""
    run = f"%kernels --{verb} NAME" if face is MAGICS else f"kernel-bridge {verb} NAME"
    here = "Use its own menu, or what it was started with"
    return face._replace(run=run, undone=f"nothing was {_DONE[verb]}", here=here)
