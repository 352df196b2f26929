"""Columns: texts and their missing cells, time zones, frequencies of other versions, matrices."""

from __future__ import annotations

import datetime
import math
import types
import zlib
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.tables import same_array, same_table

CODEC = codec()
HERE = CODEC.libraries()
BARE = {name: version for name, version in HERE.items() if name != "pyarrow"}


def trip(value: Any, has: dict[str, str] = HERE) -> tuple[Any, list[str]]:
    parcel = CODEC.pack({"x": value}, has, 10**8)
    data = parcel.to_bytes()
    values, _ = CODEC.unpack(memoryview(data), parcel.sizes, zlib.crc32(data), 10**9)
    return values["x"], parcel.notes


@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT], ids=repr)
def test_missing_texts_stay_what_they_are(count: int, missing: Any) -> None:
    column = pd.Series([missing, *["t"] * count], dtype=object)
    assert same_table(trip(column)[0], column)


@pytest.mark.parametrize("dtype", ["python", "pyarrow"])
def test_texts_of_pandas_dtypes_arrive_in_their_storage(dtype: str) -> None:
    column = pd.array(["a", pd.NA, "ä\0"] * 40, dtype=pd.StringDtype(dtype))
    assert same_array(trip(column)[0], column)
    found, notes = trip(column, BARE)
    assert same_array(found, column)
    assert bool(notes) == (dtype == "pyarrow")


def test_the_default_dtype_of_texts_arrives_as_this_side_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    node = ["texts", True, [[["str", 0], "b"]], None]
    reader = CODEC.Reader([memoryview(b"a")], 10**6)
    assert CODEC.read_column(reader, node).dtype == pd.Series(["a"]).dtype
    node[1] = False
    assert CODEC.read_column(reader, node).dtype == object


HALF = [["a", ["str", 0], ""]]


@pytest.mark.parametrize(
    "node",
    [
        ["texts", True, HALF, None],
        ["texts", True, HALF, ["ndarray", "|u1", [3], "C", "AAAC"]],  # the third is NaN
        ["string", True, "python", HALF, None],
        ["string", True, "pyarrow", HALF, ["ndarray", "|b1", [3], "C", "AAAB"]],
    ],
    ids=lambda node: f"{node[0]} {node[-1] is not None}",
)
def test_half_characters_stay_where_the_default_dtype_cannot_hold_them(node: Any) -> None:
    reader = CODEC.Reader([memoryview(b"\xed\xb2\x80")], 10**6)
    found = CODEC.read_column(reader, node)
    assert list(found)[:2] == ["a", "\udc80"]
    assert repr(found[2]) == ("nan" if node[-1] else "''")
    arrives_otherwise = str(found.dtype) != str(pd.Series(["a"]).dtype)
    assert bool(reader.notes) == arrives_otherwise


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/GMT+5"])
def test_named_zones_are_of_the_library_they_were(name: str) -> None:
    pytz = pytest.importorskip("pytz")
    for zone in (zoneinfo.ZoneInfo(name), pytz.timezone(name)):
        column = pd.Series(pd.date_range("2020", periods=3, tz=zone))
        found, _ = trip(column)
        assert same_table(found, column) and type(found.dt.tz) is type(column.dt.tz)


def test_a_zone_of_another_library_is_refused() -> None:
    tz = pytest.importorskip("dateutil.tz")
    with pytest.raises(CODEC.Refused, match="dateutil") as caught:
        trip(pd.DataFrame({"t": pd.date_range("2020", periods=3, tz=tz.tzlocal())}))
    assert caught.value.path == "x: column 't'"
    fixed = pd.Timestamp("2020", tz=datetime.timezone(datetime.timedelta(hours=1), "name"))
    assert trip(fixed)[0].tzname() == "name"


def is_known(offset: Any) -> bool:
    """Whether this pandas reads the name that it gives a frequency."""
    try:
        return bool(pd.tseries.frequencies.to_offset(offset.freqstr) == offset)
    except ValueError:
        return False


