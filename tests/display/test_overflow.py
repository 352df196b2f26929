"""The file for what is too much to show: a real one, in a runtime directory of the test's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_bridge_magic.display.overflow import Kept, Overflow, Shelf


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


def test_one_that_is_kept_outlives_its_process_for_a_day(directory: Path) -> None:
    code = "from kernel_bridge_magic.display.overflow import Kept; s = Kept(); s.write('x'); print(s.path)"
    kept = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        kept.append(Path(done.stdout.strip()))
    assert [file.read_text() for file in kept] == ["x", "x"]
    other = directory / "kernel-bridge-output-1-x.txt"
    other.touch()
    for file in (kept[0], other):
        os.utime(file, (0, 0))
    new = Kept()
    new.write("y")
    assert set(directory.iterdir()) == {kept[1], other, Path(new.path)}


def test_it_goes_with_its_process(directory: Path) -> None:
    imported = "from kernel_bridge_magic.display.overflow import Overflow"
    code = f"{imported}; s = Overflow(); s.write('x'); print(open(s.path).read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x\n"
    assert list(directory.iterdir()) == []


def test_a_forked_process_leaves_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Overflow()
    spool.write("x")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    spool.remove()
    assert Path(spool.path).exists()


def test_a_place_that_takes_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file"))
    spool = Overflow()
    spool.write("x")
    assert spool.path == "" and spool.problem


def test_it_begins_anew_in_the_same_file(directory: Path) -> None:
    spool = Overflow()
    spool.write("first")
    spool.close()
    path = spool.path
    spool.restart()
    spool.write("2")
    spool.close()
    assert (spool.path, Path(path).read_text(), spool.size) == (path, "2", 1)
    Path(path).unlink()  # by its user, who may
    spool.restart()
    spool.write("third")
    assert spool.path != path and Path(spool.path).read_text() == "third"
    spool.remove()


def test_a_forked_process_begins_a_file_of_its_own(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Overflow()
    spool.write("x")
    path = spool.path
    monkeypatch.setattr(os, "getpid", lambda: -1)
    spool.restart()
    spool.write("y")
    assert Path(path).read_text() == "x"
    assert Path(spool.path).read_text() == "y"


def test_a_shelf_has_one_file_for_each_key(directory: Path) -> None:
    shelf = Shelf()
    one = shelf.put("one", ["a", "b"])
    assert shelf.put("one", ["c"]).path == one.path
    assert Path(one.path).read_text() == "c"
    assert len({one.path, shelf.put("two", ["d"]).path, shelf.put("", ["e"]).path, shelf.put("", ["f"]).path}) == 4
    assert len(list(directory.iterdir())) == 4


def test_a_shelf_has_room_for_the_newest(directory: Path) -> None:
    shelf = Shelf(most=100)
    for key in ("one", "two", "one", "three"):  # "two" is the oldest by then
        shelf.put(key, ["x" * 40])
    assert len(list(directory.iterdir())) == 2
    large = shelf.put("", ["y" * 1000])
    assert [str(path) for path in directory.iterdir()] == [large.path]


def test_a_shelf_without_a_place_keeps_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file"))
    shelf = Shelf()
    assert shelf.put("one", ["x"]).problem
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert Path(shelf.put("one", ["y"]).path).read_text() == "y"
