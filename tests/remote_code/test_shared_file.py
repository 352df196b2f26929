"""Files in memory, and in a folder, that two processes of one user share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel_bridge_magic.remote_code.codec import codec

CODEC = codec()
VALUE = b"x" * 100_000


@pytest.fixture
def parcel() -> Any:
    return CODEC.pack({"x": VALUE}, {}, 10**6)


@pytest.fixture
def shared(parcel: Any, tmp_path: Path) -> Iterator[Any]:
    file = CODEC.share(parcel, str(tmp_path))
    yield file
    file.close()


def read(place: Any, parcel: Any, folder: Path, most: int = 10**6) -> Any:
    whole = CODEC.open_shared(place, parcel.size, str(folder))
    return None if whole is None else CODEC.unpack(memoryview(whole), parcel.sizes, parcel.crc, most)[0]["x"]


def test_it_is_in_memory_and_has_no_name(shared: Any, parcel: Any, tmp_path: Path) -> None:
    assert shared.place == [os.getpid(), shared.handle] and shared.path == ""
    assert read(shared.place, parcel, tmp_path) == VALUE
    assert not list(tmp_path.iterdir())
    handle = shared.handle
    shared.close()
    shared.close()
    with pytest.raises(OSError):
        os.fstat(handle)
    assert read([os.getpid(), handle], parcel, tmp_path) is None


def test_nobody_can_change_it_or_cut_it_off(shared: Any) -> None:
    for change in (lambda: os.truncate(shared.handle, 1), lambda: os.pwrite(shared.handle, b"y", 0)):
        with pytest.raises(OSError):
            change()


def test_a_large_array_stands_where_it_arrived_and_is_its_reader_s_own(tmp_path: Path) -> None:
    array = np.arange(CODEC.KEPT // 4, dtype="<f8")
    parcel = CODEC.pack({"x": array}, CODEC.libraries(), 10**9)
    file = CODEC.share(parcel, str(tmp_path))
    assert file.crc is None
    one, other = (read(file.place, parcel, tmp_path, 10**9) for _ in range(2))
    file.close()
    one[0] = 7
    assert (one[0], other[0], array[0]) == (7, 0, 0) and one.flags.writeable and one.flags.aligned
    assert one[1:].tobytes() == array[1:].tobytes() == other[1:].tobytes()
    assert type(one) is np.ndarray and one.base is not None


def test_what_is_the_smaller_part_is_copied(tmp_path: Path) -> None:
    """All that came would stay in memory as long as that part."""
    values = [np.zeros(CODEC.KEPT, "u1"), np.ones(CODEC.KEPT, "u1")]
    parcel = CODEC.pack({"x": values}, CODEC.libraries(), 10**9)
    with contextlib.closing(CODEC.share(parcel, str(tmp_path))) as file:
        assert all(part.base is None for part in read(file.place, parcel, tmp_path, 10**9))


def test_a_file_in_the_folder_has_a_checksum(parcel: Any, tmp_path: Path) -> None:
    with contextlib.closing(CODEC.written(parcel, CODEC.SharedFile(str(tmp_path), memory=False))) as file:
        assert file.crc == parcel.crc == zlib.crc32(parcel.to_bytes())


def test_pieces_of_it_can_be_read(shared: Any, parcel: Any) -> None:
    whole = bytes(parcel.to_bytes())
    assert shared.read(10, 2000) == whole[10:2000]


@pytest.mark.parametrize("why", ["no memory", "no such call"])
def test_without_memory_it_is_in_the_folder(
    why: str, parcel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(12, "no memory")

    if why == "no memory":
        monkeypatch.setattr(os, "memfd_create", full)
    else:
        monkeypatch.delattr(os, "memfd_create")
    folder = tmp_path / "folder"
    file = CODEC.share(parcel, str(folder))
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert read(file.place, parcel, folder) == VALUE
    assert not list(folder.iterdir())
    assert file.read(0, 10) == bytes(parcel.to_bytes()[:10])
    file.close()


def test_one_that_nobody_opens_goes_when_it_is_closed(
    parcel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    file = CODEC.share(parcel, str(tmp_path))
    file.close()
    assert not list(tmp_path.iterdir())


def test_what_others_have_left_goes_after_an_hour(parcel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    old, other = tmp_path / ("a" * 32), tmp_path / "somebody's"
    for path in (old, other):
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    CODEC.share(parcel, str(tmp_path)).close()
    assert list(tmp_path.iterdir()) == [other]


def test_a_place_with_no_room_at_all_leaves_nothing(
    parcel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, view: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(CODEC.SharedFile, "write", full)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError):
        CODEC.share(parcel, str(tmp_path))
    assert not list(tmp_path.iterdir()) and len(os.listdir("/proc/self/fd")) == len(before)


# -- places that lie


@pytest.mark.parametrize(
    "place", [[], [1], ["x"], [None, None], ["../x"], ["1", 2, 3], [-1, -1], [2**70, 1], ["a" * 32]]
)
def test_a_place_that_is_none_is_nothing(place: Any, parcel: Any, tmp_path: Path) -> None:
    assert CODEC.open_shared(place, parcel.size, str(tmp_path)) is None


def test_other_files_are_not_opened(parcel: Any, tmp_path: Path) -> None:
    unsealed = os.memfd_create("kernel_bridge", 3)
    os.ftruncate(unsealed, parcel.size)
    foreign = os.memfd_create("other", 3)
    fcntl.fcntl(foreign, CODEC.ADD_SEALS, CODEC.SEALS)
    reading, writing = os.pipe()
    ordinary = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    os.ftruncate(ordinary, parcel.size)
    for handle in (unsealed, foreign, reading, ordinary):
        assert CODEC.open_shared([os.getpid(), handle], parcel.size, str(tmp_path)) is None
        os.close(handle)
    os.close(writing)


def test_links_fifos_and_other_sizes_in_the_folder_are_not_read(parcel: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(parcel.to_bytes()))
    (tmp_path / ("a" * 32)).symlink_to(secret)
    os.mkfifo(tmp_path / ("b" * 32))
    (tmp_path / ("c" * 32)).write_bytes(b"short")
    for letter in "abc":
        assert CODEC.open_shared([letter * 32], parcel.size, str(tmp_path)) is None
    assert secret.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_another_process_opens_it(shared: Any, parcel: Any) -> None:
    code = f"import os; print(os.stat('/proc/{shared.place[0]}/fd/{shared.place[1]}').st_size)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) == parcel.size
