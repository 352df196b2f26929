"""What is missing, told once."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.losses import Losses
from kernel_bridge_magic.protocol.events import Event, Lost, Note

SPAN = ("10:00:00", "10:00:02")


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Lost)]


def test_what_a_link_lost_is_told_once_and_more_of_it_later() -> None:
    losses = Losses()
    assert losses.by_link(Gap(0, True), SPAN) == []
    assert reasons(losses.by_link(Gap(2, True), ("10:00:00", ""))) == ["2 messages missing since 10:00:00 (link lost)"]
    assert losses.by_link(Gap(2, True), SPAN) == []
    (more,) = reasons(losses.by_link(Gap(3, False), SPAN))
    assert more.startswith("up to 1 message missing between 10:00:00 and 10:00:02") and "other clients'" in more
    assert losses.missing == 3


def test_what_is_told_by_itself_does_not_count_twice() -> None:
    losses = Losses()
    assert losses.by_link(Gap(1, True), SPAN, told=1) == []
    assert losses.missing == 0


def test_what_nobody_can_count_is_said_once_and_stays_so() -> None:
    losses = Losses()
    (note,) = losses.by_link(None, SPAN)
    assert isinstance(note, Note) and "cannot be told" in note.text
    assert losses.by_link(None, SPAN) == []
    assert losses.no_room(4, "no room").reason == "4 messages missing (no room)"
    assert losses.missing is None
    assert losses.uncounted("dropped") == Lost("dropped")


def test_what_the_server_drops_is_said_once_and_counted_at_the_end() -> None:
    losses = Losses()
    note = losses.limit("IOPub data rate exceeded.\nmessage rate")
    assert isinstance(note, Note) and "rate limit" in note.text
    assert losses.limit("IOPub message rate exceeded.") is None
    (lost,) = losses.by_kernel(Gap(3, False), idle_lost=True)
    assert isinstance(lost, Lost) and lost.count == losses.missing == 3
    assert lost.reason == (
        "up to 3 messages missing (dropped by the server's rate limit; ZMQ has none, or raise iopub_msg_rate_limit)"
    )


@pytest.mark.parametrize("gap", [Gap(0, True), None])
@pytest.mark.parametrize("limited", [False, True])
def test_what_no_number_tells_is_told_without_one(limited: bool, gap: Gap | None) -> None:
    losses = Losses()
    assert losses.by_kernel(gap, idle_lost=False) == []
    if limited:
        losses.limit("IOPub data rate exceeded.")
    told = reasons(losses.by_kernel(gap, idle_lost=True))
    if limited:
        assert told[0].startswith("some output was dropped by the server's rate limit")
    else:
        assert told == (["the kernel's end-of-cell message is missing; some output may be, too"] if gap is None else [])
    assert losses.missing == (None if told else 0)
    assert len(losses.by_kernel(Gap(3, True), idle_lost=False)) == (0 if told else 1), "told once"
