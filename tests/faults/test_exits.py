"""A Python that ends with a connection open ends at once, and says nothing of it (G27)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.lanes import a_kernel
from tests.faults.proxy import FaultProxy
from tests.support.servers import JupyterServer
from tests.support.transports import TRANSPORTS

LongRun = Callable[[str, str], None]
ROOT = Path(__file__).parents[2]
WAYS = [(transport_name, how) for transport_name in TRANSPORTS for how in ("idle", "running", "thread", "live")] + [
    ("ws", "broken")
]
BOUND = 2.0


def seconds_to_end(server: JupyterServer, kernel: str, transport_name: str, how: str) -> float:
    """Start a process that connects, and give how long it took to end."""
    with FaultProxy(server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/" if how == "broken" else server.url
        arguments = (url, server.token, kernel, str(server.connection_file(kernel)), transport_name, how)
        env = os.environ | {
            "JUPYTER_RUNTIME_DIR": str(server.runtime_dir),
            "JUPYTER_CONFIG_DIR": str(server.runtime_dir / "none"),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.exits", *arguments],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None and process.stderr is not None
            if "ends\n" not in iter(process.stdout.readline, ""):
                raise AssertionError(f"it never came to its end: {process.stderr.read()}")
            began = time.monotonic()
            proxy.refuse()
            proxy.reset()
            # Not to the end of the pipes: what has been heard of the process is what counts.
            status = process.wait(30)
            seconds = time.monotonic() - began
            said = process.stderr.read()
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    # What comes late in a terminal stands below a line of ours.
    line = r"\S+ shows this after its cell has ended\n" if how == "live" else ""
    assert status == 0 and re.fullmatch(line, said), (status, said)
    return seconds


@pytest.mark.bounded
@pytest.mark.parametrize(("transport_name", "how"), WAYS)
def test_g27_the_end_of_python_waits_for_nothing(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, how: str
) -> None:
    assert seconds_to_end(jupyter_server, own_kernel, transport_name, how) <= BOUND


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_g27_twenty_times_each(jupyter_server: JupyterServer, own_kernel: str, long_run: LongRun) -> None:
    def once(way: tuple[str, str]) -> float:
        with a_kernel(jupyter_server) as kernel:  # the last one's cell may still run in its own
            return seconds_to_end(jupyter_server, kernel, *way)

    def times(way: tuple[str, str]) -> float:
        return max(once(way) for _ in range(20))

    with ThreadPoolExecutor(2, "way") as pool:  # most of the time goes into starting Python
        slowest = dict(zip([" ".join(way) for way in WAYS], pool.map(times, WAYS), strict=True))
    assert max(slowest.values()) <= BOUND, slowest
    words = ", ".join(f"{way} {seconds:.1f} s" for way, seconds in slowest.items())
    long_run(
        "G27: end of Python with a live connection",
        f"{20 * len(WAYS)} ends, no error on stderr; slowest: {words}",
    )
