"""HTTP with one server, over http.client: a deadline for each request as a whole, and no redirect followed."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel_bridge_magic.access.deadline import NEVER, Deadline
from kernel_bridge_magic.access.descriptors import is_ready
from kernel_bridge_magic.access.sockets import no_answer, open_socket
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import BadAnswer, Cause, ServerError, ServerUnreachable
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.servers.refusals import host_refused, refusal
from kernel_bridge_magic.text import Hidden

if TYPE_CHECKING:
    import http.client

LARGEST_BODY = 16 * 1024 * 1024  # T23; 5000 kernels with sessions are 2 MiB
TIMEOUT = 3.0  # seconds for one request


class Answer(NamedTuple):
    """A server's answer, of any status. `cookies` are the Set-Cookie headers as they came."""

    status: int
    location: str
    content_type: str
    body: bytes
    cookies: tuple[str, ...] = ()
    date: str = ""

    @property
    def is_redirect(self) -> bool:
        """Whether it redirects."""
        return 300 <= self.status < 400

    def __repr__(self) -> str:
        # Tracebacks that show local variables must not show cookies, nor what a server repeats of our request.
        return f"Answer({self.status}, {len(self.body)} bytes)"


class _Request(NamedTuple):
    """`body` is an object that is sent as JSON, or a form (`Hidden`); `host` replaces the Host header's name."""

    method: str
    path: str
    body: Any = None
    host: str = ""


