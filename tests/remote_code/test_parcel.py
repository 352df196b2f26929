"""What goes from one side to the other: whole, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.remote_code.codec import codec

CODEC = codec()
VALUES = {"a": b"x" * 1000, "b": [1.5] * 100, "c": "y" * 700}


def parcel_of(values: dict[str, Any]) -> tuple[Any, bytearray]:
    parcel = CODEC.pack(values, {}, 10**6)
    return parcel, parcel.to_bytes()


def test_parts_are_aligned_and_the_weights_are_those_of_the_variables() -> None:
    parcel, whole = parcel_of(VALUES)
    assert len(whole) == parcel.size == CODEC.end_of(parcel.sizes)
    assert not len(whole) % CODEC.ALIGNED
    assert set(parcel.weights) == set(VALUES) and parcel.weights["a"] > 1000 > 0


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_seen(place: int, change: int) -> None:
    parcel, whole = parcel_of(VALUES)
    whole[place % len(whole)] ^= change
    with pytest.raises(CODEC.Refused, match="damaged"):
        CODEC.unpack(memoryview(whole), parcel.sizes, parcel.crc, 10**6)


@pytest.mark.parametrize("sizes", [None, [], [-1], [10**9], "x", [1.5], [True], [64, "64"], {"a": 1}])
def test_sizes_that_lie_are_refused(sizes: Any) -> None:
    parcel, whole = parcel_of(VALUES)
    with pytest.raises(CODEC.Refused, match="damaged"):
        CODEC.unpack(memoryview(whole), sizes, parcel.crc, 10**6)


def test_parts_without_an_end_are_refused() -> None:
    """Each would be a view of its own, which takes more than the zero that it is said to be."""
    parcel, whole = parcel_of(VALUES)
    with pytest.raises(CODEC.Refused, match="damaged"):
        CODEC.unpack(memoryview(whole), [*parcel.sizes, *[0] * 1000], parcel.crc, 10**6)


def test_texts_without_a_character_are_parts_of_no_byte() -> None:
    parcel, whole = parcel_of({"x": [[""] * 64] * 10})
    assert CODEC.unpack(memoryview(whole), parcel.sizes, parcel.crc, 10**6)[0] == {"x": [[""] * 64] * 10}


def test_a_buffer_that_changes_its_size_meanwhile_is_refused() -> None:
    data = bytearray(1000)
    parcel = CODEC.pack({"x": data}, {}, 10**6)
    parcel.parts[1] = bytes(900)
    with pytest.raises(CODEC.Refused, match="changed"):
        parcel.to_bytes()


def test_what_this_side_has_is_told_by_version() -> None:
    has = CODEC.libraries()
    assert has["python"].startswith("3.") and has["numpy"][0].isdecimal() and "torch" not in has
