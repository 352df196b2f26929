"""The rows, run natively and in another kernel, in each front end; what came of it, ready to be compared."""

from __future__ import annotations

import contextlib
import html
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from tests.browser.lab import Lab, Page
from tests.browser.rows import MAGIC, ROWS, STOP, Row
from tests.support.executed import Executor
from tests.support.servers import private_env
from tests.support.terminal import Terminal

__all__ = ["RUNS", "Run", "Shown"]

NATIVE = "def there(code):\n    exec(code, globals())"
THERE = """%load_ext kernel_bridge_magic
def there(code):
    get_ipython().run_cell_magic('remote', {match!r}, code)
# A machine with much to do answers an interrupt later than a person would wait before a line says so.
import dataclasses, kernel_bridge_magic.fate.timing as timing
timing.current = dataclasses.replace(timing.current, slow_interrupt=30.0)
# A kernel that is still starting would have its first cell say that it waits.
for match in {matches}:
    get_ipython().run_line_magic('remote', f'-q --no-raise-error {{match}} 1')"""
LATER = "there('later.join()')"
SETTLE_SECONDS, LOOK_SECONDS = 15.0, 0.05
ROWS_AT_ONCE = 10  # each cell makes JupyterLab a little slower
# What each cell shows, as text and as HTML; of ten megabytes of sevens it is enough to say how many they are.
_SEEN = r"""cells.map(cell => cell.outputArea.node).map(node => [node.innerText, node.innerHTML].map(
  text => text.replace(/7{500,}/g, found => `7*${found.length}`)))"""


@dataclass
class Shown:
    """What the cells of one row show: nbformat outputs and HTML where there are such, and what can be read."""

    outputs: list[list[dict[str, Any]]] = field(default_factory=list)
    text: str = ""
    html: list[str] = field(default_factory=list)


@dataclass
class Run:
    """What each row showed, by name; or why the row came to no end."""

    native: dict[str, Shown | Exception]
    there: dict[str, Shown | Exception]


# -- what is not the same in two runs of the same code

_VARYING = [
    (r"\[\d+\]", "[n]"),  # In[3], Out[3]: the count is the notebook's own
    (r"\bipykernel_\d+", "ipykernel"),
    (r"(?<=ipykernel/)\d+\.py|(?<=\()\d+\.py", "py"),
    (r"<ipython-input-\d+-\w+>", "<ipython-input>"),
    (r"0x[0-9a-f]{6,}", "0x"),
    (r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{32}\b", "id"),
    (r"\d+(?:\.\d+)?(?:e[+-]?\d+)? ?(?:ns|µs|μs|us|ms|s)\b", "time"),
    (r"\[\d\d:\d\d<[^\]]*\] *", "[rate]"),
    (r"\d:\d\d:\d\d", "0:00:00"),
    (r"-{20,}", "----"),
]


def _normal(text: str) -> str:
    text = re.sub(r"7{500,}", lambda found: f"7*{len(found[0])}", text)  # first: there are ten megabytes of it
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text)
    return text


def _normal_json(value: Any) -> Any:
    if isinstance(value, str):
        return _normal(re.sub(r"\x1b\[[0-9;]*m", "", value) if "Traceback" in value else value)
    if isinstance(value, dict):
        return {key: None if key == "execution_count" else _normal_json(item) for key, item in value.items()}
    return [_normal_json(item) for item in value] if isinstance(value, list) else value


