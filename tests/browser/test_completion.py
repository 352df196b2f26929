"""Tab and Shift-Tab in a `%%remote` cell, in a real browser: what pops up is the other kernel's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import TimeoutError

from tests.browser.cells import Cells, beside
from tests.browser.lab import Lab, Page

THERE = """
class Table:
    'doc of Table'
    only_here_is_this = only_there = 1
table = Table()
def mean_there(values):
    'doc of mean_there, which nobody has here'
"""
#: what has popped up, in JavaScript: each cell that had a list keeps it, hidden
ITEMS = "[...document.querySelectorAll('.jp-Completer-item')].filter(it => it.offsetParent)"
TOOLTIP = ".jp-Tooltip"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Page]:
    others = ["there.ipynb", "my notes.ipynb"]
    with beside(lab, request.param, "here.ipynb", f"%%remote there\n{THERE}\nimport pandas as pd\n"
                "df = pd.DataFrame({'only_a': [1], 'only_b': [2]})", others) as page:  # fmt: skip
        yield page


def press(page: Page, key: str, shows: str) -> None:
    """Press a key until JavaScript gives something true: a kernel that needs over half a second gives nothing."""
    for _ in range(10):
        page.do(lambda window: window.keyboard.press(key))
        with contextlib.suppress(TimeoutError):
            page.wait_for(shows, seconds=2)
            return
    raise AssertionError(f"{key} shows nothing")


def popup(page: Page) -> list[list[str]]:
    """Press Tab until something pops up. Give text and type."""
    press(page, "Tab", f"{ITEMS}.length")
    parts = "'.jp-Completer-match, .jp-Completer-typeExtended'"
    rows: list[list[str]] = page.js(f"{ITEMS}.map(it => [...it.querySelectorAll({parts})].map(part => part.innerText))")
    return rows


def new_cell(cells: Cells, text: str) -> int:
    """Type into a new cell, as a hand does."""
    page = cells.page
    place = int(page.js("cells.length"))
    page.set_cell(place, "")
    page.type(place, text)
    return place


def source(page: Page, place: int) -> str:
    text: str = page.js("cells[arg].model.sharedModel.getSource()", place)
    return text


def test_the_columns_of_a_table_that_is_only_there(cells: Cells) -> None:
    page = cells.page
    place = new_cell(cells, "%%remote there\nsmile = '😀𝒳'; df.only")
    rows = popup(page)
    assert [row[0] for row in rows] == ["only_a", "only_b"]
    page.do(lambda window: window.keyboard.press("Enter"))
    page.wait_for("cells[arg].model.sharedModel.getSource().endsWith('df.only_a')", place)
    assert source(page, place) == "%%remote there\nsmile = '😀𝒳'; df.only_a"


def test_kernels_come_first_behind_the_magic(cells: Cells) -> None:
    page = cells.page
    place = new_cell(cells, "%%remote ")
    rows = popup(page)
    assert [row[0] for row in rows[:2]] == ['"my notes"', "there"]
    assert rows[0][1] in ("idle", "starting", "unused") and len(rows[0][1].split()) == 1
    page.do(lambda window: window.keyboard.press("Enter"))
    page.wait_for("cells[arg].model.sharedModel.getSource() === '%%remote \"my notes\"'", place)


def test_options(cells: Cells) -> None:
    page = cells.page
    place = new_cell(cells, "%%remote --no")
    assert popup(page)[:2] == [["--no-group", "option"], ["--no-raise-error", "option"]]
    page.do(lambda window: window.keyboard.press("Enter"))
    page.wait_for("cells[arg].model.sharedModel.getSource() === '%%remote --no-group'", place)


def test_the_documentation_of_a_function_that_is_only_there(cells: Cells) -> None:
    page = cells.page
    new_cell(cells, "%%remote there\nmean_there(")
    shown = f"document.querySelector('{TOOLTIP}')?.innerText"
    press(page, "Shift+Tab", f"{shown}?.includes('doc of mean_there, which nobody has here')")
    page.do(lambda window: window.keyboard.press("Escape"))


def test_the_question_mark_shows_it_too(cells: Cells) -> None:
    place = cells.remote("mean_there?", match="there")
    assert "doc of mean_there" in cells.text(place)
