"""From a MATCH to one kernel, to several, or to an error."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings

from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, BadMatch, KernelNotFound, OwnKernel
from kernel_bridge_magic.faces import COMMAND_LINE, MAGICS, Face, acting
from kernel_bridge_magic.faces import PYTHON as PYTHON_FACE
from kernel_bridge_magic.matching.find import find_by_id, find_named, find_one, find_only, is_named
from kernel_bridge_magic.matching.levels import Level, could_mean, match_level
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped
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
    kernel,
    listings,
    match,
    queries,
    server,
)

# -- the kernel that asks, which has the names of others in its neighbourhood


@pytest.mark.parametrize(
    "query",
    [
        OWN.id,
        "work/mine.ipynb",
        "mine.ipynb",
        "mine",
        " 'mine' ",
        '"mine.ipynb"',
        OWN.id[:8],
        OWN.id[:4].upper(),
        "lab::mine",
        "lab::work/mine.ipynb",
        "http://127.0.0.1:8888/lab/tree/x.ipynb::mine",
        "analysis,mine",
        "'mine', mine.ipynb",
    ],
)
def test_its_own_name_is_no_other_kernel(query: str) -> None:
    nearly = [kernel(1, "work/mine2.ipynb"), kernel(2, "old/work/mine.ipynb/x"), kernel(3, "x.md", started_by="mine x")]
    ids_in_paths = [kernel(4, f"{OWN.id}.txt"), kernel(5, f"a-{OWN.id[:8]}.ipynb")]
    kernels = [*nearly, OWN, ANALYSIS, *ids_in_paths]
    for ask in (find_one, match):
        with pytest.raises(OwnKernel) as raised:
            if ask is match and "," in query:
                query = "mine"  # it knows no lists
            ask(query, kernels)
        assert raised.value.kernel is OWN
        assert str(raised.value).endswith(f" matches only this notebook's own kernel. {PYTHON_FACE.here}")
    with pytest.raises(OwnKernel) as raised:
        find_one(query, kernels, face=MAGICS)
    assert str(raised.value).endswith(" matches only this notebook's own kernel. Run the cell without %%remote")
    assert OWN in could_mean(query, kernels), "a filter leaves it in"


@pytest.mark.parametrize("query", ["cafe\u0301", "caf\u00e9.ipynb", "r/cafe\u0301.ipynb"])
def test_its_own_name_is_known_however_its_accents_are_written(query: str) -> None:
    for written in ("r/cafe\u0301.ipynb", "r/caf\u00e9.ipynb"):
        own = kernel(1, written, is_this_kernel=True)
        with pytest.raises(OwnKernel):
            find_one(query, [kernel(2, "r/caf\u00e9.ipynb/x"), own])


@pytest.mark.parametrize(
    ("query", "verb"),
    [
        ("mine.ipynb", "matches"),
        ("mine", "matches"),
        ("lab::mine", "matches"),
        ("eeee", "matches"),
        ("mine,'mine.ipynb'", "is a list of"),
        ("mine,", "is a list of"),
    ],
)
def test_a_name_that_it_shares_is_nobody_s_alone(query: str, verb: str) -> None:
    twin = kernel(0xEEEE0002, "teach/mine.ipynb")
    kernels = [OWN, twin, kernel(1, "mine-3.ipynb")]
    with pytest.raises(AmbiguousKernel) as raised:
        find_one(query, kernels)
    assert str(raised.value) == f"'{query}' {verb} 2 kernels, one of them this notebook's own, so nothing was run. Use:"
    assert raised.value.candidates == (("teach/mine.ipynb", twin),)
    assert find_one("teach/mine.ipynb", kernels) is twin


@pytest.mark.parametrize("query", ["work/analysis.ipynb", "x", "4711"])
def test_an_id_that_somebody_chose_does_not_take_a_path_away(query: str) -> None:
    mine, theirs = kernel(1, query), kernel(2, "a.ipynb", at=GPU, id=query)
    with pytest.raises(AmbiguousKernel) as raised:
        find_one(query, [theirs, mine])
    assert {kernel: find_one(text, [theirs, mine]) for text, kernel in raised.value.candidates} == {
        mine: mine,
        theirs: theirs,
    }
    assert find_one(query, [theirs]) is theirs
    with pytest.raises(OwnKernel):
        find_one(query, [replace(mine, is_this_kernel=True)])


@pytest.mark.parametrize(
    ("query", "level"),
    [("python3", Level.KERNELSPEC), ("MINE", Level.PART), ("re:mine", Level.REGEX), ("ipyk", Level.KIND)],
)
def test_what_describes_it_means_others_alone(query: str, level: Level) -> None:
    nearly = kernel(1, "work/mine2.ipynb")
    assert match_level(query, [OWN, nearly]) == (level, [nearly])
    assert find_one(query, [OWN, nearly]) is nearly
    with pytest.raises(KernelNotFound, match="matches only this notebook's own kernel"):
        find_one(query, [OWN])


class TestFindOne:
    def test_one(self) -> None:
        assert find_one("analysis", ALL) is ANALYSIS

    def test_nothing(self) -> None:
        reports = [
            ServerReport(LAB, 4),
            ServerReport(GPU, 1),
            ServerReport(server("hub", 1), problem="timed out after 3 s", remedy="wait"),
        ]
        with pytest.raises(KernelNotFound) as error:
            find_one("anlaysis", ALL, listing=Listing(servers=tuple(reports)), face=MAGICS)
        assert str(error.value) == (
            "no running kernel matches 'anlaysis' (looked at 4 other kernels on 2 servers and 1 without a server)."
            " hub was not reached (timed out after 3 s). Did you mean work/analysis.ipynb ? %kernels lists them"
        )

    @pytest.mark.parametrize(
        ("query", "kernels", "looked_at"),
        [
            ("nosuch", [ANALYSIS, OTHER, CAFE], "3 kernels on 2 servers"),
            ("nosuch", [ANALYSIS, OWN], "1 other kernel on 2 servers"),
            ("nosuch", [CONSOLE], "0 kernels on 2 servers and 1 without a server"),
            ("lab::nosuch", ALL, "3 other kernels on 1 server"),
            ("gpu::nosuch", ALL, "1 kernel on 1 server"),
            ("gpu::nosuch", [ANALYSIS, OTHER], "0 kernels on 1 server"),
            ("http://127.0.0.1:8889/lab/tree/x.ipynb::nosuch", ALL, "1 kernel on 1 server"),
        ],
    )
    def test_it_counts_what_was_looked_at(self, query: str, kernels: list[Kernel], looked_at: str) -> None:
        with pytest.raises(KernelNotFound) as error:
            find_one(query, kernels, listing=Listing(servers=(ServerReport(LAB), ServerReport(GPU))), face=MAGICS)
        assert f"(looked at {looked_at}). " in str(error.value)

    def test_without_a_server(self) -> None:
        with pytest.raises(KernelNotFound, match=r"'nosuch' \(looked at 1 kernel without a server\)\. "):
            find_one("nosuch", [CONSOLE])

    @pytest.mark.parametrize(
        ("face", "next_step"),
        [(MAGICS, "%servers --add URL"), (COMMAND_LINE, "--base-url URL"), (PYTHON_FACE, "server=URL")],
    )
    def test_nothing_at_all(self, face: Face, next_step: str) -> None:
        with pytest.raises(KernelNotFound) as error:
            find_one("foo", [], face=face)
        assert str(error.value) == (
            "no running kernel matches 'foo' (looked at 0 kernels on 0 servers)."
            f" Open a notebook, or name a server with {next_step}"
        )

    def test_only_own(self) -> None:
        with pytest.raises(KernelNotFound, match="'min' matches only this notebook's own kernel"):
            find_one("min", ALL)

    def test_unknown_server(self) -> None:
        with pytest.raises(KernelNotFound, match=r"\. No server is called 'moon'\. "):
            find_one("moon::analysis", ALL)

    def test_hostile_query_is_one_safe_line(self) -> None:
        with pytest.raises(KernelNotFound) as error:
            find_one("a\x1b]0;b\x07\n\u202ec" + "x" * 500, ALL)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 240

    def test_several(self) -> None:
        twin = kernel(0x77770001, "work/analysis.ipynb", at=GPU)
        kernels = [ANALYSIS, twin, OTHER]
        with pytest.raises(AmbiguousKernel) as error:
            find_one("analysis", kernels)
        assert str(error.value) == "'analysis' matches 2 kernels, so nothing was run. Use one of:"
        assert [text for text, _ in error.value.candidates] == ["lab::work/analysis.ipynb", "gpu::work/analysis.ipynb"]
        for text, candidate in error.value.candidates:
            assert find_one(text, kernels) is candidate
        assert error.value.choices(80) == ["  lab::work/analysis.ipynb  lab", "  gpu::work/analysis.ipynb  gpu"]

    def test_a_list_is_no_name(self) -> None:
        with pytest.raises(AmbiguousKernel) as error:
            find_one("analysis,stats", ALL)
        assert str(error.value) == "'analysis,stats' is a list of 2 kernels, so nothing was run. Use one of:"

    @pytest.mark.bounded
    def test_thousands(self) -> None:
        kernels = [kernel(number, f"work/nb{number}.ipynb") for number in range(5000)]
        began = time.process_time()
        with pytest.raises(AmbiguousKernel) as error:
            find_one("work", kernels)
        with pytest.raises(KernelNotFound):
            find_one("zork", kernels)
        assert time.process_time() - began < 3
        assert error.value.choices(80)[-1] == "  … and 4950 more"


class TestFindById:
    """Who gives less than a whole id, as listings show it, is told the whole."""

    def test_a_whole_id(self) -> None:
        assert find_by_id(ANALYSIS.id, ALL) is ANALYSIS
        with pytest.raises(OwnKernel):
            find_by_id(OWN.id, ALL)

    @pytest.mark.parametrize(
        "given", ["3f9c1c0e", "3f9c1c0e-0000-4000", ANALYSIS.id.upper(), "3F9C1", " 3f9c1c0e ", "'3f9c1'"]
    )
    def test_the_beginning_of_one(self, given: str) -> None:
        with pytest.raises(KernelNotFound) as raised:
            find_by_id(given, ALL, face=COMMAND_LINE)
        assert str(raised.value) == (
            f"--kernel-id takes a whole id; did you mean {ANALYSIS.id} ? (--kernel-match takes a part)"
        )

    @pytest.mark.parametrize("given", ["3f9c", "3F9C", "3"])
    def test_the_beginning_of_several(self, given: str) -> None:
        with pytest.raises(AmbiguousKernel) as raised:
            find_by_id(given, ALL)
        assert str(raised.value) == (
            f"--kernel-id takes a whole id, and 2 begin with '{given}', so nothing was run. Use one of:"
        )
        assert raised.value.candidates == ((ANALYSIS.id, ANALYSIS), (OTHER.id, OTHER))

    def test_the_beginning_of_its_own(self) -> None:
        with pytest.raises(OwnKernel, match="'eeee' matches only this notebook's own kernel"):
            find_by_id("eeee", ALL)

    @pytest.mark.parametrize("given", ["3f9c1c0e-0000-4000-8000-000000000001", "analysis", "ffff", "work/mine.ipynb"])
    def test_none(self, given: str) -> None:
        with pytest.raises(KernelNotFound) as raised:
            find_by_id(given, ALL, listing=Listing(servers=(ServerReport(LAB), ServerReport(GPU))), face=COMMAND_LINE)
        assert str(raised.value) == (
            f"no running kernel has the id '{given}' (looked at 4 other kernels on 2 servers and 1 without a server)."
            " kernel-bridge list -v shows whole ids; --kernel-match takes a name"
        )

    @pytest.mark.parametrize("given", ["", " ", "''"])
    def test_empty(self, given: str) -> None:
        with pytest.raises(BadMatch, match="The name is empty"):
            find_by_id(given, ALL)

    def test_a_file_that_was_skipped(self) -> None:
        with pytest.raises(
            KernelNotFound, match=r"\. kernel-4711\.json was skipped \(its heartbeat does not answer\)\. "
        ):
            skipped = Skipped("/r/kernel-4711.json", "its heartbeat does not answer")
            find_by_id("4711", ALL, Listing(skipped=(skipped,)))


@given(queries, listings)
@settings(max_examples=3 * settings().max_examples)
def test_any_text_gives_one_line_or_a_kernel(query: str, kernels: list[Kernel]) -> None:
    for ask in (find_one, could_mean):
        try:
            ask(query, kernels)
        except BadInput as error:
            assert "\n" not in str(error)


class TestFindOnly:
    def test_where_there_is_one_it_is_meant(self) -> None:
        assert find_only(Listing((OWN, ANALYSIS))) is ANALYSIS

    def test_of_several_somebody_chooses(self) -> None:
        with pytest.raises(AmbiguousKernel, match=r"^2 kernels are running\. Choose one: ") as raised:
            find_only(Listing((OWN, ANALYSIS, CONSOLE)))
        assert [kernel for _, kernel in raised.value.candidates] == [ANALYSIS, CONSOLE]

    def test_this_kernel_is_none(self) -> None:
        with pytest.raises(KernelNotFound):
            find_only(Listing((OWN,)))


# -- what is named in full, for what cannot be undone

ANONYMOUS = kernel(0xABCD0003)  # it has no name but its id


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("#2", OTHER),
        (ANALYSIS.id, ANALYSIS),
        ("work/analysis.ipynb", ANALYSIS),
        ("analysis.ipynb", ANALYSIS),
        (" 'analysis' ", ANALYSIS),
        ("lab::analysis", ANALYSIS),
        ("Other 2", OTHER),
        ("café", CAFE),
        (ANONYMOUS.id, ANONYMOUS),
    ],
)
def test_a_whole_name_is_enough_for_what_cannot_be_undone(query: str, meant: Kernel) -> None:
    assert find_named(query, [ANALYSIS, OTHER, CAFE, ANONYMOUS], rows=[ANALYSIS, OTHER]) is meant


@pytest.mark.parametrize(
    ("query", "kernels", "whole"),
    [
        ("ir", [ANALYSIS, STATS], "teach/stats.ipynb"),
        ("python3", [ANALYSIS, STATS], "work/analysis.ipynb"),
        ("3f9c1c0e", [ANALYSIS, OTHER], "work/analysis.ipynb"),
        ("analysi", [ANALYSIS, OTHER], "work/analysis.ipynb"),
        ("ANALYSIS", [ANALYSIS, OTHER], "work/analysis.ipynb"),
        ("cafe", [ANALYSIS, CAFE], "café.ipynb"),
        ("re:^work/analysis.ipynb$", [ANALYSIS, OTHER], "work/analysis.ipynb"),
        ("lab::analysi", [ANALYSIS, OTHER, CAFE], "work/analysis.ipynb"),
        ("Python 3", [ANALYSIS, STATS], "work/analysis.ipynb"),
        ("abcd0003", [ANALYSIS, ANONYMOUS], ANONYMOUS.id),
    ],
)
def test_less_than_a_whole_name_is_refused_with_the_name(query: str, kernels: list[Kernel], whole: str) -> None:
    assert find_one(query, kernels) is not None
    with pytest.raises(BadMatch) as refused:
        find_named(query, kernels, face=acting(MAGICS, "shutdown"))
    told = str(refused.value)
    assert told.endswith(f" is not the whole name of a kernel, so nothing was shut down. Did you mean {whole} ?")
    assert find_named(whole, kernels) is find_one(query, kernels), "what it tells can be written"


def test_a_whole_name_of_two_kernels_is_no_name() -> None:
    twin = kernel(7, "copies/analysis.ipynb")
    with pytest.raises(AmbiguousKernel, match="so nothing was restarted"):
        find_named("analysis", [ANALYSIS, twin], face=acting(COMMAND_LINE, "restart"))
    with pytest.raises(AmbiguousKernel):
        find_named("analysis,other", [ANALYSIS, OTHER])
    with pytest.raises(OwnKernel):
        find_named("mine", [ANALYSIS, OWN])
    with pytest.raises(KernelNotFound):
        find_named("nothing", [ANALYSIS])
    with pytest.raises(BadMatch):
        find_named(" ", [ANALYSIS])


def test_a_name_is_taken_by_whoever_has_it_in_full() -> None:
    kernels = [ANALYSIS, CAFE, OWN]
    assert all(is_named(name, kernels) for name in ("analysis", "analysis.ipynb", "mine", ANALYSIS.id, "café"))
    assert not any(is_named(name, kernels) for name in ("python3", "3f9c1c0e", "analysi", "new", "work"))
