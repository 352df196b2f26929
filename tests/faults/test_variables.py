"""Variables on their way while something breaks: nothing is bound, nothing is left, and the connection goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from jupyter_client.connect import ConnectionFileMixin

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.events import Event, Note, Started
from kernel_bridge_magic.transfer.variables import Variables, variables_with
from tests.faults.foreign import ForeignClient
from tests.faults.proxy import DOWN, FaultProxy
from tests.faults.truth import through
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import TRANSPORTS, connect_over, found

Connect = Callable[[str], KernelConnection]
HELD = "'kernel_bridge_held' in vars(get_ipython())"
SIZE = 64 << 20
#: What another client may receive of all that: states of the kernel, two for each piece.
MOST_HEARD = 50_000
TOO_MANY_PIECES = pytest.mark.xfail(reason="a request for each MiB, and two states for each request", strict=True)
# As if what waits there waited a second at most: by the timer and the clock that it has.
HURRY = """
def hurry():
    held = vars(get_ipython()).get("kernel_bridge_held")
    if held is not None:
        held.look.__func__.__globals__["HELD_SECONDS"] = 1
        with held.lock:
            held.timer.cancel()
            held.timer = None
            held.watch()
    return held is not None
hurry()
"""
# A process of ours that says when it is half way, and is killed then.
OURS = """
import sys
from kernel_bridge_magic import connect
from kernel_bridge_magic.transfer.variables import Variables, variables_with
file, transport, what = sys.argv[1:]
def half_way(event):
    print("half way", flush=True)
with connect(file, transport=transport) as kernel:
    if what == "get":
        kernel.get_all(Variables(wanted={"x": "x_there"}, by_file=False), show=half_way)
    else:
        kernel.put_all(variables_with({"y_there": bytes(300_000_000)}, by_file=False), show=half_way)
    print("done", flush=True)
"""


def memory_files(pid: int | str) -> list[str]:
    """The files in memory by which variables go, as far as a process has them open."""
    names = []
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return [name for name in names if "kernel_bridge" in name]


def files(server: JupyterServer) -> set[str]:
    """What stands where files of ours might be left."""
    folder = Path(server.runtime_dir, "kernel-bridge-files")
    left = {name for name in os.listdir("/dev/shm") if "kernel_bridge" in name}
    return left | {str(path) for path in folder.glob("*")}


@pytest.fixture
def kernel(connect: Connect, own_kernel: str, jupyter_server: JupyterServer) -> Iterator[KernelConnection]:
    connection = connect(own_kernel)
    connection.execute(f"x_there = bytes({SIZE}); y_there = 'old'")
    yield connection
    is_clean(connection, jupyter_server)


def is_clean(kernel: KernelConnection, server: JupyterServer) -> None:
    """The connection is usable, and nothing of ours is left on either side."""
    wait_for(lambda: kernel.execute(HELD).text == "False", "a kernel that holds nothing of ours", 20)
    pid = kernel.execute("import os; os.getpid()").text
    assert not memory_files("self") and not memory_files(pid) and not files(server)
    assert kernel.execute("[name for name in globals() if 'kernel_bridge' in name]").text == "[]"


def copy(kernel: KernelConnection, what: str, show: Callable[[Event], object], *, size: int = SIZE) -> None:
    """Get `x_there`, or put `y_there`, in pieces."""
    if what == "get":
        kernel.get_all(Variables(wanted={"x": "x_there"}, by_file=False), show=show)
    else:
        kernel.put_all(variables_with({"y_there": bytes(size)}, by_file=False), show=show)


def once(action: Callable[[], object]) -> Callable[[Event], None]:
    """Call something as soon as it is told how far a copy is."""
    began = threading.Event()

    def show(event: Event) -> None:
        if isinstance(event, Note) and event.key == "copying" and not began.is_set():
            began.set()
            action()

    return show


# -- other clients


@pytest.mark.parametrize("by_file", [True, pytest.param(False, marks=TOO_MANY_PIECES)])
def test_nobody_else_receives_what_is_copied(
    by_file: bool, kernel: KernelConnection, own_kernel: str, jupyter_server: JupyterServer, proxy: FaultProxy
) -> None:
    other, _, _ = through(jupyter_server, proxy, own_kernel)
    file = ConnectionFileMixin(
        context=zmq.Context.instance(), connection_file=str(jupyter_server.connection_file(own_kernel))
    )
    file.load_connection_file()
    with other, contextlib.closing(file.connect_iopub()) as iopub:
        wait_for(lambda: kernel.execute("1").text == "1" and iopub.poll(100), "something on IOPub")
        heard = 0

        def take() -> int:
            nonlocal heard
            with contextlib.suppress(zmq.Again):
                while True:
                    heard += sum(map(len, iopub.recv_multipart(zmq.NOBLOCK)))
            return heard

        take()
        for what in ("get", "put"):
            before = sum(pair.passed[DOWN] for pair in proxy.pairs), take()
            if what == "get":
                assert len(kernel.get("x_there", by_file=by_file)) == SIZE
            else:
                kernel.put("y_there", bytes(SIZE), by_file=by_file)
            assert other.execute("1").text == "1"
            came = sum(pair.passed[DOWN] for pair in proxy.pairs) - before[0], take() - before[1]
            assert all(0 < size < MOST_HEARD for size in came), (what, came)


@pytest.mark.parametrize("by_file", [True, False])
def test_fifty_megabytes_are_as_they_were_in_our_cell_s_turn(
    by_file: bool, kernel: KernelConnection, own_kernel: str, jupyter_server: JupyterServer
) -> None:
    """The owner's cell, queued behind ours, changes and rebinds the variable and runs on while it is fetched."""
    with contextlib.closing(ForeignClient(jupyter_server, own_kernel)) as owner:
        code = "import time; time.sleep(1)\nx_there = bytearray(b'ours!' * 10_000_000)"
        execution = kernel.start(Cell(code, variables=Variables(wanted={"x": "x_there"}, by_file=by_file)))
        events = iter(execution)
        assert next(event for event in events if isinstance(event, Started))
        sent = owner.send("x_there[:5] = b'their'; del x_there; x_there = 'theirs'; import time; time.sleep(5)")
        for _ in events:
            pass
        result = execution.result
        assert result is not None and result.error is None
        assert result.variables["x"].value == bytearray(b"ours!" * 10_000_000)
        owner.until(sent, lambda ran: ran.reply and ran.idle)
    assert kernel.get("x_there") == "theirs"


