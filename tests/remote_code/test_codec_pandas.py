"""Tables, labels and scalars of pandas: they arrive as they were, in every cell."""

from __future__ import annotations

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
    assert (problem.path, str(problem)) == ("df: column 'a'[0]", "is a object, which cannot be copied")
    assert refused(pd.DataFrame({"a": [{"k": [object()]}]})).path == "df: column 'a'[0]['k'][0]"
    assert refused(pd.DataFrame({("a", 1): [object()]})).path.startswith("df: column ")
    assert refused(pd.DataFrame({"a": [1]}).rename_axis([(object(),)])).path.startswith("df.index name")
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["k"] = object()
    assert refused(frame).path == "df.attrs['k']"


def test_what_the_other_side_lacks_is_said_before() -> None:
    problem = refused(pd.DataFrame({"a": [1]}), {"numpy": "2.0"})
    assert str(problem) == "needs pandas on the other side" and problem.remedy.startswith("install pandas there")


def test_a_subclass_is_refused() -> None:
    class Frame(pd.DataFrame):
        pass

    assert refused(Frame({"a": [1]})).remedy == "copy pandas.DataFrame({})"
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
        ["Index", "range", [None], 0, 2**62, 1],
        ["Index", "range", [None], 0, 5, 0],
        ["Index", "range", [None, None], 0, 5, 1],
        ["Index", "range", [["list", [1]]], 0, 5, 1],
        ["Index", "multi", [None], [["range", [None], 0, 2, 1]], [["ndarray", "<i8", [2], "C", 0]]],
        ["Index", "index", [None], plain(0, "<M8[ns]", 2), "D"],
        ["Index", "index", [None], plain(0, "<M8[ns]", 2), "D; import os"],
        ["Index", "other", [None], plain(0, "<i8", 2), None],
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
