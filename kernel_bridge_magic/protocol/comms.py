"""Which comms of another kernel have a proxy here, and how their messages are changed on the way. Pure.

A comm (the messaging specification's "custom messages") is how a widget of a kernel and its view in a front end
speak. The kernel's messages reach every front end that is attached to it. Ours are the comms that our own requests
opened: a widget that the kernel's own notebook made is left to that notebook.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from kernel_bridge_magic.protocol.messages import Message, text

COMM_TYPES = ("comm_open", "comm_msg", "comm_close")
_REMEMBERED = 500  # requests whose output may still come

#: The message here that a request over there was sent for; None where there are no messages (a terminal).
Parent = dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ForwardedComm:
    """A comm message as it is to be published here, under the message `parent`.

    `captures` says that an Output widget begins or ends to capture what is shown: what was shown before must be out.
    """

    msg_type: str
    comm_id: str
    content: dict[str, Any]
    metadata: dict[str, Any]
    buffers: tuple[bytes, ...]
    parent: Parent
    captures: bool = False


class Comms:
    """The comms of one connection, and the requests that they and late output belong to."""

    def __init__(self) -> None:
        self._parents: OrderedDict[str, Parent] = OrderedDict()
        self._together: set[str] = set()  # requests that share their parent with others
        self._models: dict[str, str] = {}

    @property
    def ids(self) -> list[str]:
        """The comms that are open, oldest first."""
        return list(self._models)

    def sent(self, msg_id: str, parent: Parent, *, together: bool = False) -> None:
        """Remember a request of ours, and the message here that it was sent for.

        `together`: that message has sent others, too. An Output widget captures nothing here then, since it would
        capture what they show.
        """
        self._parents[msg_id] = parent
        if together:
            self._together.add(msg_id)
        if len(self._parents) > _REMEMBERED:
            self._together.discard(self._parents.popitem(last=False)[0])

    def is_ours(self, msg_id: str) -> bool:
        """Return whether a request is ours, and not forgotten yet."""
        return msg_id in self._parents

    def is_together(self, msg_id: str) -> bool:
        """Return whether the message here that a request of ours was sent for has sent others, too."""
        return msg_id in self._together

    def parent(self, msg_id: str) -> Parent:
        """Return the message here that a request of ours was sent for."""
        return self._parents.get(msg_id)

    def receive(self, message: Message) -> ForwardedComm | None:
        """Handle a comm message of the kernel; return None if it is not for us."""
        comm_id = text(message.content.get("comm_id"))
        data = message.content.get("data")
        state = data.get("state") if isinstance(data, dict) else None
        if message.msg_type == "comm_open":
            if not comm_id or not self.is_ours(message.parent_id):
                return None
            self._models[comm_id] = text(state.get("_model_name")) if isinstance(state, dict) else ""
        elif comm_id not in self._models:
            return None
        captures = isinstance(state, dict) and "msg_id" in state and self._models[comm_id] == "OutputModel"
        content = self._redirected(message.content) if captures else message.content
        if message.msg_type == "comm_close":
            del self._models[comm_id]
        here = self.parent(message.parent_id)
        return ForwardedComm(message.msg_type, comm_id, content, message.metadata, message.buffers, here, captures)

    def close(self, comm_id: str) -> bool:
        """Forget a comm that was closed from here; return whether it was open."""
        return self._models.pop(comm_id, None) is not None

    def _redirected(self, content: dict[str, Any]) -> dict[str, Any]:
        """An Output widget names the request whose output it captures: here that is another message."""
        data = content["data"]
        request = text(data["state"]["msg_id"])
        parent = (None if request in self._together else self._parents.get(request)) or {}
        here = text(parent.get("header", {}).get("msg_id"))
        return {**content, "data": {**data, "state": {**data["state"], "msg_id": here}}}
