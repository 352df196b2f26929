"""Show widgets as text where none can be drawn: progress bars, labels and Output widgets, drawn again and again.

A terminal shows a remote `tqdm.notebook` or `rich` bar as a line that moves. A widget without a text of its own (a
slider) is shown by the kernel's own text for it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from kernel_bridge_magic.protocol.comms import ForwardedComm
from kernel_bridge_magic.protocol.events import ClearOutput, DisplayData, Error, Event, ExecuteResult, Stream

_BOXES = {"HBoxModel": "", "BoxModel": "", "VBoxModel": "\n"}  # the text between their children
_WORDS = frozenset({"HTMLModel", "HTMLMathModel", "LabelModel"})
_BARS = frozenset({"IntProgressModel", "FloatProgressModel"})
_BAR_WIDTH = 10
_MOST_WIDGETS = 500  # in one that is shown
_REFERENCE = "IPY_MODEL_"


class TextWidgets:
    """Show the widgets of one connection as text. `draw(model_id, text)` is called whenever a shown one has changed."""

    def __init__(self, draw: Callable[[str, str], None]) -> None:
        self._draw = draw
        self._states: dict[str, dict[str, Any]] = {}
        self._taken: dict[str, _Taken] = {}
        self._shown: dict[str, str] = {}
        #: the Output widgets that take what a request here shows; the innermost is the last
        self._taking: dict[str, list[str]] = {}

    def publish(self, message: ForwardedComm) -> None:
        """Handle a comm message of the kernel."""
        data = message.content.get("data")
        state = data.get("state") if isinstance(data, dict) else None
        if message.msg_type == "comm_close":
            self._take_no_more(message.comm_id)
        if message.msg_type == "comm_close" or not isinstance(state, dict):
            return  # the text of a closed widget stays
        self._states.setdefault(message.comm_id, {}).update(state)
        if message.captures:
            self._take_no_more(message.comm_id)
            if state["msg_id"]:
                self._taking.setdefault(str(state["msg_id"]), []).append(message.comm_id)
        else:
            self._draw_changed()

    def _take_no_more(self, comm_id: str) -> None:
        left = {request: [it for it in taking if it != comm_id] for request, taking in self._taking.items()}
        self._taking = {request: taking for request, taking in left.items() if taking}

    def close(self, comm_id: str) -> None:
        """Forget a widget whose kernel is gone; its text stays."""
        self._shown.pop(comm_id, None)
        self._states.pop(comm_id, None)

    def take(self, event: Event, request: str) -> bool:
        """Put an output of the cell that `request` runs into the Output widget that captures it now.

        Return False if none does.
        """
        taking = self._taking.get(request)
        if not taking or not isinstance(event, Stream | DisplayData | ExecuteResult | ClearOutput | Error):
            return False
        if isinstance(event, DisplayData) and event.update:
            return False  # it goes to where the display is
        self._taken.setdefault(taking[-1], _Taken()).add(event)
        self._draw_changed()
        return True

    def show(self, model_id: str) -> bool:
        """Show a widget, and draw it again when it changes; return False if there is no text for it."""
        text = self._text(model_id)
        if text is None:
            return False
        self._shown[model_id] = text
        if text:
            self._draw(model_id, text)
        return True

    def _draw_changed(self) -> None:
        for model_id, before in self._shown.items():
            text = self._text(model_id)
            if text is not None and text != before:
                self._shown[model_id] = text
                self._draw(model_id, text)

    def _text(self, model_id: str, depth: int = 0, seen: list[str] | None = None) -> str | None:
        state = self._states.get(model_id)
        seen = [] if seen is None else seen
        seen.append(model_id)  # boxes that hold each other many times over must have an end
        if state is None or depth > 8 or len(seen) > _MOST_WIDGETS:
            return None
        model = str(state.get("_model_name"))
        if model in _BOXES:
            children = state.get("children")
            refs = [str(child).removeprefix(_REFERENCE) for child in children] if isinstance(children, list) else []
            parts = [self._text(ref, depth + 1, seen) for ref in refs[:_MOST_WIDGETS]]
            known = [part for part in parts if part is not None]
            return None if len(known) < len(parts) else _BOXES[model].join(known)
        if model in _WORDS:
            return html.unescape(re.sub(r"<[^>]*>", "", str(state.get("value", "")))).replace("\u2007", " ")
        if model in _BARS:
            return _bar(state)
        if model == "OutputModel":
            return self._taken[model_id].text if model_id in self._taken else ""
        return None


class _Taken:
    """The text in an Output widget."""

    def __init__(self) -> None:
        self.text = ""
        self._clear_first = False

    def add(self, event: Stream | DisplayData | ExecuteResult | ClearOutput | Error) -> None:
        if isinstance(event, ClearOutput):
            self._clear_first = event.wait
            self.text = self.text if event.wait else ""
            return
        if self._clear_first:
            self.text, self._clear_first = "", False
        if isinstance(event, Stream):
            self.text += event.text
        elif isinstance(event, Error):
            self.text += "\n".join(event.traceback or (f"{event.ename}: {event.evalue}",)).rstrip("\n") + "\n"
        else:
            self.text += str(event.data.get("text/plain", "")).rstrip("\n") + "\n"


def _bar(state: dict[str, Any]) -> str | None:
    try:
        least, most = float(state.get("min", 0)), float(state.get("max", 100))
        share = min(max((float(state.get("value", 0)) - least) / (most - least), 0.0), 1.0)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    full = round(share * _BAR_WIDTH)
    return f"|{'█' * full}{' ' * (_BAR_WIDTH - full)}|"
