"""Interrupting a kernel by each of the three ways, and asking for its state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.connection import control
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control, listening_process
from kernel_bridge_magic.errors import AuthRefused, BadAnswer, CannotConnect, RemoteError
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Stream
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.scripted import ScriptedCell, ScriptedKernel, ScriptedServer
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for
from tests.support.transports import connect_over, found, known

# Not flushed, and so seen while it sleeps: an ipykernel that is interrupted while it flushes may go on.
SLEEP = "import time; print('begun'); time.sleep(60)"


def interrupted_by(connection: KernelConnection, how: Control, transport: ZMQTransport | None = None) -> RemoteError:
    """Run a cell that would take a minute, interrupt it once it has begun; give the error that it ends with."""
    execution = connection.start(Cell(SLEEP, timeout=30))
    for event in execution:
        if isinstance(event, Stream):
            how.interrupt(transport)
    assert execution.result is not None
    assert isinstance(execution.result.error, RemoteError)
    return execution.result.error


# -- by its server


@pytest.mark.parametrize("transport_name", ["zmq", "ws"])
def test_a_kernel_behind_a_server_is_interrupted_by_it(
    jupyter_server: JupyterServer, shared_kernel: str, transport_name: str
) -> None:
    where, vault = known(jupyter_server)
    kernel = found(jupyter_server, shared_kernel)
    connection, _ = connect_over(jupyter_server, kernel, transport_name)
    with connection:
        assert interrupted_by(connection, Control(kernel, ServerAPI(where, vault))).ename == "KeyboardInterrupt"


@pytest.mark.parametrize("transport_name", ["zmq", "ws"])
def test_what_ended_at_the_last_moment_is_not_interrupted(
    jupyter_server: JupyterServer, shared_kernel: str, transport_name: str
) -> None:
    where, vault = known(jupyter_server)
    kernel = found(jupyter_server, shared_kernel)
    connection, transport = connect_over(jupyter_server, kernel, transport_name)
    asked = []

    def wanted() -> bool:
        asked.append(1)
        return False

    with connection:
        for api in (ServerAPI(where, vault), None):
            execution = connection.start(Cell("import time; print('begun', flush=True); time.sleep(0.5)"))
            for event in execution:
                if isinstance(event, Stream):
                    Control(kernel, api).interrupt(transport, wanted)
            assert execution.result is not None and execution.result.error is None
    assert len(asked) == 2


def test_a_server_that_refuses_is_not_gone_around(tmp_path: Path) -> None:
    # the owner's server said no: no signal and no message behind its back
    with RawServer(http("403 Forbidden", b"{}")) as raw, ScriptedKernel(lambda cell: None, tmp_path) as kernel:
        transport = ZMQTransport(kernel.kernel)
        transport.open(10)
        with pytest.raises(AuthRefused):
            Control(kernel.kernel, ServerAPI(raw.server(), Vault())).interrupt(transport)
        assert kernel.interrupts == 0
        transport.close()


def test_a_kernel_that_the_server_has_no_more_cannot_be_interrupted(jupyter_server: JupyterServer) -> None:
    where, vault = known(jupyter_server)
    with pytest.raises(BadAnswer, match="no kernel"):
        Control(Kernel(id="gone", server=where), ServerAPI(where, vault)).interrupt()


# -- by message


def test_a_kernel_without_a_server_is_interrupted_by_message(tmp_path: Path) -> None:
    with ConsoleKernel(tmp_path / "runtime") as console:
        kernel = Kernel(id="x", connection_file=str(console.connection_file))
        transport = ZMQTransport(kernel)
        transport.open(10)
        how = Control(kernel, None)
        with KernelConnection(kernel, transport, how) as connection:
            assert interrupted_by(connection, how, transport).ename == "KeyboardInterrupt"
            assert connection.execute("1").text == "1"


def test_one_message_is_enough(tmp_path: Path) -> None:
    with ScriptedKernel(lambda cell: None, tmp_path) as kernel:
        transport = ZMQTransport(kernel.kernel)
        transport.open(10)
        Control(kernel.kernel, None).interrupt(transport)
        assert kernel.interrupts == 1
        transport.close()


# -- by signal


@pytest.fixture
def deaf_kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel process that never answers on control, and takes SIGINT for an interrupt."""
    root = Path(__file__).parents[2]
    file = tmp_path / "kernel-scripted.json"
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-m", "tests.support.scripted", str(tmp_path)], cwd=root, env=env)
    try:
        wait_for(lambda: file.exists() and listening_process(str(file)), "the kernel")
        yield Kernel(id="deaf", connection_file=str(file), started_by="a script")
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_a_kernel_that_does_not_answer_on_control_is_signalled(
    deaf_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_INTERRUPT_SECONDS", 0.3)
    transport = ZMQTransport(deaf_kernel)
    transport.open(10)
    how = Control(deaf_kernel, None)
    with KernelConnection(deaf_kernel, transport, how) as connection:
        assert interrupted_by(connection, how, transport).ename == "Interrupted"


def test_without_a_connection_it_is_signalled_as_well(deaf_kernel: Kernel) -> None:
    transport = ZMQTransport(deaf_kernel)
    transport.open(10)
    how = Control(deaf_kernel, None)
    with KernelConnection(deaf_kernel, transport, how) as connection:
        assert interrupted_by(connection, how).evalue == "by signal"


def test_who_listens_on_the_file_s_port_is_found(tmp_path: Path) -> None:
    with ScriptedKernel(lambda cell: None, tmp_path) as kernel:
        assert listening_process(str(kernel.connection_file)) == os.getpid()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"shell_port": "x"}', '{"shell_port": null}', "PORT", "MISSING"]
)
def test_nobody_is_signalled_where_nobody_listens(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kernel-x.json"
    if content != "MISSING":
        file.write_text(content.replace("PORT", f'{{"shell_port": {free_port()}}}'))
    assert listening_process(str(file)) is None
    with pytest.raises(CannotConnect, match="cannot be interrupted from here"):
        Control(Kernel(id="x", connection_file=str(file)), None).interrupt()


# -- its state


def test_the_state_is_the_server_s_word() -> None:
    with ScriptedServer() as server:
        how = Control(server.kernel, ServerAPI(server.server, Vault()))
        for state in ("idle", "busy", "starting", "something new"):
            server.state = state
            assert how.look()[0] == state
        server.state = None
        assert how.look()[0] is None


def test_a_server_that_does_not_say_says_nothing(jupyter_server: JupyterServer, shared_kernel: str) -> None:
    where, vault = known(jupyter_server)
    kernel = Kernel(id=shared_kernel, server=where)
    assert Control(kernel, ServerAPI(where, vault)).look()[0] in ("idle", "busy", "starting")
    assert Control(kernel, None).look()[0] == ""
    wrong = Vault()
    wrong.put(where.origin, Secret("wrong"))
    assert Control(kernel, ServerAPI(where, wrong)).look()[0] == ""
    for body in (b"<html>", b"[]", b"null"):
        with RawServer(http("200 OK", body)) as raw:
            assert Control(kernel, ServerAPI(raw.server(), Vault())).look()[0] == ""
    with RawServer(http("200 OK", b'{"execution_state": null}')) as raw:
        assert Control(kernel, ServerAPI(raw.server(), Vault())).look()[0] == "unknown"


def test_a_heart_is_heard_where_the_kernel_is_on_this_machine(tmp_path: Path) -> None:
    with ConsoleKernel(tmp_path / "runtime") as console:
        how = Control(Kernel(id="x", connection_file=str(console.connection_file)), None)
        assert how.beats() is True
        console.signal(signal.SIGSTOP)
        try:
            assert how.beats() is False
        finally:
            console.signal(signal.SIGCONT)
        wait_for(how.beats, "the heartbeat of a kernel that goes on")
    assert Control(Kernel(id="x"), None).beats() is None
    for content in ("", "[]", "{}", '{"shell_port": "x"}'):
        broken = tmp_path / "kernel-broken.json"
        broken.write_text(content)
        assert Control(Kernel(id="x", connection_file=str(broken)), None).beats() is None


def test_interrupts_of_the_connection_take_the_same_way(tmp_path: Path) -> None:
    def script(cell: ScriptedCell) -> None:
        raise AssertionError("no cell was sent")

    with ScriptedKernel(script, tmp_path) as kernel:
        transport = ZMQTransport(kernel.kernel)
        transport.open(10)
        with KernelConnection(kernel.kernel, transport, Control(kernel.kernel, None)) as connection:
            connection.interrupt()
        assert kernel.interrupts == 1


# -- ending a kernel that has no server


def test_a_kernel_without_a_server_ends_when_it_is_told(tmp_path: Path) -> None:
    with ConsoleKernel(tmp_path / "runtime", "1") as console:
        kernel = Kernel(id="1", connection_file=str(console.connection_file))
        transport, owner = ZMQTransport(kernel), ZMQTransport(kernel)
        transport.open(30)
        owner.open(30)
        with KernelConnection(kernel, owner, Control(kernel, None)) as connection:
            execution = connection.start(Cell(SLEEP, timeout=60))
            for event in execution:
                if isinstance(event, Stream):  # what it runs does not hold its end up
                    Control(kernel, None).shut_down(transport)
                    assert listening_process(kernel.connection_file) is None
        transport.close()
        wait_for(lambda: console.process.poll() is not None, "the end of its process")
        assert not console.connection_file.exists()


def test_a_kernel_that_does_not_answer_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "interrupt", lambda pid: False)  # it is a thread of this process

    def script(cell: ScriptedCell) -> None:
        raise AssertionError("it is sent no cell")

    for answers, told in (
        (False, "does not answer, so it was not shut down"),
        (True, "was told to shut down, and has"),
    ):
        with ScriptedKernel(script, tmp_path, answers_control=answers) as scripted:
            transport = ZMQTransport(scripted.kernel)
            transport.open(30)
            with pytest.raises(CannotConnect, match=f"^a script {told}.*end it where it was started$"):
                Control(scripted.kernel, None).shut_down(transport, 0.5)
            transport.close()
            assert "shutdown_request" in scripted.received
        scripted.connection_file.unlink()
