"""What is missing is counted where that can be, never too small, and called exact only where it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_bridge_magic.fate.ledger import FLOOD, FLOOD_SECONDS, LONG, Gap, Ledger
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD

OURS, LIFE, OTHER = "ours", "kernel", "other"
EARLIER, CELL, QUESTION = "ours_6", "ours_7", "ours_8"
HEARD = 10  # numbers that were heard before the cell was sent; those in the tests begin behind them
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ODD = ["9" * 5000, 10**15, 10**18, 10**40, "²", "1_0"]


def name(number: int, life: str = LIFE, pid: int = 1) -> str:
    return f"{life}_{pid}_{HEARD + number}"


def message(
    number: int,
    msg_type: str = "stream",
    *,
    parent: str = CELL,
    channel: str = "iopub",
    state: str = "",
    request: str = "execute_request",
    life: str = LIFE,
    pid: int = 1,
    rate: float = 100.0,
) -> Message:
    """A message of a kernel that makes `rate` of them a second."""
    date = (BEGAN + timedelta(seconds=number / rate)).isoformat()
    header = {"msg_id": name(number, life, pid), "msg_type": msg_type, "session": life, "date": date}
    origin = {"msg_id": parent, "session": parent.partition("_")[0], "msg_type": request} if parent else {}
    return Message(channel, header, origin, {}, {"execution_state": state} if state else {})


def state(number: int, name: str, **more: Any) -> Message:
    return message(number, "status", state=name, **more)


def answer(number: int, **more: Any) -> Message:
    return message(number, "execute_reply", channel="shell", **more)


def other(number: int, name: str, request: str = "kernel_info_request", parent: str = f"{OTHER}_1") -> Message:
    return state(number, name, parent=parent, request=request)


def by_server(number: int, name: str, which: str = "99_0") -> Message:
    """What jupyter_server asks in our name when we connect: only its states come to us."""
    return state(number, name, parent=f"{OURS}_{which}", request="kernel_info_request")


def child(number: int, **more: Any) -> Message:
    """What a process prints that the cell has forked."""
    return message(number, pid=77, **more)


def flood(start: int, stop: int, seconds: float = FLOOD_SECONDS / 2) -> list[Message]:
    return [message(number, rate=FLOOD / seconds) for number in range(start, stop)]


class Cell(Ledger):
    """The ledger of a connection that has heard the kernel before it sent the cell."""

    def __init__(self, *messages: Message, heard: int = HEARD) -> None:
        super().__init__(OURS)
        self.get(*(message(number - HEARD, parent=EARLIER) for number in range(HEARD - heard + 1, HEARD + 1)))
        self.expect(CELL)
        self.get(*messages)

    def get(self, *messages: Message) -> Cell:
        for one in messages:
            self.receive(one)
        return self

    def breaks(self) -> Cell:
        self.broke()
        return self

    def lost(self, behind: int | None = None, *, dropped: bool = False) -> Gap | None:
        return self.missing(CELL, "" if behind is None else name(behind), dropped=dropped)


def lost(*messages: Message, dropped: bool = False) -> Gap | None:
    """What a cell lost over a link that held."""
    return Cell(*messages).lost(dropped=dropped)


def running(upto: int = 10) -> Cell:
    """A cell that has been heard up to a number, and a link that breaks then."""
    return Cell(state(1, "busy"), *(message(number) for number in range(2, upto + 1))).breaks()


# -- a link that breaks


def test_nothing_is_missing_where_nothing_is() -> None:
    assert running().get(*(message(number) for number in range(11, 20))).lost() == Gap(0, True)


def test_what_is_missing_between_two_messages_of_the_cell_is_exact() -> None:
    cell = running().get(message(36))
    assert cell.lost() == Gap(25, True)
    assert cell.get(message(37), message(40)).lost() == Gap(25 + 2, True)
    assert cell.get(answer(42), state(44, "idle")).lost() == Gap(25 + 2 + 1 + 1, True)


def test_it_is_counted_up_to_the_cell_s_end_and_no_further() -> None:
    cell = running().get(message(12), answer(13), state(14, "idle"))
    for number in (20, 25, 36):
        cell.get(message(number, parent=QUESTION))
    assert cell.lost() == Gap(1, True)
    assert cell.lost(36) == Gap(1, True)


def test_where_the_end_is_lost_it_is_counted_up_to_an_answer_from_behind_it() -> None:
    cell = running().get(state(36, "busy", parent=QUESTION))
    assert cell.lost() == Gap(0, True), "as far as the cell was heard"
    assert cell.lost(36) == Gap(25, False), "behind it anything may be missing"
    assert cell.get(answer(37, parent=QUESTION)).lost(37) == Gap(25, False)


def test_an_answer_that_overtook_iopub_bounds_the_count_as_well() -> None:
    assert running().get(answer(36, parent=QUESTION)).lost(36) == Gap(25, False)


def test_of_a_cell_that_was_not_heard_it_is_counted_from_where_the_kernel_stood() -> None:
    cell = Cell().breaks().get(message(4))
    assert cell.lost() == Gap(3, False), "its beginning is missing"
    assert Cell().breaks().get(state(4, "busy"), message(5), message(7)).lost() == Gap(1, True), "from its beginning on"
    cell = Cell().breaks().get(state(9, "busy", parent=QUESTION), answer(10, parent=QUESTION))
    assert cell.lost(10) == Gap(8, False)


def test_the_beginning_of_a_cell_that_the_server_gives_again_behind_live_messages_counts() -> None:
    cell = Cell().breaks().get(message(8), state(2, "busy"), message(3), message(4), message(5))
    assert cell.lost() == Gap(2, True)


def test_what_the_server_says_in_the_kernel_s_place_changes_nothing() -> None:
    assert running().get(message(3, life=OURS), message(36)).lost() == Gap(25, True)


def test_what_children_of_the_cell_print_makes_its_loss_uncountable_and_no_other_s() -> None:
    cell = running().get(child(11), message(36))
    assert cell.lost() is None
    cell.expect(QUESTION)
    cell.get(state(37, "busy", parent=QUESTION)).breaks()
    cell.get(message(43, parent=QUESTION))
    assert cell.missing(QUESTION) == Gap(5, True)


def test_numbers_that_come_late_are_not_missing() -> None:
    assert running().get(*map(message, (20, 15, 11, 12, 19))).lost() == Gap(5, True)


def test_what_is_lost_is_counted_in_whatever_order_the_rest_comes() -> None:
    dice = random.Random(7)
    for _ in range(300):
        missing = set(dice.sample(range(11, 59), dice.randrange(30)))
        coming = [number for number in range(11, 60) if number not in missing]
        swap = dice.randrange(len(coming) - 1)
        coming[swap], coming[swap + 1] = coming[swap + 1], coming[swap]
        assert running().get(*map(message, coming)).lost() == Gap(len(missing), True)


def test_a_reply_that_overtook_the_output_before_the_link_broke_hides_no_loss() -> None:
    cell = Cell(state(1, "busy"), *map(message, range(2, 11)), answer(15)).breaks()
    assert cell.get(state(16, "idle")).lost() == Gap(4, True)


def test_another_client_in_the_gap_makes_it_an_upper_bound() -> None:
    theirs = message(30, parent=f"{OTHER}_1")
    assert running().get(theirs, message(31)).lost() == Gap(19, False)


def test_another_client_beside_the_gap_does_so_too() -> None:
    theirs = message(21, parent=f"{OTHER}_1")
    assert running().get(message(20), theirs, message(23)).lost() == Gap(9 + 1, False)
    assert running().get(message(20), message(23), theirs).lost() == Gap(9 + 1, False), "in whatever order they come"
    # One that was under way when the cell began may leave its reply anywhere in it.
    cell = Cell(other(1, "busy"), state(2, "busy"), message(3)).breaks()
    assert cell.get(message(9)).lost() == Gap(5, False)


def test_another_client_that_is_heard_before_the_cell_or_behind_it_changes_nothing() -> None:
    theirs = [other(1, "busy"), other(3, "idle")]
    behind = [other(21, "busy"), other(23, "idle"), other(40, "idle", parent=f"{OTHER}_2")]
    cell = Cell(*theirs, state(4, "busy")).breaks()
    assert cell.get(message(10), state(12, "idle"), *behind).lost() == Gap(5 + 1, True)
    cell = Cell(*theirs).breaks()
    assert cell.get(*behind, state(4, "busy"), message(10), state(12, "idle")).lost() == Gap(5 + 1, False), (
        "they were heard before its beginning, and have higher numbers"
    )


@pytest.mark.parametrize("states", [["busy"], ["idle"], ["busy", "idle"], ["idle", "busy"]])
def test_what_the_server_asks_in_our_name_is_never_counted_as_too_little(states: list[str]) -> None:
    # 11 and 12 are the cell's, 13 to 15 the server's question, of which it keeps the reply and perhaps the busy.
    heard = {"busy": by_server(13, "busy"), "idle": by_server(15, "idle")}
    cell = running().get(*(heard[state] for state in states), message(16))
    gap = cell.lost()
    assert gap is not None and not gap.exact
    assert gap.size == {1: 2 + 2, 2: 2}[len(states)], "of one that was heard the reply is known to be the server's"


def test_the_server_numbers_its_requests_anew_for_each_link_and_takes_nothing_from_the_cell_s_loss() -> None:
    # Of the first link's question the idle was lost, and of the second one's the busy.
    cell = (
        running().get(by_server(11, "busy"), message(12)).breaks().get(message(18), by_server(20, "idle"), message(21))
    )
    gap = cell.lost()
    assert gap is not None and not gap.exact
    assert 5 <= gap.size <= 6, "13 to 17 are missing, and 19 is the server's"
    cell = running().get(message(12), by_server(13, "idle")).breaks().get(by_server(16, "busy"), message(17))
    assert cell.lost() == Gap(1 + 2, False), "no reply stands between an idle and a later busy"


def test_requests_of_the_server_s_that_overlap_behind_the_cell_take_nothing_from_its_loss() -> None:
    # As it came from a real server on a loaded machine: the busy of 99_0 was given to nobody.
    asked = [by_server(17, "busy", "99_1"), by_server(18, "idle"), by_server(20, "idle", "99_1")]
    gap = running().get(message(13), message(14), *asked).lost()
    assert gap is not None and gap.size == 2


def test_replies_to_other_clients_are_told_as_an_upper_bound() -> None:
    assert running().get(other(11, "busy"), other(13, "idle"), message(14)).lost() == Gap(1, False)


def test_what_our_earlier_request_lost_is_told_as_an_upper_bound() -> None:
    cell = Cell(state(1, "busy", parent=EARLIER)).breaks()
    assert cell.get(message(6)).lost() == Gap(4, False)


def sent_behind(*heard: Message) -> Cell:
    """A cell that was sent behind an earlier request of ours, of which this was heard before the link broke."""
    cell = Cell(*heard)
    cell.expect(CELL)
    return cell.breaks()


# As it came from a real server in some of a thousand random resets.
@pytest.mark.parametrize("before", [0, 1, 2, 3])
@pytest.mark.parametrize("after", [[], [2], [1], [1, 2]])
def test_no_request_of_ours_before_the_cell_hides_a_loss_of_its(before: int, after: list[int]) -> None:
    made = [state(1, "busy", parent=EARLIER), answer(2, parent=EARLIER), state(3, "idle", parent=EARLIER)]
    gap = sent_behind(*made[:before]).get(*(made[place] for place in after), message(7)).lost()
    assert gap is not None and gap.size >= 3
    gap = sent_behind(*made).get(message(8, parent=EARLIER), message(10)).lost()
    assert gap is not None and gap.size >= 4 + 1, "a thread of that request prints on"
    behind = [state(20, "busy", parent=EARLIER), state(22, "idle", parent=EARLIER)]
    gap = sent_behind().get(message(4), *behind).lost()
    assert gap is not None and gap.size >= 3, "in a subshell it ran behind the cell"


def test_a_second_break_counts_on() -> None:
    assert running().get(message(13)).breaks().get(message(16)).lost() == Gap(4, True)


def test_a_short_hole_before_the_link_broke_is_no_loss_and_a_long_one_is() -> None:
    cell = Cell(state(1, "busy"), message(3)).breaks()
    assert cell.get(message(4), message(6)).lost() == Gap(1, True)
    cell = Cell(state(1, "busy"), message(2 + LONG)).breaks()
    assert cell.get(message(3 + LONG), message(5 + LONG)).lost() == Gap(LONG + 1, True)


def test_a_cell_that_is_sent_when_the_link_is_back_is_counted_by_itself() -> None:
    cell = running().get(message(36), answer(37), state(38, "idle"))
    cell.expect(QUESTION)
    cell.get(*(message(number, parent=QUESTION) for number in (39, 41)))
    assert cell.missing(QUESTION) == Gap(0, True), "over a link that held it was no loss"
    assert cell.lost() == Gap(25, True)


def test_where_ids_are_no_counters_nobody_can_tell() -> None:
    for ids in ("uuid", "constant", "no session", "random numbers", "steps of two", "the server's"):
        random_ = random.Random(1)

        def make(number: int, ids: str = ids, random_: random.Random = random_) -> Message:
            session, msg_id = LIFE, name(number)
            if ids == "uuid":
                msg_id = f"{random_.getrandbits(128):032x}"
            elif ids == "constant":
                msg_id = name(3)
            elif ids == "no session":
                session = ""
            elif ids == "random numbers":
                msg_id = name(random_.getrandbits(30))
            elif ids == "steps of two":
                msg_id = name(2 * number)
            else:
                session, msg_id = OURS, f"uuid-{number}"  # jupyter_server's own
            header = {"msg_id": msg_id, "msg_type": "stream", "session": session}
            return Message.parse("iopub", header, {"msg_id": CELL, "session": OURS})

        cell = Cell(*map(make, range(10)), heard=0)
        assert cell.lost() is None, ids
        assert cell.breaks().get(make(90)).lost() is None, ids
        assert cell.unexplained(CELL) is None, ids


def test_a_kernel_that_started_anew_is_counted_anew() -> None:
    cell = running().get(state(0, "starting", parent="", life="next", pid=2))
    assert cell.lost() is None
    assert cell.unexplained(CELL) is None
    # A cell that was queued runs there.
    cell.get(*(message(number, parent="", life="next", pid=2) for number in range(1, 5)))
    cell.get(state(5, "busy", life="next", pid=2), message(9, life="next", pid=2))
    assert cell.lost() == Gap(3, True)


def test_where_the_link_broke_before_the_kernel_was_heard_it_is_counted_from_the_cell_s_beginning_alone() -> None:
    cell = Cell(heard=0).breaks().get(*map(message, range(50, 60)))
    assert cell.lost() is None
    assert cell.unexplained(CELL) is None
    cell = Cell(heard=0).breaks().get(state(50, "busy"), *map(message, (51, 52, 53, 55)))
    assert cell.lost() == Gap(1, True)


def test_that_the_numbers_are_a_counter_may_be_learnt_after_the_break() -> None:
    cell = Cell(state(1, "busy"), heard=0).breaks().get(message(5))
    assert cell.lost() is None
    assert cell.get(*map(message, range(6, 9))).lost() == Gap(3, True)


def test_one_question_and_the_beginning_of_a_cell_show_that_the_numbers_are_a_counter() -> None:
    # The reply is often read behind the idle that follows it.
    question = [state(1, "busy", parent=EARLIER), state(3, "idle", parent=EARLIER), answer(2, parent=EARLIER)]
    cell = Cell(*question, heard=0).get(state(4, "busy"))
    assert cell.lost() is None
    assert cell.get(message(5), message(40)).lost() == Gap(34, True)


def test_a_cell_that_is_forgotten_is_not_counted_and_its_holes_are_not_kept() -> None:
    cell = running().get(message(36))
    cell.forget(CELL)
    cell.forget("never sent")
    assert cell.lost() is None and cell.unexplained(CELL) is None
    cell.expect(QUESTION)
    cell.get(state(37, "busy", parent=QUESTION)).breaks()
    assert cell.missing(QUESTION) == Gap(0, True)


# -- the proof that a cell was not run


def test_numbers_since_the_cell_was_sent_that_nobody_explains() -> None:
    cell = Cell()
    assert cell.unexplained(CELL) is None, "before a link broke nobody asks"
    cell.breaks()
    assert cell.unexplained(CELL) == 0
    for number in (3, 4, 10):
        cell.get(message(number, parent=QUESTION))
    assert cell.unexplained(CELL) == 2 + 5
    assert cell.get(answer(15, parent=QUESTION)).unexplained(CELL) == 2 + 5 + 4, "whatever channel it came by"


def test_only_a_reply_between_two_states_of_the_server_s_request_is_explained() -> None:
    cell = Cell().breaks().get(by_server(1, "busy"), by_server(3, "idle"))
    assert cell.unexplained(CELL) == 0
    cell.get(by_server(6, "idle", "99_1"))
    assert cell.unexplained(CELL) == 2, "its busy and its reply, or somebody's messages"
    cell.get(by_server(4, "busy", "99_1"))
    assert cell.unexplained(CELL) == 0, "the server may give them again in another order"
    cell.get(other(7, "busy"), other(9, "idle"))
    assert cell.unexplained(CELL) == 1, "nobody knows whether another client's request was answered"


def test_what_the_server_asked_before_the_cell_explains_nothing_behind_it() -> None:
    cell = Cell(by_server(1, "busy"), by_server(3, "idle"))
    cell.expect(QUESTION)
    cell.get(by_server(4, "busy", "99_1")).breaks()
    cell.get(by_server(6, "idle", "99_1"), message(9, parent=EARLIER))
    assert cell.unexplained(QUESTION) == 2
    assert cell.unexplained(CELL) == 2


# -- a link that holds


def test_nothing_is_missing_of_a_whole_cell() -> None:
    cell = [state(1, "busy"), message(2), message(3), answer(4), state(5, "idle")]
    for order in (cell, [*cell[:3], cell[4], cell[3]], [cell[3], *cell[:3], cell[4]]):
        for dropped in (False, True):
            assert lost(*order, dropped=dropped) == Gap(0, True)
    assert lost() == Gap(0, True), "nothing of it has come, and the link holds"


def test_long_runs_of_numbers_are_lost_wherever_they_are_missing() -> None:
    assert lost(state(1, "busy"), message(502), message(503), message(3000)) == Gap(500 + 2496, True)
    assert lost(state(1, "busy"), message(2 + LONG)) == Gap(LONG, True)


def test_a_short_run_is_a_result_that_was_not_sent_unless_something_is_known_to_be_dropped() -> None:
    cell = [state(1, "busy"), message(1 + LONG), answer(2 + LONG), state(3 + LONG, "idle")]
    assert lost(*cell) == Gap(0, True)
    assert lost(*cell, dropped=True) == Gap(LONG - 1, False)


@pytest.mark.parametrize("parsed", [False, True])  # as a server sends it, and as jupyter_client gives it
@pytest.mark.parametrize(("seconds", "size"), [(FLOOD_SECONDS * 0.9, 3), (FLOOD_SECONDS * 1.1, 0)])
def test_a_short_run_in_a_flood_is_told_as_an_upper_bound(seconds: float, size: int, parsed: bool) -> None:
    rate = FLOOD / seconds
    cell = [state(1, "busy"), *flood(2, FLOOD + 10, seconds), message(FLOOD + 13, rate=rate), state(FLOOD + 14, "idle")]
    for one in cell if parsed else ():
        one.header["date"] = datetime.fromisoformat(one.header["date"])
    assert lost(*cell) == Gap(size, not size)


def test_the_cell_s_own_reply_is_no_loss_in_a_flood_either() -> None:
    end = [answer(FLOOD + 10), state(FLOOD + 11, "idle")]
    for order in (end, end[::-1]):
        assert lost(state(1, "busy"), *flood(2, FLOOD + 10), *order) == Gap(0, True)


def test_without_the_idle_the_numbers_up_to_the_reply_count() -> None:
    assert lost(state(1, "busy"), message(2), answer(400)) == Gap(397, True)
    assert lost(state(1, "busy"), answer(400), message(2)) == Gap(397, True)


def test_our_question_behind_the_reply_ends_a_cell_whose_idle_was_dropped() -> None:
    cell = [state(1, "busy"), message(2), answer(400)]
    question = [state(402, "busy", parent=QUESTION), state(404, "idle", parent=QUESTION)]
    assert lost(*cell, *question) == Gap(397, True), "neither its reply nor its idle"
    assert lost(*cell, message(399), state(401, "idle"), *question) == lost(*cell, message(399)) == Gap(396, True)
    assert lost(*cell, message(397), *question) == Gap(394 + 2, False), "something was dropped: a short run counts, too"


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


def test_in_a_flood_a_reply_to_another_client_is_no_loss_and_hides_none() -> None:
    end = FLOOD + 10
    cell = [state(1, "busy"), *flood(2, end)]
    whole = [*cell, *(replaced(one) for one in (other(end, "busy"), other(end + 2, "idle")))]
    rest = [replaced(message(end + 3)), replaced(message(end + 5))]
    assert lost(*whole) == Gap(0, True)
    assert lost(*whole, *rest) == Gap(1, False)
    # One that was answered before the flood explains nothing in it.
    before = [state(-9, "busy"), other(-8, "busy"), other(-6, "idle")]
    shifted = Cell(*before, *flood(-5, end), *rest, heard=0)
    assert shifted.lost() == Gap(3 + 1, False)


def replaced(one: Message) -> Message:
    """The same message, made at the rate of a flood."""
    number = int(one.msg_id.rpartition("_")[2]) - HEARD
    date = message(number, rate=FLOOD).header["date"]
    return Message(one.channel, {**one.header, "date": date}, one.parent_header, {}, one.content)


def test_beside_somebody_else_s_cell_nothing_is_exact() -> None:
    theirs = [message(number, parent=f"{OTHER}_9") for number in (2, 600)]
    assert lost(state(1, "busy"), *theirs, state(601, "idle")) == Gap(597, False)


def test_what_a_child_prints_is_numbered_by_the_child() -> None:
    cell = [state(1, "busy"), message(2), child(2), message(3), child(3), message(104), child(4), state(105, "idle")]
    assert lost(*cell) == Gap(100, False)
    assert lost(state(1, "busy"), child(2), message(2), child(3), state(3, "idle")) == Gap(0, True)
    assert lost(state(1, "busy"), child(2), child(302), state(3, "idle")) == Gap(299, False)
    assert lost(state(1, "busy"), child(2), state(2, "idle"), dropped=True) is None


def test_a_child_that_is_heard_first_is_not_taken_for_the_kernel() -> None:
    cell = Cell(*(child(number, parent=f"{OTHER}_1") for number in range(900, 905)), heard=0)
    cell.get(*(state(number, "busy", parent=EARLIER) for number in range(-4, 1)))
    assert cell.get(state(1, "busy"), message(302), state(303, "idle")).lost() == Gap(300, True)


def test_what_stands_between_others_or_in_another_life_is_not_ours() -> None:
    assert lost(other(1, "busy"), other(100, "idle"), state(300, "busy"), message(301)) == Gap(0, True)
    assert lost(state(1, "busy"), state(2, "idle"), other(900, "busy")) == Gap(0, True)
    assert lost(state(1, "busy"), message(900, life="new")) is None


def test_over_a_link_that_holds_what_the_server_says_in_the_kernel_s_place_is_not_counted() -> None:
    said = message(40_000, life=OURS)
    assert lost(state(1, "busy"), said, message(2), message(300)) == Gap(297, True)


def test_a_message_that_was_asked_for_and_may_be_lost_makes_it_an_upper_bound() -> None:
    cell = Cell(state(1, "busy"), message(2))
    cell.share()
    assert cell.lost() == Gap(0, True)
    assert cell.get(message(300)).lost() == Gap(297, False)


def test_a_date_that_is_none_is_no_flood() -> None:
    cell = [state(1, "busy"), *flood(2, FLOOD + 10), message(FLOOD + 13)]
    for one in cell:
        one.header["date"] = None
    assert lost(*cell) == Gap(0, True)


def test_late_output_is_not_counted() -> None:
    cell = Cell(state(1, "busy"), state(2, "idle"), *map(message, range(50, 60)))
    assert cell.lost() == Gap(0, True)


def test_what_comes_a_second_time_fills_no_hole() -> None:
    whole = [state(1, "busy"), *map(message, range(2, 50)), answer(50), state(51, "idle")]
    again = [*map(message, range(10, 40)), answer(50), state(51, "idle"), message(2), message(2)]
    assert lost(*whole[:-1], *again[:-3], whole[-1], *again) == Gap(0, True)
    holed = [one for one in whole if not 30 <= int(one.msg_id.rpartition("_")[2]) < 45]
    assert lost(*holed[:-1], *map(message, range(2, 20)), holed[-1], *again[-4:]) == Gap(15, True)
    late = Cell(*holed[:-1], message(25), message(25), message(25), holed[-1])
    assert late.lost() == Gap(14, True), "one came late: what is left of a long run is a loss, however short"


@pytest.mark.parametrize("holes", [12_000, 12_001])
def test_of_more_holes_than_can_be_kept_the_count_is_kept(holes: int) -> None:
    step = LONG + 1
    cell = Cell(state(1, "busy"), *(message(1 + step * number) for number in range(1, holes + 1)))
    assert cell.lost() == cell.lost(dropped=True) == Gap(LONG * holes, True)
    cell.breaks()
    assert cell.get(message(3 + step * holes)).lost() == Gap(LONG * holes + 1, True)
    assert cell.unexplained(CELL) == LONG * holes + 1
    theirs = message(6 + step * holes, parent=f"{OTHER}_1")
    assert cell.get(theirs, message(8 + step * holes)).lost() == Gap(LONG * holes + 4, False)


def test_short_holes_that_are_not_kept_by_themselves_count_where_something_was_dropped() -> None:
    cell = Cell(state(1, "busy"), *(message(1 + 2 * number) for number in range(1, 9001)), message(18_002))
    assert cell.lost() == Gap(0, True)
    assert cell.lost(dropped=True) == Gap(9000, False)


# -- whatever comes


@pytest.mark.parametrize("number", ODD)
@pytest.mark.parametrize("who", ["the cell", "a child", "a reply"])
@pytest.mark.parametrize("breaks", [False, True])
def test_a_number_that_cannot_be_is_not_counted_with(number: object, who: str, breaks: bool) -> None:
    makers: dict[str, Callable[[int], Message]] = {"the cell": message, "a child": child, "a reply": answer}
    odd = makers[who](0)
    odd.header["msg_id"] = odd.msg_id.removesuffix(str(HEARD)) + str(number)
    cell = Cell(state(1, "busy"), message(2), child(2), child(3))
    if breaks:
        cell.breaks()
    cell.get(odd, message(3), answer(4))
    assert cell.lost(behind=0) in (None, Gap(0, True))
    gap = cell.get(message(300), state(301, "idle")).lost()
    assert gap is None if breaks else gap is not None and gap.size == 295
    assert cell.missing(CELL, odd.msg_id) == gap


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["iopub", "shell"]),
            st.integers(0, 60) | st.sampled_from([10**7, 10**15, 10**40, "7" * 5000, "", "x"]),
            st.sampled_from(["busy", "idle", ""]),
            st.sampled_from([1, 77]),
            st.sampled_from([CELL, f"{OTHER}_1", f"{OURS}_99_0", QUESTION, ""]),
        ),
        max_size=60,
    ),
    st.integers(0, 60),
    st.booleans(),
)
@example(
    [
        *[("iopub", 0, "busy", pid, f"{OTHER}_1") for pid in (1, 77)],
        ("shell", 10**15, "busy", 1, f"{OTHER}_1"),  # the first of a life
        *[("iopub", number, "busy", 1, f"{OTHER}_1" if number else CELL) for number in (0, 10**15)],
    ],
    60,
    False,
)
def test_whatever_the_numbers_are_counts_are_between_zero_and_what_can_be(
    sent: list[tuple[str, object, str, int, str]], breaks_at: int, dropped: bool
) -> None:
    once, twice = Cell(), Cell()
    for place, (channel, number, execution_state, pid, parent) in enumerate(sent):
        if place == breaks_at:
            once.breaks()
            twice.breaks()
        one = message(0, state=execution_state, channel=channel, pid=pid, parent=parent)
        one.header["msg_id"] = f"{LIFE}_{pid}_{number}"
        once.get(one)
        # What comes a second time changes nothing that is told of the first.
        twice.get(one, *([one] if channel == "iopub" and not execution_state and place % 9 == 0 else []))
    for behind in (None, 3, 30):
        gap = once.lost(behind, dropped=dropped)
        assert gap is None or 0 <= gap.size <= MOST_AHEAD * len(sent)
        again = twice.lost(behind, dropped=dropped)
        assert gap is None or again is None or gap.size == again.size
    assert (once.unexplained(CELL) or 0) >= 0


# -- a kernel that is played, with all who use it


@dataclass
class Made:
    """A message that the kernel made. `comes` is false for what goes to others, or is never sent at all."""

    message: Message
    comes: bool = True

    @property
    def number(self) -> int:
        return int(self.message.msg_id.rpartition("_")[2]) - HEARD

    @property
    def is_ours(self) -> bool:
        return self.comes and self.message.parent_id == CELL


@dataclass
class Kernel:
    """Plays a kernel: its main shell runs one request after the other, its control thread others beside them."""

    dice: random.Random
    rate: float = 100.0
    made: list[Made] = field(default_factory=list)
    unsent: int = 0

    def request(self, parent: str, *inside: str) -> Iterator[tuple[str, bool, dict[str, Any]]]:
        """Give what a request makes: its kind, whether it comes to us, and more."""
        yield "status", True, {"state": "busy", "parent": parent, "request": "kernel_info_request"}
        for kind in inside:
            yield kind, kind != "unsent", {"parent": parent}
        ours = parent.startswith(OURS) and parent.count("_") == 1
        yield "execute_reply", ours, {"channel": "shell", "parent": parent}
        yield "status", True, {"state": "idle", "parent": parent, "request": "kernel_info_request"}

    def run(self, cell: list[str], beside: list[str], before: list[str]) -> None:
        """Make all messages, those of control's requests anywhere among the main shell's."""
        mains = [*before, CELL, QUESTION]
        main = [one for parent in mains for one in self.request(parent, *(cell if parent == CELL else ()))]
        aside = [one for parent in beside for one in self.request(parent)]
        while main or aside:
            use_main = main and (not aside or self.dice.random() * (len(main) + len(aside)) < len(main))
            kind, comes, more = (main if use_main else aside).pop(0)
            number = len(self.made) + 1
            self.made.append(Made(message(number, kind, rate=self.rate, **more), comes))
        self.unsent = cell.count("unsent")

    def delivered(self, without: set[int]) -> list[Made]:
        """Give what comes, without some numbers: IOPub keeps its order, and what goes by other channels does not."""
        coming = [made for made in self.made if made.comes and made.number not in without]
        iopub = [made for made in coming if made.message.channel == "iopub"]
        for made in coming:
            if made.message.channel != "iopub":
                place = sum(one.number < made.number for one in iopub) + self.dice.randrange(-2, 3)
                iopub.insert(min(max(place, 0), len(iopub)), made)
        return iopub

    def unknowable(self, without: set[int]) -> int:
        """Count the numbers in holes that are no loss, though nobody can know: of results, and of others unheard."""
        within = self.made[: self.place("idle")]
        heard = {made.message.parent_id for made in within if made.comes and made.number not in without}
        return self.unsent + sum(made.message.parent_id not in {CELL, *heard} for made in self.made)

    def lost(self, without: set[int]) -> int:
        return sum(made.is_ours and made.number in without for made in self.made)

    def place(self, state: str) -> int:
        """The number of the cell's busy or idle."""
        (number,) = [made.number for made in self.made if made.is_ours and made.message.execution_state == state]
        return number


