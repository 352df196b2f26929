"""One cell on many kernels, and jobs, in an IPython terminal: what stands on the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import JupyterServer, wait_for
from tests.support.terminal import Terminal

NAMES = ("east", "north", "west")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("many")) as server:
        for name in NAMES:
            server.wait_for_kernel(server.start_kernel(path=f"students/{name}.ipynb"))
        yield server


@pytest.fixture
def terminal(server: JupyterServer, tmp_path: Path) -> Iterator[Terminal]:
    go = f"GO = {str(tmp_path / 'go')!r}"
    with Terminal(tmp_path, server.runtime_dir, columns=200) as terminal:
        shown = terminal.run(f"%%remote --all students\nimport os, time\n{go}\nwho = os.environ['JPY_SESSION_NAME']")
        assert "3 kernels in " in shown
        yield terminal


HELD = "while not os.path.exists(GO): time.sleep(0.02)\n"


def test_each_kernel_has_a_line_while_it_runs_and_blocks_are_left(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start(
        "%%remote --all --no-raise-error students\n"
        f"for n in range(3): print(f'\\rstep {{n}}', end='', flush=True)\n{HELD}"
        "if 'west' in who: 1 / 0\nprint()"
    )
    for name in NAMES:
        terminal.wait_for(f"{name:5}  running  step 2")
    terminal.wait_for("3 kernels: 3 running (east, north, west)")
    (tmp_path / "go").touch()
    text = terminal.finish()
    lines = re.sub(r" (in )?\d+\.\d s", "", text).splitlines()
    assert lines[:3] == ["── east, north (2): ok", "step 2", "── west: failed"]
    assert lines[-2:] == ["ZeroDivisionError: division by zero", "3 kernels: 2 ok, 1 failed (west)"]
    assert "running" not in text  # the lines of before were drawn over


def test_one_interrupt_stops_all_and_a_second_one_leaves_all_running(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start("%%remote --all students\ntime.sleep(60)")
    terminal.wait_for("3 running")
    terminal.interrupt()
    text = terminal.finish()
    assert "KeyboardInterrupt" in text and "3 kernels in " in text and "RemoteErrors: " in text
    each = "".join(f"\n  students/{name}.ipynb: KeyboardInterrupt" for name in NAMES)
    assert f"the cell did not end well on 3 of 3 kernels{each}" in text
    stubborn = "import signal\nbefore = signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on', flush=True)\n"
    terminal.start(f"%%remote --all students\n{stubborn}{HELD}x = signal.signal(signal.SIGINT, before); went_on = True")
    for name in NAMES:
        terminal.wait_for(f"{name:5}  running  on")
    terminal.interrupt()
    terminal.wait_for("Ctrl-C again to leave it running there")
    terminal.interrupt()
    text = terminal.finish()
    assert text.count("LeftRunning") >= 3 and "3 left running (east, north, west)" in text
    (tmp_path / "go").touch()
    assert terminal.run("r = %remote --all students went_on\n[it.text for it in r.values()]").endswith(
        "['True', 'True', 'True']"
    )


def test_a_job_is_shown_above_what_is_being_typed(terminal: Terminal, tmp_path: Path) -> None:
    said = terminal.run(f"%%remote --bg --result job north\nprint('on')\n{HELD}print('done')\n1 / 0")
    assert "job 1 → students/north.ipynb: connecting" in said
    terminal.hold("half = 'typ")
    (tmp_path / "go").touch()
    terminal.hold("ed")  # it stands on the last line, whatever has come above
    wait_for(lambda: "job 1 → students/north.ipynb: failed 0:0" in shown(terminal), "the end of the job")
    assert terminal.screen[max(n for n, line in enumerate(terminal.screen) if line)].endswith("half = 'typed")
    text = shown(terminal)
    places = [text.index(it) for it in ("\non\n", "\ndone\n", "ZeroDivisionError: division by zero", ": failed 0:0")]
    assert places == sorted(places)
    terminal.enter("'")
    assert terminal.run("half").endswith("'typed'")


def test_a_job_takes_nothing_away_that_a_cell_here_has_printed(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(f"%%remote --bg north\nprint('half', end='', flush=True)\n{HELD}print(' J')")
    terminal.run("'IMPORTANT'")
    (tmp_path / "go").touch()
    wait_for(lambda: "north.ipynb: ok 0:0" in shown(terminal), "the end of the job")
    text = shown(terminal)
    places = [text.index(it) for it in ("connecting since", ": 'IMPORTANT'\n", "\nhalf J\n", "north.ipynb: ok")]
    assert places == sorted(places)
    assert text.count("connecting since") == 1


def test_a_capture_takes_nothing_of_a_job_that_runs_beside_it(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(f"%%remote --bg north\n{HELD}print('J')\ndisplay('D')\n1 / 0")
    go = tmp_path / "go"
    terminal.run("job = %jobs 1")
    terminal.run(f"%%capture cap\nopen({str(go)!r}, 'w').close()\nprint('mine')\nassert job.wait(20)")
    text = shown(terminal)
    places = [text.index(it) for it in ("\nJ\n", "\n'D'\n", "ZeroDivisionError: division by zero", ": failed 0:0")]
    assert places == sorted(places)
    assert terminal.run("cap.stdout, cap.stderr, cap.outputs").endswith(r"('mine\n', '', [])")


def test_a_table_that_is_watched_goes_on_below_what_a_job_has_printed(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(f"%%remote --bg north\n{HELD}print('J')")
    terminal.start("%kernels --watch 0.2")
    terminal.wait_for("west.ipynb")
    assert "west.ipynb" not in shown(terminal).partition("\nJ\n")[2]
    (tmp_path / "go").touch()
    # Its kernel is idle now, so that the table has changed.
    wait_for(lambda: "west.ipynb" in shown(terminal).partition("\nJ\n")[2], "the table below it")
    terminal.interrupt()
    terminal.finish()
    assert terminal.run("1 + 1").endswith("2")


def shown(terminal: Terminal) -> str:
    terminal.look()
    return "\n".join(terminal.screen)


@pytest.mark.bounded
def test_leaving_ends_at_once_and_says_what_is_left_running(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(f"%%remote --bg north\n{HELD}went_on = 'after the end'")
    terminal.run("%jobs")
    seconds = terminal.exit()
    assert "1 job left running: 1 (students/north.ipynb)" in "\n".join(terminal.screen)
    assert seconds < 1.5  # 1 s, and room for a busy machine
    (tmp_path / "go").touch()
