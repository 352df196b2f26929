"""Many kernels in a notebook: what is shown while the cell runs, and what is left at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.group_notebook import NotebookGroups, shares
from kernel_bridge_magic.display.groups import Shown
from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.throttle import Allowance
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.tails import MAX_OUTPUT
from tests.support.shells import private_shell


class Page:
    """A cell's outputs, as a front end keeps them."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = [{"text/plain": "mine"}]
        self.ids: list[str] = [""]
        self.messages = 0

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self.messages += 1
        if update:
            self.outputs[self.ids.index(display_id)] = data
        else:
            assert display_id not in filter(None, self.ids)
            self.outputs.append(data)
            self.ids.append(display_id)

    display_now = display

    def clear(self, wait: bool) -> None:
        self.outputs.clear()
        self.ids.clear()

    @property
    def lines(self) -> list[str]:
        return [str(data.get("text/plain", "")) for data in self.outputs]


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


RUNNING = [Shown("a", doing="running"), Shown("b", doing="running", items=[stream("so far\n")])]
TABLE = {"output_type": "execute_result", "data": {"text/html": "<table>", "text/plain": "t"}, "metadata": {},
         "execution_count": 1}  # fmt: skip
OVER = [Shown(name, fate=Fate.OK, seconds=1, items=[stream("x\n")]) for name in "ab"]


def test_blocks_change_in_place_while_the_cell_runs() -> None:
    groups = NotebookGroups(page := Page(), watched=True, whole=True)
    groups.paint(RUNNING, {0, 1})
    assert page.lines == ["mine", "2 kernels: 2 running (a, b)", "── a: running", "── b: running\nso far"]
    before = page.messages
    groups.paint([OVER[0], RUNNING[1]], {0})
    assert page.lines == ["mine", "2 kernels: 1 ok, 1 running (b)", "── a: ok 1.0 s\nx", "── b: running\nso far"]
    assert page.messages == before + 2


def test_at_the_end_a_whole_cell_has_the_end_alone() -> None:
    groups = NotebookGroups(page := Page(), watched=True, whole=True)
    groups.paint(RUNNING, {0, 1})
    groups.end(OVER, 1.25, group=True)
    assert page.lines == ["2 kernels in 1.2 s: 2 ok", "── a, b (2): ok 1.0 s\nx"]


def test_what_a_kernel_shows_late_while_others_run_is_kept() -> None:
    late = Heading()
    groups = NotebookGroups(page := Page(), watched=True, whole=True, late=late, cell="this")
    groups.paint(RUNNING, {0, 1})
    late.cells.add("this")
    page.display({"text/plain": "late"}, {}, "", False)
    groups.end(OVER, 1.25, group=True)
    assert page.lines == ["mine", "2 kernels in 1.2 s: 2 ok", "── a, b (2): ok 1.0 s\nx", "", "late"]
    again = NotebookGroups(page := Page(), watched=True, whole=True, late=late, cell="another")
    again.paint(RUNNING, {0, 1})
    again.end(OVER, 1.25, group=True)
    assert page.lines == ["2 kernels in 1.2 s: 2 ok", "── a, b (2): ok 1.0 s\nx"]


def test_what_else_stands_in_the_cell_is_kept() -> None:
    groups = NotebookGroups(page := Page(), watched=True, whole=False)
    groups.paint(RUNNING, {0, 1})
    page.display({"text/plain": "somebody else's"}, {}, "", False)
    groups.end(OVER, 1.25, group=True)
    assert page.lines == ["mine", "2 kernels in 1.2 s: 2 ok", "── a, b (2): ok 1.0 s\nx", "", "somebody else's"]
    again = NotebookGroups(page := Page(), watched=True, whole=False)
    again.paint(RUNNING[:1], {0})
    again.end([Shown("a", fate=Fate.OK, items=[stream("x\n"), TABLE, stream("y\n")])], 1.25, group=True)
    assert page.lines == ["mine", "1 kernel in 1.2 s: 1 ok", "── a: ok\nx", "t", "y"]
    assert page.outputs[3]["text/html"] == "<table>"


