"""Linux's tables of sockets in /proc/net, which name the listeners of all users; elsewhere nothing is known here."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

#: How Linux shows a uid that has none here (/proc/sys/kernel/overflowuid); else it is `nobody`.
UNMAPPED = 65534
_LISTEN = "0A"  # TCP_LISTEN of the kernel's tcp_states.h


def has_tables() -> bool:
    """Return whether this system has Linux's tables of sockets."""
    try:
        with open("/proc/net/tcp", encoding="ascii"):
            return True
    except OSError:
        return False


def sees_all_users() -> bool:
    """Return whether each user of the machine has a uid of its own here; in a container all others look the same."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() == ["0", "0", str(2**32 - 1)]
    except OSError:
        return True


def is_listened_at(ip: str, port: int) -> bool:
    """Return whether anybody listens at an address; a socket for both families is in the other family's table."""
    name, everywhere = ("tcp6", "::") if ":" in ip else ("tcp", "0.0.0.0")
    listening = {_written(ip, port), _written(everywhere, port)}
    listeners = takewhile(lambda row: row[3] == _LISTEN, _rows(f"/proc/net/{name}"))  # they stand first
    return any(local in listening for _, local, *_ in listeners)


def listened_at(pid: int, port: int) -> list[str]:
    """Return the addresses at which a process listens on a TCP port.

    psutil reads all connections of the process; beside a server of many kernels that takes ten times as long.

    Raises:
        OSError: it has ended, or is another user's.
    """
    found: dict[str, str] = {}  # addresses by the inode of the socket, whoever has it
    for name in ("tcp", "tcp6"):
        for row in takewhile(lambda row: row[3] == _LISTEN, _rows(f"/proc/{pid}/net/{name}")):  # they stand first
            ip, its_port = _read(row[1])
            if its_port == port:
                found[f"socket:[{row[9]}]"] = ip
    ours = []
    with os.scandir(f"/proc/{pid}/fd") as descriptors:
        for descriptor in descriptors:
            if not found:
                break
            try:
                ip = found.pop(os.readlink(descriptor.path), "")
            except FileNotFoundError:  # it was closed meanwhile
                continue
            if ip:
                ours.append(ip)
    return ours


def is_bound(path: str) -> bool:
    """Return whether any process listens under this very path, which costs less than to ask all of them."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            return any(line.rstrip("\n").endswith(f" {path}") for line in file)
    except OSError:
        return True  # no Linux


def listener(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """Return the uid of who listens at the other end of a TCP connection; None if it is not known.

    Listeners stand first in the tables. If there is none any more, the uid is that of who has accepted the connection:
    a thief who closes the port at once is seen nevertheless. Where root listens, any of its servants may accept.
    """
    (ip, port), (own_ip, own_port) = peer, own
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


def _rows(path: str) -> Iterator[list[str]]:
    """Yield the first ten words of each line but the heading; nothing where there is no such table."""
    try:
        with open(path, encoding="ascii") as file:
            next(file, "")
            for line in file:
                yield line.split()[:10]
    except OSError:
        return


def plain(address: tuple[Any, ...]) -> tuple[str, int]:
    """Return address and port without a zone; IPv4 is written as such, also where an IPv6 socket speaks it."""
    return address[0].partition("%")[0].removeprefix("::ffff:"), address[1]


def _written(ip: str, port: int) -> str:
    """Return an address as the table does: hexadecimal, in words of the machine's byte order."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    words = (int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def _read(written: str) -> tuple[str, int]:
    """Return the address and port that stand in the table."""
    digits, _, port = written.partition(":")
    words = (int(digits[start : start + 8], 16) for start in range(0, len(digits), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), int(port, 16)
