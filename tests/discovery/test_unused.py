"""A kernel that nobody has connected to yet is ready, and not starting for ever; one that starts is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.models import Kernel
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import private_shell


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
