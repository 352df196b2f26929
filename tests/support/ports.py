"""Ports for the servers and kernels of tests, each named once.

They lie below those that the system gives out: a kernel's five ports are chosen a second before it opens them, and in a
suite that opens hundreds of connections in that second one of them was taken now and then. One counter for all
processes of this user keeps them from naming the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["CONFIG", "for_kernels", "free_port"]

_FIRST, _COUNT = 11_000, 21_000  # Linux gives out ports from 32768 on
#: a Jupyter server's configuration file that has its kernels take their ports from here
CONFIG = f"import runpy\nrunpy.run_path({__file__!r})['for_kernels']()\n"


def _next() -> int:
    file = Path(tempfile.gettempdir()) / f"kernel-bridge-test-ports-{os.getuid()}"
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        number = int(counter.read() or 0)
        counter.seek(0)
        counter.write(str(number + 1))
    return _FIRST + number % _COUNT


def free_port(host: str = "127.0.0.1") -> int:
    """Name a port on which nobody listens now, and that was not named for a long time."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(2000):
        port = _next()
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((host, port))
            return port
    raise AssertionError(f"no port is free on {host}")


def for_kernels() -> None:
    """Have `jupyter_client`, in this process, take the ports of the kernels that it starts from here."""
    from jupyter_client.connect import LocalPortCache

    def find_available_port(self: Any, ip: str) -> int:
        return free_port(ip)

    LocalPortCache.find_available_port = find_available_port
