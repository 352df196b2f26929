"""The times at which a link was down, with a clock of our own."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.outage import Outage
from kernel_bridge_magic.protocol.events import Note

T = timing.current


def test_a_link_that_holds() -> None:
    outage = Outage()
    assert not (outage.happened or outage.is_down or outage.settled(1e9))
    assert outage.tick(1e9) == []


def test_a_break_and_the_return() -> None:
    outage = Outage()
    outage.broke("reset", "10:00:00", 100.0)
    assert outage.happened and outage.is_down
    assert outage.tick(100.0 + T.tell_link_is_down - 0.1) == []
    (note,) = outage.tick(100.0 + T.tell_link_is_down)
    assert note == Note("link lost at 10:00:00 (reset). It is tried again; Ctrl-C ends the wait")
    assert outage.tick(200.0) == [], "once"
    assert outage.back(3.0, "10:00:03", 103.0) == Note("link lost at 10:00:00, back after 3.0 s")
    assert outage.happened and not outage.is_down
    assert not outage.settled(103.0 + T.stragglers - 0.1)
    assert outage.settled(103.0 + T.stragglers)
    assert outage.span == ("10:00:00", "10:00:03")


def test_a_second_break_is_told_by_itself_and_lengthens_the_span() -> None:
    outage = Outage()
    outage.broke("reset", "10:00:00", 100.0)
    outage.back(1.0, "10:00:01", 101.0)
    outage.broke("closed", "10:01:00", 160.0)
    assert outage.span == ("10:00:00", "") and not outage.settled(1e9)
    assert outage.words == "link lost at 10:01:00 (closed)"
    assert len(outage.tick(170.0)) == 1
    assert outage.back(2.0, "10:01:02", 162.0) == Note("link lost at 10:01:00, back after 2.0 s")
    assert outage.span == ("10:00:00", "10:01:02")


def test_what_is_closed_is_not_down() -> None:
    outage = Outage()
    outage.broke("reset", "10:00:00", 100.0)
    outage.closed()
    assert outage.happened and not outage.is_down and outage.tick(200.0) == []
