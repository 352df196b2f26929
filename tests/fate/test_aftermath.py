"""What is found out of a cell whose link broke, or whose reply is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.aftermath import MESSAGES_OF_A_CELL, Aftermath, Completion, Proof, ProofStep
from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.protocol.events import Error, Lost, Note, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.watched import (
    PROBE_ANSWER,
    SAFE,
    Watched,
    back,
    broken,
    losses,
    notes,
    running,
)
from tests.support.wire import CELL, entered, error, msg, reply, status, stream

T = timing.current
NOW = 100.0
WHOLE = (status("busy", number=1), entered(number=2), stream("x", number=3), status("idle", number=5))


def after(*messages: Message) -> Aftermath:
    request = Request(CELL)
    made = Aftermath(request)
    for message in messages:
        request.receive(message)
        made.completion.receive(message)
    return made


def test_a_cell_has_ended_with_either_half_and_lacks_its_reply_only_if_it_began() -> None:
    assert not after(entered()).has_ended
    assert after(reply()).has_ended and not after(entered(), status("idle"), reply()).lacks_reply
    assert after(status("idle")).has_ended and not after(status("idle")).lacks_reply
    assert after(entered(), status("idle")).lacks_reply


def test_the_record_is_awaited_until_it_is_due_or_its_question_is_over() -> None:
    one = after(*WHOLE)
    assert not one.awaits_record and not one.is_unrecorded(1e9)
    one.ask_record(NOW)
    assert one.awaits_record and one.has_ended
    assert not one.is_unrecorded(NOW + T.kernel_answer - 0.1) and one.is_unrecorded(NOW + T.kernel_answer)
    one.record_heard(status("busy", parent="record"), NOW)
    assert not one.is_unrecorded(NOW + T.record_grace + 0.01)
    one.record_heard(status("idle", parent="record"), NOW)
    assert one.is_unrecorded(NOW + T.record_grace + 0.01), "the answer itself may be lost as well"
    one.broke()
    assert not one.awaits_record and not one.is_unrecorded(1e9)


def test_a_cell_without_a_record_is_complete_once_its_process_is_heard_to_go_on() -> None:
    one = after(*WHOLE)
    one.ask_record(NOW)
    assert one.complete(NOW, faultless=True) is None
    assert one.is_unrecorded(NOW), "the kernel has said that it does not remember"
    one.completion.receive_later(status("idle", parent="probe", number=9))
    assert one.complete(NOW, faultless=True) is True
    assert one.complete(NOW, faultless=False) is False


@pytest.mark.parametrize("messages", [WHOLE[1:3], (WHOLE[1], WHOLE[3]), (entered(), status("idle"))])
def test_a_cell_of_which_more_than_the_reply_may_be_missing_is_not_complete(messages: tuple[Message, ...]) -> None:
    one = after(*messages)
    one.ask_record(NOW)
    one.completion.receive_later(status("idle", parent="probe", number=9))
    assert one.complete(NOW, faultless=True) is False


def test_what_never_shows_itself_is_not_awaited_for_longer_than_the_record() -> None:
    one = after(*WHOLE)
    one.ask_record(NOW)
    assert one.complete(NOW + T.kernel_answer, faultless=True) is False


def test_a_proof_asks_and_wants_a_count_at_its_end() -> None:
    one = after()
    assert one.tick_proof(NOW) is None
    one.proof = Proof(NOW)
    assert one.tick_proof(NOW) is Action.ASK_SERVER
    one.proof.server_says(1, NOW)
    for later in (T.socket_linger, T.socket_linger + 0.5):
        assert one.tick_proof(NOW + later) is Action.ASK_KERNEL
        one.proof.answered(NOW + later)
    assert not one.wants_proof
    assert one.tick_proof(NOW + 5) is ProofStep.COUNT and one.wants_proof
    one.end_proof()
    assert one.proof is None and not one.wants_proof


# -- played to the watch: a link that breaks and comes back
def test_a_link_that_is_back_at_once_is_one_note_and_the_cell_goes_on() -> None:
    cell = back(running()).get(stream("x\n"), reply(), status("idle"))
    assert cell.fate is Fate.OK
    assert notes(cell) == ["link lost at 14:02:07, back after 0.4 s"]
    assert Action.ASK_SERVER in cell.said


def test_a_link_that_stays_away_is_told_once_and_nobody_is_asked_meanwhile() -> None:
    cell = broken(running(), 200)
    assert cell.fate is None
    assert [type(step) for step in cell.said] == [Started, Note]
    words = "link lost at 14:02:07 (the server closed the connection). It is tried again for 5 min (reconnect_timeout)"
    assert notes(cell) == [f"{words}; Ctrl-C ends the wait"]


def test_time_is_up_while_the_link_is_down() -> None:
    cell = broken(running(timeout=30), 31)
    told = "the kernel: no result within 30 s. The cell may still be running there"
    assert (cell.fate, cell.reason) == (Fate.LEFT_RUNNING, told)


@pytest.mark.parametrize("begin", [running, Watched])
def test_an_interrupt_while_the_link_is_down_ends_the_wait_at_once(begin: Callable[[], Watched]) -> None:
    cell = broken(begin(), 5)
    assert cell.watch.interrupt(cell.now) == []
    assert cell.fate is Fate.LEFT_RUNNING
    lost = "the kernel: link lost at 14:02:07 (the server closed the connection), and no longer waited for"
    assert cell.reason in (f"{lost}; the cell may still be running there", f"{lost}; the cell may run there")


def test_an_interrupt_while_the_link_is_down_tells_the_end_that_is_in() -> None:
    cell = broken(running().get(reply()), 5)
    cell.watch.interrupt(cell.now)
    assert cell.fate is Fate.OK


def test_a_reply_that_was_lost_with_the_link_is_unknown_when_the_kernel_answers_behind_it() -> None:
    cell = back(running()).wait(60)
    assert cell.fate is None, "a kernel that runs does not answer, and that is no sign"
    cell.get(PROBE_ANSWER)
    assert cell.fate is None, "what the server kept for us may come behind"
    assert Action.ASK_RECORD in cell.wait(T.settle + 0.2).said, "the kernel may remember how it ended"
    assert cell.wait(T.kernel_answer).fate is Fate.UNKNOWN
    assert "ended the cell" in cell.reason


def lost_reply(*came: Message) -> Watched:
    cell = back(running()).get(*came, PROBE_ANSWER).wait(T.settle + 0.2)
    assert Action.ASK_RECORD in cell.said
    return cell


def test_the_kernel_s_record_stands_for_a_lost_reply() -> None:
    cell = lost_reply(stream("x\n"))
    cell.said += cell.watch.judgment.kernel_recorded({"status": "ok"}, cell.now)
    assert cell.fate is Fate.OK
    assert any("remembers" in note for note in notes(cell))
    assert cell.watch.judgment.wants_count(cell.now)
    assert cell.watch.judgment.count(Gap(1, True)) == [], "the reply's own number"
    assert [event.count for event in cell.watch.judgment.count(Gap(3, True)) if isinstance(event, Lost)] == [2]


def test_a_failure_that_only_the_record_tells_of_is_shown() -> None:
    cell = lost_reply()
    cell.said += cell.watch.judgment.kernel_recorded({"status": "error", "ename": "OSError", "evalue": "x"}, cell.now)
    assert cell.fate is Fate.FAILED
    assert cell.said[-1] == Error("OSError", "x", ())
    cell = lost_reply(error("OSError", "x"))
    assert not any(
        isinstance(event, Error) for event in cell.watch.judgment.kernel_recorded({"status": "error"}, cell.now)
    )
    assert cell.fate is Fate.FAILED


def test_a_kernel_that_does_not_remember_leaves_it_unknown() -> None:
    cell = lost_reply()
    assert cell.watch.judgment.kernel_recorded(None, cell.now) == []
    assert cell.fate is Fate.UNKNOWN


def test_a_reply_that_comes_after_all_goes_before_the_record() -> None:
    cell = lost_reply().get(reply(), status("idle"))
    assert cell.fate is Fate.OK
    assert cell.watch.judgment.kernel_recorded({"status": "error"}, cell.now) == []
    assert cell.fate is Fate.OK


def test_what_comes_just_behind_the_answer_counts() -> None:
    cell = back(running()).get(PROBE_ANSWER).wait(T.settle - 0.2).get(reply(), status("idle"))
    assert cell.fate is Fate.OK


def proving(cell: Watched | None = None) -> Watched:
    """A cell of which nothing came before the link broke; the kernel answers from behind it."""
    cell = back(cell or Watched()).get(PROBE_ANSWER).wait(T.settle + 0.2)
    assert cell.fate is None, "it may be on its way still, by the connection that broke"
    return cell


def server_counts(cell: Watched, connections: int | None, state: str = "idle", asked: float = 0.0) -> Watched:
    cell.watch.server_says(state, cell.now, connections=connections, asked_at=cell.now + asked)
    return cell


def asked_twice(cell: Watched) -> Watched:
    """The server has no other connection; the kernel is asked, and asked again when that is answered."""
    server_counts(cell, 1)
    for _ in range(2):
        asked = cell.said.count(Action.ASK_KERNEL)
        assert cell.wait(T.socket_linger + 0.2).said.count(Action.ASK_KERNEL) == asked + 1
        assert not cell.watch.state.aftermath.wants_proof
        cell.asked_kernel().get(PROBE_ANSWER)
    return cell.wait(0.5)


def test_a_cell_that_can_no_longer_arrive_and_made_no_message_is_proven_not_run() -> None:
    cell = asked_twice(proving())
    assert cell.watch.state.aftermath.wants_proof and cell.fate is None
    cell.watch.judgment.proven(MESSAGES_OF_A_CELL - 1)
    assert cell.fate is Fate.NOT_RUN
    assert cell.reason == f"the kernel: the link was lost before the cell reached the kernel; {SAFE}"
    assert not cell.watch.judgment.wants_count(cell.now), "what is missing is nothing of the cell's"


@pytest.mark.parametrize("unexplained", [None, MESSAGES_OF_A_CELL, 50])
def test_messages_that_may_have_been_the_cell_s_leave_it_unknown(unexplained: int | None) -> None:
    cell = asked_twice(proving())
    cell.watch.judgment.proven(unexplained)
    assert cell.fate is Fate.UNKNOWN
    assert cell.reason == (
        "the kernel: the link was lost before the kernel confirmed the cell. "
        "It may have run: check before running it again. Its variables may be gone"
    )


@pytest.mark.parametrize("connections", [0, 2, None])
def test_a_server_that_has_another_connection_or_does_not_say_proves_nothing(connections: int | None) -> None:
    cell = server_counts(proving(), connections)
    assert cell.wait(20).fate is Fate.UNKNOWN


def test_a_server_asked_before_the_proof_is_not_believed() -> None:
    # It may have counted the old connection, and ours not yet.
    cell = server_counts(proving(), 1, asked=-5)
    assert cell.wait(20).fate is Fate.UNKNOWN
    assert cell.said.count(Action.ASK_KERNEL) == 1


def test_the_cell_may_still_arrive_while_the_proof_is_sought() -> None:
    cell = server_counts(proving(), 1).wait(T.socket_linger).get(status("busy"), stream("x\n")).wait(3)
    assert cell.fate is None
    assert not cell.watch.state.aftermath.wants_proof
    assert cell.get(reply(), status("idle")).fate is Fate.OK


def test_output_without_its_busy_is_a_cell_that_ran() -> None:
    cell = back(Watched()).get(stream("x\n"), PROBE_ANSWER).wait(T.settle + 0.2)
    assert Action.ASK_RECORD in cell.said
    assert cell.wait(30).fate is Fate.UNKNOWN
    assert "ended the cell" in cell.reason


def test_a_second_break_begins_the_proof_anew() -> None:
    cell = proving(server_counts(proving(), 1).wait(1))
    assert not cell.wait(T.socket_linger + 1).watch.state.aftermath.wants_proof
    assert asked_twice(cell).watch.state.aftermath.wants_proof


def test_an_end_of_the_kernel_ends_the_proof() -> None:
    for sign in EndSignal:
        cell = server_counts(proving(), 1).sign(sign).wait(30)
        assert cell.fate is not Fate.NOT_RUN, "it may have begun, and what it sent went with the link"
        assert not cell.watch.state.aftermath.wants_proof


def test_an_interrupt_does_not_wait_for_the_proof() -> None:
    cell = proving()
    assert cell.watch.interrupt(cell.now) == []
    assert cell.fate is Fate.UNKNOWN


def test_a_kernel_that_ended_while_the_link_was_down_has_died() -> None:
    cell = back(running())
    cell.watch.server_says(None, cell.now)
    assert cell.fate is Fate.DIED
    cell = back(running()).sign(EndSignal.NEW_LIFE).get(PROBE_ANSWER).wait(T.settle + 0.2)
    assert cell.fate is Fate.DIED


def test_an_answer_that_the_next_break_swallowed_is_asked_for_again() -> None:
    cell = back(back(running())).wait(5)
    assert cell.said.count(Action.ASK_KERNEL) == 2
    assert cell.get(reply(), status("idle")).fate is Fate.OK


def test_a_question_that_a_free_kernel_does_not_answer_is_asked_again_and_a_busy_one_is_left_alone() -> None:
    cell = back(running()).wait(T.kernel_answer + 1)
    assert cell.said.count(Action.ASK_KERNEL) == 1
    cell.watch.server_says("busy", cell.now)
    assert cell.wait(30).said.count(Action.ASK_KERNEL) == 1
    cell.watch.server_says("idle", cell.now)
    assert cell.wait(0.1).said.count(Action.ASK_KERNEL) == 2
    cell.asked_kernel()
    assert cell.wait(30).said.count(Action.ASK_KERNEL) == 2
    assert cell.get(PROBE_ANSWER).wait(T.settle + 0.2).said.count(Action.ASK_RECORD) == 1


def test_what_is_missing_is_told_when_stragglers_are_in_and_more_of_it_later() -> None:
    cell = back(running())
    assert not cell.watch.judgment.wants_count(cell.now)
    cell.wait(T.stragglers)
    assert cell.watch.judgment.wants_count(cell.now)
    for gap, told in ((Gap(0, True), 0), (Gap(25, True), 1), (Gap(25, True), 1), (Gap(27, False), 2)):
        cell.said += cell.watch.judgment.count(gap)
        assert len(losses(cell)) == told
    first, more = losses(cell)
    assert first == Lost("25 messages missing between 14:02:07 and 14:02:10 (link lost)", 25)
    assert more.reason.startswith("up to 2 messages missing") and more.count == 2
    assert cell.watch.losses.missing == 27


@pytest.mark.parametrize("answer_first", [False, True])
def test_an_idle_that_was_lost_with_the_link_is_counted_once_iopub_has_come_to_what_was_asked_behind_it(
    answer_first: bool,
) -> None:
    cell = back(running().get(reply()))
    word = status("busy", parent="probe")
    cell.get(*([PROBE_ANSWER, word] if answer_first else [word]))
    assert cell.fate is None, "what the server kept for us may come behind"
    assert cell.wait(T.settle + 0.2).fate is Fate.OK
    assert cell.watch.state.probe.answer_id == word.msg_id, "up to here it is counted"
    (lost,) = cell.watch.judgment.count(Gap(1, True))
    assert lost == Lost("1 message missing between 14:02:07 and 14:02:10 (link lost)", 1)
    assert cell.watch.losses.missing == 1


def test_an_idle_that_the_server_gives_again_behind_a_later_word_is_no_loss() -> None:
    cell = back(running().get(reply())).get(status("busy", parent="probe"), stream("kept"), status("idle"))
    assert (cell.fate, cell.watch.losses.missing) == (Fate.OK, 0)
    assert Stream("stdout", "kept") in cell.said


def test_a_word_from_behind_the_reply_that_the_next_break_follows_proves_nothing() -> None:
    cell = back(running().get(reply())).get(status("busy", parent="probe"))
    assert back(cell).wait(T.settle + 0.2).fate is None
    assert cell.get(status("idle")).fate is Fate.OK


def test_nothing_is_counted_between_the_idle_and_the_reply() -> None:
    cell = back(running()).wait(T.stragglers).get(status("idle"))
    assert not cell.watch.judgment.wants_count(cell.now)
    assert cell.get(reply()).watch.judgment.wants_count(cell.now)


def test_nothing_is_counted_of_a_cell_that_may_prove_not_to_have_run() -> None:
    cell = back(Watched()).wait(T.stragglers + 0.5)
    assert not cell.watch.judgment.wants_count(cell.now)
    assert cell.get(stream("it ran")).watch.judgment.wants_count(cell.now)


def test_a_kernel_that_numbers_nothing_is_told_of_once() -> None:
    cell = back(running())
    cell.said += cell.watch.judgment.count(None) + cell.watch.judgment.count(None)
    assert sum("cannot be told" in note for note in notes(cell)) == 1
    assert not losses(cell)
    assert cell.watch.losses.missing is None


def test_over_a_link_that_never_broke_is_counted_at_the_end_alone() -> None:
    cell = running().get(stream("more")).wait(T.stragglers + 0.5)
    assert not cell.watch.judgment.wants_count(cell.now)
    assert cell.get(reply(), status("idle")).watch.judgment.wants_count(cell.now)


def test_a_cell_whose_beginning_was_not_heard_says_so() -> None:
    cell = Watched().get(reply(), status("idle"))
    assert cell.fate is Fate.OK
    assert "start-of-cell" in losses(cell)[0].reason
    assert cell.watch.losses.missing is None
    assert not losses(running().get(reply(), status("idle")))
    assert not losses(Watched().get(reply("aborted"), status("idle")))


# -- the steps of a proof


def test_each_step_is_taken_in_its_turn() -> None:
    proof = Proof(100.0)
    assert proof.tick(100.0) is Action.ASK_SERVER
    assert proof.tick(100.1) is None
    proof.server_says(1, 100.0)
    assert proof.tick(100.0 + T.socket_linger - 0.1) is None, "a socket that was closed may still send"
    assert proof.tick(100.0 + T.socket_linger) is Action.ASK_KERNEL
    assert proof.tick(103.0) is None
    proof.answered(103.0)
    assert proof.tick(103.0) is Action.ASK_KERNEL, "a busy kernel reads its queues in turns"
    proof.answered(103.1)
    assert proof.tick(103.2) is None
    assert proof.tick(103.2 + T.settle) is ProofStep.COUNT


def test_a_server_that_has_not_closed_the_old_connection_is_asked_again() -> None:
    proof = Proof(100.0)
    for number in range(4):
        assert proof.tick(100.0 + number * T.ask_connections_again) is Action.ASK_SERVER
        proof.server_says(2, 100.0 + number * T.ask_connections_again)
    proof.server_says(1, 103.5)
    assert proof.tick(103.5 + T.socket_linger) is Action.ASK_KERNEL


def test_what_the_server_said_before_does_not_count() -> None:
    proof = Proof(100.0)
    proof.server_says(1, 99.9)
    assert proof.tick(100.0) is Action.ASK_SERVER
    assert proof.tick(100.5) is None


def test_a_server_that_does_not_count_ends_it_at_once() -> None:
    proof = Proof(100.0)
    proof.server_says(None, 100.1)
    assert proof.tick(100.2) is ProofStep.GIVE_UP


def test_it_ends_whatever_does_not_come() -> None:
    for connections in (None, 1):
        proof = Proof(100.0)
        if connections:
            proof.server_says(connections, 100.0)
        assert proof.tick(100.0 + T.proof) is ProofStep.GIVE_UP


# -- what the kernel's own messages prove of a cell whose reply was lost


def completion(*messages: Message, later: Message | None = None) -> Completion:
    made = Completion()
    for message in messages:
        made.receive(message)
    if later is not None:
        made.receive_later(later)
    return made


MIDWAY = (status("busy", number=3), entered(number=4), stream("x", number=5), status("idle", number=7))
LATER = status("idle", parent="probe", number=10)


def test_a_cell_of_which_the_reply_alone_is_missing_and_a_later_answer_of_the_same_process() -> None:
    assert not completion(*MIDWAY).is_proven
    assert completion(*MIDWAY).is_whole and completion(*MIDWAY).is_awaited
    assert completion(*MIDWAY, later=LATER).is_proven
    nothing_shown = (entered(number=4), status("idle", number=6))
    assert completion(*nothing_shown, later=LATER).is_proven


def test_questions_and_widgets_have_numbers_too() -> None:
    asked = msg("input_request", {"prompt": ""}, channel="stdin", number=5)
    comm = msg("comm_msg", {}, number=6)
    assert completion(entered(number=4), asked, comm, status("idle", number=8), later=LATER).is_proven


def test_what_comes_behind_the_idle_is_no_part_of_it() -> None:
    assert completion(*MIDWAY, stream("a thread's", number=8), later=LATER).is_proven
    holed = (entered(number=4), status("idle", number=7), stream("a thread's", number=8))
    assert not completion(*holed, later=LATER).is_whole


def test_what_a_child_prints_under_numbers_of_its_own_counts_for_nothing() -> None:
    child = stream("x", sender="kernel-life-1", number=6)
    child.header["msg_id"] = "kernel-life-1_8_6"
    assert not completion(entered(number=4), child, status("idle", number=7), later=LATER).is_whole


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (status("busy", number=3), status("idle", number=5)),
        (entered(number=4),),
        (entered(number=4), status("idle", number=7)),
        (entered(), status("idle")),
        (entered(number=4), status("idle", number=6, sender="kernel-life-2")),
        (entered(number=4), status("idle", number=6, sender="our-session")),
    ],
    ids=["nothing", "not entered", "not ended", "a hole", "no numbers", "another life", "a server's word"],
)
def test_what_proves_nothing(messages: tuple[Message, ...]) -> None:
    assert not completion(*messages, later=LATER).is_proven


@pytest.mark.parametrize(
    "later",
    [
        status("busy", parent="probe", number=10),
        status("idle", parent="probe"),
        status("idle", parent="probe", number=5),
        status("idle", parent="probe", number=10, sender="kernel-life-2"),
    ],
    ids=["busy alone", "no numbers", "numbered anew", "another life"],
)
def test_a_later_answer_that_proves_nothing(later: Message) -> None:
    assert not completion(*MIDWAY, later=later).is_proven
