"""The transport to a kernel of this machine: its ZMQ sockets, signed and encrypted by `jupyter_client`.

The sockets belong to the one thread: other threads put messages into a list and wake it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading

import zmq

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.errors import CannotConnect, LinkLost
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Closed
from kernel_bridge_magic.transports.zmq_channels import ZMQChannels


class ZMQTransport(Transport):
    """The sockets of a connection file."""

    name = "zmq"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._channels = ZMQChannels(self.client_id)
        self._outbox: collections.deque[Message] = collections.deque()
        self._greeted = threading.Event()
        self._has_greeted = self._wants_greeting = False

    # -- opening

    def _connect(self) -> None:
        channels, title = self._channels, self._kernel.title
        channels.open(self._kernel.connection_file, title)
        self._wait_connected()
        channels.subscribe_anew()  # does it greet? It does not for what its server has subscribed to, which is all
        self._prove_subscription()
        if channels.has_other_key:
            raise CannotConnect(f"{title} {self._other_key()}")
        if channels.is_unsigned:
            raise CannotConnect(
                f"{title} does not sign what it sends, though its connection file has a key, so nothing was run. "
                "List the kernels again, or start it anew: the file may be another kernel's"
            )

    def _other_key(self) -> str:
        file = os.path.basename(self._kernel.connection_file)
        return (
            f"does not have the key that {file} names, so nothing was run. The kernel of that file has probably ended, "
            "and another one listens on its ports: list the kernels again and use that one's file"
        )

    def _wait_connected(self) -> None:
        bounds = timing.current
        patience = bounds.zmq_open_starting if self._kernel.state == "starting" else bounds.zmq_open
        deadline, look_at = Deadline.after(patience), Deadline.after(bounds.zmq_look_at_process)
        while not self._channels.are_connected(20):
            if look_at.is_over:
                look_at = Deadline.after(bounds.zmq_look_at_process)
                if self._channels.is_suspended():
                    self._opening.suspended()
                    deadline = Deadline.after(patience)
            if deadline.is_over or self._closing:
                raise CannotConnect("the kernel does not listen where its connection file says; it has ended")

    def _prove_subscription(self) -> None:
        """Make sure that IOPub reaches us before a cell is sent: a subscription takes its time.

        Newer kernels greet (`iopub_welcome`). Others are asked for their info until some IOPub message is
        heard; one that is busy answers later, and by then the subscription is old.
        """
        for _ in range(5):
            deadline = Deadline.after(timing.current.zmq_subscribe)
            self._channels.send(self._make("kernel_info_request", {}))
            answered = False
            while not deadline.is_over and not self.state.heard_iopub and not self._closing:
                answered = "shell" in self._receive(20) or answered
            if self.state.heard_iopub or not answered:
                return

    # -- the thread

    def _pump(self) -> Closed:
        channels = self._channels
        poller = zmq.Poller()
        channels.register(poller)
        poller.register(self._wakeup.fileno(), zmq.POLLIN)
        while not self._closing:
            ready = dict(poller.poll(round(timing.current.zmq_look * 1000)))
            if not ready and self._expired():
                self._closing = True
                return Closed("")
            if self._wakeup.fileno() in ready:
                self._wakeup.clear()
            self._receive(0)
            if channels.has_other_key:
                # It was silent when we connected. What it was sent it has dropped.
                return Closed(f"the kernel {self._other_key()}", unaccepted=True)
            if channels.has_left(ready):
                return self._left()
            while self._outbox and not self._closing:
                channels.send(self._outbox.popleft())
            if self._wants_greeting:
                self._wants_greeting = False
                channels.subscribe_anew()
        while self._outbox and self.state.life.ended is None:
            channels.send(self._outbox.popleft())  # what was sent just before the close
        return Closed("")

    def _receive(self, wait_ms: int) -> set[str]:
        """Receive and dispatch what comes, see `ZMQChannels.receive`. Return the channels over which something came."""
        came = self._channels.receive(wait_ms)
        for item in came:
            if isinstance(item, Message):
                self._handle_message(item)
            else:
                self._drop_message(item)
        return {item.channel for item in came if isinstance(item, Message)}

    def _left(self) -> Closed:
        """Hand on what the kernel's process had sent before it closed its sockets: it is here still."""
        quiet = 0
        while quiet < 3 and not self._closing:
            quiet = 0 if self._receive(50) else quiet + 1
        self.state.end(EndSignal.LEFT)
        return Closed("the kernel closed its sockets")

    def _dispatch(self, message: Message) -> None:
        if message.msg_type == "iopub_welcome":
            self._has_greeted = True
            self._greeted.set()
        super()._dispatch(message)

    def _deliver(self, message: Message) -> None:
        self._channels.send(message)

    def _listen(self, seconds: float) -> None:
        self._receive(round(seconds * 1000))

    def _release(self) -> None:
        self._channels.close(timing.current.zmq_flush if self.state.life.ended is None else 0.0)

    # -- any thread

    def greets(self, seconds: float) -> bool | None:
        """Return whether the kernel's Python runs: it greets a new subscription. None for a kernel that never greets.

        No request is needed for it, which would make a busy kernel look idle to its server (FACTS.md#busy-kernels): a
        topic that nobody publishes under is enough, and the thread that sends all output answers (ipykernel 7.2).
        """
        if not self._has_greeted:
            return None
        with self._lock:
            self._ledger.share()  # the greeting has a number as well, and is none of a cell's
        self._greeted.clear()
        self._wants_greeting = True
        return self._greeted.wait(seconds) if self._wakeup.ring() else None

    def _send(self, message: Message) -> None:
        self._outbox.append(message)
        if not self._wakeup.ring():
            with contextlib.suppress(ValueError):  # the thread has sent it as its last
                self._outbox.remove(message)
                raise LinkLost("the connection is closed")
