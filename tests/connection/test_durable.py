"""Durable cells in real kernels; those through broken links are in tests/faults/test_durable.py."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import ipykernel
import pytest

from kernel_bridge_magic.connection import durable as durable_module
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.durable import Durable, Overdue
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.errors import BadCell, BadOption, Fate
from kernel_bridge_magic.protocol.events import Event, Note, Queued, Started, Stream
from kernel_bridge_magic.protocol.messages import Message, execute_content
from kernel_bridge_magic.transports.inbox import Inbox
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found, transport_of

Connect = Callable[[str], KernelConnection]
OLD = ipykernel.version_info < (7,)
new_enough = pytest.mark.skipif(OLD, reason="needs ipykernel 7, which keeps output")
SEND = "s = get_ipython().kernel.session; (s.send.__func__ is type(s).send, 'send' in s.__dict__)"
AS_IT_WAS = "(True, False)"
HOOKED = "'send' in get_ipython().kernel.session.__dict__"
PRINTS_UNTIL = """
import os, time
while not os.path.exists({path!r}):
    print('.', flush=True); time.sleep(0.05)
"""
WAITS = "import os, time\nwhile not os.path.exists({path!r}): time.sleep(0.02)\n"
# On control, which nothing else is served on meanwhile.
BLOCKS = "import threading; _blocked = threading.Event(); _blocked.wait(60)"


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

    @property
    def durable(self) -> Durable:
        assert self.execution.durable is not None
        return self.execution.durable

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Stream))

    @property
    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))

    def fetch(self) -> None:
        """Have it fetch, as after a break, and wait until it has."""
        before = self.durable.fetches
        self.durable.spool.hold()
        wait_for(lambda: self.durable.fetches > before and not self.durable.under_way, "the fetch")

    def fetch_in_vain(self) -> None:
        """Have it fetch from a kernel that does not answer."""
        self.durable.spool.hold()
        wait_for(lambda: self.durable.under_way, "the request")


def block_control(kernel: KernelConnection) -> None:
    content = execute_content(BLOCKS, silent=True)
    transport_of(kernel).send("execute_request", content, channel="control")
    wait_for(lambda: kernel.execute("'_blocked' in globals()").text == "True", "the block")


def states_since(seen: queue.SimpleQueue[Message], busy: str) -> list[tuple[str, str]]:
    """The states that came from the busy of a request on: each with its parent."""
    came = []
    while not seen.empty():
        message = seen.get()
        if message.execution_state:
            came.append((message.parent_id, message.execution_state))
    return came[came.index((busy, "busy")) + 1 :]


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
    cell = Going(kernel.start(Cell("import time\nprint('on')\ntime.sleep(1)\nprint('off')", durable=True)))
    cell.until(Started)
    busy = Going(owner.start(Cell("import time\nfor _ in range(100): time.sleep(0.1); print(_, flush=True)")))
    cell.fetch()
    wait_for(lambda: state() == "busy", "busy")
    cell.thread.join(30)
    assert "".join(getattr(event, "text", "") for event in cell.events) == "on\noff\n"
    busy.until(Started)
    for _ in range(3):
        busy.until(Stream)  # printed after the end of the keeping, or on the way then
    assert state() == "busy"
    # What would be seen if such requests were not kept quiet:
    content = execute_content("", silent=True)
    asked = transport_of(kernel).send("execute_request", content, channel="control", inbox=Inbox())
    wait_for(lambda: state() == "idle", "the idle of a request on control")
    busy.execution.interrupt()
    busy.thread.join(30)
    came = set()
    while not seen.empty():
        came.add(seen.get().parent_id)
    assert asked in came
    assert not [parent for parent in came if parent.startswith(f"{cell.execution.msg_id}-")]


@new_enough
def test_a_cell_that_is_left_queued_leaves_the_kernel_busy_for_its_owner(
    connect: Connect, jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path
) -> None:
    kernel, owner, watcher = connect(own_kernel), connect(own_kernel), connect(own_kernel)
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    watcher.execute("0")  # before that its server may not have subscribed for it
    watcher.subscribe(seen)
    busy = Going(owner.start(Cell(PRINTS_UNTIL.format(path=str(tmp_path / "free")))))
    busy.until(Started)
    cell = Going(kernel.start(Cell("ran = 1", durable=True)))
    cell.until(Queued)
    cell.execution.interrupt()
    cell.thread.join(30)
    assert cell.execution.result is not None and cell.execution.result.fate is Fate.LEFT_RUNNING
    assert not transport_of(kernel).router.is_awaited  # so that the connection expires
    for _ in range(20):
        busy.until(Stream)  # printed after the end of the keeping, or on the way then
    assert jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"] == "busy"
    (tmp_path / "free").touch()
    busy.thread.join(30)
    assert owner.execute("ran").text == "1"
    assert owner.execute(SEND).text == AS_IT_WAS
    assert states_since(seen, busy.execution.msg_id)[0] == (busy.execution.msg_id, "idle")


@new_enough
def test_what_children_print_holds_nothing_back(connect: Connect, own_kernel: str) -> None:
    fork = """
