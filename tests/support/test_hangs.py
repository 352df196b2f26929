"""A test that hangs ends its process, and the run goes on without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
import signal
from tests.support.hangs import Hangs
from tests.support.turns import Turns

def pytest_configure(config):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # pytest-timeout reaches nobody
    config.pluginmanager.register(Turns())
    config.pluginmanager.register(Hangs(0.2, grace=0.8))
    for mark in ("bounded", "alone"):
        config.addinivalue_line("markers", mark)
"""
TESTS = """
import threading, pytest

@pytest.fixture
def slow_to_go():
    yield
    threading.Event().wait()

def test_before(): pass
def test_hangs(): threading.Event().wait()
def test_fails_and_hangs(slow_to_go): raise AssertionError("first")
def test_after(): pass
"""
#: whose turn comes when the other processes have nothing left to do
LATE = """
import threading, pytest

def test_early(): pass
@pytest.mark.bounded
@pytest.mark.parametrize("number", range(4))
def test_bounded(number): assert number != 2 or threading.Event().wait()
@pytest.mark.alone
@pytest.mark.parametrize("number", range(4))
def test_alone(number): assert number != 1 or threading.Event().wait()
"""


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    for number in range(3):
        (folder / f"test_small_{number}.py").write_text("def test_small(): pass")
    (folder / "test_it.py").write_text(tests)
    # Of the run that this test is of it knows nothing.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *options]
    return subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True)


def test_where_it_hangs_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS)
    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr and "in test_hangs" in done.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_is_a_failure_and_the_others_run(processes: str, tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    done = run(tmp_path, TESTS, "-n", processes)
    assert "crashed while running 'test_it.py::test_hangs'" in done.stdout
    assert "crashed while running 'test_it.py::test_fails_and_hangs'" in done.stdout
    assert "AssertionError: first" in done.stdout
    assert "3 failed, 5 passed" in done.stdout


@pytest.mark.parametrize("processes", ["1", "3"])
def test_those_behind_it_have_their_turn(processes: str, tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    done = run(tmp_path, LATE, "-n", processes)
    assert "crashed while running 'test_it.py::test_bounded[2]'" in done.stdout
    assert "crashed while running 'test_it.py::test_alone[1]'" in done.stdout
    assert "2 failed, 10 passed" in done.stdout
