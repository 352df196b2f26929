"""Files of variables: whole or not at all, and over nothing."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.cli.files import Output, read
from kernel_bridge_magic.cli.formats import FORMATS, Format
from kernel_bridge_magic.errors import BadInput, NotCopied


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"12345")
    for path, most, says in (
        (str(tmp_path / "x.txt"), 4, "is larger than 4 bytes, so nothing was copied; --max-size SIZE allows more"),
        (str(tmp_path / "no.txt"), 9, "cannot be read (No such file or directory), so nothing was copied"),
        ("x.exe", 9, "has none of the suffixes that are known, which are .json, .npy, .arrow, .csv, .png and .txt"),
        ("a\0.txt", 9, "is a name that no file has"),
    ):
        with pytest.raises(BadInput) as problem:
            read(path, most, None)
        assert says in str(problem.value)
    with pytest.raises(BadInput, match="standard input is closed"):
        read("-", 9, None)
    with pytest.raises(BadInput, match="standard input is larger than 4 bytes"):
        read("-", 4, io.BytesIO(b"12345"))


def test_an_existing_file_is_replaced_only_where_that_was_said(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(BadInput, match=r"exists, so nothing was copied. --replace replaces it"):
        Output(str(path), replace=False)
    assert path.read_text() == "old"
    output = Output(str(path), replace=True)
    output.write("x", "new")
    assert (path.read_text(), output.replaced) == ("new", True)


def test_a_file_that_comes_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    output = Output(str(path), replace=False)
    path.write_text("theirs")
    with pytest.raises(BadInput, match="was made by somebody meanwhile"):
        output.write("x", "ours")
    assert [it.name for it in tmp_path.iterdir()] == ["x.txt"]
    assert path.read_text() == "theirs"


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    output = Output(str(tmp_path / "x.txt"), replace=False)
    output.write("x", "ours")
    assert [it.name for it in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "ours"
    output = Output(str(tmp_path / "y.txt"), replace=False)
    (tmp_path / "y.txt").write_text("theirs")
    with pytest.raises(BadInput, match="was made by somebody meanwhile"):
        output.write("x", "ours")
    assert (tmp_path / "y.txt").read_text() == "theirs"


def test_the_mode_is_that_of_any_new_file_and_a_link_stays(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        Output(str(tmp_path / "x.txt"), replace=False).write("x", "1")
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
    (tmp_path / "link.txt").symlink_to(tmp_path / "x.txt")
    Output(str(tmp_path / "link.txt"), replace=True).write("x", "2")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "x.txt").read_text() == "2"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "d.txt").mkdir()
    for path, says in (("no/x.txt", "is in a folder that does not exist"), ("d.txt", "is no file")):
        with pytest.raises(BadInput, match=says):
            Output(str(tmp_path / path), replace=True)


def test_a_folder_that_goes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    output = Output(str(tmp_path / "d" / "x.txt"), replace=False)
    (tmp_path / "d").rmdir()
    with pytest.raises(NotCopied, match=r"x was read, but .* could not be written"):
        output.write("x", "1")


class Refusing:
    """A format whose library raises something in the middle of its work."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem

    def write(self, value: Any, file: Any) -> None:
        file.write(b"half")
        warnings.warn("of a library, with a line of its source", UserWarning, stacklevel=1)
        raise self.problem

    def read(self, file: Any) -> Any:
        warnings.warn("of a library, with a line of its source", UserWarning, stacklevel=1)
        raise self.problem


PANIC = type("PanicException", (BaseException,), {})


@pytest.mark.parametrize(
    "problem", [ValueError("\x1b[2J"), KeyError("a"), OSError("no errno"), PANIC("rust"), TypeError()]
)
@pytest.mark.parametrize("before", [None, "old"])
def test_whatever_a_library_raises_is_one_line_and_leaves_no_file(
    tmp_path: Path, problem: BaseException, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.txt"
    if before is not None:
        path.write_text(before)
    form = Refusing(problem)
    monkeypatch.setitem(FORMATS, ".txt", Format(form.read, form.write))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadInput) as told:
            Output(str(path), replace=True).write("x", "new")
        name = type(problem).__name__
        assert str(told.value) == f"x cannot be written as .txt ({name}); convert it in the other kernel first"
        assert [it.read_text() for it in tmp_path.iterdir()] == ([] if before is None else [before])
        path.write_text("there")
        with pytest.raises(BadInput) as told:
            read(str(path), 99, None)
        assert str(told.value).endswith(f"cannot be read as .txt ({name}), so nothing was copied. Check the file")


@pytest.mark.parametrize("came", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_no_error_of_a_library(
    tmp_path: Path, came: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    form = Refusing(came())
    monkeypatch.setitem(FORMATS, ".txt", Format(form.read, form.write))
    with pytest.raises(came):
        Output(str(tmp_path / "x.txt"), replace=False).write("x", "new")
    assert list(tmp_path.iterdir()) == []


def test_memory_that_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = Refusing(MemoryError())
    monkeypatch.setitem(FORMATS, ".txt", Format(form.read, form.write))
    with pytest.raises(NotCopied, match="x was read, but writing it needs more memory than there is"):
        Output(str(tmp_path / "x.txt"), replace=False).write("x", "new")
