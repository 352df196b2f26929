"""The rules of a cell's fate, with a clock of our own: no test here waits for anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Error, Event, Lost, Note, Queued, Started, Stream
from kernel_bridge_magic.protocol.life import Sign
from kernel_bridge_magic.protocol.link import (
    DOUBT,
    PROOF,
    QUEUED_AFTER,
    REPLY_GRACE,
    SETTLE,
    SILENCE,
    Action,
    Link,
)
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, OURS, error, msg, reply, status, stream

DATA_RATE = "IOPub data rate exceeded.\nThe Jupyter server will temporarily stop sending output\n"


class Watched:
    """A link, its clock, and all that it said."""

    def __init__(self, timeout: float | None = None) -> None:
        self.now = 1000.0
        self.link = Link(Request(CELL), now=self.now, timeout=timeout)
        self.said: list[Event | Action] = []

    def get(self, *messages: Message) -> Watched:
        for message in messages:
            self.said += self.link.receive(message, self.now)
        return self

    def sign(self, sign: Sign) -> Watched:
        self.link.sign(sign, self.now)
        return self

    def wait(self, seconds: float) -> Watched:
        """Let time pass in ticks, as the caller does."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 0.1, until)
            self.said += self.link.tick(self.now)
        return self

    def asked_kernel(self) -> Watched:
        assert Action.ASK_KERNEL in self.said
        self.link.asked_kernel("probe", self.now)
        return self

    @property
    def fate(self) -> Fate | None:
        return self.link.verdict.fate if self.link.verdict else None

    @property
    def reason(self) -> str:
        assert self.link.verdict is not None
        return self.link.verdict.reason


PROBE_ANSWER = msg("kernel_info_reply", {}, channel="shell", parent="probe")


def running(timeout: float | None = None) -> Watched:
    return Watched(timeout).get(status("busy"))


# -- the straight road


def test_ok_needs_reply_and_idle() -> None:
    cell = running().get(stream("a\n"), reply())
    assert cell.fate is None
    assert cell.get(status("idle")).fate is Fate.OK
    assert cell.link.shown == 1
    assert cell.link.missing == 0


def test_output_after_the_reply_is_still_shown() -> None:
    cell = running().get(reply(), stream("late\n"), status("idle"))
    assert Stream("stdout", "late\n") in cell.said
    assert cell.fate is Fate.OK


def test_an_error_fails_the_cell_whatever_the_reply_says() -> None:
    assert running().get(error(), reply("error"), status("idle")).fate is Fate.FAILED
    # Octave's errors come with status ok.
    assert running().get(error(), reply("ok"), status("idle")).fate is Fate.FAILED


def test_an_error_that_only_the_reply_tells_of_is_told_once_at_the_end() -> None:
    cell = running().get(reply("error", ename="UsageError", evalue="bad"), status("idle"))
    assert cell.said.count(Error("UsageError", "bad")) == 1
    assert cell.fate is Fate.FAILED


def test_aborted_before_it_began_is_not_run() -> None:
    cell = Watched().get(reply("aborted"), status("idle"))
    assert cell.fate is Fate.NOT_RUN
    assert "Safe to run again" in cell.reason


def test_aborted_after_it_began_is_an_interrupt() -> None:
    # bash_kernel, after an interrupt
    cell = running().get(reply("abort"), status("idle"))
    assert cell.fate is Fate.FAILED
    assert cell.link.request.error == Error("KeyboardInterrupt", "")


# -- what is missing


def test_an_idle_that_was_lost_in_a_flood_ends_in_silence_and_is_told() -> None:
    cell = running().get(reply()).wait(REPLY_GRACE - 0.2)
    assert cell.fate is None
    cell.get(stream("more")).wait(REPLY_GRACE - 0.2)
    assert cell.fate is None
    cell.wait(0.5)
    assert cell.fate is Fate.OK
    assert any(isinstance(event, Lost) for event in cell.said)
    assert cell.link.missing is None


@pytest.mark.parametrize(("text", "setting"), [(DATA_RATE, "data"), ("IOPub message rate exceeded.\n…", "msg")])
def test_what_the_server_drops_is_reported_not_printed(text: str, setting: str) -> None:
    cell = running().get(stream(text, "stderr", sender=OURS), reply(), status("idle"))
    (lost,) = (event for event in cell.said if isinstance(event, Lost))
    assert f"iopub_{setting}_rate_limit" in lost.reason
    assert not any(isinstance(event, Stream) for event in cell.said)
    assert cell.link.missing is None
    assert cell.fate is Fate.OK


def test_a_reply_that_was_lost_is_unknown_once_the_kernel_answers_from_behind_it() -> None:
    cell = running().get(status("idle")).wait(REPLY_GRACE + 0.2).asked_kernel().get(PROBE_ANSWER)
    assert cell.fate is Fate.UNKNOWN


def test_nobody_answers_from_behind_it() -> None:
    cell = running().get(status("idle")).wait(REPLY_GRACE + 0.2).asked_kernel().wait(PROOF + 1)
    assert cell.fate is Fate.UNKNOWN


