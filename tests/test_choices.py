from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.choices import byte_count, duration, seconds, size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("250ms", 0.25),
        ("1e3", 1000.0),
        (" 3 s ", 3.0),
        ("none", None),
        ("None", None),
    ],
)
def test_times_have_units(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["-1", "0", "0s", "nan", "inf", "-inf", "1e99", "abc", "", "5 d", "5mm", "m", "1:30", "--", "1e", "+-3"]
)
def test_times_that_are_none_are_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration: use seconds"):
        seconds(text)


@given(text=st.text(max_size=12) | st.text(alphabet="0123456789.e+-msh", max_size=8))
def test_a_time_is_a_finite_positive_number_or_refused(text: str) -> None:
    try:
        value = seconds(text)
    except argparse.ArgumentTypeError:
        return
    assert value is None or 0 < value <= 1e9


@pytest.mark.parametrize(("value", "length"), [(30, 30.0), (0.5, 0.5), ("5m", 300.0), ("none", None), (None, None)])
def test_a_length_of_time_may_be_a_number_where_it_is_no_text(value: object, length: float | None) -> None:
    assert duration(value) == length


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, 10**400, [5], b"5", "", "soon", "5 weeks"])
def test_what_is_no_length_of_time_is_refused_whatever_it_is(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: use seconds \(30\), 5m or 2h, or none$"):
        duration(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("1GB", 10**9), ("500MB", 5 * 10**8), ("200kB", 200_000), ("200 KB", 200_000), ("1.5g", 1_500_000_000),
     ("12", 12), ("12 b", 12), ("1GiB", 2**30), (7, 7)],
)  # fmt: skip
def test_sizes_have_units(value: object, number: int) -> None:
    assert byte_count(value) == number


@pytest.mark.parametrize(
    "value", ["", "0", "-1", "1.5", "GB", "1e9", "1XB", "nan", "٣GB", "9" * 99, True, None, 1.5, 0]
)
def test_what_is_no_size_is_refused_with_what_would_do(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size: use 500MB, 1GB or a number of bytes"):
        byte_count(value)


def test_a_size_is_a_value_of_an_option() -> None:
    assert size("2MB") == 2_000_000
    with pytest.raises(argparse.ArgumentTypeError, match="'x' is not a size"):
        size("x")
