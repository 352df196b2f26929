"""Values of Python as nodes for an R, and the values of nodes that an R has written. Pure.

A node says what R calls a vector, and has its items as texts: numbers in hexadecimal, so that they stay exact.
In R a vector of one number is a number, and has no other type. So `[5]` comes back as 5, a tuple as a list, numpy's
numbers as Python's, and a time without a zone, from either side, in UTC. R's NA and a None in a vector are each other;
in a DataFrame with numbers NA becomes NaN. From R, further attributes such as labels stay there.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import math
import zoneinfo
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from kernel_bridge_magic.errors import NotCopied

_EXACT = 2**53  # R's numbers hold integers up to here
_INTEGER = 2**31 - 1  # and its integers up to here
_DEPTH = 100


# -- R: values to nodes


def r_node(value: Any, depth: int = 0) -> dict[str, Any]:
    """Return what a value is written as: a type of R's, and its items as texts.

    Raises:
        ValueError: it cannot be copied; the text is the end of a sentence whose subject is the value.
    """
    if depth > _DEPTH:
        raise ValueError(f"is nested deeper than {_DEPTH} levels, or contains itself")
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    if value is None:
        return {"t": "null"}
    if kind is bytes:
        return {"t": "raw", "v": [f"{byte:02x}" for byte in value]}
    if kind is dict:
        if not all(type(key) is str and key for key in value):
            raise ValueError("has keys that are no texts, or are empty, which R cannot have")
        items = [r_node(item, depth + 1) for item in value.values()]
        return {"t": "list", "v": items, "n": [_r_text(key) for key in value], "named": True}
    if kind in (list, tuple):
        vector = _vector(list(value)) if value else None
        return vector or {"t": "list", "v": [r_node(item, depth + 1) for item in value]}
    if module == "pandas" and kind.__name__ == "DataFrame":
        return _frame_node(value, depth)
    if module == "numpy" and kind.__name__ == "ndarray" and value.ndim == 1 and value.dtype.kind in "biuf":
        return _vector(value.tolist()) or {"t": "list", "v": []}
    if (
        module == "numpy"
        and getattr(getattr(value, "dtype", None), "kind", "") in "biuf"
        and kind.__name__ != "ndarray"
    ):
        return r_node(value.item(), depth)
    vector = _vector([value])
    if vector is None:
        what = f"is of the type {kind.__qualname__}, which cannot be copied to R"
        raise ValueError(f"{what}; copy numbers, texts, lists or frames")
    return vector


def _vector(items: list[Any]) -> dict[str, Any] | None:
    """Return the node of a vector with these items, where None is NA; None if R has no such vector."""
    kinds = {type(item) for item in items} - {type(None)}
    if kinds == {bool}:
        return _texts("logical", items, lambda item: "T" if item else "F")
    if kinds == {int} and all(item is None or -_INTEGER <= item <= _INTEGER for item in items):
        return _texts("integer", items, str)
    if kinds and kinds <= {int, float}:
        if any(type(item) is int and abs(item) > _EXACT for item in items):
            raise ValueError("has an integer beyond 2**53, which R cannot hold; copy it as a text")
        return _texts("double", items, lambda item: float(item).hex())
    if kinds == {str}:
        return _texts("character", items, _r_text)
    if kinds == {datetime.date}:
        return _texts("Date", items, datetime.date.isoformat)
    if kinds == {datetime.datetime}:
        zones = {item.tzinfo for item in items if item is not None}
        if len(zones) > 1:
            return None
        return {**_texts("POSIXct", items, _r_seconds), "zone": _r_zone(zones.pop())}
    return None


def _texts(kind: str, items: list[Any], write: Callable[[Any], str]) -> dict[str, Any]:
    return {"t": kind, "v": [None if item is None else write(item) for item in items]}


def _r_text(item: str) -> str:
    if "\0" in item:
        raise ValueError("holds a NUL character, which no text of R can")
    try:
        item.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no text in R") from None
    return item


def _r_seconds(moment: datetime.datetime) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    since = aware - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since / datetime.timedelta(seconds=1)).hex()


def _r_zone(zone: datetime.tzinfo | None) -> str:
    if zone is None or zone is datetime.UTC:
        return "UTC"
    is_pytz = type(zone).__module__.partition(".")[0] == "pytz"  # what older pandas uses
    name = getattr(zone, "zone" if is_pytz else "key", None)
    if not (is_pytz or type(zone) is zoneinfo.ZoneInfo) or not name:
        raise ValueError("has a time zone without a name, which R cannot have; use zoneinfo.ZoneInfo(NAME)")
    return str(name)


def _frame_node(frame: Any, depth: int) -> dict[str, Any]:
    pandas = importlib.import_module("pandas")
    names, index = list(frame.columns), frame.index
    if not all(type(name) is str and name for name in names) or len(set(names)) < len(names):
        raise ValueError("has columns whose names are no texts, or are not unique, which R cannot have")
    plain = isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None
    rows = [] if plain else list(index)
    if not all(type(row) is str for row in rows) or len(set(rows)) < len(rows) or (not plain and index.name):
        raise ValueError("has an index that R cannot have; copy reset_index() of it")
    columns = []
    for number, name in enumerate(names):
        try:
            columns.append(_column_node(pandas, frame.iloc[:, number], depth))
        except ValueError as problem:
            raise ValueError(f"has a column {name!r} that {problem}") from None
    named = {"n": [_r_text(name) for name in names], "rows": [_r_text(row) for row in rows]}
    return {"t": "frame", "v": columns, "count": len(index), **named}


def _column_node(pandas: Any, column: Any, depth: int) -> dict[str, Any]:
    kind = column.dtype
    if isinstance(kind, pandas.CategoricalDtype):
        levels = kind.categories.tolist()
        if not all(type(level) is str for level in levels):
            raise ValueError("has categories that are no texts, which R cannot have")
        items = [None if missing else item for item, missing in zip(column.tolist(), column.isna(), strict=True)]
        return {**_texts("factor", items, _r_text), "levels": levels, "ordered": bool(kind.ordered)}
    if getattr(kind, "kind", "") == "M":
        if getattr(kind, "unit", "us") == "ns" and (column.dropna().dt.nanosecond != 0).any():
            raise ValueError("has nanoseconds, which R cannot hold; copy dt.floor('us') of it")
        column = pandas.Series([None if item is pandas.NaT else item.to_pydatetime() for item in column], dtype=object)
    items = column.tolist()
    is_float = getattr(kind, "kind", "") == "f" and type(kind).__module__.startswith("numpy")
    if not is_float:
        missing = pandas.isna(column).tolist()
        items = [None if lacks else item for item, lacks in zip(items, missing, strict=True)]
    empty = {"b": "logical", "i": "integer", "f": "double"}.get(getattr(kind, "kind", ""), "character")
    if all(item is None for item in items):
        return {"t": empty, "v": [None] * len(items)}
    return _vector(items) or {"t": "list", "v": [r_node(item, depth + 1) for item in items]}


# -- R: nodes to values


def r_value(node: Any) -> Any:
    """Return the value of a node that an R has written.

    Raises:
        NotCopied: it is none that `there/values.R` writes.
    """
    try:
        return _read(node, 0)
    except NotCopied:
        raise
    except Exception as problem:
        raise NotCopied(f"what R has sent is not what it says it is ({type(problem).__name__})") from problem


def _read(node: Any, depth: int) -> Any:
    if depth > _DEPTH + 1:
        raise NotCopied("what R has sent is nested too deep")
    kind = node["t"]
    if kind == "null":
        return None
    if kind == "frame":
        return _read_frame(node, depth)
    items = [_read(item, depth + 1) for item in node["v"]] if kind == "list" else _items(node)
    if kind == "raw":
        return bytes(items)
    if node["named"]:
        return dict(zip(_texts_of(node["n"]), items, strict=True))
    return items[0] if kind != "list" and len(items) == 1 else items


def _texts_of(values: Any) -> list[str]:
    if type(values) is not list or not all(type(value) is str for value in values):
        raise NotCopied("what R has sent is not what it says it is")
    return values


def _items(node: Any) -> list[Any]:
    """Return the items of a vector as Python has them; NA is None."""
    read: dict[str, Callable[[str], Any]] = {
        "logical": {"T": True, "F": False}.__getitem__,
        "integer": int,
        "double": float.fromhex,
        "character": str,
        "factor": str,
        "raw": lambda digits: int(digits, 16),
        "Date": lambda day: datetime.date(*map(int, day.split("-"))),  # R writes the year 1 as "1"
        "POSIXct": functools.partial(_moment, node.get("zone")),
    }
    values = node["v"]
    _texts_of([value for value in values if value is not None])
    return [None if value is None else read[node["t"]](value) for value in values]


def _moment(zone: str, seconds: str) -> datetime.datetime | None:
    number = float.fromhex(seconds)
    if not math.isfinite(number):
        return None
    known = datetime.UTC if zone in ("UTC", "GMT", "Etc/UTC") else zoneinfo.ZoneInfo(zone)
    since = datetime.timedelta(microseconds=round(number * 1e6))
    return (datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + since).astimezone(known)


def _read_frame(node: Any, depth: int) -> Any:
    """Return a pandas DataFrame, or a dict of lists where pandas is not installed."""
    names, rows = _texts_of(node["n"]), _texts_of(node["rows"])
    columns: dict[str, Any] = {}
    if find_spec("pandas") is None:
        for name, column in zip(names, node["v"], strict=True):
            columns[name] = [_read(one, depth + 1) for one in column["v"]] if column["t"] == "list" else _items(column)
        return columns
    pandas = importlib.import_module("pandas")
    for name, column in zip(names, node["v"], strict=True):
        columns[name] = _column(pandas, column, depth)
    count = node["count"]
    if (
        type(count) is not int
        or any(len(column) != count for column in columns.values())
        or len(rows) not in (0, count)
    ):
        raise NotCopied("what R has sent is not what it says it is")
    frame = pandas.DataFrame(columns, index=pandas.RangeIndex(count))
    return frame.set_axis(rows, axis=0) if rows else frame


def _column(pandas: Any, node: Any, depth: int) -> Any:
    kind = node["t"]
    if kind == "list":
        return pandas.Series([_read(one, depth + 1) for one in node["v"]], dtype=object)
    items = _items(node)
    lacks = None in items
    if kind == "double":
        return pandas.Series([math.nan if item is None else item for item in items], dtype="float64")
    if kind == "factor":
        return pandas.Series(pandas.Categorical(items, _texts_of(node["levels"]), ordered=node["ordered"] is True))
    if kind == "POSIXct" and items:
        return pandas.Series(pandas.to_datetime(items, utc=True)).dt.tz_convert(str(node["zone"]))
    if kind == "Date":
        return pandas.Series(pandas.to_datetime(items))
    plain = {"logical": "bool", "integer": "int64"}.get(kind)
    nullable = {"logical": "boolean", "integer": "Int64"}.get(kind)
    return pandas.Series(items, dtype=(nullable if lacks else plain) or ("str" if items else object))
