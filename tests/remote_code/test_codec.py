"""Values as nodes and buffers, and back: exact, or refused."""

from __future__ import annotations

import ast
import contextlib
import datetime
import json
import math
import time
import tracemalloc
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.remote_code import source
from kernel_bridge_magic.remote_code.codec import FILES, codec
from tests.support.values import EXAMPLES, MOST, VALUES, round_trip, same

CODEC = codec()
Refused = CODEC.Refused


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_kind_of_value_arrives_as_what_it_was(name: str) -> None:
    value = EXAMPLES[name]()
    assert same(round_trip(value), EXAMPLES[name]() if name != "UUID" else value)


@given(VALUES)
def test_plain_values_arrive_as_they_were(value: Any) -> None:
    assert same(round_trip(value), value)


def test_what_arrives_is_a_copy() -> None:
    value: list[Any] = [bytearray(b"x" * 1000), numpy.arange(1000)]
    found = round_trip(value)
    found[0][0] = 0
    found[1][0] = 7
    assert value[0][0] == ord("x") and value[1][0] == 0
    assert found[1].flags.owndata and found[1].flags.writeable


def test_a_hundred_levels_are_copied_and_no_more() -> None:
    assert same(round_trip(nested(100)), nested(100))
    for depth in (101, 10**5):
        with pytest.raises(Refused, match="deeper than 100"):
            round_trip(nested(depth))


def test_what_contains_itself_is_refused() -> None:
    loop: list[Any] = [1]
    loop.append({"a": loop})
    with pytest.raises(Refused, match="contains itself") as caught:
        round_trip(loop)
    assert caught.value.path == "x[1]['a']"


def test_a_class_that_only_bears_the_name_of_a_known_one_is_refused() -> None:
    fake = type("ndarray", (), {"__module__": "numpy"})()
    with pytest.raises(Refused, match="cannot be copied"):
        round_trip(fake)


def test_several_not_a_numbers_stay_several() -> None:
    value = {float("nan"), float("nan"), 1.0}
    assert len(round_trip(value)) == 3
    assert len(round_trip({float("nan"): 1, float("nan"): 2})) == 2


# -- sizes


def test_more_than_is_allowed_is_refused_before_it_is_written() -> None:
    for value in (b"x" * 2000, [1.5] * 200, "x" * 2000, numpy.zeros(300), ["a"] * 200, {i: i for i in range(200)}):
        with pytest.raises(CODEC.TooLarge) as caught:
            CODEC.pack({"x": value}, CODEC.libraries(), 1000)
        assert caught.value.size > 1000


def tenfold(value: Any) -> Any:
    """A value ten times ten times ten times: it takes no memory here, and all that there is once it is written."""
    for _ in range(12):
        value = [value] * 10
    return value


@pytest.mark.parametrize("value", [["lol"], {"k": "lol"}, {1: 2}, (1.5, None), frozenset([1]), datetime.date.min])
def test_what_nodes_take_until_they_are_written_is_counted(value: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CODEC.TooLarge):
            CODEC.pack({"x": tenfold(value)}, {}, 4 * 10**6)
        assert tracemalloc.get_traced_memory()[1] < 8 * 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [["lol"], {"k": "lol"}, {1: 2}, "lol", numpy.float32(1)])
def test_what_takes_too_long_to_write_is_given_up(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(CODEC), "COPYING_SECONDS", 0.02)
    for pickles in (False, True):
        with pytest.raises(CODEC.TooLong, match="has so many parts that it takes longer than") as caught:
            CODEC.pack({"x": {"a": tenfold(value)}}, CODEC.libraries(), 10**12, pickles)
        assert caught.value.path == "x"  # none of its parts is that


@pytest.mark.parametrize("node", [["list", []], {}, ["complex", 1, 2], ["numpy", "<i8", "AAAAAAAAAAA="]])
def test_what_takes_too_long_to_read_is_given_up(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(CODEC), "COPYING_SECONDS", 0)
    with pytest.raises(CODEC.TooLong):
        read(["list", [node] * 1000])
    assert len(read(["list", [node] * 100])) == 100  # nobody has looked yet


def test_a_list_that_doubles_forty_times_is_given_up_soon() -> None:
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    began = time.thread_time()
    with pytest.raises(CODEC.TooLarge):
        CODEC.pack({"x": value}, {}, 10**7)
    assert time.thread_time() - began < 20


@given(VALUES, st.integers(10, 20000))
def test_what_one_side_writes_the_other_side_reads(value: Any, most: int) -> None:
    try:
        parcel = CODEC.pack({"x": value}, {}, most)
    except CODEC.TooLarge:
        return
    CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, most)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_just_allowed_to_be_written_may_be_read(name: str) -> None:
    value, most = {"x": EXAMPLES[name]()}, 0
    while True:
        try:
            parcel = CODEC.pack(value, CODEC.libraries(), most)
            break
        except CODEC.TooLarge as problem:
            most = problem.size
    assert set(CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, most)[0]) == {"x"}


# -- what is hostile

