"""Background jobs, and following, in a real browser: what comes while other cells run."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.cells import Cells, beside, waiting_for
from tests.browser.lab import Lab, Page
from tests.support.raw_owner import RawOwner
from tests.support.servers import wait_for

RUNS = re.compile(r"job \d+ → students/north\.ipynb: running since \d\d:\d\d, \d+:\d\d")


@pytest.fixture(scope="module", params=["lab", "notebook"])
def page(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Page]:
    """A notebook with the extension loaded; the kernel of one student runs beside it."""
    first = "%%remote north\nimport os, time"
    with beside(lab, request.param, "here.ipynb", first, ["students/north.ipynb"]) as page:
        yield page


@pytest.fixture
def owner(page: Page) -> Iterator[RawOwner]:
    (session,) = [it for it in page.lab.rest("GET", "api/sessions") if it["path"] == "students/north.ipynb"]
    with RawOwner(page.lab.runtime_dir / f"kernel-{session['kernel']['id']}.json") as owner:
        yield owner


def begin(cells: Cells, code: str) -> int:
    return cells.run(f"%%remote --bg --result job north\n{code}")


def test_all_that_a_job_shows_comes_below_its_cell(cells: Cells, tmp_path: Path) -> None:
    page, go = cells.page, tmp_path / "go"
    place = begin(
        cells,
        f"import sys\nprint('begun')\n{waiting_for(go)}"
        "shown = display('before', display_id=True)\nprint('warned', file=sys.stderr)\nshown.update('after')\n"
        "import matplotlib.pyplot as plt\n%matplotlib inline\n"
        "plt.figure(figsize=(2, 1)); plt.plot([1, 2]); plt.show()\n6 * 7",
    )
    page.wait_text(place, "begun")
    line = page.js("cells[arg].outputArea.node.innerText.match(/job .*/)[0]", place)
    assert RUNS.fullmatch(line)
    page.wait_for("!cells[arg[0]].outputArea.node.innerText.includes(arg[1])", [place, line])  # it counts
    beside = cells.run("%%capture kept\nfor n in range(3): print('captured', n)\n1 + 1")
    go.touch()
    other = cells.run("job.wait(), kept.stdout")
    page.wait_text(place, ": ok 0:")
    assert page.outputs(beside) == []
    assert page.outputs(other)[0]["data"]["text/plain"] == r"(True, 'captured 0\ncaptured 1\ncaptured 2\n')"
    text = page.text(place)
    assert [text.index(it) for it in ("begun", "'after'", "warned", "42")] and "before" not in text
    assert page.js("cells[arg].node.querySelector('img').naturalWidth", place) > 50
    assert len(page.outputs(other)) == 1


def test_its_error_is_shown_when_it_comes_and_raised_by_await(cells: Cells, tmp_path: Path) -> None:
    page, go = cells.page, tmp_path / "go"
    place = begin(cells, f"{waiting_for(go)}1 / 0")
    waits = cells.run(
        "try:\n    await job\nexcept Exception as error:\n    print('raised', type(error).__name__)", wait=False
    )
    go.touch()
    page.wait_text(waits, "raised ZeroDivisionError")
    page.wait_text(place, "ZeroDivisionError: division by zero")
    page.wait_text(place, ": failed 0:")
    page.wait_idle()
    place = begin(cells, "'the value'")
    waits = cells.run("result = await job\nprint(result, job.status)")
    assert page.text(waits) == "'the value' ok"


def test_a_page_that_is_loaded_anew_has_it_in_jobs(cells: Cells, tmp_path: Path) -> None:
    page, go = cells.page, tmp_path / "go"
    place = begin(cells, f"print('before')\n{waiting_for(go)}print('behind')")
    page.wait_text(place, "before")
    page.save()
    page.do(lambda window: window.reload())
    page.wait_for("notebook?.context.isReady && notebook.content.widgets.length")
    page.wait_idle()
    go.touch()
    cells.run("assert job.wait(30)")
    assert page.text(cells.run("%jobs {job.number} --output")) == "before\nbehind"
    assert re.search(r"students/north\.ipynb\s+ok 0:0\d", page.text(cells.run("%jobs")))


def test_the_local_kernel_s_restart_leaves_it_running(cells: Cells, owner: RawOwner, tmp_path: Path) -> None:
    page, go, done = cells.page, tmp_path / "go", tmp_path / "done"
    place = begin(cells, f"print('on')\n{waiting_for(go)}open({str(done)!r}, 'w').close()\nfinished = True")
    page.wait_text(place, "on")
    page.js("kernel.restart().then(() => true)")
    page.wait_idle()
    go.touch()
    wait_for(done.exists, "the cell's end over there")
    assert owner.run("finished") == "True"
    page.run_cell(0)
    assert "no jobs were begun here" in page.text(cells.run("%jobs"))


def test_what_an_owner_runs_is_followed_until_stop(cells: Cells, owner: RawOwner) -> None:
    page = cells.page
    before = owner.run("len(In)")
    place = cells.run("%kernels --follow north", wait=False)
    page.wait_text(place, "following students/north.ipynb, read only")
    owner.run("%matplotlib inline")
    owner.run(
        "print('a stream')\nshown = display('old', display_id=True)\nshown.update('new')\n"
        "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1)); plt.plot([1, 2]); plt.show()\n6 * 7"
    )
    raising = threading.Thread(target=lambda: owner.start("{}['missing']"))
    raising.start()
    raising.join()
    page.wait_text(place, "KeyError: 'missing'")
    text = page.text(place)
    places = [text.index(it) for it in ("print('a stream')", "\na stream", "\n'new'", "\n42", "KeyError: 'missing'")]
    assert places == sorted(places) and "\n'old'" not in text
    page.wait_for("cells[arg].node.querySelector('img')?.naturalWidth > 50", place)
    (state,) = [it for it in page.lab.rest("GET", "api/kernels") if it["id"] == _kernel_of(page)]
    assert state["execution_state"] == "idle"
    page.stop_button()
    page.wait_idle()
    assert page.outputs(place)[-1]["output_type"] != "error" or "missing" in str(page.outputs(place)[-1])
    assert int(owner.run("len(In)")) == int(before) + 4  # what the owner has run, and nothing else


def _kernel_of(page: Page) -> str:
    sessions = page.lab.rest("GET", "api/sessions")
    return next(str(it["kernel"]["id"]) for it in sessions if it["path"] == "students/north.ipynb")
