"""Messages, and the one gate where what kernels send is parsed leniently. After it, it is trusted.

The gate is `read_json` and `Message.parse`, for every transport and every kernel. Behind it all text can be encoded,
no number is NaN or infinite, and the fields that show something are of the kinds that nbformat 4 accepts.

Source of the fields: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel_bridge_magic.errors import BadCell

PROTOCOL_VERSION = "5.3"
#: The `username` in headers of ours, by which guests know each other.
USERNAME = "kernel_bridge"
CHANNELS = frozenset({"shell", "iopub", "stdin", "control"})
_SUBSHELLS = "kernel subshells"  # among `supported_features` (JEP 91); ipykernel has them since 7
_MOST_NAMED = 60  # characters of what a kernel calls itself
#: what no kernel can be sent: NUL, a lone surrogate
UNSENDABLE = re.compile("[\0\ud800-\udfff]")


class MalformedMessage(ValueError):
    """Something arrived that cannot be a message at all. It is dropped and counted."""


# -- JSON


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


# NaN and the infinities are no JSON, though Python writes and reads them: no front end could be handed them. They
# become what JavaScript writes for them.
_DECODER = json.JSONDecoder(parse_constant=lambda name: None, parse_float=_finite)
# Python reads no integer of more than 4300 digits. JavaScript reads an infinity.
_PATIENT = json.JSONDecoder(
    parse_constant=lambda name: None,
    parse_float=_finite,
    parse_int=lambda digits: int(digits) if len(digits) < _MOST_DIGITS else None,
)
_MOST_DIGITS = 1000
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_HALVES = re.compile("[\ud800-\udfff]")


def read_json(raw: str | bytes) -> Any:
    """Read JSON as a kernel or server wrote it: what nobody could be handed on is replaced.

    Bytes that are no UTF-8 and halves of surrogate pairs, in keys as well, become U+FFFD; numbers that are none, or
    too large for one, become None.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    written = raw if isinstance(raw, str) else str(raw, "utf-8", "replace")
    try:
        value = _DECODER.decode(written)
    except json.JSONDecodeError:
        raise
    except ValueError:
        value = _PATIENT.decode(written)
    # Only an escape can hold half of a pair. Two searches of the whole are cheap; a look at each string is not.
    return _mended(value) if "\\u" in written and _HALF.search(written) else value


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else _HALVES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list) else value


# -- messages

_DICTS = ("header", "parent_header", "metadata", "content")


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
        null parents, ilua no metadata. What shows something is made what nbformat accepts, see `_as_shown`.

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
            content=_as_shown(header["msg_type"], content) if isinstance(content, dict) else {},
            buffers=tuple(buffers),
        )

    @classmethod
    def read(cls, channel: object, model: Mapping[str, Any], buffers: Sequence[bytes] = ()) -> Message:
        """Make a message of the object that has its four dicts by name; raises as `parse`."""
        header, parent, metadata, content = map(model.get, _DICTS)
        return cls.parse(channel, header, parent, metadata, content, buffers)

    @property
    def dicts(self) -> dict[str, dict[str, Any]]:
        """The four dicts by name, as every framing has them."""
        return {name: getattr(self, name) for name in _DICTS}

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


# -- what is shown

_BUNDLES = frozenset({"display_data", "update_display_data", "execute_result"})
# nbformat's own rule for bundles: these may hold anything, all others hold text.
_JSON_TYPE = re.compile(r"application/(.*\+)?json")


