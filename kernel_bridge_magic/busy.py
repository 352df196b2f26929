"""A kernel that runs something else: whether it does, and a subshell beside its main shell (JEP 91).

The server's word is not asked: it calls a busy kernel idle after any control request (FACTS 15).
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from typing import Any

from kernel_bridge_magic.errors import BadOption, CannotConnect, LinkError, NotRun
from kernel_bridge_magic.protocol.life import Sign
from kernel_bridge_magic.protocol.messages import (
    Message,
    describe_kernel,
    evaluate_content,
    evaluated,
    has_subshells,
)
from kernel_bridge_magic.transports.base import Closed, Transport
from kernel_bridge_magic.transports.inbox import Inbox

__all__ = ["IF_BUSY", "Subshell", "interrupt_thread", "is_busy", "look_busy", "subshell_for"]

#: What can be done with a cell for a busy kernel.
IF_BUSY = ("wait", "fail", "subshell")

_BUSY_SECONDS = 0.5  # an idle kernel answers in milliseconds
_ANSWER_SECONDS = 2.0  # a control thread answers in milliseconds, unless native code holds the GIL
_LATE_SECONDS = 600.0  # for a subshell that native code has held up, and that somebody must delete
_IDENT = "__import__('threading').get_ident()"
_RAISE = (
    "(lambda c: c.pythonapi.PyThreadState_SetAsyncExc(c.c_ulong({ident}), c.py_object(KeyboardInterrupt)))"
    "(__import__('ctypes'))"
)
# On IOPub, a moment after the idle of the request that asks for it.
_LOOK_BUSY = (
    "(lambda k, p, t: t.Timer(0.1, lambda: k.session.send(k.iopub_socket, 'status', {'execution_state': 'busy'}, "
    "parent=p, ident=k._topic('status'))).start())"
    "(get_ipython().kernel, get_ipython().kernel.get_parent('control'), __import__('threading'))"
)
# In the kernel's shell channel thread, which deletes subshells, when this request is over; `add_callback` wakes it.
# Nobody may be there by then for `look_busy`, so it is done here: main's lock is held while it runs something, and if
# that ends just then, main's own loop, which is free again, says so.
_LEAVE = (
    "(lambda k, p, m, loop: (lambda say: loop.add_callback(lambda: loop.call_later(0.2, lambda: ("
    "m._delete_subshell({id}), k._main_asyncio_lock.locked() and (say('busy'), "
    "k.io_loop.add_callback(lambda: k._main_asyncio_lock.locked() or say('idle')))))) and None)"
    "(lambda state: k.session.send(k.iopub_socket, 'status', {{'execution_state': state}}, "
    "parent=p, ident=k._topic('status')) and None))"
    "(get_ipython().kernel, get_ipython().kernel.get_parent('shell'), "
    "get_ipython().kernel.shell_channel_thread.manager, "
    "get_ipython().kernel.shell_channel_thread.manager._shell_channel_io_loop)"
)


def is_busy(transport: Transport) -> bool:
    """Whether the kernel leaves a question on its shell channel unanswered for half a second.

    Raises:
        LinkLost: the connection is closed.
    """
    return transport.ask("kernel_info_request", {}, seconds=_BUSY_SECONDS, harmless=True) is None


def subshell_for(transport: Transport, if_busy: str, kernel: str) -> Subshell | None:
    """Give the subshell that a cell must go to, None for the main shell. `kernel` is the kernel's name.

    Raises:
        BadOption: `if_busy` is none of `IF_BUSY`.
        NotRun: the kernel is busy, and the cell shall not wait; or it can run nothing beside that.
        LinkLost: the connection is closed.
    """
    if if_busy not in IF_BUSY:
        raise BadOption(f"if_busy is one of {', '.join(IF_BUSY)}, not {if_busy!r}")
    if if_busy == "wait" or not is_busy(transport):
        return None
    if if_busy == "fail":
        raise NotRun("the kernel is busy; nothing was sent. Safe to run again", kernel=kernel)
    asked = not transport.info
    if asked:
        # The answer tells the transport.
        transport.ask("kernel_info_request", {}, channel="control", seconds=_ANSWER_SECONDS, harmless=True)
    if not has_subshells(transport.info):
        if asked:
            _look_busy_if_it_can(transport)
        what = describe_kernel(transport.info) or "it does not say what it is"
        hint = "; ipykernel 7 has" if transport.info.get("implementation") == "ipython" else ""
        raise NotRun(f"the kernel is busy and has no subshells ({what}{hint}); nothing was sent", kernel=kernel)
    try:
        return Subshell(transport)
    except CannotConnect as problem:
        raise NotRun(f"the kernel is busy, and {problem}; nothing was sent", kernel=kernel) from None


def _look_busy_if_it_can(transport: Transport) -> None:
    # Other kernels would be asked to run Python.
    if transport.info.get("implementation") == "ipython":
        with contextlib.suppress(LinkError):
            look_busy(transport)


class Subshell:
    """A subshell of ours, for one cell. It outlives our connection: whoever makes it deletes it.

    Raises:
        CannotConnect: the kernel did not make one.
        LinkLost: the connection is closed.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        #: its id, for the header of what it shall handle
        self.id = ""
        inbox = Inbox()
        asked = transport.send("create_subshell_request", {}, channel="control", inbox=inbox)
        reply = _reply(inbox, _ANSWER_SECONDS)
        if reply is None:
            # It may be made yet, and nobody else would delete it.
            late = threading.Thread(
                target=self._delete_when_made, args=(asked, inbox), name="kernel-bridge-subshell", daemon=True
            )
            late.start()
            raise CannotConnect("it did not make a subshell in time")
        transport.forget(asked)
        if not self._take(reply):
            raise CannotConnect("it made no subshell")

    def _take(self, reply: dict[str, Any]) -> bool:
        """Take the answer, and tell whether there is a subshell; if not, have the request's own idle put right."""
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
        if reply is not None and self._take(reply):
            self.delete()

    def evaluate(self, expression: str) -> str:
        """Give the representation of an expression's value over there; "" if there is none in time."""
        content = evaluate_content(value=expression)
        reply = self._transport.ask("execute_request", content, subshell=self.id, seconds=_ANSWER_SECONDS) or {}
        return evaluated(reply, "value")

    def thread(self) -> int:
        """The identity of the thread that runs its cells: what `interrupt` needs. Ask before a cell runs.

        Raises:
            CannotConnect: it does not say.
        """
        ident = self.evaluate(_IDENT)
        if not ident.isdecimal():
            raise CannotConnect("its subshell does not answer")
        return int(ident)

    def delete(self) -> None:
        """Delete it. Only after its cell's idle: the kernel's shell channel waits for a running one (FACTS 6)."""
        with contextlib.suppress(LinkError):
            content = {"subshell_id": self.id}
            self._transport.ask("delete_subshell_request", content, channel="control", seconds=_ANSWER_SECONDS)
            look_busy(self._transport)

    def delete_itself(self) -> None:
        """Have it deleted over there behind the cell that it runs, whether or not we are there still.

        If main is at work then, the kernel says once more that it is busy, as after `delete`.
        """
        with contextlib.suppress(LinkError):
            content = evaluate_content(value=_LEAVE.format(id=json.dumps(self.id)))
            self._transport.send("execute_request", content, subshell=self.id)


