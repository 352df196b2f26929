from __future__ import annotations

import copy
import pickle
import re
import time
import unicodedata
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from kernel_bridge_magic import text as texts
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, Session
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped
from kernel_bridge_magic.text import cells, cut_end, cut_middle, visible

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
PYTHON = KernelSpec("python3", "Python 3 (ipykernel)", "python")
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def server(name: str, port: int = 8888, source: str = "runtime") -> Server:
    return Server(f"http://127.0.0.1:{port}/", name, Origin("http", "127.0.0.1", port, "/"), source=source)


LAB, GPU = server("lab"), server("gpu", 8889, "added")


def kernel(number: int, *paths: str, spec: KernelSpec = PYTHON, at: Server | None = LAB, **known: object) -> Kernel:
    known.setdefault("id", f"{number:08x}-0000-4000-8000-000000000000")
    known.setdefault("state", "idle")
    sessions = tuple(Session(path, path.rsplit("/", 1)[-1]) for path in paths)
    return Kernel(name=spec.name, spec=spec, sessions=sessions, server=at, **known)  # type: ignore[arg-type]


def listing(*kernels: Kernel, **parts: object) -> KernelList:
    return KernelList(Listing(kernels, **parts), now=NOW)  # type: ignore[arg-type]


class Page(HTMLParser):
    """The text of a page's cells, and every tag and attribute that is in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.text += "\n" * (tag in ("tr", "div"))

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_safe(text: str) -> None:
    for char in text.replace("\n", ""):
        assert unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp"), repr(char)
        assert char not in BIDI, repr(char)


def assert_fits(text: str, width: int) -> None:
    for line in text.splitlines():
        assert wcswidth(line) <= width, line


FEW = listing(
    kernel(1, "work/mine.ipynb", is_this_kernel=True, state="busy", connections=1, last_activity=NOW),
    kernel(2, "work/analysis.ipynb", "copy.ipynb", connections=2, last_activity=NOW - timedelta(minutes=2)),
    kernel(3, "train.ipynb", at=GPU, state="busy", connections=0, last_activity=NOW),
    Kernel("4242", "ir", KernelSpec("ir", "R 4.4", "R"), started_by="jupyter console", connection_file="/run/k.json"),
    servers=(
        ServerReport(LAB, 2),
        ServerReport(GPU, 1),
        ServerReport(server("hub", 1), problem="timed out after 3 s", remedy="is the VPN up? %servers --check hub"),
    ),
    skipped=(Skipped("/run/jpserver-1.json", "its pid is gone"),),
)


def test_text() -> None:
    assert FEW.text(100).splitlines() == [
        "#  name                    kernel                state         idle  clients  server  id",
        "1  work/mine.ipynb         Python 3 (ipykernel)  this kernel               1  lab     00000001",
        "2  work/analysis.ipynb +1  Python 3 (ipykernel)  idle         2 min        2  lab     00000002",
        "3  train.ipynb             Python 3 (ipykernel)  busy                      0  gpu     00000003",
        "4  jupyter console         R 4.4                 unknown                      –       4242",
        "rich output of gpu is shown in a sandbox",
        "hub: timed out after 3 s; is the VPN up? %servers --check hub",
    ]


@pytest.mark.parametrize(
    ("ids", "line"),
    [
        (["abc"], "gpu lists a kernel with an id of yours (abc), which is not shown here. gpu::MATCH means it"),
        (
            ["0123456789", "b", "c", "d"],
            "gpu lists 4 kernels with ids of yours (01234567, b, c, …), which are not shown here. "
            "gpu::MATCH means them",
        ),
        (["\x1b[2J\u202e"], "gpu lists a kernel with an id of yours (\\x1b[2J\\u202e), which is not shown here."),
    ],
)
def test_a_foreign_server_s_claim_is_one_line_below(ids: list[str], line: str) -> None:
    claims = tuple(Kernel(kernel_id, server=GPU, claimed=True) for kernel_id in ids)
    shown = listing(kernel(1, "a.ipynb"), claims=claims)
    *table, note = shown.text(200).splitlines()
    assert line in note and len(table) == 2
    assert line in Page(shown._repr_html_()).text
    assert_safe(note)


def test_text_at_80_columns_drops_what_matters_least() -> None:
    assert FEW.text(80).splitlines()[:3] == [
        "#  name                    kernel    state         idle  server  id",
        "1  work/mine.ipynb         Python 3  this kernel         lab     00000001",
        "2  work/analysis.ipynb +1  Python 3  idle         2 min  lab     00000002",
    ]
    assert repr(FEW) == FEW.text(80)


def columns(kernels: KernelList) -> list[str]:
    head = re.findall(r"<th[^>]*>([^<]*)</th>", kernels._repr_html_())
    assert head == kernels.text(200).splitlines()[0].split()
    return head


def test_columns_that_are_the_same_in_every_row_are_left_out() -> None:
    # What a kernel is doing is what one looks for: it is never left out.
    assert columns(listing(kernel(1, "a.ipynb"), kernel(2, "b.ipynb"))) == ["#", "name", "state", "id"]
    assert columns(listing(kernel(1, "a.ipynb", state="busy"), kernel(2, "b.ipynb"))) == ["#", "name", "state", "id"]
    same = [kernel(n, "a.ipynb", id="same", connections=n, last_activity=NOW) for n in (1, 2)]
    assert columns(listing(*same)) == ["#", "name", "state", "clients", "id"]
    assert columns(FEW[2:]) == ["#", "name", "kernel", "state", "clients", "server", "id"]


def test_a_single_kernel_s_columns_say_all_that_is_known() -> None:
    assert columns(listing(kernel(1, "a.ipynb"))) == ["#", "name", "kernel", "state", "server", "id"]
    assert columns(FEW[3:]) == ["#", "name", "kernel", "state", "id"]
    assert columns(FEW[1:2]) == ["#", "name", "kernel", "state", "idle", "clients", "server", "id"]


def test_busy_since_is_told_where_it_was_seen_to_begin() -> None:
    kernels = [kernel(n, f"{n}.ipynb", state="busy" if n < 3 else "idle", last_activity=NOW) for n in range(1, 5)]
    some = KernelList(Listing(tuple(kernels)), now=NOW, busy_since={kernels[n].id: "22:18:48" for n in (1, 2)})
    assert [re.split(" {2,}", line)[2:] for line in some.text(80).splitlines()[1:]] == [
        ["busy", "00000001"],
        ["busy since 22:18:48", "00000002"],
        ["busy since 22:18:48", "00000003"],  # whatever its server says
        ["idle", "now", "00000004"],
    ]
    assert "busy since 22:18:48" in Page(some._repr_html_()).text
    assert some[1:].text().splitlines() == [line for line in some.text().splitlines() if line[0] != "1"]


# -- links


def linked(own: str | tuple[str, ...], *paths: str, at: Server | None = LAB) -> list[str]:
    """The links of a listing that is shown in the notebook `own`, without that notebook's."""
    mine = kernel(1, *((own,) if isinstance(own, str) else own), is_this_kernel=True)
    html = listing(mine, *(kernel(n, path, at=at) for n, path in enumerate(paths, 2)))._repr_html_()
    rows = html.split("<tr>")[2:]
    return [found[1] if (found := re.search('<a href="([^"]*)"', row)) else "" for row in rows]


