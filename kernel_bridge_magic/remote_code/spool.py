"""The requests of durable mode: have the other kernel keep a cell's messages, fetch them, and end the keeping. Pure.

The fetch goes over the control channel, which ipykernel 7 serves in a thread of its own, also while the cell runs. A
server would take the idle of such a request for the kernel's own, and might cull a kernel that is busy. So
`there/spool.py` keeps back the busy and idle of requests that `quiet_id` names.
"""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.messages import describe_kernel, evaluate_content, evaluated, has_subshells
from kernel_bridge_magic.remote_code import call

RING_BYTES = 64 * 2**20
CHUNK_BYTES = 4 * 2**20  # of messages in one reply, before they are packed
#: The word of the quiet request whose idle ends the keeping.
DROP = "drop"


def arm(cell: str, most: int = RING_BYTES) -> dict[str, Any]:
    """Build the content of the `execute_request` before the cell with that `msg_id`.

    `most` is the ring's size in bytes. Of cells that ended and that nobody has come for, the last three are kept, for
    an hour.
    """
    return evaluate_content(spool=call("arm", cell, most, files=("spool",)))


def is_armed(content: dict[str, Any]) -> bool:
    """Return whether the `execute_reply` to `arm` says that the cell's messages are kept."""
    return evaluated(content, "spool") == "'armed'"


def quiet_id(cell: str, word: str) -> str:
    """Return the `msg_id` of a request beside that cell whose busy and idle nobody is to see."""
    return f"{cell}-{word}"


def fetch(cell: str, start: int) -> dict[str, Any]:
    """Build the content of the `execute_request` for the kept messages from number `start` on, one chunk of them."""
    return evaluate_content(spool=call("fetch", cell, start, CHUNK_BYTES, files=("fetch",)))


def drop() -> dict[str, Any]:
    """Build the content of the quiet request `DROP`: its idle takes the hook away with the last cell."""
    return evaluate_content()


def needs(info: dict[str, Any]) -> str:
    """Say what is wrong with a kernel for durable mode, by its `kernel_info_reply`; "" if nothing is.

    The version there is IPython's, not ipykernel's: what tells ipykernel 7 is that it has subshells.
    """
    if has_subshells(info):
        return ""
    older = info.get("implementation") == "ipython"
    what = "older" if older else describe_kernel(info) or "one that does not say what it is"
    return f"--durable needs ipykernel 7 or newer in that kernel; this one is {what}"