def _reply(inbox: Inbox, seconds: float) -> dict[str, Any] | None:
    """Give the content of the reply on control; {} if the end came first, None if nothing came within `seconds`."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(queue.Empty):
        while True:
            item = inbox.get(timeout=max(deadline - time.monotonic(), 0.0))
            if isinstance(item, Closed | Sign):
                return {}
            if isinstance(item, Message) and item.channel == "control":
                return item.content
    return None


def look_busy(transport: Transport) -> None:
    """Have a kernel whose main shell is busy say so again.

    Its server and its owner's front end take the idle of any request, beside the main shell too, for the kernel's
    own, and a server that culls idle kernels might then end one at work (FACTS 15). A question on the main shell,
    behind all that, ends in the truth if it has become idle meanwhile.

    Raises:
        LinkLost: the connection is closed.
    """
    inbox = Inbox()
    content = evaluate_content(value=_LOOK_BUSY)
    msg_id = transport.send("execute_request", content, channel="control", inbox=inbox)
    deadline, came = time.monotonic() + _ANSWER_SECONDS, 0
    with contextlib.suppress(queue.Empty):
        while came < 2:  # the request's own, and the one that it makes
            item = inbox.get(timeout=max(deadline - time.monotonic(), 0.0))
            if isinstance(item, Closed):
                break
            came += isinstance(item, Message) and item.execution_state == "busy"
    transport.forget(msg_id)
    # Servers leave the states of kernel_info out of account.
    transport.send("execute_request", evaluate_content())


def interrupt_thread(transport: Transport, ident: int) -> None:
    """Raise KeyboardInterrupt in a subshell's thread: the kernel's own interrupt hits the main shell only.

    Raises:
        CannotConnect, LinkLost: it could not be done.
    """
    beside = Subshell(transport)
    try:
        if beside.evaluate(_RAISE.format(ident=ident)) != "1":
            raise CannotConnect("the subshell's thread was not reached")
    finally:
        beside.delete()
