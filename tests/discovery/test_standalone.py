from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.discovery.heartbeat import Endpoint, Heartbeats
from kernel_bridge_magic.discovery.runtime_files import FileContent, Refused, read_runtime_files
from kernel_bridge_magic.discovery.standalone import (
    endpoint,
    endpoints,
    file_kernel_id,
    kernelspec_on_disk,
    own_connection_file,
    own_kernel_id,
    standalone_kernel,
    starter,
)
from kernel_bridge_magic.models import Kernel, KernelSpec
from tests.support.clients import client_of
from tests.support.ports import free_port
from tests.support.servers import ConsoleKernel, Process, private_env, wait_for


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleKernel]:
    with ConsoleKernel(tmp_path_factory.mktemp("console") / "runtime") as kernel:
        yield kernel


def connection(**more: Any) -> dict[str, Any]:
    """A connection file's content, on whose ports nobody listens."""
    names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    port = free_port()
    return dict.fromkeys(names, port) | {"ip": "127.0.0.1", "transport": "tcp", "key": "k", "kernel_name": ""} | more


def alive(directory: Path, seconds: float = 2.0) -> tuple[list[Kernel], dict[str, str]]:
    """The kernels of a directory's connection files that answer, and the problems of the others, by file name."""
    files = {file.path: file for file in read_runtime_files([str(directory)]).kernels}
    where, skipped = endpoints(list(files.values()))
    problems = {Path(item.path).name: item.reason for item in skipped}
    beats = Heartbeats(list(where.values()), seconds)
    beats.wait(where, Deadline.after(seconds))
    beats.stop()
    problems |= {Path(path).name: problem for path in where if (problem := beats.problem(path))}
    kernels = [standalone_kernel(files[path], where[path]) for path in where if not beats.problem(path)]
    return kernels, problems


@pytest.mark.alone
def test_a_kernel_that_no_server_knows(console: ConsoleKernel) -> None:
    start = time.monotonic()
    [kernel], problems = alive(console.connection_file.parent)
    assert time.monotonic() - start < 0.5
    assert problems == {}
    assert kernel.id == "x" and kernel.server is None and kernel.state == "alive" and kernel.is_yours
    assert kernel.connection_file == str(console.connection_file)
    assert kernel.started_by == f"python (pid {console.pid})"
    assert kernel.language == "python"
    # The second time nothing is looked for, and the same is found.
    assert alive(console.connection_file.parent)[0] == [kernel]


