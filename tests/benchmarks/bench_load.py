"""What `%load_ext kernel_bridge_magic` costs in a running notebook kernel, beyond what the kernel had imported.

python -m tests.benchmarks.bench_load
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.servers import ConsoleKernel

LIMIT_MS = 50.0  # the project's promise
ROOT = Path(__file__).parents[2]
CODE = """
import time as _time
_began = _time.perf_counter()
get_ipython().run_line_magic("load_ext", "kernel_bridge_magic")
1000 * (_time.perf_counter() - _began)
"""


def measure(directory: Path, runs: int = 5) -> list[float]:
    """Milliseconds of `%load_ext`, each in an ipykernel of its own that has run nothing else."""
    times = []
    for number in range(runs):
        with ConsoleKernel(directory / f"{number}" / "runtime", env={"PYTHONPATH": str(ROOT)}) as console:
            kernel = Kernel(id="bench", connection_file=str(console.connection_file))
            transport = ZMQTransport(kernel)
            transport.open(30)
            with KernelConnection(kernel, transport, Control(kernel, None)) as connection:
                times.append(float(connection.execute(CODE).text))
    return times


def main() -> None:
    """Print the times."""
    with tempfile.TemporaryDirectory() as directory:
        times = measure(Path(directory))
    shown = ", ".join(f"{time:.1f}" for time in times)
    print(f"%load_ext: median {statistics.median(times):.1f} ms of {shown}; limit {LIMIT_MS} ms")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
