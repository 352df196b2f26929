"""`Introspection`: what a kernel is asked while somebody types: completions, and documentation.

It is asked beside everything else: never while it is seen to run a cell, and never twice at once. So nothing of ours
piles up in the queue of a kernel that is busy, where its owner's cells wait as well.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.errors import LinkError
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import UNSENDABLE, Message
from kernel_bridge_magic.sanitize.html import sanitize, sanitize_metadata
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Broken, Closed

#: Nobody waits longer for a list that pops up. An idle kernel answers in milliseconds.
ANSWER_SECONDS = 0.5
#: The next cell of a notebook that runs as a whole has come by then, and does not wait for the warm-up.
_QUIET_SECONDS = 1.0
# Jedi reads what it knows of Python's own names, which takes about a second. No object of anybody's is looked at.
_WARM_UP = "NotImplementedEr"
# What a socket takes at once, though nobody reads it: where the link hangs, sending more would wait, for minutes.
_LONGEST_CODE = 50_000
_MOST = 20_000  # completions; a front end shows some hundred
_LONGEST = 2_000  # characters of one
_LONGEST_TYPE = 100


class Completed(NamedTuple):
    """One completion: `text` replaces what stands from `start` to `end` in the code. `type` is "" if not told."""

    start: int
    end: int
    text: str
    type: str = ""
    signature: str = ""


class Introspection:
    """The questions of one connection. Safe to use from several threads."""

    def __init__(self, kernel: Kernel, transport: Transport) -> None:
        self._kernel = kernel
        self._transport = transport
        self._lock = threading.Lock()
        self._asked: _Question | None = None
        self._timer: threading.Timer | None = None
        self._is_warm = False

    def complete(self, code: str, cursor: int, *, seconds: float = ANSWER_SECONDS) -> list[Completed]:
        """Return the kernel's completions for a position in code, in its order, within so many seconds.

        There are none while the kernel is busy. The position counts characters. Ctrl-C ends the wait.
        """
        reply = self._ask("complete_request", {"code": code, "cursor_pos": cursor}, seconds)
        return [] if reply is None else read_completions(reply, cursor, len(code))

    def inspect(
        self, code: str, cursor: int, detail_level: int = 0, *, seconds: float = ANSWER_SECONDS
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return what the kernel tells of what stands at a position in code: a MIME bundle, and its metadata.

        None where it tells nothing, or is not asked, as for `complete`. It is safe to show.
        """
        content = {"code": code, "cursor_pos": cursor, "detail_level": detail_level}
        reply = self._ask("inspect_request", content, seconds)
        if reply is None or reply.get("status") != "ok" or reply.get("found") is not True:
            return None
        data, metadata = reply.get("data"), reply.get("metadata")
        if not isinstance(data, dict) or not data:
            return None
        metadata = metadata if isinstance(metadata, dict) else {}
        return (data, metadata) if self._kernel.is_yours else (sanitize(data), sanitize_metadata(metadata))

    def warm_up(self) -> None:
        """Have the kernel load what it completes with, once, in a moment, if it is idle then.

        Nobody waits for that. Without it the first completion would come too late, and some of the next.
        """
        with self._lock:
            if self._is_warm or self._timer is not None:
                return
            if self._transport.state.info.get("implementation") != "ipython":
                return  # nobody knows what it would cost there
            self._timer = threading.Timer(_QUIET_SECONDS, self._warm_up)
            self._timer.daemon = True
            self._timer.start()

    def _warm_up(self) -> None:
        with self._lock:
            self._timer = None
        self._send("complete_request", {"code": _WARM_UP, "cursor_pos": len(_WARM_UP)}, is_awaited=False)

    def _ask(self, msg_type: str, content: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        # A front end whose cursor stands in the middle of an emoji may send half of it.
        may_go = len(content["code"]) <= _LONGEST_CODE and not UNSENDABLE.search(content["code"])
        question = self._send(msg_type, content) if may_go else None
        return None if question is None else question.wait(seconds)

    def _send(self, msg_type: str, content: Mapping[str, Any], *, is_awaited: bool = True) -> _Question | None:
        """Send a question, unless the kernel is busy or one waits for its answer, which may come much later."""
        with self._lock:
            if self._transport.main_shell.is_running or self._transport.lost_since is not None:
                return None
            if self._asked is not None and not self._asked.is_over:
                return None
            question = _Question(self._transport, is_awaited)
            try:
                question.send(msg_type, content)
            except LinkError:
                return None
            self._asked = question  # whatever else sending raises, the next question is sent
            self._is_warm = self._is_warm or msg_type == "complete_request"
            return question


class _Question:
    """A request whose answer is taken whenever it comes. The connection's thread hands it over."""

    def __init__(self, transport: Transport, is_awaited: bool) -> None:
        self._transport = transport
        self._msg_id = transport.new_id()
        self._over = threading.Event()
        self._content: dict[str, Any] | None = None
        self._is_awaited = is_awaited
        self._is_idle = False

    @property
    def is_over(self) -> bool:
        """Whether the answer has come, or never will."""
        return self._over.is_set()

    def send(self, msg_type: str, content: Mapping[str, Any]) -> None:
        """Send the request; raises LinkError."""
        self._transport.send(msg_type, content, inbox=self, msg_id=self._msg_id)

    def put(self, item: object) -> None:
        """Handle what comes, as `Subscriber` does."""
        if isinstance(item, Message) and item.channel == "shell":
            self._content = item.content
            self._end()
        elif isinstance(item, Message) and item.execution_state == "idle":
            # The answer comes by another socket, and may be behind. A kernel that cannot answer sends none.
            self._is_idle = True
            if not self._is_awaited:
                self._end()
        elif isinstance(item, Closed | Broken | EndSignal):
            self._end()

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return the answer; None if none came in time."""
        deadline = Deadline.after(seconds)
        try:
            while not self._over.wait(min(deadline.left, PATIENCE)) and not deadline.is_over:
                check()
        finally:
            self._is_awaited = False
            if self._is_idle:
                self._end()
        return self._content

    def _end(self) -> None:
        self._transport.forget(self._msg_id)
        self._over.set()


def read_completions(content: Mapping[str, Any], cursor: int, length: int) -> list[Completed]:
    """Return the completions of a `complete_reply`, whatever it holds.

    What a completion replaces lies within the code, and the cursor within that: a kernel changes nothing else. Those
    that cannot be read, such as one with an escape of a terminal in it, are left out.
    """
    start, end = _position(content.get("cursor_start"), 0, cursor), _position(content.get("cursor_end"), cursor, length)
    if content.get("status") != "ok" or start is None or end is None:
        return []
    metadata = content.get("metadata")
    typed = metadata.get("_jupyter_types_experimental") if isinstance(metadata, dict) else None
    items = _list(typed) or [{"text": text} for text in _list(content.get("matches"))[:_MOST]]
    found = (_completed(item, start, end, cursor, length) for item in items[:_MOST])
    return [one for one in found if one is not None]


def _completed(item: object, start: int, end: int, cursor: int, length: int) -> Completed | None:
    if not isinstance(item, dict) or not _is_plain(text := item.get("text"), _LONGEST):
        return None
    begin = _position(item.get("start", start), 0, cursor)
    stop = _position(item.get("end", end), cursor, length)
    if begin is None or stop is None:
        return None
    kind, signature = item.get("type"), item.get("signature")
    return Completed(
        begin,
        stop,
        text,
        kind if _is_plain(kind, _LONGEST_TYPE) else "",
        signature if _is_plain(signature, _LONGEST) else "",
    )


def _is_plain(text: object, most: int) -> TypeGuard[str]:
    return isinstance(text, str) and 0 < len(text) <= most and text.isprintable()


def _position(value: object, least: int, most: int) -> int | None:
    return value if type(value) is int and least <= value <= most else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
