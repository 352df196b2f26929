from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from IPython.lib.pretty import pretty
from wcwidth import wcswidth

from kernel_bridge_magic.display.servers import CheckList, ServerList
from kernel_bridge_magic.faces import COMMAND_LINE
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.reports import Checkup, ServerReport, Step

LAB = Server("https://lab.example/user/ann/", "lab", Origin("https", "lab.example", 443, "/user/ann/"), trusted=True)
HERE = Server(
    "http://127.0.0.1:8888/", "127.0.0.1:8888", Origin("http", "127.0.0.1", 8888, "/"), "runtime", 1, version="2.21"
)
ODD = Server("http://x:1/", "a\x1b[31m<b>\u202e\n", Origin("http", "x", 1, "/"), "option")


def listing() -> ServerList:
    reports = [
        ServerReport(LAB, 3, auth="token"),
        ServerReport(HERE, 0, "401: it wants a token", "give it with %servers"),
        ServerReport(ODD, 0, "<script>\x1b]0;x\x07", ""),
    ]
    return ServerList(reports)


def server(number: int, **known: object) -> Server:
    url = f"http://h{number}/"
    return Server(url, f"h{number}", Origin("http", f"h{number}", 80, "/"), **known)  # type: ignore[arg-type]


def columns(servers: ServerList) -> list[str]:
    head = re.findall(r"<th[^>]*>([^<]*)</th>", servers._repr_html_())
    assert head == servers.text(200).splitlines()[0].split()
    return head


def test_a_row_says_what_is_known() -> None:
    head, lab, here, *_ = listing().text(120).splitlines()
    assert head.split() == ["name", "URL", "source", "kernels", "version", "auth", "trust"]
    assert lab.split() == ["lab", "https://lab.example/user/ann/", "added", "3", "token", "yours"]
    assert here.split() == ["127.0.0.1:8888", "http://127.0.0.1:8888/", "discovered", "–", "2.21", "none", "yours"]


@pytest.mark.parametrize(
    ("source", "trusted", "words"),
    [
        ("runtime", False, ("discovered", "yours")),
        ("added", False, ("added", "sandboxed")),
        ("added", True, ("added", "yours")),
        ("saved", False, ("saved", "sandboxed")),
        ("config", True, ("configured", "yours")),
        ("option", False, ("option", "sandboxed")),
    ],
)
def test_how_a_server_is_known_and_whose_it_is(source: str, trusted: bool, words: tuple[str, str]) -> None:
    one = server(1, source=source, trusted=trusted)
    assert (one.known_by, one.trust) == words
    assert set(words) <= set(ServerList([ServerReport(one)]).text().split())


def test_columns_that_are_the_same_in_every_row_are_left_out() -> None:
    two = ServerList([ServerReport(server(1), 3), ServerReport(server(2), 3)])
    assert columns(two) == ["name", "URL"]
    two = ServerList([ServerReport(server(1), 3), ServerReport(server(2, trusted=True), 3)])
    assert columns(two) == ["name", "URL", "trust"]
    assert columns(ServerList([ServerReport(server(1), 3)])) == ["name", "URL", "source", "kernels", "auth", "trust"]


def test_one_that_lists_kernels_and_has_a_problem_shows_how_many() -> None:
    report = ServerReport(server(1), 3, "its notebooks are not known")
    assert ServerList([report, *listing()]).text(120).splitlines()[1].split()[3] == "3"


def test_problems_stand_below_with_what_to_do() -> None:
    lines = listing().text(120).splitlines()
    assert "127.0.0.1:8888: 401: it wants a token; give it with %servers" in lines
    assert lines[-1].endswith("<script>\\x1b]0;x\\x07")


def test_text_cannot_draw() -> None:
    text = repr(listing())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "a\\x1b[31m<b>\\u202e\\n" in text


def test_html_is_escaped_and_complete() -> None:
    html = listing()._repr_html_()
    assert "<b>" not in html
    assert "<script>" not in html
    opened: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Balance().feed(html)
    assert opened == []
    assert html.count("<tr>") == 4


def test_a_long_url_is_cut_in_the_middle() -> None:
    url = f"https://lab.example/{'x' * 200}/end/"
    long = Server(url, "long", Origin("https", "lab.example", 443, "/"))
    for width in (20, 40, 80, 120):
        text = ServerList([ServerReport(long), *listing()]).text(width)
        assert max(map(wcswidth, text.splitlines())) <= width
    text = repr(ServerList([ServerReport(long)]))
    assert "…" in text
    assert "/end/" in text


@pytest.mark.parametrize("name", ["n" * 300, "回帰" * 100, "Z" + "\u0301" * 500, "\x1b[2J\u202e\n", "a b  c"])
def test_no_name_breaks_the_table(name: str) -> None:
    odd = Server("http://x/", name, Origin("http", "x", 80, "/"))
    text = ServerList([ServerReport(odd, problem=name, remedy=name), *listing()]).text(80)
    assert max(map(wcswidth, text.splitlines())) <= 80


def test_none_are_none_and_that_is_said() -> None:
    empty = ServerList([])
    nothing = "no server is known. Start one, or name one with %servers --add URL"
    assert empty.text() == nothing
    assert nothing in empty._repr_html_()
    assert ServerList([], face=COMMAND_LINE).text() == "no server is known. Start one, or name one with --base-url URL"
    assert list(empty) == []


def test_it_is_a_list_and_pretty_is_its_repr() -> None:
    shown = listing()
    assert shown[0].server is LAB
    assert pretty(shown) == repr(shown)


# -- checks

CHECKED = Server("https://lab.example/", "lab", Origin("https", "lab.example", 443, "/"))
STEPS = (
    Step("DNS", True, "10.0.0.1"),
    Step("TCP", False, "nobody <b>\x1b[31m", "start \u202eit"),
    Step("TLS", None, "–"),
)


def test_each_step_is_a_line_and_what_to_do_another() -> None:
    lines = repr(CheckList([Checkup(CHECKED, STEPS)])).splitlines()
    assert lines[0] == "lab  https://lab.example/"
    assert lines[1].split() == ["ok", "DNS", "10.0.0.1"]
    assert lines[2].split() == ["FAILED", "TCP", "nobody", "<b>\\x1b[31m"]
    assert lines[3].split() == ["→", "start", "\\u202eit"]
    assert lines[4].split() == ["–", "TLS", "–"]


def test_html_is_escaped() -> None:
    html = CheckList([Checkup(CHECKED, STEPS)])._repr_html_()
    assert "nobody <b>" not in html and "nobody &lt;b&gt;" in html
    assert html.count("<tr>") == 3


def test_pretty_is_the_same_and_none_is_said() -> None:
    shown = CheckList([Checkup(CHECKED, STEPS), Checkup(CHECKED)])
    assert pretty(shown) == repr(shown)
    nothing = "no server is known. Start one, or add one with %servers --add URL --name NAME --token env:VAR"
    assert repr(CheckList([])) == nothing
    assert nothing in CheckList([])._repr_html_()
