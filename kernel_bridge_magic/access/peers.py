"""Look with psutil, and in Linux's tables, who listens at the other end, before a secret goes out (T2, T3)."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Collection, Container
from typing import Any

from kernel_bridge_magic.access import descriptors, linux

#: What a listener on every address, or on loopback, is dialled at.
LOOPBACK = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "::1": "::1", "::ffff:0.0.0.0": "127.0.0.1"}


def is_ours(pid: int) -> bool:
    """Return whether a process of this user runs under this pid, on this machine and in this pid namespace.

    Raises:
        CannotConnect: nobody can tell, since this process can open nothing more. So does `listening_addresses`.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and _is_this_user_s(process)
    except (psutil.Error, OSError, ValueError, OverflowError) as error:
        descriptors.check(error)
        return False


def _is_this_user_s(process: Any) -> bool:
    """Return whether a process is this user's; raises what psutil raises."""
    if hasattr(os, "getuid"):
        return bool(process.uids().real == os.getuid())
    import psutil

    return bool(process.username() == psutil.Process().username())


def listening_addresses(pid: int, port: int) -> list[str]:
    """Return the addresses to dial for this pid's listeners on this TCP port, loopback first; [] if there is none."""
    import psutil

    try:
        found = linux.listened_at(pid, port) if linux.has_tables() else _listening_at(psutil.Process(pid), port)
    except (psutil.Error, OSError, ValueError, OverflowError) as error:
        descriptors.check(error)
        return []
    return sorted({LOOPBACK.get(ip, ip) for ip in found}, key=lambda ip: (ip != "127.0.0.1", ip != "::1", ip))


def listening_process(port: int, ips: Container[str] = ()) -> int | None:
    """Return the pid of this user's process that listens on a TCP port, at one of `ips` if any are given; else None."""
    import psutil

    for process in psutil.process_iter():
        try:
            if not _is_this_user_s(process):
                continue
            if any(not ips or ip in ips for ip in _listening_at(process, port)):
                return int(process.pid)
        except psutil.Error:
            continue
    return None


def listening_pids(ports: Collection[int]) -> dict[int, int]:
    """Return the pid of a process that listens on each of these TCP ports, for the ports where one is seen.

    One look serves all ports: it costs 10-100 ms.

    Raises:
        CannotConnect: this process can open nothing more.
    """
    import psutil

    found: dict[int, int] = {}
    try:
        for row in _listeners(psutil) if ports else ():
            if row.pid and row.laddr.port in ports:
                found.setdefault(row.laddr.port, row.pid)
    except (psutil.Error, OSError) as error:
        descriptors.check(error)
        # macOS lists those of all processes to root only.
        return {port: pid for port in ports if (pid := listening_process(port)) is not None}
    return found


def _listeners(whose: Any) -> list[Any]:
    """Return the rows of TCP listeners of a process, or of all (the module psutil); raises what psutil raises."""
    return [row for row in _connections(whose, "tcp") if row.status == "LISTEN"]


def _listening_at(process: Any, port: int) -> list[str]:
    """Return the addresses at which a process listens on a TCP port; raises what psutil raises."""
    return [row.laddr.ip for row in _listeners(process) if row.laddr.port == port]


def _connections(whose: Any, kind: str) -> list[Any]:
    # psutil 6 renamed it for processes, and warns about the old name.
    return list((getattr(whose, "net_connections", None) or whose.connections)(kind))


def is_suspended(pid: int) -> bool:
    """Return whether a process was stopped by a signal or a debugger."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except (psutil.Error, OSError):
        return False


def is_asleep(pid: int) -> bool:
    """Return whether the first thread of a process sleeps for a time, rather than waits for somebody; on Linux only."""
    try:
        with open(f"/proc/{pid}/wchan", encoding="ascii", errors="replace") as file:
            return "nanosleep" in file.read(100)
    except OSError:
        return False


def interrupt(pid: int) -> bool:
    """Send SIGINT to a process of ours, as Ctrl-C does; return False on Windows, where that would end it.

    Raises:
        OSError: it has ended, or is another user's.
    """
    if os.name != "posix":
        return False
    os.kill(pid, signal.SIGINT)
    return True


def is_taken(ip: str, port: int) -> bool:
    """Return whether anybody, of whatever user, listens at an address of this machine, or may do so.

    False where the address cannot be used at all.
    """
    try:
        # Linux's table costs milliseconds. Where this may be bound nobody listens, and it is in nobody's way.
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM) as sock:
            if os.name == "posix":  # elsewhere it would let us share a port that is in use
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((ip, port))
            return False
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return False
    return not linux.has_tables() or linux.is_listened_at(ip, port)


def who_listens(port: int) -> str:
    """Describe who listens on a TCP port of this machine: `python (pid 12) of user bob`."""
    import psutil

    try:
        rows = [row for row in _listeners(psutil) if row.laddr.port == port]
    except (psutil.Error, OSError):
        return "a process that cannot be looked at"
    pid = next((row.pid for row in rows if row.pid), None)
    if pid is None:
        return "a process of another user" if rows else "nobody that can be seen"
    try:
        process = psutil.Process(pid)
        return f"{process.name()} (pid {pid}) of user {process.username()}"
    except psutil.Error:
        return f"pid {pid}"


def peer(sock: socket.socket) -> tuple[int, int] | None:
    """Return pid and uid of who is at the other end of a connected unix socket; None where that cannot be known."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("iII")))
    return pid, uid


