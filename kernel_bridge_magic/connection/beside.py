"""What is asked of an IPython kernel beside its main shell: on its control channel, or in a subshell of ours.

Each `execute_request` on control goes through this module, and each subshell that is made, for both do harm. The end of
any such request, a silent one too, takes away the plot that the main shell's cell is drawing, and its payloads:
`remote_code` guards one request on control, and a subshell until it goes. And its idle is taken for the kernel's own:
afterwards the kernel must say that it is busy (FACTS 15).
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Mapping
from typing import Any

from kernel_bridge_magic.errors import LinkError
from kernel_bridge_magic.protocol.messages import Message, evaluate_content
from kernel_bridge_magic.remote_code import subshell as remote
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Inbox
from kernel_bridge_magic.transports.items import Closed

__all__ = ["ANSWER_SECONDS", "arrive", "ask", "interrupt", "leave", "look_busy", "send"]

#: A control thread answers in milliseconds, unless native code holds the GIL.
ANSWER_SECONDS = 2.0


def send(transport: Transport, content: Mapping[str, Any], *, inbox: Inbox | None = None, msg_id: str = "") -> str:
    """Send an `execute_request` of expressions on control; what answers it goes to `inbox`.

    Whoever sends it sees to it that the kernel says afterwards whether it is busy: by `look_busy`, or by an id that is
    kept quiet over there (see `remote_code.spool`).

    Raises:
        LinkLost: the connection is closed.
    """
    return transport.send("execute_request", remote.guarded(content), channel="control", inbox=inbox, msg_id=msg_id)


def ask(
    transport: Transport, content: Mapping[str, Any], *, seconds: float = ANSWER_SECONDS, msg_id: str = ""
) -> dict[str, Any]:
    """Send as `send` does and give the reply's content; {} if none came within `seconds`.

    Raises:
        LinkLost: the connection is closed.
    """
    reply = transport.ask("execute_request", remote.guarded(content), channel="control", seconds=seconds, msg_id=msg_id)
    return reply or {}


def arrive(transport: Transport, subshell: str) -> int:
    """Guard a new subshell until it goes; give the identity of its thread, 0 if it does not answer.

    Raises:
        LinkLost: the connection is closed.
    """
    # The code guards this very request as well; the expression only tells.
    reply = transport.ask("execute_request", remote.arrive(), subshell=subshell, seconds=ANSWER_SECONDS)
    return remote.thread(reply or {})


def leave(transport: Transport, subshell: str) -> None:
    """Have a subshell deleted over there behind the cell that it runs, whether or not we are there still.

    If main is at work then, the kernel says once more that it is busy, as after `look_busy`.

    Raises:
        LinkLost: the connection is closed.
    """
    transport.send("execute_request", remote.leave(), subshell=subshell)


def interrupt(transport: Transport, ident: int) -> bool:
    """Raise KeyboardInterrupt in a thread over there; tell whether it was reached.

    Raises:
        LinkLost: the connection is closed.
    """
    reply = ask(transport, remote.interrupt(ident))
    with contextlib.suppress(LinkError):
        look_busy(transport)
    return remote.reached(reply)


def look_busy(transport: Transport) -> None:
    """Have a kernel whose main shell is busy say so again.

    Its server and its owner's front end take the idle of any request, beside the main shell too, for the kernel's
    own, and a server that culls idle kernels might then end one at work (FACTS 15). A question on the main shell,
    behind all that, ends in the truth if it has become idle meanwhile.

    Raises:
        LinkLost: the connection is closed.
    """
    inbox = Inbox()
    msg_id = send(transport, remote.look_busy(), inbox=inbox)
    deadline, came = time.monotonic() + ANSWER_SECONDS, 0
    with contextlib.suppress(queue.Empty):
        while came < 2:  # the request's own, and the one that it makes
            item = inbox.get(timeout=max(deadline - time.monotonic(), 0.0))
            if isinstance(item, Closed):
                break
            came += isinstance(item, Message) and item.execution_state == "busy"
    transport.forget(msg_id)
    # Servers leave the states of kernel_info out of account.
    transport.send("execute_request", evaluate_content())
