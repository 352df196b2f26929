"""The demo, run for real."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_bridge_magic.cli import demo
from tests.support.servers import private_env, wait_for

COMMAND = [sys.executable, "-m", "kernel_bridge_magic", "demo"]


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "pandas" else name)
    assert demo.demo(shell=False) == 2
    assert capsys.readouterr().err == (
        "kernel-bridge: the demo needs pandas. Run pip install 'kernel_bridge_magic[demo]'\n"
    )


def test_demo_runs_to_its_end_and_cleans_up(tmp_path: Path) -> None:
    env = private_env(tmp_path, TMPDIR=str(tmp_path))
    done = subprocess.run(
        COMMAND, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for seen in ("analysis.ipynb", "training.ipynb", "Oslo", "<Figure", "step 5/5", "ZeroDivisionError"):
        assert seen in done.stdout
    assert not list(tmp_path.glob("kernel-bridge-demo-*"))


@pytest.mark.parametrize(("number", "after"), [(signal.SIGTERM, "starting"), (signal.SIGHUP, "In: %%remote analysis")])
def test_demo_that_is_told_to_end_leaves_nothing_behind(number: int, after: str, tmp_path: Path) -> None:
    def left() -> list[str]:
        """The processes that the demo has started: they know its directory."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(tmp_path).encode() in (process / "environ").read_bytes():
                    found.append(process.name)
        return found

    process = subprocess.Popen(
        COMMAND,
        env=private_env(tmp_path, TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while after not in process.stdout.readline():
        assert process.poll() is None
    wait_for(lambda: len(left()) > 1, "the server")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    wait_for(lambda: not left(), "the end of the server and its kernels")
    assert not list(tmp_path.glob("kernel-bridge-demo-*"))
