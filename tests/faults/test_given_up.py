"""Links that do not come back: how long they are waited for, what is told then, and that the next cell is well."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import Fate, FateUnknown
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.events import Event, Note, Started
from tests.faults.proxy import FaultProxy
from tests.faults.truth import run, through
from tests.support.ports import free_port
from tests.support.servers import JupyterServer, private_env, wait_for
from tests.support.transports import found, has_ended
from tests.test_nbclient import LOAD, execute, saved

Tell = Callable[..., None]
LIMIT = 2.0  # seconds
LEFT_UNKNOWN = Note(
    "the link was lost under an earlier cell, so its end is not known. It may still be running there; its variables "
    "are still there unless the kernel was restarted"
)
SOON = 3.0  # seconds later at most
UNHEARD = 6.0  # seconds until a link that does not break is in doubt


@contextmanager
def lost(proxy: FaultProxy) -> Iterator[None]:
    """The network ends every connection, and lets none be opened while the block runs."""
    proxy.refuse()
    assert proxy.reset() >= 1
    yield
    proxy.refuse(False)


def test_f23_a_link_that_never_comes_back_is_given_up_when_its_time_is_over(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    connection.reconnect_timeout = LIMIT
    with connection:
        cell = run(connection, tmp_path, 100, 0.1)
        cell.until(lambda: len(cell.lines) > 5)
        broke = cell.now
        with lost(proxy):
            cell.join()
            seconds = cell.ended - broke
            assert LIMIT - 0.5 <= seconds <= LIMIT + SOON
            assert cell.fate is Fate.UNKNOWN
            assert "not back within 2 s. The cell may still be running: check before running it again" in cell.told
            assert any("It is tried again for 2 s (reconnect_timeout)" in note for note in cell.notes)
            assert not connection.is_open
            wait_for(lambda: has_ended(transport), "the end of the tries", 15)
        tell(23, f"never back, with a reconnect_timeout of 2 s: {cell.told}", seconds, LIMIT + SOON)


def test_a_link_that_is_back_in_time_goes_on(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    connection.reconnect_timeout = 20.0
    with connection:
        cell = run(connection, tmp_path, 100, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        with lost(proxy):
            time.sleep(2)  # the fault itself
        assert cell.join().fate is Fate.OK
        cell.check()
        assert transport.reconnects == 1 and transport.lost_since is None


def test_a_black_hole_is_given_up_as_well_though_nothing_broke(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    connection.reconnect_timeout = LIMIT
    with connection:
        cell = run(connection, tmp_path, 100, 0.1)
        cell.until(lambda: len(cell.lines) > 5)
        held = cell.now
        proxy.hold()
        cell.join()
        proxy.release()
        assert cell.fate is Fate.UNKNOWN
        assert "nothing was heard from its server for 2 s. The cell may still be running" in cell.told
        assert cell.ended - held <= UNHEARD + SOON
        assert not connection.is_open, "the next cell is not sent into it"


def test_a_quiet_cell_by_a_link_that_is_well_is_never_given_up(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    connection.reconnect_timeout = 0.5
    with connection:
        assert connection.execute("import time; time.sleep(5); 42").text == "42"


def test_a_durable_cell_has_no_limit(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    connection.reconnect_timeout = 0.5
    with connection:
        cell = run(connection, tmp_path, 60, 0.05, durable=True)
        cell.until(lambda: len(cell.lines) > 5)
        with lost(proxy):
            time.sleep(3)  # the fault itself
        assert cell.join().fate is Fate.OK
        assert cell.check() == 0


def test_a_tunnel_that_is_refused_for_a_while_is_tried_for_as_long_as_anything(
    jupyter_server: JupyterServer, own_kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "current", replace(timing.current, retry_refused=0.02, longest_retry=0.1))
    port = free_port()
    with FaultProxy(jupyter_server.port, port) as tunnel:
        vault, kernel = proxied(jupyter_server, tunnel, own_kernel)
        connection = Pool(vault).open(kernel, "ws")
        execution = connection.start(Cell("import time; time.sleep(1); 42"))
        events = iter(execution)
        assert next(events) == Started()
    # Nobody listens any more, for longer than the quick tries take.
    with ThreadPoolExecutor(1) as aside, connection:
        end = aside.submit(lambda: list(events))
        time.sleep(3)  # the fault itself
        assert not end.done()
        with FaultProxy(jupyter_server.port, port):
            end.result(60)
        assert execution.result is not None and execution.result.text == "42", execution.result


def proxied(server: JupyterServer, proxy: FaultProxy, kernel_id: str) -> tuple[Vault, Kernel]:
    base = parse_base_url(f"http://127.0.0.1:{proxy.port}/")
    vault = Vault()
    vault.put(base.origin, Secret(server.token))
    where = Server(base.url, "proxied", base.origin, trusted=True)
    return vault, dataclasses.replace(found(server, kernel_id), server=where, connection_file="")


def test_the_next_cell_goes_by_a_new_connection_and_says_once_what_is_not_known(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, spare_kernels: object
) -> None:
    vault, kernel = proxied(jupyter_server, proxy, own_kernel)
    pool = Pool(vault)
    notes: list[Event] = []
    first = pool.connect(kernel, "ws", note=notes.append)
    first.reconnect_timeout = LIMIT
    execution = first.start(Cell("import time; time.sleep(4)"))
    events = iter(execution)
    next(events)
    with lost(proxy):
        for _ in events:
            pass
    assert execution.result is not None and isinstance(execution.result.error, FateUnknown)
    notes.clear()
    again = pool.connect(kernel, "ws", note=notes.append)
    assert again is not first
    assert notes[:1] == [LEFT_UNKNOWN]
    assert again.execute("6 * 7").text == "42"
    assert pool.connect(kernel, "ws", note=notes.append) is again
    assert notes.count(LEFT_UNKNOWN) == 1
    pool.close()


def test_it_is_said_though_another_kernel_was_used_meanwhile(
    jupyter_server: JupyterServer, own_kernel: str, shared_kernel: str, proxy: FaultProxy
) -> None:
    vault, kernel = proxied(jupyter_server, proxy, own_kernel)
    pool = Pool(vault)
    notes: list[Event] = []
    first = pool.connect(kernel, "ws")
    first.reconnect_timeout = LIMIT
    execution = first.start(Cell("import time; time.sleep(1)"))
    with lost(proxy):
        for _ in execution:
            pass
    pool.connect(proxied(jupyter_server, proxy, shared_kernel)[1], "ws", note=notes.append)
    assert notes == []
    pool.connect(kernel, "ws", note=notes.append)
    assert notes.count(LEFT_UNKNOWN) == 1
    pool.close()


def runs_on(file: Path) -> str:
    """Code that makes `file` when its client is sure to have read that it runs: it has answered a question."""
    asks = "get_ipython().kernel._allow_stdin = True\ntry: input()\nexcept EOFError: pass\n"
    return f"{asks}open({str(file)!r}, 'w').close()\nimport time; time.sleep(20)"


def lose_when_it_runs(proxy: FaultProxy, file: Path) -> None:
    wait_for(file.exists, "the beginning of the cell", 60)
    proxy.refuse()
    proxy.reset()


def test_the_command_line_says_so_with_status_3(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    file = tmp_path / "begun"
    code = runs_on(file)
    command = [sys.executable, "-m", "kernel_bridge_magic", "exec", "--base-url", f"http://127.0.0.1:{proxy.port}/"]
    command += ["--token", "env:LAB_TOKEN", "--kernel-id", own_kernel, "--code", code, "--transport", "ws"]
    command += ["--reconnect-timeout", "2s", "--json"]
    env = {**private_env(tmp_path / "home"), "LAB_TOKEN": jupyter_server.token}
    with ThreadPoolExecutor(1) as aside:
        aside.submit(lose_when_it_runs, proxy, file)
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
    answer = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr
    assert (answer["status"], answer["fate"]) == ("error", "unknown")
    assert "not back within 2 s. The cell may still be running" in answer["error"]["message"]


def test_a_notebook_without_a_front_end_stops_there(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    file = tmp_path / "begun"
    server = f"http://127.0.0.1:{proxy.port}/"
    (tmp_path / "token").write_text(jupyter_server.token)
    (tmp_path / "token").chmod(0o600)
    cells = [
        LOAD,
        "%config KernelBridge.reconnect_timeout = '2s'",
        f"%servers --add {server} --name far --token file:{tmp_path / 'token'} --trust",
        f"%%remote --transport ws far::{own_kernel}\n{runs_on(file)}",
        "print('never')",
    ]
    (tmp_path / "runtime").mkdir(mode=0o700)
    with ThreadPoolExecutor(1) as aside:
        aside.submit(lose_when_it_runs, proxy, file)
        with pytest.raises(CellExecutionError):
            execute(tmp_path / "runtime", tmp_path, cells)
    *_, stopped, never = saved(tmp_path)
    (error,) = [output for output in stopped.outputs if output.output_type == "error"]
    assert error.ename == "FateUnknown"
    assert "not back within 2 s. The cell may still be running: check before running it again" in error.evalue
    assert never.outputs == []
