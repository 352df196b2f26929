"""`Transport`: a thread that owns the sockets of one connection, and always receives.

Receiving must never wait for whoever shows output: WebSocket pings are answered only while receiving, and a
ZMQ subscriber that does not read loses messages (FACTS.md#receiving).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import require
from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, LinkLost
from kernel_bridge_magic.fate.kernel_state import KernelState
from kernel_bridge_magic.fate.ledger import Gap, Ledger
from kernel_bridge_magic.interrupts import PATIENCE, check, held
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message, make_message
from kernel_bridge_magic.remote_code.displayhook_patch import DisplayhookPatch
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.inbox import Closed, HeldUp, Inbox, Subscriber
from kernel_bridge_magic.transports.main_shell import QUIET, main_shell_of
from kernel_bridge_magic.transports.router import Router
from kernel_bridge_magic.transports.threads import Opening, TimeIsUp, Wakeup


class Transport:
    """One connection to one kernel. Subclasses connect, receive and send.

    Safe to use from any thread. After a fork only the parent may use it (F44).
    """

    name = ""
    #: whether a link that breaks is opened again, so that it matters where the kernel's messages stood before
    reopens = False
    #: whether the kernel's messages to us may bring buffers
    carries_buffers = True

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        #: our `session` in headers, and a WebSocket's session_id; no two connections share one
        self.client_id = uuid.uuid4().hex
        self.main_shell = main_shell_of(kernel)
        #: who gets what comes
        self.router = Router(self.main_shell.shown_for)
        #: whether the patch that shows our results must be put into the kernel again
        self.displayhook_patch = DisplayhookPatch(self.client_id)
        #: what is known of the kernel
        self.state = KernelState(self.client_id, self.router, self.main_shell, self.displayhook_patch.receive)
        self._ledger = Ledger(self.client_id)
        #: what is sent on shell as the last thing when we close the connection
        self.farewell: Mapping[str, Any] | None = None
        #: how many messages were dropped: nobody could make sense of them, or no memory was left for them
        self.malformed = self.unheld = 0
        #: how often the link broke, or was tried in vain: each may have left requests over there that nobody hears of
        self.breaks = 0
        #: since when, on the monotonic clock, a link that broke or does not answer was silent; None for a good one
        self.lost_since: float | None = None
        #: whether a cell has given the link up; with `left_unknown` nobody knows how that one ended
        self.abandoned = self.left_unknown = False
        #: whether somebody wants it open though no request is under way
        self.kept = False
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pid, self._used, self._closing = os.getpid(), time.monotonic(), False
        self._closed: Closed | None = None
        #: until when what comes may be what a server kept, so that nobody knows when it was sent; monotonic clock
        self._kept_until = float("-inf")
        self._opening = Opening()
        #: wakes the thread while it polls; open from before `_connect` until `_release`
        self._wakeup = Wakeup()
        self._thread = threading.Thread(target=self._run, name=f"kernel-bridge-{self.name}", daemon=True)

    def open(self, timeout: float, held_up: HeldUp | None = None) -> None:
        """Connect, and return when the kernel can be spoken to.

        `held_up` is called again and again as long as nobody lets us in, see `HeldUp`.

        Raises:
            CannotConnect: it could not be opened within `timeout` seconds; nothing was sent.
            ServerError: the server refused.
        """
        try:
            with held():
                self._thread.start()
                problem = self._opening.wait(timeout, held_up)
        except TimeIsUp:
            self.close()
            raise CannotConnect(f"no connection to the kernel within {timeout:g} s") from None
        except BaseException:  # Ctrl-C while connecting
            self.close(timing.current.abandon)
            raise
        if problem is not None:
            raise problem

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would go to the kernel that was found."""
        ended = self._closing or self.abandoned or self._closed is not None or self.state.life.ended is not None
        return not ended and self._pid == os.getpid()

    def send(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        channel: str = "shell",
        inbox: Subscriber | None = None,
        subshell: str = "",
        msg_id: str = "",
        **parts: Any,
    ) -> str:
        """Send one message and return its `msg_id`; what answers it goes to `inbox`.

        `parts` are its `parent`, `metadata` and `buffers`, as `make_message` has them. Longer than others, since
        all who follow a request must know of it before it goes out.

        Raises:
            LinkLost: the connection is closed; the message was not sent.
        """
        if self._pid != os.getpid():
            raise LinkLost("this connection belongs to the process that opened it; connect anew after a fork")
        msg_id = msg_id or self.new_id()
        message = self._make(msg_type, content, channel=channel, msg_id=msg_id, subshell=subshell, **parts)
        is_cell = msg_type == "execute_request" and not content.get("silent")
        if inbox is not None:
            self.router.expect(msg_id, inbox)
            if is_cell:
                with self._lock:
                    self._ledger.expect(msg_id)
        aside = msg_type == "execute_request" and channel == "control"
        if aside or (is_cell and not subshell):
            self.main_shell.send(msg_id, aside=aside)
        self._used = time.monotonic()
        try:
            if self._closing or self._closed is not None:
                raise LinkLost("the connection is closed")
            self._send(message)
        except BaseException:
            self.forget(msg_id)
            self.main_shell.end(msg_id)
            raise
        return msg_id

    def new_id(self) -> str:
        """Return a `msg_id` that nothing bears yet."""
        return f"{self.client_id}_{next(self._numbers)}"

    def ask(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        seconds: float,
        channel: str = "shell",
        harmless: bool = False,
        whole: bool = False,
        **parts: Any,
    ) -> dict[str, Any] | None:
        """Send a request and return its reply's content; None if none came within `seconds`, or the end came first.

        If `harmless`, it changes nothing over there: the wait may be interrupted. `whole` waits for its idle as well.

        Raises:
            LinkLost: the connection is closed; the request was not sent.
        """
        inbox = Inbox()
        msg_id = self.send(msg_type, content, channel=channel, inbox=inbox, **parts)
        deadline = Deadline.after(seconds)
        reply: dict[str, Any] | None = None
        try:
            while reply is None or whole:
                try:
                    item = inbox.get(timeout=min(deadline.left, PATIENCE))
                except queue.Empty:
                    if deadline.is_over:
                        break
                    if harmless:
                        check()
                    continue
                if isinstance(item, Closed):
                    break
                if isinstance(item, Message):
                    reply = item.content if item.channel == channel else reply
                    whole = whole and item.execution_state != "idle"
            return reply
        finally:
            self.forget(msg_id)

    def _make(self, msg_type: str, content: Mapping[str, Any], *, channel: str = "shell", **parts: Any) -> Message:
        """Make a message of ours; `parts` are those of `make_message`."""
        parts = {"msg_id": parts.get("msg_id") or self.new_id(), "client_id": self.client_id, **parts}
        if channel == "shell" and msg_type in QUIET and content.get("silent", True):
            self.main_shell.ask(parts["msg_id"])
        return make_message(msg_type, content, channel=channel, date=datetime.now(UTC).isoformat(), **parts)

    def abandon(self, *, left_unknown: bool) -> None:
        """Send no other cell over this link; it is closed once nobody waits for it any more."""
        self.abandoned, self.left_unknown = True, left_unknown
        self._wakeup.ring()

    def forget(self, msg_id: str) -> None:
        """Stop routing the answers of a request; what still comes goes to the subscribers."""
        self.router.forget(msg_id)
        with self._lock:
            self._ledger.forget(msg_id)
        self._used = time.monotonic()

    def use(self) -> None:
        """Record that what comes is shown: the connection is not let go as one that nobody uses."""
        self._used = time.monotonic()

    def close(self, wait: float = 1.0) -> None:
        """Close the sockets and end the thread; the kernel is not touched. Closing twice is no error."""
        self._closing = True
        if self._pid != os.getpid():
            return
        self._wakeup.ring()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait)
            if self._thread.is_alive():
                self._break()

    def greets(self, seconds: float) -> bool | None:
        """Return whether the kernel's Python runs: it greets a new subscription. None where that is not known (F10)."""
        return None

    @property
    def receiving_at(self) -> float:
        """When the last bytes came of a message that is not whole yet; -inf for none, or where that is not known."""
        return float("-inf")

    def missing(self, cell: str, behind: str = "", *, dropped: bool = False) -> Gap | None:
        """Return how many messages of a cell never came, see `Ledger.missing`; None if nobody can tell."""
        with self._lock:
            return self._ledger.missing(cell, behind, dropped=dropped)

    def unexplained(self, cell: str) -> int | None:
        """Return how many messages since a cell was sent may have been the cell's, see `Ledger.unexplained`."""
        with self._lock:
            return self._ledger.unexplained(cell)

    # -- for subclasses, which also set `name` and `reopens`: the five that raise NotImplementedError must be written

    def _connect(self) -> None:
        """Open the sockets; runs in the thread. Raises errors of this package only."""
        raise NotImplementedError

    def _pump(self) -> Closed:
        """Receive until the connection ends or is to be closed, and return how it ended; runs in the thread."""
        raise NotImplementedError

    def _send(self, message: Message) -> None:
        """Send; called from any thread. Raises LinkLost, or BadCell for a message that is too large."""
        raise NotImplementedError

    def _deliver(self, message: Message) -> None:
        """Send; runs in the thread."""
        self._send(message)

    def _listen(self, seconds: float) -> None:
        """Receive and dispatch what comes within `seconds`, at least once; runs in the thread."""
        raise NotImplementedError

    def _break(self) -> None:
        """End whatever the thread still waits for, though it was woken to see `_closing`; called from any thread."""

    def _release(self) -> None:
        """Close the sockets; runs in the thread, once."""
        raise NotImplementedError

    # -- for subclasses to call

    def _expired(self) -> bool:
        """Return whether nobody has used the connection for so long that it must be let go, or nobody can any more."""
        used = self.router.is_awaited or self.kept
        ended = self.abandoned or self.state.life.ended is not None
        return not used and (ended or time.monotonic() - self._used > timing.current.unused)

    def _handle_message(self, message: Message) -> None:
        """Handle a message as it came. Here is the guard: whatever it is, the thread goes on to the next one."""
        try:
            self._dispatch(message)
        except Exception as problem:
            self._drop_message(type(problem))

    def _drop_message(self, why: type[Exception]) -> None:
        """Count a message that is dropped; the running cell tells of it at its end."""
        self.unheld += issubclass(why, MemoryError)
        self.malformed += not issubclass(why, MemoryError)

    # -- what the thread does

    def _dispatch(self, message: Message) -> None:
        with self._lock:
            self._ledger.receive(message)
        now = time.monotonic()
        clock = time.strftime("%H:%M:%S") if message.channel == "iopub" and now >= self._kept_until else ""
        self.state.receive(message, now=now, clock=clock)

    def _say_farewell(self, message: Message) -> None:
        """Send the last message, and wait until it is answered, or a moment if the kernel is busy.

        A server that sees the connection close drops what it has not yet handed to the kernel.
        """
        inbox = Inbox()
        self.router.expect(message.msg_id, inbox)
        self._deliver(message)
        deadline = Deadline.after(timing.current.farewell)
        while not deadline.is_over:
            self._listen(0.05)
            while not inbox.empty():
                if getattr(inbox.get(), "channel", "") == "shell":
                    return

    def _run(self) -> None:
        ended = Closed("")
        # If the thread ends for a reason nobody thought of, the opener must not wait for it.
        problem: KernelBridgeError = CannotConnect("the connection broke while it was opened")
        self.main_shell.join(self.client_id)
        try:
            try:
                require()
                self._wakeup.open()
                self._connect()
            except KernelBridgeError as error:
                problem = error
                return
            self._opening.finish(None)
            ended = self._pump()
        finally:
            self._closed = dataclasses.replace(ended, reason="") if self._closing else ended
            self._opening.finish(problem)  # once it is closed: whoever opens it goes on at once
            if self._closing and self.farewell is not None and self.state.life.ended is None:
                with contextlib.suppress(KernelBridgeError):
                    self._say_farewell(self._make("execute_request", self.farewell))
            self._wakeup.close()
            self._release()
            self.main_shell.leave(self.client_id)
            self.router.tell_all(self._closed)
