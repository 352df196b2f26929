"""The rules of a cell's fate, with a clock of our own: no test here waits for anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.patience import RECONNECT
from kernel_bridge_magic.fate.proof import MESSAGES_OF_A_CELL
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Error, Event, Lost, Note, Queued, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, OURS, error, msg, reply, status, stream

T = timing.current

SAFE = "the cell was not run, so it is safe to run it again"
IN_THE_NEW_ONE = (
    "its kernel process ended before this cell began. It runs in the new kernel, where the earlier variables are gone"
)
SKIPPED = f"the kernel skipped the cell after another client's cell failed or was interrupted; {SAFE}"
DATA_RATE = "IOPub data rate exceeded.\nThe Jupyter server will temporarily stop sending output\n"


class Watched:
    """A watch, its clock, and all that it said."""

    def __init__(self, timeout: float | None = None) -> None:
        self.now = 1000.0
        self.watch = CellWatch(Request(CELL), now=self.now, timeout=timeout)
        self.said: list[Event | Action] = []

    def get(self, *messages: Message) -> Watched:
        for message in messages:
            self.said += self.watch.receive(message, self.now)
        return self

    def around(self, **known: Any) -> Watched:
        """Let the caller know something about the kernel or the link."""
        self.watch.state.surroundings = replace(self.watch.state.surroundings, **known)
        return self

    def sign(self, sign: EndSignal) -> Watched:
        self.watch.signal(sign, self.now)
        return self

    def wait(self, seconds: float) -> Watched:
        """Let time pass in ticks, as the caller does."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 0.1, until)
            self.said += self.watch.tick(self.now)
        return self

    def asked_kernel(self) -> Watched:
        assert Action.ASK_KERNEL in self.said
        self.watch.asked_kernel("probe", self.now)
        return self

    @property
    def fate(self) -> Fate | None:
        return self.watch.verdict.fate if self.watch.verdict else None

    @property
    def reason(self) -> str:
        assert self.watch.verdict is not None
        return self.watch.verdict.reason


PROBE_ANSWER = msg("kernel_info_reply", {}, channel="shell", parent="probe")


def running(timeout: float | None = None) -> Watched:
    return Watched(timeout).get(status("busy"))


# -- the straight road


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


# -- a kernel that ends


DIED = {
    EndSignal.RESTARTING: "the kernel: its kernel process ended during this cell. Its variables are gone",
    EndSignal.LEFT: "the kernel: its kernel process ended during this cell. Its variables are gone",
    EndSignal.DEAD: "the kernel: its kernel process ended for good during this cell. Its variables are gone",
    EndSignal.NEW_LIFE: (
        "the kernel was restarted during this cell (output above may be incomplete). Its variables are gone"
    ),
    EndSignal.RESTART: (
        "the kernel was restarted by another client during this cell (output above may be incomplete). "
        "Its variables are gone"
    ),
    EndSignal.SHUTDOWN: "the kernel was shut down by another client during this cell; it has no kernel now",
}


