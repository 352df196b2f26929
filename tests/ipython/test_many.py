"""One cell on many kernels, from a real IPython shell, over a real server."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.errors import AmbiguousKernel, BadOption, KernelNotFound, NotRun
from kernel_bridge_magic.jobs.results import RemoteErrors, RemoteResults
from tests.support.servers import JupyterServer
from tests.support.shells import bridged_shell, run

NAMES = ("east", "north", "south", "west")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("many")) as server:
        yield server


@pytest.fixture(scope="module")
def ids(server: JupyterServer) -> dict[str, str]:
    ids = server.start_kernels(*(f"students/{name}.ipynb" for name in NAMES))
    return dict(zip(NAMES, ids.values(), strict=True))


@pytest.fixture
def shell(server: JupyterServer, ids: dict[str, str], tmp_path: Path) -> Iterator[InteractiveShell]:
    with bridged_shell(tmp_path, server.runtime_dir) as made:
        yield made


def captured(shell: InteractiveShell, code: str) -> list[str]:
    """The lines that a cell shows under `%%capture`."""
    run(shell, f"%%capture kept\nget_ipython().run_cell({code!r}).raise_error()")
    return blocks(shell.user_ns["kept"].stdout)


def blocks(text: str) -> list[str]:
    """The lines that were shown, without times."""
    return re.sub(r" (in )?\d+\.\d s", "", text).removesuffix("\n").split("\n")


def test_a_cell_runs_on_all_that_match(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%remote --all students\nprint('hello')\n6 * 7")
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(f"[{name}] {text}" for name in NAMES for text in ("hello", "42"))
    assert blocks(err) == ["kernel-bridge: 4 kernels: 4 ok"]


def test_what_is_captured_is_the_end(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shown = captured(shell, "%%remote --all students\nprint('hello')\n6 * 7")
    assert shown == ["── east, north, south, west (4): ok", "hello", "42", "4 kernels: 4 ok"]
    assert capsys.readouterr() == ("", "")


def test_a_list_needs_no_all(shell: InteractiveShell) -> None:
    shown = captured(shell, "%%remote --no-group north,south\nprint('hello')")
    assert shown == ["── north: ok", "hello", "── south: ok", "hello", "2 kernels: 2 ok"]
    assert captured(shell, "%%remote 'n*,west'\n1")[-1] == "2 kernels: 2 ok"


def test_a_line_gives_a_dict_that_is_a_table(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%remote --all students\nimport os; name = os.getpid()")
    capsys.readouterr()
    results = run(shell, "r = %remote --all students name % 1 + 5\nr")
    assert isinstance(results, RemoteResults) and list(results) == [f"students/{name}.ipynb" for name in NAMES]
    assert [result.text for result in results.values()] == ["5"] * 4 and results["north"].text == "5"
    assert "name   result  seconds  state" in capsys.readouterr().out


def test_one_error_tells_of_all(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%%remote west\nbad = True")
    code = "if 'bad' in globals(): 1 / 0\nprint('fine')"
    with pytest.raises(RemoteErrors) as raised:
        run(shell, f"%%remote --all --result r students\n{code}")
    assert "ZeroDivisionError" in str(raised.value._render_traceback_())
    assert "[west] ZeroDivisionError" in capsys.readouterr().err
    shown = captured(shell, f"%%remote --all --no-raise-error students\n{code}")
    assert shown[:3] == ["── east, north, south (3): ok", "fine", "── west: failed"]
    assert shown[-1] == "4 kernels: 3 ok, 1 failed (west)" and "ZeroDivisionError: division by zero" in shown
    assert shell.user_ns["r"]["west"].status == "error" and shell.user_ns["r"]["north"].status == "ok"
    run(shell, f"%%remote --all --no-raise-error students\n{code}")
    run(shell, "%%remote west\ndel bad")


def test_what_goes_wrong_before_anything_is_sent(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    for line, error in [
        ("--all nobody", KernelNotFound), ("north,nobody", KernelNotFound), ("north,students", AmbiguousKernel),
        ("--all --bg students", BadOption), ("--all --durable students", BadOption), ("-j 2 north", BadOption),
        ("--bg north,south", BadOption), ("--all --bg -j 2 students", BadOption),
        ("--no-group north", BadOption), ("--if-busy skip north", BadOption), ("-j 0 --all students", BadOption),
    ]:  # fmt: skip
        with pytest.raises(error):
            run(shell, f"%%remote {line}\nran = 1")
    monkeypatch.setattr("kernel_bridge_magic.jobs.consent.MOST_UNASKED", 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(NotRun, match="--yes"):
        run(shell, "%%remote --all students\nran = 1")
    results = run(shell, "%remote --all --yes students 'ran' in globals()")
    assert {result.text for result in results.values()} == {"False"}


def test_progress_and_updates_are_as_they_end(shell: InteractiveShell) -> None:
    assert captured(shell, "%%remote --all students\nfor n in range(5): print(f'\\r{n}', end='')")[1:-1] == ["4"]
    code = "print('gone'); clear_output(); d = display('old', display_id=True)\nd.update('new')"
    assert captured(shell, f"%%remote --all students\nfrom IPython.display import clear_output\n{code}")[1:-1] == [
        "'new'"
    ]
