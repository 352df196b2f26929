"""A test that hangs ends its process, and the run goes on without it."""

from __future__ import annotations

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


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *options]
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pytest; sys.exit(pytest.main({argv[3:]!r}))"
    return subprocess.run([sys.executable, "-c", path], capture_output=True, text=True, cwd=folder)


def test_where_it_hangs_is_said(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr and "in test_hangs" in done.stderr


def test_it_is_a_failure_and_the_others_run(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    done = run(tmp_path, "-n", "1")
    assert "crashed while running 'test_it.py::test_hangs'" in done.stdout
    assert "crashed while running 'test_it.py::test_fails_and_hangs'" in done.stdout
    assert "AssertionError: first" in done.stdout
    assert "3 failed, 2 passed" in done.stdout