NODES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.builds(lambda tag, rest: [tag, *rest], st.sampled_from(sorted(CODEC.READERS)), st.lists(inner, max_size=6)),
    ),
    max_leaves=20,
)


def read(node: Any, *buffers: bytes, most: int = 10**6) -> Any:
    return CODEC.Reader([memoryview(one) for one in buffers], most).read(node)


@given(NODES, st.lists(st.binary(max_size=40), max_size=3))
def test_any_node_is_a_value_or_refused(node: Any, buffers: list[bytes]) -> None:
    with contextlib.suppress(Refused):
        read(node, *buffers)


@pytest.mark.parametrize(
    "node",
    [
        ["nothing of ours"],
        [],
        [1],
        [None],
        ["bytes", 0],
        ["bytes", -1],
        ["bytes", True],
        ["bytes", "!"],
        ["int", "0x"],
        ["int", 5],
        ["float", "1"],
        ["str", "61"],
        ["list", "d"],
        ["list", "z", 0],
        ["list", [1], [2]],
        ["dict", [[1, 1]], [[1, 2]]],
        ["dict", [[1]], [[]]],
        ["dict", [[["list", [[]]]]], [[1]]],
        ["set", [1, 1]],
        ["datetime", "\x07\xe4\x01\x01\xff\xff\xff\0\0\0", 0, None],
        ["date", "\x07\xe4\x01\x01", 1, 1],
        ["date", 2020, 13, 1],
        ["timedelta", 1e300, 0, 0],
        ["timezone", 1],
        ["UUID", "00", "unknown"],
        ["path", "Path", "x"],
        ["ZoneInfo", "../../etc/passwd"],
        ["pickle", 0],
        ["ndarray", "O", [1], "C", ""],
        ["ndarray", "<i8", [-1], "C", ""],
        ["ndarray", "<i8", [2**40], "C", ""],
        ["ndarray", "<i8", [1], "C", "AAAA"],
        ["ndarray", ["fields", ["a"], ["O"], [0], 8, False], [1], "C", "AAAAAAAAAAA="],
    ],
    ids=str,
)
def test_nodes_that_lie_are_refused(node: Any) -> None:
    with pytest.raises(Refused):
        read(node)


def test_depth_without_an_end_is_refused() -> None:
    head = b'{"x":' + b'["list",[' * 10**5 + b"1" + b"]]" * 10**5 + b"}"
    with pytest.raises(Refused):
        unpack(head)
    node: Any = 1
    for _ in range(500):
        node = ["list", [node]]
    with pytest.raises(Refused, match="deeper"):
        read(node)


def unpack(head: bytes, *buffers: bytes, most: int = MOST) -> Any:
    """Read a parcel with this JSON, whatever it is."""
    parts = [head, *buffers]
    whole = b"".join(part + bytes(-len(part) % CODEC.ALIGNED) for part in parts)
    return CODEC.unpack(memoryview(whole), [len(part) for part in parts], CODEC.zlib.crc32(whole), most)[0]


@pytest.mark.parametrize("head", [b"", b"[]", b"1", b"{", b'{"x":NaN}', b"\xff", b'{"x":%s}' % (b"1" * 5000)])
def test_json_that_is_none_of_ours_is_refused(head: bytes) -> None:
    with pytest.raises(Refused):
        unpack(head)


def test_json_that_grows_is_refused_before_it_is_read() -> None:
    with pytest.raises(CODEC.TooLarge):
        unpack(b'{"x":["list",[' + b",".join([b"[]"] * 10**5) + b"]]}", most=10**6)


def test_texts_packed_with_lengths_that_lie_are_refused() -> None:
    for lengths in ([5], [-1, 2], [1, 1], [2**62]):
        with pytest.raises(Refused):
            read(["list", "s", 0, 1], b"".join(it.to_bytes(8, "little", signed=True) for it in lengths), b"a")


def test_integers_without_an_end_are_read_in_hexadecimal() -> None:
    began = time.thread_time()
    assert read(["int", "f" * 10**6]) == 16**10**6 - 1
    assert time.thread_time() - began < 20


# -- what libraries raise


class PanicException(BaseException):
    """What pyo3 raises for a panic in Rust, as polars before 2.0 does for nested types."""


FAULTS = [
    (ValueError("a secret"), r"\(ValueError\)"),
    (PanicException("a secret"), r"\(PanicException\)"),
    (MemoryError(), "needs more memory than there is"),
    (RecursionError(), "nested deeper than 100"),
    (RuntimeError("dictionary changed size during iteration"), "has changed while it was copied"),
    (RuntimeError("dictionary keys changed during iteration"), "has changed while it was copied"),
    (RuntimeError("Set changed size during iteration"), "has changed while it was copied"),
    (RuntimeError("CUDA error"), r"cannot be copied \(RuntimeError\)|is not what it says it is \(RuntimeError\)"),
    (UnicodeEncodeError("utf-8", "x", 0, 1, "a secret"), r"\(UnicodeEncodeError\)"),
]


def fails(problem: BaseException) -> Any:
    def fail(*parts: Any) -> Any:
        raise problem

    return fail


