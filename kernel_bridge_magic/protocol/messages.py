"""Messages, and the one gate where what kernels send is parsed leniently. After it, it is trusted.

Source of the fields: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel_bridge_magic.errors import BadCell

__all__ = [
    "PROTOCOL_VERSION",
    "MalformedMessage",
    "Message",
    "check_code",
    "describe_kernel",
    "evaluate_content",
    "evaluated",
    "execute_content",
    "has_subshells",
    "make_message",
]

PROTOCOL_VERSION = "5.3"
CHANNELS = frozenset({"shell", "iopub", "stdin", "control"})
_SUBSHELLS = "kernel subshells"  # among `supported_features` (JEP 91); ipykernel has them since 7
_MOST_NAMED = 60  # characters of what a kernel calls itself
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


class MalformedMessage(ValueError):
    """Something arrived that cannot be a message at all. It is dropped and counted."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the protocol. The four dicts are never None, and their strings are strings."""

    channel: str
    header: dict[str, Any]
    parent_header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()

    @classmethod
    def parse(
        cls,
        channel: object,
        header: object,
        parent_header: object = None,
        metadata: object = None,
        content: object = None,
        buffers: Sequence[bytes] = (),
    ) -> Message:
        """Make a message of parts as they came.

        A missing or null `parent_header`, `metadata` or `content` becomes empty: IRkernel and xeus send
        null parents, ilua no metadata.

        Raises:
            MalformedMessage: the channel is none, or the header has no message type.
        """
        if not isinstance(channel, str) or channel not in CHANNELS:
            raise MalformedMessage("no such channel")
        if not isinstance(header, dict) or not isinstance(header.get("msg_type"), str):
            raise MalformedMessage("a header without msg_type")
        return cls(
            channel=channel,
            header=header,
            parent_header=parent_header if isinstance(parent_header, dict) else {},
            metadata=metadata if isinstance(metadata, dict) else {},
            content=content if isinstance(content, dict) else {},
            buffers=tuple(buffers),
        )

    @property
    def msg_type(self) -> str:
        """The header's `msg_type`."""
        return str(self.header["msg_type"])

    @property
    def msg_id(self) -> str:
        """The header's `msg_id`, "" when there is none."""
        return text(self.header.get("msg_id"))

    @property
    def parent_id(self) -> str:
        """The `msg_id` of the request that this answers, "" when it answers none."""
        return text(self.parent_header.get("msg_id"))

    @property
    def sender(self) -> str:
        """The header's `session`: one value for each life of a kernel, and one for each client."""
        return text(self.header.get("session"))

    @property
    def execution_state(self) -> str:
        """What a `status` message says; "" for every other message."""
        return text(self.content.get("execution_state")) if self.msg_type == "status" else ""


def make_message(
    msg_type: str,
    content: Mapping[str, Any],
    *,
    channel: str,
    msg_id: str,
    client_id: str,
    date: str,
    parent: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    buffers: Sequence[bytes] = (),
    subshell: str = "",
) -> Message:
    """Make a message of ours. `date` is ISO 8601 with a zone; `client_id` becomes the header's `session`.

    `subshell` is the id of the subshell that shall handle it (JEP 91), "" for the main shell.
    """
    header = {
        "msg_id": msg_id,
        "msg_type": msg_type,
        "session": client_id,
        "username": "kernel_bridge",
        "date": date,
        "version": PROTOCOL_VERSION,
    }
    if subshell:
        header["subshell_id"] = subshell
    return Message(channel, header, dict(parent or {}), dict(metadata or {}), dict(content), tuple(buffers))


def execute_content(
    code: str,
    *,
    silent: bool = False,
    store_history: bool = False,
    allow_stdin: bool = True,
    user_expressions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The content of an `execute_request` with a guest's manners.

    `stop_on_error` is always false: true would abort the cells that the owner has queued behind ours
    (FACTS 5). `store_history` false leaves the owner's count where it is.
    """
    return {
        "code": code,
        "silent": silent,
        "store_history": store_history,
        "user_expressions": dict(user_expressions or {}),
        "allow_stdin": allow_stdin,
        "stop_on_error": False,
    }


def evaluate_content(code: str = "", **expressions: str) -> dict[str, Any]:
    """The content of a silent `execute_request` of our own: nothing is shown, counted, or asked for.

    It allows stdin, though: an ipykernel takes what the last request says for all that run, and beside somebody's
    running cell a `false` would make its `input()` fail.
    """
    return execute_content(code, silent=True, user_expressions=expressions)


def evaluated(content: Mapping[str, Any], name: str) -> str:
    """The text of one of the user expressions in an `execute_reply`; "" if it has none."""
    try:
        return text(content["user_expressions"][name]["data"]["text/plain"])
    except (KeyError, TypeError):
        return ""


def has_subshells(info: Mapping[str, Any]) -> bool:
    """Tell by a `kernel_info_reply` whether the kernel has subshells.

    What it announces is not enough: whatever is built on ipykernel's base class inherits the announcement, and a cell
    that such a kernel (bash_kernel) runs beside another one destroys the output of both.
    """
    features = info.get("supported_features")
    return info.get("implementation") == "ipython" and isinstance(features, list) and _SUBSHELLS in features


def describe_kernel(info: Mapping[str, Any]) -> str:
    """Return what a `kernel_info_reply` calls its program: `bash_kernel 0.10.0`; "" if it does not say."""
    return f"{text(info.get('implementation'))} {text(info.get('implementation_version'))}".strip()[:_MOST_NAMED]


def text(value: object) -> str:
    """A string as it is, anything else as ""."""
    return value if isinstance(value, str) else ""


def check_code(code: str) -> str:
    """Give the code as it will be sent: a byte order mark at its head is dropped, nothing else is touched.

    Raises:
        BadCell: there is nothing to run, or a character that no kernel can be sent (NUL, a lone surrogate).
    """
    code = code.removeprefix("\ufeff")
    if not code.strip():
        raise BadCell("nothing to run: the cell is empty")
    bad = _UNSENDABLE.search(code)
    if bad is not None:
        before = code[: bad.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = "a NUL character" if bad[0] == "\0" else "half of a surrogate pair"
        raise BadCell(f"line {line}, column {column}: {what} cannot be sent to a kernel")
    return code
