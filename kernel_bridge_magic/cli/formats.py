"""The table of file formats of variables: `.json`, `.npy`, `.arrow`, `.csv`, `.png`, `.txt`.

A file holds a value as it is, or `Unfit` says why not: nothing is converted in silence.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from kernel_bridge_magic.transfer.summary import is_exactly, name_of

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
#: kinds of dtypes whose items have one spelling: booleans, integers, floats, texts
_SPELT = "biufU"
_DEEPEST = 100
_INSTEAD = (
    (("pandas", "DataFrame"), (".csv", ".arrow")),
    (("polars", "DataFrame"), (".csv", ".arrow")),
    (("pyarrow", "Table"), (".csv", ".arrow")),
    (("pandas", "Series"), (".csv",)),
    (("numpy", "ndarray"), (".npy", ".csv")),
    (("PIL.Image", "Image"), (".png",)),
    (("builtins", "str"), (".json", ".txt")),
)  # fmt: skip


class Unfit(Exception):
    """A value that a file cannot hold, or a file that cannot be read.

    `what` says what it is ("is a set"), `path` where in the value it stands ("[3]"), `suffixes` are those of files that
    can hold it. `remedy` is what to do, "" where the suffixes say that.
    """

    def __init__(self, what: str, *, path: str = "", suffixes: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.path, self.suffixes, self.remedy = what, path, suffixes, remedy


@dataclass(frozen=True)
class Format:
    """How a file of one suffix is read and written."""

    read: Callable[[BinaryIO], Any]
    write: Callable[[Any, BinaryIO], object]


def suffixes() -> str:
    """Return the suffixes that are known, for an error text."""
    *most, last = FORMATS
    return f"{', '.join(most)} and {last}"


def json_text(value: Any) -> str:
    """Return a value as JSON, which holds it as it is; tuples become lists, as `json` has it.

    Raises:
        Unfit: it cannot hold it.
    """
    _check_json(value, "", 0)
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # an int of more digits than Python writes
        raise Unfit("has an integer of too many digits", remedy="convert it there with hex()") from None


def _check_json(value: Any, path: str, depth: int) -> None:
    cls = type(value)
    if depth > _DEEPEST:
        raise Unfit("is nested too deeply", path=path)
    if cls is float and not math.isfinite(value):
        raise Unfit(f"is {value}", path=path, remedy="replace it in the other kernel, for example by None")
    if cls in (list, tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]", depth + 1)
    elif cls is dict:
        for key, item in value.items():
            if type(key) is not str:
                told = f"has a key of the type {name_of(type(key))}"
                raise Unfit(told, path=path, remedy="keys of JSON are texts; convert them in the other kernel")
            _check_json(item, f"{path}[{key[:40]!r}]", depth + 1)
    elif value is not None and cls not in (bool, int, float, str):
        raise _unfit(value, path)


def _unfit(value: Any, path: str = "") -> Unfit:
    cls = type(value)
    fitting = next((found for known, found in _INSTEAD if is_exactly(cls, *known)), ())
    if not fitting and cls in (bool, int, float, list, tuple, dict, type(None)):
        fitting = (".json",)
    return Unfit(f"is of the type {name_of(cls)}", path=path, suffixes=fitting)


def _library(name: str, install: str = "") -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = install or name
        raise Unfit(f"needs {package}, which is not here", remedy=f"run pip install {package}") from None


# -- .json and .txt


def _read_json(file: BinaryIO) -> Any:
    def refuse(word: str) -> None:
        raise Unfit(f"has {word}, which is no JSON", remedy="replace it, for example by null")

    try:
        return json.loads(file.read().decode("utf-8-sig"), parse_constant=refuse)
    except UnicodeDecodeError:
        raise Unfit("is not UTF-8 text", remedy="save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unfit(f"is no JSON (line {error.lineno}, column {error.colno})", remedy="check the file") from None
    except RecursionError:
        raise Unfit("is nested too deeply", remedy="check the file") from None


def _write_json(value: Any, file: BinaryIO) -> None:
    file.write(json_text(value).encode("ascii") + b"\n")


def _read_text(file: BinaryIO) -> str:
    try:
        return file.read().decode("utf-8")
    except UnicodeDecodeError:
        raise Unfit("is not UTF-8 text", remedy="save it as UTF-8") from None


def _write_text(value: Any, file: BinaryIO) -> None:
    if type(value) is not str:
        raise _unfit(value)
    try:
        file.write(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise Unfit("has half of a surrogate pair", remedy=".json files can hold it") from None


# -- .npy


def _read_npy(file: BinaryIO) -> Any:
    numpy = _library("numpy")
    # `load` would also read archives, and pickles where it may.
    return numpy.lib.format.read_array(file, allow_pickle=False)


def _write_npy(value: Any, file: BinaryIO) -> None:
    if not is_exactly(type(value), "numpy", "ndarray"):
        raise _unfit(value)
    if value.dtype.hasobject:
        raise Unfit("has objects for items", remedy="convert it in the other kernel, for example with .astype(str)")
    _library("numpy").lib.format.write_array(file, value, allow_pickle=False)


# -- .arrow


def _read_arrow(file: BinaryIO) -> Any:
    _library("pyarrow")
    ipc = _library("pyarrow.ipc", "pyarrow")
    table = ipc.open_file(file).read_all()
    table.validate(full=True)  # whoever wrote it may have been wrong, and wrong offsets end a process
    try:
        importlib.import_module("pandas")
    except ImportError:
        return table
    return table.to_pandas()


def _write_arrow(value: Any, file: BinaryIO) -> None:
    pyarrow = _library("pyarrow")
    ipc = _library("pyarrow.ipc", "pyarrow")
    cls = type(value)
    if is_exactly(cls, "pandas", "DataFrame"):
        table = _arrow_of_pandas(pyarrow, value)
    elif is_exactly(cls, "polars", "DataFrame"):
        table = value.to_arrow()
    elif is_exactly(cls, "pyarrow", "Table"):
        table = value
    else:
        raise _unfit(value)
    with ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _arrow_of_pandas(pyarrow: Any, frame: Any) -> Any:
    # Arrow makes other values of objects: lists become arrays, integers int64, and dicts gain each other's keys.
    for index, (label, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        cells = frame.iloc[:, index] if str(dtype) == "object" else ()
        odd = next((cell for cell in cells if type(cell) is not str and cell is not None), None)
        if odd is not None:
            remedy = "give the column a dtype in the other kernel, for example with .astype('string')"
            raise Unfit(f"has objects of the type {name_of(type(odd))}", path=f"[{str(label)[:40]!r}]", remedy=remedy)
    try:
        return pyarrow.Table.from_pandas(frame)
    except (pyarrow.ArrowException, ValueError, TypeError):
        remedy = "give the columns labels of their own, and dtypes; or write a .csv file"
        raise Unfit("has labels or columns", remedy=remedy) from None


# -- .csv


def _read_csv(file: BinaryIO) -> Any:
    return _library("pandas").read_csv(file)


def _write_csv(value: Any, file: BinaryIO) -> None:
    cls = type(value)
    if is_exactly(cls, "pandas", "DataFrame") or is_exactly(cls, "pandas", "Series"):
        pandas = _library("pandas")
        # An index that only counts the rows is made anew by whoever reads the file.
        counts = type(value.index) is pandas.RangeIndex and value.index.equals(pandas.RangeIndex(len(value)))
        header = value.ndim == 2 or value.name is not None
        value.to_csv(file, index=not counts or value.index.name is not None, header=header, lineterminator="\n")
    elif is_exactly(cls, "polars", "DataFrame"):
        value.write_csv(file)
    elif is_exactly(cls, "pyarrow", "Table"):
        _library("pyarrow.csv", "pyarrow").write_csv(value, file)
    elif is_exactly(cls, "numpy", "ndarray"):
        _write_array_csv(value, file)
    else:
        raise _unfit(value)


def _write_array_csv(array: Any, file: BinaryIO) -> None:
    if array.ndim not in (1, 2):
        raise Unfit(f"has {array.ndim} dimensions", remedy="write a .npy file")
    # Python has no float of more than 8 bytes.
    if array.dtype.kind not in _SPELT or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        raise Unfit(f"has the dtype {str(array.dtype)[:40]}", remedy="write a .npy file")
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        csv.writer(text, lineterminator="\n").writerows(array.reshape(len(array), -1).tolist() if array.size else ())
    except UnicodeEncodeError:
        raise Unfit("has half of a surrogate pair", remedy="write a .npy file") from None
    finally:
        text.detach()


# -- .png


def _read_png(file: BinaryIO) -> Any:
    images = _library("PIL.Image", "pillow")
    with images.open(file, formats=["PNG"]) as picture:
        picture.load()
        if getattr(picture, "n_frames", 1) > 1:
            raise Unfit("has several pictures", remedy="save one of them")
        return picture.copy()  # of the plain class, which a copy to another kernel takes


def _write_png(value: Any, file: BinaryIO) -> None:
    if not is_exactly(type(value), "PIL.Image", "Image"):
        raise _unfit(value)
    if value.mode not in _PNG_MODES:
        remedy = "convert it in the other kernel, for example with .convert('RGB')"
        raise Unfit(f"is a picture of the mode {value.mode}", remedy=remedy)
    value.save(file, format="PNG")


#: by suffix
FORMATS = {
    ".json": Format(_read_json, _write_json),
    ".npy": Format(_read_npy, _write_npy),
    ".arrow": Format(_read_arrow, _write_arrow),
    ".csv": Format(_read_csv, _write_csv),
    ".png": Format(_read_png, _write_png),
    ".txt": Format(_read_text, _write_text),
}
