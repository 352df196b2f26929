from __future__ import annotations

from kernel_bridge_magic.fate.patience import Failure
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.close_codes import End
from kernel_bridge_magic.transports.reconnecting import Reconnecting

BROKE, UNWANTED = End("reset"), End("not wanted", 1008)


def tries(link: Reconnecting, why: Failure) -> int:
    """How many more tries of this outcome there are, up to 50."""
    for number in range(50):
        if link.wait(0.5) is None:
            return number
        link.failed(why)
    return 50


def test_a_link_that_broke_is_tried_again_and_counted_once_it_is_back() -> None:
    link = Reconnecting(here=False)
    link.broke(BROKE, 0.0)
    assert link.wait(0.5) is not None
    assert tries(link, Failure.OTHER) == 50
    link.back(3.0)
    assert link.count == 1


def test_a_server_of_this_machine_that_refuses_has_ended() -> None:
    link = Reconnecting(here=True)
    link.broke(BROKE, 0.0)
    few = tries(link, Failure.REFUSED)
    assert 0 < few < 50
    link.renewed()
    assert tries(link, Failure.REFUSED) == few


def test_a_link_that_breaks_as_soon_as_it_is_back_uses_up_its_tries() -> None:
    link = Reconnecting(here=False)
    link.broke(UNWANTED, 0.0)
    now = 0.0
    for _ in range(50):
        if link.wait(0.5) is None:
            break
        link.back(now)
        link.broke(UNWANTED, now + timing.current.websocket_short_lived / 2)
        now += timing.current.websocket_short_lived
    assert link.wait(0.5) is None


def test_one_that_was_back_for_good_begins_anew() -> None:
    link = Reconnecting(here=True)
    link.broke(BROKE, 0.0)
    few = tries(link, Failure.REFUSED)
    link.back(10.0)
    link.broke(BROKE, 10.0 + timing.current.websocket_short_lived + 1)
    assert tries(link, Failure.REFUSED) == few
