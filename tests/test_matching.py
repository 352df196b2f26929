from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, BadMatch, KernelNotFound, OwnKernel
from kernel_bridge_magic.matching import (
    Level,
    find_many,
    find_one,
    find_only,
    match,
    match_level,
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
        ("analysis", Level.STEM, [ANALYSIS]),
        ("Other 2", Level.STEM, [OTHER]),
        ("ir", Level.KERNELSPEC, [STATS]),
        ("python3", Level.KERNELSPEC, [ANALYSIS, OTHER, CAFE]),
        ("3f9c1", Level.PREFIX, [ANALYSIS]),
        ("3F9C", Level.PREFIX, [ANALYSIS, OTHER]),
        ("3f9", None, []),
        ("ANALY", Level.PART, [ANALYSIS]),
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
        assert str(raised.value).endswith(" matches only this notebook's own kernel. Run the cell without %%remote")
    assert OWN in find_many(query, kernels, plain=True), "a filter leaves it in"


@pytest.mark.parametrize("query", ["cafe\u0301", "caf\u00e9.ipynb", "r/cafe\u0301.ipynb"])
def test_its_own_name_is_known_however_its_accents_are_written(query: str) -> None:
    for written in ("r/cafe\u0301.ipynb", "r/caf\u00e9.ipynb"):
        own = kernel(1, written, is_own=True)
        with pytest.raises(OwnKernel):
            find_one(query, [kernel(2, "r/caf\u00e9.ipynb/x"), own])


@pytest.mark.parametrize(
    ("query", "level"),
    [
        ("mine.ipynb", "name"),
        ("mine", "stem"),
        ("lab::mine", "stem"),
        ("eeee", "id prefix"),
        ("mine,'mine.ipynb'", "--all runs on each"),
        ("mine,", "--all runs on each"),
    ],
)
def test_a_name_that_it_shares_is_nobody_s_alone(query: str, level: str) -> None:
    twin = kernel(0xEEEE0002, "teach/mine.ipynb")
    kernels = [OWN, twin, kernel(1, "mine-3.ipynb")]
    words = rf"2 kernels \(.*{level}; one is this notebook's own\); name one:"
    with pytest.raises(AmbiguousKernel, match=words) as raised:
        find_one(query, kernels)
    assert raised.value.candidates == (("teach/mine.ipynb", twin),)
    assert find_one("teach/mine.ipynb", kernels) is twin
    assert find_many(query, kernels) == [twin], "--all leaves it out"


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
        with pytest.raises(KernelNotFound, match=r"#1 was work/analysis\.ipynb \(3f9c1c0e\), which is gone"):
            match("#1", [STATS], rows=[ANALYSIS])

    @pytest.mark.parametrize(
        ("rows", "words"), [(None, "by path or id"), ([], "run %kernels first"), ([STATS], "rows #1 to #1")]
    )
    def test_refused(self, rows: list[Kernel] | None, words: str) -> None:
        with pytest.raises(BadMatch, match=words):
            match("#2", ALL, rows=rows)

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
        with pytest.raises(BadMatch, match="%autoremote"):
            match(query, ALL)

    def test_own_by_id(self) -> None:
        with pytest.raises(OwnKernel, match="this notebook's own kernel"):
            match(OWN.id, ALL)

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("re:[", r"bad regular expression '\[': unterminated character set at position 0"),
            ("re:abc(", "position 3"),
            ("re:" + "a" * 201, "201 characters; 200"),
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
            find_one("anlaysis", ALL, reports=reports)
        assert str(error.value) == (
            "no kernel matches 'anlaysis' (5 kernels on 2 servers); closest: work/analysis.ipynb"
            "; not reached: hub (timed out after 3 s)"
        )

    def test_nothing_at_all(self) -> None:
        with pytest.raises(KernelNotFound, match=r"^no kernel matches 'foo' \(0 kernels on 0 servers\)$"):
            find_one("foo", [])

    def test_only_own(self) -> None:
        with pytest.raises(KernelNotFound, match="'min' matches only this notebook's own kernel"):
            find_one("min", ALL)

    def test_unknown_server(self) -> None:
        with pytest.raises(KernelNotFound, match="no server is called 'moon'"):
            find_one("moon::analysis", ALL)

    def test_hostile_query_is_one_safe_line(self) -> None:
        with pytest.raises(KernelNotFound) as error:
            find_one("a\x1b]0;b\x07\n\u202ec" + "x" * 500, ALL)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 200

    def test_several(self) -> None:
        twin = kernel(0x77770001, "work/analysis.ipynb", at=GPU)
        kernels = [ANALYSIS, twin, OTHER]
        with pytest.raises(AmbiguousKernel) as error:
            find_one("analysis", kernels)
        assert str(error.value) == "'analysis' means 2 kernels (by stem); name one:"
        assert [text for text, _ in error.value.candidates] == ["lab::work/analysis.ipynb", "gpu::work/analysis.ipynb"]
        for text, candidate in error.value.candidates:
            assert find_one(text, kernels) is candidate
        assert error.value.table.splitlines() == [
            "  MATCH                     name                 kernel                state    server",
            "  lab::work/analysis.ipynb  work/analysis.ipynb  Python 3 (ipykernel)  unknown  lab",
            "  gpu::work/analysis.ipynb  work/analysis.ipynb  Python 3 (ipykernel)  unknown  gpu",
        ]

    def test_list_is_refused_with_a_hint(self) -> None:
        with pytest.raises(AmbiguousKernel, match=r"list of 2 kernels \(--all"):
            find_one("analysis,stats", ALL)

    def test_thousands(self) -> None:
        kernels = [kernel(number, f"work/nb{number}.ipynb") for number in range(5000)]
        began = time.process_time()
        with pytest.raises(AmbiguousKernel) as error:
            find_one("work", kernels)
        with pytest.raises(KernelNotFound):
            find_one("zork", kernels)
        assert time.process_time() - began < 3
        assert error.value.table.endswith("… and 4950 more")


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
        ("two  spaces.ipynb", "00000001"),
        ("-o.ipynb", "00000001"),
        ("a -o b.ipynb", "00000001"),
        ("$x.ipynb", "00000001"),
        ("a'b.ipynb", "00000001"),
        ("a\x1b.ipynb", "00000001"),
        ("\u202eb.ipynb", "00000001"),
        ("re:a.ipynb", "00000001"),
        ("#1", "00000001"),
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
    with pytest.raises(KernelNotFound, match=r"; kernel-4711\.json was passed over: its heartbeat does not answer$"):
        find_one(query, ALL, skipped=[ENDED, SILENT, ODD])
    with pytest.raises(KernelNotFound, match=r"0000\.json was passed over: the kernel has ended"):
        find_one("3f9c1c0e-0000", [CAFE], skipped=[ENDED, SILENT, ODD])


def test_files_that_the_match_does_not_name_are_told_of_where_there_is_nothing_else() -> None:
    with pytest.raises(KernelNotFound) as found:
        find_one("analysis", [CAFE], skipped=[ENDED, SILENT, ODD])
    assert "passed over" not in str(found.value)
    asks: list[Callable[[list[Skipped]], Kernel]] = [
        lambda skipped: find_one("nothing", [], skipped=skipped),
        lambda skipped: find_only([OWN], (), skipped),
    ]
    for ask in asks:
        with pytest.raises(
            KernelNotFound, match=r"kernel-4711\.json was passed over: its heart.*; kernel-\\x1b"
        ) as told:
            ask([ENDED, SILENT, ODD])
        assert "ended" not in str(told.value) and str(told.value).isprintable()
        with pytest.raises(KernelNotFound, match=r"; 497 more files \(kernel-bridge list -v shows them\)"):
            ask([ENDED, *[SILENT] * 500])


def test_a_token_in_what_was_pasted_is_not_repeated() -> None:
    text = str(not_found("https://host/?token=canary-77&x=1::nb", []))
    assert "canary" not in text and "token=***" in text
