"""`KernelState`: what one connection has learnt of its kernel, from each message that came. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate.ending import Ending
from kernel_bridge_magic.fate.life import EndSignal, Life
from kernel_bridge_magic.protocol.messages import Message


class _Router(Protocol):
    """Hands on what came."""

    def deliver(self, message: Message) -> None:
        """Hand a message to whoever waits for it."""

    def tell_all(self, item: EndSignal) -> None:
        """Hand a sign of an end to everybody."""


class _MainShell(Protocol):
    """Learns what the kernel's main shell runs."""

    def receive(self, message: Message, clock: str) -> None:
        """Record a message of IOPub."""

    def kernel_ended(self, sign: EndSignal) -> None:
        """Record a sign that the kernel ends."""


class KernelState:
    """What is known of the kernel at the other end. Every message goes through the same steps of `receive`, in order.

    `note_patch` learns from each whether the patch for results is in the kernel still.
    """

    def __init__(
        self, client_id: str, router: _Router, main_shell: _MainShell, note_patch: Callable[[Message], None]
    ) -> None:
        self._router = router
        self._main_shell = main_shell
        self._note_patch = note_patch
        #: the content of the last `kernel_info_reply`, empty before the first
        self.info: Mapping[str, Any] = {}
        #: whether the kernel is known, or taken, to send nothing of a cell after the cell's idle
        self.orderly = True
        #: which life of the kernel this is, and whether it has ended
        self.life = Life(client_id)
        #: when the last message came over IOPub, whoever it was for, in seconds on the monotonic clock; 0.0 for none
        self.heard_iopub = 0.0
        #: whether a new life of the kernel may not reach us over IOPub yet
        self.unproven = False
        #: whether a cell has told of the kernel's end: further signs of that end are then no news until the next cell
        self.told = False
        self._news: EndSignal | None = None

    def receive(self, message: Message, *, now: float, clock: str) -> None:
        """Record a message, and hand it on. The order of these steps is the law.

        `now` is the monotonic clock in seconds, `clock` the time of day at which the message was sent, "" where that is
        not known.
        """
        # 1. What the kernel is: whoever asked looks here as soon as the answer is handed on.
        if message.msg_type == "kernel_info_reply":
            self.info = message.content
            self.orderly = message.content.get("implementation") == "ipython"
        # 2. Whether its life has ended: the first message of a new life may belong to a cell that waits, and begin it.
        if (sign := self.life.receive(message)) is not None:
            self.unproven = True
            self.end(sign)
        # 3. The message goes to whoever waits for it.
        self._router.deliver(message)
        # 4. What the main shell runs, after that: a cell that reads here that it has begun finds the word of it among
        #    what it was handed, and is not called queued.
        if message.channel == "iopub":
            self.heard_iopub = now
            self._main_shell.receive(message, clock)
        # 5. Whether the patch for results is there still. Only the next cell asks for that.
        self._note_patch(message)

    def end(self, sign: EndSignal) -> None:
        """Record a sign that the kernel ends, and tell everybody of it."""
        self._main_shell.kernel_ended(sign)
        if self._news is None and not self.told:
            self._news = sign
        self._router.tell_all(sign)

    @property
    def has_news(self) -> bool:
        """Whether the kernel showed a sign of its end since the last cell began."""
        return self._news is not None

    def end_cell(self, ending: Ending, fate: Fate | None) -> None:
        """Leave to the next cell what it shall tell of the kernel's end, now that the fate of this one is known."""
        has_ended = fate in (Fate.OK, Fate.FAILED)
        if has_ended and self.life.awaited is ending.awaited:
            self.life.awaited = None  # whichever life it was that ran the cell
        told = ending.untold is not None  # just now, and that end may still be to come
        if told or (self.life.awaited is None if has_ended else ending.is_told):
            self.take_news(told=told or not has_ended)

    def take_news(self, *, told: bool = False) -> EndSignal | None:
        """Return, once, the first sign of the kernel's end since the last cell began.

        `told` says whether that cell has told of it, see the attribute.
        """
        news, self._news, self.told = self._news, None, told
        return news
