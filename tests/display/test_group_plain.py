"""Many kernels where there is no terminal: each line behind the name of its kernel."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from kernel_bridge_magic.display.group_plain import LinesSink, PlainGroups
from kernel_bridge_magic.display.groups import Shown
from kernel_bridge_magic.errors import Fate, NotRun, remote_error
from kernel_bridge_magic.results import RemoteValue


def test_lines_are_written_whole_as_they_end() -> None:
    out, err = io.StringIO(), io.StringIO()
    groups = PlainGroups(out, err)
    north, west = LinesSink("north", groups), LinesSink("west\x1b", groups)
    north.stream("stdout", "one\ntw")
    west.stream("stdout", "first\n")
    assert out.getvalue() == "[north] one\n[west\\x1b] first\n"
    north.stream("stdout", "o\n 0%\r100%\n")
    north.stream("stderr", "\x1b[31mred\x1b[0m\n")
    north.result(RemoteValue({"text/plain": "a\nb"}))
    north.display({"image/png": ""}, {}, "", False)
    north.display({}, {}, "", False)
    west.error(remote_error("E", "v", ["E:", " v"]))
    west.error(NotRun("west is busy"))
    west.stream("stdout", "no end")
    groups.paint([], [])
    groups.end([Shown("north", fate=Fate.OK), Shown("west", fate=Fate.FAILED)], 2, group=True)
    assert out.getvalue().splitlines()[2:] == [
        "[north] two", "[north] 100%", "[north] a", "[north] b", "[north] <image/png>", "[west\\x1b] no end"
    ]  # fmt: skip
    assert err.getvalue().splitlines() == [
        "[north] red", "[west\\x1b] E:", "[west\\x1b]  v", "[west\\x1b] NotRun: west is busy",
        "kernel-bridge: 2 kernels in 2.0 s: 1 ok, 1 failed (west)",
    ]  # fmt: skip


def test_a_line_without_end_is_written_in_parts() -> None:
    out = io.StringIO()
    north = LinesSink("north", PlainGroups(out, out))
    for _ in range(3):
        north.stream("stdout", "x" * 5_000)
    for number in range(3_000):
        north.stream("stdout", f"\r{number:6} of a bar")
    north.stream("stdout", "\nend\n")
    assert out.getvalue() == f"[north] {'x' * 10_000}\n[north]   2999 of a bar\n[north] end\n"


def test_what_is_no_stream_begins_a_line() -> None:
    out, err = io.StringIO(), io.StringIO()
    groups = PlainGroups(out, err)
    north, west = LinesSink("north", groups), LinesSink("west", groups)
    shows: list[Callable[[], None]] = [
        lambda: north.result(RemoteValue({"text/plain": "42"})),
        lambda: north.display({"text/plain": "table"}, {}, "", False),
        lambda: north.error(remote_error("E", "v", ["E: v"])),
        lambda: north.note("lost"),
    ]
    for number, show in enumerate(shows):
        north.stream("stdout", f"out {number}")
        north.stream("stderr", f"err {number}")
        west.stream("stdout", f"{number} ")
        show()
    groups.end([], 0, group=True)
    assert out.getvalue().splitlines() == [
        "[north] out 0", "[north] 42", "[north] out 1", "[north] table", "[north] out 2", "[north] out 3",
        "[west] 0 1 2 3 ",
    ]  # fmt: skip
    assert err.getvalue().splitlines() == [
        "[north] err 0", "[north] err 1", "[north] err 2", "[north] E: v", "[north] err 3",
        "[north] kernel-bridge: lost", "kernel-bridge: 0 kernels in 0.0 s: ",
    ]  # fmt: skip


def test_what_changes_an_earlier_display_begins_a_line() -> None:
    out = io.StringIO()
    north = LinesSink("north", PlainGroups(out, out))
    north.stream("stdout", "abc")
    north.display({"text/plain": "new"}, {}, "of an earlier cell", True)
    assert out.getvalue() == "[north] abc\n[north] new\n"
    assert north.items == [], "it is written, and not kept"


def test_a_stream_without_a_character_escapes_it_and_a_closed_one_is_broken() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "ascii")
    north = LinesSink("north", PlainGroups(out, out))
    north.stream("stdout", "caf\xe9 \ud800\n")
    assert raw.getvalue() == b"[north] caf\\xe9 \\ud800\n"
    out.close()
    with pytest.raises(OSError, match="closed"):
        north.stream("stdout", "x\n")
