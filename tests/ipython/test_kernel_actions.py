"""`%kernels --start`, `--restart`, `--shutdown` and `--interrupt`, as somebody types them."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import kernel_bridge_magic
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import BadInput, BadMatch, BadOption, KernelNotFound, NotRun
from kernel_bridge_magic.protocol.events import InputRequest
from tests.support.hostile import JSON, HostileServer
from tests.support.servers import JupyterServer
from tests.support.shells import bridged_shell, run
from tests.support.transports import found, known

NOBODY = "nobody can be asked here, so nothing was done to shared.ipynb. Add --yes to do it"


@pytest.fixture
def shell(jupyter_server: JupyterServer, tmp_path: Path) -> Iterator[InteractiveShell]:
    with bridged_shell(tmp_path, jupyter_server.runtime_dir) as shell:
        yield shell


def value(shell: InteractiveShell, line: str) -> object:
    run(shell, f"x = {line}")
    return shell.user_ns["x"].literal()


def test_a_kernel_from_its_start_to_its_end(
    shell: InteractiveShell, jupyter_server: JupyterServer, shared_kernel: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%remote shared beside = 1")
    capsys.readouterr()
    where = f"localhost:{jupyter_server.port}"
    steps = (
        (
            "%kernels --start python3 --name from-start",
            f"started from-start on {where}: %%remote from-start runs a cell in it",
        ),
        ("%remote from-start life = 1; print(life)", "1"),
        ("%kernels --interrupt from-sta", "from-start is idle; there was nothing to interrupt"),
        ("%kernels --restart --yes from-start", "; its variables are gone"),
        ("%remote from-start print('life' in globals())", "False"),
        ("%kernels --shutdown --yes from-start", "shut down from-start"),
    )
    for cell, says in steps:
        run(shell, cell)
        out, err = capsys.readouterr()
        assert says in out + err, cell
        assert len((out + err).strip().splitlines()) == 1, (cell, out, err)
    with pytest.raises(KernelNotFound):
        run(shell, "%remote from-start 1")
    assert value(shell, "%remote shared beside") == 1, "the other kernel is as it was"


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("--restart", BadMatch, "which kernel? Write %kernels --restart NAME"),
        ("--shutdown", BadMatch, "which kernel? Write %kernels --shutdown NAME"),
        (
            "--restart shared",
            NotRun,
            NOBODY,
        ),
        (
            "--shutdown shared",
            NotRun,
            NOBODY,
        ),
        (
            "--shutdown --yes share",
            BadMatch,
            "not the whole name of a kernel, so nothing was shut down. Did you mean",
        ),
        ("--restart --yes re:^shared", BadMatch, "not the whole name of a kernel, so nothing was restarted"),
        ("--name x", BadOption, "--name goes with --start"),
        ("--yes shared", BadOption, "--yes goes with --restart and --shutdown"),
        ("--interrupt --yes shared", BadOption, "--yes goes with --restart and --shutdown"),
        ("--restart --watch 2 shared", BadOption, "--restart and --watch cannot be given together"),
        ("--start python3 --name shared", BadInput, "a kernel is called shared already, so nothing was started"),
        ("--start shared.ipynb", BadInput, "shared.ipynb is open already, so nothing was started"),
    ],
)
def test_what_is_refused_changes_nothing(
    shell: InteractiveShell,
    jupyter_server: JupyterServer,
    shared_kernel: str,
    line: str,
    error: type[Exception],
    says: str,
) -> None:
    before = {it["id"] for it in jupyter_server.rest("GET", "api/kernels")}
    run(shell, "%remote shared beside = 2")
    with pytest.raises(error) as refused:
        run(shell, f"%kernels {line}")
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert value(shell, "%remote shared beside") == 2
    assert {it["id"] for it in jupyter_server.rest("GET", "api/kernels")} == before


def test_a_row_of_the_table_names_a_kernel_in_full(
    shell: InteractiveShell, own_kernel: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(shell, "%kernels")
    number = [it.id for it in rows].index(own_kernel) + 1
    run(shell, f"%kernels --restart --yes #{number}")
    assert f"restarted {rows[number - 1].title} in " in "".join(capsys.readouterr())


def test_a_notebook_asks_first(jupyter_server: JupyterServer, own_kernel: str) -> None:
    _, vault = known(jupyter_server)
    questions: list[str] = []
    with contextlib.closing(Pool(vault)) as pool:
        notebook = pool.connect(found(jupyter_server, own_kernel))

        def type_in(code: str, answer: str = "") -> str:
            """Run a cell as somebody who answers; give what it shows, or the error that it ends with."""
            execution = notebook.start(Cell(code, stdin=True, timeout=60))
            for event in execution:
                if isinstance(event, InputRequest):
                    questions.append(event.prompt)
                    execution.answer(answer)
            assert execution.result is not None
            shown = (it.get("data", {}).get("text/plain") or it.get("text", "") for it in execution.result.outputs)
            return str(execution.result.error or "".join(shown))

        package = Path(kernel_bridge_magic.__file__).parents[1]
        type_in(f"import sys; sys.path.insert(0, {str(package)!r})\n%load_ext kernel_bridge_magic")
        assert "started asked on localhost" in type_in("%kernels --start python3 --name asked")
        try:
            type_in("%remote asked life = 1")
            assert type_in("%kernels --restart asked", "n") == "nothing was done to asked"
            assert type_in("%remote asked print(life)") == "1\n"
            assert type_in("%kernels --restart asked", "y").startswith("restarted asked in ")
            assert type_in("%remote asked print('life' in globals())") == "False\n"
        finally:
            told = type_in("%kernels --shutdown asked", "yes")
        assert told == "shut down asked"
        assert questions == [*["restart asked? [y/N] "] * 2, "shut down asked? [y/N] "]
        assert "matches only this notebook's own kernel" in type_in(f"%kernels --restart --yes {own_kernel}")


@pytest.mark.parametrize(("line", "done"), [("--restart --yes", "restarted"), ("--interrupt", "interrupted")])
def test_ctrl_c_ends_the_wait_and_says_what_is_known(tmp_path: Path, line: str, done: str) -> None:
    with HostileServer() as hostile, bridged_shell(tmp_path, tmp_path / "none") as shell:
        hostile.state = "busy"
        let_go = threading.Event()

        def act(request: object) -> tuple[int, dict[str, str], str]:
            signal.raise_signal(signal.SIGINT)  # in another thread: the main one gets it
            let_go.wait(30)
            return 200, JSON, json.dumps({"id": "scripted"})

        hostile.kernels[0]["execution_state"] = "busy"
        for path in ("restart", "interrupt"):
            hostile.paths[f"/api/kernels/scripted/{path}"] = act
        shell.run_line_magic("servers", f"--add {hostile.url} --name lab")
        with pytest.raises(KeyboardInterrupt) as interrupted:
            run(shell, f"%kernels {line} scripted")
        assert not let_go.is_set()
        let_go.set()
        assert str(interrupted.value) == (f"interrupted; scripted may still be {done}. %kernels shows what there is")
