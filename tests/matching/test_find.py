from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, BadMatch, KernelNotFound, OwnKernel
from kernel_bridge_magic.faces import COMMAND_LINE, MAGICS, Face
from kernel_bridge_magic.faces import PYTHON as FROM_PYTHON
from kernel_bridge_magic.ipython.options import remote_parser
from kernel_bridge_magic.matching.find import (
    Level,
    find_by_id,
    find_many,
    find_one,
    find_only,
    match,
    match_level,
    none_matches,
    not_found,
    selector,
    split_server,
)
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, ServerReport, Session, Skipped

PYTHON = KernelSpec("python3", "Python 3 (ipykernel)", "python")
R = KernelSpec("ir", "R", "r")
JULIA = KernelSpec("julia-1.10", "Julia 1.10", "julia")


def server(name: str, port: int = 8888) -> Server:
    return Server(f"http://127.0.0.1:{port}/", name, Origin("http", "127.0.0.1", port, "/"), source="runtime")


LAB, GPU = server("lab"), server("gpu", 8889)


def kernel(number: int, *paths: str, spec: KernelSpec = PYTHON, at: Server | None = LAB, **known: object) -> Kernel:
    sessions = tuple(Session(path, path.rsplit("/", 1)[-1]) for path in paths)
    known.setdefault("id", f"{number:08x}-0000-4000-8000-000000000000")
    return Kernel(name=spec.name, spec=spec, sessions=sessions, server=at, **known)  # type: ignore[arg-type]


ANALYSIS = kernel(0x3F9C1C0E, "work/analysis.ipynb")
OTHER = kernel(0x3F9CFFFF, "work/other.ipynb", "copies/Other 2.ipynb")
STATS = kernel(0xABCD0001, "teach/stats.ipynb", spec=R)
CAFE = kernel(0xABCD0002, "café.ipynb", at=GPU)  # NFC here; one in NFD must mean it too
CONSOLE = kernel(0xDD, started_by="jupyter console", spec=JULIA, at=None, connection_file="/run/kernel-dd.json")
OWN = kernel(0xEEEE0001, "work/mine.ipynb", is_own=True)
ALL = [ANALYSIS, OTHER, STATS, CAFE, CONSOLE, OWN]


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
    for ask in (find_one, find_many, match):
        with pytest.raises(OwnKernel) as raised:
            if ask is match and "," in query:
                query = "mine"  # it knows no lists
            ask(query, kernels)
        assert raised.value.kernel is OWN
        assert str(raised.value).endswith(f" matches only this notebook's own kernel. {FROM_PYTHON.here}")
    with pytest.raises(OwnKernel) as raised:
        find_one(query, kernels, face=MAGICS)
    assert str(raised.value).endswith(" matches only this notebook's own kernel. Run the cell without %%remote")
    assert OWN in find_many(query, kernels, plain=True), "a filter leaves it in"


@pytest.mark.parametrize("query", ["cafe\u0301", "caf\u00e9.ipynb", "r/cafe\u0301.ipynb"])
def test_its_own_name_is_known_however_its_accents_are_written(query: str) -> None:
    for written in ("r/cafe\u0301.ipynb", "r/caf\u00e9.ipynb"):
        own = kernel(1, written, is_own=True)
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
    assert find_many(query, kernels) == [twin], "who runs on many leaves it out"


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
        find_one(query, [replace(mine, is_own=True)])


