from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files, runtime_dirs
from kernel_bridge_magic.discovery.server_files import read_servers
from kernel_bridge_magic.models import Origin
from tests.support.servers import JupyterServer

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    path = tmp_path / "runtime"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    return path


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which this very process listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def info(port: int, **more: Any) -> dict[str, Any]:
    return {
        "base_url": "/", "hostname": "localhost", "password": False, "pid": os.getpid(), "port": port,
        "root_dir": "/x", "secure": False, "sock": "", "token": "T", "url": f"http://evil.example:{port}/",
        "version": "2.21.1",
    } | more  # fmt: skip


def plant(directory: Path, content: Any, name: str = "jpserver-1.json", mode: int = 0o600) -> Path:
    path = directory / name
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(text)
    path.chmod(mode)
    return path


def reasons(directory: Path, vault: Vault | None = None) -> list[str]:
    """Read all, expect no server, and give the reasons."""
    files = read_runtime_files([str(directory)])
    servers, skipped = read_servers(files.servers, vault or Vault())
    assert servers == []
    return [item.reason for item in (*files.skipped, *skipped)]


def test_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert runtime_dirs() == (str(tmp_path), "/run/user/7/jupyter", "/run/user/7/jupyter/runtime")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/run/user/7/jupyter/")
    assert runtime_dirs() == ("/run/user/7/jupyter", "/run/user/7/jupyter/runtime")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("JUPYTER_RUNTIME_DIR")
    assert len(runtime_dirs()) == 1


def test_real_server(jupyter_server: JupyterServer) -> None:
    files = read_runtime_files([str(jupyter_server.runtime_dir)])
    vault = Vault()
    [server], skipped = read_servers(files.servers, vault)
    assert skipped == []
    assert server.url == jupyter_server.url
    assert server.source == "runtime" and server.is_yours and server.pid == jupyter_server.pid
    assert server.name == f"localhost:{jupyter_server.port}"
    assert server.version.startswith("2.")
    assert vault.headers(server.origin) == {"Authorization": f"token {jupyter_server.token}"}
    assert jupyter_server.token not in repr(server) + repr(vault)


@pytest.mark.parametrize(
    ("ip", "host", "family"),
    [
        ("127.0.0.1", "127.0.0.1", socket.AF_INET),
        ("0.0.0.0", "127.0.0.1", socket.AF_INET),
        ("127.0.0.7", "127.0.0.7", socket.AF_INET),
        ("::1", "::1", socket.AF_INET6),
    ],
)
def test_dialled_where_it_listens_never_by_its_url(runtime: Path, ip: str, host: str, family: int) -> None:
    try:
        sock = socket.create_server((ip, 0), family=family)
    except OSError:
        pytest.skip(f"{ip} cannot be listened on here")
    with sock:
        port = sock.getsockname()[1]
        plant(runtime, info(port, base_url="/a/b%20c/", hostname="evil.example"))
        vault = Vault()
        [server], _ = read_servers(read_runtime_files([str(runtime)]).servers, vault)
    assert server.origin == Origin("http", host, port, "/a/b%20c/")
    assert "evil" not in server.url
    assert vault.has(server.origin)


def test_notebook_6_file_and_unix_socket(runtime: Path, listener: int) -> None:
    runtime.chmod(0o700)
    old = info(listener, notebook_dir="/n")
    del old["root_dir"], old["version"]
    plant(runtime, old, "nbserver-1.json", mode=0o644)
    plant(runtime, info(0, sock="/run/j.sock", base_url="/b/"), "jpserver-2.json")
    servers, skipped = read_servers(read_runtime_files([str(runtime)]).servers, Vault())
    assert skipped == []
    by_name = {server.name: server for server in servers}
    assert by_name[f"localhost:{listener}"].version == ""
    assert by_name["j.sock"].socket_path == "/run/j.sock"
    assert by_name["j.sock"].origin == Origin("unix", "/run/j.sock", 0, "/b/")


