"""What runs beside a kernel's main shell: requests of our own on the control channel, and cells in a subshell (JEP 91).

Each `execute_request` on control goes through this module, for it can do harm in two ways. The end of any such request,
a silent one too, takes away the plot that the main shell's cell is drawing, and its payloads: so each is guarded while
it runs. And servers take its idle for the kernel's own: afterwards the kernel must say that it is busy. So the server's
word is not asked here either, whether a kernel is busy (FACTS.md#busy-kernels).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from kernel_bridge_magic.errors import CannotConnect, LinkError, NotRun
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.messages import Message, describe_kernel, evaluate_content, has_subshells
from kernel_bridge_magic.remote_code import subshell as remote
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Closed, Inbox

_BUSY_SECONDS = 0.5  # an idle kernel answers in milliseconds
_REPLY_SECONDS = 2.0  # a control thread answers in milliseconds, unless native code holds the GIL
_LATE_SECONDS = 600.0  # for a subshell that native code has held up, and that somebody must delete


def send_aside(transport: Transport, content: Mapping[str, Any], inbox: Inbox, *, msg_id: str = "") -> str:
    """Send an `execute_request` of expressions, and return its `msg_id`; what answers it goes to `inbox`.

    The caller sees to it that the kernel says afterwards whether it is busy: by `look_busy`, or by a `msg_id` that is
    kept quiet over there (see `remote_code.spool`).

    Raises:
        LinkLost: the connection is closed.
    """
    return transport.send("execute_request", remote.guarded(content), channel="control", inbox=inbox, msg_id=msg_id)


def ask_aside(
    transport: Transport, content: Mapping[str, Any], *, seconds: float = _REPLY_SECONDS, msg_id: str = ""
) -> dict[str, Any]:
    """Send as `send_aside` does and return the reply's content; {} if none came within `seconds`.

    Raises:
        LinkLost: the connection is closed.
    """
    reply = transport.ask("execute_request", remote.guarded(content), channel="control", seconds=seconds, msg_id=msg_id)
    return reply or {}


def look_busy(transport: Transport) -> None:
    """Have a kernel whose main shell is busy say so again.

    Its server and its owner's front end take the idle of any request for the kernel's own. A server that culls idle
    kernels might then end one at work (FACTS.md#busy-kernels). If the kernel has become idle meanwhile, a question on
    the main shell, behind all that, has it say so.

    Raises:
        LinkLost: the connection is closed.
    """
    inbox = Inbox()
    msg_id = send_aside(transport, remote.look_busy(), inbox)
    came = 0
    for item in inbox.within(_REPLY_SECONDS):
        came += isinstance(item, Message) and item.execution_state == "busy"
        if came == 2 or isinstance(item, Closed):  # the request's own, and the one that it makes
            break
    transport.forget(msg_id)
    # Servers leave the states of kernel_info out of account.
    transport.send("execute_request", evaluate_content())


def is_busy(transport: Transport) -> bool:
    """Return whether the kernel leaves a question on its shell channel unanswered for half a second.

    Raises:
        LinkLost: the connection is closed.
    """
    return transport.ask("kernel_info_request", {}, seconds=_BUSY_SECONDS, harmless=True) is None


def subshell_for(transport: Transport, if_busy: str, kernel: str) -> Subshell | None:
    """Return the subshell that a cell must go to, None for the main shell. Errors call the kernel `kernel`.

    `if_busy` is the cell's: nothing is asked where that is `wait`.

    Raises:
        NotRun: the kernel is busy and the cell must not wait, or the kernel can run nothing beside that.
        LinkLost: the connection is closed.
    """
    if if_busy == "wait" or not is_busy(transport):
        return None
    if if_busy == "fail":
        hint = "nothing was sent, so it is safe to run the cell again (--if-busy wait waits)"
        raise NotRun(f"{kernel} is busy; {hint}", kernel=kernel)
    asked = not transport.state.info
    if asked:
        # The answer tells the transport.
        transport.ask("kernel_info_request", {}, channel="control", seconds=_REPLY_SECONDS, harmless=True)
    if not has_subshells(transport.state.info):
        is_ipython = transport.state.info.get("implementation") == "ipython"
        if asked and is_ipython:  # other kernels would be asked to run Python
            with contextlib.suppress(LinkError):
                look_busy(transport)
        what = describe_kernel(transport.state.info) or "it does not say what it is"
        hint = "; ipykernel 7 has" if is_ipython else ""
        raise NotRun(f"{kernel} has no subshells ({what}{hint}); nothing was sent", kernel=kernel)
    return Subshell(transport, kernel)


class Subshell:
    """A subshell of ours, for one cell. It outlives our connection, so whoever makes it deletes it.

    It is guarded until it goes: what main is drawing when a request of the subshell ends stays main's. Errors call the
    kernel `kernel`.

    Raises:
        NotRun: the kernel did not make one.
        LinkLost: the connection is closed.
    """

    def __init__(self, transport: Transport, kernel: str) -> None:
        self._transport = transport
        #: its id, for the header of what it shall handle
        self.id = ""
        inbox = Inbox()
        asked = transport.send("create_subshell_request", {}, channel="control", inbox=inbox)
        reply = _reply(inbox, _REPLY_SECONDS)
        if reply is None:
            # It may be made yet, and nobody else would delete it.
            wait = partial(self._delete_when_made, asked, inbox)
            threading.Thread(target=wait, name="kernel-bridge-subshell", daemon=True).start()
            raise NotRun(f"{kernel} did not make a subshell in time; nothing was sent", kernel=kernel)
        transport.forget(asked)
        if not self._is_made(reply):
            raise NotRun(f"{kernel} made no subshell; nothing was sent", kernel=kernel)
        #: the identity of the thread that runs its cells
        self.thread = remote.thread(
            transport.ask("execute_request", remote.arrive(), subshell=self.id, seconds=_REPLY_SECONDS) or {}
        )
        if not self.thread:
            self.delete()
            raise NotRun(f"{kernel}'s subshell does not answer; nothing was sent", kernel=kernel)

    def _is_made(self, reply: dict[str, Any]) -> bool:
        """Record the id in an answer and return whether it has one. If not, correct what the request's idle told."""
        made = reply.get("subshell_id")
        self.id = made if reply.get("status") == "ok" and isinstance(made, str) else ""
        if not self.id and reply:
            with contextlib.suppress(LinkError):
                look_busy(self._transport)
        return bool(self.id)

    def _delete_when_made(self, asked: str, inbox: Inbox) -> None:
        """Wait for the answer to `asked`, and delete what it tells of; runs in a thread of its own."""
        try:
            reply = _reply(inbox, _LATE_SECONDS)
        finally:
            self._transport.forget(asked)
        if reply is not None and self._is_made(reply):
            self.delete()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in its thread: the kernel's own interrupt hits the main shell only.

        Raises:
            CannotConnect, LinkLost: it could not be done.
        """
        reply = ask_aside(self._transport, remote.interrupt(self.thread))
        with contextlib.suppress(LinkError):
            look_busy(self._transport)
        if not remote.reached(reply):
            raise CannotConnect("the subshell's thread was not reached")

    def leave(self, *, ended: bool) -> None:
        """Delete it, now that we have done with it. `ended`: its cell's idle has come.

        The kernel's shell channel waits for a subshell that is at work (FACTS.md#busy-kernels). So such a one deletes
        itself behind its cell, whether or not we are there still. If main is at work then, the kernel says once more
        that it is busy.
        """
        if ended:
            self.delete()
            return
        with contextlib.suppress(LinkError):
            self._transport.send("execute_request", remote.leave(), subshell=self.id)

    def delete(self) -> None:
        """Delete it, while it runs nothing."""
        with contextlib.suppress(LinkError):
            content = {"subshell_id": self.id}
            self._transport.ask("delete_subshell_request", content, channel="control", seconds=_REPLY_SECONDS)
            look_busy(self._transport)


def _reply(inbox: Inbox, seconds: float) -> dict[str, Any] | None:
    """Return the content of the reply on control; {} if the end came first, None if nothing came within `seconds`."""
    for item in inbox.within(seconds):
        if isinstance(item, Closed | EndSignal):
            return {}
        if isinstance(item, Message) and item.channel == "control":
            return item.content
    return None
