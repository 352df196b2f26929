from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.timing import Timing


def test_nobody_changes_a_bound_for_all() -> None:
    with pytest.raises(FrozenInstanceError):
        timing.current.unused = 1.0  # type: ignore[misc]


def test_a_server_that_knew_us_is_given_less_time_than_one_whose_kernel_is_busy() -> None:
    assert Timing().websocket_reopen < 60 < Timing().websocket_open
