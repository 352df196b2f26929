"""The signs that a kernel ends, as one cell meets them."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.ending import Ending, HeldInterrupt
from kernel_bridge_magic.fate.life import ANNOUNCED, EndSignal, KernelEnd
from kernel_bridge_magic.protocol.events import Error, Note, Started, Stream

T = timing.current
NOW = 100.0


@pytest.mark.parametrize("sign", EndSignal)
def test_a_sign_is_certain_unless_it_only_announces_the_end(sign: EndSignal) -> None:
    ending = Ending(NOW)
    assert ending.signal is None and ending.end == KernelEnd("its kernel process ended")
    ending.receive(sign, NOW)
    assert ending.signal is sign
    assert ending.is_certain is not ending.is_announced
    assert ending.end == KernelEnd(sign.told, sign.comes_back)


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
