from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernel_bridge_magic.access.files import (
    Directory,
    create,
    is_foreign,
    open_file,
    others_may,
    read_object,
    truncate,
    try_lock,
)
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files


def test_a_directory_is_refused_and_not_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            open_file(str(tmp_path))
    (tmp_path / "kernel-1.json").mkdir()
    for _ in range(3):
        assert [item.reason for item in read_runtime_files([str(tmp_path)]).skipped] == [
            "cannot be read (Is a directory)"
        ]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with open_file(str(tmp_path / "fifo")) as file:
        assert file.read(1) == b""


@pytest.fixture(params=[True, False], ids=["below", "by path"])
def directory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Directory]:
    if not request.param:
        monkeypatch.setattr(os, "supports_dir_fd", set())
    with Directory(str(tmp_path)) as opened:
        yield opened


def test_a_directory_gives_what_stands_in_it(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert directory.names() == ["file"]
    assert directory.has("file") and not directory.has("other")
    assert directory.status().st_ino == tmp_path.stat().st_ino
    with directory.open_file("file") as file:
        assert file.read() == b"text"


def test_a_link_is_there_and_not_followed(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert directory.has("link")
    with pytest.raises(OSError) as problem:
        directory.open_file("link")
    assert problem.value.errno == errno.ELOOP


def test_a_link_is_refused_where_no_flag_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    monkeypatch.setattr("kernel_bridge_magic.access.files._NO_LINK", 0)
    (tmp_path / "link").symlink_to("/etc/hostname")
    with Directory(str(tmp_path)) as directory, pytest.raises(OSError) as problem:
        directory.open_file("link")
    assert problem.value.errno == errno.ELOOP


@pytest.mark.parametrize("below", [True, False])
def test_what_is_no_directory_is_refused(below: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not below:
        monkeypatch.setattr(os, "supports_dir_fd", set())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        Directory(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        Directory(str(tmp_path / "none"))


def test_a_file_of_ours_is_ours_only_and_takes_no_other_s_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.close(create(str(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create(str(path))
    path.write_text("text")
    os.close(truncate(str(path)))
    assert path.read_text() == ""
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError):
        truncate(str(tmp_path / "link"))


def test_whose_a_file_is_and_what_others_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch(0o606)
    status = (tmp_path / "file").stat()
    root = os.stat("/etc")
    assert not is_foreign(status) and others_may(status, 0o004) and not others_may(status, 0o040)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert is_foreign(status, root=False) and is_foreign(root, root=False) and not is_foreign(root)
    monkeypatch.delattr(os, "getuid")
    assert not is_foreign(status, root=False) and not others_may(status, 0o777)


@pytest.mark.parametrize("locks", [True, False])
def test_a_lock_is_held_by_one(locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not locks:
        monkeypatch.setitem(sys.modules, "fcntl", None)
    held = try_lock(str(tmp_path / "lock"))
    assert held is not None
    other = try_lock(str(tmp_path / "lock"))
    assert (other is None) == locks
    for handle in (held, other):
        if handle is not None:
            os.close(handle)
    again = try_lock(str(tmp_path / "lock"))
    assert again is not None
    os.close(again)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\0", "[" * 60_000, '{"a": 1}' + " " * 70_000])
def test_only_a_small_json_object_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kernel-1.json"
    path.write_text(text)
    with pytest.raises((OSError, ValueError)):
        read_object(str(path))
    path.write_text('{"shell_port": 1}')
    assert read_object(str(path)) == {"shell_port": 1}


def test_a_fifo_is_no_object(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not permitted"):
        read_object(str(tmp_path / "fifo"))


def test_a_lock_that_its_holder_took_away_just_now_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, flock = tmp_path / "lock", fcntl.flock

    def too_late(handle: int, how: int) -> None:
        lock.unlink()
        flock(handle, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", too_late)
        before = os.listdir("/dev/fd")
        assert try_lock(str(lock)) is None and not lock.exists()
        patch.setattr(fcntl, "flock", lambda handle, how: (too_late(handle, how), lock.touch()))
        assert try_lock(str(lock)) is None and lock.exists()
        assert len(os.listdir("/dev/fd")) == len(before), "its descriptor was left open"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_where_a_disk_has_no_locks_everybody_holds_it(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(fcntl, "flock", flock)
    if number == errno.EIO:
        with pytest.raises(OSError, match="no"):
            try_lock(str(tmp_path / "lock"))
        return
    held = [try_lock(str(tmp_path / "lock")) for _ in range(2)]
    assert None not in held
    for handle in held:
        os.close(handle or 0)


def test_a_lock_of_windows_is_asked_for_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def locking(handle: int, mode: int, count: int) -> None:
        asked.append((mode, count))
        if len(asked) > 1:
            raise OSError(errno.EACCES, "another process has it")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    held = try_lock(str(tmp_path / "lock"))
    assert held is not None and try_lock(str(tmp_path / "lock")) is None
    assert asked == [(2, 1), (2, 1)]
    os.close(held)