def unix_listener(path: str) -> int | None:
    """Return the pid of who listens on a unix socket; None where nobody does, or that cannot be known."""
    try:
        with unix_socket() as sock:
            sock.settimeout(1.0)
            sock.connect(path)
            seen = peer(sock)
    except (OSError, ValueError):
        return None
    return seen[0] if seen and seen[0] > 0 else None  # 0: in a pid namespace that we do not see


def unix_address(directory: str, path: str, ending: str) -> str:
    """Return the absolute form of a unix socket's path, without its `ending`.

    A relative path starts from the directory in which its process was when it began to listen. That is `directory`, or
    the one of the process of ours that listens under such a path.
    """
    absolute = os.path.join(directory, path)
    if os.path.isabs(path) or os.path.exists(absolute + ending):
        return absolute
    import psutil

    try:
        rows: list[Any] = psutil.net_connections("unix") if linux.is_bound(path + ending) else []
        for row in rows:
            if row.laddr == path + ending and row.pid and is_ours(row.pid):
                there = os.path.join(psutil.Process(row.pid).cwd(), path)
                if unix_listener(there + ending) == row.pid:
                    return there
    except (psutil.Error, OSError):
        pass
    return absolute


def is_loopback(address: str) -> bool:
    """Return whether an address is one that only this machine has."""
    return address == "::1" or address.startswith(("127.", "::ffff:127."))


def is_within(sock: socket.socket) -> bool:
    """Return whether a connection stays within this machine: a unix socket, loopback, or one to its own address.

    Raises:
        OSError: the connection has broken.
    """
    if _is_unix(sock):
        return True
    ip = sock.getpeername()[0]
    return is_loopback(ip) or bool(ip == sock.getsockname()[0])


def stranger(sock: socket.socket) -> str:
    """Name the user at the other end of a connection within this machine: `user bob`.

    "" if that is ourselves or root, if it leads to another machine, or in a container that knows no users but ours.
    `UNSEEN` where this system does not tell whose a listener is, and no process of ours is seen to be it.

    Raises:
        OSError: the connection has broken.
    """
    if not is_within(sock):
        return ""
    shows_owners = hasattr(socket, "SO_PEERCRED") if _is_unix(sock) else linux.has_tables()
    if not shows_owners:
        return "" if _is_seen_to_be_ours(sock) else UNSEEN
    uid = owner(sock)
    if uid is None or uid in (0, os.getuid()):
        return ""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


#: What `stranger` says where nobody can tell who it is.
UNSEEN = "somebody who cannot be seen to be you on this system"


def _is_seen_to_be_ours(sock: socket.socket) -> bool:
    """Return whether a process of this user's listens where a connection leads to."""
    if _is_unix(sock):
        import psutil

        return any(has_bound(it.pid, sock.getpeername()) for it in psutil.process_iter() if is_ours(it.pid))
    ip, port = linux.plain(sock.getpeername())
    ips = {ip, "::"} if ":" in ip else {ip, f"::ffff:{ip}", "0.0.0.0", "::", "::ffff:0.0.0.0"}
    return listening_process(port, ips) is not None


def has_bound(pid: int, path: str) -> bool:
    """Return whether a process is seen to have bound a unix socket under this absolute path."""
    import psutil

    try:
        process = psutil.Process(pid)
        rows = _connections(process, "unix")
        return any(row.laddr and os.path.join(process.cwd(), row.laddr) == path for row in rows)
    except (psutil.Error, OSError):
        return False


def _is_unix(sock: socket.socket) -> bool:
    return sock.family == getattr(socket, "AF_UNIX", None)


def unix_socket() -> socket.socket:
    """Return a new unix socket.

    Raises:
        OSError: there are none on this system.
    """
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    return socket.socket(family, socket.SOCK_STREAM)


def owner(sock: socket.socket) -> int | None:
    """Return the uid of who listens at the other end of a connection within this machine; None if it is not known.

    Raises:
        OSError: the connection has broken.
    """
    if _is_unix(sock):
        seen = peer(sock)
        uid = seen[1] if seen else None
    else:
        uid = linux.listener(linux.plain(sock.getpeername()), linux.plain(sock.getsockname()))
    # In a container that knows no users but ours, root outside it looks like a stranger.
    return None if uid == linux.UNMAPPED and not linux.sees_all_users() else uid
