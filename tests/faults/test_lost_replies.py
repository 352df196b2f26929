"""Replies that a server loses: what the cell came to is told within seconds, and never more than is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.errors import Fate, RemoteError
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Error, Event, Note, Started
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.faults.proxy import FaultProxy
from tests.faults.truth import through
from tests.support.scripted import Script, ScriptedCell, ScriptedKernel, ScriptedServer
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

T = timing.current

SOON = 6.0  # seconds; told after two to three, while this machine may be loaded
OTHER = {"msg_id": "other_1", "session": "other", "msg_type": "execute_request"}
assert T.kernel_answer > SOON


@dataclass
class Seen:
    """What came of a cell, and how long after its idle its fate was known."""

    execution: Execution
    events: list[Event] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def result(self) -> RemoteResult:
        assert self.execution.result is not None
        return self.execution.result

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note) and "reply" in event.text]


def see(execution: Execution, then: Callable[[], object] = bool) -> Seen:
    """Take a cell's events to their end, and do something when it has begun."""
    seen = Seen(execution)
    for event in execution:
        seen.events.append(event)
        if event == Started():
            then()
    return seen


# -- a real kernel behind a real server


class Loss:
    """What a proxy loses: the replies to cells, and with `all` those to our questions as well."""

    def __init__(self) -> None:
        self.all = self.on = False
        self.lost: list[str] = []
        self.idle_at = 0.0

    def __call__(self, message: Message) -> bool:
        if message.execution_state == "idle" and message.parent_header.get("msg_type") == "execute_request":
            self.idle_at = self.idle_at or time.monotonic()
        # Our questions want an expression's value; a cell does not.
        cell = message.msg_type == "execute_reply" and not message.content.get("user_expressions")
        lost = self.on and message.channel == "shell" and (cell or self.all)
        self.lost += [message.msg_type] * lost
        return lost


@dataclass
class LossyTransport:
    """A connection whose server loses the replies to its cells."""

    connection: KernelConnection
    loss: Loss
    kernel: str

    def run(self, code: str, *, then: Callable[[], object] = bool, **how: Any) -> Seen:
        """Run a cell, and do something when it has begun."""
        self.loss.on, self.loss.idle_at, self.loss.lost = True, 0.0, []
        execution = self.connection.start(Cell(code, **how))
        seen = see(execution, then)
        seen.seconds = time.monotonic() - self.loss.idle_at
        self.loss.on = False
        assert "execute_reply" in self.loss.lost
        return seen


@pytest.fixture
def lossy(jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy) -> Iterator[LossyTransport]:
    """A transport to an ipykernel."""
    with lossy_transport(jupyter_server, own_kernel, proxy) as lossy:
        yield lossy


@contextmanager
def lossy_transport(server: JupyterServer, kernel: str, proxy: FaultProxy) -> Iterator[LossyTransport]:
    proxy.loses = loss = Loss()
    connection, _, _ = through(server, proxy, kernel)
    with connection:
        connection.execute("# a comment in any language")
        yield LossyTransport(connection, loss, kernel)


@pytest.mark.bounded
@pytest.mark.parametrize("code", ["print('x'); 40 + 2", "import time; time.sleep(0.2)", "%time 42"])
def test_a_cell_whose_reply_alone_is_lost_is_ok_within_seconds_and_says_so(lossy: LossyTransport, code: str) -> None:
    seen = lossy.run(code)
    assert seen.result.fate is Fate.OK, seen.result.error
    assert seen.notes == ["the cell's reply was lost, but the kernel remembers how the cell ended"]
    assert seen.result.missing == 0
    assert seen.seconds < SOON


@pytest.mark.parametrize(("code", "name"), [("print('x')\n1 / 0", "ZeroDivisionError"), ("%nosuchmagic", "UsageError")])
def test_a_cell_that_failed_and_lost_its_reply_has_failed(lossy: LossyTransport, code: str, name: str) -> None:
    seen = lossy.run(code)
    assert seen.result.fate is Fate.FAILED
    assert isinstance(seen.result.error, RemoteError) and seen.result.error.ename == name
    assert [event.ename for event in seen.events if isinstance(event, Error)] == [name]
    assert seen.seconds < SOON


@pytest.mark.parametrize(("code", "fate"), [("print('x')", Fate.OK), ("1 / 0", Fate.UNKNOWN)])
def test_beside_another_client_whose_cell_hides_the_record_iopub_s_word_must_do(
    jupyter_server: JupyterServer, lossy: LossyTransport, code: str, fate: Fate
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, lossy.kernel), "ws")
    with other:
        other.execute("1")
        seen = lossy.run(f"import time; time.sleep(0.2)\n{code}", then=lambda: other.execute("2"))
    assert seen.result.fate is fate
    assert [note for note in seen.notes if "ran to its end and showed no error" in note] == seen.notes
    assert len(seen.notes) == (fate is Fate.OK)
    assert fate is Fate.OK or "the reply that says how is lost. Check before running it again" in str(seen.result.error)
    assert seen.seconds < SOON


@pytest.mark.parametrize(("code", "fate"), [("print('x')", Fate.OK), ("1 / 0", Fate.UNKNOWN)])
def test_a_server_that_loses_what_answers_our_questions_as_well(lossy: LossyTransport, code: str, fate: Fate) -> None:
    lossy.loss.all = True
    seen = lossy.run(code)
    lossy.loss.all = False
    assert seen.result.fate is fate
    assert seen.seconds < SOON


