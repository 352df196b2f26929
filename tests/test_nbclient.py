"""A notebook executed without a front end: what is saved is what the other kernel would have saved."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.support.executed import Executor
from tests.support.owner import Owner
from tests.support.scripted import AskingKernel, ScriptedCell, ScriptedKernel
from tests.support.servers import JupyterServer, private_env
from tests.support.transports import connect_over, found

LOAD = "%load_ext kernel_bridge_magic"


def execute(
    runtime_dir: Path, directory: Path, cells: list[str], client: type[Executor] = Executor, **options: Any
) -> list[Any]:
    """Execute these cells in a kernel that finds the kernels of a runtime directory, save, and give what was saved."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    executed = client(notebook, timeout=60, kernel_name="python3", **options)
    env = private_env(directory / "home", runtime_dir)
    try:
        executed.execute(env=env)
    finally:
        nbformat.write(notebook, directory / "saved.ipynb")
    return saved(directory)


def saved(directory: Path) -> list[Any]:
    notebook = nbformat.read(directory / "saved.ipynb", as_version=4)
    nbformat.validate(notebook)
    return list(notebook.cells)


def test_outputs_are_saved_as_the_other_kernels_own(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    html = "from IPython.display import HTML\ndisplay(HTML('<b>x</b>'), metadata={'a': 1})"
    cells = execute(
        jupyter_server.runtime_dir,
        tmp_path,
        [
            LOAD,
            f"%%remote {shared_kernel}\nprint('said')\n6 * 7",
            "_",
            f"%%remote {shared_kernel}\n{html}",
            f"%%remote {shared_kernel}\nlater = display('before', display_id=True)",
            f"%%remote {shared_kernel}\nlater.update('after')",
            f"%%remote --no-raise-error {shared_kernel}\n1 / 0",
            "'goes on'",
        ],
    )
    assert cells[1].outputs == [
        {"output_type": "stream", "name": "stdout", "text": "said\n"},
        {"output_type": "execute_result", "execution_count": 2, "data": {"text/plain": "42"}, "metadata": {}},
    ]
    assert cells[2].outputs[0].data == {"text/plain": "42"}
    (shown,) = cells[3].outputs
    assert shown.output_type == "display_data"
    assert shown.data["text/html"] == "<b>x</b>" and shown.metadata == {"a": 1}
    assert [output.data["text/plain"] for output in cells[4].outputs] == ["'after'"]
    assert cells[5].outputs == []
    (error,) = cells[6].outputs
    assert (error.output_type, error.ename, error.evalue) == ("error", "ZeroDivisionError", "division by zero")
    assert cells[7].outputs[0].data == {"text/plain": "'goes on'"}
    assert jupyter_server.token not in (tmp_path / "saved.ipynb").read_text()


def test_how_much_a_cell_may_leave_is_the_users_to_say(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    loud = f"%%remote {shared_kernel}\nfor n in range(3000): print(n)"
    cells = execute(jupyter_server.runtime_dir, tmp_path, [LOAD, loud, "%config KernelBridge.max_output = 2000", loud])
    assert " omitted; full output: " not in str(cells[1].outputs)
    text = "".join(output.text for output in cells[3].outputs)
    assert len(text) < 3000
    assert text.startswith("0\n1\n") and text.endswith("2999\n") and " omitted; full output: " in text


def test_execution_stops_at_a_remote_error(jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError) as caught:
        execute(
            jupyter_server.runtime_dir,
            tmp_path,
            [LOAD, f"%%remote {shared_kernel}\nprint('on')\n1 / 0", "print('never')"],
        )
    assert (caught.value.ename, caught.value.evalue) == ("ZeroDivisionError", "division by zero")
    cells = saved(tmp_path)
    stream, error = cells[1].outputs
    assert stream.text == "on\n"
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    assert re.search(r"Cell In\[\d+\], line 2\n.*\n----> 2 1 / 0\n", traceback)
    assert "kernel_bridge" not in traceback
    assert cells[2].outputs == [] and cells[2].execution_count is None


def test_of_many_kernels_the_end_is_saved(
    jupyter_server: JupyterServer, shared_kernel: str, own_kernel: str, tmp_path: Path
) -> None:
    both = f"{shared_kernel},{own_kernel}"
    cells = execute(
        jupyter_server.runtime_dir,
        tmp_path,
        [
            LOAD,
            f"%%remote {both}\nfor n in range(9): print(f'\\r{{n}}', end='', flush=True)",
            f"%%remote --no-raise-error {both}\nfrom IPython.display import HTML\ndisplay(HTML('<b>x</b>'))\n1 / 0",
            f"%%capture kept\nget_ipython().run_cell_magic('remote', '{both}', 'print(1)')",
            "[output.data['text/plain'] for output in kept.outputs]",
        ],
    )
    texts = [[re.sub(r" (in )?\d+\.\d s", "", it.data["text/plain"]) for it in cell.outputs] for cell in cells[1:3]]
    assert texts[0][0] == "2 kernels: 2 ok" and texts[0][1].endswith("(2): ok\n8") and len(texts[0]) == 2
    line, heading, native, error = texts[1]
    assert line.startswith("2 kernels: 2 failed (") and heading.endswith("(2): failed")
    assert native == "<IPython.core.display.HTML object>" and "ZeroDivisionError: division by zero" in error
    assert cells[2].outputs[2].data["text/html"] == "<b>x</b>"
    assert len(ast.literal_eval(cells[4].outputs[0].data["text/plain"])) == 2


def test_a_job_is_shown_in_the_cell_that_waits_for_it(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    fails = "1 / 0"
    cells = execute(
        jupyter_server.runtime_dir,
        tmp_path,
        [
            LOAD,
            f"%%remote --bg --result first {shared_kernel}\nprint('kept')\ndisplay('shown')",
            "await first\nprint('after')",
            "first.wait()",
            f"%%remote --bg {shared_kernel}\nprint('too')\n{fails}",
            "try:\n    get_ipython().run_line_magic('jobs', '2 --wait')\n"
            "except Exception as error:\n    print(type(error).__name__)",
        ],
    )
    (line,) = cells[1].outputs
    text = line.data["text/plain"]
    assert text.startswith("job 1 → ") and text.endswith(
        "what it shows appears where you wait for it (.wait(), .result(), await, %jobs 1 --wait)"
    )
    kept, shown, after = cells[2].outputs
    assert (kept.text, shown.data["text/plain"], after.text) == ("kept\n", "'shown'", "after\n")
    assert [it.data["text/plain"] for it in cells[3].outputs] == ["True"]  # it is shown once
    assert [it.text for it in cells[5].outputs] == ["too\nZeroDivisionError\n"]


def test_what_a_job_has_brought_is_said_where_it_is_waited_for(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    cells = execute(
        jupyter_server.runtime_dir,
        tmp_path,
        [
            LOAD,
            f"%%remote --bg --result one -o x,y=z {shared_kernel}\nx, z = [1, 2], 3\nprint('done')",
            "one.wait()",
            "x, y",
            f"%%remote --bg --result two -i x -o x {shared_kernel}\nx = x + x",
            "await two\nassert x == [1, 2] * 2",
        ],
    )
    done, first, second, over = cells[2].outputs
    assert (done.text, over.data["text/plain"]) == ("done\n", "True")
    assert first.data["text/plain"].startswith("x: list of 2, ") and " ← " in first.data["text/plain"]
    assert second.data["text/plain"].startswith("y: int ← ")
    assert cells[3].outputs[0].data["text/plain"] == "([1, 2], 3)"
    sent, came = [it.data["text/plain"] for it in cells[5].outputs]
    assert " → " in sent and " ← " in came and came.endswith(" (replaced)")


#: Cells with an error in them, run natively and there.
ERRORS = [
    "try:\n    1 / 0\nexcept ArithmeticError:\n    get_ipython().showtraceback()",
    "try:\n    1 / 0\nexcept ArithmeticError:\n    get_ipython().showtraceback()\n{}['key']",
    "%%capture\n1 / 0",
    "%%time\n1 / 0",
    "%run $failing\nprint('after')",
    "%run $failing\n%no_such_magic",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3]);\n1 / 0",
    "import ipywidgets\nout = ipywidgets.Output()\ndisplay(out)\nwith out:\n    1 / 0\nprint('on')",
    "from ipywidgets import interact\n@interact(x=3)\ndef fails(x):\n    1 / 0\nprint('on')",
    "class Result:\n    def _repr_html_(self):\n        raise KeyError('html')\nResult()",
    "def fails():\n    raise KeyError('hook')\nget_ipython().events.register('post_execute', fails)",
    "1 / 0",
    "get_ipython().events.unregister('post_execute', fails)",
    "raise SystemExit('bye')",
    "'goes on'",
]


def test_a_cell_with_an_error_in_it_is_saved_and_ends_as_natively(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    failing = tmp_path / "failing.py"
    failing.write_text("print('in the file')\n1 / 0\n")
    runs: list[tuple[dict[int, str], list[Any]]] = []
    for there in ("", f"%%remote {shared_kernel}\n"):
        stops: dict[int, str] = {}

        def note_stop(cell: Any, cell_index: int, execute_reply: Any, stops: dict[int, str] = stops) -> None:
            stops[cell_index] = execute_reply["content"]["ename"]

        cells = [LOAD, f"{there}failing = {str(failing)!r}", *(there + cell for cell in ERRORS)]
        outputs = execute(jupyter_server.runtime_dir, tmp_path, cells, allow_errors=True, on_cell_error=note_stop)
        runs.append((stops, [known(cell.outputs) for cell in outputs[2:]]))
    (native_stops, native), (stops, there_outputs) = runs
    for code, natively, shown in zip(ERRORS, native, there_outputs, strict=True):
        assert shown == natively, code
    # Run All stops at the same cells; ipykernel 7 names "NoneType" where a result could not be formatted.
    assert stops.keys() == native_stops.keys()
    assert all(stops[cell] == name for cell, name in native_stops.items() if name != "NoneType")
    assert len(stops) > 4


def known(outputs: list[Any]) -> list[tuple[str, ...]]:
    """What does not change from run to run; where text is cut is chance."""
    seen: list[tuple[str, ...]] = []
    for output in outputs:
        if output.output_type == "stream":
            text = re.sub(r"0x\w+|\d[\d.]*(e[+-]\d+)? [nμm]?s", "", output.text)
            before = seen.pop()[2] if seen and seen[-1][:2] == ("stream", output.name) else ""
            seen.append(("stream", output.name, before + text))
            continue
        lines = re.sub(r"\x1b\[[0-9;]*m|In\[\d+\]|0x\w+", "", "\n".join(output.get("traceback", ())))
        data = output.get("data", {})
        plain = re.sub(r"0x\w+|[0-9a-f]{32}", "", data.get("text/plain", ""))
        seen.append((output.output_type, output.get("ename", ""), lines, plain, *sorted(data)))
    return seen


def test_input_is_refused_at_once(jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(CellExecutionError) as caught:
        execute(jupyter_server.runtime_dir, tmp_path, [LOAD, f"%%remote {shared_kernel}\ninput('who? ')"])
    assert caught.value.ename == "StdinNotImplementedError"
    assert time.monotonic() - began < 20


def test_a_kernel_that_asks_all_the_same_is_given_the_end_of_input(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    asks = [f"%%remote -q scripted\n{code}" for code in ("ask", "ask for a secret", "ask late")]
    with AskingKernel(runtime) as kernel:
        cells = execute(runtime, tmp_path, [LOAD, *asks, "'goes on'"])
    assert kernel.answers == ["\x04"] * 3
    assert [len(cell.outputs) for cell in cells] == [0, 0, 0, 0, 1]


def test_no_match_stops_too(jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError) as caught:
        execute(jupyter_server.runtime_dir, tmp_path, [LOAD, "%%remote bee_keeper\n1"])
    assert caught.value.ename == "KernelNotFound"


def test_own_kernel_is_listed(jupyter_server: JupyterServer, tmp_path: Path) -> None:
    # nbclient, papermill and VS Code put the connection file in a place of their own.
    cells = execute(jupyter_server.runtime_dir, tmp_path, [LOAD, "%kernels"])
    assert "this kernel" in cells[1].outputs[0].data["text/plain"]


HALF = {
    "in the text": r'{"data": {"text/plain": "a\ud800"}, "metadata": {}}',
    "in a picture": r'{"data": {"text/plain": "a", "image/png": "iVBO\udc00"}, "metadata": {}}',
    "in the name of a type": r'{"data": {"text/plain": "a", "text/x-\ud83d": "b"}, "metadata": {}}',
    "in a key of JSON": r'{"data": {"text/plain": "a", "application/json": {"\udfff": ["\ud800"]}}, "metadata": {}}',
    "in the metadata": r'{"data": {"text/plain": "a"}, "metadata": {"\ud800": {"x": "\ud800"}}}',
    "in the id": r'{"data": {"text/plain": "a"}, "metadata": {}, "transient": {"display_id": "\ud800"}}',
    "NaN in the metadata": '{"data": {"text/plain": "a"}, "metadata": {"x": NaN, "y": [Infinity, 1e999]}}',
    "NaN in the data": '{"data": {"text/plain": "a", "application/json": [NaN, -Infinity]}, "metadata": {}}',
    "an integer that nobody reads": f'{{"data": {{"text/plain": "a"}}, "metadata": {{"x": {"1" * 5000}}}}}',
    "a number as text": '{"data": {"text/plain": 5, "text/html": ["<b>", "x</b>"]}, "metadata": null}',
}


def test_what_no_front_end_can_be_handed_costs_no_output_and_no_warning(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        for content in HALF.values():
            cell.text("iopub", "display_data", content=content)
        cell.text("iopub", "update_display_data", content=HALF["in the id"].replace('"a"', '"new"'))
        cell.text("iopub", "stream", content=r'{"name": "std\ud800", "text": "end \ud83d\n"}')
        cell.text("iopub", "error", content=r'{"ename": "E\ud800", "evalue": "\udc80", "traceback": ["\ud800", "l"]}')
        cell.reply("error", ename="E\ufffd", evalue="\ufffd", traceback=[])
        cell.idle()

    with ScriptedKernel(script, runtime):
        loaded, cell = execute(runtime, tmp_path, [LOAD, "%%remote scripted\nrun"], allow_errors=True)
    assert loaded.outputs == []
    *shown, end, error = cell.outputs
    assert [output.output_type for output in shown] == ["display_data"] * len(HALF)
    texts = ["a\ufffd", *["a"] * 4, "new", *["a"] * 3, "5"]
    assert [output.data["text/plain"] for output in shown] == texts
    assert shown[1].data["image/png"] == "iVBO\ufffd" and shown[-1].data["text/html"] == "<b>x</b>"
    assert shown[3].data["application/json"] == {"\ufffd": ["\ufffd"]}
    assert shown[6].metadata == {"x": None, "y": [None, None]} and shown[8].metadata == {"x": None}
    assert (end.name, end.text) == ("stdout", "end \ufffd\n")
    assert (error.ename, error.evalue, error.traceback) == ("E\ufffd", "\ufffd", ["\ufffd", "l"])


def test_text_that_a_kernel_cannot_encode_is_shown_as_a_browser_would(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    shout = "print('a\\udc80b')\nprint('c')"  # Python's word for a byte that is no UTF-8: it is sent as that byte
    sources = [f"%%remote --transport {transport_name} {shared_kernel}\n{shout}" for transport_name in ("ws", "zmq")]
    _, *cells = execute(jupyter_server.runtime_dir, tmp_path, [LOAD, *sources])
    for cell in cells:
        assert [output.text for output in cell.outputs if output.name == "stdout"] == ["a\ufffdb\nc\n"]


# -- lines of ours


class Watching(Executor):
    """Touches `go` as soon as the last cell says that it waits."""

    go: Path

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if cell is self.nb.cells[-1] and "waiting: " in str(msg["content"].get("data")):
            self.go.touch()
        return super().process_message(msg, cell, cell_index)


def test_what_a_cell_waits_for_is_gone_from_what_is_saved(
    jupyter_server: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_id = jupyter_server.start_kernel(path="taken.ipynb")
    jupyter_server.wait_for_kernel(kernel_id)
    connection, _ = connect_over(jupyter_server, found(jupyter_server, kernel_id), "zmq")
    gone = {"output_type": "display_data", "data": {}, "metadata": {"kernel_bridge": {"line": "queued"}}}
    with connection:
        owner = Owner(connection, tmp_path / "go")
        monkeypatch.setattr(Watching, "go", tmp_path / "go", raising=False)
        cells = execute(
            jupyter_server.runtime_dir,
            tmp_path,
            [
                LOAD,
                "%%remote --no-raise-error --timeout 2 taken\n1",
                "%%capture kept\nget_ipython().run_cell_magic('remote', '--no-raise-error --timeout 2 taken', '1')",
                "kept.show()",
                "%%remote taken\nfrom IPython.display import clear_output\nclear_output(wait=True)\nprint('cleared')",
            ],
            client=Watching,
        )
        assert owner.unharmed()
    jupyter_server.delete_kernel(kernel_id)
    said = "taken.ipynb: no result within 2 s. The cell is still queued there"
    assert cells[1].outputs[0] == gone
    assert [(it.ename, it.evalue) for it in cells[1].outputs[1:]] == [("TimedOut", said)]
    assert [it for it in cells[3].outputs if it.output_type == "display_data"] == [gone]
    assert cells[4].outputs == [{"output_type": "stream", "name": "stdout", "text": "cleared\n"}]


def test_a_loss_in_a_captured_cell_is_told_below_it(jupyter_server: JupyterServer, tmp_path: Path) -> None:
    kernel_id = jupyter_server.start_kernel(path="ends.ipynb")
    cells = execute(
        jupyter_server.runtime_dir,
        tmp_path,
        [
            LOAD,
            "%%remote ends\nimport os, threading\nx = threading.Timer(0.3, os._exit, [1]); x.start()",
            "import time; time.sleep(2)",
            "%%capture kept\nhere = %remote ends 1\nget_ipython().run_cell('2')",
            "kept.stderr",
        ],
    )
    jupyter_server.delete_kernel(kernel_id)
    (told,) = cells[3].outputs
    assert (told.name, told.text) == ("stderr", ast.literal_eval(cells[4].outputs[0].data["text/plain"]))
    assert re.fullmatch(r"kernel-bridge: ends\.ipynb.* variables are gone\n", told.text)
