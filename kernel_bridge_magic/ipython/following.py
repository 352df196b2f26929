"""`%kernels --follow` and `%kernels --watch`: what changes over there, shown as it changes, until interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.neutral import KERNEL
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import BadMatch, KernelBridgeError, KernelNotFound
from kernel_bridge_magic.interrupts import PATIENCE, aside, check, held, sends_nothing
from kernel_bridge_magic.jobs.follow import Came, Cleared, Ended, Follow, Input
from kernel_bridge_magic.models import Kernel, may_have_unread
from kernel_bridge_magic.protocol.events import ClearOutput, DisplayData
from kernel_bridge_magic.text import visible

if TYPE_CHECKING:
    from kernel_bridge_magic.ipython.shell import InShell

BACK_SECONDS, LOOK_SECONDS = 60.0, 1.0  # for how long, and how often, a kernel that has ended is looked for
_DISCARDS = (
    "note: following over a WebSocket discards output that the server keeps for a closed notebook, as any new tab would"
)


def follow(here: InShell, match: str, options: Any) -> None:
    """Show what other clients run in a kernel, input and output, until interrupted. Nothing is sent there.

    A kernel that ends, or to which the link breaks, is followed again when it is back.

    Raises:
        BadInput: no such kernel.
        LinkError, ServerError: it cannot be connected to.
    """
    if not match:
        raise BadMatch("which kernel? Write %kernels --follow NAME; %kernels lists them")
    here.ask_for_secrets(options.server)
    with held():
        sink = here.front.sink()
        with sends_nothing():
            kernel = here.find(match, options.server)
        mirror = Mirror(sink, kernel)
        if not kernel.connection_file and may_have_unread(kernel, datetime.now(UTC)):
            mirror.relay.note(_DISCARDS)
        with sends_nothing():
            connection = here.bridge.pool.connect(kernel, note=mirror.relay.show)
        mirror.introduce()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    _follow(here, mirror, kernel, options.server, connection)
                    mirror.relay.finish()
                    kernel, connection = reconnect(here, kernel, options.server, comes_back=mirror.comes_back)
                    mirror = Mirror(sink, kernel)
        except Gone as gone:
            mirror.relay.note(f"{gone}: it is no longer followed")
        mirror.relay.finish()
        sink.finish()


class Mirror:
    """Shows in the cell that runs here what others run in `kernel`, over one connection."""

    def __init__(self, sink: NotebookSink, kernel: Kernel) -> None:
        self._sink = sink
        self._title = kernel.title
        self.relay = Relay(sink, kernel)
        #: whether a kernel that has ended will be there again, as far as is known
        self.comes_back = True
        self._cleared: Cleared | None = None  # when the next output is there

    def introduce(self) -> None:
        """Say which kernel is followed."""
        self.relay.inform(KERNEL, f"following {self._title}, read only. {self._sink.stop} ends it")

    def show(self, came: Came | None) -> None:
        """Show one thing that came of `Follow`."""
        if isinstance(came, Cleared):
            self._clear(came)
            return
        if isinstance(came, Input | Ended) or came is None:
            self.relay.show_error()
        if came is None:
            return
        updates = isinstance(came, DisplayData) and came.update  # which no front end takes for an output
        if self._cleared is not None and not updates:
            self._clear(dataclasses.replace(self._cleared, wait=False))
        if isinstance(came, Input):
            self.comes_back = True
            self._show_input(came)
        elif isinstance(came, Ended):
            self.comes_back = came.comes_back
            self.relay.note(came.reason)
        else:
            self.relay.show(came)

    def _clear(self, cleared: Cleared) -> None:
        """Clear the cell here: all but the cell over there that has cleared, and the line that says what this is.

        In a terminal both stand there still.
        """
        if isinstance(self._sink, TerminalSink):
            self.relay.show(ClearOutput(cleared.wait))
            return
        self._cleared = cleared if cleared.wait else None
        if cleared.wait:
            return
        self.relay.show(ClearOutput(True))  # the lines take its place at once, so that nothing jumps
        self.introduce()
        if cleared.input is not None:
            self._show_input(cleared.input)

    def _show_input(self, came: Input) -> None:
        self._sink.flush()
        self._sink.display(*_input(came), "", False)


class Gone(Exception):
    """A kernel does not come back; the text says why that is thought."""


def _follow(here: InShell, mirror: Mirror, kernel: Kernel, server: str | None, connection: KernelConnection) -> None:
    """Show what comes over one connection, until it ends.

    Raises:
        Gone: the kernel was shut down, and is not there any more. A server may keep its WebSocket open all the same.
        KeyboardInterrupt: somebody has seen enough.
    """
    look_at = 0.0
    with Follow(connection) as followed:
        for came in followed:
            mirror.show(came)
            if came is None and not mirror.comes_back and time.monotonic() >= look_at:
                with contextlib.suppress(KernelBridgeError):
                    _find(here, kernel, server, comes_back=False)
                look_at = time.monotonic() + LOOK_SECONDS


def _find(here: InShell, kernel: Kernel, server: str | None, *, comes_back: bool) -> Kernel:
    """Return a kernel as it is now.

    Raises:
        Gone: there is none, and none is expected.
        KernelBridgeError: there is none yet, or its server does not say.
    """
    try:
        return here.find(kernel.id, server)
    except KernelNotFound:
        if comes_back:
            raise
    raise Gone("it is gone")


def reconnect(
    here: InShell, kernel: Kernel, server: str | None, *, comes_back: bool
) -> tuple[Kernel, KernelConnection]:
    """Wait until a kernel can be connected to again; return it as it is now, and the connection.

    Raises:
        Gone: it is not there any more, or not in time.
        KeyboardInterrupt: somebody has seen enough.
    """
    until = time.monotonic() + BACK_SECONDS
    while time.monotonic() < until:
        _pause(LOOK_SECONDS)
        with contextlib.suppress(KernelBridgeError):  # it is starting, or its server is
            found = _find(here, kernel, server, comes_back=comes_back)
            return found, here.bridge.pool.connect(found)
    raise Gone(f"it has not come back within {BACK_SECONDS:.0f} s")


def _pause(seconds: float) -> None:
    """Wait; an interrupt ends the wait.

    Raises:
        KeyboardInterrupt: there was one.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        check()
        time.sleep(PATIENCE)


def _input(came: Input) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a bundle of the code that somebody runs; nothing in it can act."""
    head = f"In [{'*' if came.count is None else came.count}]:"
    code = "\n".join(visible(line) for line in came.code.rstrip("\n").split("\n"))
    style = "margin:0;padding:2px 8px;border-left:3px solid #8886;white-space:pre-wrap"
    page = f'<pre style="{style}"><b>{head}</b> {html.escape(code)}</pre>'
    return {"text/plain": f"{head} {code}", "text/html": page}, {}


def watch(here: InShell, match: str, options: Any) -> None:
    """Show the table of kernels, and again every so many seconds in its place, until interrupted.

    In a terminal where it cannot be drawn over it comes below, when it has changed.
    """
    here.ask_for_secrets(options.server)
    with held(), contextlib.suppress(KeyboardInterrupt):
        sink = here.front.sink()
        display_id, known = f"kernel-bridge:watch:{uuid.uuid4().hex[:8]}", False
        while True:
            table = aside(lambda: here.kernels(match, options), "kernel-bridge-watch")
            if not isinstance(sink, TerminalSink):
                bundle = {"text/html": table._repr_html_(), "text/plain": table.text()}
                sink.display(bundle, {}, display_id, known)
            else:
                sink.show_changed(display_id, table.text())
            known = True
            _pause(options.watch)
