"""Show output in an IPython terminal."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

from kernel_bridge_magic.display.ansi_html import newest
from kernel_bridge_magic.display.bottom import Bottom, close_left_open, dimmed, is_terminal, write_text
from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.neutral import COPYING, IN_PLACE, INCOMING
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.errors import CellError
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import visible

_writing = threading.RLock()  # while one sink writes to the terminal: a line that names a kernel, and what is below it
_LONGEST_LINE = 1 << 13  # characters of a line without end that are kept until it ends


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
        self._changing: dict[str, str] = {}  # what `show_changed` has shown last

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

    def error(self, error: CellError) -> None:
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

    def show_changed(self, key: str, text: str) -> None:
        """Show a text that has changed over what `key` had shown before, or below, if something else stands there."""
        if text != self._changing.get(key):
            self._changing[key] = text
            self._bottom.draw_or_write(key, text, sys.stdout)

    def finish(self) -> None:
        """Show the last state of texts that could not be drawn over; the cell is over."""
        above, self._above = self._above, {}
        self._bottom = Bottom(self._left_open)
        for text in above.values():
            if text:
                self.stream("stdout", text.rstrip("\n") + "\n")


class LateTerminalSink:
    """Show what comes while other cells run, or none: what is left of a cell that is over, and background jobs.

    All is plain text below what stands in the terminal. Nothing is drawn over: the user's own cells print there, too,
    and nobody tells us. While the user types, prompt_toolkit shows what is written above the prompt.

    What the kernel shows stands below a line that names it. That line comes again if a cell was run, or something of
    another kernel was shown in between. All sinks of a terminal share `heading`. Safe to use from any thread.
    """

    can_ask = False
    stop = "Ctrl-C"
    names_kernel = True

    def __init__(
        self, shell: Any, left_open: LeftOpen, heading: Heading, line: str, *, whole_lines: bool = False
    ) -> None:
        """Share `left_open` and `heading` with the sinks of the terminal; `line` stands above what is shown.

        With `whole_lines` a line that has not ended is kept until it ends, until something else comes, or until
        `finish`: the text of a cell that runs meanwhile must not go on in it.
        """
        self._shell = shell
        self._left_open = left_open
        self._heading = heading
        self._line = line
        self._whole_lines = whole_lines
        self._unfinished, self._unfinished_name = "", ""
        self._drawn: dict[str, str] = {}  # the newest text of each key, written at the end
        self._informed: dict[str, str] = {}

    def stream(self, name: str, text: str) -> None:
        """Write printed text to `stdout` or `stderr`."""
        with _writing:
            if not self._whole_lines:
                self._write(name, text, headed=True)
                return
            if self._unfinished_name != name:
                self._end_line()
                self._unfinished_name = name
            whole, end, rest = (self._unfinished + text).rpartition("\n")
            self._unfinished = newest(rest)
            if end:
                self._write(name, whole + end, headed=True)
            if len(self._unfinished) > _LONGEST_LINE:
                self._end_line()

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Write the text of a MIME bundle, or the type of one without text; an update is written again."""
        if data:
            self._write_lines("stdout", str(data.get("text/plain", f"<{next(iter(data))}>")), headed=True)

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Show a result; its cell is over, or runs in the background, so it has no number, and is in no `Out`."""
        self.display(value.data, value.metadata, display_id, False)

    def error(self, error: CellError) -> None:
        """Write a traceback where IPython would."""
        self._write_lines("stdout", "\n".join(error._render_traceback_()), headed=True)

    def clear(self, wait: bool) -> None:
        """Do nothing: what stands in the terminal may be another cell's."""

    def begin_line(self) -> None:
        """End what is left open: a line of ours comes next."""
        with _writing:
            self._end_line()
            self._close()

    def note(self, text: str) -> None:
        self._write_lines("stderr", f"kernel-bridge: {text}")

    def inform(self, kind: str, text: str) -> None:
        """Write a neutral line of ours to `stderr`, in a terminal dim; how much of a message has come only once."""
        before = self._informed.get(kind, "")
        self._informed[kind] = text
        if kind in IN_PLACE and (text == before or (kind in (INCOMING, COPYING) and before)):
            return
        if text:
            self._write_lines("stderr", text, dim=True)

    def draw(self, key: str, text: str) -> None:
        """Keep a text that changes; the last one is written at the end."""
        self._drawn[key] = text

    def flush(self) -> None:
        """Do nothing: all is out at once."""

    def finish(self) -> None:
        """Write what was kept; the cell is over."""
        with _writing:
            self._end_line()
        drawn, self._drawn = self._drawn, {}
        for text in drawn.values():
            if text:
                self._write_lines("stdout", text, headed=True)

    def ask(self, prompt: str, password: bool) -> str:
        """Refuse: whoever types answers another cell, or writes one."""
        raise EOFError

    def _write_lines(self, name: str, text: str, *, headed: bool = False, dim: bool = False) -> None:
        """Write text as lines of its own."""
        with _writing:
            self.begin_line()
            self._write(name, text.rstrip("\n") + "\n", headed=headed, dim=dim)

    def _end_line(self) -> None:
        """Write the line that has not ended, and end it."""
        text, self._unfinished = self._unfinished, ""
        if text:
            self._write(self._unfinished_name, text + "\n", headed=True)

    def _write(self, name: str, text: str, *, headed: bool, dim: bool = False) -> None:
        """Write text, `headed` by the line that names its kernel if that does not stand above it."""
        stands = self._heading.below == self._place
        if headed and not stands:
            self._close()
            self._put("stderr", visible(self._line) + "\n", dim=True)
        self._put(name, text, dim=dim)
        if headed or stands:
            self._heading.below = self._place

    def _close(self) -> None:
        """End what any text has left open in the terminal."""
        terminal = next(filter(is_terminal, map(_uncaptured, ("stdout", "stderr"))), None)
        if terminal is not None:
            terminal.write(self._left_open.close())
            terminal.flush()

    def _put(self, name: str, text: str, *, dim: bool) -> None:
        stream = _uncaptured(name)
        write_text(stream, dimmed(text.rstrip("\n"), stream) + "\n" if dim else text)
        stream.flush()
        if is_terminal(stream):
            self._left_open.feed(text)

    @property
    def _place(self) -> tuple[object, ...]:
        return self._line, self._shell.execution_count, self._left_open.written


def _uncaptured(name: str) -> Any:
    """Return `sys.stdout` or `sys.stderr` as it is now, past a `%%capture` of the cell that happens to run."""
    stream = getattr(sys, name)
    if isinstance(stream, io.StringIO) and not is_terminal(stream):
        return getattr(sys, f"__{name}__") or stream
    return stream
