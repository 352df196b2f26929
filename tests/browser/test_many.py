"""One cell on many kernels in a real browser: while it runs, at its end, and from the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.cells import Cells, beside, waiting_for
from tests.browser.lab import Lab, Page
from tests.support.servers import wait_for

NAMES = ("east", "north", "south", "west")
#: What each of the kernels is called there.
WHO = "import os, time\nwho = os.path.basename(os.environ['JPY_SESSION_NAME']).partition('.')[0]\n"
TIME = re.compile(r" (in )?\d+\.\d s")


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Page]:
    """A teacher's notebook, with the extension loaded; the kernels of four students run beside it."""
    students = [f"students/{name}.ipynb" for name in NAMES]
    with beside(lab, request.param, "teacher.ipynb", f"%%remote --all students\n{WHO}", students) as page:
        yield page


def on_all(cells: Cells, code: str, options: str = "", *, wait: bool = True) -> int:
    return cells.run(f"%%remote --all {options} students\n{code}", wait=wait)


def plain(page: Page, place: int) -> list[str]:
    """The texts of a cell's outputs as they are saved, without times."""
    outputs = page.outputs(place)
    texts = ["".join(it.get("text") or it.get("data", {}).get("text/plain", "")) for it in outputs]
    return [TIME.sub("", text) for text in texts]


def test_each_kernel_is_seen_at_work_and_the_end_is_what_stays(cells: Cells, tmp_path: Path) -> None:
    page, go = cells.page, tmp_path / "go"
    code = (
        "for n in range(3): print(f'\\rstep {n}', end='', flush=True)\n"
        f"{waiting_for(go)}"
        "if who == 'west': 1 / 0\nprint()\nfor n in range(12): print('line', n)"
    )
    place = on_all(cells, code, "--no-raise-error", wait=False)
    page.wait_text(place, "4 kernels: 4 running (east, north, south, west)")
    page.wait_for("cells[arg].outputArea.node.innerText.match(/step 2/g)?.length === 4", place)
    assert "step 1" not in page.text(place) and page.js("cells[arg].node.querySelector('details')", place) is None
    go.touch()
    page.wait_idle()
    summary, good, bad = plain(page, place)
    assert summary == "4 kernels: 3 ok, 1 failed (west)"
    assert good.startswith("── east, north, south (3): ok\nstep 2\nline 0\n")
    assert bad.startswith("── west: failed\nstep 2\n") and "ZeroDivisionError" in bad
    # A long block that is ok is closed, and what went wrong is open. Neither changes by itself any more.
    details = "cells[arg].node.querySelector('details')"
    assert page.js(f"{details}.open", place) is False
    assert not page.js("cells[arg].outputArea.node.innerText.includes('line 11')", place)
    assert "ZeroDivisionError" in page.text(place)
    page.js(f"{details}.querySelector('summary').click()", place)
    on_all(cells, "print('another cell')")
    assert page.js(f"{details}.open", place) is True and "line 11" in page.text(place)
    links = page.js("[...cells[arg].node.querySelectorAll('a')].map(it => it.getAttribute('href'))", place)
    assert len(links) == 4 and all("students/" in link for link in links)


def test_what_changes_in_a_block_is_as_it_ends(cells: Cells, tmp_path: Path) -> None:
    page, go = cells.page, tmp_path / "go"
    place = on_all(
        cells,
        "from IPython.display import clear_output\nprint('gone'); clear_output()\n"
        "shown = display('before', display_id=True)\nshown.update('after')\nprint('\\x1b[31mred\\x1b[0m')",
    )
    assert plain(page, place) == ["4 kernels: 4 ok", "── east, north, south, west (4): ok\n'after'\nred"]
    later = on_all(
        cells,
        f"def change():\n    {waiting_for(go)}    shown.update('last')\n"
        "shown.update('later'); import threading; threading.Thread(target=change).start()",
    )
    assert plain(page, later) == ["4 kernels: 4 ok", "── east, north, south, west (4): ok\n'later'"]
    go.touch()
    for name in NAMES:
        page.wait_text(later, f"students/{name}.ipynb shows this after its cell has ended")
    page.wait_for("cells[arg].outputArea.node.innerText.match(/'last'/g)?.length === 4", later)
    assert page.js("cells[arg].node.querySelector('.ansi-red-fg').innerText", place) == "red"
    colour = page.js("getComputedStyle(cells[arg].node.querySelector('.ansi-red-fg')).color", place)
    assert colour == "rgb(231, 92, 88)"  # what the front end's own style makes of it


def test_html_of_a_kernel_is_no_part_of_ours(cells: Cells) -> None:
    page = cells.page
    page.js("window.ran = 0")
    place = on_all(
        cells,
        "from IPython.display import HTML\nprint('before')\n"
        "display(HTML('</pre></div><b>theirs</b><script>window.ran = (window.ran ?? 0) + 1</script>'))\nprint('after')",
    )
    assert plain(page, place) == [
        "4 kernels: 4 ok",
        "── east, north, south, west (4): ok\nbefore",
        "<IPython.core.display.HTML object>",
        "after",
    ]
    assert page.js("window.ran") == 1  # it is shown once, as natively, where outputs are equal
    ours = page.js(
        "[...cells[arg].node.querySelectorAll('.jp-OutputArea-output')].filter(it => it.innerText.includes('theirs'))"
        ".map(it => it.innerText.trim())",
        place,
    )
    assert ours == ["theirs"]


