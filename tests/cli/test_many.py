"""`kernel-bridge exec --all`: one piece of code on many kernels, from a shell."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import Forked
from tests.support.servers import JupyterServer, wait_for

NAMES = ("east", "north", "south", "west")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("many")) as server:
        for name in NAMES:
            server.wait_for_kernel(server.start_kernel(path=f"students/{name}.ipynb"))
        yield server


@pytest.fixture(scope="module")
def run(server: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Forked(server.env, tmp_path_factory.mktemp("streams")) as forked:
        yield lambda *arguments: forked.run("exec", *arguments)


@pytest.fixture
def started(server: JupyterServer) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_bridge_magic", "exec", *arguments],
            env=server.env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


#: A cell that waits for a file: it ends also where an interrupt did not come to it.
UNTIL = "import os, time\ndef until(path):\n    while not os.path.exists(path): time.sleep(0.02)"


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Path]:
    """The file whose being there ends what cells wait for."""
    yield tmp_path / "go"
    (tmp_path / "go").touch()


def wait_until_all_run(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until the cells of all kernels have begun, as they say in a folder."""
    wait_for(lambda: process.poll() is not None or len(list(folder.iterdir())) == len(NAMES), "the cells")
    assert process.poll() is None, process.communicate()


def begins_in(folder: Path, rest: str) -> str:
    """Return code that says in a folder that it runs; nothing is printed, since one may read only JSON."""
    folder.mkdir()
    return f"import os, time\nopen({str(folder)!r} + f'/{{os.getpid()}}', 'w').close()\n{rest}"


