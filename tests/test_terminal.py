"""`%kernels` and `%%remote` in an IPython terminal of 80 columns: what somebody without a browser sees."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import JupyterServer, Process, private_env, wait_for
from tests.support.terminal import Terminal

NOTEBOOK = "terminal/notes.ipynb"


class JupyterKernel(Process):
    """What `jupyter kernel` starts: a kernel that no server knows, found by its connection file."""

    def __init__(self, directory: Path, runtime_dir: Path) -> None:
        before = set(runtime_dir.glob("kernel-*.json"))
        argv = [str(Path(sys.executable).with_name("jupyter-kernel")), "--kernel=python3"]
        self._spawn(argv, private_env(directory, runtime_dir), directory, directory / "kernel.log")
        wait_for(lambda: set(runtime_dir.glob("kernel-*.json")) - before, "the connection file of `jupyter kernel`")


@pytest.fixture(scope="module")
def terminal(jupyter_server: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    (jupyter_server.root / "terminal").mkdir(exist_ok=True)
    started = [jupyter_server.start_kernel(path=NOTEBOOK), jupyter_server.start_kernel("bash", "terminal/shell.ipynb")]
    home = tmp_path_factory.mktemp("jupyter-kernel")
    alone = JupyterKernel(home, jupyter_server.runtime_dir)
    try:
        with Terminal(tmp_path_factory.mktemp("terminal"), jupyter_server.runtime_dir) as terminal:
            # The first cell of a kernel that is still starting says that it waits; that is not the matter here.
            for match in ("notes", "'jupyter kernel'", "shell"):
                wait_for(lambda match=match: "no kernel" not in terminal.run(f"%remote -q {match} true=1"), match)
            yield terminal
    finally:
        alone.stop()
        for kernel_id in started:
            jupyter_server.delete_kernel(kernel_id)


@pytest.fixture(params=["notes", "jupyter kernel"])
def there(request: pytest.FixtureRequest) -> str:
    """A MATCH: of a notebook's kernel behind a server, then of one without a server."""
    return str(request.param)


def test_kernels_fit_80_columns(terminal: Terminal) -> None:
    lines = terminal.run("%kernels").splitlines()
    assert lines[0].startswith("Out[")
    head, *rows = lines[1:]
    assert head.split() == ["#", "name", "kernel", "state", "idle", "server", "id"]
    assert len(rows) >= 3
    for title in ("name", "kernel", "state", "server", "id"):
        place = head.index(title + " ") if title != "id" else head.rindex("id")
        assert all(row[place] != " " and row[place - 2 : place] == "  " for row in rows), title
    assert all(len(line) <= 80 for line in lines)
    (notes,) = [row for row in rows if NOTEBOOK in row]
    assert "Python 3" in notes and "idle" in notes and "localhost:" in notes
    (alone,) = [row for row in rows if "jupyter kernel" in row]
    assert "Python 3" in alone and "–" in alone
    (shell,) = [row for row in rows if "terminal/shell.ipynb" in row]
    assert "Bash" in shell
    assert "terminal/shell.ipynb" in terminal.run("%kernels bash")