def test_a_selector_is_no_name_that_it_shares() -> None:
    twin = kernel(1, "work/mine.ipynb", at=GPU)
    assert selector(twin, [OWN, twin]) == "gpu::work/mine.ipynb"
    assert find_one("gpu::mine", [OWN, twin]) is twin
    with pytest.raises(AmbiguousKernel) as raised:
        find_one("work/mine.ipynb", [OWN, twin])
    assert raised.value.candidates == (("gpu::work/mine.ipynb", twin),)


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
    assert find_many("cafe", both, plain=True) == both, "a filter is the part as well"
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
    def test_regex(self, query: str, words: str) -> None:
        began = time.process_time()
        with pytest.raises(BadMatch, match=words):
            match(query, [*ALL, kernel(1, "a" * 61)])
        assert time.process_time() - began < 0.5

    @pytest.mark.parametrize("query", ["re:(?:foo|far)+", "re:(\\d{4}-)+", "re:.*a.*b", "re:\\w+\\.ipynb", "re:[[]"])
    def test_regex_allowed(self, query: str) -> None:
        match(query, ALL)


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
            find_one("anlaysis", ALL, reports=reports, face=MAGICS)
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
            find_one(query, kernels, reports=[ServerReport(LAB), ServerReport(GPU)], face=MAGICS)
        assert f"(looked at {looked_at}). " in str(error.value)

    def test_without_a_server(self) -> None:
        with pytest.raises(KernelNotFound, match=r"'nosuch' \(looked at 1 kernel without a server\)\. "):
            find_one("nosuch", [CONSOLE])

    @pytest.mark.parametrize(
        ("face", "next_step"),
        [(MAGICS, "%servers --add URL"), (COMMAND_LINE, "--base-url URL"), (FROM_PYTHON, "server=URL")],
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
            find_by_id(given, ALL, reports=[ServerReport(LAB), ServerReport(GPU)], face=COMMAND_LINE)
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
            find_by_id("4711", ALL, skipped=[SILENT])


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


class TestFindMany:
    def test_first_level(self) -> None:
        assert find_many("work", ALL) == [ANALYSIS, OTHER]
        assert find_many("nothing", ALL) == []

    def test_filter_takes_all_levels_and_the_own_kernel(self) -> None:
        both = kernel(1, "r/python3.ipynb", spec=R)
        assert find_many("python3", [*ALL, both]) == [both]
        assert find_many("python3", [*ALL, both], plain=True) == [ANALYSIS, OTHER, CAFE, OWN, both]
        assert find_many(OWN.id, ALL, plain=True) == [OWN]
        assert find_many("#1", ALL, rows=[OWN], plain=True) == [OWN]
        assert find_many("re:mine", ALL, plain=True) == [OWN]
        assert find_many("gpu::ipynb", ALL, plain=True) == [CAFE]

    @pytest.mark.parametrize("plain", [False, True])
    def test_list(self, plain: bool) -> None:
        assert find_many("stats, 'analysis',#1", ALL, rows=[CAFE], plain=plain) == [ANALYSIS, STATS, CAFE]

    def test_whole_before_list(self) -> None:
        comma = kernel(1, "analysis,stats.ipynb")
        assert find_many("analysis,stats", [*ALL, comma]) == [comma]

    def test_list_with_an_item_that_means_nothing(self) -> None:
        with pytest.raises(KernelNotFound, match="'zzz'"):
            find_many("analysis,zzz", ALL)
        assert find_many("analysis,zzz", ALL, plain=True) == [ANALYSIS]

    def test_regex_is_no_list(self) -> None:
        assert find_many("re:x{1,2}", ALL) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.ipynb", "a.ipynb"),
        ("my nb.ipynb", '"my nb.ipynb"'),
        ("two  spaces.ipynb", '"two  spaces.ipynb"'),
        ("-o.ipynb", "00000001"),
        ("a -o b.ipynb", '"a -o b.ipynb"'),
        ("$x.ipynb", "00000001"),
        ("a'b.ipynb", '"a\'b.ipynb"'),
        ("'ab'", "00000001"),
        ("(1).ipynb", '"(1).ipynb"'),
        ("~/a.ipynb", '"~/a.ipynb"'),
        ("a # b.ipynb", '"a # b.ipynb"'),
        ("a;b&c.ipynb", '"a;b&c.ipynb"'),
        ('a"b.ipynb', "00000001"),
        ("a\u00a0b.ipynb", "00000001"),
        (" a.ipynb", "00000001"),
        ("a\x1b.ipynb", "00000001"),
        ("\u202eb.ipynb", "00000001"),
        ("re:a.ipynb", "00000001"),
        ("#1", '"lab::#1"'),
    ],
)
def test_selector_can_be_pasted(path: str, expected: str) -> None:
    one = kernel(1, path)
    assert selector(one, [one, ANALYSIS]) == expected


_texts = (
    st.text(max_size=12) | st.text("ab/.,:#-'\" é\u0301", max_size=8) | st.sampled_from(["re:a", "lab::a", "python3"])
)
_kernels = st.builds(
    lambda paths, spec, at, started_by: Kernel(
        str(uuid.uuid4()),
        spec.name,
        spec,
        sessions=tuple(Session(path, path) for path in paths),
        server=at,
        started_by=started_by,
    ),
    st.lists(_texts, max_size=2),
    st.sampled_from([PYTHON, R, JULIA]),
    st.sampled_from([LAB, GPU, None]),
    _texts,
)
_listings = st.lists(_kernels, max_size=6)
_queries = _texts | st.text().map("re:".__add__) | st.text("ab*+?(|)[]{}1,\\^$.", max_size=12).map("re:".__add__)


def pasted(text: str) -> Iterator[str]:
    """What we are given when a text is pasted: in a cell, in a line of code, and in a shell."""
    cell = TransformerManager().transform_cell(f"%%remote {text}\npass\n")
    (call,) = ast.parse(cell).body
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call), cell
    line = ast.literal_eval(call.value.args[1])
    yield remote_parser().parse_line(line, lambda word: pytest.fail(word) if word[:1] in "${" else word)[1]
    yield remote_parser().parse_head(f"{text} pass")[1]
    yield parse(shlex.split(f"exec --kernel-match {text} --code pass", comments=True)).kernel_match


_names = _texts | st.text(" #-~=()[]{}'\"$\\!?;&|<>*%@^,:./aé", min_size=1, max_size=8)


