"""Which rule decides what a MATCH means."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_bridge_magic.errors import BadInput, BadMatch, KernelNotFound, OwnKernel
from kernel_bridge_magic.matching.levels import Level, candidates, could_mean, match_level, split_server
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.reports import Listing
from tests.support.matches import (
    ALL,
    ANALYSIS,
    CAFE,
    CONSOLE,
    GPU,
    LAB,
    OTHER,
    OWN,
    STATS,
    R,
    kernel,
    listings,
    match,
    queries,
    stray_kernels,
)


@pytest.mark.parametrize(
    ("query", "level", "expected"),
    [
        (ANALYSIS.id, Level.ID, [ANALYSIS]),
        ("work/analysis.ipynb", Level.PATH, [ANALYSIS]),
        ("copies/Other 2.ipynb", Level.PATH, [OTHER]),
        ('"copies/Other 2.ipynb"', Level.PATH, [OTHER]),
        ("  'work/other.ipynb' ", Level.PATH, [OTHER]),
        ("cafe\u0301.ipynb", Level.PATH, [CAFE]),
        ("analysis.ipynb", Level.NAME, [ANALYSIS]),
        ("jupyter console", Level.NAME, [CONSOLE]),
        ("/run/kernel-dd.json", Level.PATH, [CONSOLE]),
        ("kernel-dd.json", Level.NAME, [CONSOLE]),
        ("kernel-dd", Level.STEM, [CONSOLE]),
        ("analysis", Level.STEM, [ANALYSIS]),
        ("Other 2", Level.STEM, [OTHER]),
        ("ir", Level.KERNELSPEC, [STATS]),
        ("python3", Level.KERNELSPEC, [ANALYSIS, OTHER, CAFE]),
        ("3f9c1", Level.PREFIX, [ANALYSIS]),
        ("3F9C", Level.PREFIX, [ANALYSIS, OTHER]),
        ("3f9", None, []),
        ("ANALY", Level.PART, [ANALYSIS]),
        ("cafe", Level.PART, [CAFE]),
        ("CAFÉ.IPYNB", Level.PART, [CAFE]),
        ("ânal", Level.PART, [ANALYSIS]),
        ("\u0301", None, []),
        ("iPýkernel", Level.KIND, [ANALYSIS, OTHER, CAFE]),
        ("work/", Level.PART, [ANALYSIS, OTHER]),
        ("console", Level.PART, [CONSOLE]),
        ("re:^work/.*\\.ipynb$", Level.REGEX, [ANALYSIS, OTHER]),
        ("re:Other \\d", Level.REGEX, [OTHER]),
        ("re:julia", None, []),
        ("julia", Level.KIND, [CONSOLE]),
        ("Ipykernel", Level.KIND, [ANALYSIS, OTHER, CAFE]),
        ("gpu::python", Level.KIND, [CAFE]),
        ("http://127.0.0.1:8889::ipynb", Level.PART, [CAFE]),
        ("gpu::analysis", None, []),
        ("lab::re:stats|other", Level.REGEX, [OTHER, STATS]),
        ("*.ipynb", None, []),
        ("work/../work/analysis.ipynb", None, []),
        ("MINE", None, []),
        ("re:mine", None, []),
    ],
)
def test_levels(query: str, level: Level | None, expected: list[Kernel]) -> None:
    assert match_level(query, ALL) == (level, expected)


def test_first_level_decides() -> None:
    by_name, by_path = kernel(1, "x/a.ipynb"), kernel(2, "a.ipynb")
    assert match("a.ipynb", [by_name, by_path]) == [by_path]
    assert match("a.ipynb", [by_name]) == [by_name]
    named_ir = kernel(3, "ir.ipynb")
    assert match("ir", [STATS, named_ir]) == [named_ir]


def test_accents_do_not_matter_in_a_part_but_wholes_win() -> None:
    plain, accent = kernel(1, "cafe.ipynb"), kernel(2, "cafe\u0301.ipynb")
    both = [plain, accent]
    for query, expected in (
        ("cafe", [plain]),
        ("café", [accent]),
        ("cafe.ipynb", [plain]),
        ("CAF", both),
        ("ÇAFÉ", both),
    ):
        assert match(query, both) == expected, query
    assert could_mean("cafe", both) == both, "a filter is the part as well"
    assert match("STRASSE", [kernel(3, "Straße.ipynb")]) and match("istan", [kernel(4, "İstanbul.ipynb")])


def test_path_may_hold_two_colons() -> None:
    odd = kernel(1, "a::b.ipynb")
    assert match("a::b.ipynb", [odd, ANALYSIS]) == [odd]


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("nb", (None, "nb")),
        ("lab::nb", ("lab", "nb")),
        ("lab:: my nb", ("lab", "my nb")),
        ("lab::re:a::b", ("lab", "re:a::b")),
        ("re:a::b", (None, "re:a::b")),
        ("http://[::1]:8888/::nb", ("http://[::1]:8888/", "nb")),
        ("http://[::1]:8888/", (None, "http://[::1]:8888/")),
        ("'lab::My nb'", ("lab", "My nb")),
        ("odd[::nb", ("odd[", "nb")),
        ("lab::", ("lab", "")),
        ("::nb", (None, "::nb")),
    ],
)
def test_split_server(query: str, parts: tuple[str | None, str]) -> None:
    assert split_server(query) == parts


class TestRows:
    def test_row(self) -> None:
        assert match("#2", ALL, rows=[STATS, ANALYSIS]) == [ANALYSIS]

    def test_row_is_by_id(self) -> None:
        shown = replace(ANALYSIS, state="busy")
        assert match("#1", ALL, rows=[shown])[0] is ANALYSIS

    @pytest.mark.parametrize("places", [(None, None), (LAB, GPU), (GPU, LAB), (GPU, None)])
    @pytest.mark.parametrize("kernel_id", ["x", "4711"])
    def test_an_id_that_can_be_guessed_is_not_the_whole(
        self, places: tuple[Server | None, Server | None], kernel_id: str
    ) -> None:
        one, other = (
            kernel(1, at=at, id=kernel_id, connection_file="" if at else f"/run/{n}/kernel-x.json")
            for n, at in enumerate(places)
        )
        for rows in ([one, other], [other, one]):
            assert [match(f"#{n}", [one, other], rows=rows) for n in (1, 2)] == [[row] for row in rows]
        with pytest.raises(KernelNotFound, match="which is gone"):
            match("#1", [other], rows=[one])

    def test_one_kernel_whose_server_has_come_or_gone(self) -> None:
        alone = replace(ANALYSIS, server=None, connection_file="/run/kernel-1.json")
        renamed = replace(ANALYSIS, server=replace(LAB, name="mine"))
        behind = replace(ANALYSIS, connection_file=alone.connection_file)
        for row, there in ((alone, behind), (behind, alone), (renamed, ANALYSIS)):
            assert match("#1", [there], rows=[row]) == [there]

    def test_gone(self) -> None:
        with pytest.raises(KernelNotFound, match=r"^row #1 was work/analysis\.ipynb \(3f9c1c0e\), which is gone\."):
            match("#1", [STATS], rows=[ANALYSIS])

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            (None, "#9 is a row of a listing in a notebook. Here, name the kernel by its path or id"),
            ([], "there is no row #9: no %kernels has shown any. Run %kernels first"),
            ([STATS], "there is no row #9: the last %kernels showed only #1"),
            ([STATS, ANALYSIS], "there is no row #9: the last %kernels showed #1 to #2"),
        ],
    )
    def test_refused(self, rows: list[Kernel] | None, words: str) -> None:
        with pytest.raises(BadMatch) as raised:
            match("#9", ALL, rows=rows)
        assert str(raised.value) == words

    def test_own(self) -> None:
        with pytest.raises(OwnKernel):
            match("#1", ALL, rows=[OWN])

    def test_no_row(self) -> None:
        sharp = kernel(1, "#notes.ipynb")
        assert match("#notes", [sharp]) == [sharp]


class TestRefused:
    @pytest.mark.parametrize("query", ["re:a?[", "re:a@b#[", "lab::re:a?["])
    def test_a_regular_expression_is_shown(self, query: str) -> None:
        with pytest.raises(BadMatch, match=re.escape(repr(query.rpartition("re:")[2]))):
            match(query, ALL)

    @pytest.mark.parametrize("query", ["", "  ", '""', "' '", "lab::", "lab:: ''"])
    def test_empty(self, query: str) -> None:
        with pytest.raises(BadMatch) as raised:
            match(query, ALL)
        assert str(raised.value) == "which kernel? The name is empty; a notebook's name will do"

    def test_own_by_id(self) -> None:
        with pytest.raises(OwnKernel, match="this notebook's own kernel"):
            match(OWN.id, ALL)


@given(listings)
def test_whole_id_wins(kernels: list[Kernel]) -> None:
    for one in kernels:
        trap = kernel(1, one.id, at=GPU)
        assert match(one.id, [trap, *kernels]) == [one]


@given(queries, listings, st.randoms())
@settings(max_examples=3 * settings().max_examples)
def test_any_text(query: str, kernels: list[Kernel], random: object) -> None:
    own = [replace(one, is_this_kernel=index == 0) for index, one in enumerate(kernels)]
    shuffled = list(own)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        found = match(query, own, rows=own)
        again = match(query, shuffled, rows=own)
    except BadInput:
        return
    assert {one.id for one in found} == {one.id for one in again}
    assert not any(one.is_this_kernel for one in found)
    assert [one.id for one in own if one in found] == [one.id for one in found]


@given(listings, stray_kernels)
def test_stranger_does_not_change_what_a_whole_path_means(kernels: list[Kernel], stranger: Kernel) -> None:
    one = kernel(1, "some/where/over.ipynb")
    assert match("some/where/over.ipynb", [*kernels, one, stranger]) == [one]


def test_a_filter_takes_all_levels_and_this_kernel_too() -> None:
    both = kernel(1, "r/python3.ipynb", spec=R)
    assert match("python3", [*ALL, both]) == [both]
    assert could_mean("python3", [*ALL, both]) == [ANALYSIS, OTHER, CAFE, OWN, both]
    assert could_mean(OWN.id, ALL) == [OWN]
    assert could_mean("#1", ALL, [OWN]) == [OWN]
    assert could_mean("re:mine", ALL) == [OWN]
    assert could_mean("gpu::ipynb", ALL) == [CAFE]


def test_a_filter_takes_the_items_of_a_list_where_the_whole_matches_nothing() -> None:
    assert could_mean("stats, 'analysis',#1", ALL, [CAFE]) == [ANALYSIS, STATS, CAFE]
    assert could_mean("analysis,zzz", ALL) == [ANALYSIS]
    comma = kernel(1, "analysis,stats.ipynb")
    assert could_mean("analysis,stats", [*ALL, comma]) == [comma]
    assert could_mean("re:x{1,2}", ALL) == []


def test_what_a_sandboxed_server_claims_is_meant_where_it_is_named() -> None:
    claim = replace(ANALYSIS, claimed=True, server=GPU)
    listing = Listing((ANALYSIS,), claims=(claim,))
    assert candidates("analysis", listing) == (ANALYSIS,)
    assert candidates("lab::analysis", listing) == (ANALYSIS,)
    for query in ("gpu::analysis", "gpu::#1", "#2", "'#2'"):
        assert candidates(query, listing) == (ANALYSIS, claim), query
