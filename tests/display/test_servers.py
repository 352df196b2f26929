from __future__ import annotations

from html.parser import HTMLParser

from IPython.lib.pretty import pretty

from kernel_bridge_magic.auth import Secret, Vault
from kernel_bridge_magic.display.servers import ServerList
from kernel_bridge_magic.models import Origin, Server, ServerReport

CANARY = "canary-8a1b"
LAB = Server("https://lab.example/user/ann/", "lab", Origin("https", "lab.example", 443, "/user/ann/"), trusted=True)
HERE = Server("http://127.0.0.1:8888/", "127.0.0.1:8888", Origin("http", "127.0.0.1", 8888, "/"), "runtime", 1)
ODD = Server("http://x:1/", "a\x1b[31m<b>\u202e\n", Origin("http", "x", 1, "/"), "option")


def listing() -> ServerList:
    vault = Vault()
    vault.put(LAB.origin, Secret(CANARY))
    reports = [
        ServerReport(LAB, 3),
        ServerReport(HERE, 0, "401: it wants a token", "give it with %servers"),
        ServerReport(ODD, 0, "<script>\x1b]0;x\x07", ""),
    ]
    return ServerList(reports, vault)


def test_a_row_says_what_is_known() -> None:
    head, lab, here, *_ = repr(listing()).splitlines()
    assert head.split() == ["name", "URL", "known", "by", "kernels", "version", "auth", "trust"]
    assert lab.split() == ["lab", "https://lab.example/user/ann/", "you", "3", "token", "own"]
    assert "no answer" in here
    assert "found here" in here
    assert here.split()[-2:] == ["none", "own"]


def test_problems_stand_below_with_what_to_do() -> None:
    lines = repr(listing()).splitlines()
    assert "127.0.0.1:8888: 401: it wants a token; give it with %servers" in lines
    assert lines[-1].endswith("<script>\\x1b]0;x\\x07")


def test_no_secret_is_shown() -> None:
    shown = listing()
    for text in (repr(shown), shown._repr_html_(), pretty(shown), str(shown), str(list(shown))):
        assert CANARY not in text


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
    server = Server(url, "long", Origin("https", "lab.example", 443, "/"))
    text = repr(ServerList([ServerReport(server)], Vault()))
    assert "…" in text
    assert "/end/" in text
    assert max(map(len, text.splitlines())) < 120


def test_none_are_none_and_that_is_said() -> None:
    empty = ServerList([], Vault())
    assert "no servers known" in repr(empty)
    assert "no servers known" in empty._repr_html_()
    assert list(empty) == []


def test_it_is_a_list_and_pretty_is_its_repr() -> None:
    shown = listing()
    assert shown[0].server is LAB
    assert pretty(shown) == repr(shown)
