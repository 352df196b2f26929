"""What of the harness no test beside it uses; the rest would fail with them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.lab import Lab

pytestmark = pytest.mark.browser


def test_theme_and_pictures(lab: Lab, tmp_path: Path) -> None:
    lab.write("look.ipynb", ["1"])
    page = lab.open("look.ipynb")
    page.set_theme("JupyterLab Dark")
    page.screenshot(tmp_path / "window.png")
    page.screenshot(tmp_path / "cell.png", 0)
    page.set_theme("JupyterLab Light")
    assert (tmp_path / "window.png").stat().st_size > (tmp_path / "cell.png").stat().st_size > 100


def test_leaves_no_event_loop_behind(lab: Lab) -> None:
    async def two() -> int:
        return 2

    assert asyncio.run(two()) == 2
