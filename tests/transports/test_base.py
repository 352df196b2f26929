"""What both transports promise, over scripted kernels: nothing that a peer sends loses a cell or another's output."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import Fate, KernelDied, LinkLost, RemoteError
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Aside, Event, Lost, Note, Queued, Started, Stream
from kernel_bridge_magic.protocol.frames import V1
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Closed, Inbox
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.scripted import Script, ScriptedCell, ScriptedKernel, ScriptedServer
from tests.support.servers import wait_for

Open = Callable[[Script], tuple[KernelConnection, Transport]]


@pytest.fixture(params=["zmq", "ws v1", "ws json"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open a connection to a kernel that does what the script says, over each transport and framing."""
    with contextlib.ExitStack() as stack:

        def open_one(script: Script) -> tuple[KernelConnection, Transport]:
            transport: Transport
            if request.param == "zmq":
                peer = stack.enter_context(ScriptedKernel(script, tmp_path))
                transport, api, kernel = ZMQTransport(peer.kernel), None, peer.kernel
            else:
                framing = V1 if request.param == "ws v1" else ""
                server = stack.enter_context(ScriptedServer(script, subprotocol=framing))
                kernel = server.kernel
                transport = WebSocketTransport(kernel, server.server, Vault())
                api = ServerAPI(server.server, Vault())
            transport.open(10)
            connection = stack.enter_context(KernelConnection(kernel, transport, Control(kernel, api)))
            return connection, transport

        yield open_one


def shown(connection: KernelConnection, code: str = "run") -> list[Event]:
    return list(connection.stream(code, timeout=20))


def by_the_book(cell: ScriptedCell) -> None:
    cell.busy()
    cell.print(f"{cell.content['code']}\n")
    cell.reply()
    cell.idle()


def test_a_cell_by_the_book(opened: Open) -> None:
    connection, transport = opened(by_the_book)
    assert shown(connection) == [Started(), Stream("stdout", "run\n")]
    assert transport.malformed == 0