@pytest.mark.parametrize(("problem", "says"), FAULTS, ids=repr)
def test_what_a_library_raises_is_refused(problem: BaseException, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODEC.WRITERS, ("builtins", "complex"), ("builtins", "complex", fails(problem)))
    monkeypatch.setitem(CODEC.READERS, "complex", fails(problem))
    with pytest.raises(Refused, match=says) as caught:
        CODEC.pack({"x": {"a": [1j]}}, {}, MOST)
    assert caught.value.path == "x['a'][0]" and "secret" not in caught.value.what
    with pytest.raises(Refused, match=says) as caught:
        read({"a": ["list", [["complex", 0, 0]]]})
    assert "secret" not in caught.value.what


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), SystemExit(), GeneratorExit()], ids=repr)
def test_what_is_no_error_goes_through(problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODEC.WRITERS, ("builtins", "complex"), ("builtins", "complex", fails(problem)))
    monkeypatch.setitem(CODEC.READERS, "complex", fails(problem))
    with pytest.raises(type(problem)):
        CODEC.pack({"x": [1j]}, {}, MOST)
    with pytest.raises(type(problem)):
        read(["list", [["complex", 0, 0]]])


# -- what another thread changes meanwhile


def change(value: Any) -> None:
    """What another thread may do to a container: its items are others, one more, and in another order."""
    if isinstance(value, list):
        value.insert(0, value.pop())
        value.append(0)
    elif isinstance(value, dict):
        value.update(dict.fromkeys(value, "changed"), one_more=1)
        value[next(iter(value))] = value.pop(next(iter(value)))
    else:
        value.add("one more")
        value.discard(min(value, key=str))


@pytest.mark.parametrize(
    "value",
    [
        [1j, 1, 2.5, "c"],
        [1j, *range(200)],
        {"a": 1j, "b": 2, "c": 3},
        {5: 1j, 6: 2},
        {(1, "a"): 1j, (2, "b"): 2},
        {1j: 1, "a": 2, "b": 3},
        {1j, "a", "b"},
    ],
    ids=["list", "long list", "texts", "numbers", "tuples", "keys", "set"],
)
def test_a_container_that_another_thread_changes_is_as_it_was(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, (_, tag, write) = value.copy(), CODEC.WRITERS["builtins", "complex"]

    def interrupted(writer: Any, item: Any) -> Any:
        change(value)
        return write(writer, item)

    monkeypatch.setitem(CODEC.WRITERS, ("builtins", "complex"), ("builtins", tag, interrupted))
    found = round_trip(value)
    assert same(found, before) and not same(value, before)


def test_a_bytearray_that_grows_meanwhile_is_as_it_was() -> None:
    value = bytearray(b"x" * 1000)
    parcel = CODEC.pack({"x": [value, bytearray(b"y" * 1000)]}, {}, MOST)
    value.extend(b"z" * 10)
    data = memoryview(parcel.to_bytes())
    found = CODEC.unpack(data, parcel.sizes, parcel.crc, MOST)[0]["x"]
    assert found == [b"x" * 1000, b"y" * 1000]


# -- what texts take


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        ("a" * 10**6, 10**6),
        ("a" * (2**20 - 1) + "é" * 10, 2**20 + 19),  # as UTF-8 it is longer
        ("é" * 10**6, 2 * 10**6),
        ("я" * 10**6, 2 * 10**6),
        ("a" * 10**6 + "я", 2 * 10**6 + 2),
        ("か" * 10**6, 3 * 10**6),
        ("a" * 10**6 + "\U0001f600", 4 * 10**6 + 4),
        ("\ud800" * 1000, 3000),
    ],
    ids=lambda it: ascii(it)[:9] + ascii(it)[-9:],
)
def test_texts_are_counted_as_what_they_take(text: str, takes: int) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert CODEC.memory_of_text(memoryview(data)) == takes
    assert CODEC.pack({"x": text}, {}, MOST).weights["x"] == takes + CODEC.NODE
    reader = CODEC.Reader([memoryview(data)], MOST)
    assert reader.read(["str", 0]) == text and reader.size == takes
    with pytest.raises(CODEC.TooLarge):
        CODEC.Reader([memoryview(data)], takes - 1).read(["str", 0])


@given(st.text(st.characters()))
def test_no_text_takes_more_than_is_counted(text: str) -> None:
    width = 1 if max(text, default="") < "\u0100" else 2 if max(text) < "\U00010000" else 4
    assert CODEC.memory_of_text(memoryview(text.encode("utf-8", "surrogatepass"))) >= width * len(text)


# -- one namespace


def test_no_name_is_defined_twice() -> None:
    """All files run in one namespace there: the second definition would take the place of the first."""
    names: list[str] = []
    for name in (*FILES, "held"):
        for node in ast.parse(source(name)).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.append(node.name)
            elif isinstance(node, ast.Assign):
                names += [it.id for it in node.targets if isinstance(it, ast.Name)]
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]


def test_the_json_has_no_number_that_is_none() -> None:
    parcel = CODEC.pack({"x": [math.nan, math.inf, 2**70]}, {}, MOST)
    json.loads(bytes(parcel.parts[0]), parse_constant=pytest.fail)