import os
if not (child := os.fork()):
    for _ in range(200):
        print('kid', flush=True)
        get_ipython().kernel.session.msg_id  # a hole among the child's numbers
    os._exit(0)
os.waitpid(child, 0)
print('parent', flush=True)
"""
    kernel = connect(own_kernel)
    late: queue.SimpleQueue[Message] = queue.SimpleQueue()
    kernel.subscribe(late)
    cell = Going(kernel.start(Cell(fork, durable=True)))
    cell.thread.join(30)
    # What the kernel hands on of a child's only behind the cell's end does not stand in the cell.
    kids = cell.text + "".join(
        str(item.content.get("text")) for item in cell.execution.leftovers() if isinstance(item, Message)
    )
    while kids.count("kid") < 200:
        kids += str(late.get(timeout=10).content.get("text"))
    assert (kids.count("kid"), cell.text.count("parent")) == (200, 1)
    assert cell.execution.result is not None and cell.execution.result.missing == 0
    assert cell.durable.fetches < 3  # others' requests leave holes, too


@new_enough
def test_what_is_held_back_is_given_if_the_kernel_does_not_answer(
    connect: Connect, own_kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "_FETCH_SECONDS", 1.0)
    kernel, other = connect(own_kernel), connect(own_kernel)
    block_control(other)
    file = tmp_path / "go"
    code = f"print('on', flush=True)\n{WAITS.format(path=str(file))}print('off', flush=True); _blocked.n = 1"
    cell = Going(kernel.start(Cell(code, durable=True)))
    cell.until(Started)
    cell.fetch_in_vain()
    file.touch()
    # The cell ends, and its reply and its idle wait; what others run shows that the link and the kernel are there.
    wait_for(lambda: other.execute("1") and not cell.thread.is_alive(), "the end of the wait")
    assert cell.text == "on\noff\n"
    assert cell.notes == (
        "the kernel does not answer, so what is missing of the output cannot be fetched any more (--durable)"
    )
    assert cell.execution.result is not None and cell.execution.result.fate is Fate.OK
    other.execute("_blocked.set()")
    wait_for(lambda: other.execute(HOOKED).text == "False", "the end of the keeping")


@new_enough
def test_what_is_held_back_is_given_when_the_cell_is_left_running(
    connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    kernel, other = connect(own_kernel), connect(own_kernel)
    block_control(other)
    first, last = tmp_path / "first", tmp_path / "last"
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
print('on', flush=True)
{WAITS.format(path=str(first))}
print('held', flush=True)
{WAITS.format(path=str(last))}
"""
    cell = Going(kernel.start(Cell(code, durable=True)))
    cell.until(Stream)
    cell.fetch_in_vain()
    first.touch()
    wait_for(lambda: cell.durable.spool.waiting, "what is held")
    cell.execution.interrupt()
    cell.execution.interrupt()
    cell.thread.join(30)
    assert cell.text == "on\nheld\n"
    assert cell.execution.result is not None and cell.execution.result.fate is Fate.LEFT_RUNNING
    last.touch()
    other.execute("_blocked.set()")
    wait_for(lambda: other.execute(HOOKED).text == "False", "the end of the keeping")