class Timed:
    """A socket as http.client uses it, with a deadline for all reads together.

    The timeout of a plain socket is for each read: a server that drips one byte a second would hold up a call for
    ever (T24). `heard` is whether anything has come since the last sending.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self.deadline = deadline
        self.heard = False

    def sendall(self, data: bytes) -> None:
        """Send everything, by the deadline."""
        self.heard = False
        self._sock.settimeout(self.deadline.require())
        self._sock.sendall(data)

    def is_over(self) -> bool:
        """Return whether the other end has closed the connection, or has sent something unasked."""
        return is_ready(self._sock, 0)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """Return a file to read from, by the deadline."""
        return io.BufferedReader(_Reader(self, self._sock))

    def receive_into(self, buffer: Any) -> int:
        """Read what is there into `buffer`, by the deadline; return the number of bytes."""
        self._sock.settimeout(self.deadline.require())
        number = self._sock.recv_into(buffer)
        self.heard = self.heard or number > 0
        return number

    def close(self) -> None:
        """Close the connection as soon as no file reads from it any more.

        When the server says `Connection: close`, http.client closes first and reads the body then.
        """
        with contextlib.suppress(OSError):
            self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, timed: Timed, sock: socket.socket) -> None:
        super().__init__()
        self._timed = timed
        self._open = sock.makefile("rb", buffering=0)  # a socket stays open until each file made of it is closed

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            self._open.close()

    def readinto(self, buffer: Any) -> int:
        return self._timed.receive_into(buffer)


class HttpClient:
    """Requests to one server, one after the other. Not for several threads at once.

    `timeout` is in seconds, for each request as a whole; no request goes beyond `until`.
    """

    def __init__(self, server: Server, vault: Vault, timeout: float = TIMEOUT, until: Deadline = NEVER) -> None:
        self.server = server
        self.vault = vault
        self.timeout = timeout
        self.until = until
        #: whether the connection is kept for the next request
        self.keep = False
        #: whether a password will be sent, which the vault does not know of yet
        self.logs_in = False
        #: the server's own time at its last answer, None where it does not say: its clock need not be ours
        self.clock: datetime | None = None
        self._kept: tuple[http.client.HTTPConnection, Timed] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the other end has closed the kept connection, or has sent something unasked."""
        return self._kept is not None and self._kept[1].is_over()

    def drop(self) -> None:
        """Close the connection that is kept, if there is one."""
        if self._kept is not None:
            self._kept[0].close()
            self._kept = None

    def ask(self, method: str, path: str, body: Any = None, timeout: float | None = None, *, host: str = "") -> Answer:
        """Send a request to `path` below the base URL, and return the answer, whatever its status.

        Raises:
            ServerUnreachable: nobody answers there in time.
            BadAnswer: it is no HTTP, too large, or breaks off.
        """
        import http.client

        timeout = max(timeout or 0.0, self.timeout)
        deadline = min(Deadline.after(timeout), self.until)
        problem: ServerError
        try:
            answer = self._exchange(_Request(method, path, body, host), deadline, timeout)
            self.clock = _time(answer.date)
            return answer
        except TimeoutError:
            problem = ServerUnreachable(self.server.name, *no_answer(timeout))
        except ServerError as error:
            problem = error
        except (OSError, http.client.HTTPException, ValueError):
            # ValueError: an Origin with characters that no HTTP request can carry.
            what, remedy = "it broke off without an answer", "is its URL right (https:// instead of http:// ?)"
            problem = BadAnswer(self.server.name, what, remedy, cause=Cause.NO_SERVER)
        raise problem

    def refuse(self, answer: Answer) -> None:
        """Return if the status is 2xx.

        Raises:
            ServerError: it is another one.
        """
        if answer.status == 403 and refuses_host(self.server, self.timeout, self.until):
            raise host_refused(self.server)
        if not 200 <= answer.status < 300:
            method = self.vault.auth_method(self.server.origin)
            raise refusal(self.server, method, answer.status, answer.location)

    def _exchange(self, request: _Request, deadline: Deadline, timeout: float) -> Answer:
        import http.client

        if self.is_lost:
            self.drop()
        kept, self._kept = self._kept, None
        connection, sock = kept or self._connect(deadline, timeout)
        try:
            sock.deadline = deadline
            answer: Answer | None = None
            try:
                answer = self._send(connection, request)
            except (OSError, http.client.HTTPException) as error:
                # A server may close a kept connection at any moment. What asks only may be asked again, once.
                if kept is None or request.method != "GET" or sock.heard or isinstance(error, TimeoutError):
                    raise
            if answer is None:
                connection.close()
                connection, sock = self._connect(deadline, timeout)
                answer = self._send(connection, request)
            if self.keep and connection.sock is not None:
                self._kept = connection, sock
            return answer
        finally:
            if self._kept is None:
                connection.close()

    def _connect(self, deadline: Deadline, limit: float) -> tuple[http.client.HTTPConnection, Timed]:
        import http.client

        origin = self.server.origin
        secret = self.logs_in or self.vault.auth_method(origin) != "none"
        sock = Timed(open_socket(self.server, max(deadline.left, 0.001), secret=secret, limit=limit), deadline)
        host, port = ("localhost", 80) if self.server.socket_path else (origin.host, origin.port)
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if origin.scheme == "https" else 80  # what the Host header leaves out
        connection.set_debuglevel(0)  # whoever debugs other connections would have our headers printed
        connection.auto_open = 0  # a second connection would not have been looked at
        connection.sock = sock
        return connection, sock

    def _send(self, connection: http.client.HTTPConnection, request: _Request) -> Answer:
        name, origin, body = self.server.name, self.server.origin, request.body
        headers = {"User-Agent": "kernel_bridge_magic", "Accept": "application/json"}
        headers |= {"Host": request.host} if request.host else {}  # else http.client names the origin's
        headers |= self.vault.headers(origin)
        is_form = isinstance(body, Hidden)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded" if is_form else "application/json"
        # A form holds a password: no variable here has it in clear.
        text = body if body is None or is_form else json.dumps(body)
        connection.request(request.method, origin.base_path + request.path, text, headers)
        # Closed in any case: read(n) may not notice that all has come, and the connection is then not usable again.
        with contextlib.closing(connection.getresponse()) as response:
            content = response.read(LARGEST_BODY + 1)
            if len(content) > LARGEST_BODY:
                del content
                raise BadAnswer(name, f"its answer has more than {LARGEST_BODY >> 20} MiB", "it was not read")
            if response.length:
                del content
                raise BadAnswer(name, "it broke off in the middle of its answer", "try again")
        location, kind = response.getheader("Location") or "", response.getheader("Content-Type") or ""
        cookies = tuple(response.headers.get_all("Set-Cookie") or ())
        return Answer(response.status, location, kind.lower(), content, cookies, response.getheader("Date") or "")


def refuses_host(server: Server, timeout: float = TIMEOUT, until: Deadline = NEVER) -> bool:
    """Return whether a server refuses all requests to the host that we ask it as. No secret is sent.

    `GET api` wants no token, but is refused like all else where the Host header is not local and
    `allow_remote_access` is off. That it is for the header is proven by the same question to `localhost`.
    """
    client = HttpClient(server, Vault(), timeout, until)
    client.keep = True
    with contextlib.suppress(ServerError), contextlib.ExitStack() as stack:
        stack.callback(client.drop)
        return client.ask("GET", "api").status == 403 and client.ask("GET", "api", host="localhost").status == 200
    return False


def _time(date: str) -> datetime | None:
    """Read a Date header; None if it is none."""
    from email.utils import parsedate_to_datetime

    with contextlib.suppress(ValueError, OverflowError):
        when = parsedate_to_datetime(date)
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return None
