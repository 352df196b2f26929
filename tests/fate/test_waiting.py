"""What is said of a cell of which nothing comes, with a clock of our own."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.waiting import MISSED_BEATS, Heart, Outage, Waiting
from kernel_bridge_magic.protocol.events import Note, Queued

T = timing.current
OURS = Queued("10:00:00", ours=True)


def test_it_is_told_once_and_later_of_a_kernel_that_has_nothing_to_run() -> None:
    for free, bound in ((False, T.queued_after), (True, T.queued_after_free)):
        waiting = Waiting(100.0)
        assert waiting.tick(100.0 + bound - 0.1, free=free) is None
        assert waiting.told is None
        assert waiting.tick(100.0 + bound, free=free) == Queued() == waiting.told
        assert waiting.tick(200.0, free=free) is None


def test_it_is_told_anew_when_something_else_is_in_the_way_for_good() -> None:
    waiting = Waiting(100.0)
    waiting.wait_for(OURS, 100.0)
    assert waiting.tick(101.0, free=False) is OURS
    waiting.wait_for(Queued(), 102.0)
    assert waiting.tick(102.0 + T.queued_after - 0.1, free=False) is None
    waiting.wait_for(OURS, 102.4)
    assert waiting.tick(110.0, free=False) is None, "they know"


# -- kernels that do not answer


@pytest.mark.parametrize(("beats", "greets", "words"), [(False, None, "suspended"), (True, False, "native code")])
def test_it_is_said_once_and_again_after_an_answer(beats: bool, greets: bool | None, words: str) -> None:
    heart = Heart()
    for _ in range(2):
        for missed in range(1, MISSED_BEATS + 3):
            heart.receive(beats, greets)
            note = heart.note()
            assert (note is not None and words in note.text) == (missed == MISSED_BEATS)
        heart.receive(True, True)
        assert heart.note() is None


def test_where_nobody_can_ask_nothing_is_said() -> None:
    heart = Heart()
    for _ in range(9):
        heart.receive(None, None)
    assert heart.note() is None


# -- the times at which a link was down


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