@new_enough
def test_a_cell_that_cannot_be_sent_leaves_nothing_behind(jupyter_server: JupyterServer, own_kernel: str) -> None:
    connection, transport = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    with connection:
        with pytest.raises(
            BadCell,
            match=r"a message of 11,\d{3},\d{3} bytes was not sent, since the server takes 10,484,736 at most",
        ):
            connection.start(Cell("#" * 11 * 2**20, durable=True))
        assert not transport.router.is_awaited
        assert connection.execute(SEND).text == AS_IT_WAS


def test_only_an_answer_that_others_overtake_is_overdue() -> None:
    def told(*heard: float, at: int, receiving: float = float("-inf"), waits: bool = True) -> bool:
        overdue, told = Overdue(), False
        for now in range(100, at + 1):
            last = max((when for when in heard if when <= now), default=0.0)
            told = overdue.tick(float(now), last, receiving, waits=waits)
        return told

    assert not told(105, at=109)
    assert told(105, at=110)
    assert not told(100.5, at=190)  # that was under way; since then nothing came: is there a link?
    assert told(100.5, at=195)
    assert not told(130, at=130) and told(130, at=131)  # the kernel was stopped
    assert not told(105, at=130, receiving=129.5)  # it may be what comes, on a slow link
    assert not told(105, at=300, waits=False)


@new_enough
def test_a_kernel_that_is_restarted_is_told_of_as_ever(
    connect: Connect, jupyter_server: JupyterServer, own_kernel: str
) -> None:
    cell = Going(connect(own_kernel).start(Cell("print('on', flush=True)\nimport time; time.sleep(60)", durable=True)))
    cell.until(Started)
    jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
    cell.thread.join(30)
    assert cell.execution.result is not None
    assert cell.execution.result.fate is Fate.DIED
    assert str(cell.execution.result.error) == (
        "a.ipynb was restarted by another client during this cell (output above may be incomplete). Its variables are "
        "gone"
    )


@new_enough
def test_of_those_who_never_came_back_the_last_three_are_kept(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    for _ in range(5):
        execution = kernel.start(Cell("1", durable=True))
        execution.durable.end = lambda: None  # type: ignore[union-attr,method-assign]  # as if our process had ended
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
    connect_over(jupyter_server, found(jupyter_server, bash), "ws")[0].close()  # opens when it has answered
    yield bash
    jupyter_server.delete_kernel(bash)


def test_a_kernel_that_cannot_is_refused_and_nothing_is_run(connect: Connect, cannot: str) -> None:
    kernel = connect(cannot)
    kernel.execute("1" if OLD else "true")
    with pytest.raises(BadOption, match="needs ipykernel 7 or newer in that kernel; this one is"):
        kernel.start(Cell("ran=1", durable=True))
    answer = kernel.execute("'ran' in globals()" if OLD else 'echo "<$ran>"')
    assert "False" in str(answer.outputs) if OLD else "<>" in str(answer.outputs)


def test_a_kernel_that_has_not_said_what_it_is_and_cannot_says_so_with_the_cell(connect: Connect, cannot: str) -> None:
    kernel, watcher = connect(cannot), connect(cannot)
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    watcher.subscribe(seen)
    transport_of(kernel).ask("kernel_info_request", {}, seconds=10)  # the answers to earlier ones are in, too
    transport_of(kernel).state.info = {}  # as of a kernel that has been busy since we came
    cell = Going(kernel.start(Cell("print(1)" if OLD else "echo 1", durable=True)))
    note = cell.until(Note)
    assert isinstance(note, Note) and "runs without" in note.text
    cell.thread.join(30)
    assert cell.execution.result is not None and cell.execution.result.fate is Fate.OK
    watcher.execute("1" if OLD else "echo 1")  # behind all that came before
    came = set()
    while not seen.empty():
        came.add(seen.get().parent_id)
    assert cell.execution.msg_id in came
    assert not [parent for parent in came if parent.startswith(f"{cell.execution.msg_id}-")]
