"""Servers as the user names them: a URL made a `Server`, a listing kept to one server."""

from __future__ import annotations

import dataclasses
import os
import re
from datetime import UTC, datetime, timedelta

from kernel_bridge_magic.auth import Secret
from kernel_bridge_magic.entries import Entry, check_name
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.levels import servers_named
from kernel_bridge_magic.models import Kernel, Listing, Server
from kernel_bridge_magic.urls import parse_base_url

__all__ = ["may_have_unread", "only", "read_url", "without_secrets"]

_RECENTLY = timedelta(minutes=10)


def read_url(url: str, *, name: str = "", source: str, entry: Entry | None = None) -> tuple[Server, Secret | None]:
    """Make a server of its URL, and of the token in the URL a secret; `entry` has what else is known of it.

    Raises:
        BadServer: the URL or the name cannot be used.
    """
    base = parse_base_url(url)
    is_socket = base.origin.scheme == "unix"
    check_name(name)
    server = Server(
        url=base.url,
        name=name or (os.path.basename(base.origin.host) if is_socket else f"{base.origin.host}:{base.origin.port}"),
        origin=base.origin,
        source=source,
        socket_path=base.origin.host if is_socket else "",
        trusted=entry is not None and entry.trust,
        ca_file=os.path.expanduser(entry.ca_file) if entry else "",
        allow_plain_http=entry is not None and entry.allow_plain_http,
    )
    return server, Secret(base.token) if base.token else None


def only(listing: Listing, server: str, face: Face = PYTHON) -> Listing:
    """Keep a listing to the server of that name; `face` is who asks.

    Raises:
        BadServer: it is not among those that were asked.
    """
    named = servers_named(server, [report.server for report in listing.servers])
    reports = tuple(report for report in listing.servers if report.server in named)
    if not reports:
        known = ", ".join(report.server.name for report in listing.servers) or "none"
        shown = without_secrets(server)
        raise BadServer(f"no server is called {shown!r} (known: {known}); add it with {face.add}")
    everything = (*listing.kernels, *listing.claims)  # whoever names a server means what that lists
    kernels = tuple(kernel for kernel in everything if kernel.server in named)
    return dataclasses.replace(listing, kernels=kernels, servers=reports, skipped=(), claims=())


def without_secrets(name: str) -> str:
    """Cut off what may be a secret in a text that should name a server: a URL's query, and a user's password."""
    return re.sub(r"[^/@:]*:[^/@]*@", "", re.split("[?#]", name)[0])


def may_have_unread(kernel: Kernel) -> bool:
    """Whether the server may keep output for a tab that is closed: a new session throws it away (H2)."""
    if kernel.connections != 0 or not kernel.sessions:
        return False
    recent = kernel.last_activity is not None and datetime.now(UTC) - kernel.last_activity < _RECENTLY
    return kernel.state == "busy" or recent
