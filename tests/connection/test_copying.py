"""Variables to and from real kernels: by each way, with a cell and by themselves, and where it breaks off."""

from __future__ import annotations

import contextlib
import os
import re
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import BadOption, BadVariable, Fate, NotCopied, NotRun, RemoteError
from kernel_bridge_magic.protocol.events import Note, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.transfer.variables import Variables, variables_with
from tests.faults.foreign import ForeignClient
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import Heard, transport_of
from tests.support.values import EXAMPLES, same
from tests.support.versions import with_subshells

Connect = Callable[[str], KernelConnection]
LARGE = numpy.arange(2_000_000.0)  # 16 MB
HELD = "'kernel_bridge_held' in vars(get_ipython())"


@pytest.fixture
def kernel(connect: Connect, shared_kernel: str) -> Iterator[KernelConnection]:
    connection = connect(shared_kernel)
    yield connection
    # The request that drops it may go beside the main shell.
    wait_for(lambda: connection.execute(HELD).text == "False", "a kernel that holds nothing of ours", 20)


def left_open() -> list[str]:
    """The files in memory that this process has open."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return [name for name in names if "kernel_bridge" in name]


def run(kernel: KernelConnection, cell: Cell) -> RemoteResult:
    execution = kernel.start(cell)
    for _ in execution:
        pass
    assert execution.result is not None
    return execution.result


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_kind_of_value_goes_there_and_comes_back(name: str, kernel: KernelConnection) -> None:
    value = EXAMPLES[name]()
    kernel.put("x_there", value)
    assert same(kernel.get("x_there"), value)


@pytest.mark.parametrize("by_file", [True, False])
def test_large_ones_as_well(by_file: bool, kernel: KernelConnection, jupyter_server: JupyterServer) -> None:
    kernel.put("x_there", LARGE, by_file=by_file)
    kernel.execute("x_there += 1")
    assert same(kernel.get("x_there", by_file=by_file), LARGE + 1)
    assert not left_open() and not list(Path(jupyter_server.runtime_dir).glob("kernel-bridge-files/*"))


def test_without_binary_frames_it_goes_as_text(kernel: KernelConnection) -> None:
    transport_of(kernel).carries_buffers = False
    kernel.put("x_there", LARGE, by_file=False)
    assert same(kernel.get("x_there", by_file=False), LARGE)


def test_with_a_cell_they_go_before_it_and_come_behind_it(kernel: KernelConnection) -> None:
    variables = replace(variables_with({"a_there": [1, 2], "b_there": "x"}), wanted={"mine": "c_there"})
    result = run(kernel, Cell("c_there = a_there * 2, b_there", variables=variables))
    assert result.error is None and result.variables["mine"].value == ([1, 2, 1, 2], "x")
    assert set(result.sent) == {"a_there", "b_there"}


@pytest.mark.parametrize("by_file", [True, False])
def test_what_the_owner_has_queued_behind_the_cell_changes_nothing(
    by_file: bool, kernel: KernelConnection, shared_kernel: str, jupyter_server: JupyterServer
) -> None:
    """They rebind the name, and keep the kernel busy for a while; what was in our cell's turn comes."""
    with contextlib.closing(ForeignClient(jupyter_server, shared_kernel)) as owner:
        cell = "import time; time.sleep(1)\nx_there = bytearray(b'ours' * 500_000)"
        execution = kernel.start(Cell(cell, variables=Variables(wanted={"x": "x_there"}, by_file=by_file)))
        events = iter(execution)
        assert next(event for event in events if isinstance(event, Started))
        owner.send("x_there[:] = b'theirs'; x_there = 'theirs'; import time; time.sleep(4)")
        for _ in events:
            pass
    assert execution.result is not None and execution.result.error is None
    assert execution.result.variables["x"].value == bytearray(b"ours" * 500_000)
    assert kernel.get("x_there") == "theirs"


def test_what_is_too_large_stays_what_it_was_until_somebody_has_answered(kernel: KernelConnection) -> None:
    """The owner rebinds the name while the user reads the question."""
    asked = Variables(wanted={"x": "x_there"}, most=1000, keeps=True)
    problem = run(kernel, Cell("x_there = 'ours' * 1000", variables=asked)).error
    assert isinstance(problem, BadVariable) and problem.size and problem.kept
    kernel.execute("x_there = 'theirs'")
    got = kernel.get_all(replace(asked, most=10**6, kept=problem.kept))
    assert got["x"].value == "ours" * 1000
    assert kernel.get("x_there") == "theirs"
    holds = "'kernel_bridge_held' in vars(get_ipython())"
    assert kernel.execute(holds).text == "False"
    refused = run(kernel, Cell("x_there = 'ours' * 1000", variables=asked)).error
    assert isinstance(refused, BadVariable) and kernel.execute(holds).text == "True"
    kernel.forget(refused.kept)
    assert kernel.execute(holds).text == "False"


