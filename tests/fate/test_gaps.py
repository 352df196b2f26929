"""What is missing is counted where that can be, and nowhere else."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.fate.gaps import Gap, Gaps
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD

OURS, CELL, LIFE = "ours", "ours_7", "kernel-life"


def numbered(
    number: int | str,
    *,
    parent: str = CELL,
    asker: str = OURS,
    kind: str = "stream",
    channel: str = "iopub",
    **content: Any,
) -> Message:
    header = {"msg_id": f"{LIFE}_4242_{number}", "msg_type": kind, "session": LIFE}
    return Message.parse(channel, header, {"msg_id": parent, "session": asker} if parent else {}, {}, content)


def last(number: int) -> str:
    return f"{LIFE}_4242_{number}"


def running(upto: int = 10) -> Gaps:
    """A kernel that has been heard up to a number, all of it our cell's, and a link that breaks then."""
    gaps = Gaps(OURS)
    for number in range(upto + 1):
        gaps.receive(numbered(number))
    gaps.broke()
    return gaps


def test_nothing_is_missing_where_nothing_is() -> None:
    gaps = running()
    for number in range(11, 20):
        gaps.receive(numbered(number))
    assert gaps.missing(CELL, last(0), last(19)) == Gap(0, True)


def test_what_a_cell_of_ours_lost_is_exact() -> None:
    gaps = running()
    for number in (36, 37, 40):
        gaps.receive(numbered(number))
    assert gaps.missing(CELL, last(0), last(40)) == Gap(25 + 2, True)
    assert gaps.missing(CELL, last(0), last(37)) == Gap(25, True)
    assert gaps.missing(CELL, last(36), last(40)) == Gap(2, True)


@pytest.mark.parametrize("alone", [False, True])
def test_between_another_request_of_ours_and_the_cell_it_is_exact_where_nobody_else_is_connected(alone: bool) -> None:
    gaps = running()
    gaps.receive(numbered(36, parent="ours_8"))
    assert gaps.missing("ours_8", last(10), last(36), alone=alone) == Gap(25, alone)
    assert gaps.missing(CELL, last(0), last(36), alone=alone) == Gap(25, False), "behind it anything may be missing"
    gaps.receive(numbered(38, parent="ours_8"))
    assert gaps.missing("ours_8", last(36), last(38), alone=alone) == Gap(1, True)


def test_what_the_server_says_in_the_kernel_s_place_changes_nothing() -> None:
    gaps = running()
    header = {"msg_id": f"{OURS}_99_3", "msg_type": "stream", "session": OURS}
    gaps.receive(Message.parse("iopub", header, {"msg_id": CELL, "session": OURS}, {}, {}))
    gaps.receive(numbered(36))
    assert gaps.missing(CELL, last(0), last(36)) == Gap(25, True)


def test_what_children_of_the_cell_print_makes_the_loss_uncountable_and_forgets_nothing_else() -> None:
    gaps = running()
    header = {"msg_id": f"{LIFE}_9999_11", "msg_type": "stream", "session": LIFE}
    gaps.receive(Message.parse("iopub", header, {"msg_id": CELL, "session": OURS}, {}, {}))
    gaps.receive(numbered(36))
    assert gaps.missing(CELL, last(0), last(36)) is None
    for number in (37, 38):
        gaps.receive(numbered(number, parent="ours_8"))
    gaps.receive(numbered(44, parent="ours_8"))
    assert gaps.missing("ours_8", last(37), last(44)) == Gap(5, True)


def test_numbers_that_come_late_are_not_missing() -> None:
    gaps = running()
    for number in (20, 15, 11, 12, 19):
        gaps.receive(numbered(number))
    assert gaps.missing(CELL, last(0), last(20)) == Gap(5, True)


def test_a_reply_that_overtook_the_output_before_the_link_broke_hides_no_loss() -> None:
    gaps = Gaps(OURS)
    for number in range(11):
        gaps.receive(numbered(number))
    gaps.receive(numbered(15, kind="execute_reply", channel="shell"))
    gaps.broke()
    gaps.receive(numbered(16))
    assert gaps.missing(CELL, last(0), last(16)) == Gap(4, True)