def test_a_cell_beside_a_busy_one(jupyter_server: JupyterServer, lossy: LossyTransport) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, lossy.kernel), "ws")
    with other:
        busy = other.start(Cell("import time; time.sleep(5)"))
        assert next(iter(busy)) == Started()
        seen = lossy.run("print('x')", if_busy="subshell")
        assert seen.result.fate is Fate.OK, seen.result.error
        assert seen.seconds < SOON
        busy.interrupt()
        see(busy)


def test_a_durable_cell_fetches_its_reply(lossy: LossyTransport) -> None:
    seen = lossy.run("print('x'); 42", durable=True)
    assert (seen.result.fate, seen.result.text, seen.notes) == (Fate.OK, "42", [])
    assert seen.seconds < SOON


def test_a_kernel_that_keeps_no_record_is_not_asked_for_one(jupyter_server: JupyterServer, proxy: FaultProxy) -> None:
    kernel = jupyter_server.start_kernel("bash")
    try:
        jupyter_server.wait_for_kernel(kernel)
        with lossy_transport(jupyter_server, kernel, proxy) as lossy:
            for code, fate in (("echo x", Fate.OK), ("nosuchcommand", Fate.UNKNOWN)):
                seen = lossy.run(code)
                assert seen.result.fate is fate, (seen.result.error, seen.events)
                assert seen.seconds < SOON
                assert lossy.loss.lost == ["execute_reply"], "bash would read the question as its own"
    finally:
        jupyter_server.delete_kernel(kernel)


# -- a kernel that does what a test says, over both transports


@contextmanager
def scripted(transport_name: str, script: Script, directory: Path) -> Iterator[tuple[KernelConnection, Any]]:
    """A connection to a scripted kernel, and what plays it: an object with `life` and `numbers`."""
    if transport_name == "ws":
        with ScriptedServer(script) as server:
            server.state, server.in_order = "idle", True
            transport: Transport = WebSocketTransport(server.kernel, server.server, Vault())
            transport.open(10)
            control = Control(server.kernel, ServerAPI(server.server, Vault()))
            with KernelConnection(server.kernel, transport, control) as connection:
                yield connection, server
    else:
        with ScriptedKernel(script, directory) as kernel:
            transport = ZMQTransport(kernel.kernel)
            transport.open(10)
            with KernelConnection(kernel.kernel, transport, Control(kernel.kernel, None)) as connection:
                yield connection, kernel


def bare(cell: ScriptedCell) -> None:
    """A cell whose reply never comes; the reply takes a number all the same."""
    cell.busy()
    cell.iopub("execute_input", {"code": "x", "execution_count": 1})
    cell.print("x\n")
    cell.idle()


def test_a_scripted_kernel_that_numbers_is_believed_and_told_soon(transport_name: str, tmp_path: Path) -> None:
    with scripted(transport_name, bare, tmp_path) as (connection, _):
        began = time.monotonic()
        seen = see(connection.start(Cell("x")))
        assert (seen.result.fate, len(seen.notes)) == (Fate.OK, 1)
        assert time.monotonic() - began < SOON


def test_a_flood_of_somebody_else_s_between_the_idle_and_the_later_question(
    transport_name: str, tmp_path: Path
) -> None:
    def script(cell: ScriptedCell) -> None:
        bare(cell)
        for number in range(5_000):
            cell.print(f"{number}\n", OTHER)

    with scripted(transport_name, script, tmp_path) as (connection, _):
        seen = see(connection.start(Cell("x")))
        assert (seen.result.fate, len(seen.notes), seen.result.missing) == (Fate.OK, 1, 0)


@pytest.mark.parametrize("error", [True, False])
def test_a_reply_that_is_late_but_comes_gives_its_own_end(transport_name: str, error: bool, tmp_path: Path) -> None:
    def script(cell: ScriptedCell) -> None:
        bare(cell)
        time.sleep(T.reply_grace * 0.75)  # the fault itself
        cell.reply(**({"status": "error", "ename": "OSError", "evalue": "late"} if error else {}))

    with scripted(transport_name, script, tmp_path) as (connection, _):
        seen = see(connection.start(Cell("x")))
        assert seen.result.fate is (Fate.FAILED if error else Fate.OK)
        assert seen.notes == []


@pytest.mark.parametrize("how", ["another session", "another counter", "no numbers", "a number too many"])
def test_where_a_restart_in_between_cannot_be_excluded_nothing_is_called_ok(
    transport_name: str, how: str, tmp_path: Path
) -> None:
    plays: list[Any] = []

    def script(cell: ScriptedCell) -> None:
        kernel = plays[0]
        kernel.numbers = how != "no numbers"
        cell.busy()
        cell.iopub("execute_input", {"code": "x", "execution_count": 1})
        if how == "a number too many":
            for _ in range(2):
                cell.send("shell", "execute_reply", {"status": "ok"}, OTHER)  # it goes astray
        cell.idle()
        if how == "another session":
            kernel.life = "second-life"
        elif how == "another counter":
            kernel.process = 4711

    with scripted(transport_name, script, tmp_path) as (connection, kernel):
        plays.append(kernel)
        began = time.monotonic()
        seen = see(connection.start(Cell("x")))
        assert seen.result.fate in (Fate.UNKNOWN, Fate.DIED), seen.events
        assert seen.notes == []
        assert time.monotonic() - began < SOON
