"""The front ends that a shell may have: a notebook, or an IPython terminal."""

from __future__ import annotations

import io
import sys
import uuid
from collections.abc import Callable
from typing import Any

from kernel_bridge_magic.display.bottom import is_terminal
from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.comm_proxies import CommProxies, Forward
from kernel_bridge_magic.display.group_html import Output
from kernel_bridge_magic.display.group_notebook import NotebookGroups
from kernel_bridge_magic.display.group_plain import LinesSink, PlainGroups
from kernel_bridge_magic.display.group_sink import GroupSink, InBlocks, Update
from kernel_bridge_magic.display.group_terminal import TerminalGroups
from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.hooks import is_captured
from kernel_bridge_magic.display.notebook import LateSink, NamedLateSink, NotebookSink
from kernel_bridge_magic.display.relay import Sink
from kernel_bridge_magic.display.terminal import LateTerminalSink, TerminalSink
from kernel_bridge_magic.display.throttle import Allowance
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.screens import (
    JobCell,
    JobSink,
    KeptScreen,
    NotebookScreen,
    TerminalScreen,
    show_outputs,
)
from kernel_bridge_magic.jobs.together import Painter
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import Parent
from kernel_bridge_magic.protocol.tails import MAX_KEPT, MAX_OUTPUT
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import visible

NewSink = Callable[[str], GroupSink]

_LEAST_OF_ONE = 1 << 16  # characters that each of many kernels may show