def _joined(outputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs as data, with what one stream wrote in a row as one text: how it is cut is chance."""
    joined: list[dict[str, Any]] = []
    for output in map(dict, outputs):
        last = joined[-1] if joined else {}
        if output["output_type"] == last.get("output_type") == "stream" and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
        data = output.get("data", {})
        if data.get("text/plain", "").startswith("<RemoteValue: "):
            # IPython gives a result that has none a text; nobody sees it beside the rest.
            output["data"] = {mime: value for mime, value in data.items() if mime != "text/plain"}
    return [_normal_json(output) for output in joined]


def _text_of(outputs: Sequence[dict[str, Any]]) -> str:
    texts = []
    for output in outputs:
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/plain") or "\n".join(output.get("traceback", ())))
        if output["output_type"] == "error":
            texts.append(f"{output['ename']}: {output['evalue']}")
    return "\n".join(texts)


def _cells(row: Row, match: str) -> list[str]:
    """The cells to run there with `match`, natively without one."""
    if match:
        return [cell.replace(MAGIC, f"%%remote {match}") for cell in row.cells]
    return [cell.replace(f"{MAGIC}\n", "") for cell in row.natively or row.cells]


def _match(kernel: str, front: str) -> str:
    # A whole path: less than that brings a note of which kernel is meant.
    return f"rows/there-{kernel}-{front}.ipynb"


def _kernels() -> list[str]:
    return list(dict.fromkeys(row.kernel for row in ROWS))


def _awaited(row: Row, app: str, *, natively: bool) -> str:
    """What the text of a row must hold in the end; anything natively, where that is not compared with what is there."""
    instead = next((shown for title, (shown, _) in row.instead.items() if RUNS[title][1] == app), "")
    return ("" if natively else instead) if instead else row.shows


def _setup(front: str) -> str:
    return THERE.format(match=_match("python3", front), matches=[_match(kernel, front) for kernel in _kernels()])


def _start_there(lab: Lab, front: str) -> None:
    for kernel in _kernels():
        lab.start(_match(kernel, front), kernel)


# -- JupyterLab and Notebook 7


def in_browser(lab: Lab, directory: Path, app: str) -> Run:
    """Run all rows in one notebook of each kernel natively, and in one of ours there."""
    _start_there(lab, app)
    native: dict[str, Shown | Exception] = {}
    with _page(lab, app) as page:
        for kernel in reversed(_kernels()):
            path = f"rows/native-{kernel}-{app}.ipynb"
            lab.write(path, kernel=kernel)
            page.open(path)
            rows = [row for row in ROWS if row.kernel == kernel]
            native |= _run_in_page(page, rows, "", NATIVE if kernel == "python3" else "")
        path = f"rows/remote-{app}.ipynb"
        lab.write(path)
        page.open(path)
        return Run(native, _run_in_page(page, ROWS, app, _setup(app)))


@contextlib.contextmanager
def _page(lab: Lab, app: str) -> Iterator[Page]:
    page = lab.window(app)
    try:
        yield page
    finally:
        page.close()


def _run_in_page(page: Page, rows: Sequence[Row], front: str, setup: str) -> dict[str, Shown | Exception]:
    if setup:
        page.run_cell(0, setup)
    shown: dict[str, Shown | Exception] = {}
    for first in range(0, len(rows), ROWS_AT_ONCE):
        shown |= _run_some_in_page(page, rows[first : first + ROWS_AT_ONCE], front)
        page.delete_cells(1)
    return shown


def _run_some_in_page(page: Page, rows: Sequence[Row], front: str) -> dict[str, Shown | Exception]:
    places: dict[str, range] = {}
    failed: dict[str, Exception] = {}
    end = 1
    for row in rows:
        cells = _cells(row, _match(row.kernel, front) if front else "")
        places[row.name] = place = range(end, end + len(cells))
        end = place.stop
        try:
            _run_row_in_page(page, row, place, cells)
        except Exception as error:
            failed[row.name] = error
            page.js("kernel?.interrupt()")
    shown = _settled(page, rows, places, front)
    _keep_pictures(page, places)
    return {**shown, **failed}


def _run_row_in_page(page: Page, row: Row, place: range, cells: Sequence[str]) -> None:
    for index, cell in zip(place, cells, strict=True):
        page.set_cell(index, cell)
    if row.answers:
        page.run_cell(place[0], wait=False)
        for _, answer in row.answers:
            page.wait_for("cells[arg].outputArea.node.querySelector('input.jp-Stdin-input')", place[0])
            if answer == STOP:
                page.stop_button()
            else:
                page.answer(place[0], answer)
        page.wait_idle()
        page.run_cells(place[1:])
    else:
        page.run_cells(place)
    if row.later:
        page.wait_for("new RegExp(arg[1]).test(cells[arg[0]].outputArea.node.innerText)", [place[-1], row.shows])


def _settled(page: Page, rows: Sequence[Row], places: dict[str, range], front: str) -> dict[str, Shown | Exception]:
    """What all cells show, once the page draws no more: some things are drawn after they have arrived."""
    end = time.monotonic() + SETTLE_SECONDS
    before = None
    while True:
        now = page.js(_SEEN)
        seen = {
            row.name: Shown(
                [],
                _tidy("\n".join(now[index][0] for index in places[row.name])),
                [_normal_html(now[index][1]) for index in places[row.name]],
            )
            for row in rows
        }
        drawn = all(
            re.search(_awaited(row, page.app, natively=not front), seen[row.name].text, re.M)
            and re.search(row.drawn, "".join(seen[row.name].html))
            for row in rows
        )
        if (drawn and now == before) or time.monotonic() > end:
            break
        before = now
        time.sleep(LOOK_SECONDS)  # the page's time is for drawing
    for row in rows:
        seen[row.name].outputs = [_joined(page.outputs(index)) for index in places[row.name]]
    return dict(seen)


def _keep_pictures(page: Page, places: dict[str, range]) -> None:
    """For whoever wants to look: a picture of each cell, where KERNEL_BRIDGE_PICTURES says."""
    folder = os.environ.get("KERNEL_BRIDGE_PICTURES")
    if not folder:
        return
    below = Path(folder) / re.sub(r"\W+", "-", page.path)
    below.mkdir(parents=True, exist_ok=True)
    for name, place in places.items():
        if "10 MB" not in name:
            for n, index in enumerate(place):
                page.screenshot(below / f"{re.sub(r'[^a-zA-Z0-9]+', '-', name)}-{n}.png", index)


def _tidy(text: str) -> str:
    return _normal(re.sub(r"\s*\n\s*", "\n", text.replace("\xa0", " ")).strip())


def _normal_html(text: str) -> str:
    # What the page numbers or measures by itself.
    text = re.sub(r'(id|for|clip-path|aria-labelledby|data-[\w-]+)="[^"]*\d[^"]*"', r"\1", text)
    # The table of contents puts it into headings, a second later.
    text = text.replace('<span class="numbering-entry"></span>', "")
    # Made when the mouse comes over it.
    text = re.sub(r'<div class="jp-OutputArea-promptOverlay"[^>]*>.*?</div>', "", text)
    text = re.sub(r"#(MJX|clip|gradient)[\w-]*\d[\w-]*", "#", text)
    return _normal(html.unescape(text))


# -- a terminal


def in_terminal(lab: Lab, directory: Path, app: str) -> Run:
    """Run all rows in one IPython natively, in another there."""
    _start_there(lab, app)
    runs = []
    for name, setup in (("native", NATIVE), ("there", _setup(app))):
        more = () if name == "native" else ("%load_ext kernel_bridge_magic",)
        where = directory / name
        where.mkdir()
        with Terminal(where, lab.runtime_dir, columns=150, lines=50, setup=more) as terminal:
            terminal.run(setup.removeprefix("%load_ext kernel_bridge_magic\n"))
            runs.append(dict(_run_in_terminal(terminal, app if name == "there" else "")))
    return Run(*runs)


def _run_in_terminal(terminal: Terminal, front: str) -> Iterator[tuple[str, Shown | Exception]]:
    for row in ROWS:
        if not front and row.kernel != "python3":
            continue
        cells = _cells(row, _match(row.kernel, front) if front else "")
        try:
            texts = [_run_first_in_terminal(terminal, row, cells[0]), *map(terminal.run, cells[1:])]
            if row.later:
                terminal.wait_for("\ncame late")
                texts = [terminal.finish()]
        except Exception as error:
            terminal.interrupt()
            yield row.name, error
        else:
            text = "\n".join(text for text in texts if text)
            yield row.name, Shown(text="\n".join(line.rstrip() for line in _normal(text).splitlines()))


def _run_first_in_terminal(terminal: Terminal, row: Row, cell: str) -> str:
    if "10 MB" in row.name:
        return terminal.run_unseen(cell)
    terminal.start(cell)
    for question, answer in row.answers:
        terminal.wait_for(question)
        if answer == STOP:
            terminal.interrupt()
        else:
            terminal.type(answer)
    return terminal.finish()


# -- nbclient


def in_nbclient(lab: Lab, directory: Path, app: str) -> Run:
    """Execute all rows as notebooks, and read what was saved."""
    _start_there(lab, app)
    env = private_env(directory, lab.runtime_dir)
    native: dict[str, Shown | Exception] = {}
    with _data_dir(env["JUPYTER_DATA_DIR"]):
        for kernel in _kernels():
            rows = [row for row in ROWS if row.kernel == kernel]
            native |= _execute(rows, "", NATIVE if kernel == "python3" else "", kernel, env)
        there = _execute(ROWS, app, _setup(app), "python3", env)
    return Run(native, there)


@contextlib.contextmanager
def _data_dir(data_dir: str) -> Iterator[None]:
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = data_dir
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before


def _execute(
    rows: Sequence[Row], front: str, setup: str, kernel: str, env: dict[str, str]
) -> dict[str, Shown | Exception]:
    cells = {row.name: _cells(row, _match(row.kernel, front) if front else "") for row in rows}
    sources = [setup] if setup else []
    for row in rows:
        sources += cells[row.name]
        if row.later:
            sources.append(LATER)  # what comes late would come into the next row's cell
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = Executor(notebook, timeout=15, kernel_name=kernel, allow_errors=True, shutdown_kernel="immediate")
    client.execute(env=env)
    saved = iter(notebook.cells[1 if setup else 0 :])
    shown: dict[str, Shown | Exception] = {}
    for row in rows:
        outputs = [_joined(next(saved).outputs) for _ in cells[row.name]]
        if row.later:
            next(saved)
        shown[row.name] = Shown(outputs, "\n".join(map(_text_of, outputs)))
    return shown


#: how the rows are run in each front end, and what it is called in paths
RUNS: dict[str, tuple[Callable[[Lab, Path, str], Run], str]] = {
    "JupyterLab": (in_browser, "lab"),
    "Notebook 7": (in_browser, "notebook"),
    "terminal": (in_terminal, "terminal"),
    "nbclient": (in_nbclient, "nbclient"),
}
