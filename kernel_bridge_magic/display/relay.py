"""Show the events of a cell in a sink, whatever the front end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from kernel_bridge_magic.display.neutral import PLACE, QUEUED, REQUEST, WIDGETS, waiting
from kernel_bridge_magic.errors import CellError
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import (
    STOP,
    ClearOutput,
    CommMessage,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    InputRequest,
    Lost,
    Note,
    Page,
    Payload,
    Queued,
    Started,
    Stream,
)
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.sanitize.html import raisable, sanitize, sanitize_metadata
from kernel_bridge_magic.sanitize.terminal import Escapes
from kernel_bridge_magic.text import visible

#: A view needs its model, which lives in the other kernel: without it JupyterLab says "model not found".
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_LONGEST_PROMPT = 1000
_LONGEST_INPUT = 1 << 16  # characters of a text that was to be put into a cell
_MOST_PAYLOADS = 10  # an IPython kernel has one of a kind
#: The reply to a cell that raised comes within milliseconds; an error that was caught is not to wait for the rest.
HOLD_SECONDS = 0.5


class Sink(Protocol):
    """Show output in one front end. `note` and `inform` show lines of ours; all else is the kernel's."""

    #: what interrupts a cell here: "Stop" in a notebook, "Ctrl-C" in a terminal
    stop: str
    #: whether an error is shown with the name of its kernel. A notebook's cell shows what the kernel sent, and no more
    names_kernel: bool

    def stream(self, name: str, text: str) -> None:
        """Show printed text on `stdout` or `stderr`."""

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Show a MIME bundle; with `update` replace the displays of that id, also an earlier cell's."""

    def clear(self, wait: bool) -> None:
        """Clear what this cell has shown."""

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Show a result as the front end shows its own; with an id a later cell may update it."""

    def begin_line(self) -> None:
        """End what the kernel's text has left open in a terminal: a line of ours comes next."""

    def error(self, error: CellError) -> None:
        """Show an error without raising it."""

    def note(self, text: str) -> None:
        """Show one line of ours that tells of a loss, a restart, or what went wrong."""

    def inform(self, kind: str, text: str) -> None:
        """Show a neutral line of ours, of a kind that `display.neutral` names.

        One of a kind in `IN_PLACE` takes the place of the one before, where that can be done; "" takes it away.
        """

    def ask(self, prompt: str, password: bool) -> str:
        """Ask for one line. KeyboardInterrupt and EOFError go through."""


class Widgets(Protocol):
    """Show a kernel's widgets live, where that is possible."""

    def take_event(self, event: Event) -> bool:
        """Handle an event that is a widget's, or goes into one, or came beside the cell; return False for others."""

    def draw_text(self, model_id: str) -> bool:
        """Show a widget as a text that changes; return False if there is none for it."""

    def is_live(self, model_id: str) -> bool:
        """Return whether the widget of that model works here."""

    def why_text(self) -> str:
        """Return why a widget is shown as its text; "" if that was said before."""


#: Before these, a held error is shown. A widget's message is among them: it may end the Output widget that captures.
_BEHIND = (Stream, DisplayData, ExecuteResult, ClearOutput, CommMessage, Error, InputRequest, Page)
#: Events that only a cell has that has begun.
_BEGUN = (Started, *_BEHIND, Payload)


