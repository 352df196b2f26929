"""Which verdict the facts come to. The rules that say when are played in test_watch and test_rules."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import verdicts
from kernel_bridge_magic.fate.cell_state import CellState
from kernel_bridge_magic.fate.ending import Ending
from kernel_bridge_magic.fate.judgment import Judgment
from kernel_bridge_magic.fate.life import EndSignal, KernelEnd
from kernel_bridge_magic.protocol.events import Error, Lost, Note
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, entered, error, reply, status

NOW = 100.0
GONE = KernelEnd("was shut down or deleted", comes_back=False)


def cell(*messages: Message, sign: EndSignal | None = None, breaks: bool = False) -> tuple[CellState, Judgment]:
    state = CellState(Request(CELL), Ending(NOW), NOW, None)
    for message in messages:
        state.request.receive(message)
        state.aftermath.completion.receive(message)
        state.aftermath.arrived = True
    if sign is not None:
        state.ending.receive(sign, NOW)
    if breaks:
        state.outage.broke("reset", "10:00:00", NOW)
        state.outage.back(1.0, "10:00:01", NOW)
    return state, Judgment(state, "x.ipynb")


def fate_of(judgment: Judgment) -> Fate:
    assert judgment.verdict is not None
    return judgment.verdict.fate


def test_a_verdict_is_given_once() -> None:
    _, judgment = cell()
    judgment.judge(verdicts.OK)
    judgment.judge(verdicts.FAILED)
    assert judgment.verdict is verdicts.OK


def test_an_idle_that_is_not_waited_for_is_lost_and_a_beginning_that_was_not_heard_is_told() -> None:
    _, judgment = cell(status("busy"), reply())
    assert judgment.finish(without_idle=True) == []
    assert (judgment.verdict, judgment.lost_idle) == (verdicts.OK, True)
    _, judgment = cell(reply(), status("idle"))
    (lost,) = judgment.finish()
    assert isinstance(lost, Lost) and "start-of-cell" in lost.reason
    assert judgment.losses.missing is None


def test_a_cell_that_has_ended_does_not_die_with_its_kernel() -> None:
    _, judgment = cell(status("busy"), reply("error", ename="UsageError", evalue="bad"), sign=EndSignal.LEFT)
    assert judgment.end() == [Error("UsageError", "bad")], "nobody else tells of it"
    assert fate_of(judgment) is Fate.FAILED


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("sign", [None, *EndSignal])
@pytest.mark.parametrize("started", [False, True])
def test_a_kernel_that_is_gone(started: bool, sign: EndSignal | None, breaks: bool) -> None:
    state, judgment = cell(*[status("busy")] * started, sign=sign, breaks=breaks)
    judgment.gone(GONE)
    said_goodbye = state.ending.is_announced and (started or not breaks)
    expected = Fate.DIED if started else Fate.NOT_RUN if said_goodbye else Fate.UNKNOWN
    assert fate_of(judgment) is expected
    assert judgment.verdict is not None
    assert (GONE.how in judgment.verdict.reason) is not said_goodbye, "who said goodbye was told better"
    assert state.ending.is_told


@pytest.mark.parametrize(
    ("here", "alive", "fate"), [(True, False, Fate.DIED), (True, True, None), (False, False, None)]
)
def test_a_server_s_end_is_the_kernel_s_only_where_we_see_it(here: bool, alive: bool, fate: Fate | None) -> None:
    state, _ = cell(status("busy"))
    state.closed = "reset"
    judgment = Judgment(state, "x.ipynb", here=here)
    judgment.link_closed(server_alive=alive)
    assert fate_of(judgment) is (fate or Fate.UNKNOWN)


def test_what_is_no_longer_waited_for_is_judged_by_what_is_known() -> None:
    for messages, fate in (
        ((), Fate.LEFT_RUNNING),
        ((status("busy"),), Fate.LEFT_RUNNING),
        ((status("busy"), status("idle")), Fate.UNKNOWN),
        ((status("busy"), reply()), Fate.OK),
    ):
        _, judgment = cell(*messages)
        judgment.leave("no longer waiting")
        assert fate_of(judgment) is fate
    _, judgment = cell(status("busy"))
    judgment.give_link_up("nothing was heard")
    assert fate_of(judgment) is Fate.UNKNOWN


@pytest.mark.parametrize(
    ("messages", "sign", "breaks", "fate"),
    [
        ((), None, False, Fate.NOT_RUN),
        ((), None, True, None),
        ((), EndSignal.RESTART, False, Fate.NOT_RUN),
        ((), EndSignal.RESTART, True, Fate.UNKNOWN),
        ((), EndSignal.RESTARTING, False, Fate.UNKNOWN),
        ((status("busy"),), None, False, Fate.UNKNOWN),
        ((status("busy"),), None, True, None),
        ((status("busy"),), EndSignal.RESTARTING, True, Fate.DIED),
        ((status("busy"), entered(), status("idle")), None, False, None),
    ],
)
def test_an_answer_from_behind_the_cell(
    messages: tuple[Message, ...], sign: EndSignal | None, breaks: bool, fate: Fate | None
) -> None:
    state, judgment = cell(*messages, sign=sign, breaks=breaks)
    steps = judgment.conclude_probe(NOW)
    assert (judgment.verdict and judgment.verdict.fate) is fate
    sought = judgment.verdict is None
    assert bool(steps) is state.aftermath.awaits_record is (sought and state.aftermath.arrived)
    assert (state.aftermath.proof is not None) is (sought and not state.aftermath.arrived)


def test_a_record_stands_in_for_the_reply() -> None:
    for record, fate in ((None, Fate.UNKNOWN), ({"status": "ok"}, Fate.OK), ({"status": "error"}, Fate.FAILED)):
        _, judgment = cell(status("busy"), entered(), error(), status("idle"))
        assert judgment.kernel_recorded(record, NOW) == [], "nobody asked"
        judgment.conclude_probe(NOW)
        events = judgment.kernel_recorded(record, NOW)
        assert fate_of(judgment) is fate
        assert judgment.lost_reply is (record is not None)
        assert any(isinstance(event, Note) and "remembers" in event.text for event in events) is judgment.lost_reply


def test_a_proof_needs_fewer_missing_messages_than_a_cell_makes() -> None:
    for unexplained, fate in ((3, Fate.NOT_RUN), (4, Fate.UNKNOWN), (None, Fate.UNKNOWN)):
        state, judgment = cell(breaks=True)
        judgment.conclude_probe(NOW)
        judgment.proven(unexplained)
        assert fate_of(judgment) is fate
        assert state.aftermath.proof is None
