"""Tables in `.arrow` and `.csv` files: what comes back, and what is refused, with the column that it stands in."""

from __future__ import annotations

import datetime
import io
import warnings
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.cli.files import Output, read
from kernel_bridge_magic.cli.table_files import read_csv
from kernel_bridge_magic.errors import BadInput
from tests.cli.test_formats import MOST, back, refused

pd: Any = pytest.importorskip("pandas")
pa: Any = pytest.importorskip("pyarrow")


def frame(*columns: Any, labels: Any = None, index: Any = None) -> Any:
    table = pd.DataFrame({str(number): column for number, column in enumerate(columns)}, index=index)
    return table if labels is None else table.set_axis(labels, axis=1)


WHOLE = {
    "texts": frame(["x", "y"], index=["r", "s"]),
    "categories": frame(pd.Categorical(["u", "v"], ordered=True)),
    "category index": frame([1, 2], index=pd.CategoricalIndex(["u", "v"])),
    "levels": frame([1, 2], index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["n", None])),
    "numbers for labels": frame([1], [2], labels=[3, 5]),
    "dates for labels": frame([1], [2], labels=pd.DatetimeIndex(["2026-01-01", "2026-01-02"])),
    "levels of labels": frame([1], [2], labels=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    "nullable": frame(pd.array([1, None], "Int64"), pd.array([True, None], "boolean"), pd.array(["x", None], "string")),
    "times": frame(pd.to_datetime(["2026-01-01"]).tz_localize("Europe/Oslo"), pd.to_timedelta([1], unit="s")),
    "periods": frame(pd.period_range("2026-01", periods=2, freq="M"), pd.interval_range(0, 2)),
    "a named index": frame([1, 2], index=pd.RangeIndex(0, 4, 2, name="q")),
    "named labels": frame([1, 2]).rename_axis(columns="q"),
    "no rows": frame([]),
    "no columns": pd.DataFrame(index=[1, 2]),
    "nothing": pd.DataFrame(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_arrow_file_holds_a_frame_as_it_is(tmp_path: Path, name: str) -> None:
    came = back(tmp_path, ".arrow", WHOLE[name])
    pd.testing.assert_frame_equal(came, WHOLE[name], check_column_type=name not in ("no columns", "nothing"))


TWO = {"a": [1], "b": [2]}
OBJECTS = "; give it a dtype in the other kernel, for example with "
TEXTS = "; convert it in the other kernel, for example with "
CANNOT = ", which .arrow files cannot hold"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (frame([[1], 2]), f"x['0'] has objects of the type list{CANNOT}{OBJECTS}x['0'].astype('string')"),
        (frame([1], [2j]), f"x['1'] has the dtype complex128{CANNOT}{TEXTS}x['1'].astype(str)"),
        (frame(pd.arrays.SparseArray([0, 1])), f"x['0'] has the dtype Sparse[int64, 0]{CANNOT}; copy "
         "x['0'].sparse.to_dense()"),
        (frame(pd.Series(["\ud800"], dtype="string[python]")), f"x['0'] has half of a surrogate pair{CANNOT}; convert "
         "it in the other kernel first"),
        (frame([1], index=pd.Index(["\ud800"], dtype=object)), f"x.index has half of a surrogate pair{CANNOT}; convert "
         "it in the other kernel first"),
        (frame([1], labels=pd.Index(["\ud800"], dtype=object)), f"x.columns has half of a surrogate pair{CANNOT}; "
         "convert it in the other kernel first"),
        (frame(pd.Categorical([1, "a"])), f"x['0'] has objects of the type int{CANNOT}{OBJECTS}"
         "x['0'].astype('string')"),
        (frame([1, 2], index=pd.Index([1, 2], dtype=object)), f"x.index has objects of the type int{CANNOT}{OBJECTS}"
         "x.index.infer_objects()"),
        (frame(pd.Series([True, None], dtype=object)), f"x['0'] has objects of the type bool{CANNOT}{OBJECTS}"
         "x['0'].infer_objects()"),
        (frame([1], index=pd.MultiIndex.from_arrays([["a"], pd.Index([1.5], dtype=object)])), "x.index level 1 has "
         f"objects of the type float{CANNOT}{OBJECTS}it.infer_objects()"),
        (frame([1], [2], labels=[1, "a"]), f"x.columns has objects of the type int{CANNOT}{OBJECTS}"
         "x.columns.astype('string')"),
        (frame([1], [2], labels=pd.Index([1, 2], dtype=object)), f"x.columns has objects of the type int{CANNOT}"
         f"{OBJECTS}x.columns.infer_objects()"),
        (frame([1], [2], labels=["a", "a"]), f"x has several columns called 'a'{CANNOT}; give it other labels in the "
         "other kernel"),
        (frame([1], [2], labels=pd.CategoricalIndex(["a", "b"])), f"x.columns has labels of the dtype category"
         f"{CANNOT}; give it other labels in the other kernel"),
        (frame([1], labels=pd.period_range("2026-01", periods=1, freq="M")), "x.columns has labels of the dtype "
         f"period[M]{CANNOT}; give it other labels in the other kernel"),
        (frame([1], labels=pd.interval_range(0, 1)), "x.columns has labels of the dtype interval[int64, right]"
         f"{CANNOT}; give it other labels in the other kernel"),
        (frame([1], labels=pd.to_timedelta([1], unit="s").as_unit("s")), "x.columns has labels of the dtype "
         f"timedelta64[s]{CANNOT}; give it other labels in the other kernel"),
        (frame([1], index=pd.Index([1], name=7)), f"x.index has the name 7{CANNOT}; rename it in the other kernel"),
        (frame([1j], labels=["a\x1b" * 30]),
         "x['a\\x1ba\\x1ba\\x1ba\\x1ba\\x1ba\\x1ba\\x1ba\\x…] "
         f"has the dtype complex128{CANNOT}{TEXTS}it.astype(str)"),
    ],
)  # fmt: skip
def test_what_an_arrow_file_would_change_is_named(tmp_path: Path, table: Any, says: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nor does a library's warning reach anybody
        assert refused(tmp_path, ".arrow", table) == says


@pytest.mark.parametrize("attrs", [{1: 2}, {"a": (1, 2)}, {"a": {3}}, {"a": [{2: 1}]}])
def test_attrs_that_an_arrow_file_would_change_are_refused(tmp_path: Path, attrs: dict[Any, Any]) -> None:
    table = frame([1])
    table.attrs = {"a": [1, {"b": None}], "c": "x"}
    if pa.Table.from_pandas(table).to_pandas().attrs:  # an older pyarrow keeps none
        assert back(tmp_path, ".arrow", table).attrs == table.attrs
        (tmp_path / "x.arrow").unlink()
    table.attrs = attrs
    told = refused(tmp_path, ".arrow", table)
    assert told.startswith("x.attrs has an item that comes back as another, which .arrow files cannot hold; ")


def test_columns_of_polars_that_arrow_lacks(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    remedy = "which .arrow files cannot hold; convert it in the other kernel"
    objects = pl.DataFrame({"n": [1], "a": [object()]})
    assert refused(tmp_path, ".arrow", objects) == f"x['a'] has the dtype Object, {remedy}"
    came = back(tmp_path, ".arrow", pl.DataFrame({"a": [2**53 + 1, None], "b": ["x", None], "c": [0.5, None]}))
    assert came["a"].tolist() == [2**53 + 1, pd.NA]
    assert str(came["c"].dtype) == "float64"


@pytest.mark.parametrize("kind", ["int64", "uint64", "int8"])
def test_integers_stay_integers_where_some_are_missing(tmp_path: Path, kind: str) -> None:
    table = pa.table({"a": pa.array([100, None], kind), "b": pa.array([1, 2], kind)})
    came = back(tmp_path, ".arrow", table)
    assert [str(dtype).lower() for dtype in came.dtypes] == [kind, kind]
    assert came["a"].tolist() == [100, pd.NA]
    both = pa.table([pa.array([2**60 if kind.endswith("64") else 1, None], kind)] * 2, names=["a", "a"])
    assert [str(dtype).lower() for dtype in back(tmp_path, ".arrow", both).dtypes] == [kind, kind]


def test_tables_and_columns_in_csv(tmp_path: Path) -> None:
    plain = pd.DataFrame({"a": [1, 2], "b": [0.5, 1e300]})
    pd.testing.assert_frame_equal(back(tmp_path, ".csv", plain), plain)
    output = Output(str(tmp_path / "x.csv"), replace=True)
    output.write("x", pd.Series([1, 2], index=["a", "b"], name="n"))
    assert (tmp_path / "x.csv").read_text() == ",n\na,1\nb,2\n"
    output.write("x", pa.table({"a": [1], "b": ["x"]}))
    assert (tmp_path / "x.csv").read_text() == '"a","b"\n1,"x"\n'


def test_columns_of_polars_in_csv(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    output = Output(str(tmp_path / "x.csv"), replace=True)
    output.write("x", pl.Series("n", [1, 2]))
    assert (tmp_path / "x.csv").read_text() == "n\n1\n2\n"
    output.write("x", pl.Series([1, 2]))
    assert (tmp_path / "x.csv").read_text() == "1\n2\n"
    (tmp_path / "x.csv").unlink()
    assert refused(tmp_path, ".arrow", pl.Series([1])).endswith("write it with --output FILE, where FILE ends in .csv")
    delta = datetime.timedelta(1)
    for value, dtype in (
        ([1], "List(Int64)"),
        (b"x", "Binary"),
        ({"k": 1}, "Struct({'k': Int64})"),
        (delta, "Duration"),
    ):
        told = refused(tmp_path, ".csv", pl.DataFrame({"n": [1], "a": [value]}))
        assert told.startswith(f"x['a'] has the dtype {dtype}")
        assert told.endswith(", which .csv files cannot hold; convert it in the other kernel")
    assert refused(tmp_path, ".csv", pl.Series("s", [[1]])).startswith("x['s'] has the dtype List(Int64)")


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ([[1]], "list<"),
        ([{"k": 1}], "struct<"),
        ([b"x"], "binary"),
        ([datetime.timedelta(1)], "duration[us]"),
        (pa.array([b"x"], pa.large_binary()), "large_binary"),
    ],
)
def test_columns_of_pyarrow_that_csv_lacks(tmp_path: Path, column: Any, dtype: str) -> None:
    told = refused(tmp_path, ".csv", pa.table({"n": [1], "a": column}))
    assert told.startswith(f"x['a'] has the dtype {dtype}")
    assert told.endswith(", which .csv files cannot hold; convert it in the other kernel")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (frame([[1]]), "x['0'] has objects of the type list"),
        (frame([1], [b"x"]), "x['1'] has objects of the type bytes"),
        (pd.Series([{1}]), "x has objects of the type set"),
        (frame(pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))), "x['0'] has objects of the type"),
        (frame([1], index=pd.Index([b"r"], dtype=object)), "x.index has objects of the type bytes"),
        (frame(pd.Series(["\ud800"], dtype="string[python]")), "x['0'] has half of a surrogate pair"),
        (pd.Series(["a", "\udfff"], dtype=object), "x has half of a surrogate pair"),
        (pd.Series([1], index=pd.Index(["\ud800"], dtype=object)), "x.index has half of a surrogate pair"),
        (frame([1], labels=pd.Index(["\ud800"], dtype=object)), "x.columns has half of a surrogate pair"),
    ],
)
def test_what_has_no_spelling_in_csv(tmp_path: Path, value: Any, says: str) -> None:
    told = refused(tmp_path, ".csv", value)
    assert told.startswith(says) and ", which .csv files cannot hold; convert it in the other kernel" in told


