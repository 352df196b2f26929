"""Every notebook in `notebooks/` runs from top to bottom, and shows what its text says."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.executed import Executor, LookingKernelManager
from tests.support.servers import JupyterServer, private_env

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def execute(path: Path, directory: Path, **more: str) -> list[Any]:
    """Execute a notebook in private Jupyter directories, with more in its environment; give its cells."""
    env = private_env(directory, **more)
    notebook = nbformat.read(path, as_version=4)
    client = Executor(notebook, timeout=90)
    # Where a server would put it; nbclient would take a name in /tmp. Given as an argument it would not be ended.
    file = Path(env["JUPYTER_RUNTIME_DIR"]) / "kernel-of-the-notebook.json"
    client.km = LookingKernelManager(kernel_name="python3", connection_file=str(file))
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
    rows = listing.data["text/plain"].splitlines()[1:]
    assert len(rows) == 2
    assert sum("this kernel" in row for row in rows) == 1
    assert sum(" weather " in row and "Python 3" not in row for row in rows) == 1  # they all are
    assert "<table>" in listing.data["text/html"]

    hello = "".join(output.text for output in outputs_of(cells, "os.getpid()") if output.get("name") == "stdout")
    assert re.fullmatch(r"hello from process \d+\n", hello)
    assert outputs_of(cells, "in globals()")[0].data["text/plain"] == "False"

    (table,) = outputs_of(cells, "pd.DataFrame")
    assert table.output_type == "execute_result"
    assert "Bergen" in table.data["text/plain"] and "<table" in table.data["text/html"]
    (plot,) = outputs_of(cells, "%matplotlib")
    assert "image/png" in plot.data
    assert outputs_of(cells, "idxmax")[0].data["text/plain"] == "'Bergen'"

    progress = "".join(output.text for output in outputs_of(cells, "step in range"))
    assert progress.rpartition("\r")[2].rstrip() == "step 20/20 [" + "=" * 20 + "]"

    error = outputs_of(cells, "mean([])")[-1]
    assert (error.output_type, error.ename, error.evalue) == ("error", "ZeroDivisionError", "division by zero")
    assert "----> 4 mean([])" in plain("\n".join(error.traceback))
    (wrong,) = outputs_of(cells, "whether")
    assert wrong.text == (
        "no running kernel matches 'whether' (looked at 1 other kernel without a server)."
        " Did you mean weather ? %kernels lists them\n"
    )
    assert outputs_of(cells, "len(In)")[0].data["text/plain"] == "0"


def check_cluster(cells: list[Any]) -> None:
    (check,) = outputs_of(cells, "--check")
    steps = [line.split()[0] for line in check.data["text/plain"].splitlines()[1:]]
    # a gateway has no WebSocket to try before it has a kernel, and says so
    assert set(steps) <= {"ok", "–", "→"} and steps.count("ok") >= 6
    (listing,) = outputs_of(cells, "%kernels")
    assert len(listing.data["text/plain"].splitlines()) == 2
    said = "".join(output.text for output in outputs_of(cells, "platform.node()") if output.get("name") == "stdout")
    assert re.fullmatch(r"running in process \d+ on .+\n", said)
    (total,) = outputs_of(cells, "%remote $kernel_id total")
    assert total.data["text/plain"] == "333332833333500000"


def check_classroom(cells: list[Any]) -> None:
    (listing,) = outputs_of(cells, "%kernels tour")
    assert len(listing.data["text/plain"].splitlines()) == 5
    summary, block = outputs_of(cells, 'print("ready")')
    assert re.fullmatch(r"4 kernels in \d+\.\d s: 4 ok", summary.data["text/plain"])
    assert re.fullmatch(r"── .*\(4\): ok \d+\.\d s\nready", block.data["text/plain"])
    *_, table = outputs_of(cells, "answers = ")
    assert table.data["text/plain"].count(" ok") == 3 and "ZeroDivisionError: division by zero" in str(table.data)
    (values,) = outputs_of(cells, "value.literal()")
    assert re.match(r"\(1\.6666666666666667,\s+RemoteError\('ZeroDivisionError'", values.data["text/plain"])
    (job,) = outputs_of(cells, "--bg")
    assert job.data["text/plain"].startswith("job 1 → tour-north: connecting")
    *shown, value = outputs_of(cells, "job.result()")
    assert "".join(output.text for output in shown if output.get("name") == "stdout") == "step 0\nstep 1\nstep 2\n"
    assert value.data["text/plain"] == "'5'"


def check_data(cells: list[Any]) -> None:
    def line_of(beginning: str) -> list[str]:
        """The lines of a cell about variables; each is small and grey."""
        outputs = [it for it in outputs_of(cells, beginning) if it.output_type == "display_data"]
        return [it.data["text/plain"] for it in outputs if it.metadata.get("kernel_bridge") == {"line": "variable"}]

    def value_of(beginning: str) -> str:
        (value,) = [it for it in outputs_of(cells, beginning) if it.output_type == "execute_result"]
        return re.sub(r"\s+", " ", value.data["text/plain"])

    def error_of(beginning: str) -> str:
        (error,) = [it for it in outputs_of(cells, beginning) if it.output_type == "error"]
        return f"{error.ename}: {error.evalue}"

    (line,) = line_of("-o rain")
    assert re.fullmatch(r"rain: DataFrame 4 × 2, \d kB ← data-north", line)
    kinds = value_of("rain.dtypes")
    assert "ordered=True" in kinds and kinds.endswith("dtype('float64')}, 'D', 'Europe/Oslo')")
    assert value_of('rain["mm"] *= 2') == "np.float64(17.25)"
    assert [re.split(", | [←→]", line)[0] for line in line_of("-o wet_days")] == ["limits: dict of 3", "wet_days: int"]
    renamed = [re.split(", | [←→]", line)[0] for line in line_of("-i bounds=limits")]
    assert renamed == ["bounds: dict of 3", "north_rain: DataFrame 4 × 2", "total: float64"]
    assert value_of("north_rain.shape") == "((4, 2), np.float64(17.25), numpy.float64)"
    to_all, from_all = line_of("-o process")
    assert to_all.endswith("→ 2 kernels (replaced in 1)") and from_all.startswith("process: from 2 kernels, ")
    assert re.fullmatch(r"\(\['data-north', 'data-south'\], \{'id': \d+, 'low': 1\}\)", value_of("sorted(process)"))
    assert value_of("job.wait") == "[0, 1, 2, 3, 4]"
    refused = (
        "BadVariable: fleet['first'] is of the type Station, which cannot be copied, so the cell was not run; copy "
    )
    assert error_of("-i fleet").startswith(refused)
    assert not [it for it in outputs_of(cells, "-i fleet") if it.output_type == "stream"]
    assert error_of("-o humidity") == "BadVariable: the cell has run, but data-north has no variable humidity"
    assert [it.text for it in outputs_of(cells, "-o humidity") if it.output_type == "stream"] == ["this is printed\n"]
    assert "large is larger than 1.0 MB; a larger --max-size" in error_of("--max-size 1MB")
    assert line_of("--max-size 5MB") == ["large: array 500 × 1,000 float64, 4.0 MB ← data-north"]
    assert value_of("kernel.put") == "['Bergen', 'Tromsø']"


def check_tour(cells: list[Any]) -> None:
    def shown(beginning: str) -> list[str]:
        """What a cell shows, as text."""
        return [it.text if it.output_type == "stream" else it.data["text/plain"] for it in outputs_of(cells, beginning)]

    assert shown("--start python3") == ["started tour, which ends with this shell: %%remote tour runs a cell in it"]
    assert shown("class Rain") == ["3"] and shown("first=0") == ["2"]
    assert shown("%autoremote tour") == ["cells now run in tour until %autoremote off (%%local runs one here)"]
    # A cell that has run there has a mark, and one that has run here has none.
    assert shown("bergen.values") == ["→ tour", "(4.5, 0.0, 12.25, 0.5)"] and shown("await") == [
        "→ tour",
        "rain in Bergen\n",
    ]
    assert shown("%%local") == ["False"]
    assert shown("%autoremote off") == ["cells run here again, no longer in tour"]
    assert shown("--interrupt tour") == ["tour is idle; there was nothing to interrupt"]
    (restarted,) = shown("--restart --yes tour")
    assert re.fullmatch(r"restarted tour in \d+\.\d s; its variables are gone", restarted)
    assert shown("%remote tour 'bergen'") == ["False"]
    assert shown("--shutdown --yes tour") == ["shut down tour"]


@contextlib.contextmanager
def surroundings(name: str, directory: Path) -> Iterator[dict[str, str]]:
    """What a notebook needs around it, as variables of its environment."""
    if name != "cluster":
        yield {}
        return
    # It speaks to a Jupyter server as to a gateway; `python -m tests.real` runs it against a real one.
    with JupyterServer(directory / "gateway") as server:
        yield {"GATEWAY_URL": server.url, "GATEWAY_TOKEN": server.token}


CHECKS: dict[str, Callable[[list[Any]], None]] = {
    "classroom": check_classroom,
    "cluster": check_cluster,
    "data": check_data,
    "quickstart": check_quickstart,
    "tour": check_tour,
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_it_says(path: Path, tmp_path: Path) -> None:
    with surroundings(path.stem, tmp_path) as env:
        cells = execute(path, tmp_path, **env)
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
