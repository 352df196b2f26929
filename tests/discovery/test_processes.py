"""What the processes of kernels use, without a word to the kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.discovery.processes import is_at_work, usages
from kernel_bridge_magic.models import Kernel
from tests.support.raw import RawServer, http
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for
from tests.support.shells import private_shell


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleKernel]:
    with ConsoleKernel(tmp_path_factory.mktemp("processes") / "runtime") as kernel:
        yield kernel


def test_a_kernel_s_process_is_found_and_measured(console: ConsoleKernel) -> None:
    path = str(console.connection_file)
    used = usages([path])[path]
    process = psutil.Process(console.pid)
    assert used.pid == console.pid
    assert 0.5 < used.memory / process.memory_info().rss < 2
    assert 0 <= used.cpu < 100 * (os.cpu_count() or 1)
    assert used.started.tzinfo is not None
    assert abs(used.started - datetime.fromtimestamp(process.create_time()).astimezone()) < timedelta(seconds=1)


def test_one_that_is_stopped_is_measured_too(console: ConsoleKernel) -> None:
    """So it cannot have been asked."""
    path = str(console.connection_file)
    process = psutil.Process(console.pid)
    process.suspend()
    try:
        assert usages([path])[path].pid == console.pid
    finally:
        process.resume()


def test_what_is_no_kernel_s_file_is_left_out(console: ConsoleKernel, tmp_path: Path) -> None:
    bad = []
    for number, text in enumerate(["", "[]", "{}", '{"shell_port": "x"}', "[" * 60_000]):
        (tmp_path / f"{number}.json").write_text(text)
        bad.append(str(tmp_path / f"{number}.json"))
    gone = str(tmp_path / "gone.json")
    assert usages([*bad, gone]) == {}
    assert usages([]) == {}
    path = str(console.connection_file)
    assert list(usages([*bad, gone, path])) == [path]


@pytest.mark.parametrize(
    ("code", "works"),
    [
        ("import time; time.sleep(60)", True),
        ("while True: pass", True),
        ("import select; select.select([], [], [], 60)", False),
        ("import sys; sys.stdin.read()", False),
    ],
)
def test_a_process_that_waits_is_not_at_work(code: str, works: bool) -> None:
    code = f"print('begins', flush=True); {code}" if "while" not in code else f"print('begins', flush=True)\n{code}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"begins\n"
            wait_for(lambda: is_at_work(process.pid) is works, "what it does", seconds=10)
        finally:
            process.kill()


def test_a_process_that_wakes_up_while_it_is_looked_at_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING])
    monkeypatch.setattr(psutil.Process, "status", lambda process: next(looks))
    monkeypatch.setattr(peers, "is_asleep", lambda pid: False)  # it has just begun to run
    assert is_at_work(os.getpid())


def test_a_process_that_has_ended_is_not_at_work() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    began = time.monotonic()
    assert not is_at_work(process.pid)
    assert time.monotonic() - began < 5


# -- kernels that nobody has connected to yet are ready, and not starting for ever; one that starts is


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("unused")) as server:
        yield server


@pytest.fixture(autouse=True)
def directories(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    where = request.getfixturevalue("server").runtime_dir if "server" in request.fixturenames else tmp_path
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(where))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def found(kernel_id: str) -> Kernel:
    (kernel,) = [kernel for kernel in look([], Vault()).kernels if kernel.id == kernel_id]
    return kernel


def rest_state(server: JupyterServer, kernel_id: str) -> tuple[str, int]:
    model = server.rest("GET", f"api/kernels/{kernel_id}")
    return model["execution_state"], model["connections"]


def test_a_kernel_that_nobody_has_used_is_unused_and_runs_a_cell(
    server: JupyterServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_id = server.start_kernel(path="fresh.ipynb")
    wait_for(lambda: found(kernel_id).state == "unused", "an unused kernel")
    # It was asked nothing, or its server would know better.
    assert rest_state(server, kernel_id) == ("starting", 0)
    assert "channels" not in server.log_text()
    with private_shell(tmp_path) as shell:
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        shell.run_cell("%%remote fresh.ipynb\nprint('first')").raise_error()
        shell.run_line_magic("unload_ext", "kernel_bridge_magic")
    shown = capsys.readouterr()
    assert shown.out == "first\n" and "starting" not in shown.err
    server.delete_kernel(kernel_id)


def test_a_kernel_that_somebody_is_connected_to_is_what_its_server_says(server: JupyterServer) -> None:
    kernel_id = server.start_kernel(path="used.ipynb")
    bridge = Bridge()
    wait_for(lambda: bridge.find("used.ipynb").state == "unused", "an unused kernel")
    with bridge.pool.open(bridge.find("used.ipynb"), "ws") as connection:
        connection.execute("1")
        assert found(kernel_id).state == "idle"
    bridge.close()
    server.delete_kernel(kernel_id)


@pytest.mark.parametrize("work", ["__import__('time').sleep(0.05)", "sum(range(99_999))"], ids=["sleeps", "computes"])
def test_a_kernel_whose_profile_takes_its_time_is_starting(server: JupyterServer, work: str, tmp_path: Path) -> None:
    """Its heartbeat answers meanwhile."""
    startup = Path(server.env["IPYTHONDIR"]) / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    begun, hold = tmp_path / "begun", tmp_path / "hold"
    hold.touch()
    code = f"import os, pathlib\npathlib.Path({str(begun)!r}).touch()\nwhile os.path.exists({str(hold)!r}): {work}\n"
    (startup / "slow.py").write_text(code)
    kernel_id = server.start_kernel()
    try:
        assert found(kernel_id).state == "starting"  # it has not come to listen yet
        wait_for(begun.exists, "the profile's code")
        assert {found(kernel_id).state for _ in range(3)} == {"starting"}
        hold.unlink()
        wait_for(lambda: found(kernel_id).state == "unused", "an unused kernel")
    finally:
        (startup / "slow.py").unlink()
        server.delete_kernel(kernel_id)


def test_a_kernel_that_is_restarted_is_starting_until_it_answers_again(server: JupyterServer) -> None:
    kernel_id = server.start_kernel()
    wait_for(lambda: found(kernel_id).state == "unused", "an unused kernel")
    server.rest("POST", f"api/kernels/{kernel_id}/restart", {})
    seen = [found(kernel_id).state]
    wait_for(lambda: seen.append(found(kernel_id).state) or seen[-1] not in ("starting", "restarting"), "its end")
    assert seen[-1] in ("unused", "idle")  # a server that waits for it when it restarts has heard it
    server.delete_kernel(kernel_id)


NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "date", "state"),
    [
        ({}, NOW, "unused"),
        ({}, NOW - timedelta(seconds=1), "starting"),  # 4.5 s
        ({"last_activity": "2026-01-02T13:59:00+02:00"}, NOW, "unused"),
        ({"last_activity": (NOW + timedelta(hours=3)).isoformat()}, NOW, "starting"),  # its clock was set
        ({"last_activity": None}, NOW, "starting"),
        ({}, None, "starting"),
        ({"connections": 1}, NOW, "starting"),
        ({"connections": None}, NOW, "starting"),
        ({"execution_state": "busy"}, NOW, "busy"),
        ({"execution_state": "restarting"}, NOW, "restarting"),
        ({"execution_state": None}, NOW, "unknown"),
    ],
)
def test_elsewhere_time_tells_by_the_clock_of_the_server(
    change: dict[str, Any], date: datetime | None, state: str
) -> None:
    """Which is not ours: it is years behind."""
    model = {"id": "k", "name": "x", "execution_state": "starting", "connections": 0}
    model["last_activity"] = (NOW - timedelta(seconds=5.5)).isoformat()
    headers = {} if date is None else {"Date": format_datetime(date, usegmt=True)}
    body = json.dumps([model | change]).encode()
    with RawServer({"kernels": http(body=body, **headers), "sessions": http(), "kernelspecs": http()}) as raw:
        (kernel,) = look([raw.server()], Vault()).kernels
    assert kernel.state == state


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2026 12:00:00 GMT", "\xff", "0" * 5000])
def test_a_date_that_is_none_is_no_reason_to_fail(date: str) -> None:
    body = json.dumps([{"id": "k", "execution_state": "starting", "connections": 0, "last_activity": str(NOW)}])
    answer = http(body=body.encode()).replace(b"\r\n\r\n", f"\r\nDate: {date}\r\n\r\n".encode("latin-1"), 1)
    with RawServer({"kernels": answer, "sessions": http(), "kernelspecs": http()}) as raw:
        listing = look([raw.server()], Vault())
    assert [(kernel.id, kernel.state) for kernel in listing.kernels] == [("k", "starting")]
    assert listing.servers[0].problem == ""
