"""The REST API of Jupyter servers, gateways and hubs' servers: a dozen calls over http.client.

No redirect is followed and no proxy used; each wrong answer becomes one sentence that says what to do.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from kernel_bridge_magic.access.sockets import no_answer, open_socket
from kernel_bridge_magic.access.urls import hub_and_user, server_url
from kernel_bridge_magic.access.vault import Hidden, Secret, Vault
from kernel_bridge_magic.errors import AuthRefused, BadAnswer, Cause, ServerError, ServerUnreachable
from kernel_bridge_magic.models import KernelSpec, Server
from kernel_bridge_magic.protocol.messages import read_json
from kernel_bridge_magic.servers.http_deadline import Timed
from kernel_bridge_magic.servers.refusals import host_refused, not_json, refusal

if TYPE_CHECKING:
    import http.client

__all__ = ["ServerAPI", "open_socket"]

LARGEST_BODY = 16 * 1024 * 1024  # FAULTS T23; 5000 kernels with sessions are 2 MiB
_SLOW_SECONDS = 65.0  # a server waits up to 60 s for a kernel that starts


class _Answer(NamedTuple):
    status: int
    location: str
    content_type: str
    body: bytes
    cookies: tuple[str, ...] = ()  # Set-Cookie headers, as they came
    date: str = ""

    def __repr__(self) -> str:
        # Tracebacks that show local variables must not show cookies, nor what a server repeats of our request.
        return f"_Answer({self.status}, {len(self.body)} bytes)"


class ServerAPI:
    """The calls to one server. Used as a context manager it keeps its connection between calls.

    `timeout` is in seconds, for each call as a whole; `until`, if given, is a point of the monotonic clock that
    no call goes beyond. Not for several threads at once.

    Every method raises:
        ServerUnreachable: nobody answers there in time, or a hub says that the server is not running.
        AuthRefused: it does not accept who we are.
        BadAnswer: what answers is no Jupyter server, or does not do what was asked.
    """

    def __init__(self, server: Server, vault: Vault, timeout: float = 3.0, *, until: float | None = None) -> None:
        self.server = server
        self.timeout = timeout
        #: the server's own time at its last answer, None where it does not say: its clock need not be ours
        self.clock: datetime | None = None
        self._vault = vault
        self._until = until
        self._keep = False
        self._logging_in = False
        self._kept: http.client.HTTPConnection | None = None

    def __enter__(self) -> ServerAPI:
        self._keep = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection that is kept, if there is one."""
        self._keep = False
        self._drop()

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def version(self) -> str:
        """Give the server's version, "" if it does not say (`GET /api`, which wants no token but on gateways)."""
        version = self._object(self._json("GET", "api")).get("version")
        return version if isinstance(version, str) else ""

    def refuses_host(self) -> bool:
        """Tell whether the server refuses all requests to the host that we ask it as; no secret is sent.

        `GET api` wants no token, but is refused like all else where the Host header is not local and
        `allow_remote_access` is off. That it is for the header is proven by the same question to `localhost`.
        """
        with contextlib.suppress(ServerError), ServerAPI(self.server, Vault(), self.timeout, until=self._until) as api:
            return api._ask("GET", "api").status == 403 and api._ask("GET", "api", host="localhost").status == 200
        return False

    def is_hub(self) -> bool:
        """Tell whether a JupyterHub is at this base URL (`GET hub/api`, which wants no token).

        Raises:
            ServerError: that cannot be known: a hub that is being started anew answers with 503, say.
        """
        answer = self._call("GET", "hub/api")
        if answer.status == 404:
            return False
        if answer.status != 200:
            self._refuse(answer)
        try:
            return isinstance(json.loads(answer.body).get("version"), str)
        except (ValueError, AttributeError, RecursionError):
            return False

    def hub_user(self) -> dict[str, Any]:
        """Give the model of the user whose token it is, with the servers if the token may list them."""
        return self._object(self._json("GET", "hub/api/user?include_stopped_servers=1"))

    def kernels(self) -> list[dict[str, Any]]:
        """Give the models of `GET /api/kernels`; items that are no objects are left out."""
        return self._list(self._json("GET", "api/kernels"))

    def sessions(self) -> list[dict[str, Any]]:
        """Give the models of `GET /api/sessions`; items that are no objects are left out."""
        return self._list(self._json("GET", "api/sessions"))

    def kernelspecs(self) -> dict[str, KernelSpec]:
        """Give what can be started there, by name."""
        specs = self._object(self._json("GET", "api/kernelspecs")).get("kernelspecs")
        found = {}
        for name, item in specs.items() if isinstance(specs, Mapping) else ():
            spec = item.get("spec") if isinstance(item, Mapping) else None
            found[str(name)] = kernelspec(str(name), spec)
        return found

    def kernel(self, kernel_id: str) -> dict[str, Any] | None:
        """Give the model of one kernel; None if the server has no such kernel (any more)."""
        answer = self._call("GET", f"api/kernels/{_quoted(kernel_id)}")
        if answer.status == 404:
            return None
        return self._object(self._read(answer))

    def interrupt(self, kernel_id: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Interrupt a kernel, unless that is not `wanted` any more when the connection is there."""
        with ServerAPI(self.server, self._vault, self.timeout, until=self._until) as api:
            # This opens the connection, and logs in where that is needed: then a word gets there at once.
            api.kernel(kernel_id)
            if wanted():
                api._act("POST", kernel_id, "/interrupt")

    def restart(self, kernel_id: str) -> None:
        """Restart a kernel; returns when the server says that it is done."""
        self._act("POST", kernel_id, "/restart", _SLOW_SECONDS)

    def delete(self, kernel_id: str) -> None:
        """Shut a kernel down."""
        self._act("DELETE", kernel_id, timeout=_SLOW_SECONDS)

    def start(self, name: str | None = None, path: str | None = None) -> dict[str, Any]:
        """Start a kernel, with a notebook session if `path` is given; gives the kernel's model."""
        if path is None:
            return self._object(self._json("POST", "api/kernels", {"name": name} if name else {}, _SLOW_SECONDS))
        kernel = {"name": name} if name else {}
        body = {"path": path, "name": path.rsplit("/", 1)[-1], "type": "notebook", "kernel": kernel}
        session = self._object(self._json("POST", "api/sessions", body, _SLOW_SECONDS))
        return self._object(session.get("kernel"))

    def log_in(self, password: Secret) -> None:
        """Log in with a password, as the login page does; the cookies go to the vault, the password nowhere.

        It is sent only where a login page asks for it. One that is refused is dropped, as it would be refused again.

        Raises:
            AuthRefused: the password is wrong, or there is no such login.
            ServerUnreachable: nobody can log in there now; the password is kept.
        """
        self._refuse_hub()
        self._drop()  # what is open may be a connection that no secret must be sent on
        self._logging_in = True
        page = self._ask("GET", "login")
        if 300 <= page.status < 400 and self._has_login():
            return  # another thread was faster, or it was not for want of a login that we were refused
        if page.status != 200 or not _asks_for_password(page):
            raise self._no_login(page, "it has no password login")
        cookies = _cookies(page.cookies)
        form = password.login_form(cookies.get("_xsrf", ""))
        self._vault.put_cookies(self.server.origin, cookies)
        answer = self._ask("POST", "login?next=%2F", form)
        found = _cookies(answer.cookies)
        # A right password redirects to the page that was asked for; a wrong one shows the form again (FACTS 4).
        redirected = answer.status in (301, 302, 303)
        again = redirected and answer.location.partition("?")[0].rstrip("/").endswith("/login")
        if redirected and found:
            self._vault.login_was(self.server.origin, accepted=True)
            self._vault.put_cookies(self.server.origin, {**cookies, **found})
        elif again or answer.status == 401 or (answer.status in (200, 403) and _asks_for_password(answer)):
            self._vault.login_was(self.server.origin, accepted=False)
            self._vault.forget(self.server.origin)
            problem = f"password not accepted ({answer.status})"
            raise AuthRefused(self.server.name, problem, "give the right one with --password env:VAR")
        else:
            raise self._no_login(answer, "its login says neither yes nor no to the password")

    def _refuse_hub(self) -> None:
        """Refuse to log in to a hub user's server: it knows no password, and what shows one there is not the hub.

        Raises:
            ServerError: it is one, or that cannot be known.
        """
        path, user = hub_and_user(self.server.origin.base_path)
        if not user:
            return
        url, origin = server_url(*self.server.origin[:3], path)
        hub = replace(self.server, url=url, origin=origin)
        if ServerAPI(hub, Vault(), self.timeout, until=self._until).is_hub():
            remedy = f"give a hub token with --token env:VAR, made on {url}hub/token"
            raise AuthRefused(self.server.name, "a JupyterHub's servers have no password login", remedy)

    def _has_login(self) -> bool:
        """Tell whether cookies of a login are sent, and not only those of the login's page."""
        sent = Hidden(self._vault.headers(self.server.origin).get("Cookie", ""))
        return any(name and not name.startswith("_xsrf=") for name in sent.split("; "))

    def _no_login(self, answer: _Answer, seen: str) -> ServerError:
        if answer.status == 403 and self.refuses_host():
            return host_refused(self.server)
        name, status = self.server.name, answer.status
        if answer.status >= 500 or answer.status == 429:
            return ServerUnreachable(name, f"nobody can log in there now ({status})", "try again later")
        # A hub's own URL leads to its login, which is for browsers.
        token = "a hub token" if "/hub/" in answer.location else "its token"
        if 300 <= answer.status < 400:
            seen = "its login leads to another page, which is not followed"
        return AuthRefused(name, f"{seen} ({status})", f"give {token} with --token env:VAR")

    def _act(self, method: str, kernel_id: str, action: str = "", timeout: float | None = None) -> None:
        answer = self._call(method, f"api/kernels/{_quoted(kernel_id)}{action}", {}, timeout)
        # jupyter_server 2.21 answers 500 when a kernel that is gone is to be restarted.
        if answer.status == 404 or (answer.status >= 500 and self.kernel(kernel_id) is None):
            name = self.server.name
            problem = f"{name} has no kernel {kernel_id[:8]} any more"
            raise BadAnswer(name, problem, "list the kernels again", cause=Cause.NO_KERNEL, is_named=True)
        self._refuse(answer)

    def _json(self, method: str, path: str, body: Any = None, timeout: float | None = None) -> Any:
        return self._read(self._call(method, path, body, timeout))

    def _read(self, answer: _Answer) -> Any:
        self._refuse(answer)
        try:
            return read_json(answer.body)
        except (ValueError, RecursionError):
            pass
        raise not_json(self.server, answer.content_type, answer.body)

    def _object(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            del value  # a traceback that shows local variables must not show what a stranger's server says
            raise self._shape()
        return value

    def _list(self, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            del value
            raise self._shape()
        return [item for item in value if isinstance(item, dict)]

    def _shape(self) -> BadAnswer:
        return BadAnswer(self.server.name, "its answer is JSON of another shape", "is it a Jupyter server?")

    def _refuse(self, answer: _Answer) -> None:
        if answer.status == 403 and self.refuses_host():
            raise host_refused(self.server)
        if not 200 <= answer.status < 300:
            raise refusal(self.server, self._vault.auth_method(self.server.origin), answer.status, answer.location)

    def _call(self, method: str, path: str, body: Any = None, timeout: float | None = None) -> _Answer:
        """Ask, and log in first where the server wants that and we have a password.

        An answer of any status is given back; everything else is raised as an error of ours.
        """
        answer = self._ask(method, path, body, timeout)
        if answer.status not in (401, 403) and not 300 <= answer.status < 400:
            return answer
        password = self._vault.password(self.server.origin)
        if password is None:
            return answer
        self.log_in(password)
        # What was refused was not done: asking again does nothing twice.
        return self._ask(method, path, body, timeout)

    def _ask(
        self, method: str, path: str, body: Any = None, timeout: float | None = None, *, host: str = ""
    ) -> _Answer:
        import http.client

        timeout = max(timeout or 0.0, self.timeout)
        start = time.monotonic()
        deadline = start + timeout if self._until is None else min(start + timeout, self._until)
        problem: ServerError
        connection, self._kept = self._kept, None
        if connection is not None and _timed(connection).is_over():
            connection.close()
            connection = None
        kept = connection
        try:
            if connection is None:
                connection = self._connect(deadline, timeout)
            sock = _timed(connection)
            sock.deadline = deadline
            answer: _Answer | None = None
            try:
                answer = self._exchange(connection, method, path, body, host)
            except (OSError, http.client.HTTPException) as error:
                # A server may close a kept connection at any moment. What asks only may be asked again, once.
                if connection is not kept or method != "GET" or sock.heard or isinstance(error, TimeoutError):
                    raise
            if answer is None:
                connection.close()
                connection = self._connect(deadline, timeout)
                answer = self._exchange(connection, method, path, body, host)
            if self._keep and connection.sock is not None:
                self._kept = connection
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
        finally:
            if connection is not None and connection is not self._kept:
                connection.close()
        raise problem

    def _connect(self, deadline: float, limit: float) -> http.client.HTTPConnection:
        import http.client

        secret = self._logging_in or self._vault.auth_method(self.server.origin) != "none"
        sock = open_socket(self.server, max(deadline - time.monotonic(), 0.001), secret=secret, limit=limit)
        origin = self.server.origin
        host, port = ("localhost", 80) if self.server.socket_path else (origin.host, origin.port)
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if origin.scheme == "https" else 80  # what the Host header leaves out
        connection.set_debuglevel(0)  # whoever debugs other connections would have our headers printed
        connection.auto_open = 0  # a second connection would not have been looked at
        connection.sock = Timed(sock, deadline)  # all that http.client uses of a socket
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, host: str
    ) -> _Answer:
        headers = {"User-Agent": "kernel_bridge_magic", "Accept": "application/json"}
        headers |= {"Host": host} if host else {}  # else http.client names the origin's
        headers |= self._vault.headers(self.server.origin)
        is_form = isinstance(body, Hidden)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded" if is_form else "application/json"
        # A form holds a password: no variable here has it in clear.
        text = body if body is None or is_form else json.dumps(body)
        connection.request(method, self.server.origin.base_path + path, text, headers)
        # Closed in any case: read(n) may not notice that all has come, and the connection is then not usable again.
        with contextlib.closing(connection.getresponse()) as response:
            content = response.read(LARGEST_BODY + 1)
            if len(content) > LARGEST_BODY:
                del content
                what = f"its answer has more than {LARGEST_BODY >> 20} MiB"
                raise BadAnswer(self.server.name, what, "it was not read")
            if response.length:
                del content
                raise BadAnswer(self.server.name, "it broke off in the middle of its answer", "try again")
        location, kind = response.getheader("Location") or "", response.getheader("Content-Type") or ""
        cookies = tuple(response.headers.get_all("Set-Cookie") or ())
        return _Answer(response.status, location, kind.lower(), content, cookies, response.getheader("Date") or "")


def _timed(connection: http.client.HTTPConnection) -> Timed:
    """Return the socket that `ServerAPI._connect` gave to a connection."""
    sock: Any = connection.sock
    assert isinstance(sock, Timed)
    return sock


def _time(date: str) -> datetime | None:
    """Read a Date header; None if it is none."""
    from email.utils import parsedate_to_datetime

    with contextlib.suppress(ValueError, OverflowError):
        when = parsedate_to_datetime(date)
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return None


def _asks_for_password(page: _Answer) -> bool:
    return re.search(rb"""\b(?:type|name)\s*=\s*["']?password\b""", page.body[: 1 << 20], re.IGNORECASE) is not None


def kernelspec(name: str, spec: Any) -> KernelSpec:
    """Read a kernelspec's JSON, as servers send it and as `kernel.json` holds it; what is no text becomes ""."""
    fields = spec if isinstance(spec, Mapping) else {}
    display, language = fields.get("display_name"), fields.get("language")
    return KernelSpec(
        name,
        display if isinstance(display, str) else "",
        language.lower() if isinstance(language, str) else "",
    )


def _cookies(headers: Sequence[str]) -> dict[str, str]:
    """Read Set-Cookie headers; a cookie that is taken back is left out."""
    from http.cookies import CookieError, SimpleCookie

    found: dict[str, str] = {}
    for header in headers:
        jar: SimpleCookie = SimpleCookie()
        with contextlib.suppress(CookieError):
            jar.load(header)
        found |= {name: Hidden(morsel.coded_value) for name, morsel in jar.items() if morsel.value}
    return found


def _quoted(kernel_id: str) -> str:
    # A hostile id must not lead to another route; quote() leaves dots alone.
    return quote(kernel_id, safe="").replace(".", "%2E") if set(kernel_id) <= {"."} else quote(kernel_id, safe="")
