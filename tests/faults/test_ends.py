"""Kernels and servers that end, in every way; how soon that is told, and in which words."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_bridge_magic.access.vault import Secret
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.pump import Pump
from kernel_bridge_magic.bridge.runner import run as run_cell
from kernel_bridge_magic.bridge.widgets import WidgetBridge
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Event, Lost, Note, Queued
from kernel_bridge_magic.transports import inbox
from tests.faults.lanes import idle
from tests.faults.late import LateNotes
from tests.faults.proxy import FaultProxy
from tests.faults.truth import Run, run, through
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import private_shell
from tests.support.transports import TRANSPORTS, connect_over, found, known

Tell = Callable[..., None]
RESTARTED = (
    "a.ipynb was restarted by another client during this cell (output above may be incomplete). Its variables are gone"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server that this test may end."""
    with JupyterServer(tmp_path_factory.mktemp("own-server")) as server:
        yield server


def open_to(server: JupyterServer, kernel: str, transport_name: str) -> KernelConnection:
    return connect_over(server, found(server, kernel), transport_name)[0]


def pid_of(connection: KernelConnection) -> int:
    return int(connection.execute("import os; os.getpid()").text)


def start(connection: KernelConnection, code: str, directory: Path) -> Run:
    return Run(connection.start(Cell(code)), directory / "no-truth", 0).start()


