"""What is told where nothing matches."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from kernel_bridge_magic.errors import KernelNotFound
from kernel_bridge_magic.faces import MAGICS, PYTHON
from kernel_bridge_magic.matching.find import find_one, find_only
from kernel_bridge_magic.matching.misses import NOTHING, none_matches, not_found
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped
from tests.support.matches import (
    ALL,
    ANALYSIS,
    CAFE,
    GPU,
    LAB,
    OTHER,
    OWN,
    kernel,
    pasted,
)


@pytest.mark.parametrize(
    ("query", "kernels", "only", "line"),
    [
        ("zzz", ALL, False, "none of the 6 running kernels matches. %kernels shows all"),
        ("zzz", [ANALYSIS, OTHER], True, "none of the 2 running kernels on lab matches. %kernels shows all"),
        ("lab::zzz", ALL, False, "none of the 4 running kernels on lab matches. %kernels shows all"),
        ("gpu::zzz", ALL, False, "the only running kernel on gpu does not match. %kernels shows all"),
        ("gpu::zzz", [ANALYSIS], False, "no kernel on gpu was found. %kernels shows all"),
        ("moon::zzz", [ANALYSIS], False, "the only running kernel does not match. %kernels shows all"),
    ],
)
def test_a_filter_counts_what_was_looked_at(query: str, kernels: list[Kernel], only: bool, line: str) -> None:
    reports = [ServerReport(LAB)] if only else [ServerReport(LAB), ServerReport(GPU)]
    assert none_matches(query, kernels, reports, MAGICS, only=only) == line


@pytest.mark.parametrize("query", ["tvo  blanks.ipynb", "pyhton3", "it's.ipnyb", "jupiter consol", "julia-1.01"])
def test_what_is_proposed_can_be_pasted(query: str) -> None:
    kernels = [*ALL, kernel(1, "two  blanks.ipynb"), kernel(2, "it's.ipynb")]
    with pytest.raises(KernelNotFound) as raised:
        find_one(query, kernels)
    proposed = re.search(r"Did you mean (.*) \? ", str(raised.value))
    assert bool(proposed) == (query != "pyhton3"), "three kernels are python3: that would be no answer"
    for text in proposed[1].split(" or ") if proposed else ():
        for line in pasted(text):
            find_one(line, kernels)


ENDED = Skipped("/r/kernel-3f9c1c0e-0000.json", "the kernel has ended (nobody listens on its port)", stale=True)
SILENT = Skipped("/r/kernel-4711.json", "its heartbeat does not answer")
ODD = Skipped("/r/kernel-\x1b[2J.json", "not JSON (half\nwritten?)")


@pytest.mark.parametrize("query", ["4711", "kernel-4711", "kernel-4711.json", "/r/kernel-4711.json", "L-471"])
def test_a_file_that_the_match_names_is_told_of_with_the_reason(query: str) -> None:
    with pytest.raises(KernelNotFound, match=r"\. kernel-4711\.json was skipped \(its heartbeat does not answer\)\. "):
        find_one(query, ALL, listing=Listing(skipped=(ENDED, SILENT, ODD)))
    with pytest.raises(KernelNotFound, match=r"0000\.json was skipped \(the kernel has ended"):
        find_one("3f9c1c0e-0000", [CAFE], listing=Listing(skipped=(ENDED, SILENT, ODD)))


def test_files_that_the_match_does_not_name_are_told_of_where_there_is_nothing_else() -> None:
    with pytest.raises(KernelNotFound) as found:
        find_one("analysis", [CAFE], listing=Listing(skipped=(ENDED, SILENT, ODD)))
    assert "skipped" not in str(found.value)
    asks: list[Callable[[list[Skipped]], Kernel]] = [
        lambda skipped: find_one("nothing", [], Listing(skipped=tuple(skipped))),
        lambda skipped: find_only(Listing((OWN,), skipped=tuple(skipped))),
    ]
    for ask in asks:
        with pytest.raises(
            KernelNotFound, match=r"kernel-4711\.json was skipped \(its heart.*\)\. kernel-\\x1b"
        ) as told:
            ask([ENDED, SILENT, ODD])
        assert "ended" not in str(told.value) and str(told.value).isprintable()
        with pytest.raises(KernelNotFound, match=r"\. 497 more files were skipped \(kernels\(\)\.listing shows them\)"):
            ask([ENDED, *[SILENT] * 500])


def test_a_token_in_what_was_pasted_is_not_repeated() -> None:
    text = str(not_found("https://host/?token=canary-77&x=1::nb", [], NOTHING, PYTHON))
    assert "canary" not in text and "token=***" in text
