"""Find the servers of this user by their info files: those whose very process lives on this machine and listens."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.urls import server_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.discovery.runtime_files import FileContent, Refused, number, text
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.reports import Skipped

#: A process (pid, start), its port, and where it was seen to listen: looking costs 10 ms.
_HOSTS: dict[tuple[int, float, int], list[str]] = {}
_MOST_HOSTS = 1000
_CLOCK_SLACK = 2.0  # seconds; a process start is only known to a clock tick, and the clock may be set


class Stale(Refused):
    """A file whose process does not run here any more."""


def read_servers(files: Sequence[FileContent], vault: Vault) -> tuple[list[Server], list[Skipped]]:
    """Return the servers of info files whose very process lives here and listens; their tokens go to the vault.

    A server is dialled where that process listens, on loopback if it does, and never by the URL in the file: DNS
    would decide where the token goes (T5).
    """
    servers, skipped = [], []
    for file in files:
        try:
            servers.append(_server(file, vault))
        except (Refused, BadServer) as error:
            skipped.append(Skipped(file.path, str(error), stale=isinstance(error, Stale)))
    return servers, skipped


def _server(file: FileContent, vault: Vault) -> Server:
    pid = number(file.data, "pid", 2**31)
    socket_path, token = text(file.data, "sock"), text(file.data, "token")
    base_path = text(file.data, "base_url") or "/"
    if not base_path.startswith("/") or not base_path.isprintable() or "\\" in base_path or "?" in base_path:
        raise Refused("its base_url is not a path")
    started = _refuse_dead(pid, file.mtime)
    strangers: frozenset[str] = frozenset()
    if socket_path:
        if not os.path.isabs(socket_path) or "\0" in socket_path:
            raise Refused("its socket's path is not absolute")
        url, origin = server_url("unix", socket_path, 0, base_path)
        name = os.path.basename(socket_path)
    else:
        port = number(file.data, "port", 65535)
        hosts = _hosts(pid, started, port)
        strangers = frozenset(ip for ip in ("127.0.0.1", "::1") if ip not in hosts and peers.is_taken(ip, port))
        secure = file.data.get("secure", False)
        if not isinstance(secure, bool):
            raise Refused("its 'secure' is neither true nor false")
        url, origin = server_url("https" if secure else "http", hosts[0], port, base_path)
        name = f"localhost:{port}"
    if token:
        vault.put(origin, Secret(token), found=True)
    return Server(
        url,
        name,
        origin,
        "runtime",
        pid,
        version=text(file.data, "version"),
        socket_path=socket_path,
        strangers=strangers,
    )


def _hosts(pid: int, started: float, port: int) -> list[str]:
    """Return where a process listens. It does so to its end; before a secret goes out it is looked at once more."""
    key = pid, started, port
    hosts = _HOSTS.get(key) or peers.listening_addresses(pid, port)
    if not hosts:
        raise Refused(f"its process {pid} does not listen on port {port}")
    if len(_HOSTS) >= _MOST_HOSTS:
        _HOSTS.clear()
    _HOSTS[key] = hosts
    return hosts


def _refuse_dead(pid: int, mtime: float) -> float:
    """Return when the process of a file began, in Unix seconds."""
    import psutil

    if not peers.is_ours(pid):
        raise Stale(f"its process {pid} is none of yours on this machine; the file is stale, or of another machine")
    try:
        started = psutil.Process(pid).create_time()
    except psutil.Error:
        raise Stale(f"its process {pid} has just ended") from None
    if started > mtime + _CLOCK_SLACK:
        raise Stale(f"its process {pid} is younger than the file, which is stale or of another machine")
    return started
