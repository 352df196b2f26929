"""Kernels that a process starts without a server: they live as long as it does, and leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.children import Children
from kernel_bridge_magic.bridge.starting import wanted
from kernel_bridge_magic.errors import CannotConnect, KernelDied, KernelNotFound
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.models import Kernel
from tests.support.servers import private_env, wait_for
from tests.support.terminal import Terminal


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in private_env(tmp_path).items():
        if name.startswith(("JUPYTER", "IPYTHON")):
            monkeypatch.setenv(name, value)
    return tmp_path / "runtime"


def kernels_in(runtime: Path) -> list[psutil.Process]:
    """The processes that were started with a connection file of that directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(runtime) in word for word in process.info["cmdline"] or ()) and "ipykernel_launcher" in str(
            process.info["cmdline"]
        ):
            found.append(process)
    return found


def is_empty(runtime: Path) -> bool:
    return not list(runtime.iterdir()) and not kernels_in(runtime)


def test_a_child_is_started_restarted_and_ended(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "the-parents-own.ipynb")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "north.ipynb").write_text('{"metadata": {"kernelspec": {"name": "python3"}}}')
    with contextlib.closing(Bridge(face=MAGICS)) as bridge:
        north = bridge.starting.start(wanted(str(tmp_path / "work" / "north.ipynb")), as_child=True).kernel
        scratch = bridge.starting.start(wanted("python3", "scratch"), as_child=True)
        assert scratch.select == "scratch" and scratch.kernel.title == "scratch" and scratch.kernel.server is None
        assert bridge.find("north").id == north.id and bridge.find("scratch").id == scratch.kernel.id
        there = bridge.pool.connect(north)
        assert there.execute("import os; os.getcwd()").text == repr(str(tmp_path / "work"))
        beside = bridge.pool.connect(scratch.kernel)
        beside.execute("life = 1")
        first = there.execute("os.getpid()").text
        bridge.life.restart(bridge.find_to("restart", "north"))
        again = bridge.pool.connect(bridge.find("north"))
        assert again.execute("'os' in globals()").text == "False"
        assert again.execute("import os; os.getpid()").text != first
        assert beside.is_open and beside.execute("life").text == "1"
        bridge.life.shutdown(bridge.find_to("shutdown", "north"))
        with pytest.raises(KernelNotFound):
            bridge.find("north")
        assert not Path(north.connection_file).exists()
        assert beside.execute("life").text == "1"
        assert all(mode & 0o077 == 0 for mode in (it.stat().st_mode for it in runtime.iterdir()))
    assert is_empty(runtime)


def test_what_does_not_start_leaves_nothing_behind(runtime: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "kernels" / "broken"
    folder.mkdir()
    argv = [sys.executable, "-c", "import sys; sys.exit('no')", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Broken"}))
    children = Children()
    assert "broken" in children.specs()
    with pytest.raises(CannotConnect, match=r"^the kernel broken did not start"):
        children.start("broken", "b")
    assert not list(runtime.iterdir())
    children.close()
    with pytest.raises(CannotConnect, match="this shell has ended"):
        children.start("python3")
    assert is_empty(runtime)


def test_what_was_started_elsewhere_is_no_child(runtime: Path) -> None:
    children = Children()
    kernel = Kernel("x", connection_file=str(runtime / "kernel-x.json"))
    assert not children.has(kernel) and not children.shutdown(kernel)


def test_none_comes_up_behind_the_end_of_its_shell(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children, calls = Children(), []
    closing = threading.Thread(target=children.close)

    class Manager:
        provisioner = None

        def __init__(self, **given: object) -> None:
            self.start_channels = self.stop_channels = lambda: None

        def start_kernel(self, **given: object) -> None:
            calls.append("start")

        def restart_kernel(self, **given: object) -> None:
            closing.start()
            closing.join(0.2)  # it waits for us
            calls.append("restart")

        def shutdown_kernel(self, **given: object) -> None:
            calls.append("shutdown")

        def blocking_client(self) -> Manager:
            return self

        def wait_for_ready(self, **given: object) -> None:
            pass

    monkeypatch.setattr("jupyter_client.manager.KernelManager", Manager)
    kernel = Kernel("x", connection_file=children.start("python3"))
    children.restart(kernel)
    closing.join()
    assert calls == ["start", "restart", "shutdown"]
    with pytest.raises(KernelDied, match=r"^x was ended, and did not start again \(it was shut down, or this"):
        children.restart(kernel)


SHELL = """
import os, sys
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.starting import wanted
bridge = Bridge()
bridge.starting.start(wanted("python3", "scratch"), as_child=True)
if sys.argv[1:]:
    if os.fork() == 0:
        sys.exit()  # its end is not that of the shell
    os.wait()
print("started", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_shell(runtime: Path, number: signal.Signals | None) -> None:
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, *(["forks"] if number is None else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    with shell:
        assert shell.stdin is not None and shell.stdout is not None
        assert shell.stdout.readline() == "started\n"
        assert len(kernels_in(runtime)) == 1
        if number is None:
            shell.stdin.close()
        else:
            shell.send_signal(number)
        shell.wait(30)
    wait_for(lambda: not kernels_in(runtime), "the end of the child")
    assert len(list(runtime.iterdir())) == (number is not None), "what is killed cannot take its file away"
    with contextlib.closing(Bridge()) as bridge:  # a connection file that a killed shell has left is no kernel
        assert not bridge.kernels()
        with pytest.raises(KernelNotFound):
            bridge.find("scratch")


def test_a_child_that_does_not_start_again_is_said(runtime: Path, tmp_path: Path) -> None:
    once = (
        f"import os, runpy, sys; sys.exit(1) if os.path.exists({str(tmp_path / 'once')!r}) else None\n"
        f"open({str(tmp_path / 'once')!r}, 'w').close(); runpy.run_module('ipykernel_launcher', run_name='__main__')"
    )
    folder = tmp_path / "data" / "kernels" / "once"
    folder.mkdir()
    argv = [sys.executable, "-c", once, "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Once", "language": "python"}))
    with contextlib.closing(Bridge()) as bridge:
        kernel = bridge.starting.start(wanted("once", "scratch"), as_child=True).kernel
        with pytest.raises(KernelDied, match=r"^scratch was ended, and did not start again \("):
            bridge.life.restart(kernel)
        with pytest.raises(KernelNotFound):
            bridge.find("scratch")
    assert is_empty(runtime)


def test_it_ends_with_an_ipython_terminal(runtime: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, runtime) as terminal:
        assert "started scratch, which ends with this shell: %%remote scratch runs a cell" in terminal.run(
            "%kernels --start python3 --name scratch"
        ).replace("\n", " ")
        assert terminal.run("%remote scratch 6 * 7").endswith("42")
        (kernel,) = kernels_in(runtime)
        terminal.start("%%remote scratch\nimport time\nprint('begun')\ntime.sleep(60)")
        terminal.wait_for("begun")
        terminal.interrupt()  # of the terminal's processes the child is none
        terminal.finish()
        assert kernel.is_running() and terminal.run("%remote scratch 6 * 7").endswith("42")
        terminal.exit()
    wait_for(lambda: is_empty(runtime), "the end of the child, and of its file")
