"""Each row looks in each front end as the same code run natively does."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.browser.lab import Lab
from tests.browser.rows import FRONTS, ROWS, Row
from tests.browser.runs import RUNS, Run

T = TypeVar("T")
PAGE = Path(__file__).parents[2] / "notebooks" / "tried-with.md"
BEGIN, END = "<!-- rows: written by KERNEL_BRIDGE_WRITE=1 pytest tests/browser/test_rows.py -->", "<!-- /rows -->"
#: what this run has seen to hold: row and front end, and why it looks another way than natively, if it does
_SEEN: dict[tuple[str, str], list[str]] = {}
#: what names the kernel in a terminal: behind an error, above what comes late
_NAMING = re.compile(
    r"\s\(in rows/there-\w+-terminal\.ipynb\)$|^rows/there-\w+-terminal\.ipynb shows this after its cell has ended\n",
    re.M,
)
_NAMED = "a line of ours names the kernel: nothing else says there whose error or late output it is"


@pytest.fixture(scope="module")
def run_of(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Run all rows in a front end, once."""
    lab.end_sessions()

    @functools.cache
    def run_once(front: str) -> Run | Exception:
        run, name = RUNS[front]
        try:
            return run(lab, tmp_path_factory.mktemp(name), name)
        except Exception as error:
            return error  # once, not for each row

    return lambda front: done(run_once(front))


@pytest.mark.timeout(240)  # the first one of a front end runs them all
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_row(run_of: Callable[[str], Run], row: Row, front: str) -> None:
    run = run_of(front)
    there = done(run.there[row.name])
    text, names = _NAMING.subn("", there.text) if front == "terminal" else (there.text, 0)
    assert bool(names) == (row.named and front == "terminal"), there.text
    why = [_NAMED] if names else []
    if front in row.instead:
        assert re.search(row.instead[front][0], text, re.M), there.text
        _SEEN[row.name, front] = [*why, row.instead[front][1]]
        return
    native = done(run.native[row.name])
    if front != "nbclient":  # whose text is a widget's first
        assert re.search(row.shows, native.text, re.M), native.text
        assert native.text or native.html
    assert text == native.text
    assert there.outputs == native.outputs
    assert there.html == native.html
    _SEEN[row.name, front] = why


def done(what: T | Exception) -> T:
    if isinstance(what, Exception):
        raise what
    return what


def test_the_page_has_what_this_run_has_seen() -> None:
    if len(_SEEN) < len(ROWS) * len(FRONTS):
        pytest.skip("needs all rows in all front ends")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    table = f"{before}{BEGIN}\n{_table()}\n{END}{after}"
    if os.environ.get("KERNEL_BRIDGE_WRITE"):
        PAGE.write_text(table)
    assert PAGE.read_text() == table


def _table() -> str:
    reasons = list(dict.fromkeys(reason for why in _SEEN.values() for reason in why))
    lines = [f"| | {' | '.join(FRONTS)} |", "|---" * (len(FRONTS) + 1) + "|"]
    for row in ROWS:
        shown = [_SEEN[row.name, front] for front in FRONTS]
        marks = [" ".join(f"[{reasons.index(reason) + 1}]" for reason in why) or "same" for why in shown]
        lines.append(f"| {row.name} | {' | '.join(marks)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(["", *lines, "", *notes, ""])
