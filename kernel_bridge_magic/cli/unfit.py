"""`Unfit`: a value that a file cannot hold, or a file that cannot be read; and what its error names."""

from __future__ import annotations

import importlib
from typing import Any

from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.text import cut_end, visible
from kernel_bridge_magic.transfer.summary import is_exactly, name_of

HALF = "has half of a surrogate pair"
_LONGEST = 40  # characters of a label or a dtype
_INSTEAD = (
    (("pandas", "DataFrame"), (".csv", ".arrow")),
    (("polars", "DataFrame"), (".csv", ".arrow")),
    (("pyarrow", "Table"), (".csv", ".arrow")),
    (("pandas", "Series"), (".csv",)),
    (("polars", "Series"), (".csv",)),
    (("numpy", "ndarray"), (".npy", ".csv")),
    (("PIL.Image", "Image"), (".png",)),
    (("IPython.core.display", "Image"), (".png",)),
    (("builtins", "str"), (".json", ".txt")),
)  # fmt: skip
#: what makes plain data of a value, by the first part of its type's module, and by its type's name
_CONVERTED = {
    ("builtins", "bytes"): "{}.hex()",
    ("builtins", "bytearray"): "{}.hex()",
    ("builtins", "complex"): "str({})",
    ("builtins", "set"): "list({})",
    ("builtins", "frozenset"): "list({})",
    ("builtins", "range"): "list({})",
    ("datetime", "date"): "{}.isoformat()",
    ("datetime", "datetime"): "{}.isoformat()",
    ("datetime", "time"): "{}.isoformat()",
    ("datetime", "timedelta"): "{}.total_seconds()",
    ("decimal", "Decimal"): "str({})",
    ("pandas", "Timestamp"): "{}.isoformat()",
    ("pandas", "Timedelta"): "{}.isoformat()",
    ("pyarrow", "ChunkedArray"): "{}.to_pylist()",
    ("uuid", "UUID"): "str({})",
}
_INDEX_TYPES = ("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "CategoricalIndex")


class Unfit(Exception):
    """A value that a file cannot hold, or a file that cannot be read.

    `what` says what it is ("is a set"), `path` where in the value it stands ("[3]"), `suffixes` are those of files that
    can hold it. `remedy` is what to do, "" where the suffixes say that; `{}` in it stands for the value at the path.
    """

    def __init__(self, what: str, *, path: str = "", suffixes: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.path, self.suffixes, self.remedy = what, path, suffixes, remedy


class Lacking(Unfit):
    """A library that a file needs is not installed here."""


def unfit_type(value: Any, path: str = "") -> Unfit:
    """Return the error for a value of a type that a file cannot hold."""
    cls = type(value)
    fitting = next((found for known, found in _INSTEAD if is_exactly(cls, *known)), ())
    if not fitting and cls in (bool, int, float, list, tuple, dict, type(None)):
        fitting = (".json",)
    way = _way(cls) if path or not fitting else ""
    remedy = f"convert it in the other kernel, for example with {way}" if way else ""
    return Unfit(f"is of the type {name_of(cls)}", path=path, suffixes=fitting, remedy=remedy)


def _way(cls: type) -> str:
    if is_exactly(cls, "numpy", "ndarray"):
        return "{}.tolist()"
    for name in _INDEX_TYPES:
        if is_exactly(cls, "pandas", name):
            return "{}.to_frame()"
    found = type.__dict__["__module__"].__get__(cls)
    module = found.partition(".")[0] if type(found) is str else ""
    # Numbers of NumPy are exact types of its module, and those that Python has too become them.
    if module == "numpy" and is_exactly(cls, "numpy", name_of(cls)):
        return "{}.item()"
    return _CONVERTED.get((module, name_of(cls)), "")


def short(text: object) -> str:
    """Return a label or a dtype as one short line."""
    return cut_end(visible(str(text)), _LONGEST)


def step(label: object) -> str:
    """Return how a path goes on to the column of a table."""
    return f"[{short(repr(label))}]"


def is_of_library(problem: BaseException) -> bool:
    """Return whether an error is one of a library that reads or writes, and not Ctrl-C or the end of the process."""
    return bool(codec().is_of_library(problem))


def library(name: str, install: str = "") -> Any:
    """Return an imported library; `install` is its package, where that has another name.

    Raises:
        Lacking: it is not installed here.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = install or name
        raise Lacking(f"needs {package}, which is not installed here", remedy=f"run pip install {package}") from None
