"""The servers: how each is started, and how a kernel is started there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.ports import free_port
from tests.support.servers import QUICK, Process, private_env, wait_for

__all__ = ["TOKEN", "Gateway", "Hub", "Notebook6", "RealServer", "Server2"]

TOKEN = "token-of-a-real-server"


class RealServer(Process):
    """A running server: `url` with a final slash, `runtime_dir` where it leaves its info file, if it does."""

    #: what goes into the body of `POST /api/kernels`
    start_body: Mapping[str, Any] = {}

    def __init__(self, python: Path, directory: Path, argv: Sequence[str], *, base: str = "/", **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{base}"
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.env = private_env(directory, PYTHONPATH=QUICK, **env)
        # The kernels of an environment are its own, not those of ours.
        self.env["PATH"] = f"{python.parent}:{self.env.get('PATH', '')}"
        self.runtime_dir = Path(self.env["JUPYTER_RUNTIME_DIR"])
        filled = [word.replace("{port}", str(self.port)) for word in argv]
        self._spawn([str(python), *filled], self.env, directory, directory / "server.log")
        try:
            wait_for(self._answers, "an answer", 60)
        except BaseException:
            self.stop()
            raise AssertionError(f"no server: {self.log_text()[-3000:]}") from None

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("it ended")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "api")[0] in (200, 401, 403)
        return False

    def request(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, bytes]:
        """Ask the server; `path` is below its base URL."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        with contextlib.closing(connection):
            headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
            connection.request(method, parts.path + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def json(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> Any:
        """Ask the server, and give the JSON of its answer."""
        status, data = self.request(method, path, body, token)
        assert status < 300, (method, path, status, data[:500])
        return json.loads(data) if data else None

    def start_kernel(self) -> str:
        """Start a kernel; give its id."""
        return str(self.json("POST", "api/kernels", {"name": "python3", **self.start_body})["id"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


_COMMON = ("--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}")


class Server2(RealServer):
    """jupyter_server, JupyterLab or Notebook 7; older ones with their own name of the token's setting."""

    def __init__(
        self,
        python: Path,
        directory: Path,
        module: str = "jupyter_server",
        *more: str,
        setting: str = "IdentityProvider.token",
        token: str = TOKEN,
    ) -> None:
        super().__init__(python, directory, ["-m", module, *_COMMON, f"--{setting}={token}", *more])


class Notebook6(RealServer):
    """The classic server of Notebook 6, below a base path."""

    def __init__(self, python: Path, directory: Path) -> None:
        argv = ["-m", "notebook", *_COMMON, f"--NotebookApp.token={TOKEN}", "--NotebookApp.base_url=/old/"]
        super().__init__(python, directory, argv, base="/old/")


class Gateway(RealServer):
    """Kernel Gateway or Enterprise Gateway."""

    def __init__(self, python: Path, directory: Path, *, enterprise: bool, lists: bool = True) -> None:
        if enterprise:
            self.start_body = {"env": {"KERNEL_USERNAME": "ann"}}
            module, app = "enterprise_gateway", "EnterpriseGatewayApp"
            option = "--EnterpriseGatewayApp.list_kernels"
        else:
            module, app = "kernel_gateway", "KernelGatewayApp"
            option = "--JupyterWebsocketPersonality.list_kernels"
        argv = ["-m", module, f"--{app}.ip=127.0.0.1", f"--{app}.port={{port}}", f"--{app}.auth_token={TOKEN}"]
        argv.append(f"{option}={lists}")
        super().__init__(python, directory, argv, EG_UNAUTHORIZED_USERS="nobody")


_HUB_CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:THE_PORT/base/"
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.db_url = "sqlite://"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{directory}/{{username}}"
c.JupyterHub.allow_named_servers = True
c.Spawner.args = ["--allow-root"]
c.JupyterHub.services = [{{"name": "setup", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "setup", "services": ["setup"],
    "scopes": ["admin:users", "admin:servers", "tokens", "access:servers", "list:users"]}}]
"""


class Hub(RealServer):
    """A JupyterHub with two users, ann and bob; all servers are stopped at first."""

    def __init__(self, python: Path, directory: Path, proxy: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "jupyterhub_config.py"
        # Two steps: the port is only known when it is chosen.
        argv = ["-c", _RUN_HUB, str(config), "{port}"]
        names = {"hub_port": free_port(), "api_port": free_port(), "proxy": proxy, "directory": directory}
        config.write_text(_HUB_CONFIG.format(token=TOKEN, **names))
        # node is this machine's, or the one that was installed beside the proxy.
        path = f"{proxy.parents[2] / 'nodejs' / 'bin'}:{os.environ.get('PATH', '')}"
        super().__init__(python, directory, argv, base="/base/hub/", PATH=path)
        self.json("POST", "api/users", {"usernames": ["ann", "bob"]})

    def token(self, user: str, *scopes: str) -> str:
        """Make a token of a user, with these scopes."""
        return str(self.json("POST", f"api/users/{user}/tokens", {"scopes": list(scopes)})["token"])

    def start_servers(self, *servers: tuple[str, str]) -> None:
        """Start servers, each of a user and with a name, and wait until they run."""
        for user, name in servers:
            self.request("POST", f"api/users/{user}/servers/{name}")
        wait_for(lambda: all(self._server(*one).get("ready") for one in servers), f"the servers {servers}", 180, 0.1)

    def stop_server(self, user: str, name: str = "") -> None:
        """Stop a user's server."""
        self.request("DELETE", f"api/users/{user}/servers/{name}")
        wait_for(lambda: not self._server(user, name), "the server's end", 30, 0.1)

    def _server(self, user: str, name: str) -> dict[str, Any]:
        return self.json("GET", f"api/users/{user}")["servers"].get(name) or {}


_RUN_HUB = """
import sys
path, port = sys.argv[1:]
text = open(path).read().replace("THE_PORT", port)
open(path, "w").write(text)
sys.argv[1:] = ["-f", path]
from jupyterhub.app import main
main()
"""
