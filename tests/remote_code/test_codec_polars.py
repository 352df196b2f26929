"""polars' tables, through Arrow."""

from __future__ import annotations

import base64
import datetime
import json
import os
import zlib
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("polars")
    pytest.importorskip("pyarrow")

import polars as pl
import pyarrow as pa

from kernel_bridge_magic.remote_code.codec import codec

CODEC = codec()
HERE = CODEC.libraries()


def trip(value: Any, has: dict[str, str] = HERE) -> Any:
    parcel = CODEC.pack({"x": value}, has, 10**8)
    data = parcel.to_bytes()
    values, _ = CODEC.unpack(memoryview(data), parcel.sizes, zlib.crc32(data), 10**8)
    data[:] = bytes(len(data))  # nothing that came may refer to it
    return values["x"]


COLUMNS = [
    *(pl.Series("n", [1, None, 3], dtype=kind) for kind in (pl.Int8, pl.UInt64, pl.Float32, pl.Float64)),
    pl.Series("nan", [1.5, float("nan"), None]),
    pl.Series("s", ["x", None, "ä\0"]),
    pl.Series("b", [b"x", None, b""]),
    pl.Series("?", [True, None, False]),
    pl.Series("null", [None, None]),
    pl.Series("d", [datetime.date(2020, 1, 1), None]),
    pl.Series("t", [datetime.time(1, 2, 3, 4), None]),
    *(pl.Series("m", [0, None, -1], dtype=pl.Datetime(unit, "Europe/Berlin")) for unit in ("ms", "us", "ns")),
    pl.Series("td", [datetime.timedelta(1), None]),
    pl.Series("l", [[1, None], None, []]),
    pl.Series("ls", [["x", None], None, [], ["y" * 20]]),
    pl.Series("lb", [[b"x"], None]),
    pl.Series("lls", [[["x"]], None]),
    pl.Series("lst", [[{"a": "x", "b": [1]}], None]),
    pl.Series("a", [[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
    pl.Series("st", [{"a": 1, "b": ["x"]}, None]),
    pl.Series("c", ["x", None, "y"], dtype=pl.Categorical),
    pl.Series("e", ["x", None, "x"], dtype=pl.Enum(["y", "x"])),
    pl.Series("dec", ["1.50", None]).cast(pl.Decimal(10, 2)),
    pl.Series("no rows", [], dtype=pl.List(pl.String)),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.dtype))
def test_a_column_arrives_as_it_was(column: pl.Series) -> None:
    for value in (column, column[1:]):
        found = trip(value)
        assert type(found) is pl.Series and found.equals(value, check_dtypes=True, check_names=True)
        assert (found.dtype, found.name) == (value.dtype, value.name)
    frame = trip(column.to_frame())
    assert frame.equals(column.to_frame()) and frame.schema == column.to_frame().schema


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.dtype))
def test_columns_in_several_parts_arrive_whole(column: pl.Series) -> None:
    value = pl.concat([column, column[:1]], rechunk=False)
    assert trip(value).equals(value, check_dtypes=True)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("q", [object()]),
        pl.Series("q", [1], dtype=pl.Int128),
        pl.Series("q", [["x"]], dtype=pl.List(pl.Enum(["x"]))),
    ],
    ids=lambda column: str(column.dtype),
)
def test_what_is_not_copied_names_the_column(column: pl.Series) -> None:
    with pytest.raises(CODEC.Refused, match="has the dtype") as caught:
        trip(pl.DataFrame([pl.Series("p", [1]), column]))
    assert caught.value.path == "x: column 'q'"


def test_a_lazy_frame_is_refused() -> None:
    with pytest.raises(CODEC.Refused) as caught:
        trip(pl.DataFrame({"a": [1]}).lazy())
    assert caught.value.remedy.startswith("copy {}.collect()")


@pytest.mark.parametrize("lacks", ["polars", "pyarrow"])
def test_what_the_other_side_lacks_is_said_before(lacks: str) -> None:
    has = {name: version for name, version in HERE.items() if name != lacks}
    with pytest.raises(CODEC.Refused, match=f"needs {lacks}") as caught:
        trip(pl.DataFrame({"a": [1]}), has)
    assert caught.value.remedy.startswith(f"install {lacks} there")


def test_what_polars_does_not_survive_is_refused() -> None:
    # Its Rust panics of a name that is no UTF-8, which is no `Exception` in Python.
    parcel = CODEC.pack({"x": pl.Series("m", [1], dtype=pl.Datetime("ms", "Europe/Berlin"))}, HERE, 10**6)
    name, kind, chunks, enum = json.loads(parcel.parts[0])["x"][1:]
    reader = CODEC.Reader(parcel.parts[1:], 10**6)
    data = base64.b64decode(kind) if isinstance(kind, str) else bytes(reader.buffer(kind))
    changed = base64.b64encode(data.replace(b"Europe/Berlin", b"Europe\xffBerlin")).decode()
    with pytest.raises(CODEC.Refused):
        reader.read(["polars.Series", name, changed, chunks, enum])
    assert len(reader.read(["polars.Series", name, kind, chunks, enum])) == 1


@pytest.mark.parametrize(
    "kind",
    [
        pa.decimal256(60, 2),
        pa.large_list(pa.month_day_nano_interval()),
        pa.large_list(pa.list_(pa.int64())),
        pa.struct([("t", pa.string())]),
        pa.struct([("u", pa.dense_union([pa.field("a", pa.int8())]))]),
    ],
    ids=str,
)
def test_types_that_no_series_is_written_as_are_refused(kind: pa.DataType, capfd: Any) -> None:
    data = base64.b64encode(pa.schema([("", kind)]).serialize().to_pybytes()).decode()
    with pytest.raises(CODEC.Refused):
        CODEC.Reader([], 10**6).read(["polars.Series", "a", data, [], None])
    assert capfd.readouterr().err == ""
