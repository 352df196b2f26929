"""A test that hangs where no exception reaches it ends its process, and says where each thread is.

pytest-timeout raises an exception in the test, once. That is not enough where code of C waits, or where what tidies up
afterwards hangs as well: the run would then never end, and say nothing. pytest-xdist tells of a process that ended as
of a test that failed, and puts another one in its place.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Generator

import pytest

GRACE_SECONDS = 60.0  # for what pytest-timeout does, and what tidies up after it


class Hangs:
    """A pytest plugin. `seconds` is what a test may take that has no limit of its own; 0 is no limit.

    `grace` is how many seconds longer it is waited for.
    """

    def __init__(self, seconds: float, grace: float = GRACE_SECONDS) -> None:
        self._seconds = seconds
        self._grace = grace
        # pytest-xdist puts an object in the place of sys.stderr, and pytest another file below its number.
        self._stderr = os.fdopen(os.dup(sys.__stderr__.fileno()), "w") if sys.__stderr__ else None

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """Limit what a test takes with all its fixtures; waiting for its turn is not counted."""
        self._begin(item)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        """Begin anew: pytest's own plugin thinks that somebody debugs the failure."""
        self._begin(node)

    def _begin(self, node: pytest.Item | pytest.Collector) -> None:
        mark = node.get_closest_marker("timeout")
        limit = float(mark.args[0]) if mark and mark.args else self._seconds
        if limit and self._stderr is not None and isinstance(node, pytest.Item):
            faulthandler.dump_traceback_later(limit + self._grace, exit=True, file=self._stderr)
