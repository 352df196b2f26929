"""Keep what a cell shows on one of many kernels, until it is painted with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel_bridge_magic.display.neutral import IN_PLACE
from kernel_bridge_magic.errors import CellError, KernelBridgeError, RemoteError
from kernel_bridge_magic.protocol.events import ClearOutput, DisplayData, Error, Event, ExecuteResult, Stream
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.results import RemoteValue

#: Called with a display of an earlier cell that this cell has changed.
Update = Callable[[dict[str, Any], dict[str, Any], str], None]


_MOST_RECENT = 20  # outputs
_LONGEST_RECENT = 1 << 13  # characters of a text: more than is painted, so that it is seen to be cut
_MOST_IN_BLOCKS = 10_000  # the newest displays: another client may still update them


class InBlocks:
    """The ids of displays that are a part of a block of many kernels, where no front end can update them.

    What would update one is shown as a new display, which later updates then find.
    """

    def __init__(self) -> None:
        self._ids: dict[str, bool] = {}

    def add(self, display_id: str) -> None:
        """Note a display that a block shows."""
        self._ids[display_id] = False
        if len(self._ids) > _MOST_IN_BLOCKS:
            del self._ids[next(iter(self._ids))]

    def can_update(self, display_id: str) -> bool:
        """Return whether a display can be updated. If not the caller shows it anew, and the next time it can."""
        return self._ids.pop(display_id, True)


class GroupSink:
    """The sink of one kernel's relay. `items` are nbformat outputs, safe to show: a relay has passed them on.

    Of more than `limit` characters of text the head and the tail are kept. `elsewhere` receives what the cell changes
    in displays of earlier cells, if they are not `in_blocks`.
    """

    can_ask = False
    names_kernel = False

    def __init__(self, stop: str, limit: int, elsewhere: Update, in_blocks: InBlocks | None = None) -> None:
        self.stop = stop
        #: the line that says what the cell waits for, "" where it does not wait
        self.waiting = ""
        self._outputs = Outputs(limit)
        self._elsewhere = elsewhere
        self._in_blocks = in_blocks or InBlocks()
        self._known: set[str] = set()  # the displays that the cell has shown

    @property
    def items(self) -> list[dict[str, Any]]:
        """What was shown so far, oldest first."""
        return self._outputs.items

    @property
    def recent(self) -> list[dict[str, Any]]:
        """The last of what was shown so far, for a picture that is painted a few times a second."""
        return self._outputs.recent(_MOST_RECENT, _LONGEST_RECENT)

    def _add(self, event: Event) -> None:
        self._outputs.add(event)

    def stream(self, name: str, text: str) -> None:
        self._add(Stream(name, text))

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        update = update and (display_id in self._known or self._in_blocks.can_update(display_id))
        if update and display_id not in self._known:
            self._elsewhere(data, metadata, display_id)
            return
        self._know(display_id)
        self._add(DisplayData(data, metadata, display_id, update))

    def clear(self, wait: bool) -> None:
        self._add(ClearOutput(wait))

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        self._know(display_id)
        self._add(ExecuteResult(value.data, value.metadata, display_id=display_id))

    def _know(self, display_id: str) -> None:
        if display_id:
            self._known.add(display_id)
            self._in_blocks.add(display_id)

    def error(self, error: CellError) -> None:
        if isinstance(error, RemoteError):
            self._add(Error(error.ename, error.evalue, tuple(error.traceback)))
        else:
            self.end(error, str(error))

    def end(self, error: KernelBridgeError, text: str) -> None:
        """Show how the cell ended, in these words."""
        self._add(Error(type(error).__name__, text))

    def note(self, text: str) -> None:
        self._add(Stream("stderr", f"kernel-bridge: {text}\n"))

    def inform(self, kind: str, text: str) -> None:
        """Keep a neutral line. One that is about the moment only is no output."""
        if kind in IN_PLACE:
            self.waiting = text
        elif text:
            self._add(DisplayData({"text/plain": text}, {}))

    def draw(self, key: str, text: str) -> None:
        display_id = f"kernel-bridge:{key}"
        update = display_id in self._known
        self._known.add(display_id)
        self._add(DisplayData({"text/plain": text}, {}, display_id, update))

    def begin_line(self) -> None:
        """Do nothing: each block ends by itself."""

    def flush(self) -> None:
        """Do nothing: all is painted by whoever has the kernels."""

    def finish(self) -> None:
        """Do nothing at the end of the cell."""

    def ask(self, prompt: str, password: bool) -> str:
        """Refuse: nobody could tell which of many kernels asks."""
        raise EOFError
