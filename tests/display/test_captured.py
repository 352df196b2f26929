"""What was lost is told outside whatever captures a cell's output, in a real IPython shell."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.terminal import TerminalSink
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


@pytest.fixture(params=[CappedSink, TerminalSink])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InteractiveShell]:
    with private_shell(tmp_path) as made:

        def tell() -> None:
            sink = request.param(made)
            sink.stream("stderr", "the kernel's\n")
            sink.inform("kernel", "'a' → a.ipynb")
            sink.note("a.ipynb: 3 messages missing")
            sink.finish()

        made.user_ns["tell"] = tell
        yield made


def stderr_of(shell: InteractiveShell, *cells: str) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            shell.run_cell(cell, store_history=True)
    return err.getvalue()


@pytest.mark.parametrize("how", CAPTURES)
def test_a_loss_is_told_again_when_its_cell_is_over_and_only_once(shell: InteractiveShell, how: str) -> None:
    assert stderr_of(shell, CAPTURES[how], "1", "%%capture\n1") == TOLD
    assert TOLD in shell.user_ns["kept"].stderr, "it is in its place as well"


@pytest.mark.parametrize("cell", ["tell()", "%%capture --no-stderr\ntell()", "%%time\ntell()"])
def test_what_was_seen_is_not_told_again(shell: InteractiveShell, cell: str) -> None:
    assert stderr_of(shell, cell, "1", "%%capture\n1").count(TOLD) == 1


def test_a_stream_that_stays_is_told_once(shell: InteractiveShell) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        shell.run_cell("import io, sys\nsys.stderr = mine = io.StringIO()\ntell()")
        shell.run_cell("2")
    assert shell.user_ns["mine"].getvalue().count(TOLD) == 1


def test_a_later_capture_gets_nothing_of_it(shell: InteractiveShell) -> None:
    assert TOLD in stderr_of(shell, "tell()")
    stderr_of(shell, "%%capture kept\nprint('2')")
    assert shell.user_ns["kept"].stderr == ""


def test_nothing_of_it_is_left_in_the_shell(shell: InteractiveShell) -> None:
    before = {event: len(known) for event, known in shell.events.callbacks.items()}
    stderr_of(shell, CAPTURES["%%capture"], "1")
    assert {event: len(known) for event, known in shell.events.callbacks.items()} == before
