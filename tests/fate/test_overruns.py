"""Messages that never came though the link held, by their numbers."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_bridge_magic.fate.gaps import Gap
from kernel_bridge_magic.fate.overruns import FLOOD, FLOOD_SECONDS, LEAST, Overruns
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD

OURS = "client"
CELL = "client_2"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def message(
    number: int,
    msg_type: str = "stream",
    *,
    parent: str = CELL,
    session: str = OURS,
    request: str = "execute_request",
    channel: str = "iopub",
    state: str = "",
    life: str = "kernel",
    pid: int = 1,
    rate: float = 1000.0,
) -> Message:
    """A message of a kernel that makes `rate` of them a second."""
    date = (BEGAN + timedelta(seconds=number / rate)).isoformat()
    header = {"msg_id": f"{life}_{pid}_{number}", "msg_type": msg_type, "session": life, "date": date}
    origin = {"msg_id": parent, "session": session, "msg_type": request}
    return Message(channel, header, origin, {}, {"execution_state": state} if state else {})


def state(number: int, name: str, **more: str) -> Message:
    return message(number, "status", state=name, **more)


def answer(number: int) -> Message:
    return message(number, "execute_reply", channel="shell")


def other(number: int, name: str, request: str = "kernel_info_request") -> Message:
    return state(number, name, parent="other_1", session="other", request=request)


def child(number: int) -> Message:
    """What a process prints that the cell has forked."""
    return message(number, pid=77)


def lost(*messages: Message, dropped: bool = False) -> Gap | None:
    overruns = Overruns(OURS)
    overruns.expect(CELL)
    for one in messages:
        overruns.receive(one)
    gap = overruns.take(CELL, dropped=dropped)
    assert overruns.take(CELL) in (None, Gap(0, True)), "told once"
    return gap


def test_nothing_is_missing_of_a_whole_cell() -> None:
    cell = [state(1, "busy"), message(2), message(3), answer(4), state(5, "idle")]
    assert lost(*cell) == Gap(0, True)
    assert lost(*cell[:3], cell[4], cell[3]) == Gap(0, True), "the idle overtook the reply"
    assert lost(*cell, dropped=True) == Gap(0, True)
    assert lost(*cell[:3], cell[4], cell[3], dropped=True) == Gap(0, True)


def test_long_runs_of_numbers_are_lost_wherever_they_are_missing() -> None:
    assert lost(state(1, "busy"), message(502), message(503), message(3000)) == Gap(500 + 2496, True)
    assert lost(state(1, "busy"), message(2 + LEAST)) == Gap(LEAST, True)


def test_a_short_run_is_a_result_that_was_not_sent_unless_something_is_known_to_be_dropped() -> None:
    cell = [state(1, "busy"), message(1 + LEAST), answer(2 + LEAST), state(3 + LEAST, "idle")]
    assert lost(*cell) == Gap(0, True)
    assert lost(*cell, dropped=True) == Gap(LEAST - 1, False)


@pytest.mark.parametrize("parsed", [False, True])  # as a server sends it, and as jupyter_client gives it
@pytest.mark.parametrize(("seconds", "size"), [(FLOOD_SECONDS * 0.9, 3), (FLOOD_SECONDS * 1.1, 0)])
def test_a_short_run_in_a_flood_is_told_as_an_upper_bound(seconds: float, size: int, parsed: bool) -> None:
    rate = FLOOD / seconds
    flood = [message(number, rate=rate) for number in range(2, FLOOD + 10)]
    cell = [state(1, "busy"), *flood, message(FLOOD + 13, rate=rate), state(FLOOD + 14, "idle")]
    for one in cell if parsed else ():
        one.header["date"] = datetime.fromisoformat(one.header["date"])
    assert lost(*cell) == Gap(size, not size)


def test_the_cell_s_own_reply_is_no_loss_in_a_flood_either() -> None:
    flood = [message(number) for number in range(2, FLOOD + 10)]
    assert lost(state(1, "busy"), *flood, state(FLOOD + 11, "idle"), answer(FLOOD + 10)) == Gap(0, True)


def test_without_the_idle_the_numbers_up_to_the_reply_count() -> None:
    assert lost(state(1, "busy"), message(2), answer(400)) == Gap(397, True)
    assert lost(state(1, "busy"), answer(400), message(2)) == Gap(397, True)


def test_our_question_behind_the_reply_ends_a_cell_whose_idle_was_dropped() -> None:
    cell = [state(1, "busy"), message(2), answer(400)]
    question = [
        state(n, name, parent="client_3", request="kernel_info_request") for n, name in ((402, "busy"), (404, "idle"))
    ]
    assert lost(*cell, *question) == Gap(397, True), "neither its reply nor its idle"
    assert lost(*cell, message(399), state(401, "idle"), *question) == lost(*cell, message(399)) == Gap(396, True)


def test_other_clients_requests_leave_holes_of_their_own() -> None:
    cell = [state(1, "busy"), message(2), other(3, "busy"), other(5, "idle"), message(6), state(8, "idle"), answer(7)]
    assert lost(*cell) == Gap(0, True)
    assert lost(*cell, dropped=True) == Gap(1, False)
    assert lost(state(1, "busy"), other(3, "busy"), message(600)) == Gap(596, False)


@pytest.mark.parametrize("request_type", ["usage_request", "comm_msg"])
def test_other_clients_requests_do_not_make_up_for_a_loss(request_type: str) -> None:
    cell, number = [state(1, "busy")], 2
    for _ in range(30):
        cell += [other(number, "busy", request_type), other(number + 2, "idle", request_type)]
        number += 3
    gap = lost(*cell, message(number + 25), state(number + 26, "idle"))
    assert gap is not None and gap.size >= 25 and not gap.exact


def test_beside_somebody_else_s_cell_nothing_is_exact() -> None:
    theirs = [message(number, parent="other_9", session="other") for number in (2, 600)]
    assert lost(state(1, "busy"), *theirs, state(601, "idle")) == Gap(597, False)


def test_what_a_child_prints_is_numbered_by_the_child() -> None:
    cell = [state(1, "busy"), message(2), child(2), message(3), child(3), message(104), child(4), state(105, "idle")]
    assert lost(*cell) == Gap(100, False)
    assert lost(state(1, "busy"), child(2), message(2), child(3), state(3, "idle")) == Gap(0, True)
    assert lost(state(1, "busy"), child(2), child(302), state(3, "idle")) == Gap(299, False)
    assert lost(state(1, "busy"), child(2), state(2, "idle"), dropped=True) is None


def test_a_child_that_is_heard_first_is_not_taken_for_the_kernel() -> None:
    overruns = Overruns(OURS)
    for number in range(900, 905):
        overruns.receive(message(number, parent="other_1", session="other", pid=77))
    overruns.expect(CELL)
    for one in (state(1, "busy"), message(302), state(303, "idle")):
        overruns.receive(one)
    assert overruns.take(CELL) == Gap(300, True)


def test_what_stands_between_others_or_in_another_life_is_not_ours() -> None:
    assert lost(other(1, "busy"), other(100, "idle"), state(300, "busy"), message(301)) == Gap(0, True)
    assert lost(state(1, "busy"), state(2, "idle"), other(900, "busy")) == Gap(0, True)
    assert lost(state(1, "busy"), message(900, life="new")) == Gap(0, True)


def test_what_the_server_says_in_the_kernel_s_place_is_not_counted() -> None:
    said = message(40_000, life=OURS)
    assert lost(state(1, "busy"), said, message(2), message(300)) == Gap(297, True)


def test_a_kernel_whose_ids_are_no_numbers_is_left_alone() -> None:
    header = {"msg_id": "a-b-c", "session": "kernel"}
    one = Message("iopub", header, {"msg_id": CELL, "session": OURS, "msg_type": "execute_request"}, {}, {})
    assert lost(one, one) is None


def test_a_date_that_is_none_is_no_flood() -> None:
    flood = [message(number) for number in range(2, FLOOD + 10)]
    for one in flood:
        one.header["date"] = None
    assert lost(state(1, "busy"), *flood, message(FLOOD + 13)) == Gap(0, True)


def test_late_output_is_not_counted_and_nothing_is_kept_of_it() -> None:
    overruns = Overruns(OURS)
    overruns.expect(CELL)
    for one in (state(1, "busy"), state(2, "idle")):
        overruns.receive(one)
    assert overruns.take(CELL) == Gap(0, True)
    for number in range(50, 60):
        overruns.receive(message(number))
    assert not overruns._cells


def test_floods_with_random_losses_are_never_told_too_small() -> None:
    generator = random.Random(7)
    for _ in range(50):
        count = 3000
        numbers = range(2, count)
        dropped: set[int] = set()
        for _ in range(generator.randrange(4)):
            start = generator.randrange(FLOOD + 2, count)
            dropped |= set(range(start, min(start + generator.choice((1, 3, 30, 300)), count)))
        cell = [state(1, "busy"), *(message(n) for n in numbers if n not in dropped)]
        cell += generator.sample([answer(count), state(count + 1, "idle")], 2)
        gap = lost(*cell)
        assert gap is not None
        assert gap.size == len(dropped)


def test_what_comes_a_second_time_fills_no_hole() -> None:
    whole = [state(1, "busy"), *(message(n) for n in range(2, 50)), answer(50), state(51, "idle")]
    again = [message(n) for n in range(10, 40)] + [answer(50), state(51, "idle"), message(2), message(2)]
    assert lost(*whole[:-1], *again[:-3], whole[-1], *again) == Gap(0, True)
    holed = [one for one in whole if not 20 <= int(one.msg_id.rpartition("_")[2]) < 35]
    assert lost(*holed[:-1], *(message(n) for n in range(2, 20)), holed[-1], *again[-4:]) == Gap(15, True)
    assert lost(*holed[:-1], message(25), message(25), message(25), holed[-1]) == Gap(14, True), "one came late"


@pytest.mark.parametrize("number", ["9" * 5000, 10**15, 10**18, 10**30, "²", "1_0"])
@pytest.mark.parametrize("who", ["the cell", "a child", "a reply"])
def test_a_number_that_cannot_be_is_not_counted_with(number: object, who: str) -> None:
    odd = {"the cell": message, "a child": child, "a reply": answer}[who](0)
    odd.header["msg_id"] = odd.msg_id.removesuffix("0") + str(number)
    before = [state(1, "busy"), message(2), child(2), child(3)]
    assert lost(*before, odd, message(3), answer(4), state(5, "idle")) == Gap(0, True)
    gap = lost(*before, odd, message(300), state(301, "idle"))
    assert gap is not None and gap.size == 297


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["iopub", "shell"]),
            st.integers(0, 60) | st.sampled_from([10**7, 10**15, 10**40, "7" * 5000, "", "x"]),
            st.sampled_from(["busy", "idle", ""]),
            st.sampled_from([1, 77]),
            st.booleans(),
        ),
        max_size=60,
    ),
    st.booleans(),
)
@example(
    [
        *[("iopub", 0, "busy", pid, False) for pid in (1, 77)],
        ("shell", 10**15, "busy", 1, False),  # the first of a life
        *[("iopub", number, "busy", 1, not number) for number in (0, 10**15)],
    ],
    False,
)
def test_whatever_the_numbers_are_counts_are_between_zero_and_what_can_be(
    sent: list[tuple[str, object, str, int, bool]], dropped: bool
) -> None:
    messages = [
        message(0, state=name, channel=channel, pid=pid, parent=CELL if ours else "other_1")
        for channel, _, name, pid, ours in sent
    ]
    for one, (_, number, *_) in zip(messages, sent, strict=True):
        one.header["msg_id"] = f"kernel_{one.msg_id.split('_')[1]}_{number}"
    gap = lost(*messages, dropped=dropped)
    assert gap is None or 0 <= gap.size <= MOST_AHEAD * len(messages)
    # What comes a second time changes nothing that is told of the first.
    overruns = Overruns(OURS)
    overruns.expect(CELL)
    for one in messages:
        overruns.receive(one)
        if one.channel == "iopub" and not one.execution_state:
            overruns.receive(one)
    twice = overruns.take(CELL, dropped=dropped)
    assert (twice is None) is (gap is None)
    assert twice is None or gap is None or twice.size == gap.size
