"""The one line that tells of a copy."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.summary import HERE, THERE, describe, line, line_of_many, progress


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "None"),
        (True, "bool"),
        (1, "int"),
        (1.5, "float"),
        ("x" * 12, "str of 12 characters"),
        ("x", "str of 1 character"),
        (b"x" * 3000, "bytes 3 kB"),
        ([0] * 1204, "list of 1,204"),
        ((1,), "tuple of 1"),
        ({1: 2}, "dict of 1"),
        (datetime.date(2026, 1, 2), "date"),
    ],
)
def test_plain_values(value: object, says: str) -> None:
    assert describe(value) == says


def test_values_of_libraries() -> None:
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    assert describe(np.zeros((3, 4))) == "array 3 × 4 float64"
    assert describe(np.array(1)) == "array 0-d int64"
    assert describe(np.zeros(2, [("a", "i4")])) == "array 2 structured"
    assert describe(np.float32(1)) == "float32"
    assert describe(pd.DataFrame({"a": range(1204)})) == "DataFrame 1,204 × 1"
    assert describe(pd.Series([1, 2])) == "Series of 2"
    assert describe(pd.date_range("2026", periods=3)) == "DatetimeIndex of 3"
    assert describe(pytest.importorskip("PIL.Image").new("CMYK", (640, 480))) == "picture 640 × 480"


def test_nothing_of_a_hostile_value_runs() -> None:
    class Trap(type):
        def __getattribute__(cls, name: str) -> Any:
            raise AssertionError(name)

    class Hostile(list[int], metaclass=Trap):
        def __len__(self) -> int:
            raise AssertionError

        __repr__ = __str__ = __len__  # type: ignore[assignment]

    assert describe(object.__new__(type("DataFrame", (), {}))) == "DataFrame"
    assert describe(Hostile()) == "Hostile"


def test_one_line() -> None:
    copied = Copied("n", [1, 2], 300_000, "", True)
    assert line(copied, HERE, "work/a.ipynb") == "n: list of 2, 0.3 MB ← work/a.ipynb (replaced)"
    assert line(copied, THERE, "a\x1b[2J", replaced=False) == "n: list of 2, 0.3 MB → a\\x1b[2J"
    note = Copied("fig", 1, 1200, "a Figure arrives as a picture")
    assert line(note, HERE, "a") == "fig: int (a Figure arrives as a picture), 1 kB ← a"
    assert line(Copied("b", b"12", 99), HERE, "a") == "b: bytes 2 bytes ← a"


@pytest.mark.parametrize(
    ("value", "size", "says"),
    [
        (1, 8, "int"),
        (None, 8, "None"),
        (datetime.date(2026, 1, 2), 64, "date"),
        ("abc", 11, "str of 3 characters"),
        (2**999, 8313, "int, 8 kB"),
        ({1: 2}, 111, "dict of 1, 111 bytes"),
        ((), 64, "tuple of 0, 64 bytes"),
    ],
)
def test_a_size_is_said_where_it_says_something(value: object, size: int, says: str) -> None:
    assert line(Copied("x", value, size), HERE, "a") == f"x: {says} ← a"


def test_one_line_for_many() -> None:
    copies = {f"k{number}": Copied("x", [1], 400_000, replaced=number < 2) for number in range(5)}
    asked = [*copies, "n\x1b[2J"]
    assert line_of_many("x", copies, HERE, asked) == "x: from 5 of 6 kernels, 2.0 MB in all; not from n\\x1b[2J"
    assert line_of_many("x", copies, THERE, list(copies)) == "x: list of 1, 0.4 MB → 5 kernels (replaced in 2)"
    some = {"k0": copies["k0"], "k1": copies["k1"]}
    assert line_of_many("x", some, HERE, list(some), replaced=True) == "x: from 2 kernels, 0.8 MB in all (replaced)"
    assert line_of_many("x", some, HERE, asked[-1:] + list(some), replaced=True).startswith(
        "x: from 2 of 3 kernels, 0.8 MB in all (replaced); not from"
    )
    assert line_of_many("x", {}, HERE, ["a"], replaced=True) == "x: from 0 of 1 kernel"
    assert line_of_many("x", {"k0": copies["k0"]}, THERE, ["k0"]) == "x: list of 1, 0.4 MB → 1 kernel (replaced)"
    few = {"k4": copies["k4"]}
    assert (
        line_of_many("x", few, THERE, list(copies))
        == "x: list of 1, 0.4 MB → 1 of 5 kernels; not to k0, k1, k2 and 1 more"
    )
    assert line_of_many("x", {}, THERE, ["a", "b"]) == "x: → 0 of 2 kernels"
    assert line_of_many("x", {}, HERE, ["a", "b"]) == "x: from 0 of 2 kernels"
    assert line_of_many("x", {"a": Copied("x", 1, 8), "b": Copied("x", 2, 8)}, HERE, ["a", "b"]) == "x: from 2 kernels"


@pytest.mark.parametrize(
    ("done", "total", "speed", "says"),
    [
        (45e6, 120e6, 96e6, "df: " + "█" * 7 + "░" * 13 + " 45 of 120 MB, 96 MB/s"),
        (2e6, 5.5e6, 0, "df: " + "█" * 7 + "░" * 13 + " 2.0 of 5.5 MB"),
        (2e9, 1.2e9, 1.5e9, "df: " + "█" * 20 + " 1.2 of 1.2 GB, 1.5 GB/s"),
        (0, 0, 0, "df: " + "░" * 20 + " 0 of 0 bytes"),
    ],
)
def test_progress(done: float, total: float, speed: float, says: str) -> None:
    assert progress("df", int(done), int(total), speed) == says
