"""Lines of ours at the bottom of a terminal: they are taken away, and nothing else is."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

from kernel_bridge_magic.display.plain import PlainSink, SilentSink
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from tests.support.shells import private_shell

LONG = "waiting: work/analysis.ipynb is running another client's cell (since 22:18:48). Ctrl-C leaves it " * 2
WIDE = "waiting: " + "分析" * 30 + ".ipynb"  # 60 wide characters: it wraps


class Screen(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        screen = pyte.Screen(80, 24)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        with contextlib.redirect_stdout(self), contextlib.redirect_stderr(self):
            yield


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture(params=["in IPython", "command line"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "command line":
        yield PlainSink()
        return
    with private_shell(tmp_path) as shell:
        yield TerminalSink(shell)


@pytest.mark.parametrize("text", ["waiting: a", LONG, WIDE, "x" * 80, "x" * 67])
def test_what_a_cell_waits_for_is_taken_away_when_it_begins(sink: Any, screen: Screen, text: str) -> None:
    with screen.here():
        sink.stream("stdout", "before\n")
        sink.inform("kernel", "'a' → a.ipynb")
        for told in (text, f"{text}, still", text, ""):
            sink.inform("queued", told)
        sink.stream("stdout", "the cell's\n")
        prefix = "kernel-bridge: " if isinstance(sink, PlainSink) else ""
        assert screen.lines == ["before", f"{prefix}'a' → a.ipynb", "the cell's"]


@pytest.mark.parametrize(
    "show",
    [
        lambda sink: sink.stream("stdout", "below\n"),
        lambda sink: sink.stream("stderr", "below"),
        lambda sink: sink.note("below"),
        lambda sink: sink.display({"text/plain": "below"}, {}, "", False),
        lambda sink: sink.result(RemoteValue({"text/plain": "below"})),
    ],
    ids=["stdout", "a part of a line", "note", "display", "result"],
)
def test_it_stays_where_something_stands_below(sink: Any, screen: Screen, show: Callable[[Any], None]) -> None:
    with screen.here():
        sink.inform("queued", "waiting: a")
        show(sink)
        before = screen.lines
        assert "waiting: a" in before[0] and "below" in before[-1]
        sink.inform("queued", "")
        assert screen.lines == before
        sink.inform("queued", "waiting: b")
        assert screen.lines[: len(before)] == before and "waiting: b" in screen.lines[-1]
        sink.inform("queued", "")
        assert screen.lines == before


def test_it_goes_from_above_other_lines_of_ours(sink: Any, screen: Screen) -> None:
    with screen.here():
        sink.inform("queued", "waiting: a")
        for text in ("one", "two", "two"):
            sink.inform("request", text)
        sink.inform("queued", "")
        sink.stream("stdout", "below\n")
    assert [line.removeprefix("kernel-bridge: ") for line in screen.lines] == ["one", "two", "two", "below"]


def test_what_another_sink_has_shown_below_stays(tmp_path: Path, screen: Screen) -> None:
    with screen.here(), private_shell(tmp_path) as shell:
        shared = LeftOpen()
        cell, late = TerminalSink(shell, shared), TerminalSink(shell, shared)
        cell.inform("queued", "waiting: a")
        late.stream("stdout", "of an earlier cell\n")
        cell.inform("queued", "")
        assert screen.lines == ["waiting: a", "of an earlier cell"]


def test_a_line_that_the_kernel_has_left_open_is_ended_and_stays(sink: Any, screen: Screen) -> None:
    with screen.here():
        sink.stream("stdout", "50%")
        sink.inform("incoming", "1 of 2 MB")
        sink.inform("incoming", "2 of 2 MB")
        assert [line.removeprefix("kernel-bridge: ") for line in screen.lines] == ["50%", "2 of 2 MB"]


def test_it_is_drawn_over_where_only_stderr_is_a_terminal(sink: Any, screen: Screen) -> None:
    with screen.here():
        with contextlib.redirect_stdout(piped := io.StringIO()):
            sink.inform("queued", "waiting: a")
            sink.stream("stdout", "into a pipe\n")
            sink.inform("queued", "")
        assert (screen.lines, piped.getvalue()) == ([""], "into a pipe\n")


def test_an_object_on_stdout_has_the_screen_for_itself(screen: Screen) -> None:
    with screen.here():
        sink = SilentSink()
        sink.inform("queued", "waiting: a")
        sink.note("below")
        sink.inform("queued", "waiting: b")
        sink.inform("queued", "")
        assert screen.lines == ["kernel-bridge: waiting: a", "kernel-bridge: below"]


def test_a_terminal_that_knows_no_escapes_gets_none_and_each_line_stays(
    sink: Any, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with screen.here():
        sink.stream("stdout", "50%")
        for text in ("waiting: a", "waiting: b", ""):
            sink.inform("queued", text)
        sink.stream("stdout", "the cell's\n")
    prefix = "kernel-bridge: " if isinstance(sink, PlainSink) else ""
    assert screen.getvalue() == f"50%\n{prefix}waiting: a\n{prefix}waiting: b\nthe cell's\n"


def test_without_colours_a_line_is_not_dim_and_goes_all_the_same(
    sink: Any, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with screen.here():
        sink.inform("queued", "waiting: a")
        assert "\x1b[2m" not in screen.getvalue()
        sink.inform("queued", "")
        assert screen.lines == [""]


def test_without_a_terminal_each_line_stays(sink: Any) -> None:
    with contextlib.redirect_stderr(kept := io.StringIO()):
        for text in ("waiting: a", "waiting: b", ""):
            sink.inform("queued", text)
    prefix = "kernel-bridge: " if isinstance(sink, PlainSink) else ""
    assert kept.getvalue() == f"{prefix}waiting: a\n{prefix}waiting: b\n"
