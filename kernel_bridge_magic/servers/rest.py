"""The REST API of Jupyter servers, gateways and hubs' servers: a dozen calls.

No redirect is followed and no proxy used; each wrong answer becomes one sentence that says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from kernel_bridge_magic.access.deadline import NEVER, Deadline
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.errors import BadAnswer, Cause
from kernel_bridge_magic.models import KernelSpec, Server, kernelspec_of
from kernel_bridge_magic.protocol.messages import read_json
from kernel_bridge_magic.servers.http_client import TIMEOUT, Answer, HttpClient
from kernel_bridge_magic.servers.login import log_in
from kernel_bridge_magic.servers.refusals import not_json

_Kind = TypeVar("_Kind")
_READ_SECONDS = 10.0  # for a notebook, which may be large
#: how long a call may take that starts a kernel
SLOW_SECONDS = 65.0  # a server waits up to 60 s for a kernel that starts


class ServerAPI:
    """The calls to one server. Used as a context manager it keeps its connection between calls.

    `timeout` is in seconds, for each call as a whole; no call goes beyond `until`. Not for several threads at once.

    Every method raises:
        ServerUnreachable: nobody answers there in time, or a hub says that the server is not running.
        AuthRefused: it does not accept who we are.
        BadAnswer: what answers is no Jupyter server, or does not do what was asked.
    """

    def __init__(self, server: Server, vault: Vault, timeout: float = TIMEOUT, *, until: Deadline = NEVER) -> None:
        self.server = server
        self._http = HttpClient(server, vault, timeout, until)

    def __enter__(self) -> ServerAPI:
        self._http.keep = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._http.keep = False
        self._http.drop()

    @property
    def clock(self) -> datetime | None:
        """The server's own time at its last answer, None where it does not say: its clock need not be ours."""
        return self._http.clock

    def version(self) -> str:
        """Return the server's version, "" if it does not say (`GET /api`, which wants no token but on gateways)."""
        version = self._object(self._json("GET", "api")).get("version")
        return version if isinstance(version, str) else ""

    def hub_user(self) -> dict[str, Any]:
        """Return the model of the user whose token it is, with the servers if the token may list them."""
        return self._object(self._json("GET", "hub/api/user?include_stopped_servers=1"))

    def kernels(self) -> list[dict[str, Any]]:
        """Return the models of `GET /api/kernels`; items that are no objects are left out."""
        return self._models("api/kernels")

    def sessions(self) -> list[dict[str, Any]]:
        """Return the models of `GET /api/sessions`; items that are no objects are left out."""
        return self._models("api/sessions")

    def kernelspecs(self) -> dict[str, KernelSpec]:
        """Return what can be started there, by name."""
        specs = self._object(self._json("GET", "api/kernelspecs")).get("kernelspecs")
        found = {}
        for name, item in specs.items() if isinstance(specs, Mapping) else ():
            spec = item.get("spec") if isinstance(item, Mapping) else None
            found[str(name)] = KernelSpec.from_json(str(name), spec)
        return found

    def kernel(self, kernel_id: str) -> dict[str, Any] | None:
        """Return the model of one kernel; None if the server has no such kernel (any more)."""
        answer = self._call("GET", f"api/kernels/{_quoted(kernel_id)}")
        if answer.status == 404:
            return None
        return self._object(self._read(answer))

    def interrupt(self, kernel_id: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Interrupt a kernel, unless that is not `wanted` any more when the connection is there."""
        http = self._http
        with ServerAPI(self.server, http.vault, http.timeout, until=http.until) as api:
            # This opens the connection, and logs in where that is needed: then a word gets there at once.
            api.kernel(kernel_id)
            if wanted():
                api._act("POST", kernel_id, "/interrupt")

    def restart(self, kernel_id: str) -> None:
        """Restart a kernel; return when the server says that it is done."""
        self._act("POST", kernel_id, "/restart", SLOW_SECONDS)

    def delete(self, kernel_id: str) -> None:
        """Shut a kernel down."""
        self._act("DELETE", kernel_id, timeout=SLOW_SECONDS)

    def start(
        self, spec: str | None = None, path: str | None = None, *, name: str = "", kind: str = "notebook"
    ) -> dict[str, Any]:
        """Start a kernel of that kernelspec, with a session if `path` is given; return the kernel's model.

        `name` is the session's, by default the last part of its path, `kind` its type: `notebook` or `console`.
        """
        kernel = {"name": spec} if spec else {}
        if path is None:
            return self._object(self._json("POST", "api/kernels", kernel, SLOW_SECONDS))
        body = {"path": path, "name": name or path.rsplit("/", 1)[-1], "type": kind, "kernel": kernel}
        session = self._object(self._json("POST", "api/sessions", body, SLOW_SECONDS))
        return self._object(session.get("kernel"))

    def notebook_kernel(self, path: str) -> str:
        """Return the name of the kernelspec that a notebook wants, "" if it does not say.

        Raises:
            BadAnswer: there is no such notebook.
        """
        answer = self._call("GET", f"api/contents/{quote(path.strip('/'))}?type=notebook", timeout=_READ_SECONDS)
        if answer.status in (400, 404):
            problem = f"{self.server.name} has no notebook {path}"
            raise BadAnswer(self.server.name, problem, "write its path from the server's root", is_named=True)
        return kernelspec_of(self._object(self._read(answer)).get("content"))

    def log_in(self, password: Secret) -> None:
        """Log in with a password, as `login.log_in` does."""
        log_in(self._http, password)

    def _act(self, method: str, kernel_id: str, action: str = "", timeout: float | None = None) -> None:
        answer = self._call(method, f"api/kernels/{_quoted(kernel_id)}{action}", {}, timeout)
        status, name = answer.status, self.server.name
        # jupyter_server 2.21 answers 500 when a kernel that is gone is to be restarted. Of a kernel that is there 404
        # says, as 405 does, that there is no such call, and 403 that it is not for everybody who may see the kernel.
        if status in (403, 404, 405) or status >= 500:
            is_gone = self.kernel(kernel_id) is None
            if is_gone and status != 403:
                problem = f"{name} has no kernel {kernel_id[:8]} any more"
                raise BadAnswer(name, problem, "list the kernels again", cause=Cause.NO_KERNEL, is_named=True)
            if not is_gone and status < 500:
                problem = f"{name} does not let you do that with its kernels ({status})"
                raise BadAnswer(name, problem, "ask whoever runs it", is_named=True)
        self._http.refuse(answer)

    def _json(self, method: str, path: str, body: Any = None, timeout: float | None = None) -> Any:
        return self._read(self._call(method, path, body, timeout))

    def _read(self, answer: Answer) -> Any:
        self._http.refuse(answer)
        try:
            return read_json(answer.body)
        except (ValueError, RecursionError):
            pass
        raise not_json(self.server, answer.content_type, answer.body)

    def _models(self, path: str) -> list[dict[str, Any]]:
        return [item for item in self._shaped(self._json("GET", path), list) if isinstance(item, dict)]

    def _object(self, value: Any) -> dict[str, Any]:
        return self._shaped(value, dict)

    def _shaped(self, value: Any, kind: type[_Kind]) -> _Kind:
        if not isinstance(value, kind):
            del value  # a traceback that shows local variables must not show what a stranger's server says
            raise BadAnswer(self.server.name, "its answer is JSON of another shape", "is it a Jupyter server?")
        return value

    def _call(self, method: str, path: str, body: Any = None, timeout: float | None = None) -> Answer:
        """Send a request, and log in first where the server wants that and we have a password.

        An answer of any status is returned; everything else is raised as an error of ours.
        """
        http = self._http
        answer = http.ask(method, path, body, timeout)
        if answer.status not in (401, 403) and not answer.is_redirect:
            return answer
        password = http.vault.password(self.server.origin)
        if password is None:
            return answer
        log_in(http, password)
        # What was refused was not done: asking again does nothing twice.
        return http.ask(method, path, body, timeout)


def _quoted(kernel_id: str) -> str:
    # A hostile id must not lead to another route; quote() leaves dots alone.
    return quote(kernel_id, safe="").replace(".", "%2E") if set(kernel_id) <= {"."} else quote(kernel_id, safe="")