@pytest.mark.bounded
@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_f1_a_kernel_that_is_killed(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, transport_name) as connection:
        pid = pid_of(connection)
        cell = run(connection, tmp_path, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        ended = cell.now
        os.kill(pid, signal.SIGKILL)
        cell.join()
        assert cell.fate is Fate.DIED
        cell.check()
        tell(1, cell.told, cell.now - ended, 4 if transport_name == "ws" else 5)


@pytest.mark.bounded
@pytest.mark.parametrize("how", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_f2_a_cell_that_ends_its_process(
    jupyter_server: JupyterServer, own_kernel: str, how: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        code = f"import os, signal, time; print('on', flush=True); time.sleep(0.3); {how}"
        cell = start(connection, code, tmp_path)
        cell.until(lambda: cell.started)
        began = cell.now
        cell.join()
        assert cell.fate is Fate.DIED
        assert cell.told == "a.ipynb: its kernel process ended during this cell. Its variables are gone"
        tell(2, cell.told, cell.now - began - 0.3, 4)


@pytest.mark.long
def test_f3_a_kernel_that_dies_at_every_start_is_told_not_to_come_back(
    own_server: JupyterServer, tmp_path: Path, tell: Tell
) -> None:
    kernel = own_server.start_kernel(path="a.ipynb")
    startup = Path(own_server.env["IPYTHONDIR"]) / "profile_default" / "startup"
    with open_to(own_server, kernel, "ws") as connection:
        pid_of(connection)
        startup.mkdir(parents=True, exist_ok=True)
        (startup / "00-die.py").write_text("import os; os._exit(1)")
        first = start(
            connection, "import os, time; print('on', flush=True); time.sleep(0.3); os._exit(1)", tmp_path
        ).join()
        assert first.fate is Fate.DIED
        cell = run(connection, tmp_path, 3, 0.0)
        wait_for(lambda: gone(own_server, kernel), "the server's giving up", 60)
        dead = cell.now
        cell.join()
        assert cell.fate in (Fate.DIED, Fate.UNKNOWN), cell.told
        cell.check()
        assert "ended for good" in cell.told or "gone" in cell.told, cell.told
        tell(3, cell.told, max(cell.ended - dead, 0.0), 1)


def gone(server: JupyterServer, kernel: str) -> bool:
    return server.request("GET", f"api/kernels/{kernel}")[0] == 404


@pytest.mark.bounded
def test_f4_restarted_by_another_client(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        cell = run(connection, tmp_path, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        asked = cell.now
        jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
        cell.join()
        assert cell.fate is Fate.DIED
        assert cell.told == RESTARTED
        tell(4, cell.told, cell.ended - asked, 2)


@pytest.mark.bounded
def test_f5_restarted_while_the_cell_ignores_signals(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        cell = start(connection, STUBBORN, tmp_path)
        cell.until(lambda: len(cell.events) > 1)
        asked = cell.now
        jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
        cell.join()
        assert cell.fate is Fate.DIED
        tell(5, cell.told, cell.ended - asked, 7)


@pytest.mark.bounded
def test_f6_restarted_while_our_cell_is_queued(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    with (
        open_to(jupyter_server, own_kernel, "ws") as owner,
        open_to(jupyter_server, own_kernel, "ws") as guest,
    ):
        busy = start(owner, "import time; time.sleep(60)", tmp_path)
        busy.until(lambda: busy.started)
        cell = run(guest, tmp_path, 3, 0.0)
        cell.until(lambda: any(isinstance(event, Queued) for _, event in cell.events))
        asked = cell.now
        jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
        cell.join()
        busy.join()
        # A restart interrupts first: with the owner's cell out of the way the old life may come to ours yet.
        began = {Fate.DIED} if cell.started else set()
        assert cell.fate in {Fate.NOT_RUN, Fate.UNKNOWN, Fate.OK} | began, cell.told
        cell.check()
        tell(6, cell.told, cell.ended - asked, 3)


@pytest.mark.bounded
def test_f7_a_kernel_that_is_deleted(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        cell = run(connection, tmp_path, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        asked = cell.now
        jupyter_server.request("DELETE", f"api/kernels/{own_kernel}")
        cell.join()
        assert cell.fate is Fate.DIED
        tell(7, cell.told, cell.ended - asked, 6)


@pytest.mark.bounded
def test_f8_quit_in_the_cell_is_told_on_the_next_use(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        cell = start(connection, "print('bye')\nquit()", tmp_path).join()
        assert (cell.fate, cell.notes) == (Fate.OK, [])
        assert cell.ended < 2, "nobody waits for what may come"
        wait_for(lambda: connection.has_news, "the kernel's end")
        after = start(connection, "1 + 1", tmp_path).join()
        assert after.fate is Fate.OK
        (note,) = after.notes
        assert note == "its kernel process ended since the last cell. Its variables are gone"
        assert start(connection, "1 + 1", tmp_path).join().notes == [], "once"
        tell(8, f"ok; {note}")


def test_f8_a_connection_that_quit_has_closed_says_so_when_the_next_is_opened(
    jupyter_server: JupyterServer, own_kernel: str
) -> None:
    bridge = Bridge()
    notes: list[Event] = []
    try:
        bridge.vault.put(known(jupyter_server)[0].origin, Secret(jupyter_server.token))
        kernel = found(jupyter_server, own_kernel)
        connection = bridge.pool.connect(kernel, "zmq", note=notes.append)
        assert connection.execute("quit()").fate is Fate.OK
        wait_for(lambda: not connection.is_open, "the end of the connection")
        idle(jupyter_server, own_kernel)
        assert bridge.pool.connect(kernel, "zmq", note=notes.append).execute("1 + 1").text == "2"
        assert notes == [Note("its kernel process ended since the last cell. Its variables are gone")]
    finally:
        bridge.close()


def test_f8_a_kernel_that_exits_behind_a_cell_is_told_once_by_the_next_cell(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path
) -> None:
    with private_shell(tmp_path) as shell, open_to(jupyter_server, own_kernel, "ws") as connection:
        front, pump = LateNotes(), Pump()
        widgets = WidgetBridge(connection, front, pump)
        try:
            sink = TerminalSink(shell)
            execution = connection.start(Cell("quit()"))
            with widgets.cell(execution, {"header": {"msg_id": "cell"}}, sink):
                assert run_cell(execution, Relay(sink, connection.kernel), sink).fate is Fate.OK
            wait_for(lambda: connection.has_news, "the kernel's end")
            after = start(connection, "1 + 1", tmp_path).join()
            assert after.notes == ["its kernel process ended since the last cell. Its variables are gone"]
            assert front.notes == []
        finally:
            widgets.close()
            pump.close()


@pytest.mark.alone
@pytest.mark.parametrize("transport_name", TRANSPORTS)
@pytest.mark.parametrize(("fault", "sign"), [(11, signal.SIGTERM), (12, signal.SIGKILL)])
def test_f11_f12_a_server_that_ends(
    own_server: JupyterServer, fault: int, sign: signal.Signals, transport_name: str, tmp_path: Path, tell: Tell
) -> None:
    kernel = own_server.start_kernel(path="a.ipynb")
    with open_to(own_server, kernel, transport_name) as connection:
        cell = run(connection, tmp_path, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        own_server.signal(sign)
        ended = cell.now
        cell.join()
        assert cell.fate is Fate.DIED
        cell.check()
        if fault == 11:
            assert "was shut down with its server" in cell.told
        # by ZMQ the kernel is heard until it ends itself, a second or so later
        tell(fault, f"{transport_name}: {cell.told}", cell.ended - ended, 2 if transport_name == "ws" else 8)


@pytest.mark.bounded
@pytest.mark.parametrize("token", ["token-of-a-test", "another-token"])
def test_f13_f14_a_server_that_is_started_anew(own_server: JupyterServer, token: str, tmp_path: Path) -> None:
    kernel = own_server.start_kernel(path="a.ipynb")
    with open_to(own_server, kernel, "ws") as connection:
        cell = run(connection, tmp_path, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        ended = cell.now
        own_server.kill()
        with JupyterServer(tmp_path / "next", token=token, port=own_server.port) as again:
            cell.join()
            assert cell.fate in (Fate.DIED, Fate.UNKNOWN), cell.told
            cell.check()
            assert cell.ended - ended <= 5
            assert again.log_text().count("channels") <= 3, "no storm of tries"


@pytest.mark.bounded
def test_f13_a_server_that_is_back_is_told_with_the_kernels_it_has_now(
    own_server: JupyterServer, tmp_path: Path, tell: Tell
) -> None:
    # As behind a reverse proxy, which is there while its server is not: alone it is told to have ended within 2 s.
    kernel = own_server.start_kernel(path="a.ipynb")
    with FaultProxy(own_server.port) as proxy, JupyterServer(tmp_path / "next") as again:
        names = ("a.ipynb", "b.ipynb", "a-notebook-with-a-long-name.ipynb", "d.ipynb", "e.ipynb")
        for kernel_id in [again.start_kernel(path=name) for name in names]:
            again.wait_for_kernel(kernel_id)
        connection, _, _ = through(own_server, proxy, kernel)
        with connection:
            cell = run(connection, tmp_path, 5000, 0.02)
            cell.until(lambda: len(cell.lines) > 5)
            proxy.target = again.port
            own_server.kill()
            back = cell.now
            cell.join()
            assert cell.fate is Fate.DIED
            cell.check()
            assert "a.ipynb disappeared from its server (there now: " in cell.told
            assert ".ipynb" in cell.told and "and 2 more)" in cell.told
            assert len(cell.told) <= 160, len(cell.told)
            tell(13, cell.told, cell.ended - back, 5)


@pytest.mark.bounded
def test_f14_a_server_of_ours_that_is_started_anew_is_known_by_its_file_which_is_read_once(
    own_server: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(own_server.runtime_dir))
    # Slower than a restart takes: a server that is away for 2 s is told to have ended.
    monkeypatch.setattr(timing, "current", replace(timing.current, retry_refused=10.0))
    kernel = own_server.start_kernel(path="a.ipynb")
    bridge = Bridge()
    try:
        connection = bridge.pool.connect(bridge.find_by_id(kernel), "ws")
        cell = run(connection, tmp_path, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        own_server.kill()
        with JupyterServer(
            tmp_path / "next", token="another-token", port=own_server.port, runtime_dir=own_server.runtime_dir
        ) as again:
            again.start_kernel(path="new.ipynb")
            back = cell.now
            cell.join()
            assert cell.fate is Fate.DIED
            cell.check()
            assert "disappeared from its server (there now: new.ipynb)" in cell.told
            assert again.log_text().count("channels") <= 3, "no storm of tries"
            # seconds from the last try of the server that was away
            tell(14, cell.told, max(cell.ended - back - 10, 0), 5)
    finally:
        bridge.close()


@pytest.mark.alone
def test_f42_ctrl_c_once_and_twice(jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        cell = start(connection, STUBBORN.replace("60", "4"), tmp_path)
        cell.until(lambda: len(cell.events) > 1)
        cell.execution.interrupt()
        asked = cell.now
        cell.execution.interrupt()
        cell.join()
        assert cell.fate is Fate.LEFT_RUNNING
        tell(42, cell.told, cell.ended - asked, 0.5)


def test_f34_what_the_server_s_rate_limit_drops(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, "ws") as connection:
        cell = start(connection, "for n in range(30): print('x' * 1_000_000, flush=True)", tmp_path).join()
        assert cell.fate is Fate.OK
        tell(34, cell.losses[0].reason)


def test_f37_who_shows_slowly_loses_nothing(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    # Whoever listens, a kernel on a loaded machine drops what is more than its socket's 1000 messages: 500 at a time.
    code = (
        "import pathlib, time\n"
        "for n in range(5000):\n"
        "    display({'text/plain': str(n)}, raw=True)\n"
        f"    while n % 500 == 499 and not pathlib.Path({str(tmp_path)!r}, str(n)).exists(): time.sleep(0.01)"
    )
    with open_to(jupyter_server, own_kernel, "zmq") as connection:
        execution = connection.start(Cell(code))
        for last in range(499, 5000, 500):
            wait_for(lambda last=last: len(execution.inbox) > last, "all of it, unread", 60)
            (tmp_path / str(last)).touch()
        count = sum(type(event).__name__ == "DisplayData" for event in execution)
        assert count == 5000
        tell(37, "nothing: 5000 displays waited here unread, 0 lost")


@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_f37_what_waits_here_has_an_end_and_what_is_dropped_is_counted(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_BYTES", 5_000_000)
    with open_to(jupyter_server, own_kernel, transport_name) as connection:
        connection.execute("import time")
        execution = connection.start(
            Cell("for n in range(20):\n    display({'text/plain': 'x' * 1_000_000}, raw=True)\n1 / 0")
        )
        wait_for(lambda: execution.inbox.dropped == 16, "the last one", 60)
        events = list(execution)
        assert sum(type(event).__name__ == "DisplayData" for event in events) == 4
        assert [event.reason.split(" (")[0] for event in events if isinstance(event, Lost)] == ["16 messages missing"]
        assert execution.result is not None
        assert (execution.result.fate, execution.result.missing) == (Fate.FAILED, 16)


@pytest.mark.bounded
def test_f43_a_local_process_that_ends_leaves_the_cell_running(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    connection = open_to(jupyter_server, own_kernel, "ws")
    cell = run(connection, tmp_path, 150, 0.02)
    cell.until(lambda: len(cell.lines) > 5)
    asked = cell.now
    connection.close()
    cell.join()
    assert cell.fate is not Fate.OK
    tell(43, cell.told, cell.ended - asked, 2)
    wait_for(lambda: len(cell.printed) == 150, "the end of the cell over there")
