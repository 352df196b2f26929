"""Who listens: looked at with psutil and in /proc before a secret goes out (FAULTS T2, T3)."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

from kernel_bridge_magic.access import descriptors

__all__ = [
    "LOOPBACK",
    "is_loopback",
    "is_ours",
    "is_suspended",
    "is_taken",
    "is_within",
    "listening_addresses",
    "listening_process",
    "owner",
    "peer",
    "stranger",
    "unix_address",
    "unix_listener",
    "who_listens",
]

#: What a listener on every address, or on loopback, is dialled at.
LOOPBACK = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "::1": "::1", "::ffff:0.0.0.0": "127.0.0.1"}


def is_ours(pid: int) -> bool:
    """Tell whether a process of this user runs under this pid, on this machine and in this pid namespace.

    Raises:
        CannotConnect: nobody can tell, since this process can open nothing more. So does `listening_addresses`.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not hasattr(os, "getuid") or bool(process.uids().real == os.getuid())
    except (psutil.Error, OSError, ValueError, OverflowError) as error:
        descriptors.check(error)
        return False


def listening_addresses(pid: int, port: int) -> list[str]:
    """Give the addresses to dial for this pid's listeners on this TCP port, loopback first; [] if there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        # psutil 6 renamed it, and warns about the old name.
        connections: Any = getattr(process, "net_connections", None) or process.connections
        found = [c.laddr.ip for c in connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]
    except (psutil.Error, OSError, ValueError, OverflowError) as error:
        descriptors.check(error)
        return []
    return sorted({LOOPBACK.get(ip, ip) for ip in found}, key=lambda ip: (ip != "127.0.0.1", ip != "::1", ip))


def listening_process(port: int) -> int | None:
    """Return the pid of this user's process that listens on a TCP port; None if there is none."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid():
                continue
            connections = getattr(process, "net_connections", None) or process.connections
            if any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections("tcp")):
                return int(process.pid)
        except psutil.Error:
            continue
    return None


def is_suspended(pid: int) -> bool:
    """Tell whether a process stands still, by a signal or a debugger."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except (psutil.Error, OSError):
        return False


def is_taken(ip: str, port: int) -> bool:
    """Tell whether anybody, of whatever user, listens at an address of this machine; False where that is not known."""
    name, everywhere = ("tcp6", "::") if ":" in ip else ("tcp", "0.0.0.0")
    try:
        # The table costs milliseconds. Where this may be bound nobody listens, and it is in nobody's way.
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((ip, port))
            return False
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return False
    # A socket for both families is in the other's table.
    listening = {_written(ip, port), _written(everywhere, port)}
    for _, local, _, state, *_ in _rows(f"/proc/net/{name}"):
        if state != _LISTEN:
            return False  # listeners stand first
        if local in listening:
            return True
    return False


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
    pid, uid, _gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("iII")))
    return pid, uid


def unix_listener(path: str) -> int | None:
    """Return the pid of who listens on a unix socket; None where nobody does, or that cannot be known."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(1.0)
            sock.connect(path)
            seen = peer(sock)
    except (OSError, ValueError):
        return None
    return seen[0] if seen and seen[0] > 0 else None  # 0: in a pid namespace that we do not see


def unix_address(directory: str, path: str, ending: str) -> str:
    """Return the absolute form of a unix socket's path, without its `ending`.

    One that is relative is so to where its process was when it began to listen. That is `directory`, or is asked of
    the process of ours that listens under such a path.
    """
    absolute = os.path.join(directory, path)
    if os.path.isabs(path) or os.path.exists(absolute + ending):
        return absolute
    import psutil

    try:
        rows: list[Any] = psutil.net_connections("unix") if _is_bound(path + ending) else []
        for row in rows:
            if row.laddr == path + ending and row.pid and is_ours(row.pid):
                there = os.path.join(psutil.Process(row.pid).cwd(), path)
                if unix_listener(there + ending) == row.pid:
                    return there
    except (psutil.Error, OSError):
        pass
    return absolute


