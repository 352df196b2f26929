"""The two functions that Python code begins with: `kernels()` and `connect()`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from kernel_bridge_magic.bridge import Bridge
from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.matching import find_many
from kernel_bridge_magic.models import Kernel

__all__ = ["connect", "kernels"]


@lru_cache(maxsize=1)
def _bridge() -> Bridge:
    return Bridge()


def kernels(match: str = "", *, server: str | None = None) -> KernelList:
    """List the kernels in reach, in 3 s at most: all, or those that `match` could mean.

    `server` is a name or URL; without it every server of this user on this machine is asked.

    Raises:
        BadServer: no such server is known.
        BadMatch: `match` cannot be understood.
    """
    listing = _bridge().look(server)
    found = find_many(match, listing.kernels, plain=True) if match else None
    return KernelList(listing, found, now=datetime.now(UTC))


def connect(match: str | Kernel, *, server: str | None = None, transport: str = "auto") -> KernelConnection:
    """Connect to the one kernel that `match` means, or to a `Kernel` that was listed.

    `transport` is `auto`, `zmq` or `ws`. The caller closes the connection, best with `with`.

    Raises:
        KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: `match` does not mean one kernel.
        LinkError, ServerError: the kernel cannot be connected to.
    """
    bridge = _bridge()
    kernel = match if isinstance(match, Kernel) else bridge.find(match, server)
    return bridge.open(kernel, transport)
