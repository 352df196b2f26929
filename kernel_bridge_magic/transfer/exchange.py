"""`Exchange`: silent requests to one kernel and their answers, for as long as variables are copied."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from kernel_bridge_magic.errors import LinkLost, NotCopied
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.protocol.events import Event, Started
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Back, Broken, Closed, Inbox

_TELL_SECONDS = 0.5  # without an answer: then it is said what is waited for
_SILENT_SECONDS = 1.0  # without a byte: then the main shell is taken for busy
_BACK_SECONDS = 30.0  # for a link that broke to be open again: then what waits there can be dropped
_FROZEN_SECONDS = 30.0  # a control channel answers in milliseconds, unless native code holds the GIL


class Exchange:
    """Requests to the kernel that errors call `kernel`, over `transport`, until `close` is called.

    They go to the main shell, or to the subshell of that id. `send_aside` sends one on the control channel, beside a
    main shell that is busy; where it is None they wait their turn. `show` is called with what a user should know
    meanwhile. `stopped` returns why nothing is waited for any more, "" as long as it is. `at` is when time is up, on
    the monotonic clock.
    """

    def __init__(
        self,
        transport: Transport,
        kernel: str,
        *,
        subshell: str = "",
        send_aside: Callable[[Mapping[str, Any], Inbox], str] | None = None,
        show: Callable[[Event], object] = lambda event: None,
        stopped: Callable[[], str] = str,
        at: float = float("inf"),
    ) -> None:
        self.transport = transport
        self.kernel = kernel
        self.subshell = subshell
        self.show = show
        self._send_aside = send_aside
        self._stopped = stopped
        self._at = at
        self._inbox = Inbox()
        self._sent: set[str] = set()
        self._heard = time.monotonic()
        self._told = False
        self._broke_at = float("inf")
        #: whether requests go beside the main shell from now on
        self.is_aside = False

    @property
    def is_binary(self) -> bool:
        """Whether the kernel's messages may bring buffers: not over servers that may stand before a gateway."""
        is_ipykernel = self.transport.state.info.get("implementation") == "ipython"
        return is_ipykernel and not self.is_aside and not self.subshell and self.transport.carries_buffers

    @property
    def takes_several(self) -> bool:
        """Whether several large requests may be under way: two of them can stop a xeus-python for ever."""
        return bool(self.transport.state.info.get("implementation") == "ipython")

    def go_aside(self) -> bool:
        """Send what comes next beside the main shell; return whether that can be done."""
        self.is_aside = self.is_aside or (self._send_aside is not None and not self.subshell)
        return self.is_aside

    def send(
        self,
        content: Mapping[str, Any],
        buffers: Sequence[bytes | memoryview] = (),
        *,
        msg_type: str = "execute_request",
    ) -> str:
        """Send a request and return its `msg_id`.

        Raises:
            NotCopied: the connection is closed.
        """
        try:
            if self.is_aside:
                assert self._send_aside is not None and not buffers
                msg_id = self._send_aside(content, self._inbox)
            else:
                msg_id = self.transport.send(
                    msg_type, content, inbox=self._inbox, subshell=self.subshell, buffers=buffers
                )
        except LinkLost as problem:
            if not self._sent:
                # What became of it stands behind the semicolon; whoever has called says that of the variables.
                raise NotCopied(problem.problem.partition("; ")[0]) from None
            self._broke_at = min(self._broke_at, time.monotonic())
            self._await_link()
        self._sent.add(msg_id)
        if len(self._sent) == 1:
            self._heard = time.monotonic()
        return msg_id

    def forget(self, msg_id: str) -> None:
        """Await no more answers to a request."""
        self._sent.discard(msg_id)
        self.transport.forget(msg_id)

    def next(self) -> Message | None:
        """Return the next answer; None where the main shell seems to be busy and there is a way beside it.

        Raises:
            NotCopied: the kernel has ended, the connection broke, the time is up, or the user has stopped it.
        """
        while True:
            self._check_wish()
            try:
                item = self._inbox.get(timeout=PATIENCE)
            except queue.Empty:
                if self._looks_busy():
                    return None
                continue
            if isinstance(item, Message) and item.channel != "iopub":
                self._heard = time.monotonic()
                self._tell_no_more()
                return item
            self._check_end(item)

    def ask(self, content: Mapping[str, Any], *, msg_type: str = "execute_request") -> dict[str, Any]:
        """Send a request and return its reply's content, once the kernel has had its turn for it.

        Raises:
            NotCopied: as `next`.
        """
        msg_id = self.send(content, msg_type=msg_type)
        try:
            while True:
                message = self.next()
                if message is not None and message.parent_id == msg_id and message.channel != "stdin":
                    return message.content
        finally:
            self.forget(msg_id)

    def _await_link(self) -> NoReturn:
        """Wait for a link that broke, and raise NotCopied once it is back or was given up.

        It is opened again only while somebody waits; then the kernel can be told to drop what waits there.
        """
        while True:
            self.next()

    def leave(self, content: Mapping[str, Any]) -> None:
        """Send a request whose answer nobody awaits; a connection that is closed is no error."""
        with contextlib.suppress(NotCopied):
            self.forget(self.send(content))

    def close(self) -> None:
        """Await nothing any more."""
        for msg_id in list(self._sent):
            self.forget(msg_id)
        self._tell_no_more()

    def _check_wish(self) -> None:
        """Raise NotCopied if it is not waited for any more."""
        check()
        if reason := self._stopped():
            raise NotCopied(reason)
        now = time.monotonic()
        if now >= self._at:
            raise NotCopied("the time is up")
        if now - self._broke_at >= _BACK_SECONDS:
            raise NotCopied(f"the connection to {self.kernel} broke")

    def _looks_busy(self) -> bool:
        """Look around while nothing comes; return whether the main shell is busy and can be gone around."""
        now = time.monotonic()
        silent = now - max(self._heard, self.transport.receiving_at)
        if self.is_aside:
            if silent >= _FROZEN_SECONDS:
                raise NotCopied("the kernel does not answer")
            return False
        if silent >= _SILENT_SECONDS and self._send_aside is not None and not self.subshell:
            return True
        if silent >= _TELL_SECONDS and not self._told:
            self._told = True
            self.show(self.transport.main_shell.ahead_of(""))
        return False

    def _tell_no_more(self) -> None:
        if self._told:
            self._told = False
            self.show(Started())

    def _check_end(self, item: object) -> None:
        if isinstance(item, EndSignal):
            raise NotCopied(item.end.told(self.kernel))
        if isinstance(item, Broken):
            self._broke_at = time.monotonic()  # see `_await_link`
        if isinstance(item, Back):
            raise NotCopied(f"the connection to {self.kernel} broke")
        if isinstance(item, Closed):
            raise NotCopied(f"the connection to {self.kernel} was closed")