class NotebookFront:
    """The front end of this kernel: a notebook, or a console."""

    def __init__(self, shell: Any, settings: KernelBridge) -> None:
        self._shell = shell
        self._settings = settings
        self._allowance = Allowance(MAX_OUTPUT)
        self._allowed_for: tuple[int, Any] | None = None
        self._heading = Heading()
        self._in_blocks = InBlocks()
        self._job_cell, self._job_cell_id = JobCell(), None  # the newest cell that has begun jobs

    def sink(self) -> CappedSink:
        """Return a sink for the cell that runs now."""
        limit: int = self._settings.max_output
        sink = CappedSink(self._shell, limit, allowance=self._allowance_of(limit), in_blocks=self._in_blocks)
        if limit == MAX_OUTPUT and not sink.can_ask:
            # nbclient and papermill read from the kernel itself, past no server; and their files outlive the kernel's.
            return CappedSink(self._shell, MAX_KEPT, in_blocks=self._in_blocks)
        return sink

    def _allowance_of(self, limit: int) -> Allowance:
        """Return how much text may be sent to this notebook now; a configured `limit` above the default allows more."""
        header = (self.parent() or {}).get("header", {})
        allowed_for = (limit, header.get("msg_id"))
        if allowed_for != self._allowed_for:  # a cell has ended since, and with it what the server has counted
            self._allowance, self._allowed_for = Allowance(max(limit, MAX_OUTPUT)), allowed_for
        return self._allowance

    def parent(self) -> Parent:
        """Return the request of this front end that runs the cell."""
        parent = self._shell.get_parent()
        return parent if isinstance(parent, dict) else None

    def groups(self, sink: NotebookSink, number: int) -> tuple[Painter, NewSink]:
        """Return what shows a cell that runs on so many kernels, and what makes the sink of one of them."""
        parent = self.parent() or {}
        content, cell = parent.get("content"), parent.get("header", {}).get("msg_id")
        code = content.get("code") if isinstance(content, dict) else None
        whole = isinstance(code, str) and code.lstrip().startswith("%%remote")
        watched = sink.can_ask and not is_captured(self._shell)
        painter = NotebookGroups(sink, watched=watched, whole=whole, late=self._heading, cell=cell)
        limit = max(int(self._settings.max_output) // number, _LEAST_OF_ONE)
        return painter, lambda name: GroupSink(sink.stop, limit, _updates(sink), self._in_blocks)

    def screen(self, number: int, kernel: Kernel) -> NotebookScreen | KeptScreen:
        """Return where the background job of that number is shown."""
        parent, limit = self.parent(), int(self._settings.max_output)
        if parent is None or not getattr(self._shell.kernel, "_allow_stdin", False):
            return KeptScreen(number, MAX_KEPT, self.show)
        msg_id = parent.get("header", {}).get("msg_id")
        if msg_id != self._job_cell_id:
            self._job_cell, self._job_cell_id = JobCell(), msg_id
        return NotebookScreen(JobSink(self._shell.kernel, parent, number, limit, self._job_cell), parent)

    def mark(self, kernel: Kernel) -> str:
        """Return what says at outputs that they are of a kernel where all cells run."""
        return f"→ {kernel.title}"

    def show(self, outputs: list[Output]) -> None:
        """Show nbformat outputs in the cell that runs now."""
        show_outputs(outputs, self.sink())

    def last_word(self, text: str) -> None:
        """Say something as the extension is unloaded. No front end shows what a kernel says as it ends."""
        print(f"kernel-bridge: {text}", file=sys.stderr)

    def late(self, parent: Parent, kernel: Kernel, *, together: bool = False) -> Sink:
        """Return the sink for output of the request `parent`, which has ended; kernels ran it `together`."""
        if together:
            return NamedLateSink(self._shell.kernel, parent or {}, self._in_blocks, self._heading, _late_line(kernel))
        return LateSink(self._shell.kernel, parent or {}, self._in_blocks)

    def comm_proxies(self, forward: Forward) -> CommProxies | None:
        """Return what shows live widgets, None where none can be shown."""
        return CommProxies(self._shell.kernel, forward)


class TerminalFront:
    """An IPython terminal."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._left_open = LeftOpen()
        self._heading = Heading()

    def sink(self) -> TerminalSink:
        """Return a sink for the cell that runs now."""
        self._left_open.answered()  # the cell was typed
        return TerminalSink(self._shell, self._left_open)

    def parent(self) -> Parent:
        """Return the request of this front end that runs the cell."""
        # A terminal has no request, but an Output widget must tell our cells from each other.
        return {"header": {"msg_id": f"terminal-{uuid.uuid4().hex}"}}

    def groups(self, sink: NotebookSink, number: int) -> tuple[Painter, NewSink]:
        """Return what shows a cell that runs on so many kernels, and what makes the sink of one of them."""
        if is_terminal(sys.stdout) or isinstance(sys.stdout, io.StringIO):  # the latter under `%%capture`
            painter = TerminalGroups(sys.stdout, self._left_open)
            return painter, lambda name: GroupSink(sink.stop, MAX_KEPT, _updates(sink))
        lines = PlainGroups(sys.stdout, sys.stderr)
        return lines, lambda name: LinesSink(name, lines)

    def screen(self, number: int, kernel: Kernel) -> TerminalScreen:
        """Return where the background job of that number is shown."""
        line = f"job {number} → {kernel.title}:"
        sink = LateTerminalSink(self._shell, self._left_open, self._heading, line, whole_lines=True)
        return TerminalScreen(sink, number)

    def mark(self, kernel: Kernel) -> str:
        """Return what says at outputs that they are of a kernel where all cells run."""
        return ""  # the prompt does

    def show(self, outputs: list[Output]) -> None:
        """Show nbformat outputs in the cell that runs now."""
        show_outputs(outputs, self.sink())

    def last_word(self, text: str) -> None:
        """Say something as this shell ends."""
        print(f"kernel-bridge: {text}", file=sys.stderr)

    def late(self, parent: Parent, kernel: Kernel, *, together: bool = False) -> Sink:
        """Return the sink for output of the request `parent`, which has ended."""
        # IPython shows it above the prompt.
        return LateTerminalSink(self._shell, self._left_open, self._heading, _late_line(kernel))

    def comm_proxies(self, forward: Forward) -> CommProxies | None:
        """Return what shows live widgets, None where none can be shown."""
        return None  # a terminal shows no live widgets


def _late_line(kernel: Kernel) -> str:
    return f"{visible(kernel.title)} shows this after its cell has ended"


def _updates(sink: NotebookSink) -> Update:
    """Return what changes displays of earlier cells."""
    return lambda data, metadata, display_id: sink.display(data, metadata, display_id, True)