# -- queued


def test_a_queued_cell_is_told_of_once_within_a_second() -> None:
    cell = Watched().wait(QUEUED_AFTER + 0.2)
    assert cell.said == [Queued()]
    assert QUEUED_AFTER < 1
    assert cell.wait(3).said == [Queued()]
    assert Queued() not in running().wait(3).said


def test_an_interrupt_while_queued_interrupts_nobody() -> None:
    cell = Watched()
    assert cell.link.interrupt(cell.now) == []
    assert cell.fate is Fate.LEFT_RUNNING
    assert "not interrupted" in cell.reason


def test_the_first_interrupt_goes_there_and_the_second_detaches() -> None:
    cell = running()
    assert cell.link.interrupt(cell.now) == [Action.INTERRUPT]
    assert cell.fate is None
    assert cell.link.interrupt(cell.now) == []
    assert cell.fate is Fate.LEFT_RUNNING


def test_an_interrupt_that_does_not_help_gets_one_line() -> None:
    cell = running()
    cell.link.interrupt(cell.now)
    cell.wait(4)
    assert len([event for event in cell.said if isinstance(event, Note)]) == 1


def test_an_interrupted_cell_ends_as_the_kernel_says() -> None:
    cell = running()
    cell.link.interrupt(cell.now)
    cell.get(error("KeyboardInterrupt", ""), reply("error"), status("idle"))
    assert cell.fate is Fate.FAILED
    assert cell.link.request.error == Error("KeyboardInterrupt", "", ("KeyboardInterrupt: ",))


@pytest.mark.parametrize(("cell", "words"), [(Watched(5), "still queued"), (running(5), "goes on there")])
def test_the_timeout_is_total_and_says_where_the_cell_is(cell: Watched, words: str) -> None:
    cell.wait(4.9).get(stream("x"))
    assert cell.fate is None
    cell.wait(0.2)
    assert cell.fate is Fate.LEFT_RUNNING
    assert words in cell.reason


# -- a kernel that ends


@pytest.mark.parametrize("sign", [Sign.RESTARTING, Sign.NEW_LIFE, Sign.DEAD, Sign.LEFT])
def test_a_running_cell_dies_with_its_kernel(sign: Sign) -> None:
    cell = running().get(stream("a\nb\n")).sign(sign).wait(SETTLE + 0.2)
    assert cell.fate is Fate.DIED
    assert "2 lines shown; variables are gone" in cell.reason
    assert sign.value in cell.reason


def test_what_was_under_way_when_the_kernel_ended_is_shown_first() -> None:
    cell = running().sign(Sign.LEFT).wait(0.2).get(stream("last\n")).wait(0.2)
    assert cell.fate is None
    cell.wait(SETTLE)
    assert Stream("stdout", "last\n") in cell.said
    assert "1 line shown" in cell.reason


def test_a_cell_that_ended_before_its_kernel_did_is_ok() -> None:
    # quit() in the cell: reply, then the process is gone, and idle with it
    assert running().get(reply()).sign(Sign.LEFT).wait(REPLY_GRACE + 0.2).fate is Fate.OK


def test_restarted_by_another_client_is_not_told_as_a_keyboard_interrupt() -> None:
    # FACTS 5, "REST restart during exec": shutdown_reply, KeyboardInterrupt, idle, and never a reply
    cell = running().sign(Sign.RESTART).get(error("KeyboardInterrupt", ""), status("idle")).wait(SETTLE + 0.3)
    assert not any(isinstance(event, Error) for event in cell.said)
    assert cell.fate is Fate.DIED
    assert "restarted by another client" in cell.reason


def test_a_foreign_interrupt_is_told_once_it_is_sure_to_be_no_shutdown() -> None:
    cell = running().get(error("KeyboardInterrupt", ""), reply("error"), status("idle"))
    assert cell.fate is None
    cell.wait(DOUBT + 0.2)
    assert cell.fate is Fate.FAILED
    assert Error("KeyboardInterrupt", "", ("KeyboardInterrupt: ",)) in cell.said


def test_an_older_server_interrupts_before_it_says_that_it_restarts() -> None:
    # jupyter_server 2.4 with ipykernel 6.29: KeyboardInterrupt, reply, idle, and only then shutdown_reply
    cell = running().get(stream("a\n"), error("KeyboardInterrupt", ""), reply("error"), status("idle")).wait(0.2)
    cell.sign(Sign.RESTART).wait(0.2)
    assert cell.fate is Fate.DIED
    assert "restarted by another client. 1 line shown" in cell.reason
    assert not any(isinstance(event, Error) for event in cell.said)


def test_a_kernel_that_finishes_the_cell_before_it_shuts_down_gives_its_result() -> None:
    # FACTS 5, "shutdown_request(control) by other while busy"
    cell = running().sign(Sign.SHUTDOWN).wait(SILENCE).get(stream("end\n"), reply(), status("idle"))
    assert cell.fate is Fate.OK


