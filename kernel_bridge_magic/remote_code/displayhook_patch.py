"""Why a result may be missing from an IPython kernel, and what brings it back. Pure.

IPython shows no result where the last input of its *history* ends with `;` (IPython, core/displayhook.py,
`quiet`). Our cells are not in the owner's history: after the owner's `plot();` none of our results would come,
and our own `;` would not be obeyed. So, while we are connected, `quiet` looks at the input that is running if
that is a guest's (its metadata say so), and else does what it always did. That is put there by a silent request
that runs no statement and leaves no name and no line of history, and taken away when we leave.

Guests share it, and who was killed cannot be told from who is silent: whoever leaves takes it away for all. Whoever has
heard of another guest arms before each cell. It goes by itself ten minutes after a guest's last cell or arming.
"""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.messages import USERNAME, Message, evaluate_content, evaluated
from kernel_bridge_magic.remote_code import call

__all__ = ["GUEST", "DisplayhookPatch", "arm", "disarm"]

#: The key in a cell's metadata that tells it from the owner's.
GUEST = "kernel_bridge"

_AGAIN_SECONDS = 300.0  # half of what it lasts without us
_FILES = ("displayhook_patch",)


def arm() -> dict[str, Any]:
    """The content of the `execute_request` before our first cell."""
    return evaluate_content(quiet=call("arm", files=_FILES))


def disarm() -> dict[str, Any]:
    """The content of the `execute_request` behind our last cell."""
    return evaluate_content(quiet=call("disarm", files=_FILES))


class DisplayhookPatch:
    """Whether one connection's kernel must still be armed. `client_id` is the `session` in our headers."""

    def __init__(self, client_id: str = "") -> None:
        self._client_id = client_id
        self._ipython: bool | None = None
        self._armed: str | None = None  # which life; "" for the first one, before its name is known
        self._armed_at = 0.0
        self._breaks = 0
        self._others = False  # other guests are there, or were

    def receive(self, message: Message) -> None:
        """Take any message of the connection: it may tell what the kernel is, and of other guests."""
        if message.msg_type == "kernel_info_reply":
            self._ipython = message.content.get("implementation") == "ipython"
        parent = message.parent_header
        if parent.get("session") != self._client_id:
            self._others = self._others or parent.get("username") == USERNAME
        elif message.msg_type == "execute_reply":
            self._others = self._others or evaluated(message.content, "quiet") == "True"

    def must_arm(self, life: str, *, now: float, breaks: int) -> bool:
        """Whether the kernel must be armed before the next cell. If so it is taken to be.

        `life` is which life of the kernel this is, `now` the monotonic clock, `breaks` how often the link broke: other
        guests may have come and gone meanwhile. A kernel that has not said what it is, being busy, is armed too: it
        does not harm another language's kernel.
        """
        if self._ipython is False:
            return False
        before, self._armed = self._armed, life or self._armed or ""
        first = before is None or (before != "" and before != self._armed)
        stale = now - self._armed_at > _AGAIN_SECONDS or breaks != self._breaks
        if not (first or stale or self._others):
            return False
        self._armed_at, self._breaks = now, breaks
        return True
