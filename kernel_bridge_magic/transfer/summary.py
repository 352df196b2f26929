"""The one line that tells of a copy, and the line while it is under way. Pure.

Nothing of a value runs for it: only values of exactly known types are looked into, and no library is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.results import Copied, RemoteResult
from kernel_bridge_magic.text import count, cut_end, some_of, visible
from kernel_bridge_magic.transfer.refusals import size_of

HERE, THERE = "←", "→"
_CONTAINERS = (list, tuple, set, frozenset)
_TABLES = (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"))
_INDEXES = ("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "IntervalIndex")
_COLUMNS = (("pandas", "Series"), ("polars", "Series"), *(("pandas", name) for name in (*_INDEXES, "CategoricalIndex")))
_WITH_ITEMS = (*_TABLES, *_COLUMNS, ("numpy", "ndarray"), ("PIL.Image", "Image"))
_SMALL = 1000  # bytes of a value without items, below which nobody need know them
_MOST_NAMED = 3  # kernels, or variables, in a line
_BAR = 20  # characters
_LONGEST = 40  # characters of a type's name: that of a structured dtype has all its fields
_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "bytes"))


def line(copied: Copied, arrow: str, title: str, replaced: bool | None = None) -> str:
    """Return what is said of one copy: `df: DataFrame 1,204 × 7, 0.3 MB ← work/analysis.ipynb (replaced)`.

    `arrow` is HERE or THERE, `title` the other kernel's. `replaced` is whether there was a variable of that name, by
    default what `copied` says.
    """
    replaced = copied.replaced if replaced is None else replaced
    return f"{visible(copied.name)}: {_what(copied)} {arrow} {visible(title)}{' (replaced)' * replaced}"


def line_of_many(
    name: str, copies: Mapping[str, Copied], arrow: str, asked: Sequence[str], *, replaced: bool = False
) -> str:
    """Return what is said of one variable that was copied from, or to, several kernels; `copies` are by their titles.

    `asked` are the titles of all kernels that it was to be: `x: from 2 of 3 kernels, 1.2 MB in all; not from work/a`,
    or `x: DataFrame 1,204 × 7, 0.3 MB → 6 kernels (replaced in 2)`. `replaced` is whether there was a variable of that
    name here.
    """
    lacking = [visible(title) for title in asked if title not in copies]
    kernels = f"{f'{len(copies)} of ' * bool(lacking)}{count(len(asked), 'kernel')}"
    if not copies:
        return f"{visible(name)}: {'from' if arrow == HERE else arrow} {kernels}"
    without = f"; not {'from' if arrow == HERE else 'to'} {some_of(lacking, _MOST_NAMED)}" if lacking else ""
    if arrow == HERE:
        notes = sorted({copied.note for copied in copies.values()} - {""})
        told = f" ({visible(', '.join(notes))})" if notes else ""
        size = sum(copied.size for copied in copies.values() if _says_more(copied))
        in_all = f", {size_of(size)} in all" if size else ""
        return f"{visible(name)}: from {kernels}{told}{in_all}{' (replaced)' * replaced}{without}"
    in_how_many = sum(copied.replaced for copied in copies.values())
    where = f" (replaced in {in_how_many})" if in_how_many != len(copies) else " (replaced)"
    what = _what(next(iter(copies.values())))
    return f"{visible(name)}: {what} {arrow} {kernels}{where if in_how_many else ''}{without}"


def _what(copied: Copied) -> str:
    what = describe(copied.value)
    note = f" ({visible(copied.note)})" if copied.note else ""
    return f"{what}{note}, {size_of(copied.size)}" if _says_more(copied) else f"{what}{note}"


def _says_more(copied: Copied) -> bool:
    """Return whether the size of a value says more than its description: not of a number, or a short text."""
    cls = type(copied.value)
    if cls in (bytes, bytearray) or not copied.size:
        return False
    return copied.size >= _SMALL or cls in (dict, *_CONTAINERS) or _is_any(cls, _WITH_ITEMS)


def lacking(result: RemoteResult | None, names: Collection[str]) -> list[str]:
    """Return what is said of variables that were to come from a cell that has run, and did not: one line, or none."""
    if not names or result is None or not isinstance(result.error, BadVariable | NotCopied):
        return []
    return [f"{some_of(list(names), _MOST_NAMED)} did not come"]


def progress(name: str, done: int, total: int, per_second: float = 0.0) -> str:
    """Return how far a copy has come: `df: ████░░░░░░ 45 of 120 MB, 96 MB/s`; without the speed where that is 0."""
    unit, word = next(((unit, word) for unit, word in _UNITS if total >= unit), _UNITS[-1])
    places = 1 if unit > 1 and total < 100 * unit else 0
    fast = f"{per_second / 1e6:.0f} MB" if 10**7 <= per_second < 10**9 else size_of(int(per_second))
    speed = f", {fast}/s" if per_second >= 1 else ""
    full = _BAR * min(done, total) // max(total, 1)
    bar = "█" * full + "░" * (_BAR - full)
    return f"{visible(name)}: {bar} {min(done, total) / unit:.{places}f} of {total / unit:.{places}f} {word}{speed}"


def describe(value: Any) -> str:
    """Return the type of a value, and how much there is of it: `DataFrame 1,204 × 7`, `list of 10`, `int`."""
    cls = type(value)
    name = name_of(cls)
    if cls is str:
        return f"str of {_many(len(value), 'character')}"
    if cls in (bytes, bytearray):
        return f"{name} {size_of(len(value))}"
    if cls is dict or cls in _CONTAINERS:
        return f"{name} of {len(value):,}"
    if value is None:
        return "None"
    if _is_any(cls, _TABLES):
        return f"{name} {_times(value.shape)}"
    if _is_any(cls, _COLUMNS):
        return f"{name} of {len(value):,}"
    if is_exactly(cls, "numpy", "ndarray"):
        shape = _times(value.shape) or "0-d"
        return f"array {shape} {'structured' if value.dtype.names else cut_end(visible(str(value.dtype)), _LONGEST)}"
    if is_exactly(cls, "PIL.Image", "Image"):
        return f"picture {_times(value.size)}"
    return name


def is_exactly(cls: type, module: str, name: str) -> bool:
    """Return whether a type is that of this name in a module, which is not imported for it."""
    # A module may bring names by a function of its own; only what stands in it is asked for.
    return cls is vars(sys.modules.get(module, sys)).get(name)


def name_of(cls: type) -> str:
    """Return the name of a type, as one short line; its metaclass has no say in it."""
    return cut_end(visible(type.__dict__["__name__"].__get__(cls)), _LONGEST)


def _is_any(cls: type, known: tuple[tuple[str, str], ...]) -> bool:
    return any(is_exactly(cls, module, name) for module, name in known)


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{length:,}" for length in shape)