def _as_shown(msg_type: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a message with what it shows made of the kinds that nbformat 4 accepts.

    Nothing that can be read as text is left out.
    """
    if msg_type == "stream":
        return {**content, "text": _as_text(content.get("text"))}
    if msg_type in _BUNDLES:
        content = {**content, "data": _bundle(content.get("data")), "metadata": _object(content.get("metadata"))}
    elif msg_type == "error" or (msg_type == "execute_reply" and content.get("status") == "error"):
        words = {name: _as_text(content.get(name)) for name in ("ename", "evalue")}
        content = {**content, **words, "traceback": _lines(content.get("traceback"))}
    elif msg_type == "input_request":
        return {**content, "prompt": _as_text(content.get("prompt"))}
    if isinstance(content.get("payload"), list):
        content = {**content, "payload": [_page(item) for item in content["payload"]]}
    if "execution_count" in content:
        count = content["execution_count"]
        is_count = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        content = {**content, "execution_count": count if is_count else None}
    return content


def _bundle(data: object) -> dict[str, Any]:
    return {
        mime: value if isinstance(value, str) or _JSON_TYPE.fullmatch(mime) else _as_text(value)
        for mime, value in _object(data).items()
        if value is not None or _JSON_TYPE.fullmatch(mime)  # some kernels name all types that they know
    }


def _page(item: object) -> object:
    if isinstance(item, dict) and isinstance(item.get("data"), dict):
        return {**item, "data": _bundle(item["data"])}
    return item


def _lines(value: object) -> list[str]:
    if isinstance(value, list):
        return [line for line in value if isinstance(line, str)]
    return _as_text(value).split("\n") if value else []


def _as_text(value: object) -> str:
    """Return text as it is, the lines of a list as nbformat writes them, and of anything else its JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# -- ours


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
        "username": USERNAME,
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
    """Return the content of an `execute_request` with a guest's manners.

    `stop_on_error` is always false: true would abort the cells that the owner has queued behind ours
    (FACTS.md#other-peoples-cells). `store_history` false leaves the owner's count where it is.
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
    """Return the content of a silent `execute_request` of our own: nothing is shown, counted, or asked for.

    It allows stdin, though: what the last request says holds in an ipykernel for all that run, and beside somebody's
    running cell a `false` would make its `input()` fail.
    """
    return execute_content(code, silent=True, user_expressions=expressions)


def evaluated(content: Mapping[str, Any], name: str) -> str:
    """Return the text of one of the user expressions in an `execute_reply`; "" if it has none."""
    try:
        return text(content["user_expressions"][name]["data"]["text/plain"])
    except (KeyError, TypeError):
        return ""


def has_subshells(info: Mapping[str, Any]) -> bool:
    """Return by a `kernel_info_reply` whether the kernel has subshells.

    What it announces is not enough: whatever is built on ipykernel's base class inherits the announcement, and a cell
    that such a kernel (bash_kernel) runs beside another one destroys the output of both.
    """
    features = info.get("supported_features")
    return info.get("implementation") == "ipython" and isinstance(features, list) and _SUBSHELLS in features


def describe_kernel(info: Mapping[str, Any]) -> str:
    """Return what a `kernel_info_reply` calls its program: `bash_kernel 0.10.0`; "" if it does not say."""
    return f"{text(info.get('implementation'))} {text(info.get('implementation_version'))}".strip()[:_MOST_NAMED]


def describe_language(info: Mapping[str, Any]) -> str:
    """Return the language of a `kernel_info_reply`, with its version: `python 3.11.2`; "" if it does not say."""
    language = info.get("language_info")
    inner = language if isinstance(language, Mapping) else {}
    return f"{text(inner.get('name'))} {text(inner.get('version'))}".strip()[:_MOST_NAMED]


def text(value: object) -> str:
    """Return a string as it is, anything else as ""."""
    return value if isinstance(value, str) else ""


def check_code(code: str) -> str:
    """Return the code as it will be sent: a byte order mark at its head is dropped, nothing else is touched.

    Raises:
        BadCell: there is nothing to run, or a character that no kernel can be sent (NUL, a lone surrogate).
    """
    code = code.removeprefix("\ufeff")
    if not code.strip():
        raise BadCell("the cell is empty, so there is nothing to run")
    bad = UNSENDABLE.search(code)
    if bad is not None:
        before = code[: bad.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = "a NUL character" if bad[0] == "\0" else "half of a surrogate pair"
        raise BadCell(f"{what} (line {line}, column {column}) cannot be sent to a kernel; take it out")
    return code
