from __future__ import annotations

import pytest
from traitlets import TraitError
from traitlets.config import Config

from kernel_bridge_magic.choices import RECONNECT
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.protocol.tails import MAX_OUTPUT


def configured(**values: object) -> KernelBridge:
    return KernelBridge(config=Config({"KernelBridge": values}))


def test_what_holds_where_nothing_is_configured() -> None:
    it = configured()
    assert (it.servers, it.max_output, it.reconnect_timeout) == ({}, MAX_OUTPUT, RECONNECT)


@pytest.mark.parametrize(
    ("value", "seconds"), [(30, 30.0), ("5m", 300.0), ("2h", 7200.0), ("none", None), (None, None)]
)
def test_a_duration_is_seconds_or_has_a_unit(value: object, seconds: float | None) -> None:
    assert configured(reconnect_timeout=value).reconnect_timeout == seconds


@pytest.mark.parametrize("value", ["soon", "", "-1", -1, [], float("nan")])
def test_what_is_no_duration_is_refused_by_the_name_that_was_typed(value: object) -> None:
    with pytest.raises(TraitError, match=r"^c\.KernelBridge\.reconnect_timeout="):
        _ = configured(reconnect_timeout=value).reconnect_timeout


@pytest.mark.parametrize("values", [{"max_output": 3}, {"max_output": "x"}, {"servers": {"lab": "https://x/"}}])
def test_what_cannot_be_used_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(TraitError):
        configured(**values)
