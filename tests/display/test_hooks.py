"""What the hooks do in a real IPython shell: losses told past a capture, and an error shown once and raised."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.hooks import leave_out, outside
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.text import without_colours
from tests.support.shells import private_shell

TOLD = "kernel-bridge: a.ipynb: 3 messages missing\n"
CAPTURES = {
    "%%capture": "%%capture kept\ntell()",
    "%%capture in %%capture": "%%capture\n%%capture kept\ntell()",
    "capture_output": "from IPython.utils.capture import capture_output\nwith capture_output() as kept:\n    tell()",
    "redirect_stderr": "import contextlib, io\nwith contextlib.redirect_stderr(io.StringIO()) as file:\n    tell()\n"
    "class kept:\n    stderr = file.getvalue()",
    "%%capture and an error": "%%capture kept\ntell()\n1 / 0",
    "%%capture and a cell behind it": "%%capture kept\ntell()\nget_ipython().run_cell('1')",
    "a cell in redirect_stderr": "import contextlib, io\nwith contextlib.redirect_stderr(io.StringIO()) as file:\n"
    "    get_ipython().run_cell('tell()')\n    get_ipython().run_cell('1')\nclass kept:\n    stderr = file.getvalue()",
    "%%capture and an await": "%%capture kept\nimport asyncio\nawait asyncio.sleep(0)\ntell()\n"
    "get_ipython().run_cell('1')",
}


@pytest.fixture
def ipywidgets() -> Any:
    return import_module("ipywidgets")  # takes long, and few tests need it


@pytest.fixture(params=[CappedSink, TerminalSink])
def telling(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InteractiveShell]:
    with private_shell(tmp_path) as made:

        def tell() -> None:
            sink = request.param(made)
            sink.stream("stderr", "the kernel's\n")
            sink.inform("kernel", "'a' → a.ipynb")
            sink.note("a.ipynb: 3 messages missing")
            sink.finish()

        made.user_ns["tell"] = tell
        yield made


def stderr_of(telling: InteractiveShell, *cells: str) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            telling.run_cell(cell, store_history=True)
    return err.getvalue()


@pytest.mark.parametrize("how", CAPTURES)
def test_a_loss_is_told_again_when_its_cell_is_over_and_only_once(telling: InteractiveShell, how: str) -> None:
    assert stderr_of(telling, CAPTURES[how], "1", "%%capture\n1") == TOLD
    assert TOLD in telling.user_ns["kept"].stderr, "it is in its place as well"


@pytest.mark.parametrize("cell", ["tell()", "%%capture --no-stderr\ntell()", "%%time\ntell()"])
def test_what_was_seen_is_not_told_again(telling: InteractiveShell, cell: str) -> None:
    assert stderr_of(telling, cell, "1", "%%capture\n1").count(TOLD) == 1


def test_a_stream_that_stays_is_told_once(telling: InteractiveShell) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        telling.run_cell("import io, sys\nsys.stderr = mine = io.StringIO()\ntell()")
        telling.run_cell("2")
    assert telling.user_ns["mine"].getvalue().count(TOLD) == 1


def test_a_later_capture_gets_nothing_of_it(telling: InteractiveShell) -> None:
    assert TOLD in stderr_of(telling, "tell()")
    stderr_of(telling, "%%capture kept\nprint('2')")
    assert telling.user_ns["kept"].stderr == ""


def test_nothing_of_it_is_left_in_the_shell(telling: InteractiveShell) -> None:
    before = {event: len(known) for event, known in telling.events.callbacks.items()}
    stderr_of(telling, CAPTURES["%%capture"], "1")
    assert {event: len(known) for event, known in telling.events.callbacks.items()} == before


class Shell:
    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": "m1"}}


@pytest.mark.parametrize("ends", [True, False])
def test_the_widget_that_takes_the_cell_s_output_is_left_and_entered_again(ipywidgets: Any, ends: bool) -> None:
    taking, other = ipywidgets.Output(msg_id="m1"), ipywidgets.Output(msg_id="m2")
    try:
        with outside(Shell()):
            assert (taking.msg_id, other.msg_id) == ("", "m2")
            if not ends:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (taking.msg_id, other.msg_id) == ("m1", "m2")
    for widget in (taking, other):
        widget.close()


def test_widgets_one_in_the_other_are_not_left(ipywidgets: Any) -> None:
    both = [ipywidgets.Output(msg_id="m1") for _ in range(2)]
    with outside(Shell()):
        assert [it.msg_id for it in both] == ["m1", "m1"]
    for widget in both:
        widget.close()


def test_where_there_is_no_cell_nothing_is_left(ipywidgets: Any) -> None:
    widget = ipywidgets.Output(msg_id="m1")
    with outside(object()):
        assert widget.msg_id == "m1"
    widget.close()


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
