"""Real Jupyter servers and serverless kernels for tests: started here, ended here, each in private directories.

with JupyterServer(tmp_path) as server:
    kernel_id = server.start_kernel(path="a.ipynb")
    server.rest("GET", "api/kernels")
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.ports import CONFIG, free_port

#: for `PYTHONPATH`: what is found here in the place of packages makes servers and kernels start faster
QUICK = str(Path(__file__).parent / "quick")
START_SECONDS = 40.0
_ANSWER_SECONDS = 60.0  # a machine whose disk is slow for a while holds a server up
NO_PORT_SECONDS = 6.0  # a server gives new ports to a kernel that dies in its first ten seconds
_EXTENSIONS = ("jupyterlab", "notebook", "notebook_shim", "jupyter_lsp", "jupyter_server_terminals")
_RUNNING: dict[subprocess.Popen[bytes], Path] = {}
_TAIL = 3000
#: in a server's configuration file: what every thread does goes to the log when somebody asks by a signal
_TELLS_WHERE_IT_IS = "import faulthandler, signal\nfaulthandler.register(signal.SIGUSR1)\n"


def wait_for(condition: Callable[..., Any], what: str, seconds: float = START_SECONDS, every: float = 0.02) -> Any:
    """Return the first true value of `condition()`; fail the test when none came in `seconds`.

    It is called without arguments; those that a lambda has bind the variables of a loop.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)
    return value


