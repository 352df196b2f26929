"""An error that has its place already, in a real shell: raised, and not shown a second time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.display.shown import leave_out
from kernel_bridge_magic.text import without_colours
from tests.support.shells import private_shell

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[InteractiveShell]:
    with private_shell(tmp_path) as made:
        made.user_ns["seen"] = seen = ValueError("seen")
        made.user_ns["leave_out"] = lambda: leave_out(made, seen)
        yield made


def run(shell: InteractiveShell, code: str) -> Any:
    return shell.run_cell(code).error_in_exec


def printed(capsys: Capture) -> str:
    return without_colours(capsys.readouterr().out)


RAISE = "leave_out()\nraise seen"


def test_it_is_raised_and_not_shown_and_the_next_cell_shows_it_again(shell: InteractiveShell, capsys: Capture) -> None:
    assert run(shell, RAISE) is shell.user_ns["seen"]
    assert "ValueError" not in printed(capsys)
    assert "_showtraceback" not in shell.__dict__
    assert run(shell, "raise seen") is shell.user_ns["seen"]
    assert "ValueError: seen" in printed(capsys)


@pytest.mark.parametrize(
    "code",
    [
        "leave_out()\ntry:\n    raise seen\nexcept ValueError:\n    get_ipython().showtraceback()\n1 / 0",
        "get_ipython().run_cell('leave_out(); raise seen')\n1 / 0",
        "leave_out()\nleave_out()\n1 / 0",
        "leave_out()\ntry:\n    raise seen\nexcept ValueError:\n    pass\n1 / 0",
    ],
)
def test_other_errors_are_shown(shell: InteractiveShell, capsys: Capture, code: str) -> None:
    assert isinstance(run(shell, code), ZeroDivisionError)
    out = printed(capsys)
    assert "ZeroDivisionError" in out
    assert "ValueError: seen" not in out
    assert "_showtraceback" not in shell.__dict__


@pytest.mark.parametrize("around", ["%%time\n", "%%capture kept\n", ""])
def test_it_is_not_shown_by_what_runs_the_cell_either(shell: InteractiveShell, capsys: Capture, around: str) -> None:
    run(shell, around + RAISE)
    assert "seen" not in printed(capsys)
    assert "kept" not in shell.user_ns or "seen" not in shell.user_ns["kept"].stdout


@pytest.mark.parametrize("caught", ["Exception", "ValueError", "KeyError"])
def test_the_user_s_own_handler_is_called_as_ever_and_stays(
    shell: InteractiveShell, capsys: Capture, caught: str
) -> None:
    run(
        shell,
        "calls = []\n"
        "def handle(shell, etype, value, tb, tb_offset=None):\n"
        "    calls.append(etype)\n"
        "    shell.showtraceback((etype, value, tb), tb_offset=tb_offset)\n"
        f"get_ipython().set_custom_exc(({caught},), handle)",
    )
    before = shell.custom_exceptions, shell.CustomTB
    run(shell, RAISE)
    assert "seen" not in printed(capsys)
    assert shell.user_ns["calls"] == ([] if caught == "KeyError" else [ValueError])
    assert (shell.custom_exceptions, shell.CustomTB) == before
    run(shell, "raise seen")
    assert "ValueError: seen" in printed(capsys)


def test_what_others_have_put_in_place_of_the_method_stays(shell: InteractiveShell, capsys: Capture) -> None:
    said: list[Any] = []

    def theirs(etype: Any, evalue: Any, stb: Any) -> None:
        said.append(evalue)

    shell._showtraceback = theirs
    run(shell, RAISE)
    run(shell, "raise seen")
    assert said == [shell.user_ns["seen"]]
    assert shell._showtraceback is theirs


def test_what_others_put_over_it_meanwhile_goes_on(shell: InteractiveShell, capsys: Capture) -> None:
    shell.user_ns["wrap"] = lambda show: lambda *args: (print("theirs"), show(*args))
    run(shell, "leave_out()\nshell = get_ipython()\nshell._showtraceback = wrap(shell._showtraceback)\nraise seen")
    run(shell, "raise seen")
    assert printed(capsys).count("ValueError: seen") == 1