@pytest.mark.alone
def test_busy_and_stopped_and_killed(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    with ConsoleKernel(runtime) as kernel:
        _run(kernel, "import time; time.sleep(60)")
        assert len(alive(runtime)[0]) == 1
        kernel.signal(signal.SIGSTOP)
        start = time.monotonic()
        kernels, problems = alive(runtime, 0.5)
        assert kernels == [] and "heartbeat does not answer" in problems["kernel-x.json"]
        assert time.monotonic() - start < 0.8
        kernel.signal(signal.SIGCONT)
        assert len(alive(runtime)[0]) == 1
        kernel.kill()
        start = time.monotonic()
        kernels, problems = alive(runtime)
        assert kernels == [] and "has ended" in problems["kernel-x.json"]
        assert time.monotonic() - start < 0.5
        assert kernel.connection_file.exists()


def _run(kernel: ConsoleKernel, code: str) -> None:
    """Have the kernel run `code`, and return when it has begun."""
    client = client_of(kernel.connection_file)
    try:
        client.execute(code)
        wait_for(lambda: client.get_iopub_msg(timeout=20)["msg_type"] == "execute_input", "the cell's begin")
    finally:
        client.stop_channels()


def test_ipc(tmp_path: Path) -> None:
    short = Path(os.path.relpath(tmp_path))
    if len(str(tmp_path)) > 80:
        pytest.skip(f"a unix socket's path would be too long: {short}")
    with ConsoleKernel(tmp_path / "r", extra=["--transport=ipc", f"--ip={tmp_path / 'r' / 's'}"]) as kernel:
        [found], problems = alive(tmp_path / "r")
        assert problems == {} and found.started_by == f"python (pid {kernel.pid})"
        kernel.kill()
        assert "has ended" in alive(tmp_path / "r")[1]["kernel-x.json"]


_EMBEDDED = """
import IPython, sys, threading
from traitlets.config import Config
config = Config()
config.IPKernelApp.transport = sys.argv[1]
secret_of_the_program = 42
IPython.embed_kernel(config=config)
"""
_THREAD = """
import asyncio, sys, threading
def run():
    asyncio.set_event_loop(asyncio.new_event_loop())
    from ipykernel.kernelapp import IPKernelApp
    app = IPKernelApp.instance(transport=sys.argv[1], user_ns={"secret_of_the_program": 42})
    app.init_signal = lambda: None
    app.initialize([])
    app.start()
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
_LAUNCHER = ["-m", "ipykernel_launcher", "--IPKernelApp.exec_lines=secret_of_the_program=42"]
#: how it is started, and where, below the directory of the test
PROGRAMS = {
    "a relative -f": ([*_LAUNCHER, "-f", "kernel-r.json", "--transport=ipc"], "r"),
    "a relative -f that goes up": ([*_LAUNCHER, "-f", "../r/kernel-r.json", "--transport=ipc"], "w k"),
    "--f=": ([*_LAUNCHER, "--f=./kernel-r.json", "--transport=ipc", "--ip=sock"], "r"),
    "embedded, ipc": (["-c", _EMBEDDED, "ipc"], "w k"),
    "in a thread, ipc": (["-c", _THREAD, "ipc"], "w k"),
}


class Program(Process):
    """A process with a kernel in it, which nobody started as one; its own directory is no runtime directory."""

    def __init__(self, directory: Path, runtime: Path, argv: Sequence[str]) -> None:
        directory.mkdir(exist_ok=True)
        self._spawn([sys.executable, *argv], private_env(directory, runtime), directory, directory / "log")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


@pytest.mark.parametrize("how", PROGRAMS)
def test_a_socket_tells_whose_kernel_it_is(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv, where = PROGRAMS[how]
    if len(str(tmp_path)) > 80:
        pytest.skip("a unix socket's path would be too long")
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    with Program(tmp_path / where, runtime, argv) as program:
        bridge = Bridge()
        [kernel] = wait_for(lambda: bridge.search.look().kernels, "the kernel")
        assert kernel.is_yours and kernel.started_by == f"python (pid {program.pid})"
        assert bridge.search.look().kernels == (kernel,) and bridge.search.look().skipped == ()
        connection = bridge.pool.connect(kernel)
        value = connection.execute("secret_of_the_program").value
        assert value is not None and value.text == "42"
        bridge.close()
        program.kill()
        [skipped] = bridge.search.look().skipped
        assert "the kernel has ended" in skipped.reason


def test_a_relative_socket_of_nobody_is_where_the_file_is(tmp_path: Path) -> None:
    file = FileContent(str(tmp_path / "kernel-1.json"), connection(transport="ipc", ip="no-such"), 0.0)
    assert endpoint(file).ip == str(tmp_path / "no-such")


def test_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jupyter_client = pytest.importorskip("jupyter_client", minversion="8.9")
    runtime = tmp_path / "runtime"
    for name, value in private_env(tmp_path, runtime).items():
        if name.startswith(("JUPYTER", "IPYTHON")):
            monkeypatch.setenv(name, value)
    path = runtime / "kernel-curve.json"
    manager = jupyter_client.KernelManager(connection_file=str(path), transport_encryption="required")
    manager.start_kernel()
    try:
        assert json.loads(path.read_text())["curve_secretkey"]
        wait_for(lambda: alive(runtime)[0], "the heartbeat by curve", 20)
        file = read_runtime_files([str(runtime)]).kernels[0]
        bare = endpoint(file)._replace(curve_public="", curve_secret="")
        beats = Heartbeats([bare], 0.3)
        beats.wait([bare.path], Deadline.after(1))
        assert beats.problem(bare.path)
    finally:
        manager.shutdown_kernel(now=True)


def test_jupyter_console(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    env = private_env(tmp_path, runtime)
    console = pexpect.spawn(sys.executable, ["-m", "jupyter_console"], env=env, cwd=str(tmp_path), timeout=30)
    try:
        [kernel] = wait_for(lambda: runtime.exists() and alive(runtime)[0], "the console's kernel", 30)
        assert kernel.started_by == kernel.title == "jupyter console"
        assert kernel.name == "python3" and kernel.display_name.startswith("Python 3")
    finally:
        console.close(force=True)


def test_others_behind_the_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:  # accepts, and is no kernel
        port = sock.getsockname()[1]
        (tmp_path / "kernel-1.json").write_text(json.dumps(connection(shell_port=port, hb_port=port)))
        kernels, problems = alive(tmp_path, 0.3)
    assert kernels == [] and "heartbeat does not answer" in problems["kernel-1.json"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_listener_of_another_user_is_refused(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import os, socket; os.setgid(65534); os.setuid(65534); s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        file = FileContent(str(tmp_path / "kernel-1.json"), connection(shell_port=port), 0.0)
        with pytest.raises(Refused, match="no process of ours"):
            standalone_kernel(file, endpoint(file))


@pytest.mark.alone
def test_many_stale_files_cost_little(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"kernel-{number}.json").write_text(json.dumps(connection()))
    start = time.monotonic()
    kernels, problems = alive(tmp_path)
    assert kernels == [] and len(problems) == 400
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shell_port": "1"}, "shell_port"),
        ({"hb_port": 0}, "hb_port"),
        ({"iopub_port": None}, "iopub_port"),
        ({"key": ""}, "no key"),
        ({"key": 5}, "'key' is not text"),
        ({"transport": "pgm"}, "neither tcp nor ipc"),
        ({"transport": "ipc", "ip": "/r/other\0"}, "has a NUL character"),
        ({"ip": "10.1.2.3"}, "without encryption"),
        ({"ip": "0.0.0.0"}, "without encryption"),
        ({"ip": "evil.example"}, "its ip is not an address"),
        ({"ip": "203.0.113.7", "curve_publickey": "p", "curve_secretkey": "s"}, "another machine"),
        ({"curve_publickey": "p"}, "only one of the two curve keys"),
    ],
)
def test_files_that_are_not_used(change: dict[str, Any], reason: str) -> None:
    where, [skipped] = endpoints([FileContent("/r/kernel-1.json", connection(**change), 0.0)])
    assert where == {} and reason in skipped.reason


def test_addresses() -> None:
    def read(**change: Any) -> Endpoint:
        return endpoint(FileContent("/r/kernel-1.json", connection(**change), 0.0))

    assert read(ip="localhost").ip == read(ip="").ip == "127.0.0.1"
    assert read(ip="::1").ip == "::1"
    assert read(ip="*", curve_publickey="p", curve_secretkey="s").ip == "127.0.0.1"
    assert read(transport="ipc", ip="s").url(3) == "ipc:///r/s-3"
    assert read(transport="ipc", ip="/t/s").url(3) == "ipc:///t/s-3"


def test_wrong_curve_keys_are_a_problem_not_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        content = connection(shell_port=port, curve_publickey="short", curve_secretkey="日")
        (tmp_path / "kernel-1.json").write_text(json.dumps(content))
        assert "keys are wrong" in alive(tmp_path)[1]["kernel-1.json"]


def test_id_of_a_file() -> None:
    assert file_kernel_id("/r/kernel-12.json") == "12"
    assert file_kernel_id("/r/kernel-v3abc.json") == "v3abc"


@pytest.mark.parametrize(
    ("command", "parent", "name"),
    [
        ("python -m ipykernel_launcher -f kernel-1.json", "python jupyter-console", "jupyter console"),
        ("python -m ipykernel_launcher", "python jupyter console", "jupyter console"),
        ("python -m ipykernel_launcher", "python -m jupyter_console", "jupyter console"),
        ("python -m ipykernel_launcher", "python jupyter-qtconsole", "qtconsole"),
        ("python -m ipykernel_launcher", "python jupyter-kernel --kernel=python3", "jupyter kernel"),
        ("python -m ipykernel_launcher", "python jupyter-lab", "jupyter server"),
        ("python -m ipykernel_launcher", "code --type=utility", "VS Code"),
        ("python -m spyder_kernels.console", "python spyder", "spyder"),
        ("python ipython kernel", "bash", "ipython kernel"),
        ("python -m ipykernel_launcher", "bash", ""),
        ("python -m ipykernel_launcher", "", ""),
        ("R --slave -e IRkernel::main()", "python jupyter-kernelgateway", ""),
    ],
)
def test_what_started_it(command: str, parent: str, name: str) -> None:
    assert starter(command, parent) == name


def test_vs_code_by_its_file() -> None:
    assert starter("python -m ipykernel_launcher", "", "/run/user/1/jupyter/runtime/kernel-v3abc.json") == "VS Code"


def test_sessions_path_is_in_the_file(console: ConsoleKernel) -> None:
    data = console.info | {"jupyter_session": "/home/ann/a b.ipynb", "kernel_name": "python3"}
    file = FileContent(str(console.connection_file), data, 1.0)
    kernel = standalone_kernel(file, endpoint(file), own_file=str(console.connection_file))
    assert kernel.title == "/home/ann/a b.ipynb" and kernel.sessions[0].name == "a b.ipynb"
    assert kernel.is_this_kernel


def test_kernelspecs_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    directory = tmp_path / "kernels" / "mine"
    directory.mkdir(parents=True)
    (directory / "kernel.json").write_text('{"display_name": "Mine", "language": "Julia"}')
    (tmp_path / "kernels" / "bad").mkdir()
    (tmp_path / "kernels" / "bad" / "kernel.json").write_bytes(b"{")
    assert kernelspec_on_disk("mine") == KernelSpec("mine", "Mine", "julia")
    for name in ("bad", "missing", "", "..", "../mine", "a/b", "é"):
        assert kernelspec_on_disk(name) == KernelSpec(name)


# -- the kernel that runs this code


def test_outside_a_kernel_this_one_has_no_file() -> None:
    code = (
        "import sys; from kernel_bridge_magic.discovery.standalone import *;"
        "print(repr(own_connection_file() + own_kernel_id()), 'ipykernel' in sys.modules, 'IPython' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["''", "False", "False"]


def test_ipykernel_without_an_application_is_no_kernel(tmp_path: Path) -> None:
    code = (
        "import ipykernel.kernelapp; from kernel_bridge_magic.discovery.standalone import *;"
        "print(repr(own_connection_file() + own_kernel_id()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=private_env(tmp_path)
    )
    assert done.stdout == "''\n"


def test_inside_a_kernel_it_knows_its_file_and_id(tmp_path: Path) -> None:
    code = "import kernel_bridge_magic.discovery.standalone as t"
    root = str(Path(__file__).parents[2])
    with ConsoleKernel(tmp_path / "runtime", "abc-1", env={"PYTHONPATH": root}) as kernel:
        client = client_of(kernel.connection_file)
        try:
            reply = client.execute_interactive(
                code, user_expressions={"f": "t.own_connection_file()", "i": "t.own_kernel_id()"}, timeout=20
            )
        finally:
            client.stop_channels()
    found = {name: item["data"]["text/plain"] for name, item in reply["content"]["user_expressions"].items()}
    assert found == {"f": repr(str(kernel.connection_file)), "i": "'abc-1'"}


def test_pytest_runs_in_no_kernel() -> None:
    # Whatever plugins have imported.
    assert own_connection_file() == own_kernel_id() == ""
