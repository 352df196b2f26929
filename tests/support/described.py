"""A text that says all about a value: what `describe` returns on two sides is compared line by line.

Its own source, `SOURCE`, runs in kernels of other environments as well, which may lack any of the libraries.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

#: what makes `describe` in another kernel
SOURCE = Path(__file__).read_text("utf-8") if "__file__" in globals() else ""
LONG = 200  # cells from which on an array of numbers is told by its checksum


def describe(value: Any) -> str:
    """Return the lines about a value and all that is in it: types, dtypes, order, labels, and each cell."""
    return "\n".join(_lines(value))


def _lines(value: Any) -> list[str]:
    kind = type(value)
    name = kind.__module__.partition(".")[0] + "." + kind.__qualname__
    for library, about in (("numpy", _numpy), ("pandas", _pandas), ("pyarrow", _arrow), ("polars", _polars)):
        if name.startswith(library + "."):
            return about(value, name)
    if kind in (list, tuple):
        return [name, *_within(enumerate(value))]
    if kind is dict:
        return [name, *(line for key, item in value.items() for line in _within([("key", key), ("item", item)]))]
    if kind in (set, frozenset):
        return [name, *(f"  {line}" for line in sorted(describe(item).replace("\n", " ") for item in value))]
    if name == "PIL.Image":
        colors = value.palette and (value.palette.mode, bytes(value.palette.palette))
        return [f"{name} {value.mode} {value.size} {colors} {value.info} {_sum(value.tobytes())}"]
    return [f"{name} {_text(value)}"]


def _text(value: Any) -> str:
    """Return a scalar as a text that has all of it."""
    kind = type(value)
    if kind is float:
        return value.hex()
    if kind is complex:
        return f"{value.real.hex()} {value.imag.hex()}"
    if kind in (str, bytes, bytearray):
        return ascii(value) if len(value) < LONG else f"{len(value)} {_sum(ascii(value).encode())}"
    more = f" fold {value.fold} {type(value.tzinfo)}" if hasattr(value, "fold") else ""
    return ascii(value) + more


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _within(parts: Any) -> list[str]:
    """Return the lines about named parts, one step to the right."""
    return [f"  {name}: {line}" for name, value in parts for line in _lines(value)]


# -- numpy


def _numpy(value: Any, name: str) -> list[str]:
    import numpy

    if isinstance(value, numpy.dtype):
        return ["numpy.dtype " + _dtype(value)]
    if isinstance(value, numpy.generic):
        # A longdouble has bytes that are none of its value.
        data = str(value) if value.dtype.char in "gG" else value.tobytes().hex()
        return [f"numpy scalar {_dtype(value.dtype)} {data}"]
    if not isinstance(value, numpy.ndarray):
        return [f"{name} {value!r}"]
    order = f"C {value.flags.c_contiguous} F {value.flags.f_contiguous} writeable {value.flags.writeable}"
    return [f"{name} {_dtype(value.dtype)} {value.shape} {order}", *_cells(value.reshape(-1))]


def _dtype(dtype: Any) -> str:
    if dtype.subdtype is not None:
        return f"{_dtype(dtype.subdtype[0])} {dtype.subdtype[1]}"
    if dtype.names is None:
        return f"{dtype.str} {dtype.char}"
    fields = (f"{field}: {dtype.fields[field][1]} {_dtype(dtype.fields[field][0])}" for field in dtype.names)
    return f"{dtype.type.__name__} {dtype.itemsize} {dtype.isalignedstruct} [{', '.join(fields)}]"


def _cells(flat: Any) -> list[str]:
    """Return the lines about the cells of a flat array of numpy's."""
    if flat.dtype.kind != "O" and len(flat) > LONG:
        return [f"  {_sum(flat.tobytes())}"]
    return _within((number, flat[number]) for number in range(len(flat)))


# -- pandas


def _pandas(value: Any, name: str) -> list[str]:
    import pandas

    if isinstance(value, pandas.DataFrame):
        columns = [(f"column {number}", value.iloc[:, number].array) for number in range(value.shape[1])]
        return [name, *_labelled(value), *_within([("columns", value.columns), *columns])]
    if isinstance(value, pandas.Series):
        return [name, *_labelled(value), *_within([("name", value.name), ("cells", value.array)])]
    if isinstance(value, pandas.Index):
        return [name, *_index(value)]
    if isinstance(value, pandas.api.extensions.ExtensionArray):
        return _array(value, name)
    if value is pandas.NaT or value is pandas.NA:
        return [name]
    if isinstance(value, pandas.Timestamp):
        return [f"{name} {value.asm8.view('i8')} {value.unit} fold {value.fold} {type(value.tz)} {value.tz}"]
    if isinstance(value, pandas.Timedelta):
        return [f"{name} {value.asm8.view('i8')} {value.unit}"]
    if isinstance(value, pandas.Period):
        return [f"{name} {value.ordinal} {_freq(value.freq)}"]
    if isinstance(value, pandas.Interval):
        return [f"{name} {value.closed}", *_within([("left", value.left), ("right", value.right)])]
    return [f"{name} {value!r}"]