def test_a_cell_that_ignores_signals_dies_with_the_new_life() -> None:
    cell = running().sign(Sign.RESTART).wait(5).sign(Sign.NEW_LIFE).wait(SETTLE + 0.2)
    assert cell.fate is Fate.DIED
    assert "restarted by another client" in cell.reason


def test_a_deleted_kernel_is_known_by_404() -> None:
    cell = running().wait(SILENCE + 0.2)
    assert Action.ASK_SERVER in cell.said
    cell.link.server_says(None, cell.now)
    assert cell.fate is Fate.DIED
    assert "deleted" in cell.reason


@pytest.mark.parametrize("state", ["busy", "starting", "unknown", "idle", ""])
def test_one_word_of_the_server_proves_nothing(state: str) -> None:
    cell = running()
    cell.link.server_says(state, cell.now)
    assert cell.wait(1).fate is None
    assert Action.ASK_KERNEL not in cell.said


def test_idle_said_twice_makes_us_ask_the_kernel() -> None:
    cell = running()
    for _ in range(2):
        cell.link.server_says("idle", cell.now)
    assert cell.wait(0.2).asked_kernel().get(PROBE_ANSWER).fate is Fate.UNKNOWN


def test_the_server_is_asked_only_in_silence_and_not_too_often() -> None:
    cell = running()
    for _ in range(20):
        cell.wait(1).get(stream("x"))
    assert Action.ASK_SERVER not in cell.said
    cell.wait(4 * SILENCE)
    assert 3 <= cell.said.count(Action.ASK_SERVER) <= 4


# -- a kernel that ends while our cell is queued


def queued_then(sign: Sign) -> Watched:
    return Watched().sign(sign).wait(SETTLE + 0.2)


@pytest.mark.parametrize("sign", [Sign.RESTARTING, Sign.NEW_LIFE])
def test_a_queued_cell_is_proven_not_run_by_a_goodbye_and_an_answer_from_behind_it(sign: Sign) -> None:
    cell = Watched().sign(Sign.RESTART).sign(sign).wait(SETTLE + 0.2)
    assert cell.fate is None
    cell.asked_kernel().get(PROBE_ANSWER)
    assert cell.fate is Fate.NOT_RUN
    assert "restarted by another client" in cell.reason
    assert "Safe to run again" in cell.reason


@pytest.mark.parametrize("sign", [Sign.RESTARTING, Sign.NEW_LIFE])
def test_a_crash_proves_nothing_whoever_answers_from_behind_it(sign: Sign) -> None:
    # os._exit as the first act of a cell: its busy went with the process, and it did run
    assert queued_then(sign).asked_kernel().get(PROBE_ANSWER).fate is Fate.UNKNOWN


def test_a_queued_cell_may_run_in_the_new_kernel_and_that_is_said() -> None:
    cell = queued_then(Sign.RESTARTING).asked_kernel().get(status("busy"), stream("x"), reply(), status("idle"))
    assert cell.fate is Fate.OK
    assert any(isinstance(event, Note) and "restarted before this cell began" in event.text for event in cell.said)


def test_a_reply_before_the_answer_from_behind_proves_that_it_ran() -> None:
    # shell may be read before iopub: the reply alone shows that the kernel had the cell
    cell = queued_then(Sign.RESTARTING).asked_kernel().get(reply(), PROBE_ANSWER, status("busy"), status("idle"))
    assert cell.fate is Fate.OK


def test_no_proof_is_unknown() -> None:
    assert queued_then(Sign.RESTARTING).asked_kernel().wait(PROOF + 1).fate is Fate.UNKNOWN
    assert queued_then(Sign.DEAD).fate is Fate.UNKNOWN


def test_a_goodbye_without_our_busy_proves_not_run() -> None:
    cell = Watched().sign(Sign.SHUTDOWN).wait(1)
    assert cell.fate is None
    cell.link.server_says(None, cell.now)
    assert cell.fate is Fate.NOT_RUN


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
    cell.link.closed("the server closed the connection", cell.now)
    cell.wait(0.2)
    assert Action.ASK_SERVER in cell.said
    cell.link.server_says(answer, cell.now)
    assert cell.fate is fate


def test_a_kernel_s_own_sockets_closed_is_its_end() -> None:
    cell = running().sign(Sign.LEFT)
    cell.link.closed("the kernel closed its sockets", cell.now)
    assert cell.wait(SETTLE + 0.2).fate is Fate.DIED


def test_nothing_comes_after_a_verdict() -> None:
    cell = running().get(reply(), status("idle"))
    verdict = cell.link.verdict
    cell.sign(Sign.DEAD)
    cell.link.closed("x", cell.now)
    cell.link.server_says(None, cell.now)
    assert cell.link.interrupt(cell.now) == []
    cell.wait(20)
    assert cell.link.verdict is verdict
    assert cell.said == [Started()]


def test_no_action_can_run_a_cell() -> None:
    # R3, at most once: whatever is added here must not be a resend.
    assert {action.name for action in Action} == {"ASK_SERVER", "ASK_KERNEL", "INTERRUPT"}
