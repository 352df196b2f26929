"""Tell which kernels are ready though their server calls them `starting`.

A server learns a kernel's state from what the kernel tells a client, and there has been none yet. No request is sent
to find out: it would be the kernel's first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kernel_bridge_magic.discovery.heartbeat import Endpoint
from kernel_bridge_magic.discovery.processes import is_at_work, listening_pids
from kernel_bridge_magic.models import Kernel, Origin

_STARTED_SECONDS = 5.0  # since a kernel elsewhere was started, or was last heard by its server


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

    A kernel of this machine is ready when its heartbeat answers (`beats`, by connection file) and its process waits:
    a heartbeat is answered before the kernel has imported all that its profile wants. For a kernel elsewhere only time
    can tell, by the clock of its own server (`clocks`).
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
