"""What `kernel-bridge exec --code 1+1` takes from start to exit, next to the imports that it cannot do without."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.harness import Case, Row
from tests.support.servers import JupyterServer

LIMIT = 1.5  # times the imports: the project's promise
IMPORTS = "import websocket, http.client, jupyter_client.session"


def _prepare(transport_name: str, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    server = stack.enter_context(JupyterServer(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
    server.wait_for_kernel(server.start_kernel(path="a.ipynb"))
    env = {key: value for key, value in server.env.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], env=env, check=True, capture_output=True)

    whole = ("-m", "kernel_bridge_magic", "exec", "--code", "1+1", "--transport", transport_name)
    return {"exec": functools.partial(run, *whole), "floor": functools.partial(run, "-c", IMPORTS)}


ROWS = [
    Row(f"exec -c 1+1 over {name}, times its imports", functools.partial(_prepare, name), LIMIT)
    for name in ("zmq", "ws")
]
