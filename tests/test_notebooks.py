"""Every notebook in `notebooks/` runs from top to bottom, and shows what its text says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.servers import private_env

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def execute(path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Execute a notebook in private Jupyter directories; give its cells."""
    env = private_env(directory)
    # nbclient puts the kernel's connection file where this very process has its runtime directory.
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", env["JUPYTER_RUNTIME_DIR"])
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=90, kernel_name="python3")
    client.execute(env=env, cwd=str(directory))
    nbformat.validate(notebook)
    return list(notebook.cells)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def outputs_of(cells: list[Any], beginning: str) -> list[Any]:
    """The outputs of the one cell that holds `beginning`."""
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and beginning in cell.source]
    return list(cell.outputs)


def check_quickstart(cells: list[Any]) -> None:
    (listing,) = outputs_of(cells, "%kernels")
    own, other = (row for row in listing.data["text/plain"].splitlines() if "Python 3" in row)
    assert "this kernel" in own + other
    assert "quickstar" in own + other  # ids are shown by their first 8 characters
    assert "<table>" in listing.data["text/html"]

    hello = "".join(output.text for output in outputs_of(cells, "os.getpid()") if output.name == "stdout")
    assert re.fullmatch(r"hello from process \d+\n", hello)
    assert outputs_of(cells, "in globals()")[0].data["text/plain"] == "False"

    (table,) = outputs_of(cells, "pd.DataFrame")
    assert table.output_type == "execute_result"
    assert "Bergen" in table.data["text/plain"] and "<table" in table.data["text/html"]
    (plot,) = outputs_of(cells, "%matplotlib")
    assert "image/png" in plot.data
    assert outputs_of(cells, "idxmax")[0].data["text/plain"] == "'Bergen'"

    progress = "".join(output.text for output in outputs_of(cells, "step in range"))
    assert progress.rpartition("\r")[2].startswith("training: step 20/20")

    error = outputs_of(cells, "mean([])")[-1]
    assert (error.output_type, error.ename, error.evalue) == ("error", "ZeroDivisionError", "division by zero")
    assert "----> 4 mean([])" in plain("\n".join(error.traceback))
    (wrong,) = outputs_of(cells, "quikstart")
    assert wrong.text.startswith("no kernel matches 'quikstart' (")
    assert outputs_of(cells, "len(In)")[0].data["text/plain"] == "0"


CHECKS: dict[str, Callable[[list[Any]], None]] = {"quickstart": check_quickstart}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = execute(path, tmp_path, monkeypatch)
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    CHECKS[path.stem](cells)
    assert not list((tmp_path / "runtime").glob("kernel-*.json"))  # what it started it has ended


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_saved_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(cell.outputs == [] and not cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    text = path.read_text("utf-8")
    assert not re.search(r"/home/|/root/|/Users/|/tmp/|/work/|token=|\b[0-9a-f]{32,}\b", text)


def test_every_notebook_is_checked() -> None:
    assert NOTEBOOKS
    assert {path.stem for path in NOTEBOOKS} == set(CHECKS)