@pytest.mark.parametrize(
    ("own", "path", "link"),
    [
        ("mine.ipynb", "analysis.ipynb", "analysis.ipynb"),
        ("mine.ipynb", "work/analysis.ipynb", "work/analysis.ipynb"),
        ("work/mine.ipynb", "work/analysis.ipynb", "analysis.ipynb"),
        ("work/mine.ipynb", "analysis.ipynb", "../analysis.ipynb"),
        ("a/b/mine.ipynb", "a/c/x.ipynb", "../c/x.ipynb"),
        ("a b/mine.ipynb", "a b/My Notebook.ipynb", "My%20Notebook.ipynb"),
        ("mine.ipynb", "a#b?c.ipynb", "a%23b%3Fc.ipynb"),
        ("mine.ipynb", "50%/x%20y.ipynb", "50%25/x%2520y.ipynb"),
        ("mine.ipynb", "übung/回帰.ipynb", "%C3%BCbung/%E5%9B%9E%E5%B8%B0.ipynb"),
        ("mine.ipynb", "javascript:alert(1).ipynb", "javascript%3Aalert%281%29.ipynb"),
        ("work/mine.ipynb", "a'&<\".ipynb", "../a%27%26%3C%22.ipynb"),
        ("RTC:work/mine.ipynb", "RTC:work/x.ipynb", "x.ipynb"),
        ("mine.ipynb", "/lead/x.ipynb", "lead/x.ipynb"),
        ("..work/mine.ipynb", "..work/x.ipynb", "x.ipynb"),
        ("mine.ipynb", "\ud800.ipynb", "%ED%A0%80.ipynb"),
        ("mine.ipynb", "work/../../etc/x.ipynb", ""),
        ("mine.ipynb", "./x.ipynb", ""),
    ],
)
def test_a_notebook_of_this_notebook_s_server_is_linked(own: str, path: str, link: str) -> None:
    assert linked(own, path) == [link]


