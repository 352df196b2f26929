"""The processes of kernels of this machine: who they are, what they use, whether they are at work, or still start.

Nothing is asked of a kernel: a control request makes its server call a busy kernel idle (FACTS.md#busy-kernels), and a
request to one that nobody has used would be its first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.discovery.heartbeat import Endpoint
from kernel_bridge_magic.discovery.standalone import endpoint_at
from kernel_bridge_magic.models import Kernel, Origin
from kernel_bridge_magic.reports import Usage

_SAMPLE_SECONDS = 0.1  # CPU is what is used in a time; all processes are looked at over the same
_LOOKS = 3  # at a process that may be at work
_STARTED_SECONDS = 5.0  # since a kernel elsewhere was started, or was last heard by its server


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
        pid = by_port.get(item.shell_port) if is_tcp else peers.unix_listener(item.shell_socket)
        if pid is not None and peers.is_ours(pid):
            found[item.path] = pid
    return found


def is_at_work(pid: int) -> bool:
    """Return whether a process computes, reads a disk or sleeps, rather than waits for somebody to speak to it.

    Only its first thread counts: that is where a kernel loads what it needs. A process that wakes up between the two
    questions seems to wait, so both are asked several times.
    """
    import psutil

    works = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return any(process.status() in works or peers.is_asleep(pid) for _ in range(_LOOKS))
    return False


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


def may_be_unused(kernel: Kernel) -> bool:
    """Return whether nothing is known of a kernel but that it was started, and that nobody is connected."""
    return kernel.state == "starting" and kernel.connections == 0 and not kernel.is_this_kernel


def with_unused(
    kernels: Sequence[Kernel],
    where: Mapping[str, Endpoint],
    beats: Callable[[str], bool],
    clocks: Mapping[Origin, datetime | None],
) -> list[Kernel]:
    """Return the kernels, with the state `unused` in place of `starting` where they are ready.

    A server learns a kernel's state from what the kernel tells a client, and there has been none yet. A kernel of this
    machine is ready when its heartbeat answers (`beats`, by connection file) and its process waits: a heartbeat is
    answered before the kernel has imported all that its profile wants. For a kernel elsewhere only time can tell, by
    the clock of its own server (`clocks`).
    """
    beating = {k.connection_file for k in kernels if may_be_unused(k) and k.connection_file in where}
    beating = {path for path in beating if beats(path)}
    pids = listening_pids(where[path] for path in beating) if beating else {}

    def is_unused(kernel: Kernel) -> bool:
        path = kernel.connection_file
        if path:
            return path in beating and not (path in pids and is_at_work(pids[path]))
        now = clocks.get(kernel.server.origin) if kernel.server else None
        then = kernel.last_activity
        return now is not None and then is not None and (now - then).total_seconds() >= _STARTED_SECONDS

    return [replace(k, state="unused") if may_be_unused(k) and is_unused(k) else k for k in kernels]
