"""`%servers --check`: what works with a server, step by step, with what was seen at each step and what to do.

It disturbs nobody: no kernel is asked anything, and a kernel's WebSocket is opened only where no client's unread output
would be lost (FACTS.md#opening-a-websocket).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.proxies import proxy_for
from kernel_bridge_magic.access.sockets import explain, stages
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.asking import LIST_KERNELS, join
from kernel_bridge_magic.discovery.hubs import other_user, servers_of
from kernel_bridge_magic.errors import AuthRefused, Cause, KernelBridgeError, ServerError
from kernel_bridge_magic.models import Kernel, Server, may_have_unread
from kernel_bridge_magic.reports import Checkup, Step
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.text import count
from kernel_bridge_magic.transports.handshake import knock

STEPS = ("DNS", "TCP", "peer", "TLS", "base URL", "auth", "XSRF", "kernels", "WebSocket")
_SECONDS = 5.0  # for each step
_UNREADABLE = "is it a Jupyter server? If so, please report it"


class _Stop(Exception):
    """Raised where the later steps cannot be tried."""


def check(
    server: Server, vault: Vault, *, unready: str = "", elsewhere: str = "", seconds: float = _SECONDS
) -> Checkup:
    """Return a checkup of a server, each step of at most `seconds`. Nothing that it finds is raised.

    `unready` is why the server's secret is not available. `elsewhere` is the URL of a known server on the same port.
    """
    doctor = _Doctor(server, vault, unready, elsewhere, seconds)
    try:
        doctor.connection()
        doctor.base_url()
        doctor.auth()
        doctor.xsrf()
        doctor.kernels()
        doctor.websocket()
    except _Stop:
        pass
    except Exception as error:  # what a server says may break anything, and its text may hold secrets (T9)
        name = (doctor.missing() or STEPS[-1:])[0]
        doctor.add(name, False, f"its answer cannot be read ({type(error).__name__})", _UNREADABLE)
    return Checkup(server, (*doctor.steps, *(Step(name, None, "not tried") for name in doctor.missing())))


class _Doctor:
    """One checkup while it is made."""

    def __init__(self, server: Server, vault: Vault, unready: str, elsewhere: str, seconds: float) -> None:
        self.server = server
        self.steps: list[Step] = []
        self.vault = vault
        self.unready = unready
        self.elsewhere = elsewhere
        self.seconds = seconds
        self.models: list[dict[str, Any]] = []
        #: the kernels with their notebooks; none while these are not known, since somebody may wait for any kernel
        self.found: list[Kernel] = []
        self.lists = True
        self.refusal = "", ""

    def add(self, name: str, ok: bool | None, seen: str, remedy: str = "") -> None:
        self.steps.append(Step(name, ok, seen, remedy))

    def missing(self) -> list[str]:
        """Return the names of the steps that were not made, in their order."""
        return [name for name in STEPS if name not in [step.name for step in self.steps]]

    def fail(self, name: str, error: KernelBridgeError, *, stop: bool = True) -> None:
        elsewhere = self.elsewhere if name in ("TCP", "TLS", "base URL") else ""
        self.add(name, False, error.problem, _use(elsewhere) if elsewhere else error.remedy)
        if stop:
            raise _Stop

    # -- the connection

    def connection(self) -> None:
        last, problem = "", None
        start = time.monotonic()
        sock: socket.socket | None = None
        try:
            for last, made in stages(self.server, self.seconds, secret=self._auth_method() != "none"):
                milliseconds = 1000 * (time.monotonic() - start)
                start = time.monotonic()
                sock = made if isinstance(made, socket.socket) else None
                self.add(last, *self._seen(last, made, milliseconds))
        except ServerError as error:
            problem = error
        except (OSError, ValueError) as error:
            problem = explain(self.server, error, self.seconds)
        if sock is not None:
            sock.close()
        if problem is not None:
            failed = STEPS[STEPS.index(last) + 1] if last else STEPS[0]
            if failed == "TLS":
                problem = self._untrusted(problem)
            self.fail(failed, problem)
        if self.server.origin.scheme != "https":
            self.add("TLS", None, "none, since http is not encrypted" if not self.server.socket_path else "none")

    def _seen(self, name: str, made: Any, milliseconds: float) -> tuple[bool, str]:
        origin = self.server.origin
        if name == "DNS":
            if self.server.socket_path:
                return True, "none, since it is a socket in the file system"
            proxy = proxy_for(self.server)
            host = f"the proxy {proxy.host}" if proxy else origin.host
            addresses = ", ".join(dict.fromkeys(str(address[0]) for _, address in made))
            return True, addresses if addresses == host else f"{host} is {addresses}"
        if name == "TCP":
            where = self.server.socket_path or f"{origin.host}:{origin.port}"
            proxy = proxy_for(self.server)
            via = f" through the proxy {proxy.host}:{proxy.port}" if proxy else ""
            return True, f"connected to {where}{via} in {milliseconds:.0f} ms"
        if name == "peer":
            return True, self._peer(made)
        certificate = made.getpeercert() or {}
        return True, f"{made.version()}; the certificate holds until {certificate.get('notAfter', '?')}"

    def _peer(self, sock: socket.socket) -> str:
        if self.server.source == "runtime":
            return f"process {self.server.pid}, ours, as its runtime file says"
        if self.server.socket_path:
            seen = peers.peer(sock)
            return f"process {seen[0]} of uid {seen[1]}" if seen else "cannot be known here"
        if sock.getpeername()[0] == sock.getsockname()[0]:
            return f"this machine, {peers.who_listens(self.server.origin.port)}"
        return "another machine"

    def _untrusted(self, problem: ServerError) -> ServerError:
        """Return `problem` with the certificate's fingerprint, to be compared before it is trusted. Nothing is sent."""
        import ssl

        if problem.cause is not Cause.CERTIFICATE:
            return problem
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(OSError, ValueError, ServerError):
            plain = dataclasses.replace(self.server, origin=self.server.origin._replace(scheme="http"))
            for _, made in stages(plain, self.seconds, secret=False):
                raw = made
            with context.wrap_socket(raw, server_hostname=self.server.origin.host) as sock:
                digest = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest().upper()
            shown = ":".join(digest[n : n + 2] for n in range(0, len(digest), 2))
            return type(problem)(problem.server, f"{problem.problem} (its SHA-256: {shown})", problem.remedy)
        return problem

    # -- the server

    def _auth_method(self) -> str:
        return self.vault.auth_method(self.server.origin)

    def _api(self, server: Server | None = None, vault: Vault | None = None) -> ServerAPI:
        return ServerAPI(server or self.server, vault or self.vault, self.seconds)

    def base_url(self) -> None:
        # First find out whose server it is: nothing may be sent to another user's, not even here.
        try:
            self.refusal = other_user(self.server, self.vault, self.seconds)
        except KernelBridgeError as error:
            self.refusal = error.problem, error.remedy
        try:
            version = self._api(vault=Vault() if any(self.refusal) else None).version()
            self.add("base URL", True, f"{self.server.url} " + (f"has version {version}" if version else "is a server"))
        except AuthRefused as error:
            if error.status not in (401, 403):
                self._hub_or(error)
            self.add("base URL", True, f"{self.server.url} tells nothing without a token (a gateway?)")
        except ServerError as error:
            self._hub_or(error)

    def _hub_or(self, error: ServerError) -> None:
        """Fail at the base URL; if it is that of a JupyterHub, report what the hub says of its servers."""
        running, others = servers_of(self.server, self.vault, self.seconds, Deadline.after(self.seconds))
        if running or others:
            self.add("base URL", True, f"{self.server.url} is a JupyterHub")
            if running:
                self.add("auth", True, "token accepted, for " + ", ".join(server.url for server in running))
            for report in others:
                self.add("auth", False, report.problem, report.remedy)
            raise _Stop
        other = self.elsewhere or self._elsewhere()
        if other:
            error = type(error)(error.server, error.problem, _use(other))
        self.fail("base URL", error)

    def _elsewhere(self) -> str:
        """Return the URL of a server at the root of the same port, found without any secret; "" for none."""
        if self.server.origin.base_path == "/" or self.server.socket_path:
            return ""
        url = self.server.url.removesuffix(self.server.origin.base_path) + "/"
        root = dataclasses.replace(self.server, url=url, origin=self.server.origin._replace(base_path="/"))
        with contextlib.suppress(KernelBridgeError):
            if self._api(root, Vault()).version():
                return url
        return ""

    def auth(self) -> None:
        if self.unready:
            self.add("auth", False, self.unready)
            raise _Stop
        if any(self.refusal):
            self.add("auth", False, *self.refusal)
            raise _Stop
        try:
            models = self._api().kernels()
        except AuthRefused as error:
            try:
                self._api().kernelspecs()
            except KernelBridgeError:
                self.fail("auth", error)
            self.add("auth", True, f"{self._auth_method()} accepted")
            self.lists = False
            return
        except KernelBridgeError as error:
            self.fail("auth", error)
            return
        method = self._auth_method()
        nobody_asks = "none is wanted, so everybody who reaches this server can run code there"
        self.add("auth", True, nobody_asks if method == "none" else f"{method} accepted")
        self.models = models

    def xsrf(self) -> None:
        """Check a request that changes something, without changing anything: interrupt a kernel that does not exist."""
        try:
            self._api().interrupt(str(uuid.uuid4()))
        except AuthRefused:
            remedy = "give a token with --token: it needs no XSRF cookie"
            self.add("XSRF", False, "reading is allowed, interrupting and starting kernels are not", remedy)
            return
        except KernelBridgeError as error:
            if not isinstance(error, ServerError) or error.cause is not Cause.NO_KERNEL:
                self.fail("XSRF", error, stop=False)
                return
        with_token = self._auth_method() == "token"
        self.add("XSRF", True, "not needed with a token" if with_token else "our cookie and header are accepted")

    def kernels(self) -> None:
        if not self.lists:
            self.add("kernels", None, "it does not list its kernels", LIST_KERNELS)
            return
        try:
            sessions = self._api().sessions()
        except KernelBridgeError as error:
            self.fail("kernels", error, stop=False)
            return
        self.found = join(self.server, self.models, sessions)
        self.add("kernels", True, f"{count(len(self.found), 'kernel')}, {count(len(sessions), 'session')}")

    def websocket(self) -> None:
        """Open a WebSocket where that disturbs nobody: the server's events, else a kernel without unread output."""
        places = [("the server's events", "api/events/subscribe")]
        now = datetime.now(UTC)
        quiet = [it for it in self.found if not may_have_unread(it, now) and it.state != "busy"]
        if quiet:
            kernel = max(quiet, key=lambda it: it.connections or 0)
            path = f"api/kernels/{quote(kernel.id, safe='')}/channels?session_id={uuid.uuid4().hex}"
            places.append((kernel.title, path))
        status = 404
        for what, path in places:
            try:
                status = knock(self.server, self.vault, path, self.seconds)
            except ServerError as error:
                self.fail("WebSocket", error)
            if status == 101:
                self.add("WebSocket", True, f"opened ({what})")
                return
        seen = f"refused ({status})" if status else "no WebSocket answers"
        if status == 404:
            nobody = "not tried, since there is no kernel that nobody waits for"
            self.add("WebSocket", None, nobody, "start a kernel and check again")
        elif status in (401, 403):
            remedy = "give a token that may use kernels and not only read (on a JupyterHub the scope access:servers)"
            self.add("WebSocket", False, seen, remedy)
        else:
            remedy = "a proxy in between must pass Upgrade and Connection on (nginx: proxy_http_version 1.1)"
            self.add("WebSocket", False, seen, remedy)


def _use(url: str) -> str:
    return f"a Jupyter server is at {url}: use that URL"
