"""`.arrow` and `.csv`: files of tables.

A library that writes a table may change it without an error: what an Arrow file would bring back as something else is
looked for before it is written.
"""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from kernel_bridge_magic.cli.unfit import HALF, Unfit, is_of_library, library, short, step, unfit_type
from kernel_bridge_magic.transfer.summary import is_exactly, name_of

#: kinds of dtypes whose items have one spelling: booleans, integers, floats, texts
_SPELT = "biufU"
#: what has no spelling in a .csv file, as a cell: pandas would write what `repr` says
_UNSPELT = (bytes, bytearray, list, tuple, set, frozenset, dict)
_HALVES = re.compile("[\ud800-\udfff]")
_FIELDS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")
_OBJECT = "Object"  # a dtype of Polars, of which Arrow would get addresses in memory
_TYPED = "give it a dtype in the other kernel, for example with {}."
_AS_TEXT = "convert it in the other kernel, for example with {}.astype(str)"
_RELABEL = "give it other labels in the other kernel"


class _Nowhere(io.RawIOBase):
    """A file that keeps nothing, to see whether something can be written."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


# -- .arrow


def read_arrow(file: BinaryIO) -> Any:
    """Return the table of an Arrow file: a DataFrame of pandas where that is installed."""
    library("pyarrow")
    ipc = library("pyarrow.ipc", "pyarrow")
    table = ipc.open_file(file).read_all()
    table.validate(full=True)  # whoever wrote it may have been wrong, and wrong offsets end a process
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return table
    return _with_missing(pandas, table, table.to_pandas())


def _with_missing(pandas: Any, table: Any, frame: Any) -> Any:
    """Return the frame of a table, with integers still exact in columns that lack some: they became floats."""
    metadata = table.schema.pandas_metadata or {}
    columns = table.drop_columns([name for name in metadata.get("index_columns", ()) if type(name) is str])
    if columns.num_columns == frame.shape[1]:
        for index, column in enumerate(columns.columns):
            kind, is_float = str(column.type), str(frame.dtypes.iloc[index]) == "float64"
            if column.null_count and is_float and "int" in kind:
                dtype = pandas.api.types.pandas_dtype(kind.replace("int", "Int").replace("uI", "UI"))
                frame.isetitem(index, column.to_pandas(types_mapper={column.type: dtype}.get).set_axis(frame.index))
    return frame


def write_arrow(value: Any, file: BinaryIO) -> None:
    """Write a table as an Arrow file.

    Raises:
        Unfit: it cannot hold it.
    """
    pyarrow = library("pyarrow")
    ipc = library("pyarrow.ipc", "pyarrow")
    cls = type(value)
    if is_exactly(cls, "pandas", "DataFrame"):
        table = _arrow_of_pandas(pyarrow, value)
    elif is_exactly(cls, "polars", "DataFrame"):
        table = _arrow_of_polars(value)
    elif is_exactly(cls, "pyarrow", "Table"):
        table = value
    else:
        raise unfit_type(value)
    with ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _arrow_of_pandas(pyarrow: Any, frame: Any) -> Any:
    if not frame.columns.is_unique:
        label = frame.columns[frame.columns.duplicated()][0]
        raise Unfit(f"has several columns called {short(repr(label))}", remedy=_RELABEL)
    parts = list(_parts_of(frame))
    # Arrow makes other values of objects: lists become arrays, integers int64, and dicts gain each other's keys.
    for path, part in parts:
        kinds = dict.fromkeys(type(cell) for cell in _objects_of(part) if cell is not None)
        odd = next((kind for kind in kinds if kind is not str), None)
        if odd is not None:
            way = "infer_objects()" if len(kinds) == 1 and odd in (bool, int, float) else "astype('string')"
            raise Unfit(f"has objects of the type {name_of(odd)}", path=path, remedy=_TYPED + way)
    try:
        table = pyarrow.Table.from_pandas(frame)
        back = pyarrow.Table.from_pandas(frame.iloc[:0]).to_pandas()
    except BaseException as problem:
        if not is_of_library(problem):
            raise
        raise _culprit(pyarrow, parts) from None
    if repr(back.attrs) != repr(frame.attrs):  # keys and items that are not like JSON, or an older pyarrow
        raise Unfit("has an item that comes back as another", path=".attrs", remedy="keep it as a variable of its own")
    for (path, part), (_, came) in zip(parts, _parts_of(back), strict=True):
        _check_kept(path, part, came)
    return table


def _parts_of(frame: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a frame, its index and its labels level by level, each with its path."""
    for index, label in enumerate(frame.columns):
        yield step(label), frame.iloc[:, index]
    for path, index in ((".index", frame.index), (".columns", frame.columns)):
        for level in range(index.nlevels):
            yield f"{path} level {level}" if index.nlevels > 1 else path, index.get_level_values(level)