DEEP = b"[" * 30_000 + b"]" * 30_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON, perhaps half written"),
        (b'{"pid": ', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (DEEP, "too deep|not JSON"),
        (b'{"a": ' + b"9" * 6000 + b"}", "not JSON"),
        (b" " * 70_000 + b"{}", "larger than 64 KiB"),
        (b"{}", "'pid' is not a possible number"),
        ({"pid": True}, "'pid' is not a possible number"),
        ({"pid": "12"}, "'pid' is not a possible number"),
        ({"pid": -1}, "'pid' is not a possible number"),
        ({"pid": 10**30}, "'pid' is not a possible number"),
        ({"pid": 1.5}, "'pid' is not a possible number"),
        ({"pid": 2**31 - 1}, "is none of yours on this machine"),
        ({"port": "8888"}, "'port' is not a possible number"),
        ({"port": 70_000}, "'port' is not a possible number"),
        ({"port": 0}, "'port' is not a possible number"),
        ({"token": 5}, "'token' is not text"),
        ({"token": "a\r\nX: y"}, "line break"),
        ({"token": "日"}, "ASCII"),
        ({"base_url": ["/"]}, "'base_url' is not text"),
        ({"base_url": "//evil.example\\x"}, "base_url is not a path"),
        ({"base_url": "x"}, "base_url is not a path"),
        ({"base_url": "/\r\nX: y/"}, "base_url is not a path"),
        ({"sock": "relative.sock"}, "not absolute"),
        ({"sock": "/a\0b"}, "not absolute"),
        ({"sock": 5}, "'sock' is not text"),
        ({"secure": "yes"}, "'secure' is neither"),
        ({"version": 7}, "'version' is not text"),
        ({"port": 1}, "does not listen on port 1"),
    ],
)
def test_bad_content_is_one_reason(runtime: Path, listener: int, content: Any, reason: str) -> None:
    if isinstance(content, dict) and content != {}:
        content = info(listener) | content
    path = plant(runtime, content)
    vault = Vault()
    [found] = reasons(runtime, vault)
    assert re.search(reason, found)
    assert path.exists()


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("{}")
    path.symlink_to(target)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.alone
@pytest.mark.parametrize("make", [_fifo, _socket, _link, _loop, _device, Path.mkdir])
@pytest.mark.parametrize("name", ["jpserver-1.json", "kernel-1.json"])
def test_what_is_no_regular_file(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    short = Path(os.path.relpath(tmp_path))  # a unix socket's path is at most 107 bytes long
    make(short / name if make is _socket else tmp_path / name)
    start = time.monotonic()
    assert len(reasons(tmp_path)) == 1
    assert time.monotonic() - start < 0.5
    assert os.path.lexists(tmp_path / name)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_writable_by_others(runtime: Path, listener: int, mode: int) -> None:
    plant(runtime, info(listener), mode=mode)
    assert reasons(runtime) == ["others may write to it"]
    runtime.chmod(0o700)  # now nobody else can reach the file
    assert len(read_servers(read_runtime_files([str(runtime)]).servers, Vault())[0]) == 1


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_directory_that_everybody_writes_to(runtime: Path, listener: int, mode: int) -> None:
    plant(runtime, info(listener))
    runtime.chmod(mode)
    [reason] = reasons(runtime)
    assert "everybody may write" in reason


@ROOT_ONLY
def test_other_owners(runtime: Path, listener: int) -> None:
    os.chown(plant(runtime, info(listener)), 65534, 65534)
    assert reasons(runtime) == ["it belongs to another user (uid 65534)"]
    os.chown(runtime, 65534, 65534)
    assert reasons(runtime) == ["the directory belongs to another user (uid 65534)"]


def test_bad_directories(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    names = ["missing", "file", "fifo", "a\0b", "x" * 300]
    files = read_runtime_files([str(tmp_path / name) for name in names])
    assert [Path(item.path).name for item in files.skipped] == names[1:]
    assert files.servers == files.kernels == []


def test_one_directory_by_two_names_counts_once(runtime: Path, listener: int, tmp_path: Path) -> None:
    plant(runtime, info(listener))
    (tmp_path / "link").symlink_to(runtime)
    for _ in range(20):
        files = read_runtime_files([str(runtime), str(tmp_path / "link")])
        assert [item.path for item in files.servers] == [str(runtime / "jpserver-1.json")]


def test_pid_that_was_used_again(runtime: Path, listener: int) -> None:
    path = plant(runtime, info(listener))
    os.utime(path, (1000, 1000))
    assert reasons(runtime) == [
        f"its process {os.getpid()} is younger than the file, which is stale or of another machine"
    ]


def test_pid_that_has_ended_or_is_not_ours(runtime: Path, listener: int) -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    zombie_pid = ended.pid
    os.waitid(os.P_PID, zombie_pid, os.WEXITED | os.WNOWAIT)
    plant(runtime, info(listener, pid=zombie_pid))
    assert "is none of yours on this machine; the file is stale, or of another machine" in reasons(runtime)[0]
    ended.wait()
    assert "is none of yours on this machine; the file is stale, or of another machine" in reasons(runtime)[0]


def test_no_secret_without_a_server(runtime: Path) -> None:
    plant(runtime, info(1))
    vault = Vault()
    reasons(runtime, vault)
    assert not vault.has(Origin("http", "127.0.0.1", 1, "/"))


def test_killed_server(tmp_path: Path) -> None:
    with JupyterServer(tmp_path) as server:
        server.signal(signal.SIGKILL)
        server.process.wait()
        assert "is none of yours on this machine" in reasons(server.runtime_dir)[0]
        assert server.info_file.exists()
