"""The seam: a thread that owns the sockets, receives always, and routes by `parent_header.msg_id`.

Receiving must never wait for whoever shows output: WebSocket pings are answered only while receiving, and a
ZMQ subscriber that does not read loses messages (FACTS, head 3).
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, LinkLost
from kernel_bridge_magic.protocol.life import Life, Sign
from kernel_bridge_magic.protocol.messages import Message, make_message
from kernel_bridge_magic.protocol.semicolons import Semicolons

__all__ = ["IDLE_SECONDS", "Closed", "Item", "Transport"]

#: An open connection keeps a culler from its work (H5): one that nobody uses is let go after this long.
IDLE_SECONDS = 300.0
_FAREWELL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Closed:
    """The last item of every queue: the connection is closed, and why ("" when we closed it)."""

    reason: str


Item = Message | Sign | Closed
Inbox = queue.SimpleQueue[Any]  # Items, and what a caller puts there to wake itself


class Transport:
    """One open road to one kernel. Subclasses open, receive and send; this class routes.

    Safe to use from any thread. After a fork only the parent may use it (F44).
    """

    name = ""

    def __init__(self) -> None:
        #: our `session` in headers; a WebSocket's session_id. Never shared between two connections (FACTS 3)
        self.client_id = uuid.uuid4().hex
        self.life = Life(self.client_id)
        self.semicolons = Semicolons()
        #: what is sent on shell as the last thing when we close the connection
        self.farewell: Mapping[str, Any] | None = None
        #: messages that could not be parsed
        self.malformed = 0
        #: when the last message came over IOPub, whoever it was for; seconds on the monotonic clock
        self.heard_iopub = 0.0
        self._inboxes: dict[str, Inbox] = {}
        self._subscribers: list[Inbox] = []
        self._lock = threading.Lock()
        self._sent = 0
        self._pid = os.getpid()
        self._used = time.monotonic()
        self._closing = False
        self._closed: Closed | None = None
        self._opened: queue.SimpleQueue[KernelBridgeError | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"kernel-bridge-{self.name}", daemon=True)

    # -- for everybody

    def open(self, timeout: float) -> None:
        """Connect, and return when the kernel can be spoken to.

        Raises:
            CannotConnect: it could not be opened within `timeout` seconds; nothing was sent.
            ServerError: the server refused.
        """
        self._thread.start()
        try:
            problem = self._opened.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise CannotConnect(f"no connection to the kernel within {timeout:g} s") from None
        except BaseException:  # Ctrl-C while connecting
            self.close()
            raise
        if problem is not None:
            raise problem

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would go to the kernel that was found."""
        return not self._closing and self._closed is None and self.life.ended is None and self._pid == os.getpid()

    def send(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        channel: str = "shell",
        inbox: Inbox | None = None,
        parent: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Send one message; what answers it goes to `inbox`. Gives its `msg_id`.

        Raises:
            LinkLost: the connection is closed; the message was not sent.
        """
        if self._pid != os.getpid():
            raise LinkLost("this connection belongs to the process that opened it; connect anew after a fork")
        message = self._make(msg_type, content, channel, parent, metadata)
        msg_id = message.msg_id
        if inbox is not None:
            with self._lock:
                self._inboxes[msg_id] = inbox
        self._used = time.monotonic()
        try:
            if self._closing or self._closed is not None:
                raise LinkLost("the connection is closed")
            self._send(message)
        except BaseException:
            self.forget(msg_id)
            raise
        return msg_id

    def _make(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        channel: str = "shell",
        parent: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Message:
        with self._lock:
            self._sent += 1
            number = self._sent
        return make_message(
            msg_type,
            content,
            channel=channel,
            msg_id=f"{self.client_id}_{number}",
            client_id=self.client_id,
            date=datetime.now(UTC).isoformat(),
            parent=parent,
            metadata=metadata,
        )

    def forget(self, msg_id: str) -> None:
        """Stop routing the answers of a request; what still comes goes to the subscribers."""
        with self._lock:
            self._inboxes.pop(msg_id, None)
        self._used = time.monotonic()

    def subscribe(self, inbox: Inbox) -> None:
        """Give `inbox` every message that no request claims, and keep the connection open meanwhile."""
        with self._lock:
            self._subscribers.append(inbox)

    def unsubscribe(self, inbox: Inbox) -> None:
        """End a subscription. One that does not exist is no error."""
        with self._lock:
            if inbox in self._subscribers:
                self._subscribers.remove(inbox)

    def close(self, wait: float = 1.0) -> None:
        """Close the sockets and end the thread; the kernel is not touched. Closing twice is no error."""
        self._closing = True
        if self._pid != os.getpid():
            return
        self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait)
            if self._thread.is_alive():
                self._break()

    # -- for subclasses

    def _connect(self) -> None:
        """Open the sockets; runs in the thread. Raises errors of this package only."""
        raise NotImplementedError

    def _pump(self) -> str:
        """Receive until closing, and give the reason of the end; runs in the thread."""
        raise NotImplementedError

    def _send(self, message: Message) -> None:
        """Send; called from any thread. Raises LinkLost, or BadCell for a message that is too large."""
        raise NotImplementedError

    def _deliver(self, message: Message) -> None:
        """Send; runs in the thread."""
        raise NotImplementedError

    def _listen(self, seconds: float) -> None:
        """Receive and dispatch what comes within `seconds`, at least once; runs in the thread."""
        raise NotImplementedError

    def _wake(self) -> None:
        """Make `_pump` look at `_closing`; called from any thread."""
        raise NotImplementedError

    def _break(self) -> None:
        """End a receive that `_wake` did not end; called from any thread."""

    def _release(self) -> None:
        """Close the sockets; runs in the thread, once."""
        raise NotImplementedError

    def _expired(self) -> bool:
        """Whether nobody has used the connection for so long that it must be let go."""
        with self._lock:
            used = bool(self._inboxes or self._subscribers)
        return not used and time.monotonic() - self._used > IDLE_SECONDS

    def _dispatch(self, message: Message) -> None:
        with self._lock:
            inbox = self._inboxes.get(message.parent_id)
            inboxes = [inbox] if inbox is not None else list(self._subscribers)
        for target in inboxes:
            target.put(message)
        if message.channel == "iopub":
            self.heard_iopub = time.monotonic()
        self.semicolons.receive(message)
        sign = self.life.receive(message)
        if sign is not None:
            self._tell_all(sign)

    def _tell_all(self, item: Sign | Closed) -> None:
        with self._lock:
            inboxes = {id(inbox): inbox for inbox in (*self._inboxes.values(), *self._subscribers)}
        for inbox in inboxes.values():
            inbox.put(item)

    # -- the thread

    def _say_farewell(self, message: Message) -> None:
        """Send the last message, and wait until it is answered, or a moment if the kernel is busy.

        A server that sees the connection close drops what it has not yet handed to the kernel.
        """
        inbox: Inbox = queue.SimpleQueue()
        with self._lock:
            self._inboxes[message.msg_id] = inbox
        self._deliver(message)
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while time.monotonic() < deadline:
            self._listen(0.05)
            while not inbox.empty():
                if getattr(inbox.get(), "channel", "") == "shell":
                    return

    def _run(self) -> None:
        reason = ""
        try:
            try:
                self._connect()
            except KernelBridgeError as problem:
                self._opened.put(problem)
                return
            self._opened.put(None)
            reason = self._pump()
        finally:
            self._closed = Closed("" if self._closing else reason)
            # If the thread ends for a reason nobody thought of, the opener must not wait for it.
            self._opened.put(CannotConnect("the connection broke while it was opened"))
            if self._closing and self.farewell is not None and self.life.ended is None:
                with contextlib.suppress(KernelBridgeError):
                    self._say_farewell(self._make("execute_request", self.farewell))
            self._release()
            self._tell_all(self._closed)
