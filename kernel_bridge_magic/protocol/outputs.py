"""What a notebook would save of a cell: events folded into nbformat outputs."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from kernel_bridge_magic.protocol.ends import End, ending
from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    CommMessage,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    Page,
    Stream,
)
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.messages import text as text_of
from kernel_bridge_magic.protocol.tails import MAX_KEPT, spoken

_MOST_JOINED = 1 << 10
_MOST_UPDATED = 1000  # displays of earlier cells


class Whole(Protocol):
    """Receives all text that a cell prints, where it is too much to be kept."""

    def write(self, text: str) -> None:
        """Put text at the end."""

    def restart(self) -> None:
        """Begin anew: what was printed was cleared."""


class Outputs:
    """The outputs of one cell so far; `items` is a list of nbformat 4 output dicts.

    What goes into an Output widget is the widget's, and none of these.

    Of more than `limit` characters of printed text head and tail are kept, and a line that says so: the tail is
    the last of the outputs then, also where displays came within it. All of it goes to `whole`, if there is one. What
    is kept depends on the text alone, not on the pieces in which it came. To look at it changes nothing.
    """

    def __init__(self, limit: int = MAX_KEPT, whole: Whole | None = None) -> None:
        self._limit = limit
        self._whole = whole
        self._start()
        self._capturing: set[str] = set()  # the Output widgets that capture what the cell shows
        self._own: set[str] = set()  # the displays that the cell has shown, also those that are cleared or a widget's
        self._updates: dict[str, DisplayData] = {}

    def _start(self) -> None:
        self._room = self._limit - self._limit // 16
        self._tail = End(self._limit // 16)
        self._items: list[dict[str, Any]] = []
        self._by_display: dict[str, list[dict[str, Any]]] = {}
        self._text: list[str] = []  # the open stream's pieces: joining each time would be quadratic
        self._joined: list[str] = []  # before them
        self._clear_first = False
        self._spills = False  # whether `whole` has all of the text
        #: characters that were printed, also those that are not kept
        self.characters = 0

    @property
    def truncated(self) -> bool:
        """Whether text is missing in `items`."""
        return self._tail.is_cut

    @property
    def updates(self) -> tuple[DisplayData, ...]:
        """The newest update of each display that is none of this cell's: an earlier one has shown it."""
        return tuple(self._updates.values())

    @property
    def items(self) -> list[dict[str, Any]]:
        """The outputs, oldest first. Text of one stream that follows itself is one output."""
        self._close_stream()
        items = [dict(item) for item in self._items]
        texts = self._tail.texts()
        if self.truncated:
            left_out = self._tail.characters - sum(len(text) for _, text in texts)
            lines = self._tail.lines - sum(text.count("\n") for _, text in texts)
            texts.insert(0, ("stderr", f"\n… {spoken(lines, left_out)} omitted\n"))
        return _with_texts(items, texts)

    def recent(self, most: int, characters: int) -> list[dict[str, Any]]:
        """Return the last of the outputs, at most `most`, and of each printed text about its last `characters`.

        It takes no time, however much was printed. Where text is missing there is a line with an ellipsis.
        """
        items = [dict(item) for item in self._items[-most:]]
        if items and (self._text or self._joined):
            pieces = itertools.chain(reversed(self._text), reversed(self._joined), [items[-1]["text"]])
            items[-1]["text"] = ending(pieces, characters)
        for item in items:
            if item["output_type"] == "stream":
                item["text"] = item["text"][-characters:]
        texts = self._tail.last(characters)
        if self.truncated:
            texts.insert(0, ("stderr", "\n…\n"))
        return _with_texts(items, texts)[-most:]

    def add(self, event: Event) -> None:
        """Fold one event in; events that leave nothing in a saved notebook are passed over."""
        if isinstance(event, CommMessage):
            self._note_capture(event.message)
            return
        is_update = isinstance(event, DisplayData) and event.update
        if isinstance(event, DisplayData | ExecuteResult) and not is_update:
            self._own.add(event.display_id)
        if self._capturing and not is_update:
            return
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
            self._release()
            self._close_stream()
            self._add_item(event)

    def _add_text(self, event: Stream) -> None:
        self.characters += len(event.text)
        fits = event.text[: self._room]
        if fits or not event.text:
            self._room -= len(fits)
            self._append(event.name, fits)
        if self._spills and self._whole is not None:
            self._whole.write(event.text)
        if len(fits) < len(event.text):
            rest = event.text[len(fits) :]
            if not self._spills and self._tail.characters + len(rest) > self._limit // 16:
                self._spill(rest)
            self._tail.add(event.name, rest)

    def _spill(self, more: str) -> None:
        """Begin to hand on all text: what was printed so far, of which nothing is lost yet, and `more`."""
        self._spills = True
        if self._whole is None:
            return
        self._close_stream()
        texts = [item["text"] for item in self._items if item["output_type"] == "stream"]
        for text in (*texts, *(text for _, text in self._tail.texts()), more):
            self._whole.write(text)

    def _append(self, name: str, text: str) -> None:
        last = self._items[-1] if self._items else {}
        if last.get("name") != name:
            self._close_stream()
            self._items.append({"output_type": "stream", "name": name, "text": ""})
        self._text.append(text)
        if len(self._text) >= _MOST_JOINED:
            # A string of two letters takes 50 bytes; of joined ones there are few enough.
            self._joined.append("".join(self._text))
            self._text.clear()

    def _release(self) -> None:
        """Put what the tail holds behind the rest, if that is not too much yet: a display comes next."""
        if self.characters <= self._limit and not self._tail.is_cut:
            for name, text in self._tail.texts():
                self._append(name, text)
            self._tail = End(self._limit // 16)

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
                # As front ends do: what is shown under an id once more is an update of what was.
                self._replace(event)
                self._by_display.setdefault(event.display_id, []).append(item)
        self._items.append(item)

    def _update(self, event: DisplayData) -> None:
        if event.display_id in self._by_display:
            self._replace(event)
        elif event.display_id and event.display_id not in self._own:
            self._updates.pop(event.display_id, None)
            self._updates[event.display_id] = event
            if len(self._updates) > _MOST_UPDATED:
                del self._updates[next(iter(self._updates))]

    def _replace(self, event: DisplayData | ExecuteResult) -> None:
        for item in self._by_display.get(event.display_id, ()):
            item["data"], item["metadata"] = event.data, event.metadata

    def _note_capture(self, message: Message) -> None:
        """An Output widget that captures what a request shows has that request's `msg_id` as a part of its state."""
        comm_id, data = text_of(message.content.get("comm_id")), message.content.get("data")
        state = data.get("state") if isinstance(data, dict) else None
        if message.msg_type == "comm_close":
            self._capturing.discard(comm_id)
        elif isinstance(state, dict) and "msg_id" in state:
            if state["msg_id"] and state["msg_id"] == message.parent_id:
                self._capturing.add(comm_id)
            else:
                self._capturing.discard(comm_id)

    def _close_stream(self) -> None:
        if self._text or self._joined:
            last = self._items[-1]
            last["text"] += "".join((*self._joined, *self._text))
            self._joined.clear()
            self._text.clear()

    def _clear(self) -> None:
        if self._spills and self._whole is not None:
            self._whole.restart()
        self._start()


def _with_texts(items: list[dict[str, Any]], texts: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Put printed texts behind outputs. What follows its own stream goes on in the same output."""
    for name, text in texts:
        if items and items[-1].get("name") == name:
            items[-1]["text"] += text
        else:
            items.append({"output_type": "stream", "name": name, "text": text})
    return items
