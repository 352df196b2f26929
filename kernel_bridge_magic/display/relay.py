"""From events to a sink: what is shown of each, whatever the front end."""

from __future__ import annotations

from typing import Any, Protocol

from kernel_bridge_magic.display.foreign import tame
from kernel_bridge_magic.errors import FateError, RemoteError
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    DisplayData,
    Event,
    ExecuteResult,
    Lost,
    Note,
    Page,
    Queued,
    Stream,
)
from kernel_bridge_magic.results import RemoteValue

__all__ = ["QUEUED", "Relay", "Sink"]

QUEUED = "queued: kernel busy for another client (Ctrl-C leaves it queued; it will not be interrupted)."
STARTING = "queued: kernel still starting, or busy for another client (Ctrl-C leaves it queued)."

#: A view needs its model, which lives in the other kernel: without it JupyterLab says "model not found".
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_LONGEST_PROMPT = 1000


class Sink(Protocol):
    """One front end, as far as output goes. `note` lines are ours; everything else is the kernel's."""

    def stream(self, name: str, text: str) -> None:
        """Show printed text on `stdout` or `stderr`."""

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Show a MIME bundle; with `update` replace the displays of that id, also an earlier cell's."""

    def clear(self, wait: bool) -> None:
        """Clear what this cell has shown."""

    def result(self, value: RemoteValue) -> None:
        """Show a result as the front end shows its own."""

    def error(self, error: RemoteError | FateError) -> None:
        """Show an error without raising it."""

    def note(self, text: str) -> None:
        """Show one line of ours."""

    def ask(self, prompt: str, password: bool) -> str:
        """Ask for one line. KeyboardInterrupt and EOFError go through."""


class Relay:
    """Shows the events of one cell of `kernel`. Errors are not shown: they are raised when the cell is over.

    With `hold_result` the last result is not shown but left in `held`, for a caller that returns it.
    """

    def __init__(self, sink: Sink, kernel: Kernel, *, quiet: bool = False, hold_result: bool = False) -> None:
        self._sink = sink
        self._kernel = kernel
        self._quiet = quiet
        self._hold = hold_result
        self.held: RemoteValue | None = None

    def show(self, event: Event) -> None:
        """Show one event; those that leave nothing to see are passed over."""
        if isinstance(event, Stream):
            self._sink.stream(event.name, event.text)
        elif isinstance(event, DisplayData):
            data = self._shown(event.data)
            self._sink.display(data, event.metadata, self._own_id(event.display_id), event.update)
        elif isinstance(event, ExecuteResult):
            self._result(RemoteValue(self._shown(event.data), event.metadata))
        elif isinstance(event, ClearOutput):
            self._sink.clear(event.wait)
        elif isinstance(event, Page):
            self._sink.display(self._shown(event.data), {}, "", False)
        elif isinstance(event, Queued):
            self.note(STARTING if self._kernel.state == "starting" else QUEUED)
        elif isinstance(event, Lost):
            self.note(f"output incomplete: {event.reason}")
        elif isinstance(event, Note):
            self.note(event.text)

    def note(self, text: str) -> None:
        """Show one line of ours, which names the kernel, unless notes are not wanted."""
        if not self._quiet:
            self._sink.note(f"{self._kernel.title}: {text}")

    def prompt(self, prompt: str) -> str:
        """The prompt as it is asked here.

        A foreign kernel could ask for "your password:" as if it were this front end: its prompt says who asks,
        and cannot draw (T18).
        """
        if self._kernel.own:
            return prompt
        server = self._kernel.server.name if self._kernel.server else "this machine"
        clean = "".join(c if c.isprintable() else repr(c)[1:-1] for c in prompt[:_LONGEST_PROMPT])
        return f"[{self._kernel.title} @ {server}] {clean}"

    def _result(self, value: RemoteValue) -> None:
        if self._hold:
            if self.held is not None:
                self._sink.result(self.held)
            self.held = value
        else:
            self._sink.result(value)

    def _own_id(self, display_id: str) -> str:
        # Two kernels may use one id; a later cell must still update an earlier display of the same kernel.
        return f"{self._kernel.id}:{display_id}" if display_id else ""

    def _shown(self, data: dict[str, Any]) -> dict[str, Any]:
        shown = {mime: value for mime, value in data.items() if mime != _WIDGET_VIEW}
        return shown if self._kernel.own else tame(shown)
