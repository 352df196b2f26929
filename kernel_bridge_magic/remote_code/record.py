"""Ask a kernel how a cell ended whose reply was lost. Pure.

IPython keeps the result of what it ran last, and with it the `cellId` of the request's metadata. Ours is the cell's
`msg_id`, so that no other client's cell can be mistaken for it. The question is a silent request. Then that is what the
kernel ran last, so it can be asked once only.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from kernel_bridge_magic.protocol.messages import evaluate_content, evaluated
from kernel_bridge_magic.remote_code import call


def mark(msg_id: str) -> dict[str, Any]:
    """Return what goes into a cell's metadata, so that its kernel's record of it can be told from others."""
    return {"cellId": msg_id}


def is_kept(info: Mapping[str, Any]) -> bool:
    """Return whether a kernel may be asked, by the content of its `kernel_info_reply`.

    IPython has the record, and what is built on it. The question is Python: nothing else is to be made to read it.
    """
    language = info.get("language_info")
    speaks = language.get("name") if isinstance(language, Mapping) else None
    return info.get("implementation") == "ipython" or speaks == "python"


def question() -> dict[str, Any]:
    """Build the content of the `execute_request` that asks; the kernel must handle it behind the cell."""
    files = ("record",)
    return evaluate_content(call("keep", files=files), record=call("take", files=files))


def read(content: dict[str, Any], msg_id: str) -> dict[str, Any] | None:
    """Return the reply that the cell had, as far as the answer tells; None if the kernel does not know how it ended."""
    try:
        cell, succeeded, name, text = ast.literal_eval(evaluated(content, "record"))
    except (KeyError, TypeError, ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if cell != msg_id:
        return None
    return {"status": "ok"} if succeeded is True else {"status": "error", "ename": str(name), "evalue": str(text)}
