"""Servers as the user names them: a URL made a `Server`, a listing kept to one server."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta

from kernel_bridge_magic.auth import Secret
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.levels import is_server
from kernel_bridge_magic.models import Kernel, Listing, Server
from kernel_bridge_magic.urls import parse_base_url

__all__ = ["may_have_unread", "only", "read_url"]

_RECENTLY = timedelta(minutes=10)


def read_url(url: str, *, name: str = "", source: str, trusted: bool = False) -> tuple[Server, Secret | None]:
    """Make a server of its URL, and of the token in the URL a secret.

    Raises:
        BadServer: the URL or the name cannot be used.
    """
    base = parse_base_url(url)
    is_socket = base.origin.scheme == "unix"
    if "::" in name or name.startswith(("#", "-")) or name != name.strip():
        raise BadServer(f"{name!r} cannot be a server's name: no '::', no leading '#' or '-', no spaces at its ends")
    server = Server(
        url=base.url,
        name=name or (os.path.basename(base.origin.host) if is_socket else f"{base.origin.host}:{base.origin.port}"),
        origin=base.origin,
        source=source,
        socket_path=base.origin.host if is_socket else "",
        trusted=trusted,
    )
    return server, Secret(base.token) if base.token else None


def only(listing: Listing, server: str) -> Listing:
    """Keep a listing to the server of that name or URL.

    Raises:
        BadServer: it is not among those that were asked.
    """
    reports = tuple(report for report in listing.servers if is_server(server, report.server))
    if not reports:
        known = ", ".join(report.server.name for report in listing.servers) or "none"
        raise BadServer(f"no server is called {server!r} (known: {known}); add it with %servers --add URL --name NAME")
    kernels = tuple(kernel for kernel in listing.kernels if kernel.server and is_server(server, kernel.server))
    return dataclasses.replace(listing, kernels=kernels, servers=reports, skipped=())


def may_have_unread(kernel: Kernel) -> bool:
    """Whether the server may keep output for a tab that is closed: a new session throws it away (H2)."""
    if kernel.connections != 0 or not kernel.sessions:
        return False
    recent = kernel.last_activity is not None and datetime.now(UTC) - kernel.last_activity < _RECENTLY
    return kernel.state == "busy" or recent