def _is_bound(path: str) -> bool:
    """Tell whether any process listens under this very path, which costs less than to ask all of them."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            return any(line.rstrip("\n").endswith(f" {path}") for line in file)
    except OSError:
        return True  # no Linux


def is_loopback(address: str) -> bool:
    """Tell an address that only this machine has."""
    return address == "::1" or address.startswith(("127.", "::ffff:127."))


def is_within(sock: socket.socket) -> bool:
    """Tell a connection within this machine: a unix socket, loopback, or any address that is our own end, too.

    Raises:
        OSError: the connection has broken.
    """
    if sock.family == getattr(socket, "AF_UNIX", None):
        return True
    ip = sock.getpeername()[0]
    return is_loopback(ip) or bool(ip == sock.getsockname()[0])


def stranger(sock: socket.socket) -> str:
    """Name the user at the other end of a connection within this machine: `user bob`.

    "" if that is ourselves or root, or cannot be known, or if it leads to another machine.

    Raises:
        OSError: the connection has broken.
    """
    uid = owner(sock) if is_within(sock) else None
    if uid is None or uid in (0, os.getuid()):
        return ""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def owner(sock: socket.socket) -> int | None:
    """Give the uid of who listens at the other end of a connection within this machine; None where it is not known.

    Raises:
        OSError: the connection has broken.
    """
    if sock.family == getattr(socket, "AF_UNIX", None):
        seen = peer(sock)
        uid = seen[1] if seen else None
    else:
        uid = _listener(sock)
    # In a container that knows no users but ours, root outside it looks like a stranger.
    return None if uid == _UNMAPPED and not _sees_all_users() else uid


_UNMAPPED = 65534  # how Linux shows a uid that has none here, /proc/sys/kernel/overflowuid; else it is `nobody`


def _sees_all_users() -> bool:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() == ["0", "0", str(2**32 - 1)]
    except OSError:
        return True


def _listener(sock: socket.socket) -> int | None:
    """Look the listener's uid up in Linux's table of TCP sockets, which names those of other users, too.

    Listeners stand first in it. If there is none any more, the uid is that of who has accepted the connection: a
    thief who closes the port at once is seen nevertheless. Where root listens, any of its servants may accept.
    """
    (ip, port), (own_ip, own_port) = (_plain(address) for address in (sock.getpeername(), sock.getsockname()))
    tables = [("tcp6", "", ["::"])]
    if ":" not in ip:
        tables = [("tcp", "", ["0.0.0.0"]), ("tcp6", "::ffff:", ["::", "::ffff:0.0.0.0"])]
    for name, prefix, everywhere in tables:
        listening = {_written(address, port) for address in [prefix + ip, *everywhere]}
        ends = [_written(prefix + ip, port), _written(prefix + own_ip, own_port)]
        accepted = None
        for _, local, remote, state, _, _, _, uid, _, inode in _rows(f"/proc/net/{name}"):
            if state == _LISTEN and local in listening:
                return int(uid)
            if [local, remote] == ends and inode != "0":  # 0: not accepted yet
                accepted = int(uid)
        if accepted is not None:
            return accepted
    return None


_LISTEN = "0A"  # TCP_LISTEN of the kernel's tcp_states.h


def _rows(path: str) -> Iterator[list[str]]:
    """Give the first ten words of each line but the heading; nothing where there is no such table."""
    try:
        with open(path, encoding="ascii") as file:
            next(file, "")
            for line in file:
                yield line.split()[:10]
    except OSError:
        return


def _plain(address: tuple[Any, ...]) -> tuple[str, int]:
    """Give address and port without a zone; IPv4 is written as such, also where an IPv6 socket speaks it."""
    return address[0].partition("%")[0].removeprefix("::ffff:"), address[1]


def _written(ip: str, port: int) -> str:
    """Write an address as the table does: hexadecimal, in words of the machine's byte order."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    words = (int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
