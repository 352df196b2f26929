"""Values of every kind that can be copied, but tables, and how two of them are the same."""

from __future__ import annotations

import datetime
import decimal
import math
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

import numpy
from hypothesis import strategies as st
from PIL import Image

from kernel_bridge_magic.remote_code.codec import codec

MOST = 10**9


def round_trip(value: Any, *, has: Mapping[str, str] | None = None, most: int = MOST, pickles: bool = False) -> Any:
    """Return what arrives of a value."""
    return round_trips({"x": value}, has=has, most=most, pickles=pickles)["x"]


def round_trips(values: Mapping[str, Any], *, has: Any = None, most: int = MOST, pickles: bool = False) -> Any:
    parcel = codec().pack(values, codec().libraries() if has is None else has, most, pickles)
    whole = memoryview(parcel.to_bytes())
    return codec().unpack(whole, parcel.sizes, parcel.crc, most, pickles)[0]


def same(one: Any, other: Any) -> bool:
    """Return whether two values are the same to the last bit, and of the same type wherever one looks."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return bool(one == other and math.copysign(1, one) == math.copysign(1, other)) or (
            one != one and other != other
        )
    if kind is complex:
        return same(one.real, other.real) and same(one.imag, other.imag)
    if kind in (list, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if kind in (set, frozenset):
        return len(one) == len(other) and all(any(same(item, it) for it in other) for item in one)
    if kind is dict:
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if kind is numpy.ndarray:
        about = [(it.dtype, it.shape, it.flags.c_contiguous, it.flags.f_contiguous) for it in (one, other)]
        return about[0] == about[1] and one.tobytes() == other.tobytes()
    if isinstance(one, numpy.generic):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if kind is datetime.datetime or kind is datetime.time:
        return bool(one == other) and one.fold == other.fold and repr(one.tzinfo) == repr(other.tzinfo)
    if kind is decimal.Decimal:
        return str(one) == str(other)
    return bool(one == other)


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
#: by name, what makes one
EXAMPLES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "bools": lambda: [True, False],
    "int": lambda: [0, -1, 2**53, -(2**53), 2**53 + 1, 2**64, -(2**200)],
    "float": lambda: [0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan],
    "complex": lambda: [1 + 2j, complex(math.nan, -0.0)],
    "str": lambda: ["", "é\0\ud800", "x" * 2000, "\U0001f600" * 700],
    "bytes": lambda: [b"", b"\0\xff", bytes(range(256)) * 10],
    "bytearray": lambda: [bytearray(), bytearray(b"ab" * 1000)],
    "tuple": lambda: ((), (1, (2, "a"))),
    "set": lambda: {1, "a", None, (1, 2), frozenset([b"x"])},
    "dict": lambda: {"a": {1: {2.5: None, (1, "x"): [], None: b"", True: "y"}}, "": 0},
    "packed": lambda: [[float(i) for i in range(200)], list(range(-100, 100)), [f"é{i}" for i in range(100)]],
    "range": lambda: range(3, -(10**30), -7),
    "Decimal": lambda: [decimal.Decimal(it) for it in ("1.20", "-0", "NaN", "sNaN", "Infinity", "1E+9999")],
    "datetime": lambda: [
        datetime.datetime(2020, 2, 29, 1, 2, 3, 4),
        datetime.datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=-3723), "name")),
    ],
    "date": lambda: [datetime.date.min, datetime.date.max],
    "time": lambda: [datetime.time(1, 2, 3, 4, fold=1), datetime.time(0, tzinfo=datetime.UTC)],
    "timedelta": lambda: [datetime.timedelta.min, datetime.timedelta.max, datetime.timedelta(-1, 2, 3)],
    "timezone": lambda: [datetime.UTC, BERLIN],
    "UUID": lambda: [uuid.UUID(int=0), uuid.uuid1()],
    "Path": lambda: [pathlib.Path("/a b/ü"), pathlib.PurePosixPath("x"), pathlib.PureWindowsPath("c:/y")],
    "array": lambda: [
        numpy.arange(6.0).reshape(2, 3),
        numpy.asfortranarray(numpy.arange(6, dtype=">i2").reshape(2, 3)),
        numpy.array(7, dtype="float16"),
        numpy.zeros((0, 3), dtype=bool),
        numpy.array(["a", "bcd"]),
        numpy.array([b"x", b""]),
        numpy.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
        numpy.array([1, -1], dtype="timedelta64[us]"),
        numpy.array([(1, 2.5, "x")], dtype=[("a", "<i4"), ("b", ">f8", (1,)), ("c", "U3")]),
        numpy.arange(3, dtype="complex64"),
        numpy.arange(100_000, dtype="int64"),
    ],
    "numpy scalar": lambda: [numpy.float64(-0.0), numpy.int8(-1), numpy.bool_(True), numpy.datetime64("NaT", "s")],
    "picture": lambda: [Image.new(mode, (3, 2), 1) for mode in ("CMYK", "RGB", "L", "I", "F", "1")],
    "dict of arrays": lambda: {"a": numpy.arange(3), "b": [numpy.ones(2), {"c": (numpy.float32(1),)}]},
}

#: plain values of Python, nested
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.complex_numbers(),
    st.decimals().filter(lambda value: not value.is_snan()),  # those cannot be keys
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, datetime.UTC, BERLIN])),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
HASHABLE: st.SearchStrategy[Any] = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner), max_leaves=3)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(HASHABLE, inner),
        st.frozensets(HASHABLE),
        st.sets(HASHABLE),
        st.lists(st.integers(), min_size=60, max_size=70),
    ),
    max_leaves=12,
)