def private_env(directory: Path, runtime_dir: Path | None = None, /, **more: str) -> dict[str, str]:
    """Give an environment whose Jupyter and IPython directories all lie below `directory`, which is made."""
    # xdist sets the size of a terminal, which a terminal of a test has itself.
    not_inherited = ("JUPYTER", "JPY_", "XDG_RUNTIME", "COV_", "COLUMNS", "LINES")
    env = {k: v for k, v in os.environ.items() if not k.startswith(not_inherited)}
    env |= {
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "JUPYTER_DATA_DIR": str(directory / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime_dir or directory / "runtime"),
        "IPYTHONDIR": str(directory / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        Path(env[name]).mkdir(parents=True, exist_ok=True, mode=0o700)
    install_kernels(Path(env["JUPYTER_DATA_DIR"]))
    Path(env["JUPYTER_CONFIG_DIR"], "jupyter_server_config.py").write_text(CONFIG + _TELLS_WHERE_IT_IS)
    return env | more


def install_kernels(data_dir: Path) -> None:
    """Make bash's and Deno's kernels known below `data_dir`: their packages bring no kernelspecs."""
    deno = str(Path(sys.executable).with_name("deno"))
    specs: list[dict[str, Any]] = [
        {
            "argv": [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"],
            "display_name": "Bash",
            "language": "bash",
            "env": {"PS1": "$"},
        },
        {
            "argv": [deno, "jupyter", "--kernel", "--conn", "{connection_file}"],
            "display_name": "Deno",
            "language": "typescript",
            "env": {"DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        },
    ]
    for spec in specs:
        folder = data_dir / "kernels" / spec["display_name"].lower()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


class Process:
    """A child process with a log file; ended with all its children, at the latest when Python ends."""

    process: subprocess.Popen[bytes]

    def _spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            # A session of its own: Ctrl-C for pytest is none for the server.
            self.process = subprocess.Popen(
                list(argv), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        _RUNNING[self.process] = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        """Send a signal to this process alone; a SIGSTOP has stopped it when this returns."""
        os.kill(self.process.pid, number)
        if number == signal.SIGSTOP:
            wait_for(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED, "the stop")

    def kill(self) -> None:
        """SIGKILL this process alone; its files stay, as after a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it (SIGTERM, then SIGKILL) and whatever it had started."""
        end(self.process)

    def log_text(self) -> str:
        return self.log.read_text("utf-8", "replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server or a kernel (SIGTERM, then SIGKILL), after what it has started."""
    _RUNNING.pop(process, None)
    _kill_children(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _kill_children(pid: int) -> None:
    """SIGKILL what a process has started: a kernel that ends by itself takes half as long for it as for its start."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def logs_of_the_running() -> str:
    """The ends of the log files of every process that runs now: for a test that failed."""
    tails = (f"{log}\n{log.read_text('utf-8', 'replace')[-_TAIL:]}" for log in _RUNNING.values() if log.exists())
    return "\n".join(tails)


@atexit.register
def _end_all() -> None:
    for process in list(_RUNNING):
        end(process)


class JupyterServer(Process):
    """A running `python -m jupyter_server`.

    `url` is its base URL with a final slash, `token` its token ("" for none), `root` its root directory,
    `runtime_dir` where its `jpserver-*.json` and the kernels' connection files are, `log` its log file.

    Args:
        directory: where its private directories go.
        token: "" for an open server, or for one with `password`.
        base_url: e.g. "/a/b%20c/".
        password: hashed and given as `PasswordIdentityProvider.hashed_password`.
        ip: what it listens on (`--ip`); it is dialled on loopback.
        sock: listen on this unix socket instead.
        certfile, keyfile: for https.
        runtime_dir: share one between servers.
        extra: more command line arguments.
        env: more environment variables.
        module: "jupyter_server", or "jupyterlab", "notebook".
    """

    def __init__(
        self,
        directory: Path,
        *,
        token: str = "token-of-a-test",
        base_url: str = "/",
        password: str = "",
        ip: str = "127.0.0.1",
        sock: str = "",
        certfile: str = "",
        keyfile: str = "",
        runtime_dir: Path | None = None,
        extra: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        module: str = "jupyter_server",
        port: int | None = None,
    ) -> None:
        self.token, self.base_url, self.sock = token, "/" + base_url.strip("/") + "/" * (base_url != "/"), sock
        self.host = "::1" if ip == "::1" else "127.0.0.1"
        self.port = 0 if sock else port or free_port(self.host)
        self.root = directory / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.env = private_env(directory, runtime_dir, **(env or {}))
        self.runtime_dir = Path(self.env["JUPYTER_RUNTIME_DIR"])
        scheme = "https" if certfile else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{scheme}://{host}:{self.port}{self.base_url}"
        argv = [sys.executable, "-m", module, "--no-browser", "--allow-root", f"--ServerApp.root_dir={self.root}"]
        argv += [f"--IdentityProvider.token={token}", f"--ServerApp.base_url={self.base_url}"]
        argv += [f"--sock={sock}"] if sock else [f"--ip={ip}", f"--port={self.port}", "--ServerApp.port_retries=0"]
        argv += [f"--certfile={certfile}", f"--keyfile={keyfile}"] if certfile else []
        # Nobody looks at their pages, and they take half of the time to start.
        unused = _EXTENSIONS if module == "jupyter_server" else ()
        argv += [f"--ServerApp.jpserver_extensions={name}=False" for name in unused]
        argv += [f"--PasswordIdentityProvider.hashed_password={_hashed(password)}"] if password else []
        self._spawn([*argv, *extra], self.env, self.root, directory / "server.log")
        try:
            wait_for(self._ready, "the server's answer to /api")
        except BaseException:
            self.stop()
            raise AssertionError(f"no server: {self.log_text()[-2000:]}") from None

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the server ended")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "api")[0] in (200, 401, 403) and self.info_file.exists()
        return False

    @property
    def info_file(self) -> Path:
        """Its `jpserver-<pid>.json`."""
        return self.runtime_dir / f"jpserver-{self.pid}.json"

    def connection_file(self, kernel_id: str) -> Path:
        """The connection file of one of its kernels."""
        return self.runtime_dir / f"kernel-{kernel_id}.json"

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Ask the server; `path` is relative to its base URL. Gives status and body.

        One that is up and does not answer writes to its log, which a failed test shows, what it does instead.
        """
        try:
            return self._ask(method, path, body)
        except TimeoutError:
            if self.info_file.exists():
                self.signal(signal.SIGUSR1)
            raise

    def _ask(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port or 80, timeout=_ANSWER_SECONDS)
        with contextlib.closing(connection):
            if self.sock:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self.sock)
            elif self.url.startswith("https"):
                plain = socket.create_connection((self.host, self.port), _ANSWER_SECONDS)
                connection.sock = ssl._create_unverified_context().wrap_socket(plain)
            headers = {"Authorization": f"token {self.token}"} if self.token else {}
            headers |= {"Cookie": "_xsrf=test", "X-XSRFToken": "test"}
            data = None if body is None else json.dumps(body)
            connection.request(method, self.base_url + path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server, and give the JSON of its answer (None if it is empty)."""
        status, data = self.request(method, path, body)
        assert status < 300, (method, path, status, data[:500])
        return json.loads(data) if data else None

    def start_kernel(self, name: str | None = None, path: str | None = None) -> str:
        """Start a kernel, with a notebook session if `path` is given; gives its id."""
        if path is None:
            return str(self.rest("POST", "api/kernels", {"name": name} if name else {})["id"])
        model = {"path": path, "name": path.rsplit("/", 1)[-1], "type": "notebook", "kernel": {"name": name or ""}}
        return str(self.rest("POST", "api/sessions", model)["kernel"]["id"])

    def start_kernels(self, *paths: str) -> dict[str, str]:
        """Start a kernel for each notebook; gives their ids by path, once they have all their ports.

        Before that a cell may be told to wait.
        """
        ids = {path: self.start_kernel(path=path) for path in paths}
        for kernel_id in ids.values():
            self.wait_for_kernel(kernel_id)
        return ids

    @contextlib.contextmanager
    def kernel(self, path: str) -> Iterator[str]:
        """Give the id of a kernel of its own for a notebook, once it has all its ports; it ends behind the block."""
        kernel_id = self.start_kernels(path)[path]
        yield kernel_id
        self.delete_kernel(kernel_id)

    def delete_kernel(self, kernel_id: str) -> None:
        """End a kernel, and wait until the server has none of that id any more.

        A server that is just starting a dead kernel again answers 500 (`InvalidStateError`), and keeps it.
        """
        wait_for(lambda: self.request("DELETE", f"api/kernels/{kernel_id}")[0] in (204, 404), "the kernel's end")

    def wait_for_kernel(self, kernel_id: str) -> None:
        """Wait until a kernel has all its ports; it is started again if one of them was taken meanwhile."""
        file = self.connection_file(kernel_id)
        began = time.monotonic()

        def is_ready() -> bool:
            nonlocal began
            if file.exists() and heart_beats(json.loads(file.read_text())):  # a kernel opens this port last
                return True
            if time.monotonic() - began > NO_PORT_SECONDS:
                # One whose heartbeat's port was taken lives on without; for other ports it may hang as it exits.
                end_kernel_of(file)
                began = time.monotonic()
            return False

        wait_for(is_ready, "the kernel's heartbeat")

    def __enter__(self) -> JupyterServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _hashed(password: str) -> str:
    from jupyter_server.auth.security import passwd

    return str(passwd(password))


def end_kernel_of(connection_file: Path) -> None:
    """SIGKILL the kernel that was started with a connection file."""
    for process in psutil.process_iter(["cmdline"]):
        if str(connection_file) in (process.info["cmdline"] or ()):
            process.kill()


def heart_beats(info: Mapping[str, Any], seconds: float = 0.5) -> bool:
    """Ask the heartbeat of the kernel of a connection file once."""
    import zmq

    sep = "-" if info.get("transport") == "ipc" else ":"
    context: zmq.Context[Any] = zmq.Context.instance()
    with context.socket(zmq.REQ) as sock:
        sock.linger = 0
        sock.connect(f"{info.get('transport', 'tcp')}://{info['ip']}{sep}{info['hb_port']}")
        sock.send(b"ping")
        return bool(sock.poll(int(seconds * 1000)))


class ConsoleKernel(Process):
    """A kernel that no server knows: `python -m ipykernel_launcher -f <runtime_dir>/kernel-<name>.json`.

    `connection_file` is its Path, `info` the connection file's content, `id` the part of the file's name
    after `kernel-`.

    Args:
        runtime_dir: where the connection file goes; made if missing.
        name: what comes after `kernel-`.
        extra: more arguments, e.g. `["--transport=ipc", "--ip=..."]`.
        env: more environment variables.
        module: what is run in place of `ipykernel_launcher`.
    """

    def __init__(
        self,
        runtime_dir: Path,
        name: str = "x",
        *,
        extra: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        module: str = "ipykernel_launcher",
    ) -> None:
        runtime_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.id = name
        self.connection_file = runtime_dir / f"kernel-{name}.json"
        argv = [sys.executable, "-m", module, "-f", str(self.connection_file), *extra]
        home = runtime_dir.parent / f"console-{name}"
        home.mkdir(exist_ok=True)
        self._spawn(argv, private_env(home, runtime_dir, **(env or {})), home, home / "kernel.log")
        try:
            wait_for(self._ready, "the kernel's heartbeat")
        except BaseException:
            self.stop()
            raise AssertionError(f"no kernel: {self.log_text()[-2000:]}") from None

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the kernel ended")
        with contextlib.suppress(OSError, ValueError):
            self.info: dict[str, Any] = json.loads(self.connection_file.read_text())
            return self.heartbeat()
        return False

    def heartbeat(self, seconds: float = 0.5) -> bool:
        """Ask the kernel's heartbeat once."""
        return heart_beats(self.info, seconds)

    def __enter__(self) -> ConsoleKernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
