"""Twenty clients on one kernel, many cells each (F46, G13): all get their own output, and nobody is disturbed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import RemoteError
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

CLIENTS = 20
FAILING = 7  # every so many cells one raises: the others' must not be aborted


def work(connection: KernelConnection, number: int, cells: int, start: threading.Barrier, wrong: list[str]) -> None:
    start.wait(60)
    for cell in range(cells):
        mine = f"client {number} cell {cell}"
        code = f"for part in range(3): print('{mine} part', part)\n"
        code += f"raise ValueError('{mine}')" if cell % FAILING == 0 else f"'{mine}'"
        execution = connection.start(Cell(code, timeout=110))
        for _ in execution:
            pass
        result = execution.result
        assert result is not None
        text = "".join(item["text"] for item in result.outputs if item["output_type"] == "stream")
        if text != "".join(f"{mine} part {part}\n" for part in range(3)):
            wrong.append(f"{mine} by {connection.transport}: {text!r}, {result.error!r}, missing {result.missing}")
        if cell % FAILING == 0:
            if not (isinstance(result.error, RemoteError) and result.error.evalue == mine):
                wrong.append(f"{mine}: {result.error!r}")
        elif (result.status, result.text) != ("ok", repr(mine)):
            wrong.append(f"{mine} by {connection.transport}: {result.text!r}, {result.error!r}, {result.missing}")


def test_f46_a_hundred_cells_get_their_own_output(
    jupyter_server: JupyterServer, own_kernel: str, tell: Callable[..., None]
) -> None:
    run_beside_each_other(jupyter_server, own_kernel, 5)
    tell(46, f"nothing: 100 cells of {CLIENTS} clients, each with its own output")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_g13_a_thousand_of_a_thousand_cells_get_their_own_output(
    jupyter_server: JupyterServer, own_kernel: str, long_run: Callable[[str, str], None]
) -> None:
    run_beside_each_other(jupyter_server, own_kernel, 50)
    long_run("G13: cells of 20 clients, over both transports", "0 of 1000 wrong")


def run_beside_each_other(jupyter_server: JupyterServer, own_kernel: str, cells: int) -> None:
    kernel = found(jupyter_server, own_kernel)
    owner, _ = connect_over(jupyter_server, kernel, "zmq")
    owner.execute("x = 1", store_history=True)
    count = owner.execute("get_ipython().execution_count").text
    connections = [connect_over(jupyter_server, kernel, ("zmq", "ws")[n % 2])[0] for n in range(CLIENTS)]
    wrong: list[str] = []
    start = threading.Barrier(CLIENTS)
    threads = [
        threading.Thread(target=work, args=(connection, number, cells, start, wrong))
        for number, connection in enumerate(connections)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(110)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert owner.execute("get_ipython().execution_count").text == count
        assert owner.execute("x").text == "1"
    finally:
        for connection in (*connections, owner):
            connection.close()
