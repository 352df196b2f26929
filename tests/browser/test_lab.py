"""What of the harness no test beside it uses; the rest would fail with them."""

from __future__ import annotations

import asyncio

from tests.browser.lab import Lab


def test_leaves_no_event_loop_behind(lab: Lab) -> None:
    lab.window()

    async def two() -> int:
        return 2

    assert asyncio.run(two()) == 2
