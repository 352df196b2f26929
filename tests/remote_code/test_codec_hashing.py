"""Keys that are chosen so that looking one up takes for ever."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.values import MOST, round_trip

CODEC = codec()
MERSENNE = 2**61 - 1  # Python's hash of a number is its rest


def alike(number: int) -> list[Any]:
    """The node of an integer; all of these have the hash 0."""
    return ["int", f"{(number + 2**20) * MERSENNE:x}"]


def nested(depth: int, width: int, last: int = 0) -> list[Any]:
    """A frozenset of frozensets with one hash. Each two of them differ in the last number of the innermost."""
    if not depth:
        return alike(last)
    inner = [nested(depth - 1, width, number) for number in range(width - 1)]
    return ["frozenset", [*inner, nested(depth - 1, width, 1000 + last)]]


def read(node: Any) -> Any:
    return CODEC.Reader([], MOST).read(node)


#: Each is made when its test runs: together they are 130,000 nodes.
HOSTILE: dict[str, Callable[[], list[Any]]] = {
    "a set": lambda: ["set", [alike(number) for number in range(12_000)]],
    "a dict": lambda: ["dict", [alike(number) for number in range(12_000)], [0] * 12_000],
    "many small sets": lambda: ["list", [["set", [alike(number) for number in range(1000)]]] * 300],
    "sets below a hundred": lambda: ["list", [["set", [alike(number) for number in range(90)]]] * 10_000],
    "sets of sets": lambda: ["set", [nested(3, 12, number) for number in range(12)]],
    "six levels of sets": lambda: ["set", [nested(5, 6, number) for number in range(6)]],
    "sets in tuples": lambda: ["set", [["tuple", [nested(3, 12, number)]] for number in range(12)]],
    "keys of a dict": lambda: ["dict", [nested(3, 12, number) for number in range(12)], [0] * 12],
    "long tuples": lambda: ["set", [["tuple", [["tuple", [0] * 40_000], alike(number)]] for number in range(64)]],
    "an int and a Decimal": lambda: ["set", [["int", f"{MERSENNE << 4_000_000:x}"], ["Decimal", str(MERSENNE)]]],
    "UUIDs": lambda: ["set", [["UUID", f"{(number + 1) * MERSENNE:032x}", "unknown"] for number in range(12_000)]],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_keys_that_collide_are_given_up(name: str) -> None:
    node = HOSTILE[name]()
    began = time.thread_time()
    with pytest.raises(CODEC.Refused, match="too many keys with the same hash"):
        read(node)
    assert time.thread_time() - began < 60


def test_keys_that_take_long_with_different_hashes_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(CODEC), "HASHING_SECONDS", -1)
    with pytest.raises(CODEC.Refused, match="too many keys"):
        read(["set", [number * 2**40 for number in range(1000)]])


USUAL: dict[str, Any] = {
    "products": set(itertools.product([-1, -2], repeat=9)),  # which have one hash, all of them
    "powers as floats": {float(2**power): power for power in range(1000)},
    "powers": {2**power for power in range(1000)},
    "places": {(x, y): x * y for x in range(-50, 50) for y in range(-50, 50)},
    "pairs": {frozenset({-1, number}) for number in range(-2, 500)},
    "subsets": {frozenset(some): None for size in range(6) for some in itertools.combinations(range(-2, 8), size)},
    "long": {0, MERSENNE, 10**5000, 7 * MERSENNE},
    "tuples": {(("x",) * 30, number) for number in range(500)},
}


@pytest.mark.parametrize("name", USUAL)
def test_keys_that_people_have_are_no_matter(name: str) -> None:
    value = USUAL[name]
    assert round_trip(value) == value


def test_a_million_keys_are_no_matter() -> None:
    assert round_trip(set(range(-(10**5), 10**6))) == set(range(-(10**5), 10**6))
