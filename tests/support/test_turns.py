"""What the order of the tests, and their tiers, name is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiers import LOCAL, REAL, UNIT
from tests.support.turns import FIRST

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted({*UNIT, *LOCAL, *REAL, *(name.removeprefix("tests/") for name in FIRST)}))
def test_each_folder_file_and_test_that_is_named_exists(name: str) -> None:
    file, _, test = name.partition("::")
    assert (TESTS / file).is_dir() if file.endswith("/") else (TESTS / file).is_file()
    assert f"def {test}(" in (TESTS / file).read_text("utf-8") if test else True