class Relay:
    """Show the events of one cell of `kernel`.

    The newest error is held while nothing comes behind it, for `HOLD_SECONDS` at most. The cell may end with it, and
    then it is shown when it is raised.

    With `hold_result` the last result is not shown but kept in `held`, for a caller that returns it. Without `widgets`
    a widget is shown as its text. `mark` is shown above the outputs, if there are any: it says whose they are.
    """

    def __init__(
        self,
        sink: Sink,
        kernel: Kernel,
        *,
        hold_result: bool = False,
        widgets: Widgets | None = None,
        mark: str = "",
    ) -> None:
        self._sink = sink
        self._kernel = kernel
        self._hold = hold_result
        self._widgets = widgets
        self._escapes = {} if kernel.is_yours else {"stdout": Escapes(), "stderr": Escapes()}
        self._error: Error | None = None
        #: whether the error that the cell ended with was shown already: then raising it must not show it again
        self.error_is_shown = False
        self.held: RemoteValue | None = None
        self._held_id = ""
        self._payloads = 0
        self._mark, self._is_marked = mark, False
        self._begun = False  # as far as we were told

    @property
    def holds_error(self) -> bool:
        """Whether the last that came is an error, which is not shown yet."""
        return self._error is not None

    def show_error(self) -> None:
        """Show the error that is held, if there is one, in its place."""
        error, self._error = self._error, None
        if error is not None:
            self._end_escapes()
            if not self._kernel.is_yours:
                self._sink.begin_line()
            shown = raisable(error, self._kernel)
            if self._sink.names_kernel:
                shown.say_where()
            self._sink.error(shown)

    def show(self, event: Event) -> None:
        """Show one event; ignore those that leave nothing to see."""
        if isinstance(event, _BEGUN):
            self._waits_no_more()
        if isinstance(event, _BEHIND):
            self._show_mark(event)
            self.show_error()
        if self._widgets is not None and self._widgets.take_event(event):
            return
        if isinstance(event, Stream):
            self._stream(event.name, event.text)
        elif isinstance(event, DisplayData):
            if not self._draws_text(event.data):
                data = self._shown(event.data)
                self._sink.display(data, self._about(event.metadata), self._own_id(event.display_id), event.update)
        elif isinstance(event, ExecuteResult):
            value = RemoteValue(self._shown(event.data), self._about(event.metadata))
            self._result(value, self._own_id(event.display_id))
        elif isinstance(event, Error):
            self._error = event
        elif isinstance(event, ClearOutput):
            self._sink.clear(event.wait)
        elif isinstance(event, Page):
            self._sink.display(self._shown(event.data), {}, "", False)
        elif isinstance(event, Payload):
            self._tell_payload(event)
        elif isinstance(event, Queued):
            self._begun = False
            busy = self._kernel.state == "busy"
            self.inform(QUEUED, waiting(event, self._kernel.title, self._sink.stop, busy=busy))
        elif isinstance(event, Lost):
            self.note(event.reason)
        elif isinstance(event, Note) and event.key:
            self.inform(event.key, f"{self._kernel.title}: {self._spoken(event.text)}" if event.text else "")
        elif isinstance(event, Note):
            self.note(event.text)

    def finish(self, raised: Error | None = None) -> None:
        """Show what was held back: nothing more comes. `raised` is the error that the cell ended with."""
        self._waits_no_more()
        if raised is not None:
            self.error_is_shown = self._error is not raised
            self._error = None if self._error is raised else self._error
        self.show_error()
        self._end_escapes()

    def show_held(self) -> None:
        """Show the result that is held, if there is one: nobody will return it."""
        held, self.held = self.held, None
        if held is not None:
            self._sink.result(held, self._held_id)

    def _end_escapes(self) -> None:
        for name, escapes in self._escapes.items():
            if text := escapes.end():
                self._sink.stream(name, text)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Run a block in which the cell may wait; if the block raises, remove the line that says so."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # it may be the sink that is broken
                self._waits_no_more()
            raise

    def _show_mark(self, event: Event) -> None:
        """Show the mark before the first output, and before the first one after all were cleared."""
        if isinstance(event, ClearOutput):
            self._is_marked = False
        elif self._mark and not self._is_marked and _leaves_output(event):
            self._is_marked = True
            self.inform(PLACE, self._mark)

    def _waits_no_more(self) -> None:
        if not self._begun:
            self._begun = True
            self._sink.inform(QUEUED, "")

    def note(self, text: str) -> None:
        """Show one line of ours that tells of a loss, a restart, or what went wrong; the kernel is named here."""
        self._sink.note(visible(f"{self._kernel.title}: {self._spoken(text)}"))

    def inform(self, kind: str, text: str) -> None:
        """Show a neutral line of ours, as `Sink.inform` says; it names the kernel itself where that must be."""
        self._sink.inform(kind, visible(text))

    def _spoken(self, text: str) -> str:
        return text.replace(STOP, self._sink.stop)

    def _tell_payload(self, event: Payload) -> None:
        """Show what the cell asked its front end to do; a text that it wanted to put into a cell can be copied."""
        self._payloads += 1
        if self._payloads > _MOST_PAYLOADS:
            return
        told, text = _told(event)
        if not self._kernel.is_yours:
            text = "\n".join(map(visible, text.split("\n")))
        self._sink.inform(REQUEST, visible(f"{self._kernel.title}: {told}") + (f"\n{text}" if text else ""))

    def prompt(self, prompt: str) -> str:
        """Return the prompt as it is shown here.

        A sandboxed kernel could ask for "your password:" as if it were this front end. So its prompt says who asks, and
        can neither draw (T18) nor hide that.
        """
        if self._kernel.is_yours:
            return prompt
        server = self._kernel.server.name if self._kernel.server else "this machine"
        self._end_escapes()
        self._sink.begin_line()
        whole = f"[{self._kernel.title} @ {server}] {prompt[:_LONGEST_PROMPT]}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in whole)

    def _stream(self, name: str, text: str) -> None:
        if name in self._escapes:
            text = self._escapes[name].feed(text)
        if text or not self._escapes:
            self._sink.stream(name, text)

    def _result(self, value: RemoteValue, display_id: str) -> None:
        if self._hold:
            self.show_held()
            self.held, self._held_id = value, display_id
        else:
            self._sink.result(value, display_id)

    def _own_id(self, display_id: str) -> str:
        # Two kernels may use the same display id, and a later cell may update an earlier display of its own kernel. A
        # kernel that a sandboxed server lists under the id of a kernel of ours is another one.
        kernel = self._kernel
        where = f"{kernel.server.url}#" if kernel.claimed and kernel.server else ""
        return f"{where}{kernel.id}:{display_id}" if display_id else ""

    def _shown(self, data: dict[str, Any]) -> dict[str, Any]:
        view = data.get(_WIDGET_VIEW)
        if view is not None and not self._is_live(view):
            data = {mime: value for mime, value in data.items() if mime != _WIDGET_VIEW}
        return data if self._kernel.is_yours else sanitize(data)

    def _about(self, metadata: dict[str, Any]) -> dict[str, Any]:
        return metadata if self._kernel.is_yours else sanitize_metadata(metadata)

    def _draws_text(self, data: dict[str, Any]) -> bool:
        view = data.get(_WIDGET_VIEW)
        if self._widgets is None or not isinstance(view, dict):
            return False
        return self._widgets.draw_text(str(view.get("model_id")))

    def _is_live(self, view: object) -> bool:
        if self._widgets is None:
            return False
        if isinstance(view, dict) and self._widgets.is_live(str(view.get("model_id"))):
            return True
        if why := self._widgets.why_text():
            self.inform(WIDGETS, why)
        return False


def _leaves_output(event: Event) -> bool:
    """Return whether an event adds something to see below the cell."""
    return not isinstance(event, CommMessage) and not (isinstance(event, DisplayData) and event.update)


def _told(event: Payload) -> tuple[str, str]:
    """Return what a payload asks for, with the word that nothing was done; and a text of it that can be copied."""
    content, source = event.content, event.source[:_LONGEST_PROMPT]
    if source == "set_next_input":
        text = content.get("text")
        text = text.rstrip("\n") if isinstance(text, str) else ""
        where = "in place of its own" if content.get("replace") else "into the next cell"
        told = f"the cell asked to put this text {where}. Nothing was changed here; copy it if you want it."
        if (left := len(text) - _LONGEST_INPUT) > 0:
            told += f" Its last {left:,} characters are omitted."
        return told, text[:_LONGEST_INPUT]
    if source in ("edit_magic", "edit"):
        file, line = content.get("filename"), content.get("line_number")
        what = file[:_LONGEST_PROMPT] if isinstance(file, str) else "a file"
        what += f", line {line}" if isinstance(line, int) else ""
        return f"the cell asked for an editor on {what}. Nothing was opened; the file is where the kernel runs", ""
    return f"the cell asked its front end for {source!r}. Nothing was done here", ""