@pytest.mark.parametrize("beside", [False, True], ids=["the same connection", "another one"])
def test_what_a_thread_shows_meanwhile_is_of_the_last_cell(
    kernel: KernelConnection, connect: Connect, shared_kernel: str, beside: bool
) -> None:
    """ipykernel names the newest request as its parent, those that copy a variable as well."""
    copying = connect(shared_kernel) if beside else kernel
    heard = Heard()
    kernel.subscribe(heard)
    code = """
    import threading
    def count_there():
        for n in range(10_000):
            print(f"[{n}]", flush=True)
            if ends_there.wait(0.01):
                break
    ends_there = threading.Event()
    threading.Thread(target=count_there).start()
    """
    execution = kernel.start(Cell(textwrap.dedent(code)))
    in_cell = "".join(event.text for event in execution if isinstance(event, Stream))

    # What came between the cell's end and the end of its iteration.
    left = [item for item in execution.leftovers() if isinstance(item, Message)]

    def streams() -> list[Message]:
        return [item for item in (*left, *heard.items) if item.msg_type == "stream"]

    def late() -> str:
        return "".join(item.content["text"] for item in streams())

    for copy in (
        lambda: copying.put("x_there", 1),
        lambda: copying.get("x_there"),
        lambda: copying.put("x_there", LARGE, by_file=False),
        lambda: copying.get("x_there", by_file=False),
    ):
        copy()
        before = len(late())
        wait_for(lambda so_far=before: len(late()) > so_far, "more of it")
    kernel.unsubscribe(heard)
    kernel.execute("ends_there.set()")
    numbers = re.findall(r"\[(\d+)\]", in_cell + late())
    assert numbers == [str(n) for n in range(len(numbers))]
    assert {item.parent_id for item in streams()} == {execution.msg_id}


def test_the_cell_that_runs_does_not_see_what_waits(
    kernel: KernelConnection, shared_kernel: str, jupyter_server: JupyterServer
) -> None:
    with contextlib.closing(ForeignClient(jupyter_server, shared_kernel)) as owner:
        look = "import time; seen = []\nfor _ in range(20): time.sleep(0.1); seen.append('new_there' in globals())"
        owner.send(look)
        wait_for(lambda: not kernel.answers(0.3), "the owner's cell at work")
        kernel.put("new_there", LARGE)
    assert kernel.get("seen") == [False] * 20
    kernel.execute("del new_there")


def test_get_goes_beside_a_busy_kernel_and_put_waits(kernel: KernelConnection) -> None:
    kernel.execute("x_there = 5; y_there = bytes(2_000_000)")
    busy = threading.Thread(target=kernel.execute, args=("import time; time.sleep(4); x_there = 6",))
    busy.start()
    wait_for(lambda: not kernel.answers(0.3), "a kernel at work")
    assert kernel.get("x_there") == 5
    assert kernel.get("y_there", by_file=False) == bytes(2_000_000)
    assert busy.is_alive()
    kernel.put("x_there", 7)
    busy.join()
    assert kernel.get("x_there") == 7


@with_subshells
def test_in_a_subshell_they_go_beside_as_well(kernel: KernelConnection) -> None:
    code = "import threading; go_there = threading.Event(); go_there.wait(60)"
    busy = threading.Thread(target=kernel.execute, args=(code,))
    busy.start()
    wait_for(lambda: not kernel.answers(0.3), "a kernel at work")
    variables = replace(variables_with({"x_there": LARGE}, by_file=False), wanted={"y": "y_there"})
    result = run(kernel, Cell("y_there = x_there + 1", if_busy="subshell", variables=variables))
    assert busy.is_alive()
    assert result.error is None and same(result.variables["y"].value, LARGE + 1)
    run(kernel, Cell("go_there.set()", if_busy="subshell"))
    busy.join()


# -- errors


def test_what_is_not_there_says_that_the_cell_has_run(kernel: KernelConnection) -> None:
    result = run(kernel, Cell("ran_there = 5", variables=Variables(wanted={"x": "nope"})))
    assert isinstance(result.error, BadVariable) and result.fate is Fate.OK and not result.variables
    assert str(result.error).startswith("the cell has run, but") and "nope" in str(result.error)
    assert kernel.get("ran_there") == 5


def test_a_cell_that_fails_brings_nothing(kernel: KernelConnection) -> None:
    result = run(kernel, Cell("x_there = 1; 1 / 0", variables=Variables(wanted={"x": "x_there"})))
    assert isinstance(result.error, RemoteError) and not result.variables


def test_what_cannot_go_runs_nothing(kernel: KernelConnection) -> None:
    for value in (len, [{"a": object()}]):
        with pytest.raises(BadVariable, match="cannot be copied"):
            run(kernel, Cell("not_run_there = 1", variables=variables_with({"x": value})))
    assert kernel.execute("'not_run_there' in globals()").text == "False"


def test_a_kernel_of_somebody_else_s_is_trusted_with_no_pickle(kernel: KernelConnection) -> None:
    assert kernel.kernel.server is not None
    kernel.put("x_there", {"a": 1})
    kernel.kernel = replace(kernel.kernel, server=replace(kernel.kernel.server, source="added"))
    assert not kernel.kernel.is_yours
    for ask in (lambda: kernel.get("x_there", pickle=True), lambda: kernel.put("x_there", 1, pickle=True)):
        with pytest.raises(BadOption, match="sandboxed"):
            ask()
    assert kernel.get("x_there") == {"a": 1}


