from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernel_bridge_magic.access.files import open_file
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
