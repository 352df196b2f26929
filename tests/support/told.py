"""What is told where something is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_bridge_magic.errors import KernelBridgeError

__all__ = ["told"]


def told(work: Callable[[], object]) -> str:
    """Give the one line that somebody reads who does that."""
    with pytest.raises(KernelBridgeError) as refused:
        work()
    assert "\n" not in str(refused.value)
    return str(refused.value)
