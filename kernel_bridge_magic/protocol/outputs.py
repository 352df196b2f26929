"""What a notebook would save of a cell: events folded into nbformat outputs."""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    Page,
    Stream,
)

__all__ = ["Outputs"]


class Outputs:
    """The outputs of one cell so far; `items` is a list of nbformat 4 output dicts."""

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._text: list[str] = []  # the open stream's pieces: joining each time would be quadratic
        self._by_display: dict[str, list[dict[str, Any]]] = {}
        self._clear_first = False

    @property
    def items(self) -> list[dict[str, Any]]:
        """The outputs, oldest first. Text of one stream that follows itself is one output."""
        self._close_stream()
        return self._items

    def add(self, event: Event) -> None:
        """Fold one event in; events that leave nothing in a saved notebook are passed over."""
        if isinstance(event, ClearOutput):
            if event.wait:
                self._clear_first = True
            else:
                self._clear()
            return
        if isinstance(event, DisplayData) and event.update:
            self._update(event)
            return
        if not isinstance(event, Stream | DisplayData | ExecuteResult | Error | Page):
            return
        if self._clear_first:
            self._clear()
        if isinstance(event, Stream):
            self._add_text(event)
        else:
            self._close_stream()
            self._add_item(event)

    def _add_text(self, event: Stream) -> None:
        last = self._items[-1] if self._items else {}
        if last.get("name") != event.name:
            self._close_stream()
            self._items.append({"output_type": "stream", "name": event.name, "text": ""})
        self._text.append(event.text)

    def _add_item(self, event: DisplayData | ExecuteResult | Error | Page) -> None:
        if isinstance(event, Error):
            item: dict[str, Any] = {
                "output_type": "error",
                "ename": event.ename,
                "evalue": event.evalue,
                "traceback": list(event.traceback),
            }
        elif isinstance(event, Page):
            item = {"output_type": "display_data", "data": event.data, "metadata": {}}
        else:
            item = {"output_type": "display_data", "data": event.data, "metadata": event.metadata}
            if isinstance(event, ExecuteResult):
                item.update(output_type="execute_result", execution_count=event.execution_count)
            if event.display_id:
                self._by_display.setdefault(event.display_id, []).append(item)
        self._items.append(item)

    def _update(self, event: DisplayData) -> None:
        for item in self._by_display.get(event.display_id, ()):
            item["data"], item["metadata"] = event.data, event.metadata

    def _close_stream(self) -> None:
        if self._text:
            last = self._items[-1]
            last["text"] += "".join(self._text)
            self._text.clear()

    def _clear(self) -> None:
        self._items, self._by_display, self._clear_first = [], {}, False
        self._text.clear()
