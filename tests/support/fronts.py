"""What an ipykernel publishes to its front end, without the ipykernel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Published:
    """As much of an ipykernel as publishing needs; `messages` is what its session was told to send."""

    ident = "k"
    iopub_socket = object()

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.comm_manager = SimpleNamespace(comms={})
        self.session = self

    def send(self, socket: object, msg_type: str, content: dict[str, Any], **more: Any) -> None:
        assert socket is self.iopub_socket
        self.messages.append({"msg_type": msg_type, "content": content, **more})