def test_where_the_page_is_not_known_nothing_is_linked() -> None:
    assert linked("mine.ipynb", "x.ipynb", at=GPU) == [""], "another server"
    assert linked("mine.ipynb", "x.ipynb", at=None) == [""], "no server"
    assert linked(("a/mine.ipynb", "b/mine.ipynb"), "x.ipynb") == [""], "two folders"
    assert linked(("a/mine.ipynb", "a/copy.ipynb"), "a/x.ipynb") == ["x.ipynb"]
    assert linked((), "x.ipynb") == [""], "no notebook here"
    assert "<a" not in listing(kernel(1, "a.ipynb"), kernel(2, "b.ipynb"))._repr_html_(), "no kernel here"
    console = Kernel("c", sessions=(Session("1-2-3", "Console 1", "console"),), server=LAB)
    assert "Console 1</bdi>" in listing(kernel(1, "mine.ipynb", is_this_kernel=True), console)._repr_html_()
    assert '<a href="analysis.ipynb">' in FEW._repr_html_() and "href" not in FEW.text(200)


def test_what_a_filter_leaves_out_is_not_forgotten() -> None:
    mine, other = kernel(1, "work/mine.ipynb", is_this_kernel=True), kernel(2, "work/x.ipynb")
    assert '<a href="x.ipynb">' in KernelList(Listing((mine, other)), [other], now=NOW)._repr_html_()
    assert '<a href="x.ipynb">' in listing(mine, other)[1:]._repr_html_()


def test_verbose() -> None:
    ids = {FEW[1].id: "pid 4711, 182 MB, 3 % CPU"}
    verbose = KernelList(FEW.listing, now=NOW, details=ids)
    lines = verbose.text(80).splitlines()
    assert lines[4:6] == [f"    {FEW[1].id}  ws  http://127.0.0.1:8888/", "    pid 4711, 182 MB, 3 % CPU"]
    assert "    4242  zmq  /run/k.json" in lines
    assert lines[-1] == "skipped /run/jpserver-1.json (its pid is gone)"
    page = Page(verbose._repr_html_())
    for part in (FEW[1].id, "http://127.0.0.1:8889/", "182 MB", "zmq"):
        assert part in page.text


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=-30), "now"),
        (timedelta(seconds=59), "now"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(seconds=119), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=23, minutes=59), "23 h"),
        (timedelta(days=40), "40 d"),
    ],
)
def test_idle_time(ago: timedelta, words: str) -> None:
    row = listing(kernel(1, "a.ipynb", last_activity=NOW - ago)).text().splitlines()[1]
    assert f"  idle  {words}  " in re.sub(" {2,}", "  ", row)


