"""The file for what is too much to show: a real one, in a runtime directory of the test's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_bridge_magic.overflow import Overflow


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "runtime"


def test_it_is_made_with_the_first_text_and_the_user_s_only(directory: Path) -> None:
    spool = Overflow()
    assert spool.path == "" and not directory.exists()
    spool.write("aé\n")
    spool.write("\ud800")
    file = Path(spool.path)
    assert file.parent == directory
    assert file.read_bytes() == "aé\n\\ud800".encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    spool.close()
    assert file.exists()
    spool.remove()
    spool.remove()
    assert list(directory.iterdir()) == []


def test_it_goes_with_its_process(directory: Path) -> None:
    code = "from kernel_bridge_magic.overflow import Overflow; s = Overflow(); s.write('x'); print(open(s.path).read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x\n"
    assert list(directory.iterdir()) == []


def test_a_forked_process_leaves_it(directory: Path) -> None:
    spool = Overflow()
    spool.write("x")
    spool._pid = os.getpid() + 1
    spool.remove()
    assert Path(spool.path).exists()


def test_a_place_that_takes_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file"))
    spool = Overflow()
    spool.write("x")
    assert spool.path == "" and spool.problem