def test_another_client_in_the_gap_makes_it_an_upper_bound() -> None:
    gaps = running()
    gaps.receive(numbered(30, parent="theirs_1", asker="theirs"))
    gaps.receive(numbered(31))
    gap = gaps.missing(CELL, last(0), last(31))
    assert gap == Gap(19, False)


def test_another_client_beside_the_gap_does_so_too() -> None:
    gaps = running()
    for number, asker in ((20, OURS), (21, "theirs"), (23, OURS)):
        gaps.receive(numbered(number, parent=CELL if asker == OURS else "theirs_1", asker=asker))
    assert gaps.missing(CELL, last(0), last(23)) == Gap(9 + 1, False)


@pytest.mark.parametrize("side", ["before", "after"])
def test_where_our_cell_does_not_stand_on_both_sides_it_is_an_upper_bound(side: str) -> None:
    gaps = Gaps(OURS)
    for number in range(11):
        gaps.receive(numbered(number, parent="ours_6" if side == "before" else CELL))
    gaps.broke()
    gaps.receive(numbered(20, parent=CELL if side == "before" else "ours_8"))
    assert gaps.missing(CELL, "", last(20)) == Gap(9, False)


def test_what_the_server_asks_in_our_name_is_not_missing() -> None:
    gaps = running()
    # 11 to 13 is its question on control, of which it swallowed the first message; the reply is the server's.
    gaps.receive(numbered(13, parent="ours_99_1", kind="status", execution_state="idle"))
    gaps.receive(numbered(14, parent="ours_99_2", kind="status", execution_state="busy"))
    gaps.receive(numbered(16, parent="ours_99_2", kind="status", execution_state="idle"))
    gaps.receive(numbered(17))
    gap = gaps.missing(CELL, last(0), last(17))
    assert gap is not None and gap.size == 0
    # what it swallowed beyond that is ours
    gaps.receive(numbered(19))
    gap = gaps.missing(CELL, last(0), last(19))
    assert gap is not None and gap.size == 1


def test_a_second_break_counts_on() -> None:
    gaps = running()
    gaps.receive(numbered(13))
    gaps.broke()
    gaps.receive(numbered(16))
    assert gaps.missing(CELL, last(0), last(16)) == Gap(4, True)


@pytest.mark.parametrize("ids", ["uuid", "constant", "no session", "random numbers", "server's"])
def test_ids_that_are_no_counters_are_never_counted(ids: str) -> None:
    gaps, random_ = Gaps(OURS), random.Random(1)

    def make(number: int) -> Message:
        session, msg_id = LIFE, last(number)
        if ids == "uuid":
            msg_id = f"{random_.getrandbits(128):032x}"
        elif ids == "constant":
            msg_id = last(3)
        elif ids == "no session":
            session = ""
        elif ids == "random numbers":
            msg_id = last(random_.getrandbits(30))
        else:
            session, msg_id = OURS, f"uuid-{number}"  # jupyter_server's own
        header = {"msg_id": msg_id, "msg_type": "stream", "session": session}
        return Message.parse("iopub", header, {"msg_id": CELL, "session": OURS})

    for number in range(10):
        gaps.receive(make(number))
    gaps.broke()
    gaps.receive(make(90))
    assert gaps.missing(CELL, "", "") is None


def test_a_kernel_that_started_anew_is_counted_anew() -> None:
    gaps = running()
    header = {"msg_id": "next-life_4243_0", "msg_type": "status", "session": "next-life"}
    gaps.receive(Message.parse("iopub", header, {}))
    assert gaps.missing(CELL, last(0), last(10)) is None


