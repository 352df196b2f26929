"""Whose cell has the main shell, as IOPub told it."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.events import Queued
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.main_shell import MainShell

OURS, THEIRS, MINE = "our-session", "their-session", "our-session_99"


class Heard:
    """The main shell of a kernel, and what is heard of it at a time of day that goes on by a second."""

    def __init__(self) -> None:
        self.main_shell = MainShell()
        self.main_shell.join(OURS)
        self._second = 0

    def hear(self, kind: str, cell: str, session: str = THEIRS, *, clock: str | None = None, **header: Any) -> Heard:
        self._second += 1
        content = {"execution_state": kind} if kind in ("busy", "idle") else {}
        msg_type = "status" if content else kind
        parent = {"msg_type": "execute_request", "msg_id": cell, "session": session, **header}
        message = Message.parse("iopub", {"msg_type": msg_type, "session": "kernel"}, parent, {}, content)
        self.main_shell.receive(message, f"10:00:{self._second:02}" if clock is None else clock)
        return self

    def send(self, cell: str) -> Heard:
        self.main_shell.send(cell)
        return self

    @property
    def ahead(self) -> Queued:
        return self.main_shell.ahead_of(MINE)


def test_nothing_is_said_that_was_not_heard() -> None:
    heard = Heard()
    assert heard.ahead == Queued() and not heard.main_shell.is_free
    assert heard.hear("idle", "theirs").ahead == Queued() and heard.main_shell.is_free
    assert heard.hear("stream", "theirs").ahead == Queued()


def test_who_runs_what_since_when() -> None:
    heard = Heard().hear("busy", "theirs")
    assert heard.ahead == Queued("10:00:01") and not heard.main_shell.is_free
    assert heard.hear("idle", "theirs").ahead == Queued() and heard.main_shell.is_free
    heard.send("our-session_1").hear("busy", "our-session_1", OURS)
    assert heard.ahead == Queued("10:00:03", ours=True)
    assert heard.main_shell.runs("our-session_1") and not heard.main_shell.runs(MINE)


def test_a_cell_of_another_connection_of_this_process_is_ours() -> None:
    heard = Heard()
    heard.main_shell.join("second-session")
    heard.send("second-session_5").hear("busy", "second-session_5", "second-session")
    assert heard.ahead == Queued("10:00:01", ours=True)


def test_what_is_no_cell_is_called_none() -> None:
    # Questions of ours go to the main shell as well, and are over in a moment.
    heard = Heard().hear("busy", "our-session_2", OURS)
    assert heard.ahead == Queued() and not heard.main_shell.is_free
    assert heard.hear("idle", "our-session_2", OURS).main_shell.is_free


def test_what_runs_beside_the_main_shell_is_in_nobody_s_way() -> None:
    heard = Heard().hear("busy", "theirs")
    heard.main_shell.send("our-session_3", aside=True)
    for state in ("busy", "idle", "busy"):  # the last as it is told to, since main is still at work
        heard.hear(state, "our-session_3", OURS)
        assert heard.ahead == Queued("10:00:01") and not heard.main_shell.is_free
    for state in ("busy", "idle"):
        heard.hear(state, "our-session_4", OURS, subshell_id="s")
        heard.hear(state, "x", msg_type="kernel_info_request")
        heard.hear(state, "another-guest-s", "third-session")  # on control, which nothing tells
        assert heard.ahead == Queued("10:00:01") and not heard.main_shell.is_free
    assert heard.hear("idle", "theirs").ahead == Queued() and heard.main_shell.is_free


@pytest.mark.parametrize("shown", ["execute_input", "stream", "error"])
def test_who_shows_something_has_the_main_shell(shown: str) -> None:
    heard = Heard().hear("busy", "theirs").hear("busy", "next")  # the idle between was lost
    assert heard.ahead == Queued("10:00:01")
    assert heard.hear(shown, "next").ahead == Queued("10:00:02")


def test_what_was_left_is_a_guess_once_nobody_has_listened() -> None:
    heard = Heard().send("our-session_1").hear("busy", "our-session_1", OURS)
    heard.main_shell.leave(OURS)
    assert heard.main_shell.is_needed, "a cell of ours is left there"
    heard.main_shell.join("new-session")
    assert heard.ahead == Queued("10:00:01", ours=True, sure=False)
    assert heard.hear("stream", "our-session_1", OURS).ahead == Queued("10:00:01", ours=True)
    heard.main_shell.leave("new-session")
    heard.main_shell.join("new-session")
    assert heard.hear("idle", "our-session_1", OURS).ahead == Queued()


def test_another_client_s_cell_may_be_over_once_nobody_has_listened() -> None:
    heard = Heard().hear("busy", "theirs")
    heard.main_shell.leave(OURS)
    assert not heard.main_shell.is_needed
    heard.main_shell.join("new-session")
    assert heard.ahead == Queued()
    # As long as one of two connections hears it nothing is missed.
    heard = Heard().hear("busy", "theirs")
    heard.main_shell.join("second")
    heard.main_shell.leave(OURS)
    assert heard.ahead == Queued("10:00:01")


@pytest.mark.parametrize(("state", "ahead"), [("busy", Queued("10:00:02")), ("idle", Queued())])
def test_whoever_is_heard_after_that_came_behind_what_was_left(state: str, ahead: Queued) -> None:
    heard = Heard().send("our-session_1").hear("busy", "our-session_1", OURS)
    heard.main_shell.leave(OURS)
    heard.main_shell.join("new-session")
    assert heard.hear(state, "theirs").ahead == ahead


def test_the_time_is_told_only_where_it_was_seen() -> None:
    # What a server had kept for us comes when the link is back.
    assert Heard().hear("busy", "theirs", clock="").ahead == Queued()
    assert Heard().send("our-session_1").hear("busy", "our-session_1", OURS, clock="").ahead == Queued(ours=True)


def test_a_kernel_that_comes_back_is_starting_until_it_is_heard() -> None:
    heard = Heard().hear("busy", "theirs")
    heard.main_shell.kernel_ended(EndSignal.RESTARTING)
    assert heard.ahead == Queued(starting=True)
    assert heard.hear("busy", "x", msg_type="kernel_info_request").ahead == Queued()
    for sign in (EndSignal.RESTART, EndSignal.OUR_RESTART):
        heard.main_shell.kernel_ended(sign)
        assert heard.hear("idle", "x", msg_type="shutdown_request").ahead == Queued(starting=True)
    for sign in (EndSignal.DEAD, EndSignal.LEFT, EndSignal.NEW_LIFE, EndSignal.SHUTDOWN, EndSignal.OUR_SHUTDOWN):
        heard.main_shell.kernel_ended(sign)
        assert heard.ahead == Queued()


def test_a_cell_that_ended_by_other_signs_than_its_idle_runs_no_more() -> None:
    heard = Heard().send("our-session_1").hear("busy", "our-session_1", OURS)
    heard.main_shell.end("our-session_1")
    assert heard.ahead == Queued() and heard.main_shell.is_free
    assert heard.hear("busy", "our-session_1", OURS).ahead == Queued(), "a connection that hears it late"


def test_a_cell_that_begins_this_very_moment_waits_for_nothing() -> None:
    assert Heard().send(MINE).hear("busy", MINE, OURS).ahead == Queued()


def test_what_is_remembered_has_an_end() -> None:
    heard = Heard()
    for number in range(5000):
        heard.send(f"our-session_{number}").main_shell.send(f"aside_{number}", aside=True)
    assert len(heard.main_shell._is_cell) == 2000


def test_what_a_quiet_request_seems_to_show_is_of_the_cell_before_it() -> None:
    shell = Heard().main_shell
    shell.ask("question_0")
    shell.send("our-session_1")
    shell.send("aside", aside=True)
    shell.ask("question_1")
    shell.send("our-session_2")
    shell.end("our-session_2")
    shell.ask("question_2")
    asked = ("question_0", "question_1", "question_2", "our-session_1", "theirs", "")
    wanted = ["question_0", "our-session_1", "our-session_2", "our-session_1", "theirs", ""]
    assert [shell.shown_for(msg_id) for msg_id in asked] == wanted
    for number in range(3, 5000):
        shell.ask(f"question_{number}")
    assert (shell.shown_for("question_1"), shell.shown_for("question_4999")) == ("question_1", "our-session_2")


def test_who_interrupted_the_cell_that_has_the_main_shell() -> None:
    heard = Heard().send("our-session_1").hear("busy", "our-session_1", OURS).hear("busy", "theirs")
    assert heard.main_shell.interrupted_by_another("our-session_1") is None
    heard.hear("busy", "their-interrupt", THEIRS, msg_type="interrupt_request")
    heard.hear("idle", "their-interrupt", THEIRS, msg_type="interrupt_request")
    heard.hear("idle", "our-session_1", OURS)
    assert heard.main_shell.interrupted_by_another("our-session_1") is True
    assert heard.main_shell.interrupted_by_another("theirs") is None


@pytest.mark.parametrize("of_ours", ["a request", "a server's"])
def test_an_interrupt_of_this_process_is_no_other_client_s(of_ours: str) -> None:
    heard = Heard().send("our-session_1").hear("busy", "our-session_1", OURS)
    if of_ours == "a request":
        heard.hear("busy", "our-session_2", OURS, msg_type="interrupt_request")
    else:
        heard.main_shell.interrupt()  # nothing is heard of the signal
    assert heard.main_shell.interrupted_by_another("our-session_1") is False
    heard.hear("busy", "their-interrupt", THEIRS, msg_type="interrupt_request")
    assert heard.main_shell.interrupted_by_another("our-session_1") is False


def test_an_interrupt_of_an_idle_kernel_is_no_cell_s() -> None:
    heard = Heard().hear("busy", "their-interrupt", THEIRS, msg_type="interrupt_request")
    heard.send("our-session_1").hear("busy", "our-session_1", OURS)
    assert heard.main_shell.interrupted_by_another("our-session_1") is None


def test_whether_it_runs_a_cell() -> None:
    heard = Heard()
    assert not heard.main_shell.is_running
    assert heard.hear("busy", "theirs").main_shell.is_running
    assert not heard.hear("idle", "theirs").main_shell.is_running
    assert heard.send("our-session_1").hear("busy", "our-session_1", OURS).main_shell.is_running
    heard.main_shell.kernel_ended(EndSignal.RESTARTING)
    assert heard.main_shell.is_running, "it is starting, and answers nobody"
    assert not heard.hear("idle", "theirs").main_shell.is_running
    heard.hear("busy", "theirs").main_shell.leave(OURS)
    assert not heard.main_shell.is_running, "nobody has listened since: nobody knows"
