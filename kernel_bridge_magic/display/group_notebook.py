"""Show a cell that runs on many kernels in a notebook: one changing block for each, and at the end what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from kernel_bridge_magic.display.group_html import Output, display
from kernel_bridge_magic.display.groups import Shown, block, fold, live_block, native_outputs, summary
from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.neutral import KERNELS, bundle, metadata

# A notebook's server lets about 900 messages a second through, and counts those of three seconds. What is left at the
# end is to be sent at once: each output that only a front end can draw is one, and perhaps the text behind it another.
_MOST_NATIVES = 500
_MOST_PAINTED = 50  # blocks, four times a second


class Publisher(Protocol):
    """The sink of the notebook's cell."""

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Show a MIME bundle, perhaps later, or not at all if too many come; with `update` replace that of the id."""

    def display_now(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Show a MIME bundle that must not be dropped, and before it all that was put off."""

    def clear(self, wait: bool) -> None:
        """Clear what the notebook's cell has shown."""


class NotebookGroups:
    """The blocks of one cell. All methods belong to one thread.

    A cell is `watched` where somebody sees it change: not under nbclient, and not where its output is captured. What is
    kept there is the end alone. The cell is `whole` if no other code can show anything in it; then it is cleared at the
    end, unless a kernel that was done has shown something `late` in `cell`. Otherwise blocks are replaced where they
    stand, since they cannot be taken away.
    """

    def __init__(
        self, publisher: Publisher, *, watched: bool, whole: bool, late: Heading | None = None, cell: object = None
    ) -> None:
        self._publisher = publisher
        self._late = late or Heading()
        self._cell = cell
        self._watched = watched
        self._whole = whole
        self._prefix = f"kernel-bridge:{uuid.uuid4().hex[:8]}"
        self._known = 0  # displays that were shown, which have the numbers below
        self._due: dict[int, None] = {}  # the numbers of blocks that are to be painted, the oldest first

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> Collection[int]:
        """Show the line about all, and the blocks of the kernels that have changed; return those for the next time."""
        if not self._watched:
            return ()
        self._show(0, _line(summary(shown)))
        # First those that are not known yet: they come into their places one behind the other.
        self._due |= dict.fromkeys(range(max(self._known, 1), len(shown) + 1))
        self._due |= dict.fromkeys(number + 1 for number in sorted(changed))
        for number in list(self._due)[:_MOST_PAINTED]:
            del self._due[number]
            self._show(number, live_block(shown[number - 1]))
        return {number - 1 for number in self._due}

    def end(self, shown: Sequence[Shown], seconds: float, *, group: bool) -> None:
        """Show what came of it in place of what was shown while it ran."""
        outputs = [_line(summary(shown, seconds)), *_blocks(shown, group=group)]
        with self._late.lock:  # what comes late meanwhile stands behind the end
            self._end(outputs)

    def _end(self, outputs: Sequence[Output]) -> None:
        if self._whole and self._known and self._cell not in self._late.cells:
            self._publisher.clear(True)
            self._known = 0
        known = self._known
        for number in range(max(known, len(outputs))):
            output = outputs[number] if number < len(outputs) else display({})
            place = f"{self._prefix}:{number}" if number < known else ""
            # Without its heading a block would stand under that of another kernel.
            self._publisher.display_now(output["data"], output["metadata"], place, number < known)

    def _show(self, number: int, output: Output) -> None:
        """Show a block while the cell runs. What is not known yet must come; of its updates only the newest counts."""
        update = number < self._known
        self._known = max(self._known, number + 1)
        show = self._publisher.display if update else self._publisher.display_now
        show(output["data"], output["metadata"], f"{self._prefix}:{number}", update)


def _blocks(shown: Sequence[Shown], *, group: bool) -> list[Output]:
    """Return the outputs of all blocks, with not too many that only a front end can draw."""
    blocks = [[shown[number] for number in numbers] for numbers in fold(shown, group=group)]
    most = shares([native_outputs(members[0]) for members in blocks], _MOST_NATIVES)
    return [output for members, share in zip(blocks, most, strict=True) for output in block(members, share)]


def shares(wanted: Sequence[int], most: int) -> list[int]:
    """Divide `most` among those who want some: who wants little gets it, and all others get the same; one at least."""
    given = [0] * len(wanted)
    for place, number in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        given[number] = min(wanted[number], max(most // (len(wanted) - place), 1))
        most -= given[number]
    return given


def _line(text: str) -> Output:
    return display(bundle(text), metadata(KERNELS))