def test_what_has_a_spelling_in_csv(tmp_path: Path) -> None:
    mixed = frame([1, "x", None, 2.5, datetime.date(2026, 1, 2), pd.NA])
    Output(str(tmp_path / "x.csv"), replace=False).write("x", mixed)
    assert (tmp_path / "x.csv").read_text() == '0\n1\nx\n""\n2.5\n2026-01-02\n""\n'


def test_a_column_of_a_large_csv_file_has_one_type() -> None:
    # pandas would read it piece by piece, and warn.
    data = io.BytesIO(b"a,b\n" + b"1,x\n" * 600_000 + b"y,1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert set(map(type, read_csv(data)["a"])) == {str}


def test_a_csv_file_is_read_as_pandas_reads_it_and_an_arrow_file_keeps_types(tmp_path: Path) -> None:
    texts = frame(["01234", "7"], ["NA", "x"], ["null", "y"])
    came = back(tmp_path, ".csv", texts)
    assert came["0"].tolist() == [1234, 7]
    assert came["1"].isna().tolist() == came["2"].isna().tolist() == [True, False]
    pd.testing.assert_frame_equal(back(tmp_path, ".arrow", texts), texts)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has no columns, so nothing was copied; check the file"),
        (b"\n\n", "has no columns, so nothing was copied; check the file"),
        (b"a,b\n1,2\n1,2,3\n", "has 3 fields in line 3, and 2 before, so nothing was copied; check the file"),
        (b'a,b\n1,"2\n', "cannot be read as .csv (ParserError), so nothing was copied. Check the file"),
    ],
)
def test_a_csv_file_that_pandas_cannot_read(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(BadInput) as problem:
        read(str(tmp_path / "x.csv"), MOST, None)
    assert str(problem.value).endswith(f"x.csv' {says}")
