"""Twenty clients on one kernel, fifty cells each (F46): everybody gets their own output, and nobody is disturbed."""

from __future__ import annotations

import threading

from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.errors import RemoteError
from tests.support.roads import found, road_to
from tests.support.servers import JupyterServer

CLIENTS, CELLS = 20, 50
FAILING = 7  # every so many cells one raises: the others' must not be aborted


def work(connection: KernelConnection, number: int, start: threading.Barrier, wrong: list[str]) -> None:
    start.wait(60)
    for cell in range(CELLS):
        mine = f"client {number} cell {cell}"
        code = f"for part in range(3): print('{mine} part', part)\n"
        code += f"raise ValueError('{mine}')" if cell % FAILING == 0 else f"'{mine}'"
        execution = connection.start(code, timeout=110)
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


def test_a_thousand_of_a_thousand_cells_get_their_own_output(jupyter_server: JupyterServer, own_kernel: str) -> None:
    kernel = found(jupyter_server, own_kernel)
    owner, _ = road_to(jupyter_server, kernel, "zmq")
    owner.execute("x = 1", store_history=True)
    count = owner.execute("get_ipython().execution_count").text
    connections = [road_to(jupyter_server, kernel, ("zmq", "ws")[n % 2])[0] for n in range(CLIENTS)]
    wrong: list[str] = []
    start = threading.Barrier(CLIENTS)
    threads = [
        threading.Thread(target=work, args=(connection, number, start, wrong))
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
