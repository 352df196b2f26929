"""What is shown of one cell on many kernels, event by event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.groups import Shown, summary
from kernel_bridge_magic.errors import Fate, NotRun, remote_error
from kernel_bridge_magic.jobs import together as module
from kernel_bridge_magic.jobs.fanout import Came
from kernel_bridge_magic.jobs.together import Together
from kernel_bridge_magic.protocol.events import Error, ExecuteResult, Queued, Started, Stream
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from tests.support.matches import ANALYSIS, OTHER


class Canvas:
    def __init__(self) -> None:
        self.painted: list[tuple[list[str], set[int]]] = []
        self.last: list[Shown] = []

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> Collection[int] | None:
        self.painted.append(([f"{one.name} {one.state} {one.why}".strip() for one in shown], set(changed)))
        self.last = list(shown)
        return None

    def end(self, shown: Sequence[Shown], seconds: float, *, group: bool) -> None:
        self.last = list(shown)


@pytest.fixture
def canvas() -> Canvas:
    return Canvas()


def new_sink(name: str) -> GroupSink:
    return GroupSink("Stop", 1 << 16, lambda *update: None)


def texts(one: Shown) -> list[Any]:
    return [item.get("text") or item.get("evalue") or item["data"]["text/plain"] for item in one.items]


def test_each_kernel_goes_from_connecting_to_its_end(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAINT_SECONDS", 0.0)
    together = Together([ANALYSIS, OTHER], canvas, new_sink)
    together.look()
    steps: list[tuple[int, Came]] = [
        (1, Queued(connecting=True)), (1, Queued(since="23:41")), (0, Started()), (0, Stream("stdout", "x\n")),
        (1, Queued(ours=True)), (1, Queued()), (1, Queued(starting=True)), (1, Started()),
        (0, RemoteResult("ok", Fate.OK, ANALYSIS, seconds=1.5)),
    ]  # fmt: skip
    for step in steps:
        together.take(*step)
        together.look()
    together.look()  # nothing has changed
    assert [lines for lines, _ in canvas.painted] == [
        ["analysis connecting", "other connecting"],
        ["analysis connecting", "other connecting its server lets nobody in yet"],
        ["analysis connecting", "other queued busy for another client"],
        ["analysis running", "other queued busy for another client"],
        ["analysis running", "other queued busy for another client"],
        ["analysis running", "other queued busy for an earlier cell of yours"],
        ["analysis running", "other queued no answer yet"],
        ["analysis running", "other queued starting"],
        ["analysis running", "other running"],
        ["analysis ok", "other running"],
    ]
    assert canvas.painted[0][1] == {0, 1} and canvas.painted[3][1] == {0}
    assert texts(canvas.last[0]) == ["x\n"]


def test_errors_are_shown_in_their_block(canvas: Canvas) -> None:
    together = Together([ANALYSIS, OTHER], canvas, new_sink)
    error = remote_error("E", "v", ["E: v"])
    together.take(0, Stream("stdout", "before\n"))
    together.take(0, Error("E", "v", ("E: v",)))
    together.take(0, RemoteResult("error", Fate.FAILED, ANALYSIS, error=error))
    together.take(1, RemoteResult("error", Fate.NOT_RUN, OTHER, error=NotRun("other is busy")))
    together.end(group=True)
    assert [texts(one) for one in canvas.last] == [["before\n", "v"], ["other is busy"]]
    assert summary(canvas.last, 0) == "2 kernels in 0.0 s: 1 failed (analysis), 1 not run (other)"


def test_a_result_that_is_returned_is_not_shown(canvas: Canvas) -> None:
    for hold, shown in ((True, []), (False, ["42"])):
        together = Together([ANALYSIS], canvas, new_sink, hold_result=hold)
        together.take(0, ExecuteResult({"text/plain": "42"}, {}))
        together.take(0, RemoteResult("ok", Fate.OK, ANALYSIS))
        together.end(group=True)
        assert texts(canvas.last[0]) == shown


def test_an_interrupt_by_somebody_else_is_told(canvas: Canvas) -> None:
    together = Together([ANALYSIS], canvas, new_sink)
    error = remote_error("KeyboardInterrupt", "")
    error.interruption = "interrupted there by another client"
    together.take(0, Error("KeyboardInterrupt", ""))
    together.take(0, RemoteResult("error", Fate.FAILED, ANALYSIS, error=error))
    together.end(group=True)
    told = "kernel-bridge: work/analysis.ipynb: the cell was interrupted there by another client\n"
    assert canvas.last[0].items[-1]["text"] == told


class Odd(GroupSink):
    """The sink of a kernel whose results cannot be shown."""

    problem: Exception = OverflowError("int too large to convert to float")

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        raise self.problem


def odd_sink(name: str) -> GroupSink:
    return (Odd if name == "analysis" else GroupSink)("Stop", 1 << 16, lambda *update: None)


def test_what_cannot_be_shown_of_one_kernel_is_a_line_in_its_block(canvas: Canvas) -> None:
    together = Together([ANALYSIS, OTHER], canvas, odd_sink)
    for number, kernel in enumerate((ANALYSIS, OTHER)):
        together.take(number, ExecuteResult({"text/plain": "42"}, {}))
        together.take(number, Stream("stdout", "after\n"))
        together.take(number, RemoteResult("ok", Fate.OK, kernel))
    together.end(group=True)
    said = "kernel-bridge: an output could not be shown (OverflowError: int too large to convert to float)\n"
    assert [texts(one) for one in canvas.last] == [[said, "after\n"], ["42", "after\n"]]
    assert summary(canvas.last, 0) == "2 kernels in 0.0 s: 2 ok"


def test_behind_what_cannot_be_shown_an_end_is_told(canvas: Canvas) -> None:
    together = Together([ANALYSIS, OTHER], canvas, odd_sink)
    together.take(0, ExecuteResult({"text/plain": "42"}, {}))
    together.take(0, RemoteResult("error", Fate.DIED, ANALYSIS, error=NotRun("its kernel ended")))
    together.end(group=True)
    assert texts(canvas.last[0])[-1] == "its kernel ended"


def test_a_broken_stream_is_everybody_s(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "problem", BrokenPipeError())
    together = Together([ANALYSIS, OTHER], canvas, odd_sink)
    with pytest.raises(BrokenPipeError):
        together.take(0, ExecuteResult({"text/plain": "42"}, {}))


class Slow(Canvas):
    """One that shows one kernel each time."""

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> set[int]:
        super().paint(shown, changed)
        return set(sorted(changed)[1:])


def test_what_was_not_painted_is_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAINT_SECONDS", 0.0)
    together = Together([ANALYSIS, OTHER], canvas := Slow(), new_sink)
    for _ in range(4):
        together.look()
    assert [changed for _, changed in canvas.painted] == [{0, 1}, {1}]


def test_only_what_is_recent_is_painted(canvas: Canvas) -> None:
    together = Together([ANALYSIS], canvas, new_sink)
    together.take(0, Stream("stdout", "x" * 60_000))
    together.look()
    assert len(texts(canvas.last[0])[0]) < 10_000
    together.end(group=True)
    assert len(texts(canvas.last[0])[0]) == 60_000
