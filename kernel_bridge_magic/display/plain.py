"""Show output without IPython: text on stdout and stderr, for the command line."""

from __future__ import annotations

import contextlib
import getpass
import sys
from typing import Any

from kernel_bridge_magic.display.bottom import Bottom, close_left_open, is_terminal
from kernel_bridge_magic.errors import CellError
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import without_colours


class PlainSink:
    """Show text. Nothing is buffered, so that it can be piped and watched."""

    stop = "Ctrl-C"
    names_kernel = True

    def __init__(self) -> None:
        self._left_open = LeftOpen()
        self._bottom = Bottom(self._left_open)

    @property
    def can_ask(self) -> bool:
        """Whether somebody can type."""
        return sys.stdin is not None and sys.stdin.isatty()

    def stream(self, name: str, text: str) -> None:
        target = sys.stderr if name == "stderr" else sys.stdout
        target.write(text)
        target.flush()
        if is_terminal(target):
            self._left_open.feed(text)

    def begin_line(self) -> None:
        """End what the kernel's text has left open in the terminal, if there is one."""
        close_left_open(self._left_open)

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Write the bundle's text; an update is written again."""
        if data:
            self.result(RemoteValue(data, metadata))

    def clear(self, wait: bool) -> None:
        """Do nothing: what is on a pipe stays there."""

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Write the value's text on a line of its own."""
        text = value.text or f"<{next(iter(value.data), 'empty')}>"
        self.stream("stdout", text if text.endswith("\n") else f"{text}\n")

    def error(self, error: CellError) -> None:
        """Write the traceback to stderr, in colour where that is a terminal."""
        self.begin_line()
        text = "\n".join(error._render_traceback_()) + "\n"
        self.stream("stderr", text if sys.stderr.isatty() else without_colours(text))

    def note(self, text: str) -> None:
        self.begin_line()
        self.stream("stderr", f"kernel-bridge: {text}\n")

    def inform(self, kind: str, text: str) -> None:
        """Write a neutral line of ours to stderr; in a terminal dim, and over the last one of its kind."""
        self._bottom.inform(kind, f"kernel-bridge: {text}" if text else "")

    def ask(self, prompt: str, password: bool) -> str:
        value = getpass.getpass(prompt) if password else input(prompt)
        self._left_open.answered()
        return value


class SilentSink:
    """A sink for `--json`: everything is kept in the result, and nobody is asked."""

    can_ask = False
    stop = "Ctrl-C"
    names_kernel = False  # the object has it in a field of its own

    def __init__(self) -> None:
        self._plain = PlainSink()

    def _nothing(self, *args: object, **named: object) -> None: ...

    stream = display = clear = result = begin_line = error = _nothing

    def note(self, text: str) -> None:
        """Write one line of ours to stderr: stdout has one object only."""
        with contextlib.suppress(OSError, ValueError):  # whoever reads them may have gone; the object is still wanted
            self._plain.note(text)

    def inform(self, kind: str, text: str) -> None:
        """Write a neutral line of ours to stderr."""
        with contextlib.suppress(OSError, ValueError):
            self._plain.inform(kind, text)

    def ask(self, prompt: str, password: bool) -> str:
        """Refuse; it is never called, since the kernel is told that nobody can be asked."""
        raise EOFError
