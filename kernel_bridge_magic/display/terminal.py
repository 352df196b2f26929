"""Show output in an IPython terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from kernel_bridge_magic.display.bottom import Bottom, close_left_open, is_terminal
from kernel_bridge_magic.display.neutral import LATE
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.errors import FateError, RemoteError
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import visible


class TerminalSink(NotebookSink):
    """Show output through a terminal IPython: as in a notebook, but flushed at once, and always with some text."""

    flush_always = True
    stop = "Ctrl-C"
    names_kernel = True

    def __init__(self, shell: Any, left_open: LeftOpen | None = None) -> None:
        """Share a terminal with other sinks by `left_open`: output that comes late precedes the next cell's lines."""
        super().__init__(shell)
        self._left_open = left_open or LeftOpen()
        self._bottom = Bottom(self._left_open)
        self._above: dict[str, str] = {}  # texts that have changed and could not be drawn over

    @property
    def can_ask(self) -> bool:
        """Whether somebody can type."""
        return sys.stdin is not None and sys.stdin.isatty()

    def _write(self, name: str, text: str) -> None:
        super()._write(name, text)
        if is_terminal(sys.stderr if name == "stderr" else sys.stdout):
            self._left_open.feed(text)

    def _wrote(self, text: str) -> None:
        """Record text that was written as lines of its own."""
        if is_terminal(sys.stdout):
            self._left_open.feed(f"{text}\n")

    def begin_line(self) -> None:
        close_left_open(self._left_open)

    def note(self, text: str) -> None:
        self.begin_line()
        super().note(text)

    def inform(self, kind: str, text: str) -> None:
        """Write a neutral line of ours to `sys.stderr`; in a terminal dim, and over the last one of its kind."""
        self._bottom.inform(kind, text)

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        super().result(value, display_id)
        self._wrote(value.text)

    def error(self, error: RemoteError | FateError) -> None:
        super().error(error)
        self._wrote("\n".join(error._render_traceback_()))

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Publish a MIME bundle; name the type of one without text."""
        if data and "text/plain" not in data:
            data = {**data, "text/plain": f"<{next(iter(data))}>"}
        # A terminal prints an update again; IPython does the same with its own displays.
        super().display(data, metadata, display_id, update)
        self._wrote(str(data.get("text/plain", "")))

    def ask(self, prompt: str, password: bool) -> str:
        value = super().ask(prompt, password)
        self._left_open.answered()
        return value

    def draw(self, key: str, text: str) -> None:
        """Show a text that changes, over what `key` had shown before, while nothing else stands below that."""
        if not self._bottom.draw(key, text, sys.stdout):
            self._above[key] = text

    def finish(self) -> None:
        """Show the last state of texts that could not be drawn over; the cell is over."""
        above, self._above = self._above, {}
        self._bottom = Bottom(self._left_open)
        for text in above.values():
            if text:
                self.stream("stdout", text.rstrip("\n") + "\n")


class Heading:
    """What a terminal showed last below a line that names a kernel."""

    def __init__(self) -> None:
        self.below: tuple[object, ...] = ()


class LateTerminalSink(TerminalSink):
    """Show what comes when its cell is over, below a line that names its kernel.

    That line comes again if a cell was run, or something of another kernel was shown in between. All sinks of a
    terminal share `heading`.
    """

    def __init__(self, shell: Any, left_open: LeftOpen, heading: Heading, kernel: str) -> None:
        super().__init__(shell, left_open)
        self._heading = heading
        self._kernel = kernel

    def stream(self, name: str, text: str) -> None:
        with self._headed():
            super().stream(name, text)

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        with self._headed():
            super().result(value, display_id)

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        with self._headed():
            super().display(data, metadata, display_id, update)

    @contextlib.contextmanager
    def _headed(self) -> Iterator[None]:
        if self._heading.below != self._place:
            self.inform(LATE, visible(f"{self._kernel} shows this after its cell has ended"))
        yield
        self._heading.below = self._place

    @property
    def _place(self) -> tuple[object, ...]:
        return self._kernel, self._shell.execution_count, self._left_open.written
