from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from kernel_bridge_magic.errors import CannotConnect
from kernel_bridge_magic.transports.connection_file import ListeningProcess, read_connection_file

PORTS = {f"{channel}_port": 1 + number for number, channel in enumerate(("shell", "iopub", "stdin", "control", "hb"))}
WHOLE = {"transport": "tcp", "ip": "127.0.0.1", "key": "secret", "signature_scheme": "hmac-sha256", **PORTS}


@pytest.fixture
def context() -> Iterator[Any]:
    with zmq.Context() as made:
        yield made


def write(folder: Path, **changes: object) -> str:
    path = folder / "kernel-1.json"
    path.write_text(json.dumps({**WHOLE, **changes}))
    path.chmod(0o600)
    return str(path)


def test_what_a_file_says(tmp_path: Path, context: Any) -> None:
    info = read_connection_file(write(tmp_path), "analysis", context)
    assert (info.ip, info.shell_port, info.session.key) == ("127.0.0.1", 1, b"secret")


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 10_000, " " * 70_000])
def test_what_is_no_connection_file(tmp_path: Path, context: Any, content: str) -> None:
    path = tmp_path / "kernel-1.json"
    path.write_text(content)
    with pytest.raises(CannotConnect, match=r"^analysis has (no connection file any more|a connection file with no)"):
        read_connection_file(str(path), "analysis", context)


@pytest.mark.parametrize("make", [lambda path: None, os.mkdir, os.mkfifo], ids=["nothing", "directory", "FIFO"])
def test_what_is_no_regular_file(tmp_path: Path, context: Any, make: Any) -> None:
    make(tmp_path / "kernel-1.json")
    with pytest.raises(CannotConnect, match="no connection file any more"):
        read_connection_file(str(tmp_path / "kernel-1.json"), "analysis", context)


def test_a_file_without_a_key_lets_anybody_speak(tmp_path: Path, context: Any) -> None:
    with pytest.raises(CannotConnect, match="with no key"):
        read_connection_file(write(tmp_path, key=""), "analysis", context)


def test_a_file_that_everybody_can_write_is_not_used(tmp_path: Path, context: Any) -> None:
    path = write(tmp_path)
    os.chmod(path, 0o606)
    with pytest.raises(CannotConnect, match="chmod 600"):
        read_connection_file(path, "analysis", context)


def test_a_process_that_runs_is_not_suspended_and_a_port_without_one_is_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not ListeningProcess(SimpleNamespace(transport="tcp", shell_port=port)).is_suspended()
    assert not ListeningProcess(SimpleNamespace(transport="tcp", shell_port=port)).is_suspended()
    assert not ListeningProcess(SimpleNamespace(transport="ipc", ip=f"{tmp_path}/k", shell_port=1)).is_suspended()
