from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.timing import Timing
from kernel_bridge_magic.fate.waiting import Outage


def test_each_bound_is_some_time() -> None:
    assert all(getattr(timing.current, field.name) > 0 for field in fields(Timing))


def test_the_rules_read_the_bounds_that_are_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    outage = Outage()
    outage.broke("reset", "10:00:00", 100.0)
    assert outage.tick(100.0 + 0.1) == []
    monkeypatch.setattr(timing, "current", replace(timing.current, tell_link_is_down=0.05))
    assert len(outage.tick(100.0 + 0.1)) == 1


def test_nobody_changes_a_bound_for_all() -> None:
    with pytest.raises(FrozenInstanceError):
        timing.current.settle = 1.0  # type: ignore[misc]
