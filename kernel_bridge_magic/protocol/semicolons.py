"""Why a result may be missing from an IPython kernel, and what brings it back. Pure.

IPython shows no result where the last input of its *history* ends with `;` (IPython, core/displayhook.py,
`quiet`). Our cells are not in the owner's history: after the owner's `plot();` none of our results would come,
and our own `;` would not be obeyed. So, while we are connected, `quiet` looks at the input that is running if
that is a guest's (its metadata say so), and else does what it always did. That is put there by a silent request
that runs no statement and leaves no name and no line of history, and taken away when we leave.
"""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.messages import Message, evaluate_content

__all__ = ["GUEST", "Semicolons", "arm", "disarm"]

#: The key in a cell's metadata that tells it from the owner's.
GUEST = "kernel_bridge"

# Expressions, since statements would need names in the owner's namespace. They count: there may be other guests.
_ARM = (
    "(lambda s, h: h.__dict__.update(_guests=h.__dict__.get('_guests', 0) + 1, quiet=lambda: ("
    "h.semicolon_at_end_of_expression(s.transform_cell(s.get_parent()['content']['code'])) "
    f"if '{GUEST}' in ((s.get_parent() or {{}}).get('metadata') or {{}}) else type(h).quiet(h))))"
    "(get_ipython(), get_ipython().displayhook)"
)
_DISARM = (
    "(lambda d: d.update(_guests=d.get('_guests', 1) - 1) or d['_guests'] > 0 "
    "or [d.pop(key, None) for key in ('_guests', 'quiet')] and None)"
    "(get_ipython().displayhook.__dict__)"
)


def arm() -> dict[str, Any]:
    """The content of the `execute_request` before our first cell."""
    return evaluate_content(quiet=_ARM)


def disarm() -> dict[str, Any]:
    """The content of the `execute_request` behind our last cell."""
    return evaluate_content(quiet=_DISARM)


class Semicolons:
    """Whether one connection's kernel must still be armed."""

    def __init__(self) -> None:
        self._ipython: bool | None = None
        self._armed: str | None = None  # which life; "" for the first one, before its name is known

    def receive(self, message: Message) -> None:
        """Take any message of the connection: a `kernel_info_reply` tells whether it is an IPython kernel."""
        if message.msg_type == "kernel_info_reply":
            self._ipython = message.content.get("implementation") == "ipython"

    def must_arm(self, life: str) -> bool:
        """Whether the kernel must be armed before the next cell; asked once for each life of the kernel.

        One that has not said what it is, being busy, is armed too: it does not harm another language's kernel.
        """
        if self._ipython is False:
            return False
        before, self._armed = self._armed, life or self._armed or ""
        return before is None or (before != "" and before != self._armed)
