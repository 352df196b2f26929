"""Only `access/` and `interrupts` know what only POSIX or Linux has; and all works where that is not there.

That is not Windows, nor macOS: it is what this machine can show of them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kernel_bridge_magic
from tests.support.servers import JupyterServer, private_env

ROOT = Path(kernel_bridge_magic.__file__).parent
#: Modules that Windows does not have.
MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
#: Names of `os`, `select`, `selectors`, `signal` and `socket` that Windows does not have, or that do harm there.
NAMES = {
    *("getuid", "geteuid", "getgid", "getpgid", "getpgrp", "getsid", "setsid", "uname", "getlogin"),
    *("kill", "killpg", "fork", "forkpty", "register_at_fork", "wait", "waitpid", "mkfifo", "set_blocking"),
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fchown", "chown", "fchdir"),
    *("poll", "epoll", "kqueue", "PollSelector", "EpollSelector", "KqueueSelector"),
    *("AF_UNIX", "SO_PEERCRED", "SO_REUSEPORT", "MSG_DONTWAIT", "send_fds", "recv_fds"),
    *("SIGHUP", "SIGPIPE", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCHLD", "SIGKILL", "SIGSTOP", "SIGCONT"),
    *("pthread_sigmask", "pthread_kill", "sigwait", "sigpending", "alarm", "setitimer", "siginterrupt"),
}
LIBRARIES = {"os", "select", "selectors", "signal", "socket", "time"}


def uses(path: Path) -> list[str]:
    """What a module uses of what not every platform has."""
    tree = ast.parse(path.read_text("utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in LIBRARIES | MODULES:
            found += [alias.name for alias in node.names if node.module in MODULES or alias.name in NAMES]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in LIBRARIES:
            found += [node.attr] * (node.attr in NAMES)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            found += [name for word in node.args if (name := getattr(word, "value", "")) in NAMES]
        elif isinstance(node, ast.Constant) and str(node.value).startswith("/proc"):
            found.append(str(node.value))
    return found


def test_what_only_posix_has_is_used_in_access_and_interrupts_only() -> None:
    there = {ROOT / "remote_code" / "there", ROOT / "access"}
    others = [path for path in ROOT.rglob("*.py") if path.parent not in there and path.name != "interrupts.py"]
    assert not {str(path.relative_to(ROOT)): names for path in others if (names := uses(path))}


# Libraries are imported before: they find their own way on each platform. /proc is gone for this package only, since
# psutil reads it, too.
HIDE = f"""
import asyncio, builtins, multiprocessing.connection, os, select, selectors, signal, socket, ssl, subprocess, sys
import psutil, websocket, zmq, jupyter_core.paths, jupyter_client.session, jupyter_client.blocking.client
import jupyter_client.manager, tornado.ioloop, zmq.utils.monitor, concurrent.futures.thread, uuid, shutil, tempfile
for library in (os, select, selectors, signal, socket):
    for name in {sorted(NAMES)}:
        vars(library).pop(name, None)
selectors.DefaultSelector = selectors.SelectSelector
def socketpair():  # as Python makes one on Windows
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname()), server.accept()[0]
socket.socketpair = socketpair
os.supports_dir_fd, os.supports_fd = set(), set()
for module in {sorted(MODULES)}:
    sys.modules[module] = None
def hiding(real):
    def opened(path, *args, **kwargs):
        ours = sys._getframe(1).f_globals.get("__name__", "").startswith("kernel_bridge_magic")
        if ours and str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return real(path, *args, **kwargs)
    return opened
builtins.open, os.open = hiding(open), hiding(os.open)
"""

RUNS = """
from kernel_bridge_magic import connect, kernels
from kernel_bridge_magic.discovery.processes import usages
found = [kernel for kernel in kernels() if kernel.id == KERNEL]  # other tests' kernels are on that server as well
assert len(found) == 1
for transport in ("zmq", "ws"):
    with connect(KERNEL, transport=transport) as kernel:
        assert kernel.execute("6 * 7").text == "42"
        assert kernel.execute("import sys; sys.stdout.write('x' * 300_000);").outputs
files = [kernel.connection_file for kernel in found]
assert set(usages(files)) == set(files)
"""

COMMAND = """
from kernel_bridge_magic.__main__ import main
sys.argv = ["kernel-bridge", "exec", KERNEL, "-c", "6 * 7"]
sys.exit(main())
"""


@pytest.mark.parametrize(("code", "told"), [(RUNS, ""), (COMMAND, "42\n")], ids=["python", "command line"])
def test_kernels_are_found_and_run_without_it(
    code: str, told: str, jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path
) -> None:
    env = private_env(tmp_path, jupyter_server.runtime_dir)
    command = [sys.executable, "-c", f"{HIDE}\nKERNEL = {own_kernel!r}\n{code}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stderr, done.stdout, done.returncode) == ("", told, 0)
