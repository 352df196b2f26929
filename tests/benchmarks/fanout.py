"""One cell on many kernels at once, next to ipyparallel where it is installed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.jobs.fanout import FanOut, run
from kernel_bridge_magic.models import Kernel
from tests.benchmarks.harness import Case, Row
from tests.support.clients import client_of
from tests.support.servers import JupyterServer
from tests.support.transports import found, known

LIMIT_8, LIMIT_48 = 1.1, 1.2  # seconds for one second of sleep, warm
CONNECTING_8, CONNECTING_48 = 2.0, 3.5
SLEEP = "import time; time.sleep(1)"


def _kernels(stack: contextlib.ExitStack, number: int) -> tuple[list[Kernel], Vault]:
    server = stack.enter_context(JupyterServer(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
    ids = []
    for n in range(number):
        ids.append(server.start_kernel(path=f"{n}.ipynb"))
        server.wait_for_kernel(ids[-1])  # many that start at once take each other's ports
    where, vault = known(server)
    vault.put(where.origin, Secret(server.token))
    # As a listing has them: the server calls a kernel "starting" until a WebSocket was opened to it.
    return [dataclasses.replace(found(server, kernel_id), state="unused") for kernel_id in ids], vault


def _sleep(pool: Pool, kernels: list[Kernel], transport_name: str) -> None:
    results = run(FanOut(pool, kernels, Cell(SLEEP), transport=transport_name))
    results.raise_for_error()


def _warm(number: int, transport_name: str, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    kernels, vault = _kernels(stack, number)
    pool = Pool(vault)
    stack.callback(pool.close)
    for kernel in kernels:  # more than a fan-out keeps open by itself
        pool.connect(kernel, transport_name)
    cases: dict[str, Case] = {"ours": functools.partial(_sleep, pool, kernels, transport_name)}
    if transport_name == "zmq":
        cases["jupyter_client alone"] = _floor(stack, kernels)
    if number == 8 and importlib.util.find_spec("ipyparallel") is not None:
        cases["ipyparallel"] = _engines(stack, number)
    return cases


def _floor(stack: contextlib.ExitStack, kernels: list[Kernel]) -> Case:
    """The least that it can take: requests that are sent one after the other, and nothing is shown."""
    clients = []
    for kernel in kernels:
        client = client_of(kernel.connection_file)
        stack.callback(client.stop_channels)
        clients.append(client)

    def run_on_all() -> None:
        for client, asked in [(client, client.execute(SLEEP)) for client in clients]:
            while client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != asked:
                pass

    return run_on_all


def _cold(number: int, transport_name: str, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    kernels, vault = _kernels(stack, number)

    def ours() -> None:
        pool = Pool(vault)
        try:
            _sleep(pool, kernels, transport_name)
        finally:
            pool.close()

    return {"ours": ours}


def _engines(stack: contextlib.ExitStack, number: int) -> Case:
    """The same on engines of ipyparallel's own."""
    ipyparallel = importlib.import_module("ipyparallel")
    os.environ.setdefault("IPYTHONDIR", stack.enter_context(tempfile.TemporaryDirectory()))
    client = stack.enter_context(ipyparallel.Cluster(n=number))
    view = client[:]
    return lambda: view.execute(SLEEP, block=True) and None


ROWS = [
    *(
        Row(f"sleep(1) on {number} kernels over {name}, warm", functools.partial(_warm, number, name), limit, rounds=5)
        for number, limit in ((8, LIMIT_8), (48, LIMIT_48))
        for name in ("zmq", "ws")
    ),
    *(
        Row(
            f"sleep(1) on {number} kernels over {name}, with connecting",
            functools.partial(_cold, number, name),
            limit,
            3,
        )
        for number, limit in ((8, CONNECTING_8), (48, CONNECTING_48))
        for name in ("zmq", "ws")
    ),
]
