"""The seam: a thread that owns the sockets, receives always, and routes by `parent_header.msg_id`.

Receiving must never wait for whoever shows output: WebSocket pings are answered only while receiving, and a
ZMQ subscriber that does not read loses messages (FACTS, head 3).
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, LinkLost
from kernel_bridge_magic.fate.ledger import Gap, Ledger
from kernel_bridge_magic.fate.life import EndSignal, Life
from kernel_bridge_magic.interrupts import PATIENCE, check, held
from kernel_bridge_magic.models import Kernel, is_uuid
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.messages import Message, make_message
from kernel_bridge_magic.remote_code.displayhook_patch import DisplayhookPatch
from kernel_bridge_magic.transports.inbox import Inbox
from kernel_bridge_magic.transports.items import Back, Broken, Closed, HeldUp, Item, Subscriber
from kernel_bridge_magic.transports.turns import Turns

__all__ = ["IDLE_SECONDS", "Transport"]

#: An open connection keeps a culler from its work (H5): one that nobody uses is let go after this long.
IDLE_SECONDS = 300.0
_FAREWELL_SECONDS = 0.3
_ABANDON_SECONDS = 0.2  # for a thread that connects to see that nobody waits; then its socket is cut
_ASK_AGAIN_SECONDS = 0.5
_MOST_KERNELS = 200  # whose turns are remembered, though nobody listens to them

_log = logging.getLogger(__name__)
_turns: dict[object, Turns] = {}
_turns_lock = threading.Lock()


def _turns_of(kernel: Kernel) -> Turns:
    """Return what this process knows of a kernel's turns, whichever of its connections heard it."""
    key = kernel.id if is_uuid(kernel.id) and not kernel.claimed else (kernel.place, kernel.id)
    with _turns_lock:
        if len(_turns) >= _MOST_KERNELS:
            for stale in [known for known, turns in _turns.items() if not turns.is_needed]:
                del _turns[stale]
        return _turns.setdefault(key, Turns())


