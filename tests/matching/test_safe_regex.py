"""Regular expressions of users: which are refused, and how fast."""

from __future__ import annotations

import time

import pytest

from kernel_bridge_magic.errors import BadMatch
from tests.support.matches import (
    ALL,
    kernel,
    match,
)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("re:[", r"bad regular expression '\[': unterminated character set at position 0"),
        ("re:abc(", "position 3"),
        ("re:" + "a" * 201, "201 characters. Use 200 at most"),
        ("re:(a+)+$", "a repeat inside a repeat"),
        ("re:((a*)b?)*$", "a repeat inside a repeat"),
        ("re:(a|a)*b", "a repeat inside a repeat"),
        ("re:(.|a){2,}b", "a repeat inside a repeat"),
        ("re:" + "a?" * 60, "so many repeats"),
        ("re:" + "(?=a*)a*" * 5, "so many repeats"),
        ("re:a{99999999999}", "repetition number"),
    ],
)
def test_what_is_broken_or_could_take_for_ever_is_refused(query: str, words: str) -> None:
    began = time.process_time()
    with pytest.raises(BadMatch, match=words):
        match(query, [*ALL, kernel(1, "a" * 61)])
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("query", ["re:(?:foo|far)+", "re:(\\d{4}-)+", "re:.*a.*b", "re:\\w+\\.ipynb", "re:[[]"])
def test_what_is_harmless_is_allowed(query: str) -> None:
    match(query, ALL)
