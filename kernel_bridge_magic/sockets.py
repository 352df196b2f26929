"""A connected socket to a Jupyter server, which is looked at before anything is written to it.

Never through a proxy: proxies in the environment would be handed loopback calls, and the token in clear
(FAULTS T11).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic import ports
from kernel_bridge_magic.errors import ServerUnreachable
from kernel_bridge_magic.models import Server

if TYPE_CHECKING:
    import ssl

__all__ = ["Timed", "open_socket"]

_TLS_REASONS = {  # OpenSSL's X509_V_ERR_* numbers, x509_vfy.h; its own text is not passed on
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed",
    19: "is signed by an authority that is not trusted here",
    20: "is signed by an authority that is not trusted here",
    21: "is signed by an authority that is not trusted here",
    62: "is for another host name",
    64: "is for another address",
}


def open_socket(server: Server, timeout: float) -> socket.socket:
    """Connect to a server: TCP, TLS for https (always verified), or its unix socket.

    For a server that was found in runtime files, the pid in the file must be a process of ours, and the one that
    listens there; this is looked at after connecting and before the first byte is written. `timeout` is in
    seconds, for everything together, and is what the socket is left with.

    Raises:
        ServerUnreachable: nobody answers, somebody else listens there, or its certificate is not trusted.
    """
    deadline = time.monotonic() + timeout
    problem: ServerUnreachable | None = None
    sock: socket.socket | None = None
    try:
        sock = _unix(server, timeout) if server.socket_path else _tcp(server, deadline)
        _look_at_peer(server, sock)
        if server.origin.scheme == "https":
            sock.settimeout(_left(deadline))
            sock = _tls(server, sock)
        sock.settimeout(timeout)
        return sock
    except ServerUnreachable as error:
        problem = error
    except (OSError, ValueError) as error:
        problem = _explain(server, error, timeout)
    if sock is not None:
        sock.close()
    # Raised outside the except block: a library's error is not carried along, not even as context (FAULTS T9).
    raise problem


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _unix(server: Server, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(server.socket_path)
    except BaseException:
        sock.close()
        raise
    return sock


def _tcp(server: Server, deadline: float) -> socket.socket:
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "")
    for family, address in _resolve(server, deadline):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            # Small requests must not wait for the acknowledgement of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def _resolve(server: Server, deadline: float) -> list[tuple[int, Any]]:
    """Look the host up. getaddrinfo has no timeout, so that names are looked up in a thread that may be left."""
    host, port = server.origin.host, server.origin.port
    answer: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()

    def look_up(flags: int = 0) -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
        except (OSError, UnicodeError):
            answer.put(None)

    if ":" in host or host.rpartition(".")[2].isdigit():
        look_up(socket.AI_NUMERICHOST)
    else:
        threading.Thread(target=look_up, daemon=True, name="kernel-bridge-dns").start()
    try:
        found = answer.get(timeout=_left(deadline))
    except queue.Empty:
        found = None
    if found is None:
        raise ServerUnreachable(f"{server.name}: the host name {host} is not known; check the URL, or the network")
    return [(family, address) for family, _, _, _, address in found]


def _look_at_peer(server: Server, sock: socket.socket) -> None:
    """Refuse whoever is not the process of ours that the runtime file names (FAULTS T2, T3)."""
    if server.source != "runtime":
        return
    pid, port = server.pid, server.origin.port
    if pid is None or not ports.is_ours(pid):
        who = "" if server.socket_path else f"; port {port} is now used by {ports.who_listens(port)}"
        raise ServerUnreachable(f"{server.name}: its process {pid} has ended{who}; nothing was sent")
    if server.socket_path:
        seen = ports.peer(sock)
        if seen is not None and seen != (pid, os.getuid()):
            raise ServerUnreachable(f"{server.name}: its socket is now served by process {seen[0]}; nothing was sent")
    elif server.origin.host not in ports.listening_addresses(pid, port):
        raise ServerUnreachable(
            f"{server.name}: port {port} is now used by {ports.who_listens(port)}, not by the server's process {pid}; "
            "nothing was sent"
        )


def _tls(server: Server, sock: socket.socket) -> ssl.SSLSocket:
    import ssl

    try:
        context = ssl.create_default_context(cafile=server.ca_file or None)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        sock.close()
        raise ServerUnreachable(f"{server.name}: the CA file {server.ca_file!r} is missing or no PEM file") from None
    try:
        return context.wrap_socket(sock, server_hostname=server.origin.host)
    except BaseException:
        sock.close()
        raise


def _explain(server: Server, error: Exception, timeout: float) -> ServerUnreachable:
    """Make one sentence of a library's error, without its text."""
    where = server.name
    place = server.socket_path or f"{server.origin.host}:{server.origin.port}"
    code = getattr(error, "verify_code", None)
    if code is not None:
        reason = _TLS_REASONS.get(code, "does not hold")
        return ServerUnreachable(f"{where}: the certificate of {place} {reason}; name its authority with --ca-file")
    if isinstance(error, TimeoutError):
        return ServerUnreachable(f"{where} did not answer within {timeout:g} s; is it stopped, or behind a firewall?")
    if hasattr(error, "library"):  # ssl.SSLError, which is not imported for plain http
        return ServerUnreachable(f"{where}: {place} does not speak TLS as we do; is it http:// instead of https:// ?")
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EPERM, errno.EACCES):
        return ServerUnreachable(
            f"{where}: connecting to {place} is forbidden here (a sandbox?); run this outside, or allow loopback"
        )
    if number in (errno.ECONNREFUSED, errno.ENOENT):
        return ServerUnreachable(f"{where}: nobody listens on {place}; the server has ended, or the URL is wrong")
    if number in (errno.ECONNRESET, errno.EPIPE):
        return ServerUnreachable(f"{where}: {place} closed the connection; is it https:// instead of http:// ?")
    return ServerUnreachable(f"{where}: {place} cannot be reached ({os.strerror(number) if number else 'no address'})")


class Timed:
    """What http.client takes for a socket, with a deadline for all reads together.

    A plain socket timeout is for each read, so that a server that drips one byte a second holds a call for
    ever (FAULTS T24). `deadline` is on the monotonic clock.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self.deadline = deadline
        self._files = 0
        self._closed = False

    def sendall(self, data: bytes) -> None:
        """Send everything, by the deadline."""
        self._sock.settimeout(_left(self.deadline))
        self._sock.sendall(data)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """Give a file to read from, by the deadline."""
        self._files += 1
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: Any) -> int:
        """Read what is there, by the deadline."""
        self._sock.settimeout(_left(self.deadline))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Close the connection, once no file reads from it any more.

        http.client closes first and reads the body then, when the server says `Connection: close`.
        """
        self._closed = True
        self._close_if_unused()

    def file_closed(self) -> None:
        """One of the files is closed."""
        self._files -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and self._files <= 0:
            with contextlib.suppress(OSError):
                self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, owner: Timed) -> None:
        super().__init__()
        self._owner = owner

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.file_closed()

    def readinto(self, buffer: Any) -> int:
        return self._owner.receive_into(buffer)
