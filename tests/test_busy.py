"""Cells for kernels that run something else, by both roads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import ipykernel
import pytest

from kernel_bridge_magic.busy import is_busy, look_busy
from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.errors import BadOption, NotRun, RemoteError, TimedOut
from kernel_bridge_magic.protocol.events import Event, ExecuteResult, Queued, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from tests.support.servers import JupyterServer, wait_for

OLD = ipykernel.version_info < (7,)
with_subshells = pytest.mark.skipif(OLD, reason="needs ipykernel 7, which has subshells")
Connect = Callable[[str], KernelConnection]
MAIN = "import time\nfor _ in range(40): time.sleep(0.1)\n'main is done'"


class Owner:
    """Somebody else's cell, which runs in the kernel."""

    def __init__(self, connection: KernelConnection, code: str = MAIN) -> None:
        self.events: list[Event] = []
        started: queue.SimpleQueue[None] = queue.SimpleQueue()
        execution = connection.start(code)

        def work() -> None:
            for event in execution:
                self.events.append(event)
                if isinstance(event, Started):
                    started.put(None)

        self.thread = threading.Thread(target=work)
        self.thread.start()
        started.get(timeout=30)

    def unharmed(self) -> bool:
        """Wait for the end, and say whether the cell came to it by itself."""
        self.thread.join(30)
        results = [event for event in self.events if isinstance(event, ExecuteResult)]
        return [event.data["text/plain"] for event in results] == ["'main is done'"]


@pytest.fixture
def owner(connect: Connect, own_kernel: str) -> Iterator[Owner]:
    owner = Owner(connect(own_kernel))
    yield owner
    owner.thread.join(30)


@pytest.fixture
def guest(owner: Owner, connect: Connect, own_kernel: str) -> KernelConnection:
    return connect(own_kernel)


def subshells(connection: KernelConnection) -> list[str]:
    reply = connection._transport.ask("list_subshell_request", {}, channel="control", seconds=2)
    assert reply is not None
    found: list[str] = reply["subshell_id"]
    return found


def test_a_free_kernel_is_not_busy(connect: Connect, shared_kernel: str) -> None:
    kernel = connect(shared_kernel)
    kernel.execute("1")  # one that still starts is busy
    assert not is_busy(kernel._transport)
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
    for event in (execution := guest.start("1")):
        if isinstance(event, Queued):
            assert time.monotonic() - began < 1
            execution.interrupt()
            break
    else:
        pytest.fail("nothing was said")
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
    execution = guest.start("import time\nprint('on')\nwhile True: time.sleep(0.05)", if_busy="subshell")
    for event in execution:
        if event == Stream("stdout", "on\n"):
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
    with pytest.raises(TimedOut, match="goes on there"):
        guest.execute("import time; time.sleep(1.5); left = 1", timeout=0.7, if_busy="subshell")
    assert len(subshells(guest)) == 1
    guest.close()  # nobody is there to do it
    again = connect(own_kernel)
    wait_for(lambda: subshells(again) == [], "the subshell's end")
    assert owner.unharmed()
    assert again.execute("left").text == "1"


@with_subshells
def test_a_busy_kernel_looks_busy_after_a_subshell_and_idle_at_its_end(
    owner: Owner, guest: KernelConnection, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    # A server that culls idle kernels goes by this state (FACTS 15).
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
    look_busy(guest._transport)  # as it is when the main shell ends in the same moment
    while seen.get(timeout=10).execution_state != "idle":
        pass
    wait_for(lambda: jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"] == "idle", "idle")


def test_a_kernel_without_subshells_is_said_and_runs_nothing(owner: Owner, guest: KernelConnection) -> None:
    if not OLD:
        guest._transport.features = frozenset({"debugger"})  # as ipykernel 6 says
    with pytest.raises(NotRun, match="no subshells"):
        guest.execute("ran = True", if_busy="subshell")
    assert owner.unharmed()
    assert guest.execute("'ran' in globals()").text == "False"