def test_a_link_that_broke_before_the_kernel_was_heard_is_not_counted() -> None:
    gaps = Gaps(OURS)
    gaps.broke()
    for number in range(50, 60):
        gaps.receive(numbered(number))
    gaps.receive(numbered(61))
    assert gaps.missing(CELL, "", last(61)) is None
    assert gaps.missing(CELL, last(52), last(61)) == Gap(1, True), "but from the cell's own beginning it can be"


def test_that_the_numbers_are_a_counter_may_be_learnt_after_the_break() -> None:
    gaps = Gaps(OURS)
    gaps.receive(numbered(0))
    gaps.broke()
    gaps.receive(numbered(4))
    assert gaps.missing(CELL, last(0), last(4)) is None
    for number in range(5, 9):
        gaps.receive(numbered(number))
    assert gaps.missing(CELL, last(0), last(8)) == Gap(3, True)


def test_the_position_is_where_the_next_cell_s_messages_begin() -> None:
    gaps = Gaps(OURS)
    assert gaps.position == ""
    for number in range(11):
        gaps.receive(numbered(number, parent="ours_6"))
    position = gaps.position
    assert position == last(10)
    gaps.broke()
    gaps.receive(numbered(12))  # 11 was our cell's busy
    assert gaps.missing(CELL, position, last(12)) == Gap(1, False)


def test_never_too_few_whatever_is_lost_in_whatever_order() -> None:
    random_ = random.Random(7)
    for _ in range(300):
        gaps = running()
        numbers = list(range(11, 60))
        lost = set(random_.sample(numbers[:-1], random_.randrange(30)))
        coming = [number for number in numbers if number not in lost]
        swap = random_.randrange(len(coming) - 1)
        coming[swap], coming[swap + 1] = coming[swap + 1], coming[swap]
        for number in coming:
            gaps.receive(numbered(number))
        assert gaps.missing(CELL, last(0), last(59)) == Gap(len(lost), True)


def nudge(number: int, state: str, which: str = "4243_1") -> Message:
    """What the server asks in our name when we connect: only its states come to us."""
    return numbered(number, parent=f"{OURS}_{which}", kind="status", execution_state=state)


def test_numbers_behind_a_position_that_nobody_explains() -> None:
    gaps = running()
    for number in (13, 14, 20):
        gaps.receive(numbered(number, parent="ours_8"))
    assert gaps.unexplained(last(10)) == 2 + 5
    assert gaps.unexplained(last(11)) == 1 + 5
    assert gaps.unexplained(last(14)) == 5
    assert gaps.unexplained("") is None
    assert gaps.unexplained("another-life_4_10") is None


def test_only_a_reply_between_two_states_of_the_server_s_request_is_explained() -> None:
    gaps = running()
    gaps.receive(nudge(11, "busy"))
    gaps.receive(nudge(13, "idle"))
    assert gaps.unexplained(last(10)) == 0
    gaps.receive(nudge(16, "idle", "4243_2"))
    assert gaps.unexplained(last(10)) == 2, "its busy and its reply, or somebody's messages"
    gaps.receive(nudge(14, "busy", "4243_2"))
    assert gaps.unexplained(last(10)) == 0, "the replay may be in another order"
    assert gaps.unexplained(last(14)) == 1, "where its reply stands is not sure"


def test_the_server_numbers_its_requests_anew_for_each_link() -> None:
    gaps = running()
    gaps.receive(nudge(11, "busy"))
    gaps.receive(nudge(13, "idle"))
    for number in range(14, 18):
        gaps.receive(numbered(number, parent="ours_8"))
    gaps.broke()
    gaps.receive(nudge(18, "busy"))
    gaps.receive(nudge(20, "idle"))
    assert gaps.unexplained(last(10)) == 0
    for number in range(21, 25):
        gaps.receive(numbered(number, parent="ours_9"))
    counted = gaps.missing("ours_9", last(17), last(24), alone=True)
    assert counted is not None and counted.size == 0


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("which", "exact"),
    [
        (["4243_0", "4243_1"], True),
        (["4243_1", "4243_0"], True),
        (["4243_0"], False),  # that on control may be missing whole
        (["4243_1"], False),
        (["4243_1", "4243_2"], False),
    ],
)
def test_what_is_missing_before_the_server_s_requests_is_the_cell_s_where_all_of_them_are_known(
    alone: bool, which: list[str], exact: bool
) -> None:
    gaps = running()
    top = 14
    for one in which:
        gaps.receive(nudge(top, "busy", one))
        gaps.receive(nudge(top + 2, "idle", one))
        top += 3
    assert gaps.missing(CELL, last(0), last(top), alone=alone) == Gap(3, alone and exact)