def others_of(dice: random.Random, most: int) -> list[str]:
    return [dice.choice([f"{OTHER}_{n}", f"{OURS}_99_{n}"]) for n in range(dice.randrange(most + 1))]


def check(gap: Gap | None, least: int, unknowable: int) -> None:
    assert gap is not None
    assert gap.size >= least, "too small"
    assert not gap.exact or gap.size <= least + unknowable, "exact, and wrong"


PLAYED = settings(max_examples=3 * settings().max_examples)


@PLAYED
@given(st.integers(0, 2**32))
def test_in_ordinary_use_nothing_is_called_a_loss(seed: int) -> None:
    dice = random.Random(seed)
    kernel = Kernel(dice)
    # Of ten results in a row none is sent: that is no ordinary use.
    outputs = [kind for _ in range(dice.randrange(40)) for kind in dice.choice([["stream"], ["unsent", "stream"]])]
    kernel.run(outputs, others_of(dice, 6), others_of(dice, 2))
    cell = Cell(*(made.message for made in kernel.delivered(set())))
    assert cell.lost() == Gap(0, True)
    # Nor where the link breaks and everything is given again, but for what others have left.
    coming = kernel.delivered(set())
    cut = dice.randrange(len(coming) + 1)
    cell = Cell(*(made.message for made in coming[:cut])).breaks().get(*(made.message for made in coming[cut:]))
    gap = cell.lost()
    assert gap is not None and (gap == Gap(0, True) or len(kernel.made) > len(coming))


