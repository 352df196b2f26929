from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from kernel_bridge_magic.display.plain import PlainSink, SilentSink
from kernel_bridge_magic.errors import Fate, fate_error, remote_error
from kernel_bridge_magic.results import RemoteValue

Capture = pytest.CaptureFixture[str]


def test_streams_go_where_they_belong_as_they_are(capsys: Capture) -> None:
    sink = PlainSink()
    sink.stream("stdout", "a\r\x1b[1mb")
    sink.stream("stderr", "c")
    assert capsys.readouterr() == ("a\r\x1b[1mb", "c")


def test_each_piece_is_out_at_once() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "w") as writer, contextlib.redirect_stdout(writer):
        PlainSink().stream("stdout", "no line end")
        assert os.read(reader.fileno(), 100) == b"no line end"


def test_streams_are_looked_up_each_time() -> None:
    sink = PlainSink()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sink.stream("stdout", "1")
        sink.note("2")
    assert (out.getvalue(), err.getvalue()) == ("1", "kernel-bridge: 2\n")


def test_results_and_displays_are_their_text_on_a_line(capsys: Capture) -> None:
    sink = PlainSink()
    sink.result(RemoteValue({"text/plain": "1", "text/html": "<b>1</b>"}))
    sink.result(RemoteValue({"text/plain": "with end\n"}))
    sink.display({"text/plain": "shown"}, {}, "id", False)
    sink.display({"text/plain": "again"}, {}, "id", True)
    assert capsys.readouterr() == ("1\nwith end\nshown\nagain\n", "")


def test_what_has_no_text_is_named(capsys: Capture) -> None:
    sink = PlainSink()
    sink.result(RemoteValue({"image/png": "iVBO"}))
    sink.result(RemoteValue({}))
    sink.display({}, {}, "", False)
    assert capsys.readouterr() == ("<image/png>\n<empty>\n", "")


def test_nothing_is_cleared(capsys: Capture) -> None:
    PlainSink().clear(True)
    PlainSink().clear(False)
    assert capsys.readouterr() == ("", "")


def test_errors_are_their_tracebacks(capsys: Capture) -> None:
    sink = PlainSink()
    sink.error(remote_error("ValueError", "no", ["line 1", "line 2"]))
    sink.error(fate_error(Fate.DIED, "a.ipynb was restarted", kernel="a.ipynb"))
    assert capsys.readouterr() == ("", "line 1\nline 2\nKernelDied: a.ipynb was restarted\n")


def test_nobody_can_be_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("line\n"))
    assert not PlainSink().can_ask
    monkeypatch.setattr(sys, "stdin", None)
    assert not PlainSink().can_ask


def test_on_a_terminal_somebody_can_be_asked(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert PlainSink().can_ask
        os.write(master, b"ann\n")
        assert PlainSink().ask("name? ", False) == "ann"
    os.close(master)
    assert "name? " in capsys.readouterr().out


class Terminal(io.StringIO):
    """What is written to it since the last look; it says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def sent(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@contextlib.contextmanager
def terminal() -> Iterator[Callable[[], str]]:
    """Give what tells what stdout and stderr, both a terminal, were sent since the last call."""
    made = Terminal()
    with contextlib.redirect_stdout(made), contextlib.redirect_stderr(made):
        yield made.sent


@pytest.mark.parametrize("text", ["\x1b[8;30;40mtext", "text\x1b[", "\x1b]0;title", "\x1b[31mtext"])
def test_a_line_of_ours_stands_for_itself_in_a_terminal(text: str) -> None:
    ours: list[Callable[[PlainSink], None]] = [
        lambda sink: sink.note("queued"),
        lambda sink: sink.inform("queued", "queued"),
        lambda sink: sink.error(fate_error(Fate.DIED, "queued")),
        lambda sink: sink.begin_line(),
    ]
    with terminal() as sent:
        for say in ours:
            sink = PlainSink()
            sink.stream("stdout", text)
            assert sent() == text
            say(sink)
            said = sent()
            before, reset, line = said.partition("\x1b[0m")
            assert reset and before == "\x18\x1b\\\x0f\x1b(B"
            assert line.startswith("\n") is ("text" in text)
            say(sink)
            assert "\x1b[0m" not in sent(), "once"


def test_nothing_is_added_where_there_is_no_terminal_or_nothing_open(capsys: Capture) -> None:
    for text in ("\x1b[8mtext", "text"):
        sink = PlainSink()
        sink.stream("stdout", text)
        sink.stream("stderr", text)
        sink.note("ours")
        assert capsys.readouterr() == (text, text + "kernel-bridge: ours\n")
    with terminal() as sent:
        sink = PlainSink()
        sink.stream("stdout", "text\n")
        sink.note("ours")
        assert sent() == "text\nkernel-bridge: ours\n"


def test_what_stands_in_the_place_of_a_terminal_may_know_nothing_of_terminals() -> None:
    class Tee:
        def write(self, text: str) -> None:
            pass

        def flush(self) -> None:
            pass

    with contextlib.redirect_stdout(Tee()), contextlib.redirect_stderr(io.StringIO()):  # type: ignore[type-var]
        PlainSink().stream("stdout", "text")
        PlainSink().begin_line()


def test_neutral_lines_are_lines_of_ours(capsys: Capture) -> None:
    for sink in (PlainSink(), SilentSink()):
        sink.inform("queued", "waiting: a")
        sink.inform("queued", "")
        assert capsys.readouterr() == ("", "kernel-bridge: waiting: a\n")


def test_an_interrupt_is_ctrl_c_here() -> None:
    assert PlainSink.stop == SilentSink.stop == "Ctrl-C"
