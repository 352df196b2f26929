"""Many kernels in a terminal: lines that change, and blocks at the end."""

from __future__ import annotations

import io

import pyte
import pytest

from kernel_bridge_magic.display.group_terminal import TerminalGroups
from kernel_bridge_magic.display.groups import Shown
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.sanitize.terminal import LeftOpen


class Tty(io.StringIO):
    """A terminal of 40 columns and 8 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(40, 8)
        self.stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Tty:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")
    monkeypatch.setenv("TERM", "xterm")
    return Tty()


def stream(text: str) -> dict[str, str]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_lines_change_in_place_and_blocks_are_left(tty: Tty) -> None:
    groups = TerminalGroups(tty, LeftOpen())
    bar = stream("north:  50%\rnorth:  85%|████████▍ | 11/13")
    groups.paint([Shown("north", doing="running", items=[bar]), Shown("east", doing="queued", why="busy")], {0, 1})
    assert tty.lines == [
        "north  running  north:  85%|████████▍ …", "east   queued: busy", "2 kernels: 1 running (north), 1 queued…"
    ]  # fmt: skip
    over = [Shown(name, fate=Fate.OK, seconds=1, items=[stream("\x1b[32mdone\x1b[0m")]) for name in ("north", "east")]
    groups.paint([over[0], Shown("east", doing="running")], {0, 1})
    assert tty.lines[:2] == ["north  ok  done", "east   running"]
    groups.end(over, 1.2, group=True)
    assert tty.lines == ["── north, east (2): ok 1.0 s", "done", "2 kernels in 1.2 s: 2 ok"]
    assert tty.getvalue().endswith("── north, east (2): ok 1.0 s\n\x1b[32mdone\x1b[0m\n2 kernels in 1.2 s: 2 ok\n")


def test_more_kernels_than_rows_are_those_that_are_not_over(tty: Tty) -> None:
    groups = TerminalGroups(tty, LeftOpen())
    shown = [Shown(f"k{n}", fate=Fate.OK if n < 10 else None, doing="running") for n in range(12)]
    for _ in range(3):
        groups.paint(shown, set())
    assert tty.lines == [
        "k0   ok",
        "k1   ok",
        "k2   ok",
        "k10  running",
        "k11  running",
        "12 kernels: 10 ok, 2 running (k10, k11)",
    ]


def test_half_a_surrogate_pair_of_one_kernel_takes_no_other_away() -> None:
    out = io.TextIOWrapper(raw := io.BytesIO(), "utf-8")
    odd = Shown("north", fate=Fate.OK, items=[stream("caf\xe9 \ud800\n")])
    TerminalGroups(out, LeftOpen()).end([odd, Shown("east", fate=Fate.OK, items=[stream("x\n")])], 1, group=True)
    assert raw.getvalue().decode() == "── north: ok\ncafé \\ud800\n── east: ok\nx\n2 kernels in 1.0 s: 2 ok\n"
