"""Background jobs from a real IPython shell, over a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.errors import BadOption, RemoteError
from kernel_bridge_magic.ipython import background
from kernel_bridge_magic.jobs.job import RemoteJob
from kernel_bridge_magic.models import Kernel, Origin, Server
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import bridged_shell, run

Capture = pytest.CaptureFixture[str]
ORIGIN = Origin("http", "lab.example", 80, "/")
FOREIGN = Kernel(id="f", server=Server("http://lab.example/", "lab", ORIGIN))


@pytest.fixture
def shell(jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path) -> Iterator[InteractiveShell]:
    with bridged_shell(tmp_path, jupyter_server.runtime_dir) as made:
        yield made


def test_a_job_goes_on_while_other_cells_run(
    shell: InteractiveShell, shared_kernel: str, tmp_path: Path, capsys: Capture
) -> None:
    go = tmp_path / "go"
    code = f"import os, time\nprint('begun')\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n6 * 7"
    run(shell, f"%%remote --bg --result job {shared_kernel}\n{code}")
    job = shell.user_ns["job"]
    assert isinstance(job, RemoteJob) and job.number == 1
    wait_for(lambda: job.status == "running", "the job")
    assert run(shell, "1 + 1") == 2
    run(shell, "%jobs")
    out = capsys.readouterr().out
    assert "shared.ipynb  running since " in out
    go.touch()
    assert str(job.result(20)) == "42"
    wait_for(lambda: job.is_over, "its end")
    out += capsys.readouterr().out
    assert "begun\n" in out and "42" in out
    run(shell, "%jobs 1 --output")
    assert capsys.readouterr().out == "begun\n42\n"


def test_its_error_is_raised_where_somebody_waits(shell: InteractiveShell, shared_kernel: str) -> None:
    job = run(shell, f"job = %remote --bg {shared_kernel} 1 / 0\njob")
    assert isinstance(job, RemoteJob)
    with pytest.raises(RemoteError):
        run(shell, f"%jobs {job.number} --wait")
    with pytest.raises(RemoteError):
        job.result()


def test_it_is_stopped(shell: InteractiveShell, shared_kernel: str) -> None:
    job = run(shell, f"job = %remote --bg {shared_kernel} import time; print('on'); time.sleep(60)\njob")
    wait_for(lambda: job.outputs, "what it prints")
    run(shell, f"%jobs {job.number} --stop")
    with pytest.raises(RemoteError) as raised:
        job.result(20)
    assert raised.value.ename == "KeyboardInterrupt" and job.status == "failed"


def test_what_cannot_be_done_is_one_line(shell: InteractiveShell) -> None:
    for line in ("%jobs 9", "%jobs x", "%jobs --wait", "%jobs 1 --wait --stop"):
        with pytest.raises(BadOption):
            run(shell, line)


def test_what_a_foreign_kernel_has_shown_is_as_harmless_as_when_it_came(
    shell: InteractiveShell, capsys: Capture
) -> None:
    job = SimpleNamespace(kernel=FOREIGN, outputs=[
        {"output_type": "stream", "name": "stdout", "text": "text\x1b]0;owned\x07\n"},
        {"output_type": "display_data", "metadata": {}, "data": {
            "text/html": "<b>page</b><script>act()</script>", "application/javascript": "act()", "text/plain": "p"}},
        {"output_type": "execute_result", "metadata": {}, "execution_count": 1,
         "data": {"text/plain": "42\x1b]0;owned\x07"}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["E: \x1b]0;owned\x07v"]},
    ])  # fmt: skip
    seen: list[dict[str, Any]] = []
    with patch.object(shell.display_pub, "publish", lambda **more: seen.append(more["data"])):
        here: Any = SimpleNamespace(
            jobs=SimpleNamespace(get=lambda number: job), front=SimpleNamespace(sink=lambda: NotebookSink(shell))
        )
        background.jobs(here, "1", SimpleNamespace(output=True, wait=False, stop=False))
    out = capsys.readouterr().out
    assert "text" in out and "E: " in out and len(seen) == 2
    assert list(seen[0]) == ["text/plain", "text/html"] and "42" in seen[1]["text/plain"]
    assert seen[0]["text/html"].startswith("<iframe sandbox=") and "<script" not in seen[0]["text/html"]
    assert "\x1b]" not in out + seen[1]["text/plain"]


def test_an_error_that_is_raised_nowhere_cannot_be_kept_from_being_raised(
    shell: InteractiveShell, shared_kernel: str
) -> None:
    with pytest.raises(BadOption, match="--no-raise-error does not go with --bg"):
        run(shell, f"%%remote --bg --no-raise-error {shared_kernel}\n1 / 0")
    assert len(run(shell, "%jobs")) == 0


def test_unloading_leaves_it_running_and_says_so(
    shell: InteractiveShell, shared_kernel: str, tmp_path: Path, capsys: Capture
) -> None:
    go = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    run(shell, f"%%remote --bg --result job {shared_kernel}\n{code}")
    wait_for(lambda: shell.user_ns["job"].status == "running", "the job")
    run(shell, "%unload_ext kernel_bridge_magic")
    assert "1 job left running: 1 (shared.ipynb)" in capsys.readouterr().err
    go.touch()
    wait_for(lambda: shell.user_ns["job"].is_over, "the end of the wait")
    run(shell, "%load_ext kernel_bridge_magic")