@pytest.mark.parametrize("state", ["idle", "busy", "starting", "unused", "alive", "dead", "unknown", "restarting"])
def test_states(state: str) -> None:
    one = listing(kernel(1, "a.ipynb", state=state))
    assert f"  {state}" in one.text()
    assert f"</span> {state}</td>" in one._repr_html_()


def test_language_only_where_the_name_does_not_tell() -> None:
    assert "Torch (python)" in listing(kernel(1, "a.ipynb", spec=KernelSpec("t", "Torch", "python"))).text()
    assert "Julia 1.10 " in listing(kernel(1, "a.ipynb", spec=KernelSpec("j", "Julia 1.10", "julia"))).text()


class TestNothing:
    def test_no_servers(self) -> None:
        nothing = "no kernels were found. Open a notebook, or name its server with server=URL"
        assert listing().text(90) == nothing
        assert nothing in Page(listing()._repr_html_()).text
        ours = KernelList(Listing(), now=NOW, face=MAGICS)
        assert ours.text(90) == "no kernels were found. Open a notebook, or name its server with %servers --add URL"

    def test_no_kernels(self) -> None:
        nothing = "no kernels are running (1 server was asked). Open a notebook, and list again"
        assert listing(servers=(ServerReport(LAB),)).text() == nothing
        assert " (2 servers were asked). " in listing(servers=(ServerReport(LAB), ServerReport(GPU))).text()

    def test_filtered_away(self) -> None:
        nothing = KernelList(FEW.listing, [], now=NOW)
        assert nothing.text().splitlines() == [
            "none of the 4 running kernels matches. kernels() shows all",
            "hub: timed out after 3 s; is the VPN up? %servers --check hub",
        ]

    def test_long_remedy_is_not_cut(self) -> None:
        report = ServerReport(LAB, problem="x " * 60, remedy="the end")
        assert listing(servers=(report,)).text(80).endswith("the end")
        assert_fits(listing(servers=(report,)).text(80), 80)


class TestList:
    def test_behaves_as_a_list(self) -> None:
        assert (len(FEW), FEW[-1].id, [one.short_id for one in FEW][:2]) == (4, "4242", ["00000001", "00000002"])
        assert list(FEW.listing.kernels) == FEW

    def test_slice_keeps_its_row_numbers(self) -> None:
        part = FEW[1:3]
        assert isinstance(part, KernelList)
        assert [line[0] for line in part.text().splitlines()[:3]] == ["#", "2", "3"]

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
    def test_copies(self, again: object) -> None:
        assert again(FEW[1:]).text() == FEW[1:].text()  # type: ignore[operator]

    def test_pretty_in_ipython(self) -> None:
        from IPython.lib.pretty import pretty

        assert pretty(FEW) == FEW.text(80)


class TestHtml:
    def test_cells(self) -> None:
        page = Page(FEW._repr_html_())
        assert "2work/analysis.ipynb +1Python 3 (ipykernel)● idle2 min2lab00000002" in page.text
        assert "gpu sandboxed" in page.text
        assert "lab sandboxed" not in page.text
        assert page.text.endswith("hub: timed out after 3 s; is the VPN up? %servers --check hub")

    def test_no_active_content(self) -> None:
        hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&amp;"
        evil = KernelSpec(hostile, hostile, hostile)
        bad = server(hostile, 1, "added")
        one = kernel(1, hostile, spec=evil, at=bad, state=hostile, id=hostile)
        report = ServerReport(bad, problem=hostile, remedy=hostile)
        mine, near = kernel(2, f"{hostile}/mine.ipynb", is_this_kernel=True), kernel(3, hostile)
        found = Listing((mine, near, one), (report,), (Skipped(hostile, hostile),))
        every = KernelList(found, now=NOW, details={hostile: hostile}, busy_since={hostile: hostile})
        page = Page(every._repr_html_())
        allowed = {"style", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "bdi", "wbr", "br", "a"}
        assert page.tags <= allowed
        assert page.attributes <= {"class", "style", "title", "dir", "colspan", "href"}
        assert "onerror=alert" in page.text


