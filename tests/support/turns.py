"""Tests that hold a bound in seconds run last, with few others or none: a loaded machine is no failure.

`@pytest.mark.bounded` marks those with a bound of seconds, which run beside each other only: they mostly wait;
`@pytest.mark.alone` those that nothing else may disturb. Locked files make the turns: whoever wants in keeps the gate
until those whom it cannot run beside, who passed it one by one, have left their rooms; so nobody waits for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import pytest

_ROWS, _BROWSER = "tests/browser/test_rows", "tests/browser/"
#: Where the tests are that take longest: they go first, so that no process is left with them in the end.
_FIRST = (
    *(_ROWS, _BROWSER, "tests/test_cli", "tests/test_connection", "tests/faults/", "tests/security/test_canaries"),
    *("tests/test_magics", "tests/test_busy", "tests/test_durable"),
)
_MARKS = ("", "bounded", "alone")  # in the order in which they run


class Turns:
    """A pytest plugin. Without pytest-xdist there is nobody to wait for, and it only puts things in order."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._gate: IO[bytes] | None = None
        self._rooms: dict[str, IO[bytes]] = {}
        if run := os.environ.get("PYTEST_XDIST_TESTRUNUID", ""):
            self._folder = _folder(run)
            self._gate = (self._folder / "gate").open("ab")
            self._rooms = {mark: (self._folder / f"room-{mark}").open("ab") for mark in ("", "bounded")}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the longest first, and those that want to be alone last."""
        items.sort(key=lambda item: (_MARKS.index(_mark(item)), _place(item.nodeid)))
        if self._folder is not None:
            # The process that hands tests out gets to see no more of them than their ids.
            for mark in _MARKS[1:]:
                mine = self._folder / f"{mark}-{os.getpid()}"
                mine.write_text("\n".join(item.nodeid for item in items if _mark(item) == mark))
                mine.replace(self._folder / mark)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """Take a turn; around the time limit of the test, which does not count the wait."""
        if self._gate is None:
            return (yield)
        mark = _mark(item)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        for room, file in self._rooms.items():
            if room != mark:
                fcntl.flock(file, fcntl.LOCK_EX)  # nobody is in it now, and nobody comes in while we keep the gate
                if mark != "alone":
                    fcntl.flock(file, fcntl.LOCK_UN)
        if mark != "alone":
            fcntl.flock(self._rooms[mark], fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            for file in self._rooms.values():
                fcntl.flock(file, fcntl.LOCK_UN)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Learn where the processes that run the tests meet."""
        self._folder = _folder(node.workerinput["testrunuid"])

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind; the process that hands tests out is the last."""
        if self._folder is not None and self._gate is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand out whole files, as `--dist loadfile` does, in the order above."""
        from xdist.scheduler import LoadFileScheduling

        def marked(mark: str) -> list[str]:
            assert self._folder is not None
            return (self._folder / mark).read_text().splitlines()

        class InOrder(LoadFileScheduling):  # type: ignore[misc]
            def schedule(self) -> None:
                # Those that want to be alone would come between the others, had they a process of their own.
                bounded = enumerate(marked("bounded"))
                self.scopes = {test: f"last {number % self.numnodes}" for number, test in bounded}
                self.scopes |= dict.fromkeys(marked("alone"), "last 0")
                super().schedule()

            def _split_scope(self, nodeid: str) -> str:
                if scope := self.scopes.get(nodeid):
                    return scope
                # One process for all others that need a browser: each has its own.
                if nodeid.startswith(_BROWSER) and not nodeid.startswith(_ROWS):
                    return "browser"
                return str(super()._split_scope(nodeid))

        config.option.loadscopereorder = False  # by the number of tests
        return InOrder(config, log)


def _folder(run: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"kernel-bridge-tests-{run}"
    folder.mkdir(exist_ok=True)
    return folder


def _mark(item: pytest.Item) -> str:
    return next((mark for mark in _MARKS[1:] if item.get_closest_marker(mark)), "")


def _place(nodeid: str) -> int:
    return next((place for place, start in enumerate(_FIRST) if nodeid.startswith(start)), len(_FIRST))
