"""The signs that a kernel ends, as one cell meets them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.ending import Ending, HeldInterrupt
from kernel_bridge_magic.fate.life import ANNOUNCED, RESTARTS, EndSignal
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Error, Note, Started, Stream
from kernel_bridge_magic.protocol.request import Request
from tests.support.watched import (
    IN_THE_NEW_ONE,
    PROBE_ANSWER,
    SAFE,
    Watched,
    running,
)
from tests.support.wire import CELL, error, reply, status, stream

T = timing.current
NOW = 100.0


@pytest.mark.parametrize("sign", EndSignal)
def test_a_sign_is_certain_unless_it_only_announces_the_end(sign: EndSignal) -> None:
    ending = Ending(NOW)
    assert ending.signal is None and ending.end == EndSignal.LEFT.end
    ending.receive(sign, NOW)
    assert ending.signal is sign
    assert ending.is_certain is not ending.is_announced
    assert ending.end == sign.end


def test_the_first_cause_explains_best_and_a_last_word_is_final() -> None:
    ending = Ending(NOW)
    for sign, told in (
        (EndSignal.RESTART, EndSignal.RESTART),
        (EndSignal.NEW_LIFE, EndSignal.RESTART),
        (EndSignal.DEAD, EndSignal.DEAD),
    ):
        ending.receive(sign, NOW)
        assert ending.signal is told
    assert ending.is_certain


def shut_down(*, served: bool = True) -> Ending:
    ending = Ending(NOW, served=served)
    ending.receive(EndSignal.SHUTDOWN, NOW)
    return ending


def test_who_shut_the_kernel_down_is_open_until_its_server_would_be_gone() -> None:
    ending = shut_down()
    assert ending.asks_who(NOW) and ending.asks_who(NOW + T.server_end - 0.1)
    assert not ending.asks_who(NOW + T.server_end)
    assert not shut_down(served=False).asks_who(NOW)


@pytest.mark.parametrize(("state", "with_server", "unknown"), [("", True, False), (None, False, True), ("idle",) * 3])
def test_a_server_that_is_gone_took_its_kernel_along(
    state: str | None, with_server: bool | str, unknown: bool | str
) -> None:
    ending = shut_down()
    ending.server_says(state)
    assert ending.with_server is (with_server is True)
    assert ending.unknown_to_server is (unknown is True)
    assert ("with its server" in ending.end.how) is ending.with_server
    assert not ending.end.comes_back


@pytest.mark.parametrize("sign", EndSignal)
def test_what_was_announced_before_the_cell_may_end_it_and_anything_else_is_told_when_it_begins(
    sign: EndSignal,
) -> None:
    ending = Ending(NOW, sign)
    assert ending.untold is sign
    if sign in ANNOUNCED:
        assert ending.signal is sign and ending.begin() == [] and ending.untold is sign
        return
    (note,) = ending.begin()
    assert isinstance(note, Note) and note.text.endswith("since the last cell. Its variables are gone")
    assert ending.untold is None
    assert Ending(NOW, sign, told=True).begin() == []


def test_an_end_before_the_beginning_is_told_and_does_not_end_the_cell() -> None:
    ending = Ending(NOW)
    ending.receive(EndSignal.RESTARTING, NOW)
    (note,) = ending.begin()
    assert isinstance(note, Note) and "It runs in the new kernel" in note.text
    assert (ending.signal, ending.is_certain, ending.is_told) == (None, False, True)


def test_an_interrupt_is_held_until_something_comes_behind_it() -> None:
    held, interrupt = HeldInterrupt(), Error("KeyboardInterrupt", "")
    assert not held.is_open and held.release() == []
    held.hold(interrupt)
    assert held.is_open and held.is_held
    assert held.release(Started()) == [], "that is no word of the cell's"
    assert held.release(Stream("stdout", "cleaned up")) == [interrupt]
    assert held.is_open and not held.is_held, "it is shown, and still may be a shutdown's"
    assert held.release() == []


# -- played to the watch: a kernel that ends


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
    EndSignal.OUR_RESTART: (
        "the kernel was restarted from here during this cell (output above may be incomplete). Its variables are gone"
    ),
    EndSignal.OUR_SHUTDOWN: "the kernel was shut down from here during this cell; it has no kernel now",
}


@pytest.mark.parametrize("sign", EndSignal)
@pytest.mark.parametrize("lines", [0, 2])
def test_a_running_cell_dies_with_its_kernel_which_is_told_whatever_was_shown(sign: EndSignal, lines: int) -> None:
    cell = running().get(*[stream("a\nb\n")] * (lines // 2)).sign(sign)
    if sign in ANNOUNCED:
        cell.get(error("KeyboardInterrupt", ""), status("idle"))
    cell.wait(T.shutdown_reply + T.server_end + 0.2)
    assert (cell.fate, cell.reason, cell.watch.shown) == (Fate.DIED, DIED[sign], lines)


WITH_ITS_SERVER = "the kernel was shut down with its server during this cell; it has no kernel now"


def running_when_shut_down() -> Watched:
    """A deleted kernel and a server that ends send the same (FACTS.md#kernel-deaths)."""
    return running().sign(EndSignal.SHUTDOWN).get(error("KeyboardInterrupt", ""), status("idle"))


def test_f11_a_server_that_ends_with_its_kernel_is_told_as_that() -> None:
    cell = running_when_shut_down().wait(0.6)
    assert (cell.fate, Action.ASK_SERVER in cell.said) == (None, True)
    cell.watch.server_says(None, cell.now)  # it is on its way out
    assert (cell.wait(0.3).fate, cell.watch.verdict) == (None, None)
    cell.watch.server_says("", cell.now)
    cell.wait(0.2)
    assert (cell.fate, cell.reason) == (Fate.DIED, WITH_ITS_SERVER)


def test_f11_also_when_its_connection_closes_first() -> None:
    cell = running_when_shut_down().wait(0.4)
    cell.watch.broke("the server closed the connection", "10:00:00", cell.now)
    cell.wait(0.4)
    cell.watch.server_says("", cell.now)
    cell.wait(0.2)
    assert (cell.fate, cell.reason) == (Fate.DIED, WITH_ITS_SERVER)


@pytest.mark.parametrize("state", [None, "idle"])
def test_f7_a_server_that_goes_on_answering_shut_its_kernel_down_for_a_client(state: str | None) -> None:
    cell = running_when_shut_down()
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
@pytest.mark.parametrize("sign", sorted(RESTARTS, key=str))
def test_f5_f6_a_restart_whose_first_words_are_lost_is_asked_for_until_it_answers(
    cell: Callable[[], Watched], sign: EndSignal
) -> None:
    watched = cell().sign(sign).wait(T.ask_kernel_again + 0.2).asked_kernel()
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


# -- played to the watch: a kernel that ends while our cell is queued


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


def test_a_cell_that_kills_its_kernel_before_a_word_is_out_is_told_alike_over_both_transports() -> None:
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
