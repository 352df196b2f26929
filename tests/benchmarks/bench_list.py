"""How long a look around takes (G22, G23): three healthy servers, then ten of which three are bad.

python -m tests.benchmarks.bench_list
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.models import Server
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer

G22_SECONDS, G23_SECONDS = 3.2, 0.15
ANSWER = http(body=b'[{"id": "k", "name": "python3"}]')


def healthy(runs: int = 40) -> list[float]:
    """Seconds of each look at three real servers with a kernel each, who listens there checked."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        runtime = Path(directory) / "runtime"
        runtime.mkdir(mode=0o700)
        for number in range(3):
            home = Path(directory) / str(number)
            home.mkdir()
            server = stack.enter_context(JupyterServer(home, runtime_dir=runtime))
            server.start_kernel(path=f"{number}.ipynb")
        os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
        vault, times = Vault(), []
        for _ in range(runs + 2):
            began = time.perf_counter()
            listing = look([], vault)
            times.append(time.perf_counter() - began)
            assert len(listing.servers) == 3 and len(listing.kernels) == 3
        return sorted(times[2:])


def ten() -> tuple[float, int, int]:
    """Seconds of one look at ten servers, how many of them were listed, and how many explained."""

    def drip(connection: object, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")  # type: ignore[attr-defined]
        while not dripping.closing.wait(0.2):
            connection.sendall(b" ")  # type: ignore[attr-defined]

    with contextlib.ExitStack() as stack:
        good = [stack.enter_context(RawServer(ANSWER)).server(f"good{number}") for number in range(7)]
        frozen = stack.enter_context(RawServer(lambda connection, request: frozen.closing.wait(20) and None))
        dripping = stack.enter_context(RawServer(drip))
        url = parse_base_url(f"http://127.0.0.1:{free_port()}/")
        bad = [frozen.server("frozen"), dripping.server("dripping"), Server(url.url, "refusing", url.origin)]
        began = time.perf_counter()
        listing = look([*good, *bad], Vault(), local=False)
        took = time.perf_counter() - began
        explained = sum(bool(report.problem and report.remedy) for report in listing.servers if report.server in bad)
        return took, sum(bool(report.kernels) for report in listing.servers), explained


def main() -> None:
    """Print the times."""
    times = healthy()
    p95 = times[int(len(times) * 0.95)]
    print(f"G23, three healthy servers: median {times[len(times) // 2]:.3f} s, p95 {p95:.3f} s; limit {G23_SECONDS} s")
    took, listed, explained = ten()
    print(f"G22, ten servers: {took:.2f} s, {listed} listed, {explained} explained; limit {G22_SECONDS} s")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