@given(st.lists(st.tuples(_names, st.sampled_from([LAB, GPU])), min_size=1, max_size=4))
@settings(max_examples=300)
def test_a_selector_is_the_same_wherever_it_is_pasted(named: list[tuple[str, Server]]) -> None:
    kernels = [kernel(number, path, at=at) for number, (path, at) in enumerate(named, 1)]
    for one in kernels:
        text = selector(one, kernels)
        for query in pasted(text):
            assert match(query, kernels) == [one], text


@pytest.mark.parametrize(
    "path", ["two  blanks.ipynb", "a (1).ipynb", "~/x.ipynb", "r # 2.ipynb", "a;b|c&d.ipynb", "it's.ipynb"]
)
def test_a_real_shell_gives_a_selector_back(path: str) -> None:
    text = selector(kernel(1, path), [kernel(1, path)])
    assert path in text
    shells = [shell for shell in ("sh", "bash", "zsh", "dash") if shutil.which(shell)]
    for shell in shells:
        done = subprocess.run([shell, "-c", f"printf %s {text}"], capture_output=True, text=True, check=True)
        assert done.stdout == path


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


@given(_listings)
def test_selector_means_its_kernel_alone(kernels: list[Kernel]) -> None:
    for one in kernels:
        assert match(selector(one, kernels), kernels) == [one]


def test_a_selector_of_an_id_that_another_kernel_has() -> None:
    alone = [
        kernel(1, at=None, id="x", started_by=f"python (pid {n})", connection_file=f"/{n}/kernel-x.json")
        for n in (1, 2)
    ]
    behind = [kernel(1, at=at, id="x", spec=R) for at in (LAB, GPU)]
    with pytest.raises(AmbiguousKernel) as raised:
        find_one("x", [*alone, *behind])
    texts = [text for text, _ in raised.value.candidates]
    assert texts == ['"python (pid 1)"', '"python (pid 2)"', "lab::x", "gpu::x"]
    assert [find_one(text, [*alone, *behind]) for text in texts] == [*alone, *behind]


@given(_listings)
def test_whole_id_wins(kernels: list[Kernel]) -> None:
    for one in kernels:
        trap = kernel(1, one.id, at=GPU)
        assert match(one.id, [trap, *kernels]) == [one]


@given(_queries, _listings, st.randoms())
@settings(max_examples=300)
def test_any_text(query: str, kernels: list[Kernel], random: object) -> None:
    own = [replace(one, is_own=index == 0) for index, one in enumerate(kernels)]
    shuffled = list(own)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        found = match(query, own, rows=own)
        again = match(query, shuffled, rows=own)
    except BadInput:
        return
    assert {one.id for one in found} == {one.id for one in again}
    assert not any(one.is_own for one in found)
    assert [one.id for one in own if one in found] == [one.id for one in found]


@given(_queries, _listings)
@settings(max_examples=300)
def test_any_text_gives_one_line_or_a_kernel(query: str, kernels: list[Kernel]) -> None:
    for ask in (find_one, find_many, lambda *given: find_many(*given, plain=True)):
        try:
            ask(query, kernels)
        except BadInput as error:
            assert "\n" not in str(error)


@given(_listings, _kernels)
def test_stranger_does_not_change_what_a_whole_path_means(kernels: list[Kernel], stranger: Kernel) -> None:
    one = kernel(1, "some/where/over.ipynb")
    assert match("some/where/over.ipynb", [*kernels, one, stranger]) == [one]


ENDED = Skipped("/r/kernel-3f9c1c0e-0000.json", "the kernel has ended (nobody listens on its port)", stale=True)
SILENT = Skipped("/r/kernel-4711.json", "its heartbeat does not answer")
ODD = Skipped("/r/kernel-\x1b[2J.json", "not JSON (half\nwritten?)")


@pytest.mark.parametrize("query", ["4711", "kernel-4711", "kernel-4711.json", "/r/kernel-4711.json", "L-471"])
def test_a_file_that_the_match_names_is_told_of_with_the_reason(query: str) -> None:
    with pytest.raises(KernelNotFound, match=r"\. kernel-4711\.json was skipped \(its heartbeat does not answer\)\. "):
        find_one(query, ALL, skipped=[ENDED, SILENT, ODD])
    with pytest.raises(KernelNotFound, match=r"0000\.json was skipped \(the kernel has ended"):
        find_one("3f9c1c0e-0000", [CAFE], skipped=[ENDED, SILENT, ODD])


def test_files_that_the_match_does_not_name_are_told_of_where_there_is_nothing_else() -> None:
    with pytest.raises(KernelNotFound) as found:
        find_one("analysis", [CAFE], skipped=[ENDED, SILENT, ODD])
    assert "skipped" not in str(found.value)
    asks: list[Callable[[list[Skipped]], Kernel]] = [
        lambda skipped: find_one("nothing", [], skipped=skipped),
        lambda skipped: find_only([OWN], (), skipped),
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
    text = str(not_found("https://host/?token=canary-77&x=1::nb", []))
    assert "canary" not in text and "token=***" in text