@pytest.mark.parametrize("whole", [True, False])
def test_where_nobody_watches_there_is_only_the_end(whole: bool) -> None:
    groups = NotebookGroups(page := Page(), watched=False, whole=whole)
    groups.paint(RUNNING, {0, 1})
    assert page.lines == ["mine"]
    groups.end(OVER, 1.25, group=False)
    assert page.lines == ["mine", "2 kernels in 1.2 s: 2 ok", "── a: ok 1.0 s\nx", "── b: ok 1.0 s\nx"]


# -- more than a notebook takes


def html(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/html": text, "text/plain": text}, "metadata": {}}


def many(name: str, number: int) -> Shown:
    return Shown(name, fate=Fate.OK, items=[html(f"{name} {n}") for n in range(number)])


class NothingLeft(Allowance):
    """What a server takes where something else has used it up."""

    def take(self, size: int, now: float, *, ends: bool = False) -> float:
        return now + 1e6


def test_a_flood_of_displays_takes_no_heading_away_and_is_counted_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    with private_shell(tmp_path) as shell:
        monkeypatch.setattr(shell.display_pub, "publish", lambda **it: published.append(it["data"]["text/plain"]))
        sink = CappedSink(shell, allowance=NothingLeft(MAX_OUTPUT))
        groups = NotebookGroups(sink, watched=False, whole=False)
        groups.end([many("east", 5500), many("south", 5500), many("west", 100)], 1, group=True)
        sink.finish()
    heads = [number for number, text in enumerate(published) if text.startswith("── ")]
    assert [published[number].split(":")[0] for number in heads] == ["── east", "── south", "── west"]
    assert published[0] == "3 kernels in 1.0 s: 3 ok"
    east, south, west = (published[a:b] for a, b in zip(heads, [*heads[1:], None], strict=True))
    assert east[0] == "── east: ok\n… 5300 displays omitted: a notebook takes no more from many kernels at once"
    assert east[1:] == [f"east {n}" for n in range(5300, 5500)]
    assert south[1:] == [f"south {n}" for n in range(5300, 5500)]
    assert west == ["── west: ok", *[f"west {n}" for n in range(100)]]


@given(st.lists(st.integers(0, 200)), st.integers(1, 1000))
def test_who_wants_little_gets_it_and_the_others_get_the_same(wanted: list[int], most: int) -> None:
    given = shares(wanted, most)
    assert all(share <= number for share, number in zip(given, wanted, strict=True))
    assert sum(given) <= max(most, sum(number > 0 for number in wanted))
    assert given == wanted or sum(wanted) > most
    less = {share for share, number in zip(given, wanted, strict=True) if share < number}
    assert not less or (max(less) - min(less) <= 1 and max(given) <= max(less) + 1)


def test_of_very_many_kernels_some_are_painted_the_next_time() -> None:
    shown = [Shown(f"k{number}", doing="running") for number in range(120)]
    groups = NotebookGroups(page := Page(), watched=True, whole=False)
    for painted, changed in ((52, {3}), (102, {3, 7}), (122, {3})):
        before = page.messages
        left = groups.paint(shown, changed if painted > 52 else range(120))
        assert left == set(range(painted - 2, 120)) | (changed if 52 < painted < 122 else set())
        assert len(page.outputs) == painted and page.messages <= before + 51
    assert page.lines[2:] == [f"── k{number}: running" for number in range(120)]
    groups.paint([Shown("k0", doing="queued"), *shown[1:]], {0})
    assert page.lines[2] == "── k0: queued"


class Late(Page):
    """One that puts off what may be put off."""

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        assert update

    def display_now(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        super().display(data, metadata, display_id, update)


def test_a_block_that_was_not_shown_yet_is_not_put_off_and_none_is_at_the_end() -> None:
    groups = NotebookGroups(page := Late(), watched=True, whole=False)
    groups.paint(RUNNING, {0, 1})
    groups.paint(OVER, {0, 1})
    assert page.lines == ["mine", "2 kernels: 2 running (a, b)", "── a: running", "── b: running\nso far"]
    groups.end(OVER, 1.25, group=False)
    assert page.lines == ["mine", "2 kernels in 1.2 s: 2 ok", "── a: ok 1.0 s\nx", "── b: ok 1.0 s\nx"]
