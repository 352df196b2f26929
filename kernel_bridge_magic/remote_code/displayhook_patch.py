"""When an IPython kernel's display hook must be patched to show our cells' results, and by which request. Pure.

Without the patch none of our results would come after the owner's `plot();`, and our own `;` would have no effect:
`there/displayhook_patch.py` says why. It goes by itself ten minutes after a guest's last cell or request for it.
"""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.messages import USERNAME, Message, evaluate_content, evaluated
from kernel_bridge_magic.remote_code import call

#: The key in a cell's metadata that marks it as a guest's.
GUEST = "kernel_bridge"

_AGAIN_SECONDS = 300.0  # half of what it lasts without us
_FILES = ("displayhook_patch",)


def arm() -> dict[str, Any]:
    """Build the content of the `execute_request` before our first cell."""
    return evaluate_content(quiet=call("arm", files=_FILES))


def disarm() -> dict[str, Any]:
    """Build the content of the `execute_request` behind our last cell."""
    return evaluate_content(quiet=call("disarm", files=_FILES))


class DisplayhookPatch:
    """Know whether one connection's kernel must be patched. `client_id` is the `session` in our headers."""

    def __init__(self, client_id: str = "") -> None:
        self._client_id = client_id
        self._ipython: bool | None = None
        self._armed: str | None = None  # which life; "" for the first one, before its name is known
        self._armed_at = 0.0
        self._breaks = 0
        self._others = False  # other guests are there, or were

    def receive(self, message: Message) -> None:
        """Learn from any message of the connection what the kernel is, and whether there are other guests."""
        if message.msg_type == "kernel_info_reply":
            self._ipython = message.content.get("implementation") == "ipython"
        parent = message.parent_header
        if parent.get("session") != self._client_id:
            self._others = self._others or parent.get("username") == USERNAME
        elif message.msg_type == "execute_reply":
            self._others = self._others or evaluated(message.content, "quiet") == "True"

    def must_arm(self, life: str, *, now: float, breaks: int) -> bool:
        """Return whether the kernel must be patched before the next cell. If so, assume that it is from now on.

        `life` names the kernel's life (its session). `now` is in seconds on the monotonic clock. `breaks` is how often
        the link broke: other guests may have come and gone meanwhile. A kernel that is too busy to say what it is
        counts as IPython: the request does no harm to kernels of other languages.
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
