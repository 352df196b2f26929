from __future__ import annotations

import time

import pytest

from kernel_bridge_magic.access.deadline import NEVER, Deadline


def test_what_is_left_is_never_negative() -> None:
    soon, passed = Deadline.after(60.0), Deadline.after(-1.0)
    assert 59.0 < soon.left <= 60.0 and not soon.is_over
    assert passed.left == 0.0 and passed.is_over
    assert 59.0 < soon.require() <= 60.0
    with pytest.raises(TimeoutError):
        passed.require()


def test_the_earlier_of_two_counts() -> None:
    soon = Deadline.after(1.0)
    assert min(soon, NEVER) is soon
    assert min(soon, Deadline.after(9.0)) is soon
    assert not NEVER.is_over and NEVER.left == float("inf")


def test_it_stays_where_it_is() -> None:
    soon = Deadline.after(0.05)
    time.sleep(0.06)
    assert soon.is_over and soon == Deadline(soon.at)
