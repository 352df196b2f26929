"""Variables on their way while something breaks: nothing is bound, nothing is left, and the connection goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from jupyter_client.connect import ConnectionFileMixin

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.events import Event, Note, Started
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.transfer.variables import Variables, variables_with
from tests.faults.foreign import ForeignClient
from tests.faults.proxy import DOWN, FaultProxy
from tests.faults.truth import through
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import TRANSPORTS, connect_over, found

Connect = Callable[[str], KernelConnection]
HELD = "'kernel_bridge_held' in vars(get_ipython())"
SIZE = 64 << 20
MANY = 100 << 20
#: What another client may receive of all that: states of the kernel, two for each request.
MOST_HEARD = 50_000
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
# As if no file could be made there: these functions have no room.
FULL = """
import os
def no_room(*arguments, **options):
    raise OSError(28, "No space left on device")
for name in {names}:
    setattr(os, name, no_room)
"""
# A process of ours that says when it is half way, and is killed then.
OURS = """
import sys, threading
from kernel_bridge_magic import connect
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.transfer.variables import Variables, variables_with
file, transport, what, by_file = sys.argv[1:]
by_file = by_file == "True"
def half_way(event):
    print("half way", flush=True)
def share(*arguments, real=codec().share):
    made = real(*arguments)
    open_shared()
def open_shared(*arguments):
    half_way(None)
    threading.Event().wait()
codec().share, codec().open_shared = share, open_shared
with connect(file, transport=transport) as kernel:
    if what == "get":
        kernel.get_all(Variables(wanted={"x": "x_there"}, by_file=by_file), show=half_way)
    else:
        kernel.put_all(variables_with({"y_there": bytes(300_000_000)}, by_file=by_file), show=half_way)
    print("done", flush=True)
"""


def memory_files(pid: int | str) -> list[str]:
    """The files in memory by which variables go, as far as a process has them open."""
    names = []
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return [name for name in names if "kernel_bridge" in name]


def folder_of(server: JupyterServer) -> Path:
    """Where files stand that cannot be in memory."""
    return Path(server.runtime_dir, "kernel-bridge-files")


def files(server: JupyterServer) -> set[str]:
    """What stands where files of ours might be left."""
    folder = folder_of(server)
    left = {name for name in os.listdir("/dev/shm") if "kernel_bridge" in name}
    return left | {str(path) for path in folder.glob("*")}


@pytest.fixture(autouse=True)
def runtime(jupyter_server: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of this process for files is that in which is looked for them."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter_server.runtime_dir))


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


@pytest.mark.parametrize("by_file", [True, False])
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

        kernel.execute(f"x_there = bytes({MANY})")
        take()
        for what in ("get", "put"):
            before = sum(pair.passed[DOWN] for pair in proxy.pairs), take()
            if what == "get":
                assert len(kernel.get("x_there", by_file=by_file)) == MANY
            else:
                kernel.put("y_there", bytes(MANY), by_file=by_file)
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


def are_killed(ours: str, what: str, kernel: KernelConnection, server: JupyterServer, *, by_file: bool = False) -> None:
    """Copy in another process, kill it half way, and look at what it has left there."""
    kernel.execute("x_there = bytes(300_000_000); y_there = 'old'")
    where = str(server.connection_file(kernel.kernel.id))
    with subprocess.Popen(
        [sys.executable, "-c", OURS, where, ours, what, str(by_file)],
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(server.runtime_dir)},
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
        assert said == "half way\n" and "done" not in process.stdout.read()
    # Nobody has said that it may go. A file of ours waits nowhere else.
    assert kernel.execute(HURRY).text == str(what == "get" or not by_file)
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


# -- by a file


class Owner:
    """A client of the owner's, whose cell keeps the kernel at work from `begin` to `end`."""

    def __init__(self, client: ForeignClient, go: Path) -> None:
        self._client, self._go, self._sent = client, go, ""

    def begin(self) -> None:
        path = str(self._go)
        code = f"import os, time\nprint('on', flush=True)\nwhile not os.path.exists({path!r}): time.sleep(0.05)"
        self._sent = self._client.send(code)
        self._client.until(self._sent, lambda ran: "on" in ran.text)

    def end(self) -> None:
        self._go.touch()
        if self._sent:
            self._client.until(self._sent, lambda ran: ran.reply and ran.idle)


@pytest.fixture
def owner(own_kernel: str, jupyter_server: JupyterServer, tmp_path: Path) -> Iterator[Owner]:
    with contextlib.closing(ForeignClient(jupyter_server, own_kernel)) as client:
        made = Owner(client, tmp_path / "go")
        yield made
        made.end()


