from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files, runtime_dirs
from kernel_bridge_magic.discovery.server_files import read_servers
from tests.support.planted import info, plant, reasons

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


def test_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert runtime_dirs() == (str(tmp_path), "/run/user/7/jupyter", "/run/user/7/jupyter/runtime")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/run/user/7/jupyter/")
    assert runtime_dirs() == ("/run/user/7/jupyter", "/run/user/7/jupyter/runtime")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("JUPYTER_RUNTIME_DIR")
    assert len(runtime_dirs()) == 1


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("{}")
    path.symlink_to(target)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.alone
@pytest.mark.parametrize("make", [_fifo, _socket, _link, _loop, _device, Path.mkdir])
@pytest.mark.parametrize("name", ["jpserver-1.json", "kernel-1.json"])
def test_what_is_no_regular_file(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    short = Path(os.path.relpath(tmp_path))  # a unix socket's path is at most 107 bytes long
    make(short / name if make is _socket else tmp_path / name)
    start = time.monotonic()
    assert len(reasons(tmp_path)) == 1
    assert time.monotonic() - start < 0.5
    assert os.path.lexists(tmp_path / name)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_writable_by_others(runtime: Path, listener: int, mode: int) -> None:
    plant(runtime, info(listener), mode=mode)
    assert reasons(runtime) == ["others may write to it"]
    runtime.chmod(0o700)  # now nobody else can reach the file
    assert len(read_servers(read_runtime_files([str(runtime)]).servers, Vault())[0]) == 1


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_directory_that_everybody_writes_to(runtime: Path, listener: int, mode: int) -> None:
    plant(runtime, info(listener))
    runtime.chmod(mode)
    [reason] = reasons(runtime)
    assert "everybody may write" in reason


@ROOT_ONLY
def test_other_owners(runtime: Path, listener: int) -> None:
    os.chown(plant(runtime, info(listener)), 65534, 65534)
    assert reasons(runtime) == ["it belongs to another user (uid 65534)"]
    os.chown(runtime, 65534, 65534)
    assert reasons(runtime) == ["the directory belongs to another user (uid 65534)"]


def test_bad_directories(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    names = ["missing", "file", "fifo", "a\0b", "x" * 300]
    files = read_runtime_files([str(tmp_path / name) for name in names])
    assert [Path(item.path).name for item in files.skipped] == names[1:]
    assert files.servers == files.kernels == []


def test_one_directory_by_two_names_counts_once(runtime: Path, listener: int, tmp_path: Path) -> None:
    plant(runtime, info(listener))
    (tmp_path / "link").symlink_to(runtime)
    for _ in range(20):
        files = read_runtime_files([str(runtime), str(tmp_path / "link")])
        assert [item.path for item in files.servers] == [str(runtime / "jpserver-1.json")]
