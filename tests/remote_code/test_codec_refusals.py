"""What is said where a value cannot be copied: which, why, and what to do instead."""

from __future__ import annotations

import array
import datetime
import decimal
import enum
import io
import itertools
import re
import types
from collections import ChainMap, OrderedDict, UserList, deque
from typing import Any

import numpy
import pandas
import pytest

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.values import round_trip, same

CODEC = codec()
Refused = CODEC.Refused


class Own:
    pass


class State(enum.Enum):
    ON = 1


class OwnDict(dict[str, int]):
    pass


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        (Own(), "Own", "copy what you need"),
        (OwnDict(a=1), "OwnDict", "dict({})"),
        (OrderedDict(a=1), "OrderedDict", "dict({})"),
        ((it for it in [1]), "generator", "list({})"),
        (Own, "type", "copy what you need"),
        (len, "builtin_function_or_method", ""),
        (deque([1]), "collections.deque", "list({})"),
        ({}.keys(), "dict_keys", "list({})"),
        ({}.values(), "dict_values", "list({})"),
        ({}.items(), "dict_items", "list({})"),
        (types.MappingProxyType({}), "mappingproxy", "dict({})"),
        (ChainMap({}), "collections.ChainMap", "dict({})"),
        (UserList(), "collections.UserList", "list({})"),
        (memoryview(b""), "memoryview", "{}.tolist()"),
        (array.array("d"), "array.array", "{}.tolist()"),
        (map(str, []), "map", "list({})"),
        (itertools.count(), "itertools.count", "copy what you need"),  # it has no end
        (io.StringIO(), "_io.StringIO", "copy what you need of it, as numbers, texts, lists or arrays, or pickle it"),
        (..., "ellipsis", "copy what you need"),
        (State.ON, "State", "{}.value"),
        (numpy.ma.masked_array([1], [True]), "MaskedArray", "filled()"),
        (numpy.array([Own()]), "dtype object", "tolist()"),
    ],
)
def test_other_types_are_refused_with_a_way_out(value: Any, what: str, remedy: str) -> None:
    with pytest.raises(Refused) as caught:
        round_trip({"a": [value]})
    assert caught.value.path == "x['a'][0]"
    assert not re.search(r"\ba ", caught.value.what)
    assert what in caught.value.what and remedy in caught.value.remedy


@pytest.mark.parametrize(
    "told",
    [{"__module__": 5}, {"__module__": None}, {"__module__": property(str)}],
    ids=["a number", "nothing", "a property"],
)
def test_a_type_that_says_nonsense_of_itself_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="cannot be copied") as caught:
        round_trip([type("Odd", (), told)()])
    assert caught.value.path == "x[0]"


@pytest.mark.parametrize("value", [{10**5000: 1}, {"k" * 10**6: 1}, {b"k" * 10**6}, {1: Own(), "k" * 10**6: Own()}])
def test_keys_of_any_length_are_no_matter(value: Any) -> None:
    try:
        assert same(round_trip(value), value)
    except Refused as problem:
        assert len(problem.path) < 300


# -- where a refused value is


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (nested(101), "x" + "[0]" * 33 + "…" + "[0]" * 33),
        ({"outermost": nested(101)}, "x['outermost']" + "[0]" * 28 + "…" + "[0]" * 33),
        (nested(60, {"innermost": object()}), "x" + "[0]" * 60 + "['innermost']"),
        (nested(98, {"innermost": object()}), "x" + "[0]" * 33 + "…" + "[0]" * 29 + "['innermost']"),
        ({"k" * 500: [object()]}, "x['" + "k" * 38 + "…][0]"),
    ],
    ids=range(5),
)
def test_a_long_path_has_both_its_ends(value: Any, path: str) -> None:
    with pytest.raises(Refused) as caught:
        round_trip(value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("k", "x['k']"),
        (5, "x[5]"),
        (None, "x[None]"),
        ((1, "a"), "x[(1, 'a')]"),
        (("a",), "x[('a',)]"),
        (((1, 2.5), b"b"), "x[((1, 2.5), b'b')]"),
        (datetime.date(2020, 1, 2), "x[datetime.date(2020, 1, 2)]"),
        (decimal.Decimal("1.5"), "x[Decimal('1.5')]"),
        (pandas.Timestamp("2020"), "x[Timestamp('2020-01-01 00:00:00')]"),
        (("k" * 100, 1), "x[('" + "k" * 37 + "…]"),
        (((((1,),),),), "x[(((<tuple>,),),)]"),
    ],
    ids=repr,
)
def test_a_key_is_told_as_it_is_written(key: Any, path: str) -> None:
    with pytest.raises(Refused) as caught:
        round_trip({key: object()})
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (State.ON, "x key <tests.State>"),
        ((1, State.ON), "x key (1, <tests.State>)[1]"),
        (frozenset([Own]), "x key <frozenset>[0]"),
    ],
)
def test_a_key_that_cannot_be_copied_is_told_by_its_type(key: Any, path: str) -> None:
    with pytest.raises(Refused, match="is of the type") as caught:
        round_trip({key: 1})
    assert caught.value.path == path


@pytest.mark.parametrize("label", [("x", 1), ("a", ("b", 2)), pandas.Timestamp("2020"), "a", 7])
def test_a_column_is_told_by_its_label(label: Any) -> None:
    frame = pandas.DataFrame([[object()]])
    frame.columns = pandas.Index([label], dtype=object, tupleize_cols=False)
    with pytest.raises(Refused) as caught:
        round_trip(frame)
    assert caught.value.path == f"x: column {label!r}[0]"