# -- what breaks


@pytest.mark.parametrize("what", ["get", "put"])
def test_a_link_that_breaks_half_way(
    what: str, own_kernel: str, jupyter_server: JupyterServer, proxy: FaultProxy
) -> None:
    kernel, transport, _ = through(jupyter_server, proxy, own_kernel)
    with kernel:
        kernel.execute(f"x_there = bytes({SIZE}); y_there = 'old'")
        with pytest.raises(NotCopied, match="broke") as problem:
            copy(kernel, what, once(proxy.reset))
        assert "\n" not in str(problem.value)
        assert transport.lost_since is None, "the link is back"
        assert kernel.execute("y_there").text == "'old'"
        is_clean(kernel, jupyter_server)
        copy(kernel, what, lambda event: None)
        is_clean(kernel, jupyter_server)


@pytest.mark.parametrize("what", ["get", "put"])
def test_ctrl_c_half_way(what: str, kernel: KernelConnection) -> None:
    with pytest.raises(KeyboardInterrupt):
        copy(kernel, what, once(lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert kernel.execute("y_there").text == "'old'"


def test_an_interrupt_while_the_variables_of_a_cell_come(kernel: KernelConnection) -> None:
    cell = Cell("done_there = True", variables=Variables(wanted={"x": "x_there"}, by_file=False))
    execution = kernel.start(cell, show=once(lambda: execution.interrupt()))
    for _ in execution:
        pass
    result = execution.result
    assert result is not None and not result.variables and isinstance(result.error, NotCopied)
    assert str(result.error) == "the cell has run, but you have stopped it"
    assert kernel.execute("done_there").text == "True"


def test_a_time_limit_ends_a_copy(kernel: KernelConnection) -> None:
    variables = variables_with({"y_there": bytes(SIZE)}, by_file=False)
    with pytest.raises(NotCopied, match="the time is up"):
        kernel.put_all(variables, timeout=0.2)
    assert kernel.execute("y_there").text == "'old'"


@pytest.mark.parametrize("what", ["get", "put"])
def test_a_kernel_that_is_killed_half_way(
    what: str, connect: Connect, own_kernel: str, jupyter_server: JupyterServer
) -> None:
    kernel = connect(own_kernel)
    kernel.execute(f"x_there = bytes({4 * SIZE}); y_there = 'old'")
    pid = int(kernel.execute("import os; os.getpid()").text)
    with pytest.raises(NotCopied) as problem:
        copy(kernel, what, once(lambda: os.kill(pid, signal.SIGKILL)), size=4 * SIZE)
    assert "\n" not in str(problem.value)
    assert not memory_files("self") and not files(jupyter_server)
    jupyter_server.wait_for_kernel(own_kernel)  # its server has started it anew
    again = connect(own_kernel)
    with pytest.raises(BadVariable):
        again.get("y_there")
    again.put("y_there", 1)
    is_clean(again, jupyter_server)


# -- we are killed


@pytest.mark.parametrize("what", ["get", "put"])
@pytest.mark.parametrize("ours", TRANSPORTS)
def test_what_waits_there_goes_when_we_are_killed(
    ours: str, what: str, own_kernel: str, jupyter_server: JupyterServer
) -> None:
    kernel, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "zmq")
    with kernel:
        are_killed(ours, what, kernel, jupyter_server)
        is_clean(kernel, jupyter_server)


def are_killed(ours: str, what: str, kernel: KernelConnection, server: JupyterServer) -> None:
    """Copy in another process, kill it half way, and look at what it has left there."""
    kernel.execute("x_there = bytes(300_000_000); y_there = 'old'")
    where = str(server.connection_file(kernel.kernel.id))
    with subprocess.Popen(
        [sys.executable, "-c", OURS, where, ours, what],
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(server.runtime_dir)},
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
        assert said == "half way\n" and "done" not in process.stdout.read()
    assert kernel.execute(HURRY).text == "True", "it waits there: nobody has said that it may go"
    assert kernel.execute("y_there").text == "'old'"


# -- what the kernel keeps


def test_no_text_of_ours_is_kept_there(kernel: KernelConnection) -> None:
    """Neither by IPython, which keeps what cells it has compiled, nor for tracebacks."""
    count = "import linecache; len(linecache.cache), len(get_ipython().compile._filename_map)"

    def counted() -> tuple[int, int]:
        first, second = kernel.execute(count).text.strip("()").split(", ")
        return int(first), int(second)

    def copies() -> tuple[int, int]:
        before = counted()
        for number in range(20):
            kernel.put(f"name{number}", number)
            assert kernel.get(f"name{number}") == number
        after = counted()
        return after[0] - before[0], after[1] - before[1]

    copies()
    counted()
    assert copies() == (0, 0)
