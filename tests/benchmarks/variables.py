"""Copying variables: next to the same Arrow file, the wire without us, and ipyparallel where it is installed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.protocol.messages import evaluate_content
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transports.base import Transport
from tests.benchmarks.harness import Case, Row
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

if TYPE_CHECKING:  # tests that look at no more than the names of rows need not wait for these
    import numpy as np
    import pandas as pd

#: Times as long as writing and reading the same Arrow file.
LIMIT_FRAME = 3.0
#: Times the size of what is copied, beside it: the copy, and what is under way, in both processes.
LIMIT_MEMORY = 2.5
#: Times as long as the same messages take by themselves: 100 MiB/s where those have 150.
LIMIT_WIRE = 1.5
MIB = 1 << 20
ROWS_OF_A_GIGABYTE = 25_000_000  # of five columns of eight bytes
MAKE_FRAME = """
import numpy as np, pandas as pd
rng = np.random.default_rng(0)
df = pd.DataFrame({f"c{n}": rng.standard_normal(ROWS) for n in range(5)})
""".replace("ROWS", str(ROWS_OF_A_GIGABYTE))
MAKE_FLOOR = """
zeros = bytes(2**20)
def post():
    kernel = get_ipython().kernel
    for _ in range(4):
        kernel.session.send(kernel.stdin_socket, "kernel_bridge_data", {}, parent=kernel.get_parent(),
                            ident=kernel._parent_ident["shell"], buffers=[zeros])
"""
MAKE_ARRAY = "import numpy as np; x = np.random.default_rng(0).random(100 * 2**20 // 8)"


def _kernel(stack: contextlib.ExitStack, transport_name: str) -> tuple[KernelConnection, Transport]:
    server = stack.enter_context(JupyterServer(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
    kernel_id = server.start_kernel(path="a.ipynb")
    server.wait_for_kernel(kernel_id)
    kernel, transport = connect_over(server, found(server, kernel_id), transport_name)
    return stack.enter_context(kernel), transport


def _get(kernel: KernelConnection, name: str, *, by_file: bool) -> None:
    kernel.get(name, by_file=by_file, max_size=2 * 10**9)


def _frame(folder: str, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    """A frame of 1 GB, through a file in memory. The floor writes it as an Arrow file there, and reads it here."""
    import pyarrow as pa

    kernel, _ = _kernel(stack, "zmq")
    kernel.execute(MAKE_FRAME)
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)), "frame.arrow")
    write = (
        "import pyarrow as pa\n"
        f"table = pa.Table.from_pandas(df)\nwith pa.OSFile({str(path)!r}, 'wb') as file, "
        "pa.ipc.new_file(file, table.schema) as writer:\n    writer.write_table(table)\ndel table"
    )

    def floor() -> None:
        kernel.execute(write)
        with pa.OSFile(str(path)) as file:
            frame: pd.DataFrame = pa.ipc.open_file(file).read_pandas()
        assert len(frame) == ROWS_OF_A_GIGABYTE
        path.unlink()

    return {"ours": functools.partial(_get, kernel, "df", by_file=True), "floor": floor}


def _memory(way: str, by_file: bool, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    """The most memory that copying a frame of 1 GB takes in both processes, as multiples of its size."""
    kernel, _ = _kernel(stack, "zmq")
    kernel.execute(MAKE_FRAME)
    there = psutil.Process(int(kernel.execute("import os; os.getpid()").text))
    frame = kernel.get("df", max_size=2 * 10**9) if way == "put" else None

    def ours() -> float:
        with _most_memory(there) as most:
            if way == "get":
                _get(kernel, "df", by_file=by_file)
            else:
                kernel.put("copy", frame, by_file=by_file, max_size=2 * 10**9)
        kernel.execute("copy = None")
        return most() / (ROWS_OF_A_GIGABYTE * 5 * 8)

    return {"ours": ours}


@contextlib.contextmanager
def _most_memory(there: psutil.Process) -> Iterator[Callable[[], float]]:
    """Tell by how many bytes the memory of both processes has grown at most; what they share counts once."""

    def now() -> int:
        return sum(process.memory_full_info().pss for process in (there, psutil.Process()))

    seen, over = [now()], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(now())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(seen) - seen[0]
    finally:
        over.set()
        thread.join()


def _array(way: str, transport_name: str, by_file: bool, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    import numpy as np

    kernel, transport = _kernel(stack, transport_name)
    kernel.execute(MAKE_ARRAY)
    array = np.random.default_rng(0).random(100 * MIB // 8)

    def ours() -> None:
        if way == "get":
            _get(kernel, "x", by_file=by_file)
        else:
            kernel.put("x", array, by_file=by_file)

    cases: dict[str, Case] = {"ours": ours}
    if not by_file:
        kernel.execute(MAKE_FLOOR)
        cases["floor"] = functools.partial(_wire, way, transport)
    if importlib.util.find_spec("ipyparallel") is not None:
        cases["ipyparallel"] = _engine(stack, way, array)
    return cases


def _wire(way: str, transport: Transport) -> None:
    """The same bytes in the same messages, of which nothing is made."""
    todo, most = 25, 2 if way == "get" else 4
    came, data = 0, bytes(4 * MIB)
    under_way: set[str] = set()
    with contextlib.closing(Exchange(transport, "it")) as exchange:
        while todo or under_way or (way == "get" and came < 100 * MIB):
            while todo and len(under_way) < most:
                todo -= 1
                if way == "get":
                    under_way.add(exchange.send(evaluate_content("post()")))
                else:
                    under_way.add(exchange.send(evaluate_content(), [data]))
            message = exchange.next()
            assert message is not None
            came += sum(map(len, message.buffers))
            if message.channel == "shell":
                under_way.discard(message.parent_id)


def _engine(stack: contextlib.ExitStack, way: str, array: np.ndarray) -> Case:
    """The same with an engine of ipyparallel's own."""
    ipyparallel = importlib.import_module("ipyparallel")
    os.environ.setdefault("IPYTHONDIR", stack.enter_context(tempfile.TemporaryDirectory()))
    client = stack.enter_context(ipyparallel.Cluster(n=1))
    view = client[0]
    view.execute(MAKE_ARRAY, block=True)

    def theirs() -> None:
        if way == "get":
            assert view.pull("x", block=True).nbytes == array.nbytes
        else:
            view.push({"x": array}, block=True)

    return theirs


ROWS = [
    *(
        Row(f"1 GB frame between kernels, file in {folder}", functools.partial(_frame, folder), LIMIT_FRAME, 3, 1)
        for folder in ("/dev/shm", "/tmp")
    ),
    *(
        Row(
            f"memory of a 1 GB frame, {way}, {'file' if by_file else 'zmq'}",
            # Messages are no promise: what is put has to wait in both processes until its last piece has come.
            *(functools.partial(_memory, way, by_file), LIMIT_MEMORY if by_file else None, 1, 1, "times"),
        )
        for by_file in (True, False)
        for way in ("get", "put")
    ),
    *(
        Row(f"{way} 100 MiB array, {name}", functools.partial(_array, way, transport, by_file), limit, 5)
        for name, transport, by_file, limit in (
            ("file", "zmq", True, None),
            ("zmq", "zmq", False, LIMIT_WIRE),
            ("ws", "ws", False, LIMIT_WIRE),
        )
        for way in ("get", "put")
    ),
]
