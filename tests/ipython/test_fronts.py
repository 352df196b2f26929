"""What a notebook and a terminal show many kernels, jobs and late output by."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_bridge_magic.display.group_notebook import NotebookGroups
from kernel_bridge_magic.display.group_plain import LinesSink, PlainGroups
from kernel_bridge_magic.display.group_terminal import TerminalGroups
from kernel_bridge_magic.display.groups import Shown
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.fronts import NotebookFront, TerminalFront
from kernel_bridge_magic.ipython.screens import KeptScreen, NotebookScreen, TerminalScreen
from kernel_bridge_magic.models import Kernel, Session
from tests.support.fronts import Published

NORTH, SOUTH = (
    Kernel(id=name, sessions=(Session(f"students/{name}.ipynb", f"{name}.ipynb"),)) for name in ("north", "south")
)
PARENT = {"header": {"msg_id": "m"}, "content": {"code": "%%remote --all x\n1"}}
ENDED = [Shown("north", fate=Fate.OK)]


class Seen:
    """The sink of a cell."""

    stop = "Stop"

    def __init__(self, *, can_ask: bool) -> None:
        self.can_ask = can_ask
        self.shown: list[tuple[Any, ...]] = []

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self.shown.append(("update" if update else "display", data.get("text/plain")))

    display_now = display

    def clear(self, wait: bool) -> None:
        self.shown.append(("clear", wait))


def notebook(code: str = "%%remote --all x\n1", *, stdin: bool = True) -> tuple[NotebookFront, Published]:
    published = Published()
    published._allow_stdin = stdin  # type: ignore[attr-defined] # ipykernel's
    parent = {"header": {"msg_id": "m"}, "content": {"code": code}}
    shell = SimpleNamespace(kernel=published, get_parent=lambda: parent, display_pub=None)
    return NotebookFront(shell, KernelBridge()), published


def texts(published: Published) -> list[str]:
    contents = [message["content"] for message in published.messages]
    return [it.get("text") or it["data"]["text/plain"] for it in contents]


def test_late_output_of_kernels_that_share_a_cell_names_its_kernel() -> None:
    front, published = notebook()
    for kernel in (NORTH, NORTH, SOUTH):
        front.late(PARENT, kernel, together=True).stream("stdout", "x\n")
    line = "students/{}.ipynb shows this after its cell has ended"
    assert texts(published) == [line.format("north"), "x\n", "x\n", line.format("south"), "x\n"]


def test_a_display_in_a_block_that_changes_later_is_shown_anew() -> None:
    front, published = notebook()
    _, new_sink = front.groups(sink := Seen(can_ask=True), 2)  # type: ignore[arg-type]
    data: dict[str, Any] = {"text/plain": "x"}
    new_sink("north").display(data, {}, "d", False)
    for _ in range(2):
        front.late(PARENT, NORTH, together=True).display(data, {}, "d", True)
    assert [message["msg_type"] for message in published.messages] == ["display_data"] * 2 + ["update_display_data"]
    assert texts(published) == ["students/north.ipynb shows this after its cell has ended", "x", "x"]
    # In a later cell it is a part of that one's block; what is in no block is changed where it is.
    new_sink("north").display(data, {}, "d", False)
    later = new_sink("north")
    later.display(data, {}, "d", True)
    later.display(data, {}, "e", True)
    assert [item["data"] for item in later.items] == [data] and sink.shown == [("update", "x")]


def test_none_of_them_takes_away_what_the_others_have_shown() -> None:
    front, published = notebook()
    front.late(PARENT, NORTH, together=True).clear(True)
    assert published.messages == []
    front.late(PARENT, NORTH, together=False).clear(True)
    front.late(PARENT, NORTH, together=False).stream("stdout", "x\n")
    assert [message["msg_type"] for message in published.messages] == ["clear_output", "stream"]


@pytest.mark.parametrize(
    ("code", "stdin", "kinds"),
    [
        # Only what runs on many kernels can be in this cell: it is cleared.
        ("%%remote --all x\n1", True, ["display", "display", "clear", "display", "display"]),
        # Other output may stand in it: what was shown is replaced.
        ("print(1)\n%remote --all x 1", True, ["display", "display", "update", "update"]),
        # Nobody sees it change.
        ("%%remote --all x\n1", False, ["display", "display"]),
    ],
)
def test_a_cell_is_cleared_for_the_end_only_where_nothing_else_is_in_it(
    code: str, stdin: bool, kinds: list[str]
) -> None:
    front, _ = notebook(code)
    painter, _ = front.groups(sink := Seen(can_ask=stdin), 1)  # type: ignore[arg-type] # as much of one as this needs
    assert isinstance(painter, NotebookGroups)
    painter.paint([Shown("north", doing="running")], {0})
    painter.end(ENDED, 0.1, group=True)
    assert [kind for kind, _ in sink.shown] == kinds


@pytest.mark.parametrize(("stdin", "kind"), [(True, NotebookScreen), (False, KeptScreen)])
def test_a_job_is_kept_where_nothing_is_shown_behind_its_cell(stdin: bool, kind: type) -> None:
    front, _ = notebook(stdin=stdin)
    assert type(front.screen(3, NORTH)) is kind


def test_jobs_of_one_cell_share_it_and_those_of_another_do_not() -> None:
    front, published = notebook()
    first, other = front.screen(1, NORTH), front.screen(2, SOUTH)
    parent = front.parent()
    assert parent is not None
    parent["header"]["msg_id"] = "the next cell"
    third = front.screen(3, NORTH)
    for screen in (first, other, third):
        screen.sink.clear(False)
    assert [message["msg_type"] for message in published.messages] == ["clear_output"]


def terminal() -> TerminalFront:
    return TerminalFront(SimpleNamespace(execution_count=1, events=None))


def test_without_a_terminal_each_line_is_written_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    painter, new_sink = terminal().groups(Seen(can_ask=False), 1)  # type: ignore[arg-type]
    sink = new_sink("north")
    assert isinstance(painter, PlainGroups) and isinstance(sink, LinesSink)
    sink.stream("stdout", "x\n")
    assert capsys.readouterr().out == "[north] x\n"


def test_what_is_captured_there_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", kept := io.StringIO())
    painter, new_sink = terminal().groups(Seen(can_ask=False), 1)  # type: ignore[arg-type]
    new_sink("north").stream("stdout", "x\n")
    assert isinstance(painter, TerminalGroups) and kept.getvalue() == ""
    painter.end(ENDED, 0.1, group=True)
    assert kept.getvalue() == "── north: ok\n1 kernel in 0.1 s: 1 ok\n"


def test_a_job_is_shown_above_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    front = terminal()
    assert isinstance(front.screen(3, NORTH), TerminalScreen)
    front.last_word("1 job left running: 3 (north)")
    assert capsys.readouterr().err == "kernel-bridge: 1 job left running: 3 (north)\n"


def test_only_a_notebook_marks_outputs_since_a_terminal_s_prompt_does() -> None:
    front, _ = notebook()
    assert front.mark(NORTH) == "→ students/north.ipynb"
    assert TerminalFront(SimpleNamespace()).mark(NORTH) == ""
