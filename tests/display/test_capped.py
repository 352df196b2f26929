"""Head and tail of what is too much, against a real shell and a real file."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.display import capped
from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.overflow import Shelf
from kernel_bridge_magic.display.throttle import Allowance
from kernel_bridge_magic.errors import remote_error
from tests.support.shells import private_shell

LIMIT = 1760  # 1650 bytes at once, 110 held; the end of a line takes two
LINE = "x" * 9 + "\n"


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(capped, "_bundles", Shelf(most=5000))
    return tmp_path / "runtime"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[InteractiveShell]:
    with private_shell(tmp_path) as made:
        yield made


@pytest.fixture
def sink(shell: InteractiveShell) -> CappedSink:
    return CappedSink(shell, LIMIT, largest=LIMIT)


def test_what_is_just_not_too_much_is_shown_unchanged(
    sink: CappedSink, capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    for _ in range(160):
        sink.stream("stdout", LINE)
    assert capsys.readouterr().out == LINE * 150
    sink.finish()
    assert capsys.readouterr() == (LINE * 10, "")
    assert not directory.exists()


def test_an_error_stands_behind_the_text_that_was_held_before_it(
    sink: CappedSink, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.stream("stdout", LINE * 155)
    sink.error(remote_error("E", "v", ("the traceback",)))
    out = capsys.readouterr().out
    assert out.startswith(LINE * 155) and "the traceback" in out


@pytest.mark.parametrize("together", [1, 7, 5000])
def test_of_more_head_and_tail_are_shown_and_all_is_kept(
    sink: CappedSink, capsys: pytest.CaptureFixture[str], together: int, directory: Path
) -> None:
    lines = [f"{number:09}\n" for number in range(5000)]
    for start in range(0, 5000, together):
        sink.stream("stdout", "".join(lines[start : start + together]))
    sink.finish()
    shown = capsys.readouterr()
    assert len(shown.out) <= LIMIT + LIMIT // 128
    assert shown.out.startswith("".join(lines[:150]))
    tail = shown.out[1500:]
    assert tail and "".join(lines).endswith("\n" + tail)
    said = re.search(r"\n… ([\d,]+) lines \(0\.0 MB\) omitted; full output: (\S+)\n", shown.err)
    assert said
    assert int(said[1].replace(",", "")) == 5000 - shown.out.count("\n")
    assert Path(said[2]).read_text() == "".join(lines)
    assert Path(said[2]).parent == directory
    begins = (
        "kernel-bridge: too much output for a notebook: the end will be shown when the cell finishes; all of it is in"
    )
    assert shown.err.count(f"{begins} {said[2]} until this kernel ends\n") == 1


def test_text_that_is_held_comes_before_a_display(sink: CappedSink, capsys: pytest.CaptureFixture[str]) -> None:
    sink.stream("stdout", LINE * 155)
    sink.display({"text/plain": "shown"}, {}, "", False)
    assert capsys.readouterr().out == LINE * 155 + "shown\n"


def test_clearing_begins_anew(sink: CappedSink, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    sink.stream("stdout", LINE * 500)
    assert len(list(directory.iterdir())) == 1
    sink.clear(False)
    assert list(directory.iterdir()) == []
    capsys.readouterr()
    sink.stream("stdout", LINE * 100)
    assert capsys.readouterr() == (LINE * 100, "")


def test_a_bundle_that_is_too_large_is_a_line_and_a_file(sink: CappedSink, capsys: pytest.CaptureFixture[str]) -> None:
    sink.display({"text/plain": "small", "text/html": "y" * 2000}, {}, "", False)
    said = capsys.readouterr().out
    kept = r"it is in (\S+) until this kernel ends \(of such files the newest \S+ GiB are kept\)"
    found = re.fullmatch(rf"<text/html of 0\.0 MB is too large to show; {kept}>\n", said)
    assert found and Path(found[1]).read_text() == "y" * 2000


def test_an_animation_of_too_large_bundles_has_one_file(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    for frame in range(5):
        # The last by another cell, which has a sink of its own.
        CappedSink(shell, LIMIT, largest=LIMIT).display({"text/html": str(frame) * 2000}, {}, "kernel:plot", frame > 0)
    (file,) = directory.iterdir()
    assert file.read_text() == "4" * 2000
    assert capsys.readouterr().out.count(str(file)) == 5


def test_too_large_bundles_without_an_id_make_room_for_the_newest(
    sink: CappedSink, capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    for frame in range(5):
        sink.display({"text/html": str(frame) * 2000}, {}, "", False)
    assert sorted(file.read_text()[0] for file in directory.iterdir()) == ["3", "4"]
    last = capsys.readouterr().out.splitlines()[-1]
    found = re.search(r"in (\S+) until", last)
    assert found and Path(found[1]).read_text() == "4" * 2000
    assert "of such files the newest" in last


def test_without_a_place_for_it_that_is_said(
    sink: CappedSink, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file"))
    sink.stream("stdout", LINE * 500)
    sink.finish()
    assert "omitted; it could not be kept in a file (" in capsys.readouterr().err


def test_of_displays_that_do_not_pass_the_newest_are_shown_and_the_others_counted(
    sink: CappedSink, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8000):
        sink.display({"text/plain": str(number)}, {}, "", False)
    sink.stream("stdout", "text\n")
    sink.finish()
    shown = capsys.readouterr()
    numbers = [int(line) for line in shown.out.split() if line != "text"]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0 and numbers[-100:] == list(range(7900, 8000))
    said = re.search(r"kernel-bridge: (\d+) displays omitted: they came faster than this notebook's", shown.err)
    assert said and int(said[1]) == 8000 - len(numbers)


def test_of_updates_that_do_not_pass_the_newest_is_shown(sink: CappedSink, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8000):
        sink.display({"text/plain": str(number)}, {}, "bar", number > 0)
    sink.finish()
    shown = capsys.readouterr()
    assert shown.out.endswith("\n7999\n")
    assert shown.err == ""


def test_text_between_displays_counts_as_one(
    sink: CappedSink, capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    for _ in range(500):
        sink.stream("stdout", LINE)
        sink.display({"text/plain": "shown"}, {}, "", False)
    sink.finish()
    assert len(capsys.readouterr().out.replace("shown\n", "")) <= LIMIT + LIMIT // 16
    (file,) = directory.iterdir()
    assert file.read_text() == LINE * 500


def test_what_is_captured_goes_through_no_server_and_is_whole(sink: CappedSink, directory: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as captured:
        sink.stream("stdout", LINE * 5000)
        sink.finish()
    assert captured.getvalue() == LINE * 5000
    assert not directory.exists()


def test_an_animation_ends_with_its_last_picture(sink: CappedSink, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5000):
        sink.clear(True)
        sink.display({"text/plain": str(number)}, {}, "", False)
    sink.finish()
    shown = capsys.readouterr()
    assert shown.out.endswith("4999\n")
    assert shown.err == ""


class NothingLeft(Allowance):
    """What a server takes where something else has used it up: only what is reserved for the end."""

    def __init__(self) -> None:
        super().__init__(LIMIT)

    def take(self, size: int, now: float, *, ends: bool = False) -> float:
        return 0.0 if ends else now + 1e6


def test_what_must_not_be_dropped_is_shown_at_once_behind_all_that_was_put_off(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = CappedSink(shell, LIMIT, allowance=NothingLeft())
    for number in range(3000):
        sink.display({"text/plain": str(number)}, {}, "", False)
    for number in range(120):
        sink.display_now({"text/plain": f"heading {number}"}, {}, "", False)
    shown = capsys.readouterr()
    put_off = [str(number) for number in range(2900, 3000)]
    assert shown.out.splitlines() == [*put_off, *(f"heading {number}" for number in range(120))]
    assert "2900 displays omitted" in shown.err


def test_what_replaces_a_display_that_was_put_off_is_a_new_one(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        shell.display_pub, "publish", lambda **it: published.append((it["data"]["text/plain"], it["update"]))
    )
    sink = CappedSink(shell, LIMIT, allowance=NothingLeft())
    sink.display({"text/plain": "put off"}, {}, "bar", False)
    sink.display_now({"text/plain": "new"}, {}, "bar", True)
    sink.display_now({"text/plain": "newer"}, {}, "bar", True)
    assert published == [("new", False), ("newer", True)]
