"""Modules of ours that are reloaded one by one, as `%autoreload` and people who develop do: no cell waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import ConsoleKernel, private_env

#: `reload(NAMES)` does it; `cell(CODE)` runs a cell of a shell and gives what it printed and what it raised
_HEAD = """
import contextlib, faulthandler, importlib, io, pathlib, sys
faulthandler.dump_traceback_later(50, exit=True)
from tests.support.shells import private_shell

def ours():
    return sorted(name for name in sys.modules if name.split(".")[0] == "kernel_bridge_magic")

def reload(names):
    for name in names:
        importlib.reload(sys.modules[name])

def cell(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        done = shell.run_cell(code)
    return out.getvalue(), done.error_in_exec or done.error_before_exec

with private_shell(pathlib.Path(sys.argv[1])) as shell:
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleKernel]:
    with ConsoleKernel(tmp_path_factory.mktemp("reloads") / "runtime") as kernel:
        yield kernel


def run(kernel: ConsoleKernel, directory: Path, body: str) -> None:
    env = private_env(directory, kernel.connection_file.parent)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), env.get("PYTHONPATH", "")]))
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", _HEAD + lines, str(directory)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "names",
    [
        "ours()",
        "reversed(ours())",
        "['kernel_bridge_magic.protocol.events']",
        "['kernel_bridge_magic.errors', 'kernel_bridge_magic.reloads']",
    ],
)
def test_the_next_cell_runs(kernel: ConsoleKernel, tmp_path: Path, names: str) -> None:
    run(
        kernel,
        tmp_path,
        f"""
cell("%load_ext kernel_bridge_magic")
assert cell("%remote x print(1 + 1)") == ("2\\n", None)
reload({names})
assert cell("%remote x print(2 + 2)") == ("4\\n", None)
text, error = cell("%remote x 1 / 0")
assert type(error).__name__ == "ZeroDivisionError", (text, error)
assert cell("%remote x print(3 + 3)") == ("6\\n", None)
assert cell("%kernels") [1] is None
cell("%unload_ext kernel_bridge_magic")
assert "remote" not in shell.magics_manager.magics["line"]
""",
    )


def test_reload_ext_mends_it_and_an_open_connection_says_what_is_wrong(kernel: ConsoleKernel, tmp_path: Path) -> None:
    run(
        kernel,
        tmp_path,
        """
cell("%load_ext kernel_bridge_magic")
import kernel_bridge_magic
held = kernel_bridge_magic.connect("x")
assert held.execute("1 + 1").value.text == "2"
reload(ours())
for connection in (held, kernel_bridge_magic.connect("x")):
    try:
        connection.execute("1 + 1")
    except Exception as error:
        assert "nothing was sent" in str(error) and "%reload_ext" in str(error), error
    else:
        raise AssertionError("it ran, or never would")
assert cell("%reload_ext kernel_bridge_magic")[1] is None
assert cell("%remote x print(2 + 2)") == ("4\\n", None)
assert kernel_bridge_magic.connect("x").execute("3 + 3").value.text == "6"
""",
    )


def test_the_package_itself_may_be_reloaded(kernel: ConsoleKernel, tmp_path: Path) -> None:
    run(
        kernel,
        tmp_path,
        """
cell("%load_ext kernel_bridge_magic")
import kernel_bridge_magic
held, known = kernel_bridge_magic.connect("x"), kernel_bridge_magic.RemoteError
importlib.reload(kernel_bridge_magic)
cell("%reload_ext kernel_bridge_magic")
assert held.execute("1 + 1").value.text == "2" and kernel_bridge_magic.RemoteError is known
""",
    )
