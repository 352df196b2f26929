from __future__ import annotations

import pytest

from kernel_bridge_magic.fate.life import EndSignal, Life
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import is_rate_limit
from tests.support.wire import CELL, KERNEL, OURS, msg, status, stream

DATA_RATE = "IOPub data rate exceeded.\nThe Jupyter server will temporarily stop sending output\n"


def known_life() -> Life:
    life = Life(OURS)
    for parent in ("info", CELL):
        assert life.receive(status("busy", parent=parent)) is None
    return life


def test_a_new_session_is_a_new_life_once_the_old_one_is_known() -> None:
    life = known_life()
    assert life.session == KERNEL
    assert life.receive(status("starting", sender="kernel-life-2", parent="")) is EndSignal.NEW_LIFE
    assert life.session == "kernel-life-2"
    assert life.ended is None


def test_the_server_s_own_messages_are_no_life() -> None:
    life = known_life()
    assert life.receive(stream(DATA_RATE, "stderr", sender=OURS)) is None
    # behind a gateway the warning bears the gateway's session
    assert life.receive(stream(DATA_RATE, "stderr", sender="gateway")) is None
    assert life.session == KERNEL


def test_a_kernel_with_a_session_for_each_message_or_request_never_seems_to_restart() -> None:
    life = Life(OURS)
    assert not any(life.receive(status("busy", sender=f"x{n}", parent=f"cell-{n // 9}")) for n in range(90))
    life = Life(OURS)
    for n in range(20):
        for state in ("busy", "idle"):
            assert life.receive(status(state, sender=f"x{n}", parent=f"cell-{n}")) is None


def test_restarting_then_a_new_session_is_one_restart() -> None:
    life = known_life()
    assert life.receive(status("restarting", sender=OURS, parent="")) is EndSignal.RESTARTING
    assert life.receive(status("starting", sender="kernel-life-2", parent="")) is None


@pytest.mark.parametrize("restart", [True, False])
def test_behind_a_goodbye_any_other_session_is_the_new_life(restart: bool) -> None:
    life = Life(OURS)
    goodbye = msg("shutdown_reply", {"restart": restart}, parent="x")
    assert life.receive(goodbye) is (sign := EndSignal.RESTART if restart else EndSignal.SHUTDOWN)
    for same in (status("idle", parent="x"), stream(DATA_RATE, "stderr", sender=OURS)):
        assert (life.receive(same), life.awaited) == (None, sign)
    assert life.receive(status("starting", sender="kernel-life-2", parent="")) is EndSignal.NEW_LIFE
    assert life.awaited is None


@pytest.mark.parametrize(("restart", "sign"), [(True, EndSignal.OUR_RESTART), (False, EndSignal.OUR_SHUTDOWN)])
def test_a_goodbye_that_this_process_brought_about_is_no_other_client_s(restart: bool, sign: EndSignal) -> None:
    life = known_life()
    life.end_is_ours = True
    assert life.receive(msg("shutdown_reply", {"restart": restart}, parent="x")) is sign
    assert (life.awaited, life.ended) == (sign, None if restart else sign)
    assert "another" not in sign.end.told() and "from here" in sign.end.told()


def test_behind_a_crash_whatever_the_kernel_says_is_the_new_life() -> None:
    life = known_life()
    assert life.receive(status("restarting", sender=OURS, parent="")) is EndSignal.RESTARTING
    assert life.awaited is EndSignal.RESTARTING
    assert life.receive(status("busy", parent="x")) is None
    assert life.awaited is None


@pytest.mark.parametrize(
    ("message", "sign", "ended"),
    [
        (status("dead", sender=OURS, parent=""), EndSignal.DEAD, True),
        (msg("shutdown_reply", {"restart": True}, parent="x"), EndSignal.RESTART, False),
        (msg("shutdown_reply", {"restart": False}, parent="x"), EndSignal.SHUTDOWN, True),
        (msg("shutdown_reply", None, parent="x"), EndSignal.SHUTDOWN, True),
    ],
)
def test_signs_of_an_end(message: Message, sign: EndSignal, ended: bool) -> None:
    life = Life(OURS)
    assert life.receive(message) is sign
    assert (life.ended is not None) is ended


def test_only_the_server_s_words_are_a_rate_limit() -> None:
    assert is_rate_limit(DATA_RATE)
    assert not is_rate_limit("the IOPub data rate exceeded my hopes")
