"""Who is asked at a terminal, and where nobody is."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from kernel_bridge_magic.cli.questions import asker


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


OPTIONS = {"json": False}


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
def test_the_question_goes_to_stderr(out: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {"stdin": Terminal("y\n"), "stderr": Terminal(), "stdout": out()}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    ask = asker(argparse.Namespace(**OPTIONS))
    assert ask is not None and ask("really? ") == "y\n"
    assert (streams["stderr"].getvalue(), streams["stdout"].getvalue()) == ("really? ", "")
    with pytest.raises(EOFError):
        ask("really? ")


def test_to_stdout_where_stderr_is_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {"stdin": Terminal("y\n"), "stderr": io.StringIO(), "stdout": Terminal()}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    ask = asker(argparse.Namespace(**OPTIONS))
    assert ask is not None and ask("really? ") == "y\n"
    assert (streams["stderr"].getvalue(), streams["stdout"].getvalue()) == ("", "really? ")


@pytest.mark.parametrize("given", [{"json": True}, {"code_stdin": True}, {"file": "-"}])
def test_nobody_where_the_streams_are_for_data(given: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stderr", "stdout"):
        monkeypatch.setattr(sys, name, Terminal())
    assert asker(argparse.Namespace(**OPTIONS | given)) is None
    assert asker(argparse.Namespace(**OPTIONS)) is not None


@pytest.mark.parametrize(
    ("name", "stream"), [("stdin", io.StringIO()), ("stdin", None), ("stderr and stdout", io.StringIO())]
)
def test_nobody_where_there_is_no_terminal(
    name: str, stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in ("stdin", "stderr", "stdout"):
        monkeypatch.setattr(sys, one, stream if one in name else Terminal())
    assert asker(argparse.Namespace(**OPTIONS)) is None