def test_idle_may_come_before_the_reply(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.print("1\n")
        cell.idle()
        cell.reply()

    connection, _ = opened(script)
    result = connection.execute("run")
    assert (result.fate, result.outputs[0]["text"]) == (Fate.OK, "1\n")


def test_the_reply_may_come_before_the_output(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.reply()
        for number in range(100):
            cell.print(f"{number}\n")
        cell.idle()

    connection, _ = opened(script)
    (output,) = connection.execute("run").outputs
    assert output["text"] == "".join(f"{n}\n" for n in range(100))


@pytest.mark.parametrize("others", [0, 10])
def test_output_that_comes_long_after_the_reply_is_waited_for(
    opened: Open, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    # A server with ten clients, or with 20 MB to hand on, does that seconds after the reply; IOPub keeps its order.
    monkeypatch.setattr(timing, "current", replace(timing.current, reply_grace=0.2))
    monkeypatch.setattr(ScriptedServer, "in_order", True)
    pause = threading.Event()

    def script(cell: ScriptedCell) -> None:
        cell.reply()
        for number in range(10):
            pause.wait(0.1)
            if number < others:
                cell.print("foreign", {"msg_id": "somebody-else_1"})
        cell.busy()
        cell.print("mine\n")
        cell.idle()

    connection, _ = opened(script)
    result = connection.execute("run")
    assert (result.fate, result.missing, result.outputs[0]["text"]) == (Fate.OK, 0, "mine\n")


def test_an_idle_that_never_comes_is_given_up(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "current", replace(timing.current, reply_grace=0.3, iopub_backlog=3.0))
    ended = threading.Event()

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.reply()
        while cell.content["code"] == "beside others" and not ended.wait(0.05):
            cell.print("foreign", {"msg_id": "somebody-else_1"})

    connection, _ = opened(script)
    try:
        for code in ("alone", "beside others"):
            result = connection.execute(code)
            assert (result.fate, result.missing) == (Fate.OK, 0)
            assert result.seconds < 3 or code != "alone"
    finally:
        ended.set()


def test_a_second_idle_and_a_second_reply_change_nothing(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        by_the_book(cell)
        cell.idle()
        cell.reply("error", ename="Late", evalue="")

    connection, _ = opened(script)
    for _ in range(3):
        assert connection.execute("run").fate is Fate.OK


def test_what_is_another_s_is_not_shown(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        other = {"msg_id": "somebody-else_1", "session": "somebody-else"}
        cell.busy()
        for parent in (other, {}, None, {"msg_id": None}, {"msg_id": 3}):
            cell.print("foreign", parent)
            cell.iopub("status", {"execution_state": "idle"}, parent)
            cell.iopub("error", {"ename": "E", "evalue": "", "traceback": []}, parent)
        cell.print("mine\n")
        cell.send("shell", "execute_reply", {"status": "error"}, other)
        cell.reply()
        cell.idle()

    connection, transport = opened(script)
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    transport.router.subscribe(inbox)
    assert shown(connection) == [Started(), Stream("stdout", "mine\n")]
    transport.router.unsubscribe(inbox)
    foreign = [item for item in iter_queue(inbox) if isinstance(item, Message) and item.msg_type == "stream"]
    assert len(foreign) == 5, "it goes to who asked for it"


def iter_queue(inbox: queue.SimpleQueue[object]) -> Iterator[object]:
    while not inbox.empty():
        yield inbox.get()


def test_a_null_parent_reaches_nobody_s_cell(opened: Open) -> None:
    # IRkernel and xeus send it
    def script(cell: ScriptedCell) -> None:
        cell.print("nobody's", None)
        by_the_book(cell)

    connection, transport = opened(script)
    assert shown(connection) == [Started(), Stream("stdout", "run\n")]
    assert transport.malformed == 0


@pytest.mark.parametrize("content", [None, [], "text", {"name": 3, "text": None}, {}])
def test_content_of_a_wrong_type_ends_nothing(opened: Open, content: object) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.iopub("stream", content)
        cell.iopub("status", content)
        cell.iopub("error_or_so", content)
        cell.iopub("display_data", content)
        by_the_book(cell)

    connection, _ = opened(script)
    assert Stream("stdout", "run\n") in shown(connection)


def test_unknown_types_are_no_errors(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        for kind in ("iopub_welcome", "debug_event", "new_in_2030", ""):
            cell.iopub(kind, {"a": 1})
        by_the_book(cell)

    connection, transport = opened(script)
    assert connection.execute("run").fate is Fate.OK
    assert transport.malformed == 0


def test_one_connection_carries_several_cells_at_once(opened: Open) -> None:
    waiting: list[ScriptedCell] = []

    def script(cell: ScriptedCell) -> None:
        waiting.append(cell)
        if len(waiting) == 3:
            for each in waiting:
                each.busy()
            for number in range(20):
                for each in reversed(waiting):
                    each.print(f"{each.content['code']} {number}\n")
            for each in waiting:
                each.idle()
                each.reply()

    connection, _ = opened(script)
    executions = [connection.start(Cell(f"cell {n}")) for n in range(3)]
    for n, execution in enumerate(executions):
        for _ in execution:
            pass
        assert execution.result is not None
        (output,) = execution.result.outputs
        assert output["text"] == "".join(f"cell {n} {k}\n" for k in range(20))


def test_a_cell_that_is_not_begun_is_queued_and_then_runs(opened: Open) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        go.wait(20)
        by_the_book(cell)

    connection, _ = opened(script)
    events = []
    for event in connection.start(Cell("run")):
        events.append(event)
        if isinstance(event, Queued):
            go.set()
    assert events == [Queued(), Started(), Stream("stdout", "run\n")]


def test_a_cell_whose_beginning_waits_behind_something_else_is_not_called_queued(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a loaded machine all of this time is soon over.
    monkeypatch.setattr(timing, "current", replace(timing.current, queued_after=0.0, queued_after_free=0.0))
    monkeypatch.setattr("kernel_bridge_magic.connection.execution._TICK", 0.0)
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        go.wait(20)
        by_the_book(cell)

    connection, _ = opened(script)
    execution = connection.start(Cell("run"))
    execution.inbox.put(Aside("first"))
    go.set()
    wait_for(lambda: len(execution.inbox) > 2, "the word that it runs, and what it prints")
    events = list(execution)
    assert events == [Aside("first"), Started(), Stream("stdout", "run\n")]


def test_a_cell_that_begins_as_it_is_called_queued_waits_for_no_cell_of_ours(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, runs = threading.Event(), threading.Event()

    def script(cell: ScriptedCell) -> None:
        go.wait(20)
        cell.busy()
        runs.wait(20)
        cell.reply()
        cell.idle()

    connection, transport = opened(script)
    tick = CellWatch.tick

    def begins_meanwhile(watch: CellWatch, now: float) -> list[Event | Action]:
        steps = tick(watch, now)
        if Queued() in steps:
            go.set()
            wait_for(lambda: transport.main_shell.runs(watch.request.msg_id), "the cell to run")
            runs.set()
        return steps

    monkeypatch.setattr(CellWatch, "tick", begins_meanwhile)
    assert shown(connection) == [Queued(), Started()]


def test_an_error_only_in_the_reply_is_an_error(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.reply("error", ename="UsageError", evalue="no such magic", traceback=["UsageError: no such magic"])
        cell.idle()

    connection, _ = opened(script)
    with pytest.raises(RemoteError, match="no such magic") as raised:
        connection.execute("%no")
    assert type(raised.value).__name__ == "UsageError"


def test_an_abort_of_a_queued_cell_is_not_run(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.reply("aborted")
        cell.idle()

    connection, _ = opened(script)
    execution = connection.start(Cell("run"))
    assert [event for event in execution if not isinstance(event, Note)] == []
    assert execution.result is not None
    assert execution.result.fate is Fate.NOT_RUN


def test_a_kernel_that_says_goodbye_ends_the_cell(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.print("1\n")
        cell.iopub("status", {"execution_state": "dead"}, {})

    connection, transport = opened(script)
    with pytest.raises(KernelDied, match="its kernel process ended for good"):
        connection.execute("run")
    assert not transport.is_open


# -- the seam itself


def test_closing_ends_the_thread_and_tells_everybody(opened: Open) -> None:
    connection, transport = opened(by_the_book)
    assert transport.is_open
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    transport.router.subscribe(inbox)
    before = threading.active_count()
    connection.close()
    wait_for(lambda: threading.active_count() < before, "the end of the thread")
    assert [item for item in iter_queue(inbox) if isinstance(item, Closed)] == [Closed("")]
    with pytest.raises(LinkLost, match="closed"):
        transport.send("kernel_info_request", {})
    connection.close()


def test_a_connection_that_is_not_opened_can_be_closed(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        for transport in (WebSocketTransport(server.kernel, server.server, Vault()), ZMQTransport(server.kernel)):
            with contextlib.suppress(LinkLost):
                transport.close()
            with pytest.raises(LinkLost):
                transport.send("kernel_info_request", {})


def test_forgotten_requests_go_to_subscribers(opened: Open) -> None:
    _, transport = opened(by_the_book)
    everything: queue.SimpleQueue[Any] = queue.SimpleQueue()
    transport.router.subscribe(everything)
    mine = Inbox()
    msg_id = transport.send("kernel_info_request", {}, inbox=mine)
    assert isinstance(mine.get(timeout=10), Message)
    transport.forget(msg_id)
    nobody_s = transport.send("kernel_info_request", {})
    while everything.get(timeout=10).parent_id != nobody_s:
        pass  # the rest of the first, and what opening asked
    transport.router.unsubscribe(everything)
    transport.router.unsubscribe(everything)


def test_each_connection_has_a_session_of_its_own(opened: Open) -> None:
    _, transport = opened(by_the_book)
    ids = {transport.send("kernel_info_request", {}) for _ in range(50)}
    assert len(ids) == 50
    assert all(msg_id.startswith(transport.client_id) for msg_id in ids)
    assert ZMQTransport(Kernel(id="k")).client_id != transport.client_id


# -- no message ends the thread


ODD_IDS: list[Any] = ["9" * 5000, str(10**15), "", "²", "\x00", "7" * 100_000]


def test_no_id_of_a_message_ends_the_thread_or_is_counted_with(opened: Open) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        life, pid, _ = cell.next_id().rsplit("_", 2)
        for number in ODD_IDS:
            header = {"msg_id": f"{life}_{pid}_{number}"}
            cell.text("iopub", "stream", header=header, content={"name": "stdout", "text": "odd\n"})
            cell.text("shell", "comm_info_reply", header=header, content={})
        ids: list[object] = [None, 5, [], {"a": 1}, 10**400, True]
        for odd in ids:
            cell.text("iopub", "stream", header={"msg_id": odd}, content={"name": "stdout", "text": "odd\n"})
        same = {"msg_id": cell.next_id()}
        for _ in range(30):
            cell.text("iopub", "stream", header=same, content={"name": "stdout", "text": "same\n"})
        by_the_book(cell)

    connection, transport = opened(script)
    for _ in range(2):
        execution = connection.start(Cell("run", timeout=20))
        events = list(execution)
        result = execution.result
        assert result is not None and result.fate is Fate.OK and result.missing == 0
        printed = "".join(event.text for event in events if isinstance(event, Stream))
        assert printed.count("odd") >= len(ODD_IDS) and printed.count("same") >= 1 and printed.endswith("run\n")
        assert not [event for event in events if isinstance(event, Lost)]
    assert transport.is_open


class Raising:
    """A subscriber with a fault of its own."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem
        self.came: list[object] = []

    def put(self, item: object) -> None:
        self.came.append(item)
        raise self.problem


@pytest.mark.parametrize(
    "problem", [ValueError("x"), SystemExit(3), RecursionError()], ids=lambda it: type(it).__name__
)
def test_a_subscriber_that_raises_is_told_of_and_taken_off(opened: Open, problem: BaseException) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        for number in range(3):
            cell.print(f"{number}\n", parent={"msg_id": "of-nobody"})
        by_the_book(cell)

    connection, transport = opened(script)
    raising, other = Raising(problem), queue.SimpleQueue[Any]()
    connection.subscribe(raising)
    connection.subscribe(other)
    events = shown(connection)
    assert Stream("stdout", "run\n") in events
    (note,) = (event.text for event in events if isinstance(event, Note))
    assert note == f"a subscriber (Raising) raised {type(problem).__name__}; it gets no more"
    assert len(raising.came) == 1
    came = [other.get(timeout=5) for _ in range(other.qsize())]
    assert [it.content["text"] for it in came if it.msg_type == "stream"] == ["0\n", "1\n", "2\n"]
    assert connection.execute("run").fate is Fate.OK and transport.is_open


def test_a_message_that_our_own_code_cannot_take_is_dropped_and_counted_and_no_more(tmp_path: Path) -> None:
    class Faulty(ZMQTransport):
        """One with a fault that nobody has thought of."""

        def _dispatch(self, message: Message) -> None:
            if message.content.get("text") == "fatal":
                raise LookupError
            super()._dispatch(message)

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.print("fatal")
        cell.print("fatal")
        by_the_book(cell)

    with ScriptedKernel(script, tmp_path) as peer:
        transport = Faulty(peer.kernel)
        transport.open(10)
        with KernelConnection(peer.kernel, transport, Control(peer.kernel, None)) as connection:
            for _ in range(2):
                *events, note = shown(connection)
                assert Stream("stdout", "run\n") in events and Stream("stdout", "fatal") not in events
                assert isinstance(note, Note) and note.text.startswith("dropped 2 messages that are damaged")
            assert transport.malformed == 4


WITH_LITTLE_MEMORY = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import IPython, jupyter_client, websocket, zmq
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Note, Stream
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.models import Server

where = {where!r}
if where.startswith("http"):
    base = parse_base_url(where)
    server = Server(base.url, "scripted", base.origin, trusted=True)
    kernel = Kernel(id="scripted", server=server)
    transport = WebSocketTransport(kernel, server, Vault())
else:
    kernel = Kernel(id="scripted", connection_file=where)
    transport = ZMQTransport(kernel)
transport.open(20)
pages = int(Path("/proc/self/statm").read_text().split()[0])
with KernelConnection(kernel, transport, Control(kernel, None)) as connection:
    connection.execute("1")
    most = pages * resource.getpagesize() + {room}
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for _ in range(2):
        execution = connection.start(Cell("run", timeout=60))
        for event in execution:
            if isinstance(event, Stream | Note):
                print(repr(event.text[:200]))
        print(execution.result.fate)
"""


@pytest.mark.parametrize("transport_name", ["zmq", "ws v1", "ws json"])
def test_that_no_memory_is_left_is_said_and_ends_nothing(transport_name: str, tmp_path: Path) -> None:
    size = 100 << 20

    def script(cell: ScriptedCell) -> None:
        if cell.content["code"] == "run":
            cell.busy()
            cell.text("iopub", "stream", content='{"name": "stdout", "text": "' + "x" * size + '"}')
        by_the_book(cell)

    with contextlib.ExitStack() as stack:
        if transport_name == "zmq":
            where = str(stack.enter_context(ScriptedKernel(script, tmp_path)).connection_file)
        else:
            framing = V1 if transport_name == "ws v1" else ""
            where = stack.enter_context(ScriptedServer(script, subprotocol=framing)).url
        code = WITH_LITTLE_MEMORY.format(root=str(Path(__file__).parents[2]), where=where, room=250 << 20)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    *_, printed, note, fate = done.stdout.splitlines()
    assert (printed, fate) == (repr("run\n"), "ok")
    assert note == "'no memory was left here for 1 message; output is incomplete'"
