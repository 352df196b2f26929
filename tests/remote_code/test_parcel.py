"""What goes from one side to the other: whole, or refused."""

from __future__ import annotations

from types import SimpleNamespace
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


def test_only_what_is_sealed_needs_no_checksum() -> None:
    parcel, whole = parcel_of(VALUES)
    with pytest.raises(CODEC.Refused, match="damaged"):
        CODEC.unpack(memoryview(whole), parcel.sizes, None, 10**6)


def test_a_buffer_that_changes_its_size_meanwhile_is_refused() -> None:
    data = bytearray(1000)
    parcel = CODEC.pack({"x": data}, {}, 10**6)
    parcel.parts[1] = bytes(900)
    with pytest.raises(CODEC.Refused, match="changed"):
        parcel.to_bytes()


def test_buffers_that_change_their_sizes_are_refused_also_where_all_of_it_stays_as_large() -> None:
    parcel = CODEC.pack({"x": [b"x" * 1000, b"y" * 1000]}, {}, 10**6)
    parcel.parts[1:] = [b"x" * 1064, b"y" * 936]
    with pytest.raises(CODEC.Refused, match="changed"):
        parcel.to_bytes()


class PanicException(BaseException):
    """What pyo3 raises for a panic in Rust."""


FAULTS = [
    (MemoryError(), "needs more memory than there is"),
    (RecursionError(), "nested deeper than 100"),
    (ValueError("a secret"), r"\(ValueError\)"),
    (OverflowError("a secret"), r"\(OverflowError\)"),
    (PanicException("a secret"), r"\(PanicException\)"),
]


def fails(problem: BaseException) -> Any:
    def fail(*parts: Any, **named: Any) -> Any:
        raise problem

    return fail


@pytest.mark.parametrize(("problem", "says"), FAULTS, ids=repr)
@pytest.mark.parametrize("place", ["Reader", "weight_of", "json"])
def test_whatever_goes_wrong_in_reading_is_refused(
    problem: BaseException, says: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel, whole = parcel_of(VALUES)
    broken = SimpleNamespace(loads=fails(problem)) if place == "json" else fails(problem)
    monkeypatch.setitem(vars(CODEC), place, broken)
    with pytest.raises(CODEC.Refused, match=says) as caught:
        CODEC.unpack(memoryview(whole), parcel.sizes, parcel.crc, 10**6)
    assert "secret" not in caught.value.what


@pytest.mark.parametrize(("problem", "says"), FAULTS, ids=repr)
@pytest.mark.parametrize("place", ["name_of", "Parcel", "Filled", "memory_of_text"])
def test_whatever_goes_wrong_in_writing_is_refused(
    problem: BaseException, says: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(CODEC), place, fails(problem))
    with pytest.raises(CODEC.Refused, match=says) as caught:
        parcel_of({**VALUES, "d": object()} if place == "name_of" else VALUES)
    assert "secret" not in caught.value.what
    assert caught.value.path == {"name_of": "d", "memory_of_text": "c"}.get(place, "")


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), SystemExit()], ids=repr)
def test_a_wish_to_stop_goes_through(problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel, whole = parcel_of(VALUES)
    monkeypatch.setitem(vars(CODEC), "weight_of", fails(problem))
    with pytest.raises(type(problem)):
        CODEC.unpack(memoryview(whole), parcel.sizes, parcel.crc, 10**6)


def test_what_this_side_has_is_told_by_version() -> None:
    has = CODEC.libraries()
    assert has["python"].startswith("3.") and has["numpy"][0].isdecimal() and "torch" not in has
