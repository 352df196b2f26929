"""What `kernel-bridge exec --code 1+1` takes from start to exit, next to the imports that it cannot do without.

python -m tests.benchmarks.bench_exec
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.servers import JupyterServer

LIMIT = 1.5  # times the imports: the project's promise
IMPORTS = "import websocket, http.client, jupyter_client.session"


def seconds(arguments: list[str], env: Mapping[str, str], runs: int = 7) -> float:
    """The median time of a command; the first two runs warm it up (byte code, file cache)."""
    times = []
    for _ in range(runs + 2):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], env=env, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def main() -> None:
    """Print the times."""
    with tempfile.TemporaryDirectory() as directory, JupyterServer(Path(directory)) as server:
        server.start_kernel(path="a.ipynb")
        env = {key: value for key, value in server.env.items() if key != "PYTHONDONTWRITEBYTECODE"}
        base = seconds(["-c", IMPORTS], env)
        print(f"the imports: {base:.3f} s; limit {LIMIT} times that")
        for transport_name in ("zmq", "ws"):
            whole = seconds(["-m", "kernel_bridge_magic", "exec", "--code", "1+1", "--transport", transport_name], env)
            print(f"exec over {transport_name}: {whole:.3f} s, {whole / base:.2f} times")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