def _objects_of(part: Any) -> Iterable[Any]:
    """Return the cells of a column that are objects of Python: of its categories, where it has some."""
    values = part.dtype.categories if str(part.dtype) == "category" else part
    return values if str(values.dtype) == "object" else ()


def _check_kept(path: str, part: Any, came: Any) -> None:
    """Check whether a column, an index or labels come back as what they are; `came` is without items.

    Raises:
        Unfit: they do not.
    """
    before, after = part.dtype, came.dtype
    if str(before) == str(after) == "category":
        before, after = before.categories.dtype, after.categories.dtype
    # Objects are texts by now, and come back in the dtype that texts have.
    if before != after and str(before) != "object":
        raise _unfit_dtype(path, part)
    if not path.startswith("[") and (type(part.name), part.name) != (type(came.name), came.name):
        raise Unfit(f"has the name {short(repr(part.name))}", path=path, remedy="rename it in the other kernel")


def _unfit_dtype(path: str, part: Any) -> Unfit:
    dtype = short(part.dtype)
    remedy = "copy {}.sparse.to_dense()" if dtype.startswith("Sparse") else _AS_TEXT
    return Unfit(f"has the dtype {dtype}", path=path, remedy=remedy)


def _culprit(pyarrow: Any, parts: list[tuple[str, Any]]) -> Unfit:
    """Return the error for the part of a frame for which Arrow has raised something."""
    for path, part in parts:
        alone = part.to_frame(name="a").reset_index(drop=True)
        try:
            pyarrow.Table.from_pandas(alone).slice(0, 0).to_pandas()
        except UnicodeEncodeError:
            return Unfit(HALF, path=path)
        except BaseException as found:
            if not is_of_library(found):
                raise
            return _unfit_dtype(path, part)
    # Each of them can be written by itself, so that it is what they are for the frame.
    return Unfit(f"has labels of the dtype {short(parts[-1][1].dtype)}", path=".columns", remedy=_RELABEL)


def _arrow_of_polars(frame: Any) -> Any:
    try:
        if _OBJECT in map(str, frame.dtypes):
            raise TypeError
        return frame.to_arrow()
    except BaseException as problem:
        if is_of_library(problem):
            _try_columns(_columns_of_polars(frame), lambda part: part.to_arrow())
        raise


def _columns_of_polars(frame: Any) -> Iterator[tuple[str, str, Any]]:
    for column in frame.get_columns():
        yield column.name, short(column.dtype), column.to_frame()


def _try_columns(columns: Iterable[tuple[str, str, Any]], write: Callable[[Any], object]) -> None:
    """Write each column of a table by itself; a column is its label, its dtype and a table.

    Raises:
        Unfit: one of them cannot be written.
    """
    for label, dtype, part in columns:
        try:
            if dtype == _OBJECT:
                raise TypeError
            write(part)
        except BaseException as problem:
            if not is_of_library(problem):
                raise
            remedy = "convert it in the other kernel"
            raise Unfit(f"has the dtype {dtype}", path=step(label), remedy=remedy) from None


# -- .csv


def read_csv(file: BinaryIO) -> Any:
    """Return the table of a .csv file as pandas reads it."""
    pandas = library("pandas")
    try:
        return pandas.read_csv(file, low_memory=False)  # in one piece, so that a column has one type
    except pandas.errors.EmptyDataError:
        raise Unfit("has no columns", remedy="check the file") from None
    except pandas.errors.ParserError as problem:
        found = _FIELDS.search(str(problem))
        if not found:
            raise
        expected, number, saw = found.groups()
        raise Unfit(f"has {saw} fields in line {number}, and {expected} before", remedy="check the file") from None


