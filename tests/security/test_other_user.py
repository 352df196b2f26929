"""A listener that belongs to somebody else, on the port that a runtime file of ours names (G16, T2, T3)."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.access.sockets import open_socket
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.errors import KernelBridgeError, ServerUnreachable
from kernel_bridge_magic.models import Kernel, Origin, Server
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.records import Record

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

SECRET = "canary-of-another-user"
# Becomes `nobody`, listens, and prints of each connection how many bytes came over it.
THIEF = """
import os, socket
os.setgid(65534); os.setuid(65534)
s = socket.create_server(('127.0.0.1', 0), backlog=500)
print(s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    c.settimeout(5)
    n = 0
    try:
        while data := c.recv(65536): n += len(data)
    except OSError: pass
    print(n, flush=True)
"""


class Thief:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", THIEF], stdout=subprocess.PIPE, text=True, cwd="/", env={}
        )
        assert self.process.stdout is not None
        self.out = self.process.stdout
        self.port = int(self.out.readline())

    def server(self, pid: int) -> tuple[Server, Vault]:
        """A server as a runtime file told of it, before the port changed hands."""
        origin = Origin("http", "127.0.0.1", self.port, "/")
        vault = Vault()
        vault.put(origin, Secret(SECRET))
        return Server(f"http://127.0.0.1:{self.port}/", "lab", origin, "runtime", pid), vault


@pytest.fixture
def thief() -> Iterator[Thief]:
    thief = Thief()
    yield thief
    thief.process.kill()
    thief.process.wait()
    thief.out.close()


def ask(thief: Thief, count: int) -> list[float]:
    """Ask so often, in all ways, with each pid that a file could name; return how long it took until the refusal."""
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    seconds = []
    for number in range(count):
        pid = (os.getpid(), thief.process.pid, ended.pid, 1)[number % 4]
        server, vault = thief.server(pid)
        began = time.perf_counter()
        with pytest.raises(KernelBridgeError) as refused:
            if number % 5:
                ServerAPI(server, vault).kernels()
            else:
                WebSocketTransport(Kernel("k", server=server), server, vault).open(5)
        seconds.append(time.perf_counter() - began)
        assert isinstance(refused.value, ServerUnreachable)
        assert "nothing was sent" in str(refused.value)
        assert thief.out.readline() == "0\n"
    return seconds


def test_it_is_told_nothing(thief: Thief) -> None:
    ask(thief, 40)


def check_ours(count: int) -> list[float]:
    """Give how long it takes to connect to a server of ours and to see that it is: what each use of one pays."""
    seconds = []
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        port = listener.getsockname()[1]
        server = Server(
            f"http://127.0.0.1:{port}/", "lab", Origin("http", "127.0.0.1", port, "/"), "runtime", os.getpid()
        )
        for _ in range(count):
            began = time.perf_counter()
            open_socket(server, 5).close()
            seconds.append(time.perf_counter() - began)
            listener.accept()[0].close()
    return seconds


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_it_is_told_nothing_a_thousand_times(thief: Thief, record: Record) -> None:
    seconds = sorted(ask(thief, 1000))
    checks = sorted(check_ours(200))
    record(
        attempts=1000,
        bytes_told=0,
        refusal_median_ms=round(statistics.median(seconds) * 1000, 1),
        refusal_p95_ms=round(seconds[950] * 1000, 1),
        check_median_ms=round(statistics.median(checks) * 1000, 1),
        check_p95_ms=round(checks[190] * 1000, 1),
    )


@pytest.mark.parametrize("whose", ["ours", "the thief's"])
def test_nor_when_a_file_names_its_port(
    thief: Thief, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    tmp_path.chmod(0o700)
    pid = os.getpid() if whose == "ours" else thief.process.pid
    info = {"pid": pid, "port": thief.port, "token": SECRET, "base_url": "/", "secure": False, "sock": ""}
    path = tmp_path / f"jpserver-{pid}.json"
    path.write_text(json.dumps(info))
    path.chmod(0o600)
    vault = Vault()
    listing = look([], vault)
    assert listing.servers == ()
    assert [item.path for item in listing.skipped] == [str(path)]
    assert path.exists()
    assert not vault.has(Origin("http", "127.0.0.1", thief.port, "/"))
    with pytest.raises(ServerUnreachable):  # the first connection that comes: nothing had come before
        server, vault = thief.server(pid)
        ServerAPI(server, vault).kernels()
    assert thief.out.readline() == "0\n"
