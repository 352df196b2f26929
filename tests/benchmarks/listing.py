"""How long a look around takes (G22, G23): three healthy servers, then ten of which three are bad."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.models import Server
from tests.benchmarks.harness import Case, Row
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer

G22_SECONDS, G23_SECONDS = 3.2, 0.15
ANSWER = http(body=b'[{"id": "k", "name": "python3"}]')


def _three(stack: contextlib.ExitStack) -> Mapping[str, Case]:
    """Three real servers with a kernel each; who listens there is checked."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    runtime = directory / "runtime"
    runtime.mkdir(mode=0o700)
    for number in range(3):
        home = directory / str(number)
        home.mkdir()
        server = stack.enter_context(JupyterServer(home, runtime_dir=runtime))
        server.start_kernel(path=f"{number}.ipynb")
    os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
    vault = Vault()

    def ours() -> None:
        listing = look([], vault)
        assert len(listing.servers) == 3 and len(listing.kernels) == 3

    return {"look": ours}


def _ten(stack: contextlib.ExitStack) -> Mapping[str, Case]:
    """Ten servers: one is frozen, one drips, one refuses."""

    def drip(connection: object, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")  # type: ignore[attr-defined]
        while not dripping.closing.wait(0.2):
            connection.sendall(b" ")  # type: ignore[attr-defined]

    good = [stack.enter_context(RawServer(ANSWER)).server(f"good{number}") for number in range(7)]
    frozen = stack.enter_context(RawServer(lambda connection, request: frozen.closing.wait(20) and None))
    dripping = stack.enter_context(RawServer(drip))
    url = parse_base_url(f"http://127.0.0.1:{free_port()}/")
    bad = [frozen.server("frozen"), dripping.server("dripping"), Server(url.url, "refusing", url.origin)]

    def ours() -> None:
        listing = look([*good, *bad], Vault(), local=False)
        assert sum(bool(report.kernels) for report in listing.servers) == 7
        assert sum(bool(report.problem and report.remedy) for report in listing.servers if report.server in bad) == 3

    return {"look": ours}


ROWS = [
    Row("G23: a look at three healthy servers", _three, G23_SECONDS, rounds=40),
    Row("G22: a look at ten servers, three of them bad", _ten, G22_SECONDS, rounds=1, warm_up=0),
]
