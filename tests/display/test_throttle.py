from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.display.throttle import MESSAGE_SIZE, STEP_SECONDS, Allowance, OutputThrottle
from kernel_bridge_magic.protocol.events import (
    Aside,
    ClearOutput,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    InputRequest,
    Note,
    Started,
    Stream,
    Tick,
)
from kernel_bridge_magic.protocol.tails import MAX_OUTPUT


def out(text: str) -> Stream:
    return Stream("stdout", text)


def update(display_id: str, text: str) -> DisplayData:
    return DisplayData({"text/plain": text}, {}, display_id, True)


def test_the_first_piece_is_given_at_once_and_the_next_with_its_step() -> None:
    throttle = OutputThrottle()
    assert throttle.due is None
    assert throttle.receive(out("a"), 10.0) == [out("a")]
    assert throttle.due is None
    assert throttle.receive(out("b"), 10.01) == []
    assert throttle.receive(out("c"), 10.02) == []
    assert throttle.due == 10.0 + STEP_SECONDS
    assert throttle.receive(Tick(), 10.04) == []
    assert throttle.receive(Tick(), 10.06) == [out("bc")]
    assert throttle.due is None
    assert throttle.receive(out("d"), 10.2) == [out("d")]


def test_the_order_of_the_two_streams_is_kept() -> None:
    throttle = OutputThrottle()
    throttle.receive(out("first"), 0.0)
    for event in (out("a"), out("b"), Stream("stderr", "c"), Stream("stderr", "d"), out("e")):
        assert throttle.receive(event, 0.01) == []
    assert throttle.flush(0.02) == [out("ab"), Stream("stderr", "cd"), out("e")]


@pytest.mark.parametrize(
    "event",
    [
        DisplayData({}, {}),
        DisplayData({}, {}, "a"),
        DisplayData({}, {}, "", True),
        ExecuteResult({}, {}),
        ClearOutput(True),
        Error("E", ""),
        InputRequest("?"),
        Note("n"),
        Aside(1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_all_else_is_given_at_once_behind_what_waits(event: Event) -> None:
    throttle = OutputThrottle()
    throttle.receive(out("a"), 0.0)
    throttle.receive(out("b"), 0.01)
    assert throttle.receive(event, 0.02) == [out("b"), event]
    assert throttle.receive(event, 0.02) == [event]


def test_the_last_update_of_a_step_is_given() -> None:
    throttle = OutputThrottle()
    assert throttle.receive(update("p", "0"), 0.0) == [update("p", "0")]
    for event in (update("p", "1"), update("q", "1"), out("x"), update("p", "2"), out("y")):
        assert throttle.receive(event, 0.01) == []
    assert throttle.receive(Tick(), 1.0) == [update("q", "1"), out("x"), update("p", "2"), out("y")]


def test_what_waits_does_not_grow_for_long() -> None:
    throttle = OutputThrottle()
    throttle.receive(out("a"), 0.0)
    assert throttle.receive(out("x" * (1 << 20)), 0.01) == [out("x" * (1 << 20))]
    given = [throttle.receive(out(""), 0.02) for _ in range(1 << 14)]
    assert given[-1] == [out("")]


def test_the_start_is_no_reason_to_show() -> None:
    throttle = OutputThrottle()
    throttle.receive(out("a"), 0.0)
    throttle.receive(out("b"), 0.01)
    assert throttle.receive(Started(), 0.02) == [Started()]
    assert throttle.due is not None


SOME = st.one_of(
    st.builds(Stream, st.sampled_from(["stdout", "stderr"]), st.text(max_size=3)),
    st.builds(update, st.sampled_from("pq"), st.text(max_size=2)),
    st.just(ClearOutput()),
    st.builds(Note, st.text(max_size=2)),
    st.just(Tick()),
)


def told(events: list[Event]) -> tuple[list[Any], dict[str, Any]]:
    """What counts: the text with everything else between it, and how each display ended."""
    line: list[Any] = []
    ends: dict[str, Any] = {}
    for event in events:
        if isinstance(event, Stream):
            line += [(event.name, letter) for letter in event.text]
        elif isinstance(event, DisplayData):
            ends[event.display_id] = event.data
        elif not isinstance(event, Tick):
            line.append(event)
    return line, ends


@given(st.lists(st.tuples(SOME, st.floats(0, 0.06)), max_size=60))
def test_nothing_is_lost_and_nothing_waits_too_long(moments: list[tuple[Event, float]]) -> None:
    throttle, now, given = OutputThrottle(), 0.0, []
    for event, seconds in moments:
        while (due := throttle.due) is not None and due <= now + seconds:
            given += throttle.receive(Tick(), due)
        now += seconds
        given += throttle.receive(event, now)
        assert throttle.due is None or now < throttle.due <= now + STEP_SECONDS
    given += throttle.flush(now)
    assert told(given) == told([event for event, _ in moments])


def passes(allowance: Allowance, size: int, now: float, **ends: bool) -> bool:
    return allowance.take(size, now, **ends) == 0


def test_as_much_as_one_cell_may_show_passes_at_once() -> None:
    allowance = Allowance(MAX_OUTPUT)
    for _ in range(15):
        assert passes(allowance, MAX_OUTPUT // 16, 0)
    assert passes(allowance, MAX_OUTPUT // 16, 0, ends=True)


def test_never_is_more_sent_in_three_seconds_than_a_server_takes() -> None:
    allowance = Allowance(MAX_OUTPUT)
    now, sent = 0.0, []
    for n in range(400):
        size = n % 7 * 20_000
        while wait := allowance.take(size, now, ends=n % 5 == 0):
            assert now < wait <= now + 3.1
            now = wait
        sent.append((now, size + MESSAGE_SIZE))
        now += 0.01
    assert now > 10
    for since, _ in sent:
        assert sum(size for when, size in sent if since <= when < since + 3) <= 3_000_000


@pytest.mark.parametrize("size", [0, 1])
def test_messages_are_counted_whatever_is_in_them(size: int) -> None:
    allowance = Allowance(MAX_OUTPUT)
    count = 0
    while passes(allowance, size, 0):
        count += 1
    assert 2000 < count < 3000
    assert passes(allowance, 0, 0, ends=True)  # what a cell ends with
    assert not passes(allowance, size, 3)
    assert passes(allowance, size, 3.1)


def test_a_message_that_is_too_large_for_every_window_passes_alone() -> None:
    allowance = Allowance(1000)
    assert passes(allowance, 5000, 0)
    assert allowance.take(5000, 1) == 3.1
    assert passes(allowance, 5000, 3.1)
