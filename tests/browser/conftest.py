from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.cells import Cells
from tests.browser.lab import Lab, Page, find_chromium

FAILURES = Path(__file__).parent / "failures"


@pytest.fixture(scope="session")
def needs_browser() -> None:
    """Skip where there is no browser to test with; in CI that is a failure: a suite that is not run proves nothing."""
    missing = [name for name in ("playwright", "jupyterlab") if importlib.util.find_spec(name) is None]
    if not find_chromium():
        missing.append("chromium")
    if missing:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="session")
def lab(needs_browser: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab and one browser for the whole suite: a test opens notebooks of its own."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def cells(page: Page, request: pytest.FixtureRequest) -> Iterator[Cells]:
    """New cells in the notebook `page` of the test's module."""
    failed = request.session.testsfailed
    yield Cells(page)
    if request.session.testsfailed > failed:
        page.js("kernel?.interrupt()")  # a cell that still waits would fail all that comes after


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep pictures of all windows of a test that failed, before its fixtures bring anything in order."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.when == "call" and report.failed:
        for page in _pages_of(item):
            _keep_picture(page, item.name)
    return report  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def _pages(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test close what it opened."""
    yield
    for page in _pages_of(request.node):
        if not page.keep:
            page.close()


def _pages_of(item: pytest.Item) -> list[Page]:
    funcargs = getattr(item, "funcargs", {})
    return [page for value in funcargs.values() if isinstance(value, Lab) for page in value.pages]


def _keep_picture(page: Page, name: str) -> None:
    FAILURES.mkdir(exist_ok=True)
    file = FAILURES / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', f'{name}-{page.path}')}.png"
    try:
        page.screenshot(file)
    except Exception as error:  # the window may be what is broken, and the test's own error says more
        print(f"no picture of {page.path}: {error}")