def test_stream_with_carriage_return(terminal: Terminal, there: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    terminal.start(
        f"%%remote -q {there}\nimport os, time\ngo = (\n"
        + "".join(f"  {str(go)[n : n + 50]!r}\n" for n in range(0, len(str(go)), 50))
        + ")\nprint('step 1/2', end='', flush=True)\nwhile not os.path.exists(go):\n    time.sleep(0.02)\n"
        "print('\\rstep 2/2')"
    )
    terminal.wait_for("step 1/2")  # it moves while the cell runs
    go.touch()
    assert terminal.finish() == "step 2/2"


def test_result(terminal: Terminal, there: str) -> None:
    out = terminal.run(f"%%remote -q {there}\nprint('first')\n6 * 7")
    assert out.startswith("first\nOut[") and out.endswith("]: 42")
    count = out.partition("Out[")[2].partition("]")[0]
    assert terminal.run(f"_.text, Out[{count}].text").endswith("('42', '42')")
    assert terminal.run(f"x = %remote -q '{there}' 40+2") == ""
    assert terminal.run("x").endswith("]: 42")


def test_table_and_picture_say_what_they_are(terminal: Terminal) -> None:
    out = terminal.run("%%remote -q notes\nfrom IPython.display import HTML\ndisplay(HTML('<b>x</b>'))")
    assert out == "<IPython.core.display.HTML object>"


def test_traceback(terminal: Terminal, there: str) -> None:
    lines = terminal.run(f"%%remote -q {there}\ndef share(n):\n    return 12 / n\nshare(0)").splitlines()
    assert lines[0] == "-" * 75
    assert lines[1].split() == ["ZeroDivisionError", "Traceback", "(most", "recent", "call", "last)"]
    assert any(line.startswith("Cell In[") for line in lines)
    assert "----> 3 share(0)" in lines
    assert lines[-2] == "ZeroDivisionError: division by zero"
    assert re.fullmatch(r"\(in (terminal/notes\.ipynb|jupyter kernel \w+|jupyter kernel)\)", lines[-1])
    assert "kernel_bridge" not in "\n".join(lines)  # nothing of ours in between


def test_input(terminal: Terminal, there: str) -> None:
    terminal.start(f"%%remote -q {there}\nname = input('who? ')\nprint('hello', name)")
    terminal.wait_for("who?")
    terminal.type("ann")
    assert terminal.finish() == "who? ann\nhello ann"


def test_getpass(terminal: Terminal) -> None:
    terminal.start("%%remote -q notes\nimport getpass\nprint(len(getpass.getpass('secret: ')))")
    terminal.wait_for("secret:")
    terminal.type("hunter22")
    assert terminal.finish().split() == ["secret:", "8"]
    assert "hunter22" not in "\n".join(terminal.screen)


def test_one_interrupt_stops_the_cell_over_there(terminal: Terminal, there: str) -> None:
    terminal.start(f"%%remote -q {there}\nimport time\nprint('on')\ntime.sleep(60)")
    terminal.wait_for("on")
    terminal.interrupt()
    lines = terminal.finish().splitlines()
    assert lines[-2].startswith("KeyboardInterrupt") and lines[-1].startswith("(in ") and "interrupted" not in lines[-1]
    assert "----> 3 time.sleep(60)" in lines
    assert terminal.run(f"%%remote -q {there}\n'usable'").endswith("]: 'usable'")


@pytest.mark.bounded
def test_two_interrupts_leave_it_running(terminal: Terminal, there: str) -> None:
    terminal.start(
        f"%%remote -q {there}\nimport signal, time\nbefore = signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('on', flush=True)\nend = time.monotonic() + 3\nwhile time.monotonic() < end:\n    time.sleep(0.02)\n"
        "went_on = True\nx = signal.signal(signal.SIGINT, before)"
    )
    terminal.wait_for("on")
    terminal.interrupt()
    time.sleep(0.3)  # still there: nothing is to happen after the first
    began = time.monotonic()
    terminal.interrupt()
    said = terminal.finish(5).replace("\n", "")  # it wraps
    assert time.monotonic() - began < 1.5  # 0.5 s, and room for a busy machine
    assert re.search(rf"LeftRunning: \S*{there}\S*: no longer waiting; the cell is still running there$", said)
    assert terminal.run(f"%%remote -q {there}\nwent_on").endswith("]: True")


def test_bash(terminal: Terminal) -> None:
    assert terminal.run("%%remote -q shell\necho one; echo two >&2\nexport kept=3") == "one\ntwo"
    assert terminal.run("%%remote -q shell\necho $kept {a,b}") == "3 a b"
    lines = terminal.run("%%remote -q shell\necho before\n(exit 42)").splitlines()
    assert lines == ["before", "exit status 42 (in terminal/shell.ipynb)"]  # the kernel says no more
    last = terminal.run("%%remote -q shell\nno_such_command").splitlines()[-1]
    assert last == "exit status 127 (in terminal/shell.ipynb)"
    outcome = terminal.run("try:\n    get_ipython().run_cell_magic('remote', '-q shell', 'false')\n"
                           "except Exception as e:\n    print([e.ename, e.evalue])")  # fmt: skip
    assert outcome == "['', '1']"


def test_interrupts_bash(terminal: Terminal) -> None:
    terminal.start("%%remote -q shell\necho on; sleep 60")
    terminal.wait_for("on")
    terminal.interrupt()
    terminal.finish(10)
    assert terminal.run("%%remote -q shell\necho usable") == "usable"


def test_refusals_are_one_line(terminal: Terminal) -> None:
    said = " ".join(terminal.run("%%remote bee_keeper\n1").split())
    assert said.startswith("KernelNotFound: no running kernel matches 'bee_keeper' (looked at ")
    assert terminal.run("%%remote re:[\n1").startswith("BadMatch: bad regular expression '['")
    assert terminal.run("%%remote notes\n   \n").count("\n") <= 1


def test_a_bar_of_rich_is_drawn_over(terminal: Terminal) -> None:
    out = terminal.run(
        "%%remote -q notes\nfrom rich.progress import track\nfor n in track(range(3), 'at work'):\n  pass"
    )
    assert len(out.splitlines()) == 1
    assert out.startswith("at work ━") and "100%" in out


def test_a_bar_of_tqdm_notebook_is_drawn_over(terminal: Terminal) -> None:
    out = terminal.run(
        "%%remote -q notes\nfrom tqdm.notebook import tqdm\nfor n in tqdm(range(4), mininterval=0):\n  pass"
    )
    assert len(out.splitlines()) == 1
    assert out.startswith("100%|") and "4/4" in out


def test_output_that_comes_late_is_shown_above_the_prompt(terminal: Terminal, there: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    names = "".join(f"  {str(go)[n : n + 50]!r}\n" for n in range(0, len(str(go)), 50))
    terminal.run(
        f"%%remote -q {there}\nimport os, threading, time\ngo = (\n{names})\ndef later():\n"
        "  while not os.path.exists(go): time.sleep(0.02)\n  print('came late')\n"
        "threading.Thread(target=later).start()\nprint('done')"
    )
    go.touch()
    terminal.wait_for("came late")
    done, whose, late = [line for line in terminal.finish().splitlines() if line]
    assert (done, late) == ("done", "came late")
    assert whose.startswith("terminal/notes.ipynb" if there == "notes" else there)
    assert whose.endswith(" shows this after its cell has ended")


def test_an_interrupt_of_nobody_here_is_no_other_client_s_for_certain(terminal: Terminal) -> None:
    said = terminal.run("%%remote -q notes\nraise KeyboardInterrupt('of its own')").splitlines()
    whose = "(in terminal/notes.ipynb, interrupted there by another client, or by its own code)"
    assert said[-3:-1] == ["KeyboardInterrupt: of its own", whose[:80]] or said[-1] == whose
    shown = terminal.run("%%remote -q --no-raise-error notes\n{}['key']").splitlines()
    assert shown[-2:] == ["KeyError: 'key'", "(in terminal/notes.ipynb)"]


@pytest.mark.parametrize("left", ["\\x1b[30;40mx", "\\x1b]0;x", "x\\x1b["])
def test_what_a_cell_leaves_open_conceals_nothing_of_ours(terminal: Terminal, left: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    names = "".join(f"  {str(go)[n : n + 50]!r}\n" for n in range(0, len(str(go)), 50))
    code = f"import os, time\ngo = (\n{names})\nprint('on\\n{left}', end='', flush=True)\n"
    said = terminal.run(
        f"%%remote -q --timeout 3 notes\n{code}while not os.path.exists(go): time.sleep(0.02)"
    ).splitlines()
    go.touch()
    assert said[0] == "on" and any(line.startswith("TimedOut: ") for line in said)
    assert terminal.is_plain("TimedOut: ")
    assert terminal.run("%remote -q notes 1+1").endswith("]: 2")  # it is free for the next test


@pytest.mark.parametrize("code", ["print('x', end='')", "print('\\x1b[31mred\\x1b[0m', end='')"])
def test_where_nothing_of_ours_is_said_nothing_is_added(terminal: Terminal, code: str) -> None:
    here = terminal.run(code)
    terminal.raw.clear()
    assert terminal.run(f"%%remote -q notes\n{code}") == here
    assert "\x18" not in "".join(terminal.raw)


def test_pictures_are_drawn_where_ipython_draws_its_own(jupyter_server: JupyterServer, tmp_path: Path) -> None:
    pytest.importorskip("IPython.core.kitty", reason="an IPython that draws no pictures")
    kernel_id = jupyter_server.start_kernel(path="terminal/pictures.ipynb")
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    half = len(png) // 2
    make = f"import base64\nfrom IPython.display import Image\npng = ('{png[:half]}'\n       '{png[half:]}')\n"
    try:
        with Terminal(tmp_path, jupyter_server.runtime_dir, env={"IPYTHON_KITTY_GRAPHICS": "1"}) as terminal:
            for last in ("display(Image(base64.b64decode(png)))", "Image(base64.b64decode(png))"):
                drawn = []
                for magic in ("", f"%%remote -q {kernel_id}\n"):
                    terminal.raw.clear()
                    terminal.run(f"{magic}{make}{last}")
                    drawn.append(re.findall(r"\x1b_Ga=T,f=100,m=0;([^\x1b]*)\x1b", "".join(terminal.raw)))
                assert drawn == [[png], [png]], last
    finally:
        jupyter_server.delete_kernel(kernel_id)


def test_unload(terminal: Terminal) -> None:
    terminal.run("%unload_ext kernel_bridge_magic")
    assert terminal.run("%kernels").startswith("UsageError: Line magic function `%kernels` not found")
    terminal.run("%load_ext kernel_bridge_magic")
    assert terminal.run("%remote -q notes 1+1").endswith("]: 2")


def test_a_restart_asks_first(terminal: Terminal) -> None:
    terminal.run("%remote -q notes life = 1")
    terminal.start("%kernels --restart notes")
    terminal.wait_for(f"restart {NOTEBOOK}? [y/N]")
    terminal.type("no")
    assert terminal.finish().endswith(f"nothing was done to {NOTEBOOK}")
    assert terminal.run("%remote -q notes life").endswith("1")
    terminal.start("%kernels --restart notes")
    terminal.wait_for("[y/N]")
    terminal.type("y")
    assert re.search(rf"restarted {NOTEBOOK} in \d+\.\d s; its variables are gone$", terminal.finish())
    assert terminal.run("%remote -q notes 'life' in globals()").endswith("False")


def test_ctrl_c_at_the_question_is_no(terminal: Terminal) -> None:
    terminal.run("%remote -q notes life = 2")
    terminal.start("%kernels --shutdown notes")
    terminal.wait_for("[y/N]")
    terminal.interrupt()
    assert "interrupted; nothing was done" in terminal.finish().replace("\n", " ")
    assert terminal.run("%remote -q notes life").endswith("2")


@pytest.fixture(params=["IPython", "jupyter console"])
def typed_at(request: pytest.FixtureRequest, terminal: Terminal, tmp_path: Path) -> Iterator[Terminal]:
    """Where somebody types, beside the kernels of `terminal`."""
    if request.param == "IPython":
        yield terminal
        return
    runtime_dir = request.getfixturevalue("jupyter_server").runtime_dir
    with Terminal(tmp_path, runtime_dir, console=True) as console:
        yield console


def test_tab_and_the_question_mark_in_a_cell_of_the_other_kernel(typed_at: Terminal) -> None:
    terminal = typed_at
    terminal.run("%%remote -q notes\ndef mean_there(values):\n    'doc of mean_there'\nmean_of_all = 1")
    terminal.hold("%remote notes mean")
    terminal.tab("mean_of_all")
    assert any("mean_there" in line for line in terminal.screen)
    terminal.leave()
    terminal.hold("%remote --no-")
    terminal.tab("--no-raise-error")
    terminal.leave()
    assert "doc of mean_there" in terminal.run("%%remote -q notes\nmean_there?")