def model(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_line_stands_behind_its_kernel_s_name(run: Run) -> None:
    done = run("--all", "students", "-c", "print('hello'); 6 * 7")
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == sorted(f"[{name}] {text}" for name in NAMES for text in ("hello", "42"))
    assert done.stderr.startswith("kernel-bridge: 4 kernels in ") and done.stderr.endswith(" s: 4 ok\n")


def test_json_has_an_object_for_each(run: Run) -> None:
    done = run("north,west", "-c", "6 * 7", "--json")
    found = model(done)
    assert (done.returncode, done.stderr, found["status"], found["error"]) == (0, "", "ok", None)
    assert [(it["kernel"]["name"], it["result"], it["fate"]) for it in found["results"]] == [
        ("students/north.ipynb", "42", "ok"), ("students/west.ipynb", "42", "ok")
    ]  # fmt: skip


def test_the_status_is_the_worst_that_came_of_one(run: Run) -> None:
    assert run("west", "-c", "bad = True").returncode == 0
    done = run("--all", "students", "-c", "1 / (not globals().get('bad'))", "--json")
    assert (done.returncode, model(done)["status"]) == (1, "error")
    assert [it["status"] for it in model(done)["results"]] == ["ok", "ok", "ok", "error"]
    code = "import time; time.sleep(3 * bool(globals().get('bad')))"
    assert run("--all", "students", "-c", code, "--timeout", "1").returncode == 124
    assert run("west", "-c", "del bad").returncode == 0


def test_where_a_name_means_several_all_of_them_can_be_meant(run: Run) -> None:
    done = run("students", "-c", "ran = 1")
    assert done.returncode == 2 and done.stderr.endswith("\nor --all to run it on all of them\n")


def test_what_cannot_be_done_is_one_line(run: Run) -> None:
    for arguments in (
        ("--all", "nobody"), ("north,nobody",), ("-j", "2", "north"), ("--if-busy", "skip", "north"), ("--all",),
        ("--all", "students", "--durable"), ("--all", "-j", "0", "students"), ("--no-group", "north"),
    ):  # fmt: skip
        done = run(*arguments, "-c", "ran = 1")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert "False" in run("north", "-c", "'ran' in globals()").stdout


def test_ctrl_c_interrupts_all(started: Callable[..., subprocess.Popen[str]], go: Path) -> None:
    process = started("--all", "students", "-c", f"{UNTIL}\nprint('on', flush=True)\nuntil({str(go)!r})")
    assert process.stdout is not None
    # What is printed has come here: until then a cell counts as queued, and would be left there.
    assert sorted(process.stdout.readline() for _ in NAMES) == [f"[{name}] on\n" for name in NAMES]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert " s: 4 failed (east, north, south, west)\n" in err and err.count("KeyboardInterrupt") >= 4


def test_ctrl_c_is_an_outcome_of_each_in_json(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, go: Path
) -> None:
    code = begins_in(tmp_path / "on", f"{UNTIL}\nuntil({str(go)!r})")
    process = started("--all", "students", "-c", code, "--json")
    wait_until_all_run(process, tmp_path / "on")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    # Of a kernel whose word for it was still on its way the cell counts as queued.
    assert {it["error"]["name"] for it in json.loads(out)["results"]} <= {"KeyboardInterrupt", "LeftRunning"}
    assert len(json.loads(out)["results"]) == 4


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_is_left_running_is_told(
    started: Callable[..., subprocess.Popen[str]], run: Run, tmp_path: Path, go: Path, number: int, status: int
) -> None:
    deaf = "import signal\nbefore = signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    hears = "x = signal.signal(signal.SIGINT, before); went_on = 1"
    code = begins_in(tmp_path / "on", f"{UNTIL}\nuntil({str(go)!r})\n{hears}")
    process = started("--all", "students", "-c", deaf + code, "--json")
    wait_until_all_run(process, tmp_path / "on")
    process.send_signal(number)
    if number == signal.SIGINT:
        assert process.stderr is not None
        process.send_signal(number)
        # Two signals at once may be one.
        wait_for(lambda: process.poll() is not None or process.send_signal(number), "its end", every=0.5)
    out, _ = process.communicate(timeout=30)
    go.touch()
    assert process.returncode == status
    assert [it["fate"] for it in json.loads(out)["results"]] == ["left running"] * 4
    assert run("--all", "students", "-c", "assert went_on").returncode == 0


def test_a_pipe_that_is_closed_leaves_them_running_and_says_so(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, go: Path
) -> None:
    prints = f"print('on', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02); print('x', flush=True)"
    process = started("--all", "students", "-c", begins_in(tmp_path / "on", prints))
    wait_until_all_run(process, tmp_path / "on")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    go.touch()
    assert process.wait(30) == 141
    assert "kernel-bridge: 4 kernels: 4 left running (east, north, south, west)\n" in err


@pytest.fixture(scope="module")
def eleven(server: JupyterServer) -> Iterator[None]:
    """More kernels than a cell runs on without a question."""
    more = [server.start_kernel(path=f"more/{n}.ipynb") for n in range(11)]
    yield
    for kernel_id in more:
        server.delete_kernel(kernel_id)


@pytest.mark.usefixtures("eleven")
def test_where_nobody_can_be_asked_yes_is_named(run: Run) -> None:
    for json_too in ([], ["--json"]):
        done = run("--all", "more", "-c", "ran = 1", *json_too)
        assert done.returncode == 2 and "11 kernels (" in done.stderr and "Add --yes" in done.stderr


@pytest.mark.usefixtures("eleven")
@pytest.mark.parametrize(
    ("piped", "answer", "status"),
    [("stdout", b"n\n", 2), ("stdout", b"\x04", 2), ("stdout", b"y\n", 0), ("stderr", b"n\n", 2)],
)
def test_the_question_is_seen_where_the_output_goes_elsewhere(
    server: JupyterServer, piped: str, answer: bytes, status: int
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kernel_bridge_magic", "exec", "--all", "more", "-c", "6 * 7"]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, piped: subprocess.PIPE}
    try:
        with subprocess.Popen(command, env=server.env, start_new_session=True, **streams) as process:  # type: ignore[call-overload]
            os.close(theirs)
            seen = b""
            while not seen.endswith(b"? [y/N] "):
                seen += os.read(ours, 1000)
            assert seen.startswith(b"run this on 11 kernels (more/0.ipynb, ")
            os.write(ours, answer)
            piped_out, piped_err = process.communicate(timeout=60)
            output = piped_out or piped_err or b""
        assert process.returncode == status and b"[y/N]" not in output
        if piped == "stdout":
            assert output.count(b"42\n") == (0 if status else 11)
    finally:
        os.close(ours)