@PLAYED
@given(st.integers(0, 2**32))
def test_what_a_broken_link_loses_is_never_told_too_small(seed: int) -> None:
    dice = random.Random(seed)
    kernel = Kernel(dice)
    outputs = [dice.choice(["stream"] * 5 + ["unsent"] * dice.randrange(2)) for _ in range(dice.randrange(40))]
    beside, before = others_of(dice, dice.choice([0, 4])), others_of(dice, dice.choice([0, 2]))
    kernel.run(outputs, beside, before)
    ends = kernel.place("idle")
    cuts = sorted(dice.randrange(1, ends + 2) for _ in range(2 * dice.choice([1, 1, 2])))
    without: set[int] = set()
    for low, high in zip(cuts[::2], cuts[1::2], strict=True):
        without |= {n for n in range(low, high) if kernel.made[n - 1].message.channel == "iopub" or dice.random() < 0.5}
    cell, due = Cell(), cuts[::2]
    for made in kernel.delivered(without):
        while due and made.message.channel == "iopub" and made.number >= due[0]:
            cell.breaks()
            due.pop(0)
        cell.get(made.message)
    question = next(made.number for made in reversed(kernel.made) if made.comes and made.message.channel == "shell")
    for behind in (None, question):
        if behind is None and ends in without:
            continue  # counted as far as it was heard
        gap = cell.lost(behind)
        check(gap, kernel.lost(without), kernel.unknowable(without))
        if not (beside or before or {ends, kernel.place("busy")} & without):
            assert gap is not None and gap.exact, "between the cell's own messages, and nobody else was heard"
    unexplained = cell.unexplained(CELL)
    assert unexplained is not None and unexplained >= kernel.lost(without), "it may pass for not run"


