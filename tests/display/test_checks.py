from __future__ import annotations

from IPython.lib.pretty import pretty

from kernel_bridge_magic.display.checks import CheckList
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.reports import Checkup, Step

LAB = Server("https://lab.example/", "lab", Origin("https", "lab.example", 443, "/"))
STEPS = (
    Step("DNS", True, "10.0.0.1"),
    Step("TCP", False, "nobody <b>\x1b[31m", "start \u202eit"),
    Step("TLS", None, "–"),
)


def test_each_step_is_a_line_and_what_to_do_another() -> None:
    lines = repr(CheckList([Checkup(LAB, STEPS)])).splitlines()
    assert lines[0] == "lab  https://lab.example/"
    assert lines[1].split() == ["ok", "DNS", "10.0.0.1"]
    assert lines[2].split() == ["FAILED", "TCP", "nobody", "<b>\\x1b[31m"]
    assert lines[3].split() == ["→", "start", "\\u202eit"]
    assert lines[4].split() == ["–", "TLS", "–"]


def test_html_is_escaped() -> None:
    html = CheckList([Checkup(LAB, STEPS)])._repr_html_()
    assert "nobody <b>" not in html and "nobody &lt;b&gt;" in html
    assert html.count("<tr>") == 3


def test_pretty_is_the_same_and_none_is_said() -> None:
    shown = CheckList([Checkup(LAB, STEPS), Checkup(LAB)])
    assert pretty(shown) == repr(shown)
    nothing = "no server is known. Start one, or add one with %servers --add URL --name NAME --token env:VAR"
    assert repr(CheckList([])) == nothing
    assert nothing in CheckList([])._repr_html_()