@pytest.mark.parametrize("offset", [pd.offsets.LastWeekOfMonth(weekday=2), pd.offsets.WeekOfMonth(week=1, weekday=2)])
def test_a_frequency_whose_name_pandas_does_not_know_is_named(offset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones do not read the name of every frequency that they have."""
    index = pd.date_range("2020-01-31", periods=3, freq=offset)
    acts: list[Callable[[], Any]] = [lambda: CODEC.pack({"x": index}, HERE, 10**6)]
    if is_known(offset):
        parcel = CODEC.pack({"x": index}, HERE, 10**6)
        data = parcel.to_bytes()
        assert CODEC.unpack(memoryview(data), parcel.sizes, parcel.crc, 10**6)[0]["x"].freq == offset
        acts.append(lambda: CODEC.unpack(memoryview(data), parcel.sizes, parcel.crc, 10**6))

    def unknown(name: str) -> None:
        raise ValueError(f"Invalid frequency: {name}")

    monkeypatch.setattr(pd.tseries.frequencies, "to_offset", unknown)
    for act in acts:
        with pytest.raises(CODEC.Refused, match="has the frequency") as caught:
            act()
        assert caught.value.remedy == "set its freq to None"


@pytest.mark.parametrize("kind", ["i8", "f4", "c16", "M8[s]"])
@pytest.mark.parametrize("build", [pd.Series, lambda cells: pd.DataFrame({"a": cells})], ids=["series", "frame"])
def test_numbers_in_another_byte_order_are_refused_before_they_go(kind: str, build: Any) -> None:
    value = build(np.array([1, 2], np.dtype(kind)).astype(np.dtype(kind).newbyteorder()))
    column = value["a"] if isinstance(value, pd.DataFrame) else value
    if column.dtype.isnative:  # what pandas has made of it
        trip(value)
        return
    with pytest.raises(CODEC.Refused, match="has the dtype") as caught:
        trip(value)
    assert caught.value.remedy == f"convert it with astype('{kind}')"


@pytest.mark.parametrize(("newer", "older"), [("ME", "M"), ("-2h", "-2H"), ("YE-MAR", "A-MAR"), ("W-SUN", "W-SUN")])
def test_frequencies_have_the_names_of_each_version(newer: str, older: str) -> None:
    for version, text in (("2.2.0", newer), ("2.1.4", older)):
        pandas = types.SimpleNamespace(__version__=version)
        assert CODEC.translated(pandas, newer, CODEC.OLDER, False) == text
        assert CODEC.translated(pandas, text, CODEC.OLDER, True) == newer


def test_columns_of_a_matrix_are_not_copied_before_they_are_sent() -> None:
    matrix = np.arange(10**5, dtype=float).reshape(-1, 10)
    frame = pd.DataFrame(matrix, copy=False)
    parcel = CODEC.pack({"x": frame}, HERE, 10**8)
    kept = [part for part in parcel.parts if not hasattr(part, "write_to")]
    assert len(kept) == 1 and len(parcel.parts) == 11
    assert same_table(trip(frame)[0], frame)


def test_an_array_without_dimensions_is_refused() -> None:
    column = pd.Series([None, None], dtype=object)
    column.array[0] = np.array(5)
    if type(column.iloc[0]) is np.ndarray:
        with pytest.raises(CODEC.Refused, match="without dimensions"):
            trip(column)


@pytest.mark.parametrize("dtype", ["<M8", "<M8[0s]", "<M8[2s]", "<m8[D]", "<i8", ">M8[s]"])
def test_moments_are_of_a_unit_that_pandas_has(dtype: str) -> None:
    reader = CODEC.Reader([memoryview(bytes(8))], 10**6)
    node = ["array", ["zoned", ["ndarray", dtype, [1], "C", 0], ["zoneinfo", "UTC"]]]
    with pytest.raises(CODEC.Refused):
        reader.read(node)
