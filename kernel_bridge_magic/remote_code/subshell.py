"""What we run beside the main shell of an IPython kernel: on its control channel, and in a subshell of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel_bridge_magic.protocol.messages import evaluate_content, evaluated
from kernel_bridge_magic.remote_code import call

# Constant: IPython keeps the text of all code that it runs.
_GUARD = call("enter_aside", files=("guard",))
_ARRIVE = call("arrive", files=("guard", "status", "subshell"))


def guarded(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of an `execute_request` on control, guarded while it runs. It may hold expressions only."""
    assert not content["code"], "only expressions: it is the code that guards"
    return {**content, "code": _GUARD}


def arrive() -> dict[str, Any]:
    """Build the content of the first request in a new subshell: it guards this very request, and all behind it."""
    return evaluate_content(_ARRIVE, value=call("identify", files=("status",)))


def thread(content: dict[str, Any]) -> int:
    """Return the identity of a subshell's thread, by the reply to `arrive`; 0 if it does not tell."""
    ident = evaluated(content, "value")
    return int(ident) if ident.isdecimal() else 0


def leave() -> dict[str, Any]:
    """Build the content of the request by which a subshell deletes itself behind the cell that it runs."""
    return evaluate_content(value=call("leave", files=("status",)))


def interrupt(ident: int) -> dict[str, Any]:
    """Build the content of the request on control that raises KeyboardInterrupt in a guest's thread."""
    return evaluate_content(value=call("interrupt", ident, files=("status",)))


def reached(content: dict[str, Any]) -> bool:
    """Return whether the thread was reached, by the reply to `interrupt`."""
    return evaluated(content, "value") == "1"


def look_busy() -> dict[str, Any]:
    """Build the content of the request on control that has the kernel say that it is busy."""
    return evaluate_content(value=call("look_busy", files=("status",)))
