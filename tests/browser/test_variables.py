"""Variables to and from another notebook in a real browser: their lines, a bar on the way, a question, Stop."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browser.cells import Cells, beside
from tests.browser.lab import Lab, Page

FRAME = "import pandas as pd\ndf = pd.DataFrame({'town': ['Bergen', 'Oslo'] * 500, 'mm': range(1000)})"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Page]:
    with beside(lab, request.param, "here.ipynb", "%%remote there\nhere = 'there'", ["there.ipynb"]) as page:
        yield page


def errors(page: Page, place: int) -> list[str]:
    return [f"{it['ename']}: {it['evalue']}" for it in page.outputs(place) if it["output_type"] == "error"]


def test_a_frame_comes_and_a_value_goes_and_each_has_a_line(cells: Cells) -> None:
    cells.run("limits = {'low': 800, 'high': [1, 2.5]}")
    place = cells.run(f"%%remote -o df -i limits there\n{FRAME}\nprint(limits)")
    sent = "limits: dict of 2, 169 bytes → there.ipynb {'low': 800, 'high': [1, 2.5]} df: "
    assert cells.text(place).startswith(sent)
    assert re.search(r"df: DataFrame 1,000 × 2, \d+ kB ← there\.ipynb$", cells.text(place))
    assert cells.text(cells.run("print(type(df), df['mm'].sum())")).endswith("DataFrame'> 499500")
    again = cells.run("%%remote -o df there\npass")
    assert cells.text(again).endswith("← there.ipynb (replaced)")


def test_what_is_large_has_a_bar_until_it_is_here(cells: Cells) -> None:
    page = cells.page
    cells.remote("big = bytearray(200_000_000)", match="there")
    place = cells.run("%%remote -o big --transport zmq there\npass", wait=False)
    page.wait_text(place, " of 200 MB, ")
    page.wait_idle()
    assert cells.text(place) == "big: bytearray 200 MB ← there.ipynb"
    assert "of 200 MB" not in str(page.outputs(place)), "the bar is not in the saved notebook"


def test_more_than_is_allowed_is_asked_for(cells: Cells) -> None:
    page = cells.page
    cells.remote("much = bytes(3_000_000)", match="there")
    place = cells.run("%%remote -o much --max-size 1MB there\npass", wait=False)
    page.wait_text(place, "much is larger than 1.0 MB (3.0 MB at least). Copy up to ")
    page.answer(place, "y")
    page.wait_idle()
    assert "much: bytes 3.0 MB ← there.ipynb" in cells.text(place)
    place = cells.run("%%remote -o much --max-size 1MB there\npass", wait=False)
    page.answer(place, "n")
    page.wait_idle()
    (error,) = errors(page, place)
    assert error.startswith("BadVariable: the cell has run, but much is larger than 1.0 MB")


def test_stop_half_way_leaves_all_as_it_was(cells: Cells) -> None:
    page = cells.page
    cells.run("big = 'old'")
    cells.remote("big = bytearray(400_000_000)", match="there")
    place = cells.run("%%remote -o big --transport zmq there\nprint('has run')", wait=False)
    page.wait_text(place, "of 400 MB")
    page.stop_button()
    page.wait_idle()
    assert "has run" in page.text(place) and errors(page, place) and "of 400 MB" not in page.text(place)
    assert cells.text(cells.run("big")).endswith("'old'")
    assert cells.value("'kernel_bridge_held' in vars(get_ipython())") == "False"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("%%remote -o nope there\npass", "BadVariable: the cell has run, but there.ipynb has no variable nope"),
        ("%%remote -i nope there\nran = 1", "BadVariable: there is no variable nope here, so nothing was run"),
        ("%%remote -i print there\nran = 1", "BadOption: -i 'print' is not a variable name that can be"),
        ("%%remote -i cells there\nran = 1", "BadVariable: cells is of the type Cells, which cannot be copied"),
    ],
)
def test_what_cannot_be_is_one_line(code: str, error: str, cells: Cells) -> None:
    cells.run("class Cells: pass\ncells = Cells()")
    place = cells.run(code)
    (told,) = errors(cells.page, place)
    assert told.startswith(error) and "\n" not in told
    assert "Traceback" not in cells.text(place)
    assert cells.value("'ran' in globals()") == "False"