def test_a_plot_and_a_table_are_as_natively(cells: Cells) -> None:
    page = cells.page
    place = on_all(
        cells,
        "import matplotlib.pyplot as plt, pandas as pd\n%matplotlib inline\n"
        "plt.figure(figsize=(2, 1)); plt.plot([1, 3, 2]); plt.show()\npd.DataFrame({'city': ['Oslo']})",
    )
    page.wait_for("cells[arg].node.querySelector('img')?.naturalWidth > 50", place)
    assert page.js("cells[arg].node.querySelector('table.dataframe td').innerText", place) == "Oslo"
    assert len(page.outputs(place)) == 3  # the line, the block with its picture, the table


def test_a_slider_in_a_block_moves_there_and_here(cells: Cells) -> None:
    page = cells.page
    code = "if who == 'north':\n    import ipywidgets\n    slider = ipywidgets.IntSlider(9)\n    display(slider)"
    place = on_all(cells, code)
    cells.wait_for(place, ".widget-readout", "9")
    cells.drag(place, 60)
    page.wait_for("+cells[arg].node.querySelector('.widget-readout').innerText > 9", place)
    shown = page.js("cells[arg].node.querySelector('.widget-readout').innerText", place)
    there = "%remote north slider.value"
    wait_for(lambda: page.outputs(cells.run(there))[-1]["data"]["text/plain"] == shown, "its last value", every=0.2)
    cells.run("%%remote north\nslider.value = 2")
    cells.wait_for(place, ".widget-readout", "2")


def test_late_output_names_its_kernel(cells: Cells) -> None:
    page = cells.page
    place = on_all(cells, "import threading\nif who == 'north': threading.Timer(0.5, print, ['late']).start()")
    page.wait_text(place, "late")
    assert re.search(r"students/north\.ipynb shows this after its cell has ended\s+late", page.text(place))


def test_what_comes_late_while_others_still_run_is_kept(cells: Cells) -> None:
    page = cells.page
    late = "threading.Timer(0.2, print, ['late']).start()"
    place = on_all(cells, f"import threading, time\nif who == 'north': {late}\nelse: time.sleep(1.5)")
    page.wait_text(place, "4 kernels in")
    page.wait_text(place, "late")
    assert re.search(r"students/north\.ipynb shows this after its cell has ended\s+late", page.text(place))


def test_a_line_gives_a_table_and_an_error_stops(cells: Cells) -> None:
    page = cells.page
    place = cells.run("answers = %remote --all students len(who)\nanswers")
    table = "[...cells[arg].node.querySelectorAll('tbody tr')].map(it => [...it.children].map(td => td.innerText))"
    rows = page.js(table, place)
    assert [(row[0], row[1], row[3]) for row in rows] == [(name, str(len(name)), "ok") for name in NAMES]
    place = on_all(cells, "1 / 0")
    *_, error = page.outputs(place)
    assert error["ename"] == "RemoteErrors"
    assert "4 of 4 kernels: students/east.ipynb" in error["evalue"]


def test_stop_interrupts_all(cells: Cells) -> None:
    page = cells.page
    place = on_all(cells, "time.sleep(60)", wait=False)
    page.wait_text(place, "4 running")
    page.stop_button()
    page.wait_idle()
    assert plain(page, place)[0] == "4 kernels: 4 failed (east, north, south, west)"
    assert plain(page, place)[1].count("KeyboardInterrupt") >= 1


def test_the_file_is_shown_again_also_where_it_is_not_trusted(cells: Cells, lab: Lab) -> None:
    page = cells.page
    place = on_all(
        cells, "print('\\n'.join(map(str, range(12))))\nif who == 'west': print('\\x1b[32mgreen\\x1b[0m'); 1 / 0",
        "--no-raise-error",
    )  # fmt: skip
    saved = page.save()
    outputs: list[dict[str, Any]] = saved["cells"][place]["outputs"]
    assert [it["output_type"] for it in outputs] == ["display_data"] * 3
    file = lab.root_dir / "copy.ipynb"
    copy = json.loads((lab.root_dir / "teacher.ipynb").read_text())
    copy["cells"] = [copy["cells"][place] | {"id": "a-copy"}]  # nobody has signed that
    file.write_text(json.dumps(copy))
    again = lab.open("copy.ipynb", page.app)
    assert again.js("notebook.content.model.cells.get(0).trusted") is False
    assert "4 kernels in " in again.text(0) and "ZeroDivisionError" in again.text(0)
    assert again.js("cells[0].node.querySelector('details').open") is False
    assert again.js("cells[0].node.querySelector('.ansi-green-fg').innerText") == "green"
