"""README.md is what table.py makes of results.json, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.table import ELSEWHERE, FAULTS, NOT_HERE, README, load, render

ROOT = Path(__file__).parents[2]


def python_aside(text: str) -> str:
    return re.sub(r"Python [0-9.a-z]+, Linux", "", text)


def test_the_table_is_made_and_not_written_by_hand() -> None:
    assert python_aside(README.read_text("utf-8")) == python_aside(render(load()))


@pytest.mark.parametrize("number", FAULTS)
def test_every_fault_is_met_or_has_its_reason(number: int) -> None:
    row = load().get(f"F{number}")
    assert row is not None or number in ELSEWHERE or number in NOT_HERE, "no test makes it happen"
    tests = [str(row["test"])] if row is not None else []
    tests += [name for name in ELSEWHERE.get(number, "").split(", ") if name]
    assert tests
    for name in tests:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), f"there is no {name}"


def test_every_long_run_can_be_run_again() -> None:
    for name, row in load().items():
        if name.startswith("long "):
            file, _, test = str(row["command"]).rpartition(" ")[2].partition("::")
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), (name, row["command"])
