"""Columns of extension dtypes: what is not consistent is refused before pandas trusts it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernel_bridge_magic.remote_code.codec import codec

CODEC = codec()


def array(number: int, dtype: str, length: int) -> Any:
    return ["ndarray", dtype, [length], "C", number]


def read(node: Any, *arrays: Any) -> Any:
    return CODEC.Reader([memoryview(array).cast("B") for array in arrays], 10**6).read(["array", node])


@pytest.mark.parametrize("kind", ["integer", "block"])
@pytest.mark.parametrize("places", [[0, 0], [1, 0], [-1, 1], [3, 5], [-(2**31), 2**31 - 1]])
def test_places_of_a_sparse_column_are_checked(kind: str, places: list[int]) -> None:
    node = ["sparse", kind, 5, array(0, "<i4", 2), array(1, "<i8", 2), 0]
    with pytest.raises(CODEC.Refused):
        read(node, np.array(places, "i4"), np.array([7, 8]))
    assert list(read(node, np.array([1, 4], "i4"), np.array([7, 8]))) == [0, 7, 0, 0, 8]


def test_what_a_sparse_column_would_take_is_counted() -> None:
    with pytest.raises(CODEC.TooLarge):
        read(["sparse", "block", 2**30, array(0, "<i4", 1), array(1, "<i8", 1), 0], np.array([1], "i4"), np.array([7]))


@pytest.mark.parametrize("codes", [[0, 2], [-2, 0]])
def test_codes_beyond_the_categories_are_refused(codes: list[int]) -> None:
    node = ["categories", array(0, "|i1", 2), ["range", [None], 0, 2, 1], False]
    with pytest.raises(CODEC.Refused):
        read(node, np.array(codes, "i1"))
    assert list(read(node, np.array([1, 0], "i1"))) == [1, 0]


@pytest.mark.parametrize("freq", ["M; import os", "M" * 100, "eval", "-", "9" * 12 + "M", "<Day>"])
def test_a_frequency_is_checked(freq: str) -> None:
    with pytest.raises(CODEC.Refused):
        read(["periods", array(0, "<i8", 1), freq], np.array([1]))


def test_both_ends_of_intervals_are_of_one_dtype() -> None:
    ends = [["plain", array(0, "<i8", 2)], ["plain", array(1, "<f8", 2)]]
    with pytest.raises(CODEC.Refused):
        read(["intervals", "left", *ends], np.array([1, 2]), np.array([2.0, 3.0]))
