"""What is said of a cell that waits, with a clock of our own."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.waiting import Waiting
from kernel_bridge_magic.protocol.events import Queued

T = timing.current
OURS = Queued("10:00:00", ours=True)


def test_it_is_told_once_and_later_of_a_kernel_that_has_nothing_to_run() -> None:
    for free, bound in ((False, T.queued_after), (True, T.queued_after_free)):
        waiting = Waiting(100.0)
        assert waiting.tick(100.0 + bound - 0.1, free=free) is None
        assert waiting.told is None
        assert waiting.tick(100.0 + bound, free=free) == Queued() == waiting.told
        assert waiting.tick(200.0, free=free) is None


def test_it_is_told_anew_when_something_else_is_in_the_way_for_good() -> None:
    waiting = Waiting(100.0)
    waiting.wait_for(OURS, 100.0)
    assert waiting.tick(101.0, free=False) is OURS
    waiting.wait_for(Queued(), 102.0)
    assert waiting.tick(102.0 + T.queued_after - 0.1, free=False) is None
    waiting.wait_for(OURS, 102.4)
    assert waiting.tick(110.0, free=False) is None, "they know"
