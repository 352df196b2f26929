"""Show a background job: below the cell that began it, above the prompt of a terminal, or where it is waited for."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.neutral import IN_PLACE, JOB, bundle, metadata
from kernel_bridge_magic.display.notebook import LateSink, NotebookSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.terminal import LateTerminalSink
from kernel_bridge_magic.errors import remote_error
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import Parent
from kernel_bridge_magic.protocol.events import DisplayData, Error, Stream
from kernel_bridge_magic.protocol.tails import MAX_OUTPUT, beginning, size_of


class JobCell:
    """A cell of a notebook that begins jobs; `jobs` is how many it has begun."""

    def __init__(self) -> None:
        self.jobs = 0


class JobSink(LateSink):
    """The sink of a job in a notebook: at most `limit` bytes of printed text are shown; the job keeps the rest."""

    def __init__(
        self,
        kernel: Any,
        parent: dict[str, Any],
        number: int,
        limit: int = MAX_OUTPUT,
        cell: JobCell | None = None,
    ) -> None:
        """Show below `cell`, which has begun the job by the request `parent`."""
        super().__init__(kernel, parent)
        self.stop = _stop(number)
        self._number = number
        self._room = limit
        self._cell = cell or JobCell()
        self._cell.jobs += 1
        self._id = f"kernel-bridge:job-{uuid.uuid4().hex[:8]}"
        self._line = ""
        self._shown: set[str] = set()  # what stands there that can be updated: kinds of lines, keys of texts
        self._clear_first = False

    def line(self, text: str) -> None:
        """Show the line about the job in place of the last one."""
        update, self._line = bool(self._line), text
        self.display(bundle(text), metadata(JOB), self._id, update)

    def stream(self, name: str, text: str) -> None:
        """Show printed text, as long as there is room for it."""
        if self._room < 0:
            return
        fits = beginning(text, self._room)
        self._room -= size_of(fits)
        if fits:
            super().stream(name, fits)
        if len(fits) < len(text):
            self._room = -1
            more = f"%jobs {self._number} --output shows the beginning and the end of what it has printed"
            super().stream("stderr", f"\nkernel-bridge: too much output for a notebook: {more}\n")

    def clear(self, wait: bool) -> None:
        """Clear what the job has shown, with `wait` only when its next output is there.

        The line about it stays. Front ends can clear cells only, so that nothing is done in a cell of several jobs.
        """
        self._clear_first = wait
        if not wait:
            self._clear()

    def _clear(self) -> None:
        if self._cell.jobs > 1:
            return
        self._shown.clear()
        super().clear(True)  # the line takes its place at once, so that nothing jumps
        if self._line:
            self.display(bundle(self._line), metadata(JOB), self._id, False)

    def _send(self, msg_type: str, content: dict[str, Any]) -> None:
        if self._clear_first and msg_type != "update_display_data":
            self._clear_first = False
            self._clear()
        super()._send(msg_type, content)

    def inform(self, kind: str, text: str) -> None:
        """Show a neutral line of ours; one of a kind in `IN_PLACE` in place of the last one, "" empties that."""
        if kind not in IN_PLACE:
            super().inform(kind, text)
        elif text or kind in self._shown:
            self._show_in_place(kind, bundle(text), metadata(kind))

    def draw(self, key: str, text: str) -> None:
        """Show a text that changes, in place of the last text for the same `key`."""
        self._show_in_place(key, {"text/plain": text}, {})

    def _show_in_place(self, key: str, data: dict[str, Any], about: dict[str, Any]) -> None:
        update = key in self._shown
        self._shown.add(key)
        self.display(data, about, f"{self._id}:{key}", update)

    def flush(self) -> None:
        """Do nothing: all is sent at once."""

    def finish(self) -> None:
        """Do nothing at the end of the cell."""


class NotebookScreen:
    """Shows a job below the cell of a notebook that began it, while other cells run."""

    tells_left = True
    tells_end = True

    def __init__(self, sink: JobSink, parent: Parent) -> None:
        """Show the job in `sink`; `parent` is the request that has begun it."""
        self.sink = sink
        self.parent = parent

    def line(self, text: str, *, over: bool) -> None:
        """Show the line about the job in place of the last one."""
        self.sink.line(text)

    def waited(self, *, raises: bool) -> None:
        """Do nothing: all was shown as it came."""


class KeptScreen:
    """Keeps what a job shows until somebody waits for it: this front end drops what comes after a cell.

    `show` shows nbformat outputs in the cell that runs then.
    """

    tells_left = True
    tells_end = False

    def __init__(self, number: int, limit: int, show: Callable[[list[dict[str, Any]]], None]) -> None:
        self.sink = GroupSink(_stop(number), limit, lambda *update: None)
        self.parent: Parent = None
        self._number = number
        self._show = show
        self._begun = self._is_shown = False

    def line(self, text: str, *, over: bool) -> None:
        """Show the first line, and say where the outputs will be."""
        if not self._begun:
            self._begun = True
            where = "what it shows appears where you wait for it (.wait(), .result(), await"
            self._show([_line(f"{text}; {where}, %jobs {self._number} --wait)")])

    def waited(self, *, raises: bool) -> None:
        """Show what was kept, once, but not the error that the cell that waits ends with."""
        if self._is_shown:
            return
        self._is_shown = True
        items = self.sink.items
        self._show(items[:-1] if raises and items and items[-1]["output_type"] == "error" else items)


def _line(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": bundle(text), "metadata": metadata(JOB)}


class TerminalScreen:
    """Shows a job above the prompt of a terminal: its beginning, its end, and its output below a line that names it."""

    tells_left = False
    tells_end = True

    def __init__(self, sink: LateTerminalSink, number: int) -> None:
        self.sink = sink
        self.sink.stop = _stop(number)
        self.parent: Parent = {"header": {"msg_id": f"terminal-{uuid.uuid4().hex}"}}
        self._begun = False

    def line(self, text: str, *, over: bool) -> None:
        """Show the first line and the last."""
        if over or not self._begun:
            self._begun = True
            self.sink.begin_line()
            self.sink.inform(JOB, text)

    def waited(self, *, raises: bool) -> None:
        """Do nothing: all was shown as it came."""


def _stop(number: int) -> str:
    """Return what stops a job, as a line that says so names it."""
    return f"%jobs {number} --stop"


def show_anew(outputs: list[dict[str, Any]], sink: NotebookSink, kernel: Kernel) -> None:
    """Show in a sink what `kernel` has sent, as nbformat outputs. It is as harmless as when it came."""
    relay = Relay(sink, kernel)
    for output in outputs:
        if output["output_type"] == "stream":
            relay.show(Stream(output["name"], output["text"]))
        elif output["output_type"] == "error":
            relay.show(Error(output["ename"], output["evalue"], tuple(output["traceback"])))
        else:
            relay.show(DisplayData(output["data"], output["metadata"]))
    relay.finish()
    sink.finish()


def show_outputs(outputs: list[dict[str, Any]], sink: NotebookSink) -> None:
    """Show nbformat outputs in a sink, whose cell is over then. A relay has passed them on already."""
    for output in outputs:
        if output["output_type"] == "stream":
            sink.stream(output["name"], output["text"])
        elif output["output_type"] == "error":
            sink.error(remote_error(output["ename"], output["evalue"], output["traceback"]))
        else:
            sink.display(output["data"], output["metadata"], "", False)
    sink.finish()
