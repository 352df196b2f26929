"""What `kernel_bridge_magic/README.md` says is so: the floors, one cell's way in twelve lines, the files it names."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

import kernel_bridge_magic
from tests.test_floors import FLOORS

PACKAGE = Path(kernel_bridge_magic.__file__).parent
_SECTION = re.compile(r"^## One cell's way.*?\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"\d+\. `([\w/]+)\.py` `(\w+(?:\.\w+)?)` \S.*")


def steps() -> list[str]:
    (section,) = _SECTION.findall((PACKAGE / "README.md").read_text("utf-8"))
    return [line for line in section.splitlines() if re.match(r"\d+\.", line)]


def test_the_way_has_twelve_lines_at_most() -> None:
    assert 5 <= len(steps()) <= 12
    assert [line.partition(".")[0] for line in steps()] == [str(number) for number in range(1, len(steps()) + 1)]


def test_the_table_of_floors_is_the_one_that_is_held() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", (PACKAGE / "README.md").read_text("utf-8"), re.MULTILINE)
    named = [(len(FLOORS) - int(floor), name) for floor, cell in rows for name in re.findall(r"`(\w+)", cell)]
    assert named == sorted(named, key=lambda row: row[0])
    assert all(name in FLOORS[floor] for floor, name in named)
    assert {name for floor in FLOORS[1:-1] for name in floor} <= {name for _, name in named}


def test_each_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.(?:py|json))`", (PACKAGE / "README.md").read_text("utf-8"))
    assert len(named) > 20
    for path in named:
        assert (PACKAGE / path).is_file() or (PACKAGE.parent / path).is_file(), path


@pytest.mark.parametrize("line", steps())
def test_each_line_names_a_function_that_exists(line: str) -> None:
    step = _STEP.fullmatch(line)
    assert step, "a line reads: 1. `folder/module.py` `Class.function` what it does"
    assert (PACKAGE / f"{step[1]}.py").is_file()
    module = importlib.import_module(f"{PACKAGE.name}.{step[1].replace('/', '.')}")
    assert callable(reduce(getattr, step[2].split("."), module))
