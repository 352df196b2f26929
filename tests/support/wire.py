"""Messages as a kernel would send them, in short words."""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.messages import Message

KERNEL = "kernel-life-1"
OURS = "our-session"
CELL = "our-session_1"


def msg(
    msg_type: str,
    content: dict[str, Any] | None = None,
    *,
    channel: str = "iopub",
    parent: str = CELL,
    sender: str = KERNEL,
    number: int | None = None,
) -> Message:
    """A message of a kernel that numbers nothing; with `number` of one that does, in a process of its own."""
    msg_id = "x" if number is None else f"{sender}_7_{number}"
    parent_header = {"msg_id": parent} if parent else {}
    header = {"msg_type": msg_type, "msg_id": msg_id, "session": sender}
    return Message.parse(channel, header, parent_header, {}, content)


def status(state: str, **kwargs: Any) -> Message:
    return msg("status", {"execution_state": state}, **kwargs)


def stream(text: str, name: str = "stdout", **kwargs: Any) -> Message:
    return msg("stream", {"name": name, "text": text}, **kwargs)


def entered(**kwargs: Any) -> Message:
    return msg("execute_input", {"code": "x"}, **kwargs)


def reply(status: str = "ok", **content: Any) -> Message:
    return msg("execute_reply", {"status": status, **content}, channel="shell")


def error(ename: str = "ValueError", evalue: str = "no", **kwargs: Any) -> Message:
    return msg("error", {"ename": ename, "evalue": evalue, "traceback": [f"{ename}: {evalue}"]}, **kwargs)


def save(outputs: list[dict[str, Any]]) -> None:
    """Fail where a notebook with these outputs could not be saved."""
    import nbformat  # takes long, and few tests need it

    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.from_dict(item) for item in outputs])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
