"""A connected socket to a Jupyter server, which is looked at before anything is written to it.

A proxy is used for https to other machines only, see `proxies`: else it would get calls to loopback, and the token in
clear (T11).
"""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.access import descriptors, peers
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.proxies import is_here, proxy_for, tunnel
from kernel_bridge_magic.errors import BadServer, CannotConnect, Cause, ServerUnreachable
from kernel_bridge_magic.models import Server

if TYPE_CHECKING:
    import ssl

_GIVE_CA = "give its CA certificate with --ca-file FILE"
#: What is wrong with a certificate, and what to do, by OpenSSL's number (X509_V_ERR_* in x509_vfy.h). Its own text is
#: not passed on.
_TLS_PROBLEMS = {
    9: ("is not valid yet", "is the clock right here?"),
    10: ("has expired", "it must be renewed there"),
    18: ("is self-signed", "if it is right, save it and give it with --ca-file FILE"),
    **dict.fromkeys((19, 20, 21), ("is signed by an authority that is not trusted here", _GIVE_CA)),
    62: ("is for another host name", "use the name that is in it"),
    64: ("is for another address", "use the name that is in it"),
}


def open_socket(server: Server, timeout: float, *, secret: bool = True, limit: float = 0.0) -> socket.socket:
    """Connect to a server: TCP, TLS for https (always verified), or its unix socket.

    `secret` is whether a token, password or cookie will be sent: it does not leave this machine in clear.

    For a server that was found in runtime files, the pid in the file must be a process of ours, and the one that
    listens there; this is looked at after connecting and before the first byte is written. `timeout` is in
    seconds, for everything together, and is what the socket is left with. Where it is what was left of a `limit`, that
    is said to be the time that is up.

    Raises:
        ServerUnreachable: nobody answers, somebody else listens there, or its certificate is not trusted.
    """
    sock: socket.socket | None = None
    problem: ServerUnreachable | None = None
    try:
        for _, made in stages(server, timeout, secret=secret):
            sock = made if isinstance(made, socket.socket) else None
    except ServerUnreachable as error:
        problem = error
    except (OSError, ValueError) as error:
        problem = explain(server, error, limit or timeout)
    if problem is not None or sock is None:
        # Raised outside the except block: a library's error is not carried along, not even as context (T9).
        raise problem or AssertionError("the last stage is a socket")
    sock.settimeout(timeout)
    return sock


def stages(server: Server, timeout: float, *, secret: bool) -> Iterator[tuple[str, Any]]:
    """Connect in steps, and yield the name of each and its result.

    `"DNS"` has the addresses (none for a unix socket); `"TCP"`, `"peer"` and, for https, `"TLS"` have the socket. An
    error belongs to the step behind the last one that was yielded.

    Raises:
        ServerUnreachable, OSError, ValueError: the socket is closed then; `explain` makes a sentence of the others.
    """
    deadline = Deadline.after(timeout)
    proxy = proxy_for(server)
    where = proxy[:2] if proxy else (server.origin.host, server.origin.port)
    addresses = [] if server.socket_path else resolve(server, *where, deadline)
    yield "DNS", addresses
    path = server.socket_path
    sock = _dial(peers.unix_socket(), path, timeout) if path else _tcp(addresses, deadline)
    try:
        if proxy is not None:
            tunnel(server, proxy, sock, deadline)
        yield "TCP", sock
        _look_at_peer(server, sock)
        if secret and proxy is None:
            _refuse_stranger(server, sock)
            _keep_secret(server, sock)
        yield "peer", sock
        if server.origin.scheme == "https":
            sock.settimeout(deadline.require())
            sock = _tls(server, sock)
            yield "TLS", sock
    except BaseException:
        sock.close()
        raise


