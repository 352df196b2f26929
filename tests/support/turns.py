"""Tests that hold a bound in seconds run last, with few others or none: a loaded machine is no failure.

`@pytest.mark.bounded` marks those with a bound of seconds, which run a few at a time, beside each other only: they
mostly wait; `@pytest.mark.alone` those that nothing else may disturb. A test waits until all of the marks before its
own have ended; a file that grows by a byte with each that ends tells how many have.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

_ROWS, _BROWSER = "tests/browser/test_rows.py", "tests/browser/"
#: Where the tests are that take longest: they go first, so that no process is left with them in the end.
FIRST = (
    *(_ROWS, _BROWSER, "tests/cli/test_main.py", "tests/connection/test_connection.py", "tests/faults/"),
    *("tests/security/test_canaries.py", "tests/ipython/test_magics.py", "tests/connection/test_subshells.py"),
    *("tests/connection/test_durable.py",),
)
_MARKS = ("", "bounded", "alone")  # in the order in which they run
_ENDED = "ended"  # the file with a byte for each test that has ended
_SLOTS = 3  # for the bounded ones: each may start a server, which takes all of a core for a second
_LOOK_SECONDS = 0.02
_STUCK_SECONDS = 300.0  # no test takes as long: a process has died, whose tests will never end


class Turns:
    """A pytest plugin. Without pytest-xdist there is nobody to wait for, and it only puts things in order."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._ended: Path | None = None  # in the processes that run the tests
        self._before = dict.fromkeys(_MARKS, 0)  # how many tests must end before one with this mark begins
        if run := os.environ.get("PYTEST_XDIST_TESTRUNUID", ""):
            self._folder = _folder(run)
            self._ended = self._folder / _ENDED
            self._ended.touch()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the longest first, and those that want to be alone last."""
        items.sort(key=lambda item: (_MARKS.index(_mark(item)), _place(item.nodeid)))
        for mark in _MARKS:
            self._before[mark] = sum(_MARKS.index(_mark(item)) < _MARKS.index(mark) for item in items)
        if self._folder is not None:
            # The process that hands tests out gets to see no more of them than their ids.
            for mark in _MARKS[1:]:
                mine = self._folder / f"{mark}-{os.getpid()}"
                mine.write_text("\n".join(item.nodeid for item in items if _mark(item) == mark))
                mine.replace(self._folder / mark)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """Wait for the turn; around the time limit of the test, which does not count the wait."""
        if self._ended is None:
            return (yield)
        self._wait(self._ended, self._before[_mark(item)])
        with self._slot() if _mark(item) == "bounded" else contextlib.nullcontext():
            try:
                return (yield)
            finally:
                _note_end(self._ended)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """Wait until there is room for one more; the system gives the room of a process that dies to the next."""
        assert self._folder is not None
        with contextlib.ExitStack() as files:
            slots = [files.enter_context((self._folder / f"slot-{number}").open("wb")) for number in range(_SLOTS)]
            while not any(map(_taken, slots)):
                time.sleep(_LOOK_SECONDS)
            yield

    def _wait(self, ended: Path, number: int) -> None:
        seen, since = -1, time.monotonic()
        while (now := ended.stat().st_size) < number:
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _STUCK_SECONDS:
                self._before = dict.fromkeys(_MARKS, 0)
                return
            time.sleep(_LOOK_SECONDS)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Learn where the processes that run the tests meet."""
        self._folder = _folder(node.workerinput["testrunuid"])

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind; the process that hands tests out is the last."""
        if self._folder is not None and self._ended is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand out whole files, as `--dist loadfile` does, in the order above; those with a bound each by itself."""
        from xdist.scheduler import LoadFileScheduling

        assert self._folder is not None
        folder, ended = self._folder, self._folder / _ENDED

        def marked(mark: str) -> list[str]:
            return (folder / mark).read_text().splitlines()

        class InOrder(LoadFileScheduling):
            def schedule(self) -> None:
                self.scopes = {test: test for test in marked("bounded")}
                self.scopes |= dict.fromkeys(marked("alone"), "alone")
                takes_over = self.collection is not None  # a process that is put in the place of another one
                super().schedule()
                if takes_over:
                    # Each runs a test once it knows the next one, or that there is none: one file may not be enough.
                    super().schedule()

            def _split_scope(self, nodeid: str) -> str:
                if scope := self.scopes.get(nodeid):
                    return scope
                # One process for all others that need a browser: each has its own.
                if nodeid.startswith(_BROWSER) and not nodeid.startswith(_ROWS):
                    return "browser"
                return str(super()._split_scope(nodeid))

            def remove_node(self, node: Any) -> str | None:
                # What has ended a process is not run again: it would end the next one, and so on. What is left of its
                # work is next, for all with a bound wait for it; and it has no file of which no test is left, since
                # whoever got that would wait for ever for one.
                units = self.assigned_work.pop(node)
                left = [(file, test) for file, tests in units.items() for test, has_run in tests.items() if not has_run]
                if not left:
                    return None
                for file, test in reversed(left[1:]):
                    self.workqueue[file] = {test: False, **self.workqueue.get(file, {})}
                    self.workqueue.move_to_end(file, last=False)
                _note_end(ended)
                for other in self.assigned_work:
                    self._reschedule(other)
                return left[0][1]

        config.option.loadscopereorder = False  # by the number of tests
        return InOrder(config, log)


def _folder(run: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"kernel-bridge-tests-{run}"
    folder.mkdir(exist_ok=True)
    return folder


def _note_end(ended: Path) -> None:
    with ended.open("ab") as file:
        file.write(b".")


def _taken(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark(item: pytest.Item) -> str:
    return next((mark for mark in _MARKS[1:] if item.get_closest_marker(mark)), "")


def _place(nodeid: str) -> int:
    return next((place for place, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))
