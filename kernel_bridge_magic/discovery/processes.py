"""The processes of kernels of this machine: who they are, whether they are at work, what they use.

Nothing is asked of a kernel: a control request makes its server call a busy kernel idle (FACTS.md#busy-kernels).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.discovery.heartbeat import Endpoint
from kernel_bridge_magic.discovery.standalone import endpoint_at
from kernel_bridge_magic.reports import Usage

_SAMPLE_SECONDS = 0.1  # CPU is what is used in a time; all processes are looked at over the same


def listening_pids(where: Iterable[Endpoint]) -> dict[str, int]:
    """Return for each connection file the process of this user that listens where it says, if one is seen.

    Raises:
        CannotConnect: this process can open nothing more.
    """
    endpoints = list(where)
    by_port = peers.listening_pids({item.shell_port for item in endpoints if item.transport == "tcp"})
    found = {}
    for item in endpoints:
        is_tcp = item.transport == "tcp"
        pid = by_port.get(item.shell_port) if is_tcp else peers.unix_listener(f"{item.ip}-{item.shell_port}")
        if pid is not None and peers.is_ours(pid):
            found[item.path] = pid
    return found


def is_at_work(pid: int) -> bool:
    """Return whether a process computes, reads a disk or sleeps, rather than waits for somebody to speak to it.

    Only its first thread counts: that is where a kernel loads what it needs.
    """
    import psutil

    with contextlib.suppress(psutil.Error):
        if psutil.Process(pid).status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP):
            return True
    return peers.is_asleep(pid)


def usages(connection_files: Iterable[str]) -> dict[str, Usage]:
    """Return what the processes of these connection files use, of those that are seen; takes 0.1 s and a little."""
    import psutil

    pids = listening_pids(filter(None, map(endpoint_at, connection_files)))
    processes: dict[str, Any] = {}
    for path, pid in pids.items():
        with contextlib.suppress(psutil.Error):
            processes[path] = psutil.Process(pid)
            processes[path].cpu_percent()  # since when the next call counts
    if processes:
        time.sleep(_SAMPLE_SECONDS)
    return dict(_used(processes))


def _used(processes: Mapping[str, Any]) -> Iterable[tuple[str, Usage]]:
    import psutil

    for path, process in processes.items():
        with contextlib.suppress(psutil.Error), process.oneshot():
            started = datetime.fromtimestamp(process.create_time()).astimezone()
            yield path, Usage(process.pid, process.memory_info().rss, process.cpu_percent(), started)
