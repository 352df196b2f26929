"""What `--durable` adds to a cell: the time of one line, and of many, with and without.

python -m tests.benchmarks.bench_durable
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from kernel_bridge_magic.connection.connection import KernelConnection
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

CELLS = {"print(1)": 60, "for i in range(2000): print(i, flush=True)": 5, "print('x' * 10_000_000)": 5}


def seconds(kernel: KernelConnection, code: str, runs: int, durable: bool) -> float:
    """The median time of a cell."""
    times = []
    for _ in range(runs + 2):
        began = time.perf_counter()
        kernel.execute(code, durable=durable)
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def main() -> None:
    """Print the times."""
    with tempfile.TemporaryDirectory() as directory, JupyterServer(Path(directory)) as server:
        kernel_id = server.start_kernel(path="a.ipynb")
        for transport_name in ("zmq", "ws"):
            with connect_over(server, found(server, kernel_id), transport_name)[0] as kernel:
                for code, runs in CELLS.items():
                    plain, durable = (seconds(kernel, code, runs, mode) for mode in (False, True))
                    print(f"{transport_name}  {code:45}  {plain * 1000:8.1f} ms  durable {durable * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
