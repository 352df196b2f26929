"""Tables, labels and scalars of pandas: they arrive as they were, in every cell."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.tables import EXAMPLES, indexes, same_array, same_cell, same_table, scalars

CODEC = codec()
MOST = 10**8
HERE = CODEC.libraries()
BARE = {name: version for name, version in HERE.items() if name != "pyarrow"}


def trip(value: Any, has: dict[str, str] = HERE) -> Any:
    parcel = CODEC.pack({"x": value}, has, MOST)
    data = parcel.to_bytes()
    values, _ = CODEC.unpack(memoryview(data), parcel.sizes, zlib.crc32(data), MOST)
    data[:] = bytes(len(data))  # nothing that came may refer to it
    return values["x"]


def refused(value: Any, has: dict[str, str] = HERE) -> Any:
    with pytest.raises(CODEC.Refused) as caught:
        CODEC.pack({"df": value}, has, MOST)
    return caught.value


@pytest.mark.parametrize("has", [HERE, BARE], ids=["pyarrow", "no pyarrow"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_frame_arrives_as_it_was(name: str, has: dict[str, str]) -> None:
    frame = EXAMPLES[name]()
    found = trip(frame, has)
    assert same_table(found, frame)
    for number in range(frame.shape[1]):
        column = frame.iloc[:, number]
        assert same_table(trip(column, has), column)
        if type(column.array).__name__ in dir(pd.arrays):
            assert same_array(trip(column.array, has), column.array)


@pytest.mark.parametrize("name", ["numpy", "nullable", "matrix"])
def test_what_arrives_is_the_user_s_own_to_write_to(name: str) -> None:
    found = trip(EXAMPLES[name]())
    for number in range(found.shape[1]):
        found.iloc[0, number] = found.iloc[2, number]
        assert same_cell(found.iloc[0, number], found.iloc[2, number])
    found["one more"] = 1
    assert found["one more"].sum() == len(found)


@pytest.mark.parametrize("index", indexes(), ids=lambda index: f"{type(index).__name__}-{index.dtype}")
def test_labels_arrive_as_they_were(index: pd.Index) -> None:
    assert same_table(trip(index), index)
    frame = pd.DataFrame({"a": range(len(index))}, index=index)
    assert same_table(trip(frame), frame)
    if index.is_unique:
        assert same_table(trip(frame.T), frame.T)


@pytest.mark.parametrize("value", scalars(), ids=repr)
def test_a_scalar_arrives_as_it_was(value: Any) -> None:
    assert same_cell(trip(value), value)
    assert same_cell(trip({"a": [value]}), {"a": [value]})


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(["s", "ms", "us", "ns"]))
def test_a_moment_and_a_duration_arrive_whatever_their_unit(number: int, unit: str) -> None:
    for kind, scalar in (("M", pd.Timestamp), ("m", pd.Timedelta)):
        try:
            value = scalar(np.array([number]).view(f"{kind}8[{unit}]")[0])
        except (ValueError, OverflowError):  # a year that pandas does not have
            continue
        assert same_cell(trip(value), value)


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.sampled_from([pd.NaT, pd.NA]), st.tuples(st.integers(), st.text(max_size=3)), st.lists(st.integers(), max_size=3)
)  # fmt: skip


@given(st.lists(CELLS, max_size=8), st.one_of(st.none(), st.integers(), st.text(), st.tuples(st.integers())))
def test_an_object_column_arrives_cell_by_cell(cells: list[Any], name: Any) -> None:
    column = pd.Series([None] * len(cells), dtype=object, name=name)
    for number, cell in enumerate(cells):
        column.iat[number] = cell
    assert same_table(trip(column), column)


def test_what_is_not_copied_names_the_column() -> None:
    problem = refused(pd.DataFrame({"n": [1], "a": [object()]}))
    assert (problem.path, str(problem)) == ("df: column 'a'[0]", "is of the type object, which cannot be copied")
    assert refused(pd.DataFrame({"a": [{"k": [object()]}]})).path == "df: column 'a'[0]['k'][0]"
    assert refused(pd.DataFrame({("a", 1): [object()]})).path.startswith("df: column ")
    assert refused(pd.DataFrame({"a": [1]}).rename_axis([(object(),)])).path.startswith("df.index name")
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["k"] = object()
    assert refused(frame).path == "df.attrs['k']"


BIG: dict[str, Any] = {
    "a column": lambda: (pd.DataFrame({"n": [1], "flux": np.arange(1, dtype=">f4")}), ": column 'flux'", "'f4'"),
    "a series": lambda: (pd.Series(np.arange(3, dtype=">i4")), "", "'i4'"),
    "an index": lambda: (pd.Index(np.arange(3, dtype=">i8")), "", "'i8'"),
    "an index of a series": lambda: (pd.Series(1, pd.Index(np.arange(3, dtype=">u2"))), ".index", "'u2'"),
    "labels": lambda: (pd.DataFrame([[1, 2]], columns=pd.Index(np.arange(2, dtype=">c8"))), ".columns", "'c8'"),
    "a level": lambda: (
        pd.MultiIndex([pd.Index(np.arange(2, dtype=">i4"))], [[0, 1]], verify_integrity=False), " level 0", "'i4'"),
    "a sparse column": lambda: (pd.Series(pd.arrays.SparseArray(np.arange(3, dtype=">f8"))), "", "'f8'"),
    "a wrapped array": lambda: (pd.arrays.NumpyExtensionArray(np.arange(3, dtype=">f8")), "", "'f8'"),
    "a wide matrix": lambda: (pd.DataFrame(np.zeros((50000, 2), ">f8")), ": column 0", "'f8'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BIG)
def test_bytes_in_the_other_order_are_refused_before_they_are_sent(name: str) -> None:
    value, place, dtype = BIG[name]()
    problem = refused(value)
    assert problem.path == f"df{place}" and str(problem).startswith("has the dtype >")
    assert problem.remedy == f"convert it with astype({dtype})"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (pd.array(["a"], dtype=np.dtype("U1")), "has the dtype <U1"),
        (pd.array([b"a"], dtype=np.dtype("S1")), "has the dtype |S1"),
        (pd.arrays.NumpyExtensionArray(np.zeros(2, "M8[D]")), "has the dtype datetime64[D]"),
        (pd.arrays.NumpyExtensionArray(np.zeros(2, "m8[7s]")), "has the dtype timedelta64[7s]"),
        (pd.arrays.NumpyExtensionArray(np.zeros(2, "V3")), "has the dtype |V3"),
    ],
    ids=lambda it: str(it)[-20:],
)
def test_what_the_other_side_would_not_read_is_refused_before_it_is_sent(value: Any, what: str) -> None:
    problem = refused({"a": [value]})
    assert problem.path == "df['a'][0]" and str(problem).startswith(what) and "astype" in problem.remedy


@pytest.mark.parametrize("kind", ["columns", "labels", "rows", "a column more"])
def test_a_table_that_another_thread_changes_is_as_it_was(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"a": [1, 2], "o": pd.Series([1j, 2], dtype=object), "c": [1, 2]})
    before, (_, tag, write) = frame.copy(), CODEC.WRITERS["builtins", "complex"]

    def interrupted(writer: Any, item: Any) -> Any:
        if kind == "columns":
            frame.isetitem(0, [5, 5])
            frame.isetitem(2, [5, 5])
        elif kind == "labels":
            frame.columns = pd.Index(["x", "y", "z"])
            frame.index = pd.Index([7, 8])
        elif kind == "rows":
            frame.loc[len(frame)] = [3, 4, 5]
        else:
            frame.insert(0, "new", 1, allow_duplicates=True)
        return write(writer, item)

    monkeypatch.setitem(CODEC.WRITERS, ("builtins", "complex"), ("builtins", tag, interrupted))
    assert same_table(trip(frame), before) and not same_table(frame, before)


def test_a_series_that_another_thread_changes_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    series = pd.Series([1, 2, 3], index=pd.Index([1j, "b", "c"], dtype=object))
    before, (_, tag, write) = series.copy(), CODEC.WRITERS["builtins", "complex"]

    def interrupted(writer: Any, item: Any) -> Any:
        series[f"more {len(series)}"] = 4
        return write(writer, item)

    monkeypatch.setitem(CODEC.WRITERS, ("builtins", "complex"), ("builtins", tag, interrupted))
    assert same_table(trip(series), before) and len(series) > 3


def test_a_table_in_the_middle_of_a_change_is_told_as_that() -> None:
    class Torn:
        dtypes = index = None

        def __getitem__(self, part: Any) -> Any:
            raise IndexError

    with pytest.raises(CODEC.Refused, match="has changed while it was copied"):
        CODEC.snapshot_of(Torn())


def test_what_the_other_side_lacks_is_said_before() -> None:
    problem = refused(pd.DataFrame({"a": [1]}), {"numpy": "2.0"})
    assert str(problem) == "needs pandas on the other side" and problem.remedy.startswith("install pandas there")


def test_a_subclass_is_refused() -> None:
    class Frame(pd.DataFrame):
        pass

    assert refused(Frame({"a": [1]})).remedy.startswith("copy pandas.DataFrame({})")
    assert "Mine" in str(refused(type("Mine", (pd.Series,), {})([1])))


def test_a_frequency_that_has_no_words_is_refused() -> None:
    problem = refused(pd.Series(range(3), pd.date_range("2020", periods=3, freq=pd.DateOffset(months=1))))
    assert problem.path == "df.index" and "DateOffset" in str(problem)


def read(node: Any, *arrays: Any) -> Any:
    """What a reader makes of JSON that nobody of ours has written; arrays stand in buffers."""
    return CODEC.Reader([memoryview(array).cast("B") for array in arrays], MOST).read(node)


def plain(number: int, dtype: str, length: int) -> Any:
    return ["plain", ["ndarray", dtype, [length], "C", number]]


@pytest.mark.parametrize(
    "node",
    [
        ["Index", ["range", [None], 0, 2**62, 1]],
        ["Index", ["range", [None], 0, 5, 0]],
        ["Index", ["range", [None, None], 0, 5, 1]],
        ["Index", ["range", [["list", [1]]], 0, 5, 1]],
        ["Index", ["multi", [None], [["range", [None], 0, 2, 1]], [["ndarray", "<i8", [2], "C", 0]]]],
        ["Index", ["index", [None], plain(0, "<M8[ns]", 2), "D"]],
        ["Index", ["index", [None], plain(0, "<M8[ns]", 2), "D; import os"]],
        ["Index", ["other", [None], plain(0, "<i8", 2), None]],
        ["Series", None, ["range", [None], 0, 3, 1], plain(0, "<i8", 2), {}, True],
        ["DataFrame", ["range", [None], 0, 2, 1], ["range", [None], 0, 2, 1], [plain(0, "<i8", 2)], {}, True],
        ["Timestamp", 1, "eval", None, 0],
        ["Timestamp", 1, "ns", ["zoneinfo", "../../etc/passwd"], 0],
        ["Timestamp", 1, "ns", ["os", "UTC"], 0],
        ["Period", 1, "__import__"],
        ["Interval", 2, 1, "right"],
        ["Interval", 1, 2, "nowhere"],
        ["missing", "eval"],
        ["array", ["unknown", 1]],
        ["array", ["masked", ["ndarray", "<i8", [2], "C", 0], ["ndarray", "|b1", [1], "C", 1]]],
        ["array", ["zoned", ["ndarray", "<M8[ns]", [2], "C", 0], None]],
    ],
    ids=lambda node: str(node)[:60],
)
def test_what_is_not_what_it_says_it_is_is_refused(node: Any) -> None:
    with pytest.raises(CODEC.Refused):
        read(node, np.array([1, 5]), np.array([True]))


@pytest.mark.parametrize(
    "labels", [[1, True], [math.nan, math.nan], [0.0, -0.0], ["a", "a"], [(1, 2), (3, "x")]], ids=str
)
def test_labels_that_are_equal_may_stand_in_one_level(labels: list[Any]) -> None:
    level = pd.Index(labels, dtype=object, tupleize_cols=False)
    index = pd.MultiIndex([level, ["x"]], [[1, 0, -1], [0, 0, 0]], names=["n", "n"], verify_integrity=False)
    assert same_table(trip(index), index)
    frame = pd.DataFrame([[1, 2, 3]], columns=index)
    assert same_table(trip(frame), frame)


@pytest.mark.parametrize(
    "codes", [[0, 2], [-2, 0], [256, 0], [-(2**63), 0], [2**63 - 1, 0]], ids=lambda codes: str(codes[0])
)
def test_codes_beyond_a_level_are_refused(codes: list[int]) -> None:
    levels = [["range", [None], 0, 2, 1]]
    node = ["Index", ["multi", [None], levels, [["ndarray", "<i8", [2], "C", 0]]]]
    with pytest.raises(CODEC.Refused):
        read(node, np.array(codes, "i8"))
    assert list(read(node, np.array([1, 0], "i8"))) == [(1,), (0,)]


@pytest.mark.parametrize(("levels", "codes"), [(0, 0), (1, 2), (2, 1), (2, 2)])
def test_levels_and_their_codes_belong_together(levels: int, codes: int) -> None:
    arrays = [["ndarray", "<i8", [2 - number], "C", number] for number in range(codes)]
    node = ["multi", [None] * levels, [["range", [None], 0, 2, 1]] * levels, arrays]
    with pytest.raises(CODEC.Refused):
        read(["Index", node], np.array([1, 0], "i8"), np.array([1], "i8"))
