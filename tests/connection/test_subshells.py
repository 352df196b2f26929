"""Cells for kernels that run something else, over both transports."""

from __future__ import annotations

import queue
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.subshells import is_busy, look_busy
from kernel_bridge_magic.errors import BadOption, NotRun, RemoteError, TimedOut
from kernel_bridge_magic.protocol.events import ExecuteResult, InputRequest, Queued, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.owner import MAIN, Owner
from tests.support.scripted import INFO, ScriptedKernel
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import transport_of
from tests.support.versions import HAS_SUBSHELLS, with_subshells

Connect = Callable[[str], KernelConnection]


@pytest.fixture
def owner(connect: Connect, own_kernel: str, tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(connect(own_kernel), tmp_path / "go")
    yield owner
    owner.unharmed()


@pytest.fixture
def guest(owner: Owner, connect: Connect, own_kernel: str) -> KernelConnection:
    return connect(own_kernel)


@pytest.fixture
def bash(jupyter_server: JupyterServer) -> Iterator[str]:
    kernel_id = jupyter_server.start_kernel("bash")
    jupyter_server.wait_for_kernel(kernel_id)
    yield kernel_id
    jupyter_server.delete_kernel(kernel_id)


class Watcher:
    """Another client, which notes each time that the kernel calls itself busy."""

    def __init__(self, connection: KernelConnection) -> None:
        self._busy: list[str] = []
        connection.subscribe(self)

    def put(self, item: object) -> None:
        if isinstance(item, Message) and item.execution_state == "busy":
            self._busy.append(item.parent_id)

    def was_told_again(self) -> bool:
        """Whether it has said so a second time for one request."""
        return len(self._busy) > len(set(self._busy))


def subshells(connection: KernelConnection) -> list[str]:
    reply = transport_of(connection).ask("list_subshell_request", {}, channel="control", seconds=2)
    assert reply is not None
    found: list[str] = reply["subshell_id"]
    return found


def test_a_free_kernel_is_not_busy(connect: Connect, shared_kernel: str) -> None:
    kernel = connect(shared_kernel)
    kernel.execute("1")  # one that still starts is busy
    assert not is_busy(transport_of(kernel))
    for if_busy in ("wait", "fail", "subshell"):
        code = "__import__('threading').current_thread() is __import__('threading').main_thread()"
        assert kernel.execute(code, if_busy=if_busy).text == "True"
    with pytest.raises(BadOption, match="'hope'"):
        kernel.execute("1", if_busy="hope")


@pytest.mark.alone
def test_fail_sends_nothing(owner: Owner, guest: KernelConnection) -> None:
    began = time.monotonic()
    with pytest.raises(NotRun, match="busy") as raised:
        guest.execute("ran = True", if_busy="fail")
    assert time.monotonic() - began < 1.5
    assert "\n" not in str(raised.value)
    assert owner.unharmed()
    assert guest.execute("'ran' in globals()").text == "False"


@pytest.mark.alone
def test_waiting_is_told_of_within_a_second(owner: Owner, guest: KernelConnection) -> None:
    began = time.monotonic()
    for event in (execution := guest.start(Cell("1"))):
        if isinstance(event, Queued):
            assert time.monotonic() - began < 1
            execution.interrupt()
            break
    else:
        pytest.fail("nothing was said")
    assert owner.unharmed()


def test_a_kernel_that_was_heard_to_end_a_cell_is_free_until_the_next_one(
    connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    guest = connect(own_kernel)
    assert guest.execute("1").text == "1"
    wait_for(lambda: transport_of(guest).main_shell.is_free, "the end of our cell")
    owner = Owner(connect(own_kernel), tmp_path / "go")
    wait_for(lambda: not transport_of(guest).main_shell.is_free, "the beginning of the owner's")
    for event in (execution := guest.start(Cell("1"))):
        if isinstance(event, Queued):
            assert event.since and event.ours, "another connection's, but this process's"
            execution.interrupt()
    assert owner.unharmed()


def test_the_time_is_up_while_queued(owner: Owner, guest: KernelConnection) -> None:
    with pytest.raises(TimedOut, match="still queued there"):
        guest.execute("late = 1", timeout=1)
    assert owner.unharmed()
    assert guest.execute("late").text == "1"


@with_subshells
def test_a_subshell_runs_beside_the_main_shell_and_is_deleted(owner: Owner, guest: KernelConnection) -> None:
    assert guest.execute("beside = 40 + 2; beside", if_busy="subshell").text == "42"
    assert owner.thread.is_alive()
    assert subshells(guest) == []
    assert owner.unharmed()
    assert guest.execute("beside").text == "42"


@with_subshells
def test_an_error_in_a_subshell_leaves_none_behind(owner: Owner, guest: KernelConnection) -> None:
    with pytest.raises(RemoteError, match="division"):
        guest.execute("1 / 0", if_busy="subshell")
    assert subshells(guest) == []
    assert owner.unharmed()


@with_subshells
def test_an_interrupt_hits_the_subshell_s_cell_only(owner: Owner, guest: KernelConnection) -> None:
    execution = guest.start(Cell("import time\nprint('on')\nwhile True: time.sleep(0.05)", if_busy="subshell"))
    for event in execution:
        if isinstance(event, Stream) and event.text.startswith("on"):  # its line break may come by itself
            execution.interrupt()
    assert execution.result is not None
    assert isinstance(execution.result.error, RemoteError)
    assert execution.result.error.ename == "KeyboardInterrupt"
    assert owner.thread.is_alive()
    assert subshells(guest) == []
    assert owner.unharmed()


@with_subshells
def test_a_cell_that_is_left_takes_its_subshell_along_at_its_end(
    owner: Owner, guest: KernelConnection, connect: Connect, own_kernel: str
) -> None:
    with pytest.raises(TimedOut, match="The cell is still running there"):
        guest.execute("import time; time.sleep(1.5); left = 1", timeout=0.7, if_busy="subshell")
    assert len(subshells(guest)) == 1
    guest.close()  # nobody is there to do it
    again = connect(own_kernel)
    wait_for(lambda: subshells(again) == [], "the subshell's end")
    assert owner.unharmed()
    assert again.execute("left").text == "1"


@with_subshells
def test_a_busy_kernel_looks_busy_after_a_cell_that_was_left(
    owner: Owner, guest: KernelConnection, connect: Connect, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    def state() -> str:
        return str(jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"])

    watcher = Watcher(connect(own_kernel))
    with pytest.raises(TimedOut, match="The cell is still running there"):
        guest.execute("import time; time.sleep(2)", timeout=1, if_busy="subshell")
    guest.close()  # nobody is there to do it
    wait_for(watcher.was_told_again, "the kernel's word that it is busy")
    assert owner.thread.is_alive()
    wait_for(lambda: state() == "busy", "busy")
    assert owner.unharmed()
    wait_for(lambda: state() == "idle", "idle")


@with_subshells
def test_a_kernel_that_is_idle_when_a_left_cell_ends_is_not_called_busy(
    owner: Owner, connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    watcher = Watcher(other := connect(own_kernel))
    with pytest.raises(TimedOut, match="The cell is still running there"):
        connect(own_kernel).execute(MAIN.format(go=str(left)), timeout=1, if_busy="subshell")
    assert owner.unharmed()
    left.touch()
    wait_for(lambda: subshells(other) == [], "the subshell's end")
    assert other.execute("1").text == "1"  # what had to be said was said before
    assert not watcher.was_told_again()


@with_subshells
def test_a_subshell_that_is_made_late_is_deleted(connect: Connect, own_kernel: str, tmp_path: Path) -> None:
    guest = connect(own_kernel)
    guest.execute("1")
    # Native code that keeps the GIL: no thread of the kernel says anything meanwhile (F10).
    go = tmp_path / "go"
    code = (
        "import ctypes, os, time\nwhile not os.path.exists({go!r}): time.sleep(0.01)\n"
        "ctypes.PyDLL(None).sleep(5)\n'main is done'"
    )
    owner = Owner(connect(own_kernel), go, code)
    go.touch()
    with pytest.raises(NotRun, match="subshell"):
        guest.execute("ran = True", if_busy="subshell")
    assert owner.unharmed()
    wait_for(lambda: subshells(guest) == [], "the subshell's end")  # the question is behind that for a subshell
    wait_for(lambda: not transport_of(guest).router.is_awaited, "the end of the wait for it")
    assert guest.execute("'ran' in globals()").text == "False"


def test_a_busy_kernel_that_was_asked_what_it_can_do_looks_busy_again(
    connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    watcher = Watcher(connect(own_kernel))
    old = (
        "kernel = get_ipython().kernel\ninfo = {**kernel.kernel_info, 'supported_features': ['debugger']}\n"
        "type(kernel).kernel_info = property(lambda self: info)\n"
    )
    owner = Owner(connect(own_kernel), tmp_path / "go", before=old)
    guest = connect(own_kernel)
    transport_of(guest).state.info = {}  # as it is before the first answer
    with pytest.raises(NotRun, match="no subshells"):
        guest.execute("1", if_busy="subshell")
    assert owner.thread.is_alive()
    wait_for(watcher.was_told_again, "the kernel's word that it is busy")
    assert owner.unharmed()


@with_subshells
def test_a_busy_kernel_looks_busy_after_a_subshell_and_idle_at_its_end(
    owner: Owner, guest: KernelConnection, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    # A server that culls idle kernels goes by this state (FACTS.md#busy-kernels).
    def state() -> str:
        return str(jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"])

    assert guest.execute("6 * 7", if_busy="subshell").text == "42"
    wait_for(lambda: state() == "busy", "busy")
    assert owner.thread.is_alive()
    assert state() == "busy"
    assert owner.unharmed()
    wait_for(lambda: state() == "idle", "idle")


@with_subshells
def test_what_is_said_of_a_kernel_that_is_idle_by_then_is_put_right(
    connect: Connect, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    guest = connect(own_kernel)
    guest.execute("1")
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    guest.subscribe(seen)
    look_busy(transport_of(guest))  # as it is when the main shell ends in the same moment
    while seen.get(timeout=10).execution_state != "idle":
        pass
    wait_for(lambda: jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"] == "idle", "idle")


def test_a_kernel_without_subshells_is_said_and_runs_nothing(owner: Owner, guest: KernelConnection) -> None:
    if HAS_SUBSHELLS:
        state = transport_of(guest).state
        state.info = {**state.info, "supported_features": ["debugger"]}  # as ipykernel 6 says
    with pytest.raises(NotRun, match="no subshells"):
        guest.execute("ran = True", if_busy="subshell")
    assert owner.unharmed()
    assert guest.execute("'ran' in globals()").text == "False"


SLOWLY = "for i in 1 2 3 4 5; do echo line $i; while [ $i = 2 ] && [ ! -e {go} ]; do sleep 0.05; done; done"


@pytest.mark.parametrize("known", [True, False], ids=["known", "busy since we came"])
def test_a_kernel_that_only_announces_subshells_keeps_its_owner_s_output(
    connect: Connect, bash: str, tmp_path: Path, known: bool
) -> None:
    owner, guest, go = connect(bash), connect(bash), tmp_path / "go"
    guest.execute("true")
    if not known:
        transport_of(guest).state.info = {}
    shown = ""
    for event in owner.stream(SLOWLY.format(go=go)):
        if isinstance(event, Stream):
            shown += event.text
            if shown.endswith("line 2\n"):
                with pytest.raises(NotRun) as raised:
                    guest.execute("ran=1", if_busy="subshell")
                assert re.search(r"no subshells \(bash_kernel 0[.\d]+\); nothing was sent", str(raised.value))
                go.touch()
    assert shown == "".join(f"line {number}\n" for number in range(1, 6))
    outputs = guest.execute('echo "<$ran>"').outputs
    assert [output["text"] for output in outputs] == ["<>\n"]


@pytest.mark.parametrize("name", ["xeus-python", "async-kernel", "", "ipython"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "busy since we came"])
def test_nothing_is_sent_to_another_kernel_that_announces_subshells(name: str, known: bool, tmp_path: Path) -> None:
    features = ["debugger"] if name == "ipython" else ["kernel subshells"]  # ipykernel 6 announces none
    info = {**INFO, "implementation": name, "implementation_version": "1.2", "supported_features": features}
    with ScriptedKernel(lambda cell: None, tmp_path, busy=True, info=info) as kernel:
        transport = ZMQTransport(kernel.kernel)
        transport.open(10)
        if known:
            transport.ask("kernel_info_request", {}, channel="control", seconds=10)
        before = len(kernel.received)
        guest = KernelConnection(kernel.kernel, transport, Control(kernel.kernel, None))
        with guest, pytest.raises(NotRun, match=re.escape(f"no subshells ({name} 1.2".replace("( ", "("))):
            guest.start(Cell("1", if_busy="subshell"))
        looked = [] if known else ["kernel_info_request", *["execute_request"] * (name == "ipython")]
        assert kernel.received[before:] == looked


@with_subshells
def test_an_owner_s_question_is_asked_though_a_guest_cannot_be(
    connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    wait = f"import time, pathlib\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\n"
    owner = connect(own_kernel).start(Cell(wait + "input('owner? ')", stdin=True))
    events = iter(owner)
    assert any(isinstance(event, Started) for event in events)
    guest = connect(own_kernel)
    assert guest.execute("1 + 1", if_busy="subshell").text == "2"
    with pytest.raises(RemoteError) as refused:
        guest.execute("input('guest? ')", if_busy="subshell")
    assert refused.value.ename == "EOFError"
    go.touch()
    assert any(isinstance(event, InputRequest) and event.prompt == "owner? " for event in events)
    owner.answer("yes")
    assert [event.data["text/plain"] for event in events if isinstance(event, ExecuteResult)] == ["'yes'"]
