"""Many runs of one thing, several at a time, each lane with a kernel of its own; and what they gave in words."""

from __future__ import annotations

import contextlib
import math
import statistics
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kernel_bridge_magic.errors import Fate, KernelBridgeError
from tests.faults.truth import Run, run
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found

Given = TypeVar("Given")


@contextlib.contextmanager
def a_kernel(server: JupyterServer) -> Iterator[str]:
    """The id of a kernel that is idle; it is deleted at the end, if it still is there."""
    kernel = server.start_kernel(path=f"lane-{uuid.uuid4().hex[:8]}.ipynb")
    try:
        server.wait_for_kernel(kernel)
        yield kernel
    finally:
        server.delete_kernel(kernel)


def in_lanes(server: JupyterServer, lanes: int, runs: int, work: Callable[[str], Given]) -> list[Given]:
    """Do `work` with the id of a kernel `runs` times in all; give what each gave. The first failure is raised."""

    def one(lane: int) -> list[Given]:
        with a_kernel(server) as kernel:
            return [work(kernel) for _ in range(lane, runs, lanes)]

    with ThreadPoolExecutor(lanes, "lane") as pool:
        return [given for lane in pool.map(one, range(lanes)) for given in lane]


def idle(server: JupyterServer, kernel: str) -> None:
    """Wait until a kernel runs cells, whatever was done to it before."""

    def runs() -> bool:
        with (
            contextlib.suppress(KernelBridgeError),
            connect_over(server, found(server, kernel), "ws")[0] as connection,
        ):
            return connection.execute("1", timeout=30).fate is Fate.OK
        return False

    # A server calls a kernel that has just started "starting" until the first client connects to it.
    wait_for(runs, "the kernel's start", every=0.2)


def told_after(
    server: JupyterServer, kernel: str, transport_name: str, directory: Path, end: Callable[[int], object]
) -> tuple[float, Run]:
    """End a kernel in the middle of a cell by `end(pid)`; give the seconds until that was told, and the cell."""
    idle(server, kernel)
    with connect_over(server, found(server, kernel), transport_name)[0] as connection:
        pid = int(connection.execute("import os; os.getpid()").text)
        cell = run(connection, directory, 5000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        began = cell.now
        end(pid)
        cell.join()
        assert cell.fate is Fate.DIED, cell.told
        cell.check()
        cell.path.unlink()
        return cell.ended - began, cell


def in_words(seconds: Sequence[float], bound: float) -> str:
    """Sum up how long something took in many runs."""
    ordered = sorted(seconds)
    p95 = ordered[math.ceil(len(ordered) * 0.95) - 1]
    median = statistics.median(ordered)
    return (
        f"{len(ordered)} runs: median {median:.2f} s, p95 {p95:.2f} s, at most {ordered[-1]:.2f} s (bound {bound:g} s)"
    )
