"""Our own code on the control channel of an IPython kernel: it runs beside what the main shell runs.

Each `execute_request` on control goes through this module, for it can do harm in two ways. The end of any such request,
a silent one too, takes away the plot that the main shell's cell is drawing, and its payloads: so each is guarded while
it runs. And servers take its idle for the kernel's own: afterwards the kernel must say that it is busy
(FACTS.md#busy-kernels).
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Mapping
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.errors import LinkError
from kernel_bridge_magic.protocol.messages import Message, evaluate_content
from kernel_bridge_magic.remote_code import subshell as remote
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Closed, Inbox

#: A control thread answers in milliseconds, unless native code holds the GIL.
REPLY_SECONDS = 2.0


def send(transport: Transport, content: Mapping[str, Any], *, inbox: Inbox | None = None, msg_id: str = "") -> str:
    """Send an `execute_request` of expressions, and return its `msg_id`; what answers it goes to `inbox`.

    The caller sees to it that the kernel says afterwards whether it is busy: by `look_busy`, or by a `msg_id` that is
    kept quiet over there (see `remote_code.spool`).

    Raises:
        LinkLost: the connection is closed.
    """
    return transport.send("execute_request", remote.guarded(content), channel="control", inbox=inbox, msg_id=msg_id)


def ask(
    transport: Transport, content: Mapping[str, Any], *, seconds: float = REPLY_SECONDS, msg_id: str = ""
) -> dict[str, Any]:
    """Send as `send` does and return the reply's content; {} if none came within `seconds`.

    Raises:
        LinkLost: the connection is closed.
    """
    reply = transport.ask("execute_request", remote.guarded(content), channel="control", seconds=seconds, msg_id=msg_id)
    return reply or {}


def interrupt_thread(transport: Transport, ident: int) -> bool:
    """Raise KeyboardInterrupt in a thread over there; return whether the thread was reached.

    Raises:
        LinkLost: the connection is closed.
    """
    reply = ask(transport, remote.interrupt(ident))
    with contextlib.suppress(LinkError):
        look_busy(transport)
    return remote.reached(reply)


def look_busy(transport: Transport) -> None:
    """Have a kernel whose main shell is busy say so again.

    Its server and its owner's front end take the idle of any request for the kernel's own. A server that culls idle
    kernels might then end one at work (FACTS.md#busy-kernels). If the kernel has become idle meanwhile, a question on
    the main shell, behind all that, has it say so.

    Raises:
        LinkLost: the connection is closed.
    """
    inbox = Inbox()
    msg_id = send(transport, remote.look_busy(), inbox=inbox)
    deadline, came = Deadline.after(REPLY_SECONDS), 0
    with contextlib.suppress(queue.Empty):
        while came < 2:  # the request's own, and the one that it makes
            item = inbox.get(timeout=deadline.left)
            if isinstance(item, Closed):
                break
            came += isinstance(item, Message) and item.execution_state == "busy"
    transport.forget(msg_id)
    # Servers leave the states of kernel_info out of account.
    transport.send("execute_request", evaluate_content())
