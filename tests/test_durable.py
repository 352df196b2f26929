"""Durable cells in real kernels; those through broken links are in tests/faults/test_durable.py."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import ipykernel
import pytest

from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.errors import BadOption, Fate
from kernel_bridge_magic.execution import Execution
from kernel_bridge_magic.protocol.events import Event, Note, Started, Stream
from kernel_bridge_magic.protocol.life import Sign
from kernel_bridge_magic.protocol.messages import Message, execute_content
from tests.support.roads import found, road_to
from tests.support.servers import JupyterServer, wait_for

Connect = Callable[[str], KernelConnection]
OLD = ipykernel.version_info < (7,)
new_enough = pytest.mark.skipif(OLD, reason="needs ipykernel 7, which keeps output")
SEND = "s = get_ipython().kernel.session; (s.send.__func__ is type(s).send, 'send' in s.__dict__)"
AS_IT_WAS = "(True, False)"


class Going:
    """A durable cell that is under way, iterated in a thread."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.events: list[Event] = []
        self._news: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        for event in self.execution:
            self.events.append(event)
            self._news.put(event)

    def until(self, kind: type) -> Event:
        while not isinstance(event := self._news.get(timeout=30), kind):
            pass
        return event

    def fetch(self) -> None:
        """Have it fetch, as after a break, and wait until it has."""
        durable = self.execution._durable
        assert durable is not None
        before = durable._fetches
        durable._spool.hold()
        wait_for(lambda: durable._fetches > before and not durable._fetch, "the fetch")


@new_enough
def test_it_gives_what_any_cell_gives_and_leaves_the_kernel_as_it_was(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    plain, kept = (kernel.execute("print('one')\n'two'", durable=durable) for durable in (False, True))
    assert kept.outputs == plain.outputs
    assert kept.value is not None and kept.value.text == "'two'"
    assert kernel.execute(SEND).text == AS_IT_WAS
    assert kernel.execute("get_ipython().execution_count").text == "1"  # nobody's count was moved
    with pytest.raises(Exception, match="division"):
        kernel.execute("1 / 0", durable=True)
    assert kernel.execute(SEND).text == AS_IT_WAS


@new_enough
def test_a_fetch_and_the_end_of_the_keeping_leave_a_busy_kernel_busy(
    connect: Connect, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    def state() -> str:
        return str(jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"])

    kernel, owner = connect(own_kernel), connect(own_kernel)
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    owner.subscribe(seen)
    cell = Going(kernel.start("import time\nprint('on')\ntime.sleep(1)\nprint('off')", durable=True))
    cell.until(Started)
    busy = Going(owner.start("import time\nfor _ in range(100): time.sleep(0.1); print(_, flush=True)"))
    cell.fetch()
    wait_for(lambda: state() == "busy", "busy")
    cell.thread.join(30)
    assert "".join(getattr(event, "text", "") for event in cell.events) == "on\noff\n"
    busy.until(Started)
    for _ in range(3):
        busy.until(Stream)  # printed after the end of the keeping, or on the way then
    assert state() == "busy"
    # What would be seen if such requests were not kept quiet:
    content = execute_content("", silent=True, allow_stdin=False)
    asked = kernel._transport.send("execute_request", content, channel="control", inbox=queue.SimpleQueue())
    wait_for(lambda: state() == "idle", "the idle of a request on control")
    busy.execution.interrupt()
    busy.thread.join(30)
    came = set()
    while not seen.empty():
        came.add(seen.get().parent_id)
    assert asked in came
    assert not [parent for parent in came if parent.startswith(f"{cell.execution.msg_id}-")]


@new_enough
def test_a_kernel_that_is_restarted_is_told_of_as_ever(
    connect: Connect, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    cell = Going(connect(own_kernel).start("print('on', flush=True)\nimport time; time.sleep(60)", durable=True))
    cell.until(Started)
    jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
    cell.thread.join(30)
    assert cell.execution.result is not None
    assert cell.execution.result.fate is Fate.DIED
    assert Sign.RESTART.value in str(cell.execution.result.error)


@new_enough
def test_of_those_who_never_came_back_the_last_three_are_kept(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    for _ in range(5):
        execution = kernel.start("1", durable=True)
        execution._durable._gone = True  # type: ignore[union-attr]  # as if our process had ended
        for _ in execution:
            pass
    kept = "list(get_ipython().kernel.session.send.spools.cells)"
    assert kernel.execute(f"len({kept})").text == "4"  # the last one and the three before
    kernel.execute(f"s = get_ipython().kernel.session.send.spools\nfor key in {kept}: s.drop(key)")
    assert kernel.execute(SEND).text == AS_IT_WAS


@pytest.fixture
def cannot(jupyter_server: JupyterServer, own_kernel: str) -> Iterator[str]:
    """A kernel that keeps nothing, and is up."""
    if OLD:
        yield own_kernel
        return
    bash = jupyter_server.start_kernel("bash")
    road_to(jupyter_server, found(jupyter_server, bash), "ws")[0].close()  # opens when it has answered
    yield bash
    jupyter_server.request("DELETE", f"api/kernels/{bash}")


def test_a_kernel_that_cannot_is_refused_and_nothing_is_run(connect: Connect, cannot: str) -> None:
    kernel = connect(cannot)
    kernel.execute("1" if OLD else "true")
    with pytest.raises(BadOption, match="needs ipykernel 7 or newer in that kernel; this one is"):
        kernel.start("ran=1", durable=True)
    answer = kernel.execute("'ran' in globals()" if OLD else 'echo "<$ran>"')
    assert "False" in str(answer.outputs) if OLD else "<>" in str(answer.outputs)


def test_a_kernel_that_has_not_said_what_it_is_and_cannot_says_so_with_the_cell(connect: Connect, cannot: str) -> None:
    kernel = connect(cannot)
    kernel._transport.ask("kernel_info_request", {}, seconds=10)  # the answers to earlier ones are in, too
    kernel._transport.info = {}  # as of a kernel that has been busy since we came
    cell = Going(kernel.start("print(1)" if OLD else "echo 1", durable=True))
    note = cell.until(Note)
    assert isinstance(note, Note) and "runs without" in note.text
    cell.thread.join(30)
    assert cell.execution.result is not None and cell.execution.result.fate is Fate.OK