class Transport:
    """One open road to one kernel. Subclasses open, receive and send; this class routes.

    Safe to use from any thread. After a fork only the parent may use it (F44).
    """

    name = ""

    def __init__(self, kernel: Kernel) -> None:
        #: whose turn it is in the kernel's main shell
        self.turns = _turns_of(kernel)
        self._hears = False
        #: our `session` in headers; a WebSocket's session_id. Never shared between two connections (FACTS 3)
        self.client_id = uuid.uuid4().hex
        self.life = Life(self.client_id)
        self.displayhook_patch = DisplayhookPatch(self.client_id)
        self._ledger = Ledger(self.client_id)
        #: what is sent on shell as the last thing when we close the connection
        self.farewell: Mapping[str, Any] | None = None
        #: messages that were dropped because nobody could make sense of them
        self.malformed = 0
        #: messages that were dropped because no memory was left for them
        self.unheld = 0
        self._faults: list[str] = []
        #: when the last message came over IOPub, whoever it was for; seconds on the monotonic clock
        self.heard_iopub = 0.0
        #: the content of the last `kernel_info_reply`, empty before the first
        self.info: Mapping[str, Any] = {}
        #: whether the kernel is known to send nothing of a cell after the cell's idle
        self.orderly = True
        #: whether a link that breaks is opened again, so that it matters where the kernel's messages stood before
        self.reopens = False
        #: how often the link broke, or was tried in vain: each may have left requests over there that nobody hears of
        self.breaks = 0
        #: since when nothing was heard over a link that broke or does not answer, on the monotonic clock; None for one
        #: that is well
        self.lost_since: float | None = None
        #: whether a cell has given the link up; with `left_unknown` nobody knows how that one ended
        self.abandoned = self.left_unknown = False
        #: whether somebody wants it open though no request is under way
        self.kept = False
        self._inboxes: dict[str, Inbox] = {}
        self._subscribers: list[Subscriber] = []
        self._lock = threading.Lock()
        self._sent = 0
        self._pid = os.getpid()
        self._used = time.monotonic()
        self._unproven = False
        self._closing = False
        #: whether the server does not accept us any more
        self.denied = False
        #: whether it is certain that the kernel took nothing of what it was sent
        self.unaccepted = False
        self._closed: Closed | None = None
        #: when a server was asked to let us in, on the monotonic clock; None where there is none, or none yet
        self._knocked: float | None = None
        #: until when what comes may be what a server kept, so that nobody knows when it was sent; monotonic clock
        self._kept_until = float("-inf")
        #: whether the kernel's process was seen to be suspended while we connected
        self.suspended = False
        self._news: EndSignal | None = None
        #: whether a cell has told of the kernel's end, so that what still comes of it until the next one is no news
        self.told = False
        self._opened: queue.SimpleQueue[KernelBridgeError | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"kernel-bridge-{self.name}", daemon=True)

    # -- for everybody

    def open(self, timeout: float, held_up: HeldUp | None = None) -> None:
        """Connect, and return when the kernel can be spoken to.

        `held_up` is called again and again, with the seconds since the server was asked and whether the kernel's
        process is seen to be suspended, which is waited for without an end; else as long as the server does
        not let us in: it waits for a kernel that is busy or starting (FACTS 3). What it raises ends the wait.

        Raises:
            CannotConnect: it could not be opened within `timeout` seconds; nothing was sent.
            ServerError: the server refused.
        """
        try:
            with held():
                self._thread.start()
                problem = self._await_opening(time.monotonic() + timeout, held_up)
        except queue.Empty:
            self.close()
            raise CannotConnect(f"no connection to the kernel within {timeout:g} s") from None
        except BaseException:  # Ctrl-C while connecting
            self.close(_ABANDON_SECONDS)
            raise
        if problem is not None:
            raise problem

    def _await_opening(self, deadline: float, held_up: HeldUp | None) -> KernelBridgeError | None:
        while True:
            left = deadline - time.monotonic()
            try:
                # Whoever minds the wait ends it: a kernel that is suspended may go on tomorrow.
                wait = PATIENCE if self.suspended and held_up is not None else max(min(left, PATIENCE), 0.0)
                return self._opened.get(timeout=wait)
            except queue.Empty:
                if left <= 0 and not (self.suspended and held_up is not None):
                    raise
                check()
                if held_up is not None and self._knocked is not None:
                    held_up(time.monotonic() - self._knocked, self.suspended)

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would go to the kernel that was found."""
        ended = self._closing or self.abandoned or self._closed is not None or self.life.ended is not None
        return not ended and self._pid == os.getpid()

    def send(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        channel: str = "shell",
        inbox: Inbox | None = None,
        parent: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
        subshell: str = "",
        msg_id: str = "",
    ) -> str:
        """Send one message; what answers it goes to `inbox`. Gives its `msg_id`, that of `new_id` if it was given.

        Raises:
            LinkLost: the connection is closed; the message was not sent.
        """
        if self._pid != os.getpid():
            raise LinkLost("this connection belongs to the process that opened it; connect anew after a fork")
        message = self._make(msg_type, content, channel, parent, metadata, buffers, subshell, msg_id)
        msg_id = message.msg_id
        if inbox is not None:
            with self._lock:
                self._inboxes[msg_id] = inbox
                if msg_type == "execute_request" and not content.get("silent"):
                    self._ledger.expect(msg_id)
        if msg_type == "execute_request" and channel == "control":
            self.turns.send_aside(msg_id)
        elif msg_type == "execute_request" and not content.get("silent") and not subshell:
            self.turns.send(msg_id)
        self._used = time.monotonic()
        try:
            if self._closing or self._closed is not None:
                raise LinkLost("the connection is closed")
            self._send(message)
        except BaseException:
            self.forget(msg_id)
            self.turns.end(msg_id)
            raise
        return msg_id

    def new_id(self) -> str:
        """Give a `msg_id` that nothing bears yet."""
        with self._lock:
            self._sent += 1
            return f"{self.client_id}_{self._sent}"

    def ask(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        seconds: float,
        channel: str = "shell",
        subshell: str = "",
        msg_id: str = "",
        harmless: bool = False,
        whole: bool = False,
    ) -> dict[str, Any] | None:
        """Send a request and give its reply's content; None if none came within `seconds`, or the end came first.

        `harmless` is one that changes nothing over there: the wait for its answer may be interrupted. `whole` waits
        for its idle as well, if that comes in time.

        Raises:
            LinkLost: the connection is closed; the request was not sent.
        """
        inbox = Inbox()
        msg_id = self.send(msg_type, content, channel=channel, subshell=subshell, inbox=inbox, msg_id=msg_id)
        deadline = time.monotonic() + seconds
        reply: dict[str, Any] | None = None
        try:
            while reply is None or whole:
                left = max(deadline - time.monotonic(), 0.0)
                try:
                    item = inbox.get(timeout=min(left, PATIENCE))
                except queue.Empty:
                    if not left:
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

    def _make(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        channel: str = "shell",
        parent: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
        subshell: str = "",
        msg_id: str = "",
    ) -> Message:
        return make_message(
            msg_type,
            content,
            channel=channel,
            msg_id=msg_id or self.new_id(),
            client_id=self.client_id,
            date=datetime.now(UTC).isoformat(),
            parent=parent,
            metadata=metadata,
            buffers=buffers,
            subshell=subshell,
        )

    def prove(self, seconds: float) -> None:
        """After a restart wait, `seconds` at most, until IOPub messages of the kernel's new life reach us.

        Whoever reads the kernel's socket (our server) subscribes anew, and what is published before is lost. A
        kernel that is busy says nothing; by the time it does, the subscription is old.
        """
        deadline = time.monotonic() + seconds
        while self._unproven and time.monotonic() < deadline:
            check()
            inbox = Inbox()
            msg_id = self.send("kernel_info_request", {}, inbox=inbox)
            again = time.monotonic() + _ASK_AGAIN_SECONDS
            with contextlib.suppress(queue.Empty):
                while self._unproven:
                    item = inbox.get(timeout=max(again - time.monotonic(), 0.0))
                    if getattr(item, "channel", "") == "iopub" or isinstance(item, Closed):
                        self._unproven = False
            self.forget(msg_id)

    def take_news(self, *, told: bool = False) -> EndSignal | None:
        """Give, once, the first sign of the kernel's end since the last cell began.

        With `told` that cell has told of it, see `told`.
        """
        news, self._news, self.told = self._news, None, told
        return news

    def take_faults(self) -> list[str]:
        """Give, once, what the subscribers did wrong since the last call."""
        faults, self._faults = self._faults, []
        return faults

    def abandon(self, *, left_unknown: bool) -> None:
        """Send no other cell over this link; it is closed once nobody waits for it any more."""
        self.abandoned, self.left_unknown = True, left_unknown

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell before the next cell."""
        return self._news is not None or self.left_unknown

    def forget(self, msg_id: str) -> None:
        """Stop routing the answers of a request; what still comes goes to the subscribers."""
        with self._lock:
            self._inboxes.pop(msg_id, None)
            self._ledger.forget(msg_id)
        self._used = time.monotonic()

    def use(self) -> None:
        """Take word that what comes is shown: the connection is not let go as one that nobody uses."""
        self._used = time.monotonic()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Give `subscriber` every message that no request claims, and every sign of an end."""
        with self._lock:
            self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """End a subscription. One that does not exist is no error."""
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

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

    def greets(self, seconds: float) -> bool | None:
        """Whether the kernel's Python runs: it greets a new subscription. None where that is not known of it (F10)."""
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
        """Whether nobody has used the connection for so long that it must be let go, or nobody can use it any more."""
        with self._lock:
            used = bool(self._inboxes or self.kept)
        ended = self.abandoned or self.life.ended is not None
        return not used and (ended or time.monotonic() - self._used > IDLE_SECONDS)

    def _take_message(self, message: Message) -> None:
        """Take a message as it came. Here is the guard: whatever it is, the thread goes on to the next one."""
        try:
            self._dispatch(message)
        except Exception as problem:
            self._drop_message(problem)

    def _drop_message(self, problem: Exception) -> None:
        """Count a message that is dropped; the running cell tells of it at its end."""
        if isinstance(problem, MemoryError):
            self.unheld += 1
        else:
            self.malformed += 1

    def _dispatch(self, message: Message) -> None:
        if message.msg_type == "kernel_info_reply":
            # Before it is handed on: whoever asked looks here as soon as the answer is there.
            self.info = message.content
            self.orderly = message.content.get("implementation") == "ipython"
        # Before it is handed on: a new life's first message may be of a cell that waits, and begin it.
        sign = self.life.receive(message)
        if sign is not None:
            self._unproven = True
            self._tell_all(sign)
        with self._lock:
            self._ledger.receive(message)
            inbox = self._inboxes.get(message.parent_id)
            subscribers = list(self._subscribers)
        if inbox is not None:
            inbox.put(message)
        else:
            self._publish(message, subscribers)
        if message.channel == "iopub":
            self.heard_iopub = time.monotonic()
            clock = "" if self.heard_iopub < self._kept_until else time.strftime("%H:%M:%S")
            self.turns.receive(message, clock)
        self.displayhook_patch.receive(message)

    def _hear(self, hears: bool) -> None:
        """Take word that from now on all is heard that the kernel says, or that it is not."""
        if hears and not self._hears:
            self.turns.join(self.client_id)
        elif self._hears and not hears:
            self.turns.leave()
        self._hears = hears

    def _tell_all(self, item: EndSignal | Closed) -> None:
        if isinstance(item, EndSignal):
            self.turns.sign(item)
            self._news = self._news or (None if self.told else item)
        with self._lock:
            inboxes = {id(inbox): inbox for inbox in self._inboxes.values()}
            # An inbox may be subscribed as well.
            subscribers = [subscriber for subscriber in self._subscribers if id(subscriber) not in inboxes]
        for inbox in inboxes.values():
            inbox.put(item)
        self._publish(item, subscribers)

    def _publish(self, item: Item, subscribers: Sequence[Subscriber]) -> None:
        """Give an item to subscribers. One that raises is told of, and gets no more: it may raise at each."""
        for subscriber in subscribers:
            try:
                subscriber.put(item)
            except BaseException as problem:  # SystemExit, too, would end this thread, and every cell with it
                self.unsubscribe(subscriber)
                text = f"a subscriber ({type(subscriber).__name__}) raised {type(problem).__name__}; it gets no more"
                _log.warning(text, exc_info=True)
                self._faults.append(text)

    def _tell_running(self, item: Broken | Back | Note) -> None:
        """Give an item to every request that waits."""
        with self._lock:
            targets = {id(target): target for target in self._inboxes.values()}
        for target in targets.values():
            target.put(item)

    # -- the thread

    def _say_farewell(self, message: Message) -> None:
        """Send the last message, and wait until it is answered, or a moment if the kernel is busy.

        A server that sees the connection close drops what it has not yet handed to the kernel.
        """
        inbox = Inbox()
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
        # If the thread ends for a reason nobody thought of, the opener must not wait for it.
        problem: KernelBridgeError = CannotConnect("the connection broke while it was opened")
        self._hear(True)
        try:
            try:
                self._connect()
            except KernelBridgeError as error:
                problem = error
                return
            self._opened.put(None)
            reason = self._pump()
        finally:
            self._closed = Closed("" if self._closing else reason, self.denied, self.unaccepted)
            self._opened.put(problem)  # once it is closed: whoever opens it goes on at once
            if self._closing and self.farewell is not None and self.life.ended is None:
                with contextlib.suppress(KernelBridgeError):
                    self._say_farewell(self._make("execute_request", self.farewell))
            self._release()
            self._hear(False)
            self._tell_all(self._closed)
