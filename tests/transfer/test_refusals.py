"""What the codec refuses, in words."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.transfer.refusals import refused, size_of


def test_it_names_the_value_the_kernel_and_the_way_out() -> None:
    error = refused(["df['a']", "is a Foo", "copy {}.x()", 0], 1000, "work/a.ipynb")
    assert str(error) == "df['a'] is a Foo (in work/a.ipynb); copy df['a'].x()"
    assert (error.name, error.size) == ("df", 0)


def test_too_large_says_what_allows_more() -> None:
    error = refused(["df", "is larger", "", 2500], 1000)
    assert str(error) == "df is larger than 1 kB, so nothing was copied; --max-size SIZE allows more"
    assert error.size == 2500


@pytest.mark.parametrize("size", [10**400, -5, True, 1.5, "1"])
def test_a_size_that_is_none_is_no_size(size: Any) -> None:
    error = refused(["df", "is a Foo", "", size], 1000)
    assert error.size == 0 and "is a Foo" in str(error)


@pytest.mark.parametrize("told", [None, 1, "x", [], [1, 2], [1, 2, 3, 4, 5], [None] * 4, [{}, [], (), "much"]])
def test_anything_may_come(told: Any) -> None:
    assert "cannot be copied" in str(refused(told, 1000)) or str(refused(told, 1000))


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (99_000, "99 kB"), (300_000, "0.3 MB"), (2.5e9, "2.5 GB")],
)
def test_sizes_are_written_as_people_do(size: float, words: str) -> None:
    assert size_of(int(size)) == words
