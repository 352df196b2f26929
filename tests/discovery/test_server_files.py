from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files
from kernel_bridge_magic.discovery.server_files import read_servers
from kernel_bridge_magic.models import Origin
from tests.support.planted import info, plant, reasons
from tests.support.servers import JupyterServer


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
