"""`%autoremote` in an IPython terminal and in `jupyter console`: the whole list of cells, and plain Enter."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.servers import JupyterServer
from tests.support.terminal import Terminal
from tests.support.typed import BEGUN, CELLS, HERE, NAME, SETUP, THERE

PROMPT = re.compile(r"In \[\d+ → (.+)\]:")


@pytest.fixture(scope="module", params=["ipython", "console"])
def terminal(
    request: pytest.FixtureRequest, jupyter_server: JupyterServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    directory, is_console = tmp_path_factory.mktemp("typed"), request.param == "console"
    with (
        jupyter_server.kernel(f"{NAME}.ipynb"),
        Terminal(
            directory, jupyter_server.runtime_dir, columns=120, lines=60, console=is_console, setup=SETUP
        ) as terminal,
    ):
        yield terminal


def is_console(request: pytest.FixtureRequest) -> bool:
    return "console" in request.node.name


def place(terminal: Terminal) -> str:
    """What the prompt says."""
    found = PROMPT.match([line for line in terminal.screen if line][-1])
    return "" if found is None else found[1]


def test_all_that_somebody_types(terminal: Terminal, request: pytest.FixtureRequest) -> None:
    console = is_console(request)
    assert BEGUN in "\n".join(terminal.screen)
    for typed in CELLS:
        # The console itself takes `exit`, and shows no figure.
        code = "%autoremote off" if console and typed.code == "exit" else typed.code
        shows = "" if console and typed.shows == "<Figure size" else typed.shows
        text = terminal.run(code)
        mark = f"→ {NAME}.ipynb"
        assert (mark in text) is (console and not typed.here and bool(text)), f"{typed.code}:\n{text}"
        bare = text.replace(mark, "").strip()
        assert re.search(shows, bare) if shows else not bare, f"{typed.code}:\n{text}"
    assert place(terminal) == ""


def test_enter_runs_what_is_complete(terminal: Terminal, request: pytest.FixtureRequest) -> None:
    def enter(line: str) -> str:
        terminal.hold(line)
        return terminal.enter("").replace(f"→ {NAME}.ipynb\n", "").partition("]: ")[2]

    terminal.run("%%local\nwho = 'here'")
    terminal.run(SETUP[1])
    assert place(terminal) == ("" if is_console(request) else NAME)
    assert enter("who") == THERE
    assert enter("1 + 1") == "2"
    # a block goes on until a blank line
    terminal.hold("for n in range(2):")
    terminal.type("")
    terminal.hold("print('line', n)")
    terminal.type("")
    assert terminal.enter("").replace(f"→ {NAME}.ipynb\n", "").endswith("line 0\nline 1")
    terminal.start("print('begun'); import time; time.sleep(60)")
    terminal.wait_for("begun")
    terminal.interrupt()
    assert "KeyboardInterrupt" in terminal.finish()
    terminal.run("%autoremote off")
    assert enter("who") == HERE and place(terminal) == ""
