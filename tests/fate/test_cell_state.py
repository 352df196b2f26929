"""What follows at a moment from what is known of a cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.cell_state import CellState
from kernel_bridge_magic.fate.ending import Ending
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, reply, status

T = timing.current
NOW = 100.0


def state(*messages: Message, deadline: float | None = None) -> CellState:
    made = CellState(Request(CELL), Ending(NOW), NOW, deadline)
    for message in messages:
        made.request.receive(message)
    return made


def test_time_is_up_unless_the_other_half_of_the_end_is_on_its_way() -> None:
    assert not state().is_out_of_time(1e9)
    assert state(deadline=NOW + 5).is_out_of_time(NOW + 5)
    for half in (reply(), status("idle")):
        ending = state(half, deadline=NOW + 1)
        assert not ending.is_out_of_time(NOW + T.reply_grace - 0.1)
        assert ending.is_out_of_time(NOW + T.reply_grace)
        ending.outage.broke("reset", "10:00:00", NOW)
        assert ending.is_out_of_time(NOW + 1), "nothing comes over a link that is down"


def test_a_link_is_lost_when_it_gave_no_sign_since_it_broke_or_the_cell_was_sent() -> None:
    one = state()
    assert not one.is_link_lost(1e9)
    one.surroundings = replace(one.surroundings, lost_since=NOW - 50, reconnect_timeout=60.0)
    assert not one.is_link_lost(NOW + 59) and one.is_link_lost(NOW + 60)
    one.surroundings = replace(one.surroundings, reconnect_timeout=None)
    assert not one.is_link_lost(1e9)


def test_an_idle_is_missed_behind_the_reply_while_nothing_is_coming() -> None:
    assert not state(status("idle")).misses_idle(1e9)
    one = state(reply())
    assert not one.misses_idle(NOW + T.reply_grace - 0.1) and one.misses_idle(NOW + T.reply_grace)
    one.surroundings = replace(one.surroundings, receiving_at=NOW + 10)
    assert not one.misses_idle(NOW + 10)
    assert not one.lost_idle(NOW + T.iopub_backlog - 0.1) and one.lost_idle(NOW + T.iopub_backlog)


@pytest.mark.parametrize("sign", [EndSignal.LEFT, EndSignal.RESTARTING, EndSignal.DEAD])
def test_a_kernel_that_ended_is_asked_about_what_it_had_not_begun(sign: EndSignal) -> None:
    for started, died in ((True, True), (False, sign is EndSignal.DEAD)):
        one = state(*[status("busy")] * started)
        one.ending.receive(sign, NOW)
        assert not one.seems_over(NOW + T.settle - 0.1) and one.seems_over(NOW + T.settle + 0.01)
        assert one.has_died(NOW + T.settle + 0.01) is died
        assert one.is_open_how(NOW + T.settle + 0.01)


@pytest.mark.parametrize(
    ("fate", "begun"),
    [(None, None), (Fate.NOT_RUN, False), (Fate.OK, True), (Fate.UNKNOWN, None), (Fate.LEFT_RUNNING, None)],
)
def test_whether_it_has_begun_is_told_as_far_as_it_is_known(fate: Fate | None, begun: bool | None) -> None:
    assert state().begun(fate) is begun
    assert state(status("busy")).begun(fate) is (fate is not Fate.NOT_RUN)
    queued = state()
    queued.waiting.tick(NOW + 1, free=False)
    assert queued.begun(fate) is (False if fate in (None, Fate.LEFT_RUNNING) else begun)
