"""The rules of a cell's fate, with a clock of our own: no test here waits for anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_bridge_magic.choices import RECONNECT
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Error, Lost, Note, Queued, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.watched import (
    DATA_RATE,
    PROBE_ANSWER,
    SKIPPED,
    Watched,
    back,
    broken,
    losses,
    notes,
    running,
)
from tests.support.wire import CELL, OURS, error, msg, reply, status, stream

T = timing.current


# -- where nothing goes wrong


def test_ok_needs_reply_and_idle() -> None:
    cell = running().get(stream("a\n"), reply())
    assert cell.fate is None
    assert cell.get(status("idle")).fate is Fate.OK
    assert cell.watch.shown == 1
    assert cell.watch.losses.missing == 0


def test_output_after_the_reply_is_still_shown() -> None:
    cell = running().get(reply(), stream("late\n"), status("idle"))
    assert Stream("stdout", "late\n") in cell.said
    assert cell.fate is Fate.OK


def test_the_reply_says_whether_an_error_fails_the_cell() -> None:
    assert running().get(error(), reply("error"), status("idle")).fate is Fate.FAILED
    assert running().get(error(), stream("goes on\n"), reply("ok"), status("idle")).fate is Fate.OK
    assert running().get(error(), reply("ok"), status("idle")).fate is Fate.OK


@pytest.mark.parametrize("implementation", ["Octave Kernel", "octave_kernel", "xeus-octave"])
def test_where_the_reply_always_says_ok_an_error_fails_the_cell(implementation: str) -> None:
    cell = running()
    cell.watch = CellWatch(cell.watch.request, now=cell.now, implementation=implementation)
    assert cell.get(error(), reply("ok"), status("idle")).fate is Fate.FAILED
    assert cell.watch.request.error == Error("ValueError", "no", ("ValueError: no",))


def test_a_foreign_interrupt_stands_where_it_came() -> None:
    interrupt = error("KeyboardInterrupt", "")
    cell = running().get(interrupt, stream("cleaned\n"), reply("error", ename="KeyboardInterrupt"), status("idle"))
    assert cell.fate is None  # it may still be a shutdown
    assert cell.wait(T.shutdown_reply + 0.2).fate is Fate.FAILED
    assert [type(event) for event in cell.said if isinstance(event, Error | Stream)] == [Error, Stream]
    caught = running().get(interrupt, reply("ok"), status("idle"))
    assert caught.fate is Fate.OK
    assert sum(isinstance(event, Error) for event in caught.said) == 1
    shut = running().get(interrupt, stream("cleaned\n"), status("idle")).sign(EndSignal.RESTART).wait(T.settle + 0.3)
    assert shut.fate is Fate.DIED


def test_a_foreign_interrupt_that_was_caught_does_not_wait_for_the_end() -> None:
    cell = running().get(error("KeyboardInterrupt", "")).wait(T.shutdown_reply + 0.2)
    assert cell.fate is None
    assert sum(isinstance(event, Error) for event in cell.said) == 1


def test_an_error_that_only_the_reply_tells_of_is_told_once_at_the_end() -> None:
    cell = running().get(reply("error", ename="UsageError", evalue="bad"), status("idle"))
    assert cell.said.count(Error("UsageError", "bad")) == 1
    assert cell.fate is Fate.FAILED


def test_aborted_before_it_began_is_not_run() -> None:
    cell = Watched().get(reply("aborted"), status("idle"))
    assert cell.fate is Fate.NOT_RUN
    assert cell.reason == SKIPPED


def test_f41_aborted_by_another_s_error_is_not_run_though_the_kernel_says_busy_and_idle_of_it() -> None:
    cell = running().get(reply("aborted"), status("idle"))
    assert cell.fate is Fate.NOT_RUN
    assert cell.reason == SKIPPED


def test_f41_nothing_is_proven_where_the_link_was_away_or_we_have_interrupted() -> None:
    away = running()
    away.watch.broke("reset", "10:00:00", away.now)
    away.watch.back(0.1, "10:00:00", away.now)
    assert away.get(reply("aborted"), status("idle")).fate is Fate.FAILED
    interrupted = running()
    interrupted.watch.interrupt(interrupted.now)
    assert interrupted.get(reply("abort"), status("idle")).fate is Fate.FAILED


def test_aborted_after_it_began_is_an_interrupt() -> None:
    # bash_kernel, after an interrupt
    cell = running().get(msg("execute_input", {"code": "sleep 9"}), reply("abort"), status("idle"))
    assert cell.fate is Fate.FAILED
    assert cell.watch.request.error == Error("KeyboardInterrupt", "")


# -- what is missing


def test_an_idle_that_was_lost_in_a_flood_is_told_once_the_kernel_speaks_of_what_came_behind_it() -> None:
    cell = running().get(reply()).wait(T.reply_grace - 0.2)
    assert cell.fate is None
    cell.get(stream("more")).wait(T.reply_grace - 0.2)
    assert cell.fate is None
    assert Action.ASK_KERNEL not in cell.said
    cell.wait(0.5).asked_kernel()
    cell.said.clear()
    cell.get(PROBE_ANSWER).wait(T.reply_grace + 1)
    assert cell.fate is None, "the answer comes by a channel of its own"
    assert Action.ASK_KERNEL not in cell.said
    cell.get(status("busy", parent="probe"))
    assert cell.fate is Fate.OK
    assert cell.watch.judgment.count(Gap(7, True)) == [
        Lost("7 messages missing (made faster than the kernel can send; --durable loses none)", 7)
    ]
    assert cell.watch.losses.missing == 7


def test_an_idle_that_was_lost_by_a_kernel_that_numbers_nothing_is_told() -> None:
    cell = running().get(reply()).wait(T.reply_grace + 0.1).asked_kernel().get(status("busy", parent="probe"))
    assert cell.fate is Fate.OK
    (lost,) = cell.watch.judgment.count(None)
    assert isinstance(lost, Lost) and "end-of-cell" in lost.reason
    assert cell.watch.losses.missing is None


def test_output_that_is_long_behind_the_reply_is_waited_for() -> None:
    cell = running().get(reply()).wait(T.reply_grace + 0.1).asked_kernel().get(PROBE_ANSWER).wait(T.iopub_backlog - 3)
    cell.get(stream("at last"), status("idle"), status("busy", parent="probe"))
    assert cell.fate is Fate.OK
    assert Stream("stdout", "at last") in cell.said
    assert cell.watch.judgment.count(Gap(0, True)) == []


def test_what_the_kernel_said_of_an_older_question_proves_nothing() -> None:
    # Deno answers while a cell of ours awaits something.
    cell = running()
    for _ in range(2):
        cell.watch.server_says("idle", cell.now)
    cell.wait(0.2).asked_kernel().get(status("idle", parent="probe"), reply()).wait(0.2)
    assert cell.fate is None


def test_where_iopub_says_no_more_the_reply_is_enough_in_the_end() -> None:
    cell = running().get(reply()).wait(T.reply_grace + 0.1).asked_kernel().wait(T.iopub_backlog - T.reply_grace - 0.5)
    assert cell.fate is None
    assert cell.wait(1).fate is Fate.OK


@pytest.mark.parametrize(("text", "setting"), [(DATA_RATE, "data"), ("IOPub message rate exceeded.\n…", "msg")])
def test_what_the_server_drops_is_reported_not_printed(text: str, setting: str) -> None:
    cell = running()
    assert not cell.watch.losses.limited
    for _ in range(3):
        cell.get(stream(text, "stderr", sender=OURS))
    cell.get(reply(), status("idle"))
    assert sum(isinstance(event, Note) and "rate limit" in event.text for event in cell.said) == 1
    assert not any(isinstance(event, Stream) for event in cell.said)
    assert cell.fate is Fate.OK
    assert cell.watch.losses.limited
    (lost,) = cell.watch.judgment.count(Gap(14_000, True))
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("14000 messages missing (dropped by the server's rate limit; ")
    assert f"iopub_{setting}_rate_limit" in lost.reason
    assert cell.watch.losses.missing == 14_000


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("gap", [None, Gap(0, True)])
def test_what_the_server_drops_and_nobody_can_count_is_told(breaks: bool, gap: Gap | None) -> None:
    cell = running().get(stream(DATA_RATE, "stderr", sender=OURS))
    if breaks:
        back(cell)
    cell.get(reply(), status("idle"))
    lost, *more = cell.watch.judgment.count(gap)
    assert isinstance(lost, Lost) and "iopub_data_rate_limit" in lost.reason
    assert bool(more) is (breaks and gap is None), "what the link lost is told by itself"
    assert cell.watch.losses.missing is None


def test_a_reply_that_was_lost_is_unknown_once_the_kernel_answers_from_behind_it() -> None:
    cell = running().get(status("idle")).wait(T.reply_grace + 0.2).asked_kernel().get(PROBE_ANSWER)
    assert cell.fate is Fate.UNKNOWN


def test_nobody_answers_from_behind_it() -> None:
    cell = running().get(status("idle")).wait(T.reply_grace + 0.2).asked_kernel().wait(T.kernel_answer + 1)
    assert cell.fate is Fate.UNKNOWN


# -- queued


def test_a_queued_cell_is_told_of_once_within_a_second() -> None:
    cell = Watched().wait(T.queued_after + 0.2)
    assert cell.said == [Queued()]
    assert T.queued_after < 1
    assert cell.wait(3).said == [Queued()]
    assert Queued() not in running().wait(3).said


def test_a_kernel_that_was_heard_to_be_free_may_be_slow() -> None:
    cell = Watched()
    cell.around(free=True)
    assert cell.wait(T.queued_after + 0.2).said == []
    assert cell.wait(T.queued_after_free).said == [Queued()]


def test_a_cell_is_not_called_queued_while_what_has_come_is_not_read() -> None:
    cell = Watched()
    cell.around(unread=True)
    assert cell.wait(T.queued_after_free).said == []
    cell.around(unread=False)
    assert cell.wait(0.1).said == [Queued()]


def test_an_interrupt_while_queued_interrupts_nobody() -> None:
    cell = Watched()
    assert cell.watch.interrupt(cell.now) == []
    assert cell.fate is Fate.LEFT_RUNNING
    assert cell.reason == (
        "the kernel: no longer waiting. The kernel had not confirmed the cell, so it was not interrupted; "
        "it may run there"
    )


def test_what_it_waits_for_is_told_anew_when_that_has_changed_for_good() -> None:
    ours, theirs = Queued("10:00:00", ours=True), Queued("10:00:07")
    cell = Watched()
    cell.around(ahead=ours)
    assert cell.wait(T.queued_after + 0.2).said == [ours]
    cell.around(ahead=Queued())
    cell.wait(T.queued_after / 2).around(ahead=theirs)
    assert cell.wait(T.queued_after / 2).said == [ours], "what is over at once is not worth a line"
    assert cell.wait(T.queued_after).said == [ours, theirs]
    cell.get(status("busy")).around(ahead=Queued())
    assert Queued() not in cell.wait(3).said


@pytest.mark.parametrize(
    ("waits_for", "behind"),
    [
        (Queued(), ""),
        (Queued(starting=True), ""),
        (Queued("10:00:00", ours=True), " (behind your earlier cell)"),
        (Queued("10:00:00"), " (behind another client's cell)"),
        (Queued("10:00:00", ours=True, sure=False), " (probably behind your earlier cell)"),
    ],
)
def test_the_note_and_the_error_name_the_same_cause(waits_for: Queued, behind: str) -> None:
    cell = Watched()
    cell.around(ahead=waits_for)
    assert cell.wait(T.queued_after + 0.2).said == [waits_for]
    cell.around(ahead=Queued("10:00:09"))  # too short ago to have been told
    cell.watch.interrupt(cell.now)
    assert cell.fate is Fate.LEFT_RUNNING
    assert cell.reason == (
        f"the kernel: no longer waiting. The cell is still queued{behind} and cannot be withdrawn; "
        "it will run when its turn comes"
    )


def test_what_is_said_of_a_cell_that_has_not_begun_is_no_more_than_is_known() -> None:
    queued, sent = Watched().wait(T.queued_after + 0.2), Watched()
    for cell, words in ((queued, "The cell is still queued and cannot be withdrawn"), (sent, "it may run there")):
        cell.watch.interrupt(cell.now)
        assert words in cell.reason
    for cell, words in ((Watched(T.queued_after / 2), "may run there"), (Watched(5), "is still queued there")):
        assert words in cell.wait(6).reason


def test_the_first_interrupt_goes_there_and_the_second_detaches() -> None:
    cell = running()
    assert cell.watch.interrupt(cell.now) == [Action.INTERRUPT]
    assert cell.fate is None
    assert cell.watch.interrupt(cell.now) == []
    assert cell.fate is Fate.LEFT_RUNNING


@pytest.mark.parametrize("last", [status("idle"), reply()])
def test_a_cell_that_is_over_there_is_not_interrupted_any_more(last: Message) -> None:
    cell = running().get(last)
    assert cell.watch.interrupt(cell.now) == [], "it would hit the next cell, and that may be somebody else's"
    assert cell.fate is None


def test_who_does_not_wait_for_the_rest_is_told_what_is_known() -> None:
    cell = running().get(reply())
    cell.watch.interrupt(cell.now)
    cell.watch.interrupt(cell.now)
    assert cell.fate is Fate.OK
    assert any(isinstance(event, Lost) for event in cell.watch.judgment.count(None))
    cell = running().get(status("idle"))
    cell.watch.interrupt(cell.now)
    cell.watch.interrupt(cell.now)
    assert cell.fate is Fate.UNKNOWN
    assert cell.reason == (
        "the kernel has ended the cell, but its reply was not waited for. Check before running it again. "
        "Its variables may be gone"
    )


@pytest.mark.parametrize("seconds", [T.reply_grace / 2, T.reply_grace + 1])
def test_a_cell_whose_end_is_in_is_not_said_to_go_on_when_its_time_is_up(seconds: float) -> None:
    up = max(seconds, T.reply_grace) + 0.2
    assert running(seconds).get(reply()).wait(up).fate is Fate.OK
    assert running(seconds).get(error(), reply("error")).wait(up).fate is Fate.FAILED
    cell = running(seconds).get(status("idle")).wait(up)
    assert cell.fate is Fate.UNKNOWN
    assert "the kernel has ended the cell, but its reply was not waited for. Check before running" in cell.reason


@pytest.mark.parametrize(
    ("first", "rest", "fate"),
    [
        ((status("idle"),), reply(), Fate.OK),
        ((reply(),), status("idle"), Fate.OK),
        ((error(), status("idle")), reply("error"), Fate.FAILED),
    ],
)
def test_time_that_runs_out_between_the_two_halves_of_an_end_does_not_lose_the_second(
    first: tuple[Message, ...], rest: Message, fate: Fate
) -> None:
    """Idle and reply come by channels of their own, some milliseconds apart."""
    cell = running(1.0).wait(0.99).get(*first).wait(0.2)
    assert cell.fate is None, "its time is up, and it has ended"
    assert cell.get(rest).fate is fate


@pytest.mark.parametrize("end", ["leave", "interrupt", "time"])
@pytest.mark.parametrize("more", [(), (reply("error", ename="KeyboardInterrupt"), status("idle"))])
def test_an_error_that_was_held_back_is_shown_by_whoever_waits_no_longer(end: str, more: tuple[Message, ...]) -> None:
    """A foreign interrupt may be the first act of a shutdown; until that is known it waits for half a second."""
    cell = running(T.shutdown_reply / 2 if end == "time" else None).get(error("KeyboardInterrupt", ""), *more)
    if end == "time":
        cell.wait(T.shutdown_reply / 2 + 0.1)
    for _ in range(2 * (end == "interrupt")):
        cell.said += cell.watch.interrupt(cell.now)
    if end == "leave":
        cell.said += cell.watch.leave("told to end")
    assert cell.fate is (Fate.FAILED if more else Fate.LEFT_RUNNING)
    assert [event.ename for event in cell.said if isinstance(event, Error)] == ["KeyboardInterrupt"]
    assert not any(isinstance(event, Lost) for event in cell.watch.judgment.count(Gap(0, True)))


def test_an_interrupt_that_does_not_help_gets_one_line() -> None:
    cell = running()
    cell.watch.interrupt(cell.now)
    cell.wait(T.slow_interrupt - 0.2)
    assert notes(cell) == []
    cell.wait(0.4)
    assert T.slow_interrupt == 1, "who sees nothing happen for longer presses again"
    cell.wait(4)
    assert notes(cell) == ["interrupt sent, but the cell is still running. Ctrl-C again to leave it running there"]


def test_an_interrupted_cell_ends_as_the_kernel_says() -> None:
    cell = running()
    cell.watch.interrupt(cell.now)
    cell.get(error("KeyboardInterrupt", ""), reply("error"), status("idle"))
    assert cell.fate is Fate.FAILED
    assert cell.watch.request.error == Error("KeyboardInterrupt", "", ("KeyboardInterrupt: ",))


@pytest.mark.parametrize(("cell", "words"), [(Watched(5), "still queued there"), (running(5), "still running there")])
def test_the_timeout_is_total_and_says_where_the_cell_is(cell: Watched, words: str) -> None:
    cell.wait(4.9).get(stream("x"))
    assert cell.fate is None
    cell.wait(0.2)
    assert cell.fate is Fate.LEFT_RUNNING
    assert cell.reason == f"the kernel: no result within 5 s. The cell is {words}"


@pytest.mark.parametrize(("timeout", "gone"), [(8, 5.7), (2.5, 1.0), (300, 299.95), (0.5, 13)])
def test_a_timeout_is_told_as_it_was_given_whatever_the_connection_took_of_it(timeout: float, gone: float) -> None:
    cell = Watched()
    cell.watch = CellWatch(Request(CELL), now=cell.now, timeout=timeout, since=cell.now - gone)
    cell.get(status("busy"))
    left = max(timeout - gone, 0.1)
    assert cell.wait(left - 0.05).fate is None
    assert cell.wait(0.1).fate is Fate.LEFT_RUNNING
    assert cell.reason == f"the kernel: no result within {timeout:g} s. The cell is still running there"


# -- a link that ends


@pytest.mark.parametrize(
    ("begin", "answer", "fate"),
    [
        (running, "busy", Fate.UNKNOWN),
        (running, None, Fate.DIED),
        (running, "", Fate.DIED),
        (Watched, "busy", Fate.UNKNOWN),
        (Watched, None, Fate.UNKNOWN),
    ],
)
def test_a_broken_link_is_resolved_by_the_server(begin: Callable[[], Watched], answer: str | None, fate: Fate) -> None:
    cell = begin()
    cell.watch.closed("the server closed the connection", cell.now)
    cell.wait(0.2)
    assert Action.ASK_SERVER in cell.said
    cell.watch.server_says(answer, cell.now)
    assert cell.fate is fate


def test_a_kernel_s_own_sockets_closed_is_its_end() -> None:
    cell = running().sign(EndSignal.LEFT)
    cell.watch.closed("the kernel closed its sockets", cell.now)
    assert cell.wait(T.settle + 0.2).fate is Fate.DIED


def test_a_server_that_does_not_accept_us_any_more_cannot_tell_the_kernel_s_fate() -> None:
    cell = running()
    cell.watch.closed("the server closed the connection, and our token is no longer valid there", cell.now, denied=True)
    assert cell.fate is Fate.UNKNOWN
    assert cell.reason == (
        "the kernel: link lost (the server closed the connection, and our token is no longer valid there). "
        "The cell may still be running: check before running it again. Its variables may be gone"
    )


# -- a link that never comes back


def lost(cell: Watched, seconds: float = 0.0) -> Watched:
    """The link has broken, and was last heard `seconds` before."""
    cell.around(lost_since=cell.now - seconds)
    return broken(cell, 0.0)


@pytest.mark.parametrize(
    ("begin", "words"), [(running, "The cell may still be running"), (Watched, "The cell may have run")]
)
def test_a_link_that_never_comes_back_is_given_up_after_five_minutes(begin: Callable[[], Watched], words: str) -> None:
    cell = lost(begin()).wait(RECONNECT - 0.5)
    assert cell.fate is None and not cell.watch.gave_link_up
    assert "It is tried again for 5 min (reconnect_timeout); Ctrl-C ends the wait" in notes(cell)[0]
    cell.wait(1)
    assert cell.fate is Fate.UNKNOWN and cell.watch.gave_link_up
    assert cell.reason == (
        "the kernel: link lost at 14:02:07 (the server closed the connection), not back within 5 min. "
        f"{words}: check before running it again. Its variables may be gone"
    )


def test_it_counts_from_the_last_sign_of_the_link_and_not_from_before_the_cell() -> None:
    heard = running().wait(40).get(stream("x\n")).wait(60)
    assert lost(heard, 60).wait(RECONNECT - 60.5).fate is None
    assert heard.wait(1).fate is Fate.UNKNOWN
    sent = lost(running(), 1000).wait(RECONNECT - 0.5)
    assert sent.fate is None, "an idle link gives no sign for long"
    assert sent.wait(1).fate is Fate.UNKNOWN


def test_each_return_of_the_link_begins_the_count_anew() -> None:
    cell = running()
    for _ in range(5):
        lost(cell).wait(RECONNECT - 1)
        cell.around(lost_since=None)
        cell.said += cell.watch.back(RECONNECT - 1, "14:07:06", cell.now)
        cell.wait(1)
    assert cell.fate is None
    assert cell.get(reply(), status("idle")).fate is Fate.OK


def test_how_long_is_the_users_to_say() -> None:
    for limit, words in ((5.0, "5 s"), (90.0, "90 s"), (7200.0, "2 h")):
        cell = running()
        cell.around(reconnect_timeout=limit)
        assert lost(cell).wait(limit - 0.5).fate is None
        assert f"not back within {words}. The" in cell.wait(1).reason
    for_ever = running()
    for_ever.around(reconnect_timeout=None)
    assert lost(for_ever).wait(10 * RECONNECT).fate is None
    assert "It is tried again; Ctrl-C ends the wait" in notes(for_ever)[0]


def test_the_time_of_the_cell_wins_where_it_is_shorter() -> None:
    cell = lost(running(timeout=30)).wait(31)
    assert (cell.fate, cell.watch.gave_link_up) == (Fate.LEFT_RUNNING, False)


def test_what_is_known_of_the_end_is_told_though_the_link_is_given_up() -> None:
    assert lost(running().get(reply())).wait(RECONNECT + 1).fate is Fate.OK
    assert lost(running().get(error(), reply("error"))).wait(RECONNECT + 1).fate is Fate.FAILED
    interrupted = lost(running().get(error("KeyboardInterrupt", ""), reply("error"))).wait(RECONNECT + 1)
    assert interrupted.fate is Fate.FAILED
    assert Error("KeyboardInterrupt", "", ("KeyboardInterrupt: ",)) in interrupted.said
    gone = lost(running()).wait(1)
    gone.watch.signal(EndSignal.RESTART, gone.now)
    assert gone.wait(RECONNECT + 1).fate is Fate.DIED


# -- a kernel that stands still


def test_a_kernel_whose_heart_stands_still_is_told_of_once_each_time() -> None:
    cell = running()
    cell.watch.heart.receive(False)
    cell.wait(1)
    assert notes(cell) == [], "one may be missed"
    for beats, told in ((False, 1), (False, 1), (True, 1), (False, 1), (False, 2)):
        cell.watch.heart.receive(beats)
        cell.wait(0.2)
        assert sum("it does not answer (suspended or swapping?)" in note for note in notes(cell)) == told
    assert cell.fate is None


def test_f10_a_kernel_whose_python_does_not_answer_is_told_of_once_each_time() -> None:
    def native(cell: Watched) -> int:
        return sum(isinstance(event, Note) and "native code" in event.text for event in cell.said)

    cell = running()
    cell.watch.heart.receive(True, False)
    assert native(cell.wait(0.5)) == 0, "one may be slow"
    cell.watch.heart.receive(True, False)
    cell.watch.heart.receive(True, False)
    assert native(cell.wait(0.5)) == 1
    cell.watch.heart.receive(True, True)
    for _ in range(2):
        cell.watch.heart.receive(True, False)
    assert native(cell.wait(0.5)) == 2
    assert cell.fate is None


@pytest.mark.parametrize("greets", [True, None])
def test_f10_a_kernel_that_greets_or_never_does_is_not_judged(greets: bool | None) -> None:
    cell = running()
    for _ in range(5):
        cell.watch.heart.receive(True, greets)
    assert not [event for event in cell.wait(1).said if isinstance(event, Note)]


def test_a_kernel_whose_heart_cannot_be_heard_from_here_is_not_judged() -> None:
    cell = running()
    for _ in range(5):
        cell.watch.heart.receive(None)
    assert cell.wait(1).said == [Started()]


# -- at its end


def test_nothing_comes_after_a_verdict() -> None:
    cell = running().get(reply(), status("idle"))
    verdict = cell.watch.verdict
    cell.sign(EndSignal.DEAD)
    cell.watch.closed("x", cell.now)
    cell.watch.server_says(None, cell.now)
    assert cell.watch.interrupt(cell.now) == []
    cell.wait(20)
    assert cell.watch.verdict is verdict
    assert cell.said == [Started()]


def test_no_action_can_run_a_cell() -> None:
    # R3, at most once: whatever is added here must not be a resend.
    assert {action.name for action in Action} == {"ASK_SERVER", "ASK_KERNEL", "ASK_RECORD", "INTERRUPT"}


def test_what_the_kernel_could_not_send_is_told_once_and_not_beside_another_loss() -> None:
    cell = running().get(reply(), status("idle"))
    assert cell.watch.judgment.count(Gap(0, True)) == []
    assert cell.watch.judgment.count(None) == []
    (lost,) = cell.watch.judgment.count(Gap(500, True))
    assert (
        isinstance(lost, Lost) and lost.reason.startswith("500 messages missing") and cell.watch.losses.missing == 500
    )
    (lost,) = running().get(reply(), status("idle")).watch.judgment.count(Gap(1, False))
    assert isinstance(lost, Lost) and lost.reason.startswith("up to 1 message missing")
    (lost,) = back(running()).watch.judgment.count(Gap(500, True))
    assert isinstance(lost, Lost) and lost.reason.endswith("(link lost)"), "told once, whatever it was lost by"


def test_f24_a_message_that_is_still_coming_may_be_what_the_idle_stands_behind() -> None:
    cell = running().get(reply())
    for _ in range(100):  # 50 s, longer than anything else is waited for
        cell.around(receiving_at=cell.now)
        assert cell.wait(0.5).fate is None
    assert cell.get(stream("all of it"), status("idle")).fate is Fate.OK
    assert losses(cell) == []


def test_a_connection_that_the_kernel_never_accepted_ran_nothing() -> None:
    cell = Watched()
    cell.watch.closed("the kernel received nothing", cell.now, unaccepted=True)
    assert (cell.fate, cell.reason) == (Fate.NOT_RUN, "the kernel received nothing")
    begun = running()
    begun.watch.closed("the kernel received nothing", begun.now, unaccepted=True)
    assert begun.fate is None, "it did receive the cell"


def test_whoever_has_its_verdict_asks_and_is_told_no_more() -> None:
    cell = running().get(reply(), status("idle"))
    assert cell.fate is Fate.OK
    for said in (None, "", "dead", "idle"):
        assert cell.watch.server_says(said, cell.now) == []
    assert cell.watch.interrupt(cell.now) == cell.watch.leave("told to end") == []
    cell.watch.closed("an end", cell.now, denied=True)
    assert cell.fate is Fate.OK


def test_who_waits_no_longer_while_the_link_is_down_is_told_so() -> None:
    cell = broken(running())
    cell.said += cell.watch.leave("the time of the cell is up")
    assert cell.fate is Fate.LEFT_RUNNING
    assert "the time of the cell is up while the link was down" in cell.reason