@pytest.mark.parametrize(
    "name", ["len", "In", "Out", "_", "_x", "__name__", "get_ipython", "class", "None", "", "a b", "a.b", "1", "\ud800"]
)
def test_a_name_that_is_not_the_user_s_is_refused_both_ways(name: str, kernel: KernelConnection) -> None:
    with pytest.raises(BadOption, match="not a variable name that can be set"):
        kernel.put(name, 1)
    with pytest.raises(BadOption, match="not a variable name that can be copied"):
        kernel.get(name)
    assert kernel.execute("len('abc'), callable(get_ipython), __name__").text == "(3, True, '__main__')"


def test_a_name_is_the_one_that_code_reads(kernel: KernelConnection) -> None:
    kernel.put("ﬁ_there", 1)
    assert kernel.execute("fi_there, ﬁ_there").text == "(1, 1)"
    assert kernel.get("ﬁ_there") == 1


@pytest.mark.parametrize("name", [None, 5, ["a"], b"a"])
def test_what_is_no_name_at_all_is_refused(name: Any, kernel: KernelConnection) -> None:
    for ask in (lambda: kernel.get(name), lambda: kernel.put(name, 1)):
        with pytest.raises(BadOption, match="name is the name of a variable, not "):
            ask()


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "much", None])
def test_a_size_that_is_none_is_refused(size: Any, kernel: KernelConnection) -> None:
    with pytest.raises(BadOption, match=r"max_size=.* is not a size"):
        kernel.get("x_there", max_size=size)
    with pytest.raises(BadOption, match=r"max_size=.* is not a size"):
        kernel.put("x_there", 1, max_size=size)


def test_a_size_may_have_a_unit(kernel: KernelConnection) -> None:
    kernel.put("x_there", bytes(2000), max_size="3kB")
    with pytest.raises(BadVariable, match="larger than 1 kB"):
        kernel.get("x_there", max_size="1kB")


def test_pickles_go_where_that_is_asked_for(kernel: KernelConnection) -> None:
    kernel.put("x_there", [len], pickle=True)
    assert kernel.execute("x_there[0]('abc')").text == "3"
    assert kernel.get("x_there", pickle=True) == [len]


@pytest.mark.parametrize("way", ["time", "stop"])
@pytest.mark.parametrize("what", ["get", "put"])
def test_stopped_half_way_nothing_is_bound(way: str, what: str, kernel: KernelConnection) -> None:
    kernel.execute("x_there = bytes(30_000_000); y_there = 'old'")
    began = threading.Event()
    stopped = "you have stopped it"

    def show(event: Any) -> None:
        began.set()

    asked = Variables(wanted={"x": "x_there"}, by_file=False) if what == "get" else None
    going = variables_with({"y_there": bytes(30_000_000)}, by_file=False)
    copying: Any = kernel._alone(asked or going, 0.05 if way == "time" else None, show)
    copying.stopped = lambda: stopped if way == "stop" and began.is_set() else ""
    with pytest.raises(NotCopied, match="time is up" if way == "time" else stopped):
        getattr(copying, what)()
    assert not left_open()
    wait_for(lambda: kernel.execute(HELD).text == "False", "a kernel that holds nothing")
    assert kernel.get("y_there") == "old"


def test_a_cell_whose_variables_are_stopped_is_not_run(kernel: KernelConnection) -> None:
    cell = Cell("not_run_there = 1", variables=variables_with({"y_there": bytes(30_000_000)}, by_file=False))
    began = time.monotonic()
    with pytest.raises(NotRun, match="so the cell was not run"):
        kernel.start(cell, stopped=lambda: "interrupted" if time.monotonic() > began + 0.05 else "")
    assert kernel.execute("'not_run_there' in globals()").text == "False"


def test_how_far_a_large_one_is_is_shown(kernel: KernelConnection) -> None:
    shown: list[Any] = []
    kernel.put_all(variables_with({"x_there": LARGE}, by_file=False), show=shown.append)
    notes = [event for event in shown if isinstance(event, Note)]
    assert notes and all(note.key == "copying" for note in notes) and notes[-1].text == ""


# -- kernels that end


@pytest.mark.parametrize("what", ["get", "put"])
def test_a_kernel_that_dies_half_way_binds_nothing(
    what: str, connect: Connect, own_kernel: str, jupyter_server: JupyterServer
) -> None:
    kernel = connect(own_kernel)
    kernel.execute("import os, signal; x_there = bytes(300_000_000)")
    pid = int(kernel.execute("os.getpid()").text)
    began = threading.Event()

    def kill() -> None:
        assert began.wait(30)
        os.kill(pid, 9)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(NotCopied):
        if what == "get":
            asked = Variables(wanted={"x": "x_there"}, by_file=False)
            kernel.get_all(asked, show=lambda event: began.set())
        else:
            going = variables_with({"y_there": bytes(300_000_000)}, by_file=False)
            kernel.put_all(going, show=lambda event: began.set())
    killer.join()
    assert not left_open()