class Shared:
    """What was handed over by files: how each was, and what happens once one is made, or before one is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.places: list[list[Any]] = []
        self.once_made: Callable[[], object] = lambda: None
        self.before_opening: Callable[[], object] = lambda: None
        self._share, self._open = codec().share, codec().open_shared
        patch.setattr(codec(), "share", self.share)
        patch.setattr(codec(), "open_shared", self.open)

    def share(self, *arguments: Any) -> Any:
        file = self._share(*arguments)
        self.places.append(file.place)
        self.once_made()
        return file

    def open(self, place: list[Any], *arguments: Any) -> Any:
        self.places.append(place)
        self.before_opening()
        return self._open(place, *arguments)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Shared:
    return Shared(monkeypatch)


def no_room(*arguments: object, **options: object) -> int:
    """Stand for a function that makes a file, or a folder, where there is no room."""
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill(pid: int) -> None:
    """Kill a process, and wait until it has nothing open any more."""
    os.kill(pid, signal.SIGKILL)

    def has_ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_for(has_ended, "the kernel's end")


@pytest.mark.parametrize("memory", [True, False], ids=["memory", "folder"])
def test_a_file_whose_put_was_stopped_is_bound_by_nobody(
    memory: bool, kernel: KernelConnection, owner: Owner, shared: Shared, monkeypatch: pytest.MonkeyPatch,
    jupyter_server: JupyterServer,
) -> None:  # fmt: skip
    """The request is in the kernel's queue already, and runs after we have given up."""
    if not memory:
        monkeypatch.setattr(os, "memfd_create", no_room)
    shared.once_made = owner.begin

    def stop(event: Event) -> None:
        if shared.places and not isinstance(event, Started):
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        kernel.put_all(variables_with({"y_there": bytes(SIZE)}), show=stop)
    assert [len(place) for place in shared.places] == [2 if memory else 1]
    owner.end()
    assert kernel.execute("y_there").text == "'old'"


def test_a_file_that_comes_as_ctrl_c_is_pressed_is_let_go(kernel: KernelConnection, shared: Shared) -> None:
    shared.before_opening = interrupt
    with pytest.raises(KeyboardInterrupt):
        kernel.get("x_there")
    assert [len(place) for place in shared.places] == [2]


@pytest.mark.parametrize("what", ["get", "put"])
def test_a_kernel_that_is_killed_before_the_file_is_opened(
    what: str, connect: Connect, own_kernel: str, jupyter_server: JupyterServer, shared: Shared
) -> None:
    kernel = connect(own_kernel)
    kernel.execute(f"x_there = bytes({SIZE})")
    pid = int(kernel.execute("import os; os.getpid()").text)
    shared.once_made = shared.before_opening = lambda: kill(pid)
    with pytest.raises(NotCopied) as problem:
        if what == "get":
            kernel.get("x_there")
        else:
            kernel.put("y_there", bytes(SIZE))
    assert "\n" not in str(problem.value) and [len(place) for place in shared.places] == [2]
    jupyter_server.wait_for_kernel(own_kernel)  # its server has started it anew
    again = connect(own_kernel)
    with pytest.raises(BadVariable):
        again.get("y_there")
    is_clean(again, jupyter_server)


def test_a_link_that_breaks_before_the_file_is_bound(
    own_kernel: str, jupyter_server: JupyterServer, owner: Owner, proxy: FaultProxy, shared: Shared
) -> None:
    """The request is in the kernel's queue already, and runs after we have given up."""
    kernel, transport, _ = through(jupyter_server, proxy, own_kernel)
    broken = threading.Event()

    def cut(event: Event) -> None:
        if shared.places and not isinstance(event, Started) and not broken.is_set():
            broken.set()
            proxy.reset()

    with kernel:
        kernel.execute("y_there = 'old'")
        shared.once_made = owner.begin
        with pytest.raises(NotCopied, match="broke") as problem:
            kernel.put_all(variables_with({"y_there": bytes(SIZE)}), show=cut)
        assert "\n" not in str(problem.value)
        assert transport.lost_since is None, "the link is back"
        owner.end()
        assert kernel.execute("y_there").text == "'old'"
        is_clean(kernel, jupyter_server)


def test_where_memory_is_full_a_file_of_the_folder_goes(
    kernel: KernelConnection, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "memfd_create", no_room)
    kernel.put("y_there", bytes(SIZE))
    assert kernel.execute(f"y_there == bytes({SIZE})").text == "True"
    kernel.execute(FULL.format(names=["memfd_create"]))
    assert kernel.get("x_there") == bytes(SIZE)
    assert [len(place) for place in shared.places] == [1, 1]


def test_where_no_file_can_be_made_it_goes_in_pieces(
    kernel: KernelConnection, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.execute(FULL.format(names=["memfd_create", "makedirs"]))
    assert kernel.get("x_there") == bytes(SIZE)
    for name in ("memfd_create", "makedirs"):
        monkeypatch.setattr(os, name, no_room)
    kernel.put("y_there", bytes(SIZE))
    assert kernel.execute(f"y_there == bytes({SIZE})").text == "True"
    assert not shared.places


@pytest.mark.parametrize("what", ["get", "put"])
def test_a_file_goes_when_we_are_killed(what: str, own_kernel: str, jupyter_server: JupyterServer) -> None:
    kernel, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "zmq")
    with kernel:
        are_killed("zmq", what, kernel, jupyter_server, by_file=True)
        is_clean(kernel, jupyter_server)