def _labelled(value: Any) -> list[str]:
    flags = value.flags.allows_duplicate_labels
    return _within([("attrs", dict(value.attrs)), ("twice", flags), ("index", value.index)])


def _index(value: Any) -> list[str]:
    kind, names = type(value).__name__, [("name", name) for name in value.names]
    if kind == "RangeIndex":
        return _within([*names, ("range", (value.start, value.stop, value.step))])
    if kind == "MultiIndex":
        codes = [("codes", code.tolist()) for code in value.codes]
        return _within([*names, *(("level", level) for level in value.levels), *codes])
    return _within([*names, ("freq", _freq(getattr(value, "freq", None))), ("labels", value.array)])


def _freq(freq: Any) -> str:
    """Return a frequency by what it is made of: its name depends on the version."""
    if freq is None:
        return "none"
    parts = {name: part for name, part in freq.kwds.items() if name != "calendar"}  # that is made of the others
    return f"{type(freq).__name__} {freq.n} {sorted(parts.items())}"


def _array(value: Any, name: str) -> list[str]:
    import pandas

    kind = type(value.dtype).__name__
    if kind == "CategoricalDtype":
        parts = [("ordered", value.ordered), ("categories", value.categories), ("codes", value.codes)]
        return [name, *_within(parts)]
    about: list[tuple[Any, Any]] = [("dtype", kind)]
    if hasattr(value.dtype, "numpy_dtype") and name in ("pandas.PandasArray", "pandas.NumpyExtensionArray"):
        return [f"{name} {_dtype(value.dtype.numpy_dtype)}", *_cells(value.to_numpy())]
    if kind == "StringDtype":
        missing = getattr(value.dtype, "na_value", pandas.NA)
        return [f"{name} {value.dtype.storage} {missing}", *_within(enumerate(value))]
    if kind == "PeriodDtype":
        about.append(("freq", _freq(value.dtype.freq)))
    elif kind == "DatetimeTZDtype":
        about += [("unit", value.dtype.unit), ("zone", f"{type(value.dtype.tz)} {value.dtype.tz}")]
    elif kind == "SparseDtype":
        about += [("kind", value.kind), ("fill", value.fill_value), ("values", value.sp_values)]
    elif kind == "IntervalDtype":
        about += [("left", value.left.array), ("right", value.right.array)]
    elif kind == "ArrowDtype":  # what its cells are is pandas' own matter
        return [name, *_within([("of", value.__arrow_array__())])]
    else:
        about.append(("as", str(value.dtype)))
    return [name, *_within([*about, *enumerate(value)])]


# -- Arrow


def _arrow(value: Any, name: str) -> list[str]:
    import pyarrow

    if isinstance(value, pyarrow.Schema):
        fields = [(field.name, f"{field.type} {field.nullable} {field.metadata}") for field in value]
        return [name, *_within([("metadata", value.metadata), *fields])]
    if isinstance(value, pyarrow.ChunkedArray):
        return [f"{name} {value.type}", *_within(("chunk", chunk) for chunk in value.chunks)]
    if isinstance(value, (pyarrow.Table, pyarrow.RecordBatch)):
        return [name, *_within([("schema", value.schema), *(("column", column) for column in value.columns)])]
    if isinstance(value, pyarrow.Array):
        value.validate(full=True)
        return [f"{name} {value.type}", *_within(("cell", ascii(cell)) for cell in value)]
    return [f"{name} {value}"]


def _polars(value: Any, name: str) -> list[str]:
    if type(value).__name__ == "DataFrame":
        return [name, *_within((column.name, column) for column in value.get_columns())]
    return [f"{name} {value.name!r} {value.dtype!r}", *_within(("cell", repr(cell)) for cell in value.to_list())]


# -- sources of examples


def source_for_there(module: ModuleType, *names: str) -> str:
    """Return the source of a module of the tests for a kernel of another environment: its imports, and these names.

    Without names it is all that the module has. A library that is missing there is None.
    """
    body: list[str] = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            body.append(_import_of(node))
        elif not names or _bound(node) in names:
            body.append(ast.unparse(node))
    return "from __future__ import annotations\n" + "\n".join(body)


def _import_of(node: ast.Import | ast.ImportFrom) -> str:
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return ""
    bound = " = ".join(alias.asname or alias.name.partition(".")[0] for alias in node.names)
    return f"try:\n    {ast.unparse(node)}\nexcept ImportError:\n    {bound} = None"


def _bound(node: ast.stmt) -> str:
    """Return the name that a statement binds; "" for none or several."""
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target)
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return str(getattr(node, "name", ""))
