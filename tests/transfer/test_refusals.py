"""What the codec refuses, in words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kernel_bridge_magic.remote_code import source
from kernel_bridge_magic.remote_code.codec import FILES
from kernel_bridge_magic.transfer.refusals import offer, refused, size_of


def test_it_names_the_value_the_kernel_and_the_way_out() -> None:
    error = refused(["df['a']", "is a Foo", "copy {}.x()", 0], 1000, "work/a.ipynb")
    assert str(error) == "df['a'] is a Foo (in work/a.ipynb); copy df['a'].x()"
    assert (error.name, error.size) == ("df", 0)


PANDAS = ["df", "needs pandas, which the receiving side does not have", "install pandas there", 0]
NUMPY = ["a", "needs numpy on the other side", "install numpy there, or copy {}.tolist()", 0]
ZONE = ["t", "has the time zone 'X', which is not known on the receiving side", "install tzdata there", 0]


@pytest.mark.parametrize(
    ("told", "kernel", "is_here", "says"),
    [
        # put: this side writes, the kernel reads
        (NUMPY, "", True, "a needs numpy in the other kernel; install numpy there, or copy a.tolist()"),
        (PANDAS, "k", False, "df needs pandas, which k does not have; install pandas there"),
        (ZONE, "k", False, "t has the time zone 'X', which is not known in k; install tzdata there"),
        # get: the kernel writes, this side reads
        (NUMPY, "k", False, "a needs numpy on this side; install numpy here, or copy a.tolist()"),
        (PANDAS, "k", True, "df needs pandas, which this side does not have; install pandas here"),
        (ZONE, "k", True, "t has the time zone 'X', which is not known on this side; install tzdata here"),
    ],
)
def test_it_is_said_on_which_side_something_lacks(told: list[Any], kernel: str, is_here: bool, says: str) -> None:
    assert str(refused(told, 1000, kernel, is_here=is_here)) == says


def test_the_codec_speaks_of_sides_in_these_words() -> None:
    for name in FILES:
        for line in source(name).splitlines():
            if "Refused(" in line and " side" in line:
                assert re.search("the (other|receiving) side|both sides", line), line


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("df: column 'a'", "copy df['a'].x()"),
        ("df['b']: column 3", "copy df['b'][3].x()"),
        ("df.index level 0", "copy it.x()"),
        ("x key 'a'", "copy it.x()"),
        ("x[a tuple]", "copy it.x()"),
        ("df.attrs['a'][1]", "copy df.attrs['a'][1].x()"),
        ("x]; import os; [", "copy it.x()"),
    ],
)
def test_the_way_out_is_what_one_would_write(path: str, says: str) -> None:
    error = refused([path, "is of the type Foo", "copy {}.x()", 0], 1000)
    assert str(error) == f"{path} is of the type Foo; {says}"


def test_a_part_is_not_said_to_be_too_large() -> None:
    for path in ("df: column 'a'", "df['a'][3]", "df key 1", "df.index level 1"):
        assert str(refused([path, "is larger", "", 2500], 1000)).startswith("df is larger than 1 kB; ")


@pytest.mark.parametrize(
    ("size", "most", "question", "allowed"),
    [
        (2000, 1000, "x is larger than 1 kB (2 kB at least). Copy up to 4 kB? [y/N] ", 4000),
        (1001, 1000, "x is larger than 1 kB. Copy up to 3 kB? [y/N] ", 3000),
        (234_567, 10, "x is larger than 10 bytes (0.2 MB at least). Copy up to 0.5 MB? [y/N] ", 500_000),
        (123_456_789, 10**8, "x is larger than 100 MB (123 MB at least). Copy up to 247 MB? [y/N] ", 247_000_000),
        (2_320_000_000, 10**9, "x is larger than 1.0 GB (2.3 GB at least). Copy up to 4.7 GB? [y/N] ", 4_700_000_000),
        (5, 10**9, "x is larger than 1.0 GB. Copy up to 2.0 GB? [y/N] ", 2 * 10**9),
    ],
)
def test_a_yes_allows_what_the_question_says_and_no_more(size: int, most: int, question: str, allowed: int) -> None:
    assert offer(["x"], size, most) == (question, allowed)
    assert size_of(allowed) in question


def test_too_large_says_what_allows_more() -> None:
    error = refused(["df", "is larger", "", 2500], 1000)
    assert str(error) == "df is larger than 1 kB; a larger --max-size (in Python max_size) allows more"
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
