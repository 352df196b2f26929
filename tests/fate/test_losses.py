"""What is missing, told once."""

from __future__ import annotations

from kernel_bridge_magic.fate.gaps import Gap
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