def write_csv(value: Any, file: BinaryIO) -> None:
    """Write a table, a column or an array as a .csv file.

    Raises:
        Unfit: it cannot hold it.
    """
    cls = type(value)
    if is_exactly(cls, "pandas", "DataFrame") or is_exactly(cls, "pandas", "Series"):
        _write_pandas_csv(value, file)
    elif is_exactly(cls, "polars", "DataFrame"):
        _write_or_name(value, file, lambda table, to: table.write_csv(to), _columns_of_polars)
    elif is_exactly(cls, "polars", "Series"):
        frame, has_name = value.to_frame(), bool(value.name)
        write: Callable[[Any, Any], object] = lambda table, to: table.write_csv(to, include_header=has_name)  # noqa: E731
        _write_or_name(frame, file, write, _columns_of_polars)
    elif is_exactly(cls, "pyarrow", "Table"):
        _write_pyarrow_csv(value, file)
    elif is_exactly(cls, "numpy", "ndarray"):
        _write_array_csv(value, file)
    else:
        raise unfit_type(value)


def _write_pandas_csv(value: Any, file: BinaryIO) -> None:
    pandas = library("pandas")
    parts = list(_parts_of(value)) if value.ndim == 2 else [("", value), (".index", value.index)]
    for path, part in parts:
        # Columns of Arrow's own types have lists and bytes for cells, too.
        cells = part if "<" in str(part.dtype) or "binary" in str(part.dtype) else _objects_of(part)
        odd = next(
            (cell for cell in cells if type(cell) in _UNSPELT or is_exactly(type(cell), "numpy", "ndarray")), None
        )
        if odd is not None and path != ".columns":
            raise Unfit(f"has objects of the type {name_of(type(odd))}", path=path, remedy=_AS_TEXT)
    # An index that only counts the rows is made anew by whoever reads the file.
    counts = type(value.index) is pandas.RangeIndex and value.index.equals(pandas.RangeIndex(len(value)))
    header = value.ndim == 2 or value.name is not None
    try:
        value.to_csv(file, index=not counts or value.index.name is not None, header=header, lineterminator="\n")
    except UnicodeEncodeError:
        found = (path for path, part in parts for cell in part if type(cell) is str and _HALVES.search(cell))
        raise Unfit(HALF, path=next(found, "")) from None


def _write_pyarrow_csv(table: Any, file: BinaryIO) -> None:
    write = library("pyarrow.csv", "pyarrow").write_csv
    types = library("pyarrow.types", "pyarrow")
    for field in table.schema:
        # Arrow would write durations as numbers without their unit, and bytes as they are.
        if types.is_duration(field.type) or types.is_binary(field.type) or types.is_large_binary(field.type):
            remedy = "convert it in the other kernel"
            raise Unfit(f"has the dtype {short(field.type)}", path=step(field.name), remedy=remedy)
    _write_or_name(table, file, write, _columns_of_pyarrow)


def _columns_of_pyarrow(table: Any) -> Iterator[tuple[str, str, Any]]:
    for index, field in enumerate(table.schema):
        yield field.name, short(field.type), table.select([index])


def _write_or_name(
    table: Any,
    file: BinaryIO,
    write: Callable[[Any, Any], object],
    columns: Callable[[Any], Iterable[tuple[str, str, Any]]],
) -> None:
    """Write a table; where its library refuses it, name the column for which it does."""
    try:
        write(table, file)
    except OSError:
        raise
    except BaseException as problem:
        if is_of_library(problem):
            _try_columns(columns(table), lambda part: write(part, _Nowhere()))
        raise


def _write_array_csv(array: Any, file: BinaryIO) -> None:
    if array.ndim not in (1, 2):
        raise Unfit(f"has {array.ndim} dimensions", remedy="write a .npy file")
    # Python has no float of more than 8 bytes.
    if array.dtype.kind not in _SPELT or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        raise Unfit(f"has the dtype {short(array.dtype)}", remedy="write a .npy file")
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        csv.writer(text, lineterminator="\n").writerows(array.reshape(len(array), -1).tolist() if array.size else ())
    except UnicodeEncodeError:
        raise Unfit(HALF, remedy="write a .npy file") from None
    finally:
        text.detach()
