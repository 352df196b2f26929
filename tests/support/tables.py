"""Tables for tests: one of each kind that pandas has, and what tells whether two are the same in every cell."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd


def same_table(one: Any, other: Any) -> bool:
    """Return whether two frames, series or indexes have the same labels, dtypes, names, freq and attrs, and cells."""
    if type(one) is not type(other):
        return False
    if isinstance(one, pd.MultiIndex):
        return (
            same_cell(list(one.names), list(other.names))
            and all(same_table(*pair) for pair in zip(one.levels, other.levels, strict=True))
            and all(np.array_equal(*pair) for pair in zip(one.codes, other.codes, strict=True))
        )
    if isinstance(one, pd.DataFrame):
        return (
            same_cell(one.attrs, other.attrs)
            and one.flags == other.flags
            and same_table(one.index, other.index)
            and same_table(one.columns, other.columns)
            and all(same_array(one.iloc[:, at].array, other.iloc[:, at].array) for at in range(one.shape[1]))
        )
    if isinstance(one, pd.Series) and not (same_cell(one.attrs, other.attrs) and same_table(one.index, other.index)):
        return False
    if getattr(one, "freq", None) != getattr(other, "freq", None) or not same_cell(one.name, other.name):
        return False
    return same_array(one.array, other.array)


def same_array(one: Any, other: Any) -> bool:
    """Return whether two of pandas' arrays have the same dtype and, cell by cell, the same types and values."""
    if type(one) is not type(other) or len(one) != len(other) or not same_dtype(one.dtype, other.dtype):
        return False
    if isinstance(one, pd.arrays.SparseArray) and one.kind != other.kind:
        return False
    return all(same_cell(*pair) for pair in zip(one, other, strict=True))


def same_dtype(one: Any, other: Any) -> bool:
    """Return whether two dtypes are the same, also in what pandas takes for equal."""
    if type(one) is not type(other) or repr(one) != repr(other):
        return False
    if isinstance(one, pd.CategoricalDtype):
        return one.ordered == other.ordered and same_table(one.categories, other.categories)
    if isinstance(one, pd.SparseDtype):
        return one.subtype == other.subtype and same_cell(one.fill_value, other.fill_value)
    if isinstance(one, pd.DatetimeTZDtype):
        return bool(one == other) and type(one.tz) is type(other.tz)
    if isinstance(one, pd.StringDtype):
        return one.storage == other.storage and same_cell(getattr(one, "na_value", 0), getattr(other, "na_value", 0))
    return bool(one == other)


def same_cell(one: Any, other: Any) -> bool:
    """Return whether two cells have the same type and value, and so has all that is in them."""
    if type(one) is not type(other):
        return False
    if isinstance(one, pd.DataFrame | pd.Series | pd.Index):
        return same_table(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and all(map(same_cell, one.flat, other.flat))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_cell, one, other))
    if isinstance(one, dict):
        return same_cell(list(one.items()), list(other.items()))
    if one is pd.NaT or one is pd.NA or one is None:
        return one is other
    if isinstance(one, pd.Timestamp):
        return (one.unit, one.fold, one.tz, one.asm8) == (other.unit, other.fold, other.tz, other.asm8)
    if isinstance(one, pd.Timedelta):
        return (one.unit, one.asm8) == (other.unit, other.asm8)
    if isinstance(one, float | np.floating | np.complexfloating | complex | decimal.Decimal) and one != one:
        return repr(one) == repr(other)
    if isinstance(one, float) and one == 0:
        return other == 0 and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def _numpy() -> pd.DataFrame:
    kinds = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "?")
    frame = pd.DataFrame({kind: np.arange(5).astype(kind) for kind in kinds})
    frame["nan"] = [math.nan, -0.0, math.inf, -math.inf, 5e-324]
    for unit in ("s", "ms", "us", "ns"):
        frame["M" + unit] = np.array([0, 1, -1, 10**9, np.iinfo("i8").min]).view(f"M8[{unit}]")
        frame["m" + unit] = np.array([0, 1, -1, 10**9, np.iinfo("i8").min]).view(f"m8[{unit}]")
    return frame