def test_a_reply_to_the_server_that_may_stand_behind_the_cell_makes_it_an_upper_bound() -> None:
    gaps = running()
    gaps.receive(nudge(11, "busy", "4243_1"))
    gaps.receive(numbered(13))  # the cell's last
    gaps.receive(nudge(15, "idle", "4243_1"))
    assert gaps.missing(CELL, last(0), last(13)) == Gap(1, False), "12 is the reply, or it is 14"
    assert gaps.missing(CELL, last(0), last(15)) == Gap(1, False), "now something is missing behind the cell"


@pytest.mark.parametrize(("heard", "cell", "idle", "lost"), [([], 13, 15, 1), ([], 13, 14, 0), ([11], 13, 16, 1)])
def test_a_busy_of_the_server_s_request_that_nobody_was_given_is_no_loss_of_the_cell_s(
    heard: list[int], cell: int, idle: int, lost: int
) -> None:
    gaps = running()
    for number in (*heard, cell):
        gaps.receive(numbered(number))
    gaps.receive(nudge(idle, "idle", "4243_1"))
    assert gaps.missing(CELL, last(0), last(cell)) == Gap(lost, True)


def test_requests_of_the_server_s_that_overlap_behind_the_cell_take_nothing_from_its_loss() -> None:
    # As it came from a real server on a loaded machine: the busy of 0 was given to nobody.
    gaps = running()
    for number in (13, 14):
        gaps.receive(numbered(number))
    for number, state, which in ((17, "busy", "4243_1"), (18, "idle", "4243_0"), (20, "idle", "4243_1")):
        gaps.receive(nudge(number, state, which))
    assert gaps.missing(CELL, last(0), last(14), alone=True) == Gap(2, True)


def request_state(number: int, state: str, parent: str) -> Message:
    return numbered(number, parent=parent, kind="status", execution_state=state)


def sent_one_behind_the_other(*heard: Message) -> tuple[Gaps, str]:
    """Two requests, ours_8 and the cell ours_9; of the first this was heard before the link broke.

    As it came from a real server in some of a thousand random resets.
    """
    gaps = Gaps(OURS)
    for number in range(9):
        gaps.receive(numbered(number))
    gaps.sent("ours_8")
    for message in heard:
        gaps.receive(message)
    position = gaps.position
    gaps.sent("ours_9")
    gaps.broke()
    return gaps, position


BUSY = request_state(9, "busy", "ours_8")
REPLY = numbered(10, parent="ours_8", kind="execute_reply", channel="shell")
IDLE = request_state(11, "idle", "ours_8")


@pytest.mark.parametrize("before", [[], [BUSY], [BUSY, REPLY], [BUSY, REPLY, IDLE]])
@pytest.mark.parametrize("after", [[], [IDLE], [REPLY], [REPLY, IDLE]])
def test_what_the_request_before_lost_with_the_cell_s_beginning_is_no_loss_of_the_cell_s(
    before: list[Message], after: list[Message]
) -> None:
    gaps, position = sent_one_behind_the_other(*before)
    for message in after:
        gaps.receive(message)
    gaps.receive(numbered(15, parent="ours_9"))
    assert gaps.missing("ours_9", position, last(15), alone=True) == Gap(3, True)
    # What we ask behind the cell does not change that.
    gaps.sent("ours_10")
    gaps.receive(request_state(18, "busy", "ours_10"))
    gaps.receive(request_state(20, "idle", "ours_10"))
    assert gaps.missing("ours_9", position, last(15), alone=True) == Gap(3, True)


