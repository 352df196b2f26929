"""One message sent, and all that comes back. Every rule of R1 is here.

A request is *done* when its reply and its `status: idle` are in, in either order: of 300 cells idle came first
in 4, and streams came after the reply in 17 of 100 (FACTS.md#when-a-cell-is-done).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    CommMessage,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    InputRequest,
    Page,
    Payload,
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.messages import Message, text

_MOST_ERRORS = 100  # the last of those that a cell has shown: one of them may be what it ends with


class Request:
    """The machine of one `execute_request`. It receives the messages whose parent is its own."""

    def __init__(self, msg_id: str) -> None:
        self.msg_id = msg_id
        #: the kernel has begun with it
        self.started = False
        #: it has said which code it runs: a request that it aborts gets as far as `busy`
        self.entered = False
        #: our `status: idle` is in
        self.idle = False
        #: the content of the `execute_reply`, once it is in
        self.reply: dict[str, Any] | None = None
        #: the error that the cell ended with: the newest, until the reply says which it is
        self.error: Error | None = None
        self._errors: deque[Error] = deque(maxlen=_MOST_ERRORS)

    @property
    def done(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.idle and self.reply is not None

    @property
    def exits(self) -> bool:
        """Whether the cell has asked its kernel to exit (`quit()`)."""
        payload = (self.reply or {}).get("payload")
        items = payload if isinstance(payload, list) else ()
        return any(isinstance(item, dict) and _exits(item) for item in items)

    @property
    def status(self) -> str:
        """The reply's status: `ok`, `error`, `aborted`, or "" before it is in."""
        status = text((self.reply or {}).get("status"))
        # bash_kernel says "abort"; the specification's word is "aborted".
        return "aborted" if status == "abort" else status

    def receive(self, message: Message) -> tuple[Event, ...]:
        """Handle one message; return the events it means."""
        if message.parent_id != self.msg_id:
            return ()
        if message.channel == "shell":
            return self._receive_reply(message)
        if message.channel == "stdin" and message.msg_type == "input_request":
            content = message.content
            return (InputRequest(text(content.get("prompt")), bool(content.get("password"))),)
        if message.channel == "iopub":
            return self._receive_iopub(message)
        return ()

    def _receive_reply(self, message: Message) -> tuple[Event, ...]:
        if message.msg_type != "execute_reply" or self.reply is not None:
            return ()
        self.reply = message.content
        return tuple(_payloads(message.content.get("payload")))

    def _receive_iopub(self, message: Message) -> tuple[Event, ...]:
        kind = message.msg_type
        if kind == "status":
            return self._receive_status(message.execution_state)
        if kind == "execute_input":
            self.entered = True
            return self._start()
        event = _output(kind, message)
        if isinstance(event, Error):
            self.error = event
            self._errors.append(event)
        return () if event is None else (event,)

    def _receive_status(self, state: str) -> tuple[Event, ...]:
        if state == "busy":
            return self._start()
        if state == "idle":
            self.idle = True
        return ()

    def _start(self) -> tuple[Event, ...]:
        begins, self.started = not self.started, True
        return (Started(),) if begins else ()

    def conclude_error(self) -> Error | None:
        """Find the error that the reply tells of, once done, as `error`; return it if no message has told of it before.

        It need not be the newest: a hook of the kernel's may have failed behind it. A remote UsageError or
        ExceptionGroup sends no IOPub `error` (FACTS.md#when-a-cell-is-done).
        """
        told = _error(self.reply or {})
        same = [known for known in self._errors if _likeness(known, told)]
        if not same:
            self.error = told
            return told
        # The newest of those that are most like it.
        best = max(reversed(same), key=lambda known: _likeness(known, told))
        # An ipykernel's reply may have the traceback of one error and the name of another, which was told as text
        # (a UsageError behind a `%run`), or of none: "NoneType", where the error came while a result was formatted.
        is_another = told.ename not in ("", "NoneType", best.ename) and told.evalue != best.evalue
        self.error = told if is_another else best
        return None


def _likeness(known: Error, told: Error) -> int:
    """How much an error that was shown is like the one that the reply tells of; 0 if it is another one."""
    if not told.ename and not told.evalue:
        return 1  # the reply says only that there is one
    same_name = known.ename == told.ename
    same_value = known.evalue == told.evalue and (same_name or told.evalue != "")
    same_traceback = known.traceback == told.traceback != ()
    return 2 * same_name + 2 * same_value + same_traceback


def _output(kind: str, message: Message) -> Event | None:
    """Read the IOPub messages that carry output; unknown types are no errors."""
    content = message.content
    data, metadata = _dict(content, "data"), _dict(content, "metadata")
    if kind == "stream":
        # The specification knows two names; what is not stderr goes to stdout.
        return Stream("stderr" if content.get("name") == "stderr" else "stdout", text(content.get("text")))
    if kind in ("display_data", "update_display_data"):
        return DisplayData(data, metadata, _display_id(content), kind[0] == "u")
    if kind == "execute_result":
        count = content.get("execution_count")
        return ExecuteResult(data, metadata, count if isinstance(count, int) else None, _display_id(content))
    if kind == "clear_output":
        return ClearOutput(bool(content.get("wait")))
    if kind == "error":
        return _error(content)
    if kind in ("comm_open", "comm_msg", "comm_close"):
        return CommMessage(message)
    return None


def _error(content: dict[str, Any]) -> Error:
    lines = content.get("traceback")
    traceback = tuple(line for line in lines if isinstance(line, str)) if isinstance(lines, list) else ()
    return Error(text(content.get("ename")), text(content.get("evalue")), traceback)


def _payloads(payload: object) -> list[Event]:
    """What a reply's payload asks of its front end: a page is shown, all else is only told of (T17)."""
    events: list[Event] = []
    for item in payload if isinstance(payload, list) else ():
        source = text(item.get("source")) if isinstance(item, dict) else ""
        if source == "page":
            events += [Page(item["data"])] if isinstance(item.get("data"), dict) else []
        elif isinstance(item, dict) and _exits(item):
            pass  # the kernel ends as well, and that is told by itself
        elif source:
            events.append(Payload(source, item))
    return events


def _exits(item: dict[str, Any]) -> bool:
    return item.get("source") == "ask_exit" and not item.get("keepkernel")


def display_of(message: Message) -> str:
    """Return the id of the display that a message shows or updates, whoever's request it belongs to; "" for none."""
    shows = message.msg_type in ("display_data", "update_display_data", "execute_result")
    return _display_id(message.content) if shows and message.channel == "iopub" else ""


def _display_id(content: dict[str, Any]) -> str:
    return text(_dict(content, "transient").get("display_id"))


def _dict(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}