HOSTILE = [
    "evil\x1b[31m.ipynb",
    "\x1b]0;title\x07\x9b2J.ipynb",
    "line\nbreak\r\t.ipynb",
    "\u202egnp.exe\u2066.ipynb",
    "\u2028\u2029\x00\x7f",
    "\ud800.ipynb",
    "مشروع/تحليل.ipynb",
    "回帰分析" * 30,
    "👨‍👩‍👧‍👦🏴‍☠️👍🏽.ipynb",
    "x" * 200 + ".ipynb",
    "Z" + "\u0301" * 500,
    "cafe\u0301.ipynb",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_hostile_names(name: str, width: int) -> None:
    spec = KernelSpec(name, name, name)
    odd = server(name, 1, "added")
    one = kernel(1, name, name, spec=spec, at=odd, state=name, id=name)
    kernels = KernelList(
        Listing((one, kernel(2, "a.ipynb")), (ServerReport(odd, problem=name, remedy=name),), (Skipped(name, name),)),
        now=NOW,
        details={name: name},
    )
    for text in (kernels.text(width), kernels._repr_html_()):
        assert_safe(text)
        text.encode()
    assert_fits(kernels.text(width), width)


def test_columns_stay_aligned_beside_wide_names() -> None:
    own = kernel(99, "own.ipynb", is_this_kernel=True)
    *lines, _ = listing(*(kernel(n, name) for n, name in enumerate(HOSTILE)), own).text(80).splitlines()
    head = wcswidth(lines[0][: lines[0].index("state")])
    for line in lines[1:]:
        assert wcswidth(line[: line.index("idle")]) == head


def test_unicode_stays_intact() -> None:
    for name in ("übung 3 – 回帰分析 📈.ipynb", "مشروع/تحليل.ipynb", "👨‍👩‍👧.ipynb"):
        assert name in listing(kernel(1, name)).text(100)


def test_long_path_keeps_both_ends() -> None:
    assert re.search(r"aaa…/*.*the-end\.ipynb", listing(kernel(1, "a" * 150 + "/the-end.ipynb")).text(80))


def test_thousands() -> None:
    kernels = [kernel(n, f"work/übung {n}.ipynb", connections=1, last_activity=NOW) for n in range(5000)]
    began = time.process_time()
    many = listing(*kernels)
    text, html = many.text(80), many._repr_html_()
    assert time.process_time() - began < 2
    assert len(text.splitlines()) == 5001
    assert html.count("<tr") == 5001


_names = st.text() | st.text(BIDI + "\x1b[0m\n\r\x00\x85 ab回👍\u200d\u0301\ufe0f\U0001f3fd", max_size=40)


@given(_names, _names, st.integers(1, 200))
@settings(max_examples=3 * settings().max_examples)
def test_any_text_fits_and_is_safe(name: str, other: str, width: int) -> None:
    one = kernel(1, name, other, spec=KernelSpec(other, name, other), state=other, at=server(name, 1, "added"))
    report = ServerReport(server(other, 2), problem=name, remedy=other)
    kernels = listing(one, kernel(2, other), servers=(report,))
    assert_safe(kernels.text(width))
    assert_fits(kernels.text(width), width)
    assert_safe(kernels._repr_html_())


@given(_names, st.integers(0, 60))
def test_cut(name: str, width: int) -> None:
    name = visible(name)
    for cut in (cut_end(name, width), cut_middle(name, width)):
        assert cells(cut) <= width
    if len(name) <= width // 2:
        assert cut_middle(name, width) == cut_end(name, width) == name


def test_width_without_wcwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wcwidth", None)
    monkeypatch.setattr(texts, "_measure", texts._measure.__wrapped__)
    assert [cells(text) for text in ("abc", "回帰", "e\u0301é", "📈")] == [3, 4, 2, 2]
