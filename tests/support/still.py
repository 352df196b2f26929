"""A transport without sockets or threads: what it is told to send is kept, and what comes is put by the test."""

from __future__ import annotations

from kernel_bridge_magic.errors import LinkLost
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.base import Transport

__all__ = ["KERNEL", "StillTransport"]

KERNEL = Kernel(id="still", connection_file="kernel-still.json")


class StillTransport(Transport):
    """With `down` nothing can be sent, as over a link that is lost."""

    name = "still"

    def __init__(self, kernel: Kernel = KERNEL) -> None:
        super().__init__(kernel)
        self.sent: list[Message] = []
        self.down = False

    @property
    def is_open(self) -> bool:
        return not self.down and super().is_open

    def _send(self, message: Message) -> None:
        if self.down:
            raise LinkLost("the link is lost")
        self.sent.append(message)
        self.was_sent(message)

    def was_sent(self, message: Message) -> None:
        """Do what the kernel does at once when it has a message: nothing, unless the test says otherwise."""

    def of(self, msg_type: str) -> list[Message]:
        """What was sent of one type."""
        return [message for message in self.sent if message.msg_type == msg_type]

    def receive(self, message: Message) -> None:
        """Have a message come from the kernel."""
        self._handle_message(message)
