"""What `%load_ext kernel_bridge_magic` costs in a running notebook kernel, beyond what the kernel had imported."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.benchmarks.harness import Case, Row
from tests.support.servers import ConsoleKernel

LIMIT_SECONDS = 0.05  # the project's promise
ROOT = Path(__file__).parents[2]
CODE = """
import time as _time
_began = _time.perf_counter()
get_ipython().run_line_magic("load_ext", "kernel_bridge_magic")
_time.perf_counter() - _began
"""


def load(directory: Path) -> float:
    """Return the seconds of `%load_ext` in an ipykernel of its own, which has run nothing else."""
    with ConsoleKernel(directory / "runtime", env={"PYTHONPATH": str(ROOT)}) as console:
        kernel = Kernel(id="bench", connection_file=str(console.connection_file))
        transport = ZMQTransport(kernel)
        transport.open(30)
        with KernelConnection(kernel, transport, Control(kernel, None)) as connection:
            return float(connection.execute(CODE).text)


def _prepare(stack: contextlib.ExitStack) -> Mapping[str, Case]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    numbers = itertools.count()
    return {"load_ext": lambda: load(directory / str(next(numbers)))}


ROWS = [Row("%load_ext in a running kernel", _prepare, LIMIT_SECONDS, rounds=5, warm_up=0)]