def _objects() -> pd.DataFrame:
    cells = [
        *("text", "", "\udc80", None, math.nan, pd.NaT, pd.NA, 1, 2**70, 1.5, True, b"bytes", 1j, -0.0),
        *((1, 2), [1, [2]], {"k": 1}, {"k": 1, "l": 2}, {1, 2}, np.arange(3), np.int8(1), np.float64("nan")),
        *(pd.Timestamp("2020-01-01"), pd.Timedelta(5), datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1)),
        *(decimal.Decimal("1.50"), pd.Period("2020-01", "M"), pd.Interval(0, 1), pd.Series([1, 2], name="s")),
    ]
    column = pd.Series([None] * len(cells), dtype=object)
    for number, cell in enumerate(cells):
        column.iat[number] = cell
    ints = pd.Series(range(len(cells)), dtype=object)
    return pd.DataFrame({"mixed": column, "ints": ints})


def _texts() -> pd.DataFrame:
    texts = [f"text {number} ä😀" for number in range(100)]
    columns = {
        "all": pd.Series(texts, dtype=object),
        "default": pd.Series(texts),
        "python": pd.array([*texts[:-1], pd.NA], dtype=pd.StringDtype("python")),
        "halves": pd.Series([*texts[:-1], "\udc80"], dtype=object),
    }
    for missing in (None, math.nan, pd.NA, pd.NaT):
        columns[f"with {missing}"] = pd.Series([missing, *texts[:-1]], dtype=object)
    columns["with all"] = pd.Series([None, math.nan, pd.NA, pd.NaT, *texts[:-4]], dtype=object)
    return pd.DataFrame(columns)


def _nullable() -> pd.DataFrame:
    kinds = [f"{kind}{size}" for kind in ("Int", "UInt") for size in (8, 16, 32, 64)] + ["Float32", "Float64"]
    frame = pd.DataFrame({kind: pd.array([1, pd.NA, 2], dtype=kind) for kind in kinds})
    frame["boolean"] = pd.array([True, pd.NA, False], dtype="boolean")
    frame["full"] = pd.array([1, 2, 3], dtype="Int64")
    frame["nan"] = pd.arrays.FloatingArray(np.array([1, math.nan, 2]), np.array([False, False, True]))
    return frame


def _extension() -> pd.DataFrame:
    moments = pd.DatetimeIndex([pd.Timestamp("2020-01-01"), pd.NaT, pd.Timestamp("2020-10-25 00:30:00.123456789")])
    zoned = moments.tz_localize("UTC")
    columns: dict[Any, Any] = {
        "categories": pd.Categorical(["b", None, "a"], categories=["b", "a", "c"]),
        "ordered": pd.Categorical([2, 1, 2], categories=[2, 1], ordered=True),
        "moments": pd.Categorical(zoned),
        "pairs": pd.Categorical(pd.Series([(1, 2), (1, 2), (3, "x")], dtype=object)),
        "utc": zoned,
        "berlin": zoned.tz_convert("Europe/Berlin"),
        "offset": zoned.tz_convert(datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
        "seconds": zoned.as_unit("s"),
        "month": pd.PeriodIndex(["2020-01", None, "2020-03"], freq="M"),
        "hours": pd.PeriodIndex(["2020-01-01 05:00", None, "2020-01-02"], freq="h"),
        "quarter": pd.PeriodIndex(["2020Q1", None, "2020Q3"], freq="Q-FEB"),
        "interval": pd.arrays.IntervalArray.from_tuples([(0, 1), (1, 2), (5, 9)], closed="left"),
        "holes": pd.arrays.IntervalArray.from_tuples([(0.5, 1), None, (5, 9)], closed="neither"),
        "spans": pd.arrays.IntervalArray.from_breaks(pd.date_range("2020", periods=4, tz="Europe/Berlin")),
        "sparse": pd.arrays.SparseArray([0, 1, 0]),
        "blocks": pd.arrays.SparseArray([math.nan, 1, 2.5], kind="block"),
    }
    return pd.DataFrame(columns)


def _labels() -> pd.DataFrame:
    frame = pd.DataFrame(np.arange(12).reshape(2, 6))
    frame.columns = pd.Index(["a", "a", 1, None, ("t", 1), math.nan], name=("name", 1), dtype=object)
    frame.index = pd.Index([5, 5], name=7)
    frame.attrs = {"source": [1, {"x": (1, 2)}]}
    return frame


def _multi() -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", None), ("a", 2)], names=["x", None])
    columns = pd.MultiIndex.from_product([["p", "q"], pd.date_range("2020", periods=2)], names=["l", 5])
    return pd.DataFrame(np.arange(12.0).reshape(3, 4), index=index, columns=columns)


def _unique() -> pd.DataFrame:
    return pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)