@pytest.mark.parametrize("sign", EndSignal)
@pytest.mark.parametrize("lines", [0, 2])
def test_a_running_cell_dies_with_its_kernel_which_is_told_whatever_was_shown(sign: EndSignal, lines: int) -> None:
    cell = running().get(*[stream("a\nb\n")] * (lines // 2)).sign(sign)
    if sign in (EndSignal.RESTART, EndSignal.SHUTDOWN):
        cell.get(error("KeyboardInterrupt", ""), status("idle"))
    cell.wait(T.shutdown_reply + T.server_end + 0.2)
    assert (cell.fate, cell.reason, cell.watch.shown) == (Fate.DIED, DIED[sign], lines)


WITH_ITS_SERVER = "the kernel was shut down with its server during this cell; it has no kernel now"


def shut_down() -> Watched:
    """A deleted kernel and a server that ends send the same (FACTS.md#kernel-deaths)."""
    return running().sign(EndSignal.SHUTDOWN).get(error("KeyboardInterrupt", ""), status("idle"))


def test_f11_a_server_that_ends_with_its_kernel_is_told_as_that() -> None:
    cell = shut_down().wait(0.6)
    assert cell.fate is None and Action.ASK_SERVER in cell.said
    cell.watch.server_says(None, cell.now)  # it is on its way out
    assert cell.wait(0.3).fate is None
    cell.watch.server_says("", cell.now)
    cell.wait(0.2)
    assert (cell.fate, cell.reason) == (Fate.DIED, WITH_ITS_SERVER)


def test_f11_also_when_its_connection_closes_first() -> None:
    cell = shut_down().wait(0.4)
    cell.watch.broke("the server closed the connection", "10:00:00", cell.now)
    cell.wait(0.4)
    cell.watch.server_says("", cell.now)
    cell.wait(0.2)
    assert (cell.fate, cell.reason) == (Fate.DIED, WITH_ITS_SERVER)


@pytest.mark.parametrize("state", [None, "idle"])
def test_f7_a_server_that_goes_on_answering_shut_its_kernel_down_for_a_client(state: str | None) -> None:
    cell = shut_down()
    for _ in range(8):
        cell.wait(0.25)
        cell.watch.server_says(state, cell.now)
    assert (cell.fate, cell.reason) == (Fate.DIED, DIED[EndSignal.SHUTDOWN])
    assert cell.now - 1000 <= T.server_end + T.shutdown_reply + 0.5


def test_a_kernel_without_a_server_that_is_shut_down_is_not_waited_for() -> None:
    cell = Watched()
    cell.watch = CellWatch(Request(CELL), now=cell.now, served=False)
    cell.get(status("busy")).sign(EndSignal.SHUTDOWN).get(error("KeyboardInterrupt", ""), status("idle")).wait(
        T.shutdown_reply + 0.2
    )
    assert (cell.fate, cell.reason) == (Fate.DIED, DIED[EndSignal.SHUTDOWN])
    assert cell.said.count(Action.ASK_SERVER) == 0


@pytest.mark.parametrize(
    ("there", "words"),
    [("there now: x.ipynb", "there now: x.ipynb"), ("", "which has no kernel now")],
)
def test_f13_a_kernel_that_is_gone_when_the_link_is_back_is_told_with_what_is_there(there: str, words: str) -> None:
    cell = running()
    cell.watch.broke("the server closed the connection", "10:00:00", cell.now)
    cell.watch.closed("the server closed the connection", cell.now)
    cell.watch.server_says(None, cell.now, there=there)
    told = f"the kernel disappeared from its server ({words}) during this cell. Its variables are gone"
    assert (cell.fate, cell.reason) == (Fate.DIED, told)


def test_what_was_under_way_when_the_kernel_ended_is_shown_first() -> None:
    cell = running().sign(EndSignal.LEFT).wait(0.2).get(stream("last\n")).wait(0.2)
    assert cell.fate is None
    cell.wait(T.settle)
    assert Stream("stdout", "last\n") in cell.said
    assert (cell.reason, cell.watch.shown) == (DIED[EndSignal.LEFT], 1)


def test_a_cell_that_ended_before_its_kernel_did_is_ok() -> None:
    # quit() in the cell: reply, then the process is gone, and idle with it
    assert running().get(reply()).sign(EndSignal.LEFT).wait(T.reply_grace + 0.2).fate is Fate.OK


def test_restarted_by_another_client_is_not_told_as_a_keyboard_interrupt() -> None:
    # FACTS.md#kernel-deaths: shutdown_reply, KeyboardInterrupt, idle, and never a reply
    cell = running().sign(EndSignal.RESTART).get(error("KeyboardInterrupt", ""), status("idle")).wait(T.settle + 0.3)
    assert not any(isinstance(event, Error) for event in cell.said)
    assert (cell.fate, cell.reason) == (Fate.DIED, DIED[EndSignal.RESTART])


def test_a_foreign_interrupt_is_told_once_it_is_sure_to_be_no_shutdown() -> None:
    cell = running().get(error("KeyboardInterrupt", ""), reply("error"), status("idle"))
    assert cell.fate is None
    cell.wait(T.shutdown_reply + 0.2)
    assert cell.fate is Fate.FAILED
    assert Error("KeyboardInterrupt", "", ("KeyboardInterrupt: ",)) in cell.said


def test_an_older_server_interrupts_before_it_says_that_it_restarts() -> None:
    # jupyter_server 2.4 with ipykernel 6.29: KeyboardInterrupt, reply, idle, and only then shutdown_reply
    cell = running().get(stream("a\n"), error("KeyboardInterrupt", ""), reply("error"), status("idle")).wait(0.2)
    cell.sign(EndSignal.RESTART).wait(0.2)
    assert cell.fate is Fate.DIED
    assert (cell.reason, cell.watch.shown) == (DIED[EndSignal.RESTART], 1)
    assert not any(isinstance(event, Error) for event in cell.said)


def test_a_kernel_that_finishes_the_cell_before_it_shuts_down_gives_its_result() -> None:
    # FACTS.md#kernel-deaths: another client sends `shutdown_request` to a busy kernel
    cell = running().sign(EndSignal.SHUTDOWN).wait(T.ask_server_after).get(stream("end\n"), reply(), status("idle"))
    assert cell.fate is Fate.OK


def test_a_cell_that_ignores_signals_dies_with_the_new_life() -> None:
    cell = running().sign(EndSignal.RESTART).wait(5).sign(EndSignal.NEW_LIFE).wait(T.settle + 0.2)
    assert (cell.fate, cell.reason) == (Fate.DIED, DIED[EndSignal.RESTART])


def test_a_deleted_kernel_is_known_by_404() -> None:
    cell = running().wait(T.ask_server_after + 0.2)
    assert Action.ASK_SERVER in cell.said
    cell.watch.server_says(None, cell.now)
    assert cell.fate is Fate.DIED
    assert cell.reason == "the kernel was shut down or deleted during this cell; it has no kernel now"


@pytest.mark.parametrize("state", ["busy", "starting", "unknown", "idle", ""])
def test_one_word_of_the_server_proves_nothing(state: str) -> None:
    cell = running()
    cell.watch.server_says(state, cell.now)
    assert cell.wait(1).fate is None
    assert Action.ASK_KERNEL not in cell.said


def test_idle_said_twice_makes_us_ask_the_kernel() -> None:
    cell = running()
    for _ in range(2):
        cell.watch.server_says("idle", cell.now)
    assert cell.wait(0.2).asked_kernel().get(PROBE_ANSWER).fate is Fate.UNKNOWN


@pytest.mark.parametrize("cell", [running, Watched], ids=["running", "queued"])
def test_f5_f6_a_restart_whose_first_words_are_lost_is_asked_for_until_it_answers(
    cell: Callable[[], Watched],
) -> None:
    watched = cell().sign(EndSignal.RESTART).wait(T.ask_kernel_again + 0.2).asked_kernel()
    watched.wait(2 * T.ask_kernel_again + 0.2)
    assert watched.said.count(Action.ASK_KERNEL) >= 2  # the first went to the old process
    assert watched.get(PROBE_ANSWER).fate is (Fate.DIED if cell is running else Fate.NOT_RUN)


def test_the_server_is_asked_only_in_silence_and_not_too_often() -> None:
    cell = running()
    for _ in range(20):
        cell.wait(1).get(stream("x"))
    assert Action.ASK_SERVER not in cell.said
    cell.wait(4 * T.ask_server_after)
    assert 3 <= cell.said.count(Action.ASK_SERVER) <= 4


# -- a kernel that ends while our cell is queued


def queued_then(sign: EndSignal) -> Watched:
    return Watched().sign(sign).wait(T.settle + 0.2)


@pytest.mark.parametrize("sign", [EndSignal.RESTARTING, EndSignal.NEW_LIFE])
def test_a_queued_cell_is_proven_not_run_by_a_goodbye_and_an_answer_from_behind_it(sign: EndSignal) -> None:
    cell = Watched().sign(EndSignal.RESTART).sign(sign).wait(T.settle + 0.2)
    assert cell.fate is None
    cell.asked_kernel().get(PROBE_ANSWER)
    assert cell.fate is Fate.NOT_RUN
    words = "the kernel was restarted by another client while the cell was queued"
    assert cell.reason == f"{words}; {SAFE}. Its variables are gone"


@pytest.mark.parametrize("sign", [EndSignal.RESTARTING, EndSignal.NEW_LIFE])
def test_a_crash_proves_nothing_whoever_answers_from_behind_it(sign: EndSignal) -> None:
    # os._exit as the first act of a cell: its busy went with the process, and it did run
    assert queued_then(sign).asked_kernel().get(PROBE_ANSWER).fate is Fate.UNKNOWN


def test_a_cell_that_kills_its_kernel_before_a_word_is_out_is_told_alike_over_both_roads() -> None:
    by_websocket = queued_then(EndSignal.RESTARTING).asked_kernel().get(PROBE_ANSWER)
    by_zmq = Watched().sign(EndSignal.LEFT)
    by_zmq.watch.closed("the kernel closed its sockets", by_zmq.now)
    by_zmq.wait(T.settle + 0.2)
    for cell in (by_websocket, by_zmq):
        assert (cell.fate, cell.reason) == (
            Fate.UNKNOWN,
            "the kernel: the kernel ended before confirming the cell. It may have run: check before running it again. "
            "Its variables are gone",
        )


def test_a_queued_cell_may_run_in_the_new_kernel_and_that_is_said() -> None:
    cell = queued_then(EndSignal.RESTARTING).asked_kernel().get(status("busy"), stream("x"), reply(), status("idle"))
    assert cell.fate is Fate.OK
    assert [event for event in cell.said if isinstance(event, Note)] == [Note(IN_THE_NEW_ONE)]


def test_that_is_said_of_a_cell_whose_first_message_is_lost_as_well() -> None:
    cell = queued_then(EndSignal.RESTARTING).get(reply(), status("busy"), status("idle"))
    assert cell.fate is Fate.OK
    assert [event for event in cell.said if isinstance(event, Note)] == [Note(IN_THE_NEW_ONE)]


def test_a_reply_before_the_answer_from_behind_proves_that_it_ran() -> None:
    # shell may be read before iopub: the reply alone shows that the kernel had the cell
    cell = queued_then(EndSignal.RESTARTING).asked_kernel().get(reply(), PROBE_ANSWER, status("busy"), status("idle"))
    assert cell.fate is Fate.OK


def test_f3_a_kernel_that_dies_at_every_start_is_asked_anew_each_time_until_the_server_gives_it_up() -> None:
    cell = Watched()
    for tries in range(1, 6):
        cell.sign(EndSignal.RESTARTING)
        while cell.said.count(Action.ASK_KERNEL) < tries:
            assert cell.wait(0.1).fate is None
        cell.watch.asked_kernel(f"probe {tries}", cell.now)
        assert cell.wait(3).said.count(Action.ASK_KERNEL) == tries
    assert cell.fate is None
    cell.sign(EndSignal.DEAD).wait(T.settle + 0.2)
    assert cell.fate is Fate.UNKNOWN
    assert cell.reason == (
        "the kernel: the kernel ended for good before confirming the cell. "
        "It may have run: check before running it again. Its variables are gone"
    )


def test_no_proof_is_unknown() -> None:
    assert queued_then(EndSignal.RESTARTING).asked_kernel().wait(T.kernel_answer + 1).fate is Fate.UNKNOWN
    assert queued_then(EndSignal.DEAD).fate is Fate.UNKNOWN


def test_a_goodbye_without_our_busy_proves_not_run() -> None:
    cell = Watched().sign(EndSignal.SHUTDOWN).wait(1)
    cell.watch.server_says(None, cell.now)
    assert cell.fate is None, "a server that ends says the same first"
    assert cell.wait(T.server_end).fate is Fate.NOT_RUN
    words = "the kernel was shut down by another client while the cell was queued"
    assert cell.reason == f"{words}; {SAFE}. It has no kernel now"


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


# -- a link that breaks and comes back


def broken(cell: Watched, seconds: float = 0.4) -> Watched:
    cell.watch.broke("the server closed the connection", "14:02:07", cell.now)
    return cell.wait(seconds)


def back(cell: Watched, seconds: float = 0.4) -> Watched:
    broken(cell, seconds)
    cell.said += cell.watch.back(seconds, "14:02:10", cell.now)
    return cell.asked_kernel()


def notes(cell: Watched) -> list[str]:
    return [event.text for event in cell.said if isinstance(event, Note)]


def losses(cell: Watched) -> list[Lost]:
    return [event for event in cell.said if isinstance(event, Lost)]


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
