"""Tests that hold a bound in seconds run alone, after all others: a loaded machine is no failure.

`@pytest.mark.alone` marks them. With pytest-xdist one of its processes runs them, last, and each takes a turn: two
locked files make those. Whoever wants to be alone keeps the gate until all others, who pass it one by one, have left
the room; so nobody waits for ever.
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

#: Where the tests are that take longest: they go first, so that no process is left with them in the end.
_FIRST = ("tests/browser/test_rows", "tests/browser/", "tests/faults/", "tests/test_cli")


class Turns:
    """A pytest plugin. Without pytest-xdist there is nobody to wait for, and it only puts things in order."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._files: list[IO[bytes]] = []
        if run := os.environ.get("PYTEST_XDIST_TESTRUNUID", ""):
            self._folder = _folder(run)
            self._files = [(self._folder / name).open("ab") for name in ("gate", "room")]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the longest first, and those that want to be alone last."""
        items.sort(key=lambda item: (_is_alone(item), _place(item.nodeid)))
        if self._folder is not None:
            # The process that hands tests out gets to see no more of them than their ids.
            mine = self._folder / f"alone-{os.getpid()}"
            mine.write_text("\n".join(item.nodeid for item in items if _is_alone(item)))
            mine.replace(self._folder / "alone")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """Take a turn; around the time limit of the test, which does not count the wait."""
        if not self._files:
            return (yield)
        gate, room = self._files
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Learn where the processes that run the tests meet."""
        self._folder = _folder(node.workerinput["testrunuid"])

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind; the process that hands tests out is the last."""
        if self._folder is not None and not self._files:
            shutil.rmtree(self._folder, ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand out whole files, as `--dist loadfile` does, in the order above."""
        from xdist.scheduler import LoadFileScheduling

        def alone() -> set[str]:
            assert self._folder is not None
            return set((self._folder / "alone").read_text().splitlines())

        class InOrder(LoadFileScheduling):  # type: ignore[misc]
            def schedule(self) -> None:
                self.alone = alone()
                super().schedule()

            def _split_scope(self, nodeid: str) -> str:
                return "alone" if nodeid in self.alone else str(super()._split_scope(nodeid))

        config.option.loadscopereorder = False  # by the number of tests
        return InOrder(config, log)


def _folder(run: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"kernel-bridge-tests-{run}"
    folder.mkdir(exist_ok=True)
    return folder


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def _place(nodeid: str) -> int:
    return next((place for place, start in enumerate(_FIRST) if nodeid.startswith(start)), len(_FIRST))