def test_what_was_lost_of_a_request_is_before_the_next_one_whose_beginning_was_heard() -> None:
    gaps, position = sent_one_behind_the_other(BUSY, REPLY)
    gaps.receive(request_state(15, "busy", "ours_9"))
    gaps.receive(numbered(18, parent="ours_9"))
    assert gaps.missing("ours_9", last(15), last(18)) == Gap(2, True)
    assert gaps.missing("ours_9", position, last(18), alone=True) == Gap(3 + 2, True)


def test_what_a_thread_of_the_cell_before_prints_on_hides_no_loss() -> None:
    gaps, position = sent_one_behind_the_other(BUSY, REPLY, IDLE)
    gaps.receive(numbered(16, parent="ours_8"))
    gaps.receive(numbered(18, parent="ours_9"))
    counted = gaps.missing("ours_9", position, last(18), alone=True)
    assert counted is not None and counted.size == 4 + 1


def test_a_request_of_another_thread_that_came_there_after_all_hides_no_loss() -> None:
    gaps, position = sent_one_behind_the_other()
    gaps.receive(numbered(12, parent="ours_9"))
    for number, state in ((20, "busy"), (22, "idle")):
        gaps.receive(request_state(number, state, "ours_8"))
    assert gaps.missing("ours_9", position, last(12), alone=True) == Gap(3, True)


def test_a_request_by_the_link_before_may_have_gone_with_it_and_takes_nothing_from_the_cell_s_loss() -> None:
    gaps, _ = sent_one_behind_the_other(BUSY, REPLY, IDLE)
    gaps.sent("ours_10")
    gaps.broke()
    position = gaps.position
    gaps.sent("ours_11")
    gaps.receive(numbered(15, parent="ours_11"))
    assert gaps.missing("ours_11", position, last(15), alone=True) == Gap(3, True)


def test_nothing_is_explained_where_the_numbers_are_not_known() -> None:
    blind = Gaps(OURS)
    blind.broke()
    for number in range(50, 60):
        blind.receive(numbered(number))
    assert blind.unexplained(last(50)) is None
    whole = Gaps(OURS)
    for number in range(10):
        whole.receive(numbered(number))
    assert whole.unexplained(last(3)) is None, "before a link broke nobody looked"


@pytest.mark.parametrize("number", ["9" * 5000, 10**15, 10**40, "²"])
def test_a_number_that_cannot_be_ends_no_count_in_nonsense(number: object) -> None:
    gaps = running()
    gaps.receive(numbered(str(number)))
    for later in (15, 16):
        gaps.receive(numbered(later))
    gap = gaps.missing(CELL, last(0), last(16))
    assert gap in (None, Gap(4, True))
    for bound in (f"{LIFE}_4242_{number}", ""):
        for gap in (gaps.missing(CELL, bound, last(16)), gaps.missing(CELL, last(0), bound)):
            assert gap is None or 0 <= gap.size <= 4
    assert gaps.unexplained(last(0)) in (None, 4)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40) | st.sampled_from([10**7, 10**15, 10**40, "8" * 5000, ""]),
            st.sampled_from(["iopub", "shell"]),
            st.booleans(),
        ),
        max_size=50,
    ),
    st.integers(0, 50),
)
def test_whatever_the_numbers_are_counts_are_between_zero_and_what_can_be(
    sent: list[tuple[object, str, bool]], breaks_at: int
) -> None:
    gaps = Gaps(OURS)
    for place, (number, channel, ours) in enumerate(sent):
        if place == breaks_at:
            gaps.broke()
        gaps.receive(numbered(str(number), channel=channel, parent=CELL if ours else "other"))
    for first in ("", last(3), gaps.position):
        for upto in ("", last(30), f"{LIFE}_4242_{'8' * 5000}"):
            gap = gaps.missing(CELL, first, upto)
            assert gap is None or 0 <= gap.size <= MOST_AHEAD * len(sent)
