"""Why a result may be missing from an IPython kernel, and what brings it back. Pure.

IPython shows no result where the last input of its *history* ends with `;` (IPython, core/displayhook.py,
`quiet`). Our cells are not in the owner's history: after the owner's `plot();` none of our results would come,
and our own `;` would not be obeyed. So, around a cell where that may matter, `quiet` is made to look at the
input that is running, whoever sent it, and is put back right behind it. Both requests are silent, run no
statement, and leave no name and no line of history.
"""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.messages import Message, execute_content, text

__all__ = ["ASK", "Semicolons", "arm", "disarm"]

#: Content of the `history_request` for the last input of the running session.
ASK = {
    "hist_access_type": "range",
    "session": 0,
    "start": -1,
    "stop": None,
    "raw": False,
    "output": False,
    "n": 1,
    "unique": False,
    "pattern": "",
}

# Expressions, since statements would need names in the owner's namespace. They count: another guest's cell may
# stand between ours and what follows it.
_ARM = (
    "(lambda s, d: (d.update(_guests=d.get('_guests', 0) + 1, quiet="
    "lambda: s.displayhook.semicolon_at_end_of_expression(s.transform_cell(s.get_parent()['content']['code'])))))"
    "(get_ipython(), get_ipython().displayhook.__dict__)"
)
_DISARM = (
    "(lambda d: d.update(_guests=d.get('_guests', 1) - 1) or d['_guests'] > 0 "
    "or [d.pop(key, None) for key in ('_guests', 'quiet')] and None)"
    "(get_ipython().displayhook.__dict__)"
)


def arm() -> dict[str, Any]:
    """The content of the request before the cell."""
    return execute_content("", silent=True, allow_stdin=False, user_expressions={"quiet": _ARM})


def disarm() -> dict[str, Any]:
    """The content of the request behind the cell."""
    return execute_content("", silent=True, allow_stdin=False, user_expressions={"quiet": _DISARM})


class Semicolons:
    """What is known of one kernel's last input, from its replies and from what other clients run."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        #: whether the kernel is an IPython one; None until its `kernel_info_reply` is in
        self.ipython: bool | None = None
        #: whether the history's last input ends with `;`; None where it may
        self.last: bool | None = None

    def receive(self, message: Message) -> None:
        """Take any message of the connection."""
        if message.msg_type == "kernel_info_reply":
            self.ipython = message.content.get("implementation") == "ipython"
        elif message.msg_type == "history_reply":
            if text(message.parent_header.get("session")) == self._client_id:
                self._read(message.content.get("history"))
        elif message.msg_type == "execute_input" and text(message.parent_header.get("session")) != self._client_id:
            # It may be another guest's, which is not in the history either: only a `;` where none was is sure
            # to matter, and only the lack of one where none was is sure not to.
            ends = may_end_quietly(text(message.content.get("code")))
            self.last = False if self.last is False and not ends else None

    def matter(self, code: str) -> bool:
        """Whether `code` must be sent between `arm` and `disarm`."""
        return self.ipython is True and (self.last is not False or may_end_quietly(code))

    def _read(self, history: object) -> None:
        try:
            last = history[-1][2] if history else ""  # type: ignore[index]  # (session, line, input)
        except (TypeError, IndexError, KeyError):
            self.last = None
        else:
            self.last = may_end_quietly(last if isinstance(last, str) else "")


def may_end_quietly(code: str) -> bool:
    """Whether code may end with `;`, before comments. Wrong only on the careful side."""
    lines = [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and (lines[-1].rstrip().endswith(";") or "#" in lines[-1])
