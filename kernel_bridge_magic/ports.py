"""Who listens: looked at with psutil before a secret goes out (FAULTS T2, T3)."""

from __future__ import annotations

import os
import socket
from typing import Any

__all__ = ["LOOPBACK", "is_ours", "listening_addresses", "peer", "who_listens"]

#: What a listener on every address, or on loopback, is dialled at.
LOOPBACK = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "::1": "::1", "::ffff:0.0.0.0": "127.0.0.1"}


def is_ours(pid: int) -> bool:
    """Tell whether a process of this user runs under this pid, on this machine and in this pid namespace."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not hasattr(os, "getuid") or bool(process.uids().real == os.getuid())
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def listening_addresses(pid: int, port: int) -> list[str]:
    """Give the addresses to dial for this pid's listeners on this TCP port, loopback first; [] if there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        # psutil 6 renamed it, and warns about the old name.
        connections: Any = getattr(process, "net_connections", None) or process.connections
        found = [c.laddr.ip for c in connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]
    except (psutil.Error, OSError, ValueError, OverflowError):
        return []
    return sorted({LOOPBACK.get(ip, ip) for ip in found}, key=lambda ip: (ip != "127.0.0.1", ip != "::1", ip))


def who_listens(port: int) -> str:
    """Say in a few words who listens on a TCP port of this machine: `python (pid 12) of user bob`."""
    import psutil

    try:
        connections: list[Any] = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return "a process that cannot be looked at"
    rows = [c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port]
    pid = next((row.pid for row in rows if row.pid), None)
    if pid is None:
        return "a process of another user" if rows else "nobody that can be seen"
    try:
        process = psutil.Process(pid)
        return f"{process.name()} (pid {pid}) of user {process.username()}"
    except psutil.Error:
        return f"pid {pid}"


def peer(sock: socket.socket) -> tuple[int, int] | None:
    """Give pid and uid of who is at the other end of a connected unix socket; None where that cannot be known."""
    import struct

    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return pid, uid
