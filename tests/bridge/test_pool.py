"""The first WebSocket to a busy kernel: its server waits before it lets us in (FACTS.md#opening-a-websocket)."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.errors import CannotConnect, NotRun
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.protocol.events import Event, Note, Queued
from tests.support.hostile import HostileServer
from tests.support.owner import Owner
from tests.support.scripted import ScriptedCell, ScriptedServer
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for
from tests.support.transports import connect_over, found, known


@pytest.fixture
def busy(jupyter_server: JupyterServer, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that runs a cell until there is a file `go`, and that its server has never spoken to."""
    kernel_id = jupyter_server.start_kernel(path="never-opened.ipynb")
    jupyter_server.wait_for_kernel(kernel_id)
    connection, _ = connect_over(jupyter_server, found(jupyter_server, kernel_id), "zmq")
    with connection:
        owner = Owner(connection, tmp_path / "go")
        yield found(jupyter_server, kernel_id)
        assert owner.unharmed()
    jupyter_server.delete_kernel(kernel_id)


def test_a_server_that_waits_for_its_kernel_is_told_of(
    jupyter_server: JupyterServer, busy: Kernel, tmp_path: Path
) -> None:
    pool = Pool(known(jupyter_server)[1])
    notes: list[Event] = []
    with pytest.raises(NotRun, match=r"busy or starting.* nothing was sent, so it is safe to run the cell again"):
        pool.connect(busy, "ws", note=notes.append, cell=Cell("...", if_busy="fail"))
    assert notes == [], "it says so itself"
    with pytest.raises(
        NotRun, match=r"no connection within 1 s, since the kernel is busy or starting; nothing was sent"
    ):
        pool.connect(busy, "ws", note=notes.append, cell=Cell("...", timeout=1))
    assert len(pool) == 0

    def note(event: Event) -> None:
        notes.append(event)
        (tmp_path / "go").touch()

    # Without the note nobody would end the other cell within the time of this test.
    assert pool.connect(busy, "ws", note=note, cell=Cell("...", timeout=60)).execute("6 * 7", timeout=60).text == "42"
    assert notes == [Queued(connecting=True)] * 2
    pool.close()


def test_a_second_thread_that_waits_at_the_same_door_is_told_as_well(
    jupyter_server: JupyterServer, busy: Kernel, tmp_path: Path
) -> None:
    pool = Pool(known(jupyter_server)[1])
    held_up = threading.Event()
    with ThreadPoolExecutor(1) as other:
        first = other.submit(pool.connect, busy, "ws", note=lambda event: held_up.set())
        assert held_up.wait(60), "it waits for the server, and we for it"
        with pytest.raises(
            NotRun, match=r"no connection within 1 s, since the kernel is busy or starting; nothing was sent"
        ):
            pool.connect(busy, "ws", cell=Cell("...", timeout=1))
        with pytest.raises(NotRun, match=r"busy or starting.* nothing was sent, so it is safe to run the cell again"):
            pool.connect(busy, "ws", cell=Cell("...", if_busy="fail"))
        connection = pool.connect(busy, "ws", note=lambda event: (tmp_path / "go").touch())
        assert connection is first.result(60), "one for both"
    assert connection.execute("6 * 7", timeout=60).text == "42"
    pool.close()


def test_a_kernel_that_is_known_to_its_server_lets_in_at_once(
    jupyter_server: JupyterServer, shared_kernel: str
) -> None:
    pool = Pool(known(jupyter_server)[1])
    notes: list[Event] = []
    kernel = found(jupyter_server, shared_kernel)
    connection = pool.connect(kernel, "ws", note=notes.append, cell=Cell("...", timeout=60, if_busy="fail"))
    assert connection.execute("6 * 7").text == "42"
    assert notes == []
    pool.close()


# -- interrupts of whatever a kernel runs


@pytest.mark.parametrize(("state", "interrupts"), [("idle", 0), ("busy", 1), ("unknown", 0)])
def test_a_kernel_that_answers_is_idle_unless_its_server_calls_it_busy(state: str, interrupts: int) -> None:
    with HostileServer() as server:
        server.state = state
        pool = Pool(Vault())
        assert pool.interrupt(server.kernel) is bool(interrupts)
        assert server.interrupts == interrupts
        assert {message.msg_type for message in server.received} <= {"kernel_info_request"}
        pool.close()


def test_a_kernel_that_does_not_answer_is_interrupted_whatever_its_server_says() -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        go.wait(30)
        cell.reply()
        cell.idle()

    with HostileServer(script) as server:
        server.in_order, server.state = True, "idle"
        pool = Pool(Vault())
        with pool.open(server.kernel) as owner:
            execution = owner.start(Cell("theirs"))
            next(iter(execution))
            assert pool.interrupt(server.kernel)
            go.set()
        assert server.interrupts == 1
        pool.close()


