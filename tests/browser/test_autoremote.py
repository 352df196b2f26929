"""`%autoremote` in JupyterLab and Notebook 7: the whole list of cells, the mark, a death in Run All."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from kernel_bridge_magic.text import without_colours
from tests.browser.cells import Cells, beside
from tests.browser.lab import Lab, Page
from tests.support.typed import BEGUN, CELLS, NAME, SETUP

MARK = f"→ {NAME}.ipynb"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Page]:
    with beside(lab, request.param, "typing.ipynb", SETUP[1], [f"{NAME}.ipynb"]) as page:
        yield page


def plain(page: Page, place: int) -> list[str]:
    """The texts of a cell's outputs as they are saved."""
    outputs = page.outputs(place)
    texts = [it.get("text") or it.get("data", {}).get("text/plain") or it.get("traceback", "") for it in outputs]
    return [without_colours("".join(text)) for text in texts]


def test_all_that_somebody_types(page: Page) -> None:
    assert plain(page, 1) == [BEGUN]
    first = int(page.js("cells.length"))
    for place, typed in enumerate(CELLS, first):
        page.set_cell(place, typed.code)
    places = range(first, first + len(CELLS))
    page.run_cells(places)
    for place, typed in zip(places, CELLS, strict=True):
        texts = plain(page, place)
        text = "\n".join(texts)
        assert re.search(typed.shows, text) if typed.shows else not text, f"{typed.code}:\n{text}"
        assert (MARK in texts) is (bool(text) and not typed.here), f"{typed.code}:\n{text}"
        assert page.execution_count(place) == place + 1


def test_the_mark_stands_small_and_grey_at_the_right(page: Page, cells: Cells) -> None:
    cells.run(SETUP[1])
    place = cells.run("print('the first line')")
    mark = "[...cells[arg].outputArea.node.querySelectorAll('div')].find(it => it.style.float === 'right')"
    assert page.js(f"{mark}.innerText", place) == MARK
    assert page.js(
        f"{mark}.getBoundingClientRect().right > cells[arg].outputArea.node.getBoundingClientRect().right - 60", place
    )
    assert page.js(f"parseFloat(getComputedStyle({mark}).fontSize) < 13", place)
    page.run_cell(
        place, "from IPython.display import clear_output\nfor n in range(3): clear_output(wait=True); print(n)"
    )
    assert plain(page, place) == [MARK, "2\n"]
    cells.run(f"%autoremote -q {NAME}")
    assert plain(page, cells.run("print('bare')")) == ["bare\n"]
    cells.run("%autoremote off")


def test_what_a_widget_runs_runs_here(page: Page, cells: Cells) -> None:
    cells.run("%autoremote off")
    place = cells.run(
        "import ipywidgets\nwho, ran = 'here', []\nbutton = ipywidgets.Button(description='run')\n"
        "button.on_click(lambda _: get_ipython().run_cell('ran.append(who)', store_history=True))\nbutton"
    )
    cells.run(SETUP[1])
    cells.press(place)
    page.wait_idle()
    assert plain(page, cells.run("%%local\nran")) == ["['here']"]
    cells.run("%autoremote off")


def test_a_death_stops_run_all_and_the_next_cell_tells_it(page: Page, lab: Lab) -> None:
    page.delete_cells(2)
    codes = ["x = 1", "import os; os.kill(os.getpid(), 9)", "y = 1", "'x' in dir(), 'y' in dir()"]
    for place, code in enumerate(codes, 2):
        page.set_cell(place, code)
    page.run_all()
    assert page.outputs(3)[-1]["ename"] in ("KernelDied", "FateUnknown")
    assert page.execution_count(4) is None and page.outputs(4) == []
    page.run_cell(5)
    told, *rest = plain(page, 5)
    # Where the server still starts it anew, a second line says how it is connected to.
    assert told.startswith(f"kernel-bridge: {NAME}.ipynb ended during an earlier cell. Its variables are gone\n")
    assert rest == [MARK, "(False, False)"]
    page.run_cell(4)
    page.run_cell(5)
    assert plain(page, 5) == [MARK, "(False, True)"]


def test_a_kernel_that_starts_anew_here_has_forgotten_it(page: Page) -> None:
    page.js("notebook.sessionContext.restartKernel().then(() => true)")
    page.wait_idle()
    page.run_cell(2, "'x' in dir()")
    assert plain(page, 2) == ["False"]
