"""Tests that hold a bound in seconds run while none of the suite's other processes does: load is no failure.

`@pytest.mark.alone` marks them. Two locked files make the turns: whoever wants to be alone keeps the gate until all
others, who pass it one by one, have left the room; so nobody waits for ever.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest


class Turns:
    """A pytest plugin. Without pytest-xdist there is nobody to wait for, and it does nothing."""

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
        self._files: list[IO[bytes]] = []
        if run:
            folder = Path(tempfile.gettempdir()) / f"kernel-bridge-tests-{run}"
            folder.mkdir(exist_ok=True)
            self._files = [(folder / name).open("ab") for name in ("gate", "room")]
        self._is_alone = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put those of a file together: the others wait once."""
        order = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}
        items.sort(key=lambda item: (order[item.path], not _wants_to_be_alone(item)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
        """Take a turn; around the time limit of the test, which does not count the wait."""
        if not self._files:
            return (yield)
        gate, room = self._files
        alone = _wants_to_be_alone(item)
        if not self._is_alone:
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            self._is_alone = alone and nextitem is not None and _wants_to_be_alone(nextitem)
            if not self._is_alone:
                fcntl.flock(room, fcntl.LOCK_UN)
                fcntl.flock(gate, fcntl.LOCK_UN)


def _wants_to_be_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