@settings(max_examples=settings().max_examples * 3 // 5)
@given(st.integers(0, 2**32))
def test_what_is_dropped_in_a_flood_is_never_told_too_small(seed: int) -> None:
    dice = random.Random(seed)
    kernel = Kernel(dice, rate=FLOOD)
    outputs = ["stream"] * (FLOOD + dice.randrange(1500))
    for _ in range(dice.choice([0, 2])):
        outputs[dice.randrange(len(outputs))] = "unsent"
    beside, before = others_of(dice, dice.choice([0, 4])), others_of(dice, dice.choice([0, 2]))
    kernel.run(outputs, beside, before)
    first, ends = kernel.place("busy") + FLOOD + 20, kernel.place("idle")
    without: set[int] = set()
    for _ in range(dice.randrange(4)):
        start = dice.randrange(min(first, ends), ends + 1)
        without |= set(range(start, min(start + dice.choice([1, 3, 30, 300]), ends + 1)))
    without -= {made.number for made in kernel.made if made.message.channel != "iopub"}
    cell = Cell(*(made.message for made in kernel.delivered(without)))
    gap = cell.lost()
    # Where the idle is lost it is told of in words.
    check(gap, kernel.lost(without - {ends}), kernel.unknowable(without))
    if not (beside or before or without or kernel.unsent):
        assert gap == Gap(0, True)
    # And where it is known that something was dropped.
    check(cell.lost(dropped=True), kernel.lost(without - {ends}), kernel.unknowable(without))


def test_in_a_flood_beside_nobody_just_what_was_dropped_is_counted() -> None:
    dice, end = random.Random(7), 3000
    whole = list(enumerate(flood(2, end), 2))
    for _ in range(20):
        without: set[int] = set()
        for _ in range(dice.randrange(4)):
            start = dice.randrange(FLOOD + 2, end)
            without |= set(range(start, min(start + dice.choice((1, 3, 30, 300)), end)))
        cell = [state(1, "busy"), *(one for number, one in whole if number not in without)]
        gap = lost(*cell, *dice.sample([answer(end), state(end + 1, "idle")], 2))
        assert gap is not None and gap.size == len(without)


@PLAYED
@given(st.integers(0, 2**32))
def test_what_a_server_drops_is_never_told_too_small(seed: int) -> None:
    dice = random.Random(seed)
    kernel = Kernel(dice)
    kernel.run(["stream"] * dice.randrange(40), others_of(dice, 3), others_of(dice, 2))
    without = {made.number for made in kernel.made if made.message.msg_type == "stream" and dice.random() < 0.3}
    cell = Cell(*(made.message for made in kernel.delivered(without)))
    check(cell.lost(dropped=True), kernel.lost(without), 0)


@PLAYED
@given(st.integers(0, 2**32))
def test_a_cell_that_ran_and_was_not_heard_has_numbers_that_nobody_explains(seed: int) -> None:
    dice = random.Random(seed)
    kernel = Kernel(dice)
    kernel.run(["execute_input", *["stream"] * dice.randrange(3)], others_of(dice, 4), [])
    ends = kernel.place("idle")
    low = dice.randrange(1, kernel.place("busy") + 1)
    without = set(range(low, dice.randrange(ends, len(kernel.made)) + 1))
    coming = kernel.delivered(without)
    cell = Cell(*(made.message for made in coming if made.number < low)).breaks()
    cell.get(*(made.message for made in coming if made.number > ends))
    unexplained = cell.unexplained(CELL)
    assert unexplained is None or unexplained >= 4
