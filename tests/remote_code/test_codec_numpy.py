"""Arrays of numpy: dtype, shape, order and bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.values import round_trip

CODEC = codec()


def has_no_titles(dtype: Any) -> Any:
    """Whether the fields of a dtype have one name each; others are refused."""
    return all(len(field) == 2 for field in dtype.fields.values())


DTYPES = st.one_of(
    arrays.scalar_dtypes(),
    arrays.array_dtypes(arrays.scalar_dtypes(), allow_subarrays=True, max_size=3).filter(has_no_titles),
)
ARRAYS = DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_side=4)))


@given(ARRAYS, st.sampled_from([lambda it: it.copy("C"), lambda it: it.copy("F"), lambda it: it.T, lambda it: it[::2]]))
def test_arrays_of_any_dtype_arrive_as_they_were(array: Any, changed: Callable[[Any], Any]) -> None:
    array = changed(array) if array.ndim else array
    found = round_trip(array)
    assert (found.dtype, found.shape, type(found)) == (array.dtype, array.shape, numpy.ndarray)
    assert found.flags.f_contiguous or not array.flags.f_contiguous
    assert found.tobytes() == array.tobytes()
    assert found.flags.owndata and found.flags.writeable


@pytest.mark.parametrize("kind", sorted(set(numpy.sctypeDict.values()) - {numpy.object_}, key=str))
def test_scalars_keep_their_type(kind: type) -> None:
    value = numpy.zeros(1, dtype=kind)[0]
    found = round_trip(value)
    assert type(found) is type(value) and found.dtype == value.dtype and found == value


@pytest.mark.parametrize("text", ["<i4", ">f8", "S3", "U2", "M8[ns]", "m8[7D]", "?", "V5", "i4,f8"])
def test_dtypes_are_values_as_well(text: str) -> None:
    assert round_trip(numpy.dtype(text)) == numpy.dtype(text)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (numpy.dtype("i4", metadata={"a": 1}), "copy str({})"),
        (numpy.dtype([("a", numpy.dtype("i4", metadata={"a": 1}))]), "copy str({})"),
        (numpy.dtype("O"), "copy {}.str"),  # numpy 2 has a type of its own for it
        (numpy.zeros(2, numpy.dtype("i4", metadata={"a": 1})), "copy {}.astype(...) with a plain dtype"),
        (numpy.array(["a"], object), "copy {}.tolist()"),
    ],
    ids=str,
)
def test_the_way_out_is_one_that_the_value_has(value: Any, remedy: str) -> None:
    with pytest.raises(CODEC.Refused) as caught:
        round_trip(value)
    assert caught.value.remedy.removesuffix(", or pickle it (--pickle)") == remedy


def test_bytes_that_are_no_memory_of_the_array_are_not_sent() -> None:
    """Between fields there may be what somebody had in that memory before."""
    dtype = numpy.dtype({"names": ["a"], "formats": ["u1"], "offsets": [3], "itemsize": 8})
    array = numpy.frombuffer(bytearray(b"\xaa" * 16), dtype)
    parcel = CODEC.pack({"x": array}, CODEC.libraries(), 10**6)
    assert round_trip(array).tobytes().count(b"\xaa") == 2
    assert parcel.size


NESTED = numpy.dtype([("a", "i1"), ("g", "g", (2,)), ("n", [("x", "G"), ("y", "?")])], align=True)
OVERLAPPING = numpy.dtype({"names": ["a", "b"], "formats": ["u4", "u4"], "offsets": [0, 0], "itemsize": 8})


@pytest.mark.parametrize("dtype", [NESTED, OVERLAPPING, numpy.dtype("g"), numpy.dtype("G")], ids=str)
def test_gaps_and_padding_arrive_as_zeros(dtype: Any) -> None:
    array = numpy.frombuffer(bytearray(b"\xaa" * 3 * dtype.itemsize), dtype)
    for name in dtype.names or ():
        array[name] = numpy.zeros((), dtype[name])
    zeros = bytes(dtype.itemsize)
    if dtype.names is None:
        array.view("V1").reshape(3, -1)[:, :10] = b"\0"
        array.view("V1").reshape(3, -1)[:, 16:26] = b"\0"
    for value in (array, array[::2], array[0]):
        assert set(round_trip(value).tobytes()) == set(zeros)


@pytest.mark.parametrize("has", [{}, {"pandas": "3.0"}])
def test_without_numpy_there_it_says_what_to_do(has: dict[str, str]) -> None:
    for value in (numpy.ones(2), numpy.float64(1), numpy.str_("x"), numpy.dtype("i4")):
        with pytest.raises(CODEC.Refused, match="numpy on the other side") as caught:
            round_trip(value, has=has)
        assert "install numpy there" in caught.value.remedy


@pytest.mark.parametrize(
    "parts",
    [
        ["|b1", [1], "C", "Ag=="],  # a truth of 2
        ["<U1", [1], "C", "////fw=="],  # a character that is none
        ["|V0", [2**62], "C", ""],
        ["<i8", [2**31, 2**31], "C", ""],
        ["M8[0s]", [1], "C", "AAAAAAAAAAA="],
        [["array", "<i4", [2]], [1], "C", "AAAAAAAAAAA="],
        [["long", "g", "<f16", 1], [1], "C", "AAAAAAAAAAAAAAAAAAAAAA=="],
        ["<f8", [1], "A", "AAAAAAAAAAA="],
        ["__import__('os')", [1], "C", ""],
    ],
    ids=str,
)
def test_arrays_that_lie_are_refused(parts: list[Any]) -> None:
    with pytest.raises(CODEC.Refused):
        CODEC.Reader([], 10**6).read(["ndarray", *parts])


ABOVE = ["fields", [f"f{number}" for number in range(1000)], ["<i8"] * 1000, [0] * 1000, 8, False]


@pytest.mark.parametrize(
    "parts",
    [
        ["<i8", [2**40, 0], "C", ""],
        ["<i8", [0, 2**20, 2**20], "F", ""],
        ["|V0", [2**40], "C", ""],
        ["|V999999999", [0], "C", ""],
        [["fields", ["a"], ["<i8"], [0], 2**31 - 1, False], [0], "C", ""],
        [ABOVE, [1000], "C", 0],
    ],
    ids=lambda parts: str(parts)[:40],
)
def test_what_takes_more_than_its_bytes_is_counted(parts: list[Any]) -> None:
    with pytest.raises(CODEC.TooLarge):
        CODEC.Reader([memoryview(bytes(8000))], 10**6).read(["ndarray", *parts])


@pytest.mark.parametrize("shape", [(0, 1000), (1000, 0), (0,), ()])
@pytest.mark.parametrize("dtype", ["V0", "i4", "V1000", OVERLAPPING])
def test_whoever_writes_counts_it_as_well(shape: tuple[int, ...], dtype: Any) -> None:
    array, most = numpy.zeros(shape, dtype), 0
    while True:
        try:
            parcel = CODEC.pack({"x": array}, CODEC.libraries(), most)
            break
        except CODEC.TooLarge as problem:
            most = problem.size
    found = CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, most)[0]["x"]
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