#: one of each kind: a name, and what builds it
EXAMPLES: dict[str, Callable[[], pd.DataFrame]] = {
    "numpy": _numpy,
    "objects": _objects,
    "texts": _texts,
    "nullable": _nullable,
    "extension": _extension,
    "labels": _labels,
    "multi": _multi,
    "unique": _unique,
    "no rows": lambda: _extension().iloc[:0],
    "no columns": lambda: pd.DataFrame(index=pd.Index(["a", "b"], name="n")),
    "nothing": pd.DataFrame,
    "matrix": lambda: pd.DataFrame(np.arange(100_000.0).reshape(-1, 5)),
    "every other": lambda: _numpy().iloc[::2],
    "named": lambda: pd.DataFrame(
        {"a": [1, 2]}, index=pd.date_range("2020", periods=2, freq=pd.offsets.MonthEnd(), tz="Asia/Tokyo")
    ),
}


def indexes() -> list[pd.Index]:
    """Return one index of each kind."""
    return [
        pd.RangeIndex(5, 20, 3, name="r"),
        *(pd.Index([1, 2], dtype=kind) for kind in ("i1", "u8", "f4", "complex128", "Int64")),
        *(pd.Index([True, False], dtype=kind) for kind in ("bool", "boolean")),
        pd.Index(["a", "b"], name=("x", 1)),
        pd.Index(["a", None], dtype=object),
        pd.Index([(1, 2), (3, "x")], tupleize_cols=False),
        pd.Index([str(number) for number in range(100)], dtype=object),
        *(
            pd.date_range("2020", periods=4, freq=freq)
            for freq in ("D", "2h", pd.offsets.MonthEnd(), "W-TUE", "QS-FEB", pd.offsets.YearEnd(), "-1D")
        ),
        pd.date_range("2020-10-24", periods=50, freq="h", tz="Europe/Berlin", unit="s"),
        pd.DatetimeIndex(["2020", None, "2021"]),
        pd.timedelta_range("1h", periods=3, freq="2min"),
        pd.timedelta_range("1h", periods=3, unit="ms"),
        pd.period_range("2020", periods=3, freq="M", name="p"),
        pd.interval_range(0, 3, closed="both"),
        pd.CategoricalIndex(["a", "b", None], ordered=True),
        pd.MultiIndex.from_tuples([(1, "a"), (1, "b")], names=["n", "n"]),
        pd.MultiIndex.from_arrays([pd.date_range("2020", periods=2, freq="D"), ["x", "x"]]),
    ]


def scalars() -> list[Any]:
    """Return scalars of pandas', of each kind."""
    berlin = pd.Timestamp("2020-10-25 00:30:00.123456789", tz="UTC").tz_convert("Europe/Berlin")
    return [
        pd.NaT,
        pd.NA,
        pd.Timestamp("2020-01-01 00:00:00.000000001"),
        pd.Timestamp("2020-01-01").as_unit("s"),
        pd.Timestamp("9999-12-31").as_unit("ms"),
        berlin,
        berlin.replace(fold=1),
        pd.Timestamp(datetime.datetime(2020, 10, 25, 2, 30), fold=1),
        pd.Timestamp("2020-01-01", tz="UTC"),
        pd.Timestamp("2020-01-01", tz=datetime.timezone(datetime.timedelta(hours=-3))),
        pd.Timedelta(1, "ns"),
        pd.Timedelta(-5, "D").as_unit("s"),
        pd.Period("2020-01", "M"),
        pd.Period("2020-01-01 05:00", "2h"),
        pd.Period("2020", "Y"),
        pd.Interval(0, 1),
        pd.Interval(0.5, 1, "both"),
        pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021"), "left"),
    ]
