"""Show a cell that runs on many kernels without a terminal: each line as it comes, behind the name of its kernel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TextIO

from kernel_bridge_magic.display.ansi_html import newest, to_plain
from kernel_bridge_magic.display.bottom import write_text
from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.groups import Shown, summary
from kernel_bridge_magic.protocol.events import DisplayData, Error, Event, ExecuteResult, Stream
from kernel_bridge_magic.text import visible

_LONGEST_OPEN = 1 << 13  # characters of a line that are kept until it ends; of a longer one each part is a line


def write_all(stream: TextIO, text: str) -> None:
    """Write a text at once; what the stream has no characters for is escaped.

    Raises:
        OSError: the stream is broken, or closed.
    """
    try:
        write_text(stream, text)
    except ValueError as problem:
        raise OSError(str(problem)) from problem  # it is closed
    stream.flush()


class PlainGroups:
    """Writes `[north] text` to stdout and stderr. All methods belong to one thread."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self._streams = {"stdout": stdout, "stderr": stderr}
        self._open: dict[tuple[str, str], str] = {}  # by kernel and stream: a line that has no end yet

    def write(self, name: str, stream: str, text: str) -> None:
        """Write the lines of a kernel that have come to their end; keep the rest."""
        *lines, rest = (self._open.pop((name, stream), "") + text).split("\n")
        for line in lines:
            self._write(name, stream, line)
        if len(rest) > _LONGEST_OPEN:
            rest = newest(rest)
        if len(rest) > _LONGEST_OPEN:
            self._write(name, stream, rest)
        elif rest:
            self._open[name, stream] = rest

    def end_lines(self, name: str) -> None:
        """Write what a kernel has left without an end: what comes next begins a line."""
        for stream in self._streams:
            if rest := self._open.pop((name, stream), ""):
                self._write(name, stream, rest)

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> None:
        """Do nothing: all is written as it comes."""

    def end(self, shown: Sequence[Shown], seconds: float, *, group: bool) -> None:
        """Write what has no end, and the line about all, on stderr."""
        for (name, stream), rest in self._open.items():
            self._write(name, stream, rest)
        self._open.clear()
        self._streams["stderr"].write(f"kernel-bridge: {summary(shown, seconds)}\n")
        self._streams["stderr"].flush()

    def _write(self, name: str, stream: str, line: str) -> None:
        write_all(self._streams[stream], f"[{visible(name)}] {to_plain(line)}\n")


class LinesSink(GroupSink):
    """The sink of one kernel, which has what comes written at once, and keeps nothing."""

    def __init__(self, name: str, lines: PlainGroups) -> None:
        super().__init__("Ctrl-C", 0, lambda data, metadata, display_id: self._write(data))
        self._name = name
        self._lines = lines

    def _add(self, event: Event) -> None:
        if isinstance(event, Stream):
            self._lines.write(self._name, "stderr" if event.name == "stderr" else "stdout", event.text)
        elif isinstance(event, DisplayData | ExecuteResult):
            self._write(event.data)
        elif isinstance(event, Error):
            self._lines.end_lines(self._name)
            lines = event.traceback or (f"{event.ename}: {event.evalue}",)
            self._lines.write(self._name, "stderr", "\n".join(lines).rstrip("\n") + "\n")

    def note(self, text: str) -> None:
        """Write one line of ours."""
        self._lines.end_lines(self._name)
        super().note(text)

    def _write(self, data: dict[str, object]) -> None:
        text = str(data.get("text/plain", "")) or (f"<{next(iter(data))}>" if data else "")
        if text:
            self._lines.end_lines(self._name)
            self._lines.write(self._name, "stdout", f"{text}\n")