def test_a_kernel_whose_output_may_be_unread_is_not_asked() -> None:
    now = datetime.now(UTC)
    with HostileServer() as server:
        server.state = "idle"
        left = dataclasses.replace(
            server.kernel, connections=0, last_activity=now, state="idle", sessions=(Session("a.ipynb", "a.ipynb"),)
        )
        pool = Pool(Vault())
        assert pool.interrupt(left)
        assert (server.interrupts, server.handshakes) == (1, [])
        pool.close()


def test_a_kernel_that_cannot_be_asked_is_interrupted() -> None:
    with HostileServer() as server:
        server.doors, server.state = 0, "idle"
        pool = Pool(Vault())
        assert pool.interrupt(server.kernel)
        assert server.interrupts == 1
        pool.close()


def test_kernels_whose_files_are_called_alike_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directories = tmp_path / "runtime", tmp_path / "xdg" / "jupyter" / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(directories[0]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    pool = Pool(Vault())
    with ThreadPoolExecutor() as starting, contextlib.ExitStack() as stack:
        consoles = [stack.enter_context(one) for one in starting.map(ConsoleKernel, directories)]
        kernels = look([], Vault()).kernels
        assert [kernel.id for kernel in kernels] == ["x", "x"]
        pids = {}
        for kernel in kernels:
            assert not pool.known(kernel)
            reply = pool.connect(kernel).execute("import os; os.getpid()", timeout=60)
            pids[kernel.connection_file] = reply.text
            assert pool.known(kernel)
        assert pids == {str(one.connection_file): str(one.process.pid) for one in consoles}
        pool.close()


# -- a kernel whose process stands still


SUSPENDED = "its process is suspended, and is waited for until it goes on. Ctrl-C gives up; nothing was sent yet"
SAFE = "nothing was sent, so it is safe to run the cell again"


def named(console: ConsoleKernel) -> Kernel:
    return Kernel(id=console.id, connection_file=str(console.connection_file), started_by="a console")


def suspend(console: ConsoleKernel) -> None:
    console.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: peers.is_suspended(console.process.pid), "its standing still")


@pytest.fixture(params=["tcp", "ipc"])
def console(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConsoleKernel]:
    extra = ["--transport=ipc", f"--ip={tmp_path / 'k'}"] if request.param == "ipc" else []
    with ConsoleKernel(tmp_path / "runtime", extra=extra) as running:
        yield running
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGCONT)


def test_a_suspended_kernel_is_waited_for_and_has_not_ended(console: ConsoleKernel) -> None:
    suspend(console)
    pool, notes = Pool(Vault()), list[Event]()
    with ThreadPoolExecutor() as threads:
        made = threads.submit(pool.connect, named(console), note=notes.append)
        wait_for(lambda: notes or made.done(), "what is said of it")
        assert not made.done()
        with pytest.raises(NotRun) as waited:
            pool_of_another = Pool(Vault())
            pool_of_another.connect(named(console), cell=Cell("...", timeout=1))
        assert str(waited.value) == (
            f"{named(console).title}: no connection within 1 s, since its process is suspended; {SAFE}"
        )
        console.process.send_signal(signal.SIGCONT)
        assert made.result(60).execute("6 * 7", timeout=60).text == "42"
    assert notes == [Note(SUSPENDED)]
    pool.close()


def test_a_suspended_kernel_that_is_killed_has_ended(console: ConsoleKernel) -> None:
    suspend(console)
    pool, notes = Pool(Vault()), list[Event]()
    with ThreadPoolExecutor() as threads:
        made = threads.submit(pool.connect, named(console), note=notes.append)
        wait_for(lambda: notes or made.done(), "what is said of it")
        console.process.kill()
        with pytest.raises(CannotConnect, match="it has ended"):
            made.result(60)
    pool.close()


def test_a_kernel_that_has_ended_is_told_as_that(console: ConsoleKernel) -> None:
    console.process.kill()
    console.process.wait(10)
    notes: list[Event] = []
    with pytest.raises(CannotConnect, match="it has ended"):
        Pool(Vault()).connect(named(console), note=notes.append)
    assert notes == []


def test_where_a_busy_kernel_is_not_waited_for_a_suspended_one_is_not_either(console: ConsoleKernel) -> None:
    suspend(console)
    with pytest.raises(NotRun) as refused:
        Pool(Vault()).connect(named(console), cell=Cell("...", if_busy="fail"))
    assert str(refused.value) == f"{named(console).title}: its process is suspended; {SAFE}"


def test_what_is_opened_while_the_pool_closes_is_closed() -> None:
    def script(cell: ScriptedCell) -> None:
        cell.reply()

    pool = Pool(Vault())
    with ScriptedServer(script) as server:
        left = dataclasses.replace(
            server.kernel, connections=0, state="busy", sessions=(Session("work/a.ipynb", "a.ipynb"),)
        )
        with pytest.raises(CannotConnect, match=r"work/a\.ipynb is no longer connected to"):
            pool.connect(left, "ws", note=lambda event: pool.close())
        assert not pool.connections
        pool.connect(left, "ws")
        assert len(pool) == 1
        pool.close()
