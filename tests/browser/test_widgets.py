"""Another kernel's widgets in a real browser: moved here, read there, set there, seen to move here."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browser.cells import Cells
from tests.browser.lab import Lab, Page
from tests.support.servers import wait_for


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Page]:
    """`here.ipynb`, with the extension loaded; the kernels of `there.ipynb` and `other.ipynb` run beside it."""
    lab.end_sessions()
    for path in ("there.ipynb", "other.ipynb"):
        lab.start(path)
    lab.write("here.ipynb", ["%load_ext kernel_bridge_magic"])
    page = lab.open("here.ipynb", request.param, keep=True)
    page.run_cell(0)
    yield page
    page.close()
    lab.end_sessions()


def test_a_slider_moves_there_and_here(cells: Cells) -> None:
    place = cells.remote("import ipywidgets as w\nslider = w.IntSlider(value=42)\nslider")
    cells.wait_for(place, ".widget-readout", "42")
    cells.drag(place, 60)
    cells.page.wait_for("+cells[arg].node.querySelector('.widget-readout').innerText > 50", place)
    shown = cells.page.js("cells[arg].node.querySelector('.widget-readout').innerText", place)
    # The page sends a drag's last value when the one before is answered.
    wait_for(lambda: cells.value("slider.value") == shown, "the slider's last value there", every=0.2)
    cells.remote("slider.value = 7")
    cells.wait_for(place, ".widget-readout", "7")
    (output,) = [it for it in cells.page.outputs(place) if it["output_type"] == "execute_result"]
    assert output["data"]["text/plain"] == "IntSlider(value=42)"  # for whoever reads the file


def test_a_button_presses_there(cells: Cells) -> None:
    place = cells.remote(
        "import ipywidgets as w\nbutton = w.Button(description='press')\npresses = []\n"
        "button.on_click(lambda _: (presses.append(1), setattr(button, 'description', f'{len(presses)} times')))\n"
        "button"
    )
    cells.press(place)
    cells.wait_for(place, "button", "1 times")
    cells.press(place)
    cells.wait_for(place, "button", "2 times")
    assert cells.value("len(presses)") == "2"


def test_bars_move_while_their_cell_runs(cells: Cells) -> None:
    place = cells.remote(
        "import ipywidgets as w\nfrom tqdm.notebook import tqdm\n"
        "bar = w.IntProgress(max=4)\ndisplay(bar)\n"
        "for n in tqdm(range(4), mininterval=0):\n    bar.value = n + 1\n    if n == 2: input('go on? ')",
        wait=False,
    )
    cells.page.wait_for("cells[arg].node.querySelector('input.jp-Stdin-input')", place)
    cells.wait_for(place, ".widget-html-content", "2/4")
    width = "cells[arg].node.querySelector('.progress-bar').style.width"
    cells.page.wait_for(f"{width} === '75%'", place)
    cells.page.answer_input("")
    cells.page.wait_idle()
    cells.wait_for(place, ".widget-html-content", "4/4")
    cells.page.wait_for(f"{width} === '100%'", place)


def test_interact_shows_each_result_in_its_place(cells: Cells) -> None:
    place = cells.remote(
        "import ipywidgets as w\n@w.interact(x=(0, 10))\ndef double(x=3):\n    print('x is', x)\n    return 2 * x"
    )
    cells.wait_for(place, ".widget-interact", "x is 3")
    cells.drag(place, 30)
    cells.page.wait_for("!cells[arg].node.querySelector('.widget-interact').innerText.includes('x is 3')", place)

    def settled() -> bool:
        shown = re.fullmatch(r".*x (\d+) x is (\d+) (\d+)", cells.text(place))
        x, said, result = map(int, shown.groups()) if shown else (0, 0, 0)
        return (said, result) == (x, 2 * x) and x > 3

    wait_for(settled, "the result of the slider's last value")


def test_an_output_widget_keeps_what_is_shown_in_it(cells: Cells) -> None:
    place = cells.remote(
        "import ipywidgets as w\nout = w.Output()\ndisplay(out)\n"
        "with out:\n    print('in it')\n    display('shown in it')\n"
        "print('below it')\nwith out:\n    print('in it again')"
    )
    cells.wait_for(place, ".widget-output", "in it again")
    inside = cells.page.js("cells[arg].node.querySelector('.widget-output').innerText", place)
    assert re.sub(r"\s+", " ", inside).strip() == "in it 'shown in it' in it again"
    assert [it["text"] for it in cells.page.outputs(place) if it["output_type"] == "stream"] == ["below it\n"]


def test_two_kernels_widgets_live_side_by_side(cells: Cells) -> None:
    make = "import ipywidgets as w\nslider = w.IntSlider(value={})\nslider"
    there = cells.remote(make.format(10))
    other = cells.remote(make.format(20), match="other.ipynb")
    cells.drag(there, 60)
    cells.page.wait_for("+cells[arg].node.querySelector('.widget-readout').innerText > 10", there)
    cells.wait_for(other, ".widget-readout", "20")
    cells.remote("slider.value = 90", match="other.ipynb")
    cells.wait_for(other, ".widget-readout", "90")
    assert cells.page.js("+cells[arg].node.querySelector('.widget-readout').innerText", there) < 90


def test_the_notebooks_own_widgets_live_beside_them(cells: Cells) -> None:
    mine = cells.run("import ipywidgets as w\nslider = w.IntSlider(value=1)\nslider")
    there = cells.remote("import ipywidgets as w\nslider = w.IntSlider(value=2)\nslider")
    cells.wait_for(mine, ".widget-readout", "1")
    cells.wait_for(there, ".widget-readout", "2")
    cells.run("slider.value = 5")
    cells.wait_for(mine, ".widget-readout", "5")
    assert cells.value("slider.value") == "2"


def test_widgets_go_when_their_kernel_restarts(cells: Cells) -> None:
    place = cells.remote("import ipywidgets as w\nw.IntSlider(value=3)", match="other.ipynb")
    cells.wait_for(place, ".widget-readout", "3")
    (other,) = [it for it in cells.page.lab.rest("GET", "api/sessions") if it["path"] == "other.ipynb"]
    cells.page.lab.rest("POST", f"api/kernels/{other['kernel']['id']}/restart", {})
    cells.page.wait_for("!cells[arg].node.querySelector('.widget-slider')", place)
