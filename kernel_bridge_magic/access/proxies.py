"""Go through an HTTP proxy: by CONNECT, for https to other machines, and for nothing else.

A proxy sees the secrets of a plain connection, and takes loopback to be its own machine (T11). With CONNECT it
sees the name of the server, and TLS after that.
"""

from __future__ import annotations

import base64
import os
import socket
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.errors import ServerUnreachable
from kernel_bridge_magic.models import Server

_LONGEST_ANSWER = 16 * 1024


class Proxy(NamedTuple):
    """An HTTP proxy; `login` is `user:password`, "" for none."""

    host: str
    port: int
    login: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host!r}, {self.port})"


def is_here(host: str) -> bool:
    """Return whether a name or an address means this machine by definition."""
    return host == "localhost" or host.endswith(".localhost") or host.startswith("127.") or host == "::1"


def proxy_for(server: Server) -> Proxy | None:
    """Return the proxy that the environment (`https_proxy`, `no_proxy`) names for a server; None for no proxy.

    Raises:
        ServerUnreachable: the proxy is not one that can be used.
    """
    origin = server.origin
    if origin.scheme != "https" or server.source == "runtime" or is_here(origin.host):
        return None
    if not any(name.lower() in ("https_proxy", "all_proxy") for name in os.environ):
        return None
    # Its rules for no_proxy are what people's settings are written for. Not imported where there is no proxy.
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    known = getproxies_environment()
    url = known.get("https") or known.get("all") or ""
    if not url or proxy_bypass_environment(f"{origin.host}:{origin.port}", known):
        return None
    problem = ""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "http" and parts.hostname:
            return Proxy(parts.hostname, parts.port or 80, f"{user}:{password}" if user else "")
        problem = f"is a {parts.scheme[:10]} proxy, and only http:// ones can be used"
    except ValueError:
        problem = "is not a URL"
    # Its text may hold the proxy's password.
    raise ServerUnreachable(server.name, f"the proxy in https_proxy {problem}", "correct it, or set no_proxy")


def tunnel(server: Server, proxy: Proxy, sock: socket.socket, deadline: Deadline) -> None:
    """Ask the proxy at the other end of `sock` to connect it to the server by a `deadline`.

    Raises:
        ServerUnreachable: the proxy refuses.
        TimeoutError: the whole answer has not come by the deadline, however often a byte of it came.
        OSError: the connection to it broke.
    """
    host = server.origin.host
    where = f"[{host}]:{server.origin.port}" if ":" in host else f"{host}:{server.origin.port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.login:
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(proxy.login.encode()).decode())
    sock.settimeout(deadline.require())
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    answer = _answer(sock, deadline)
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)[1:2]
    if status == [b"200"] and answer.endswith(b"\r\n\r\n"):
        return
    name = f"the proxy {proxy.host}:{proxy.port}"
    if status == [b"407"]:
        raise ServerUnreachable(server.name, f"{name} wants a login", "put it in https_proxy, or set no_proxy")
    code = status[0].decode("ascii", "replace") if status and status[0].isdigit() else "no HTTP answer"
    raise ServerUnreachable(server.name, f"{name} does not connect to {where} ({code})", "set no_proxy to go straight")


def _answer(sock: socket.socket, deadline: Deadline) -> bytes:
    """Read the head of an answer, or the part of it that came and is not too long."""
    answer = b""
    # One byte at a time: what comes behind the head is the server's. A socket's own timeout is for each byte (T24).
    while not answer.endswith(b"\r\n\r\n") and len(answer) < _LONGEST_ANSWER:
        sock.settimeout(deadline.require())
        byte = sock.recv(1)
        if not byte:
            break
        answer += byte
    return answer
