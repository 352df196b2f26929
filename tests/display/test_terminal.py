"""The terminal's sink, in a real IPython shell and at a real terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.terminal import LateTerminalSink, TerminalSink
from kernel_bridge_magic.errors import remote_error
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.shell import InShell
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.sanitize.terminal import LeftOpen
from kernel_bridge_magic.text import without_colours
from tests.support.shells import private_shell

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[InteractiveShell]:
    with private_shell(tmp_path) as made:
        yield made


@pytest.fixture
def sink(shell: InteractiveShell) -> TerminalSink:
    return TerminalSink(shell)


def test_each_piece_is_out_at_once(sink: TerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []

    class Buffered(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    monkeypatch.setattr(sys, "stdout", Buffered())
    sink.stream("stdout", " 10%")
    assert flushed[-1] == " 10%"
    sink.stream("stdout", "\r 20%")
    assert flushed[-1] == " 10%\r 20%"


def test_displays_are_their_text(sink: TerminalSink, capsys: Capture) -> None:
    sink.display({"text/plain": "Figure(640x480)", "image/png": "iVBO"}, {}, "", False)
    assert capsys.readouterr().out == "Figure(640x480)\n"


def test_a_display_without_text_says_what_it_is(sink: TerminalSink, capsys: Capture) -> None:
    data = {"image/png": "iVBO"}
    sink.display(data, {}, "", False)
    assert capsys.readouterr().out == "<image/png>\n"
    assert data == {"image/png": "iVBO"}


def test_a_display_of_nothing_is_nothing(sink: TerminalSink, capsys: Capture) -> None:
    sink.display({}, {}, "", False)
    assert capsys.readouterr().out.strip() == ""


def test_an_update_is_shown_again(sink: TerminalSink, capsys: Capture) -> None:
    sink.display({"text/plain": "1 of 2"}, {}, "k:d", False)
    sink.display({"text/plain": "2 of 2"}, {}, "k:d", True)
    assert capsys.readouterr().out == "1 of 2\n2 of 2\n"


def test_a_result_has_the_local_count(shell: InteractiveShell, sink: TerminalSink, capsys: Capture) -> None:
    shell.user_ns["sink"] = sink
    shell.user_ns["value"] = RemoteValue({"text/plain": "42", "text/html": "<b>42</b>"})
    count = shell.execution_count
    shell.run_cell("sink.result(value)", store_history=True)
    assert capsys.readouterr().out == f"Out[{count}]: 42\n"
    assert shell.user_ns["_"].text == "42"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


CONCEALS = "\x1b[8mx"


def is_ended(screen: io.StringIO) -> bool:
    """Whether the last colours were reset."""
    return "\x1b[0m" in screen.getvalue().rpartition("\x1b[8m")[2]


@pytest.mark.parametrize(
    "show",
    [
        lambda sink: sink.display({"text/plain": CONCEALS}, {}, "", False),
        lambda sink: sink.result(RemoteValue({"text/plain": CONCEALS})),
        lambda sink: sink.error(remote_error("E", "x", [CONCEALS])),
        lambda sink: sink.draw("key", CONCEALS),
    ],
    ids=["display", "result", "error", "draw"],
)
def test_what_any_output_leaves_open_ends_before_a_line_of_ours(
    sink: TerminalSink, monkeypatch: pytest.MonkeyPatch, show: Callable[[TerminalSink], None]
) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    show(sink)
    assert CONCEALS in screen.getvalue()
    sink.begin_line()
    assert is_ended(screen)
    sink.begin_line()
    assert screen.getvalue().endswith("\x1b[0m")


KERNEL = Kernel(id="k", sessions=(Session("work/a.ipynb", "a.ipynb"),))


def test_late_output_stands_below_a_line_that_names_its_kernel(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    monkeypatch.setattr(sys, "stderr", screen)
    front = InShell(shell, KernelBridge()).front
    other = Kernel(id="o", sessions=(Session("work/b.ipynb", "b.ipynb"),))

    def said() -> list[str]:
        lines = without_colours(screen.getvalue()).splitlines()
        screen.seek(0)
        screen.truncate()
        return lines

    front.late(None, KERNEL).stream("stdout", "one\n")
    front.late(None, KERNEL).stream("stderr", "two\n")
    front.late(None, KERNEL).display({"text/plain": "three"}, {}, "", False)
    assert said() == ["work/a.ipynb shows this after its cell has ended", "one", "two", "three"]
    front.late(None, other).stream("stdout", "four\n")
    assert said() == ["work/b.ipynb shows this after its cell has ended", "four"]
    front.late(None, KERNEL).stream("stdout", "five\n")
    assert said() == ["work/a.ipynb shows this after its cell has ended", "five"]
    front.sink().stream("stdout", "of the next cell\n")
    front.late(None, KERNEL).stream("stdout", "six\n")
    assert said() == ["of the next cell", "work/a.ipynb shows this after its cell has ended", "six"]
    shell.run_cell("1;", store_history=True)
    front.late(None, KERNEL).stream("stdout", "seven\n")
    assert said() == ["work/a.ipynb shows this after its cell has ended", "seven"]


def test_what_late_output_leaves_open_ends_before_a_line_of_the_next_cell(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    front = InShell(shell, KernelBridge()).front
    cell = front.sink()
    front.late(None, KERNEL).stream("stdout", CONCEALS)
    cell.begin_line()
    assert is_ended(screen)


# -- jobs, which write while other cells run


@pytest.fixture
def job(shell: InteractiveShell) -> LateTerminalSink:
    return LateTerminalSink(shell, LeftOpen(), Heading(), "job 1 → a:", whole_lines=True)


def both(monkeypatch: pytest.MonkeyPatch, screen: io.StringIO) -> io.StringIO:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_nothing_of_a_job_is_drawn_over_what_others_have_printed(
    job: LateTerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = both(monkeypatch, Screen())
    job.inform("job", "job 1 → a: connecting since 10:00")
    screen.write("Out[3]: 'IMPORTANT'\n")
    job.inform("queued", "waiting: a is running another client's cell")
    job.inform("queued", "")
    job.draw("bar", "1 of 2")
    job.stream("stdout", "J\n")
    job.draw("bar", "2 of 2")
    job.clear(False)
    job.display({"image/png": "iVBO"}, {}, "d", False)
    job.display({}, {}, "d", True)
    job.result(RemoteValue({"text/plain": "42"}))
    job.note("the cell was interrupted")
    job.error(remote_error("E", "v", ["E: v"]))
    job.finish()
    job.finish()
    assert screen.getvalue().splitlines() == [
        "job 1 → a: connecting since 10:00", "Out[3]: 'IMPORTANT'", "waiting: a is running another client's cell",
        "job 1 → a:", "J", "<image/png>", "42", "kernel-bridge: the cell was interrupted", "E: v", "2 of 2",
    ]  # fmt: skip


def test_what_comes_in_place_is_told_when_it_changes_and_a_count_once(
    job: LateTerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = both(monkeypatch, Screen())
    for kind, text in (("queued", "one"), ("queued", "one"), ("queued", "two"), ("incoming", "1 MB"),
                       ("incoming", "2 MB"), ("incoming", ""), ("incoming", "3 MB")):  # fmt: skip
        job.inform(kind, text)
    assert screen.getvalue().splitlines() == ["one", "two", "1 MB", "3 MB"]


def test_a_line_of_a_job_waits_until_it_ends(job: LateTerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = both(monkeypatch, Screen())

    def said() -> str:
        text = screen.getvalue()
        screen.seek(0)
        screen.truncate()
        return text

    job.stream("stdout", "a")
    assert said() == ""
    job.stream("stdout", "b\nc\nhalf")
    assert said() == "job 1 → a:\nab\nc\n"
    job.stream("stderr", "a warning\n")
    assert said() == "half\na warning\n"
    for percent in range(100):
        job.stream("stderr", f"\r{percent} %")
    job.stream("stderr", "\r")
    assert said() == ""
    job.stream("stderr", "\n")
    assert said() == "99 %\r\n"
    job.stream("stdout", "x" * 10_000)  # a line without end is not kept for ever
    assert said() == "x" * 10_000 + "\n"
    for end in (job.begin_line, job.finish):
        job.stream("stdout", "no end")
        assert said() == ""
        end()
        assert said() == "no end\n"


def test_a_capture_of_another_cell_takes_nothing_of_a_job(
    job: LateTerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen, taken = Screen(), io.StringIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, taken)
        monkeypatch.setattr(sys, f"__{name}__", screen)
    job.stream("stdout", "x\n")
    job.stream("stderr", "y\n")
    job.display({"text/plain": "z"}, {}, "", False)
    job.result(RemoteValue({"text/plain": "42"}))
    job.error(remote_error("E", "v", ["E: v"]))
    job.note("n")
    job.begin_line()
    assert taken.getvalue() == ""
    assert screen.getvalue().splitlines() == ["job 1 → a:", "x", "y", "z", "42", "E: v", "kernel-bridge: n"]
    monkeypatch.setattr(sys, "__stdout__", None)  # there is nothing else
    job.stream("stdout", "x\n")
    assert taken.getvalue() == "x\n"


def test_what_the_terminal_lacks_is_spelled_out(job: LateTerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii"))
    job.stream("stdout", "é\n")
    assert raw.getvalue() == b"\\xe9\n"


def test_nobody_is_asked_by_a_job(job: LateTerminalSink) -> None:
    with pytest.raises(EOFError):
        job.ask("name? ", False)


def test_nobody_can_be_asked_without_a_terminal(sink: TerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not sink.can_ask
    monkeypatch.setattr(sys, "stdin", None)
    assert not sink.can_ask


def test_on_a_terminal_somebody_can_be_asked(sink: TerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert sink.can_ask
        os.write(master, b"ann\n")
        assert sink.ask("name? ", False) == "ann"
    os.close(master)


class Tty(io.StringIO):
    """A screen that can be drawn over, as far as `isatty` goes."""

    def isatty(self) -> bool:
        return True


def drawn(text: str) -> list[str]:
    """What a terminal of 80 columns shows of a text."""
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


def test_a_text_that_changes_is_drawn_over(sink: TerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Tty())
    sink.stream("stdout", "before\n")
    sink.draw("a", "one\ntwo")
    sink.draw("b", "x" * 100)  # wraps
    sink.draw("a", "uno\ndos")
    assert drawn(screen.getvalue()) == ["before", "uno", "dos", "x" * 80, "x" * 20]
    sink.draw("b", "\x1b[31mshort\x1b[0m")
    assert drawn(screen.getvalue()) == ["before", "uno", "dos", "short"]
    sink.finish()
    assert drawn(screen.getvalue()) == ["before", "uno", "dos", "short"]


def test_a_text_with_something_below_is_shown_once_more_at_the_end(
    sink: TerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Tty())
    sink.draw("a", "0%")
    sink.stream("stdout", "below\n")
    sink.draw("a", "50%")
    sink.draw("a", "100%")
    sink.finish()
    sink.finish()
    assert drawn(screen.getvalue()) == ["0%", "below", "100%"]


def test_what_has_changed_is_shown_at_once_also_where_it_cannot_be_drawn_over(
    sink: TerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Tty())
    for text in ("one", "two", "two"):
        sink.show_changed("a", text)
    assert drawn(screen.getvalue()) == ["two"]
    sink.stream("stdout", "of a job\n")
    for text in ("two", "three", "four"):
        sink.show_changed("a", text)
    assert drawn(screen.getvalue()) == ["two", "of a job", "four"]
    monkeypatch.setattr(sys, "stdout", kept := io.StringIO())
    for text in ("four", "five", "five", "six"):
        sink.show_changed("a", text)
    sink.finish()
    assert kept.getvalue() == "five\nsix\n"


def test_what_is_no_terminal_gets_the_first_text_and_the_last(
    sink: TerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", kept := io.StringIO())
    for text in ("0%", "50%", "100%"):
        sink.draw("a", text)
    sink.finish()
    assert kept.getvalue() == "0%\n100%\n"


# -- lines of ours


def test_a_neutral_line_is_dim_where_the_terminal_has_colours(
    sink: TerminalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", screen := Tty())
    sink.inform("kernel", "'a' → a.ipynb")
    assert screen.getvalue() == "\x1b[2m'a' → a.ipynb\x1b[22m\n"


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_a_neutral_line_has_no_colour_where_the_terminal_has_none(
    sink: TerminalSink, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "stderr", screen := Tty())
    sink.inform("kernel", "'a' → a.ipynb")
    assert screen.getvalue() == "'a' → a.ipynb\n"


def test_a_neutral_line_stays_where_there_is_no_terminal(sink: TerminalSink, capsys: Capture) -> None:
    sink.inform("queued", "waiting: a")
    sink.inform("queued", "")
    assert capsys.readouterr() == ("", "waiting: a\n")


def test_an_interrupt_is_ctrl_c_here(sink: TerminalSink) -> None:
    assert sink.stop == "Ctrl-C"


def test_the_last_text_is_shown_also_where_it_came_second(sink: TerminalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", kept := io.StringIO())
    sink.draw("a", "0%")
    sink.draw("a", "100%")
    sink.finish()
    assert kept.getvalue() == "0%\n100%\n"
