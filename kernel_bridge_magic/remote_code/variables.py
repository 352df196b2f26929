"""The requests that copy variables to and from an IPython kernel, and the reading of their answers. Pure.

What is large waits there under a token, outside the kernel's namespace, until it was fetched or bound; without a
request it is dropped after a minute (`there/held.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernel_bridge_magic.protocol.messages import evaluate_content, evaluated
from kernel_bridge_magic.remote_code import call, call_kept
from kernel_bridge_magic.remote_code.codec import FILES

#: What the expressions are called in our requests; the cell's own request has them, too.
NAME = "kernel_bridge"
#: The type of the message that brings a piece.
DATA = "kernel_bridge_data"
_WITH_CODEC = (*FILES, "held")
_SMALL = ("pieces",)


@dataclass(frozen=True, slots=True)
class Order:
    """How variables are to be written there, or read.

    `has` are the libraries of this side, `most` how many bytes the values may have, `inline` how many of them come in
    the answer itself. `folder` is the private folder by which a kernel of this machine may hand over files, None where
    all goes over the connection. `keeps` is whether variables that are too large are kept as they are, in case that
    somebody wants them all the same.
    """

    has: Mapping[str, str]
    most: int
    inline: int
    pickles: bool = False
    folder: str | None = None
    keeps: bool = False


def give(names: Sequence[str], token: str, order: Order, kept: str = "") -> str:
    """Build the expression for these variables; `kept` is the token of an answer that has kept them."""
    return call_kept("give", list(names), token, asdict(order), kept, files=_WITH_CODEC)


def bind(
    token: str, sizes: Sequence[int], crc: int | None, order: Order, *, data: str | None = None, place: Any = None
) -> dict[str, Any]:
    """Build the request that binds what has come: as `data`, in a file at `place`, or in pieces under the token."""
    expression = call_kept("bind", token, list(sizes), crc, data, place, asdict(order), files=_WITH_CODEC)
    return evaluate_content(**{NAME: expression})


def ask(expression: str) -> dict[str, Any]:
    """Build the content of the `execute_request` that has the value of an expression."""
    return evaluate_content(**{NAME: expression})


def expect(token: str, size: int) -> dict[str, Any]:
    """Build the request that makes room for `size` bytes."""
    return evaluate_content(**{NAME: call_kept("make_room", token, size, files=_WITH_CODEC)})


def tell() -> dict[str, Any]:
    """Build the request for the libraries that the other side has."""
    return evaluate_content(**{NAME: call_kept("tell", files=_WITH_CODEC)})


def piece(token: str, start: int, stop: int) -> dict[str, Any]:
    """Build the request for a piece, which comes in the answer."""
    return evaluate_content(**{NAME: call("piece", token, start, stop, files=_SMALL)})


def post(token: str, start: int, stop: int, size: int) -> dict[str, Any]:
    """Build the request for pieces of `size` bytes, each of which comes as a message of its own."""
    return evaluate_content(**{NAME: call("post", token, start, stop, size, files=_SMALL)})


def fill(token: str, start: int, crc: int, text: str = "") -> dict[str, Any]:
    """Build the request that brings a piece with that checksum: its buffer, or `text` in base64."""
    return evaluate_content(**{NAME: call("fill", token, start, crc, text, files=_SMALL)})


def checksum(token: str, size: int) -> dict[str, Any]:
    """Build the request for the checksum of `size` bytes that wait."""
    return evaluate_content(**{NAME: call("checksum", token, size, files=_SMALL)})


def drop(token: str) -> dict[str, Any]:
    """Build the request that forgets what waits under a token."""
    return evaluate_content(**{NAME: call("drop", token, files=_SMALL)})


def read(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer in an `execute_reply`; None if there is none."""
    try:
        answer = json.loads(evaluated(content, NAME))
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def read_text(content: Mapping[str, Any]) -> str:
    """Return the text in the answer of a request for or with a piece; "" if there is none."""
    return evaluated(content, NAME)


def problem(content: Mapping[str, Any]) -> str:
    """Return what was raised there in place of an answer, in a word; "" if nothing was."""
    try:
        error = content["user_expressions"][NAME]
        return str(error["ename"]) if error["status"] == "error" else ""
    except (KeyError, TypeError):
        return ""