def _dial(sock: socket.socket, address: Any, seconds: float) -> socket.socket:
    try:
        sock.settimeout(seconds)
        sock.connect(address)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Small requests must not wait for the acknowledgement of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _tcp(addresses: Sequence[tuple[int, Any]], deadline: Deadline) -> socket.socket:
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "")
    others = _in_turn(addresses)
    while others:
        family, address = others.pop(0)
        try:
            seconds = deadline.require()
            if others:  # one that is silent, as IPv6 is in some networks, must not hide them (F47)
                seconds = min(seconds, max(1.0, min(3.0, seconds / (len(others) + 1))))
            return _dial(socket.socket(family, socket.SOCK_STREAM), address, seconds)
        except OSError as error:
            failure = error
    raise failure


def _in_turn(addresses: Sequence[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Let IPv6 and IPv4 take turns, the one that came first first (RFC 8305, section 4)."""
    first = [item for item in addresses if item[0] == addresses[0][0]]
    other = [item for item in addresses if item[0] != addresses[0][0]]
    return [item for pair in zip_longest(first, other) for item in pair if item]


def resolve(server: Server, host: str, port: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """Look a host up; return families and addresses to connect to.

    getaddrinfo has no timeout, so names are looked up in a thread that may be left alone.

    Raises:
        ServerUnreachable: it is not known, or not until `deadline`.
        TimeoutError: there is no time left.
    """
    answer: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()

    def look_up(flags: int = 0) -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
        except (OSError, UnicodeError):
            answer.put(None)  # without descriptors every name is unknown

    if ":" in host or host.rpartition(".")[2].isdigit():
        look_up(socket.AI_NUMERICHOST)
    else:
        threading.Thread(target=look_up, daemon=True, name="kernel-bridge-dns").start()
    try:
        found = answer.get(timeout=deadline.require())
    except queue.Empty:
        found = None
    if found is None:
        try:
            descriptors.require(2)
        except CannotConnect as problem:
            raise ServerUnreachable(server.name, problem.problem, problem.remedy) from None
        why = f"the host name {host} cannot be resolved"
        raise ServerUnreachable(server.name, why, _CHECK)
    # `localhost` is this machine, whatever a name server says (RFC 6761; T28).
    strict = is_here(host)
    return [(family, address) for family, _, _, _, address in found if not strict or peers.is_loopback(address[0])]


#: Host names that were connected to, and whether they were this machine.
_WHERE: dict[str, bool] = {}


def _refuse_stranger(server: Server, sock: socket.socket) -> None:
    """Refuse to send a secret to another user of this machine, where an ended tunnel was (T2).

    A tunnel listens as ourselves. Of runtime files more is known, and with https the certificate says who it is.
    """
    if server.source == "runtime" or server.trusted or server.origin.scheme == "https":
        return
    if who := peers.stranger(sock):
        place = server.socket_path or f"port {server.origin.port} of this machine"
        remedy = "has a tunnel ended? If you trust them, add it with --trust"
        raise ServerUnreachable(server.name, f"{place} is used by {who}, so nothing was sent", remedy)


def _keep_secret(server: Server, sock: socket.socket) -> None:
    """Refuse to send a secret over a network in clear, or to a name that has moved (T13, T28)."""
    if server.socket_path:
        return
    host, here = server.origin.host, peers.is_within(sock)
    if server.origin.scheme != "https" and not here and not server.allow_plain_http:
        raise ServerUnreachable(
            server.name,
            "its token or password would cross the network unencrypted, so nothing was sent",
            "use https://, an ssh tunnel, or --allow-plain-http",
        )
    if _WHERE.setdefault(host, here) is not here:
        was, now = ("another machine", "this machine") if here else ("this machine", "another machine")
        problem = f"{host} was {was} and is now {now}, so nothing was sent"
        raise ServerUnreachable(server.name, problem, "restart this kernel or program to allow it")


def _look_at_peer(server: Server, sock: socket.socket) -> None:
    """Refuse whoever is not the process of ours that the runtime file names (T2, T3)."""
    if server.source != "runtime":
        return
    pid, port = server.pid, server.origin.port
    if pid is None or not peers.is_ours(pid):
        who = "" if server.socket_path else f", and port {port} is now used by {peers.who_listens(port)}"
        problem = f"its process {pid} has ended{who}, so nothing was sent"
        raise ServerUnreachable(server.name, problem, _START, cause=Cause.NOBODY)
    if server.socket_path:
        seen = peers.peer(sock)
        if not (peers.has_bound(pid, server.socket_path) if seen is None else seen == (pid, os.getuid())):
            other = "another process" if seen is None else f"process {seen[0]}"
            problem = f"its socket is now served by {other}, so nothing was sent"
            raise ServerUnreachable(server.name, problem, _START)
    elif server.origin.host not in peers.listening_addresses(pid, port):
        who = f"{peers.who_listens(port)}, not by the server's process {pid}"
        raise ServerUnreachable(server.name, f"port {port} is now used by {who}, so nothing was sent", _START)


_START = "start the server again"
_CHECK = "check the URL or the network"
_NO_CA_FILE = "the CA file {!r} is missing or no PEM file"


def check_ca_file(path: str) -> None:
    """Refuse what is no file of certificates; "" means none, and is no error.

    Raises:
        BadServer: it is missing, or not PEM (B24).
    """
    import ssl

    try:
        if path:
            ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        descriptors.check(error)
        raise BadServer(_NO_CA_FILE.format(path)) from None


def _tls(server: Server, sock: socket.socket) -> ssl.SSLSocket:
    import ssl

    try:
        context = ssl.create_default_context(cafile=server.ca_file or None)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        problem = descriptors.none_left() if descriptors.are_out(error) else (_NO_CA_FILE.format(server.ca_file),)
        raise ServerUnreachable(server.name, *problem) from None
    return context.wrap_socket(sock, server_hostname=server.origin.host)


def no_answer(seconds: float) -> tuple[str, str]:
    """Return what to say of a server that did not answer in time: what is wrong, and what to do."""
    return f"no answer within {round(seconds, 1):g} s", "is it suspended or behind a firewall?"


def explain(server: Server, error: Exception, timeout: float) -> ServerUnreachable:
    """Return the error of ours for a library's `error`, without its text."""
    name = server.name
    place = server.socket_path or f"{server.origin.host}:{server.origin.port}"
    code = getattr(error, "verify_code", None)
    if code is not None:
        problem, remedy = _TLS_PROBLEMS.get(code, ("cannot be verified", _GIVE_CA))
        return ServerUnreachable(name, f"the certificate of {place} {problem}", remedy, cause=Cause.CERTIFICATE)
    if isinstance(error, TimeoutError):
        return ServerUnreachable(name, *no_answer(timeout))
    if hasattr(error, "library"):  # ssl.SSLError, which is not imported for plain http
        remedy = "is its URL http:// instead of https:// ?"
        return ServerUnreachable(name, f"{place} does not speak TLS", remedy, cause=Cause.NO_SERVER)
    if descriptors.are_out(error):
        return ServerUnreachable(name, *descriptors.none_left())
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EPERM, errno.EACCES):
        problem = f"connecting to {place} is forbidden here (a sandbox?)"
        return ServerUnreachable(name, problem, "run this outside, or allow loopback")
    if number in (errno.ECONNREFUSED, errno.ENOENT):
        problem, why = f"nothing is listening on {place}", "the server has stopped, or the URL is wrong"
        if name == place:  # not named twice
            return ServerUnreachable(name, f"{problem}: {why}", cause=Cause.NOBODY, is_named=True)
        return ServerUnreachable(name, problem, why, cause=Cause.NOBODY)
    if number in (errno.ECONNRESET, errno.EPIPE):
        return ServerUnreachable(name, f"{place} closed the connection", "is its URL https:// instead of http:// ?")
    why = os.strerror(number) if number else "no address"
    return ServerUnreachable(name, f"{place} cannot be reached ({why})", _CHECK)
