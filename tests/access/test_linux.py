"""Linux's tables of sockets: how an address stands in them. What is made of them is in `test_peers.py`."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from kernel_bridge_magic.access import linux


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80)),
        (("::ffff:127.0.0.1", 80, 0, 0), ("127.0.0.1", 80)),
        (("fe80::1%eth0", 80, 0, 2), ("fe80::1", 80)),
    ],
)
def test_an_address_is_written_in_one_way(address: tuple[object, ...], plain: tuple[str, int]) -> None:
    assert linux.plain(address) == plain


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_is_found_with_its_uid(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as it,
    ):
        assert linux.has_tables() and linux.is_listened_at(host, server.getsockname()[1])
        assert linux.listener(linux.plain(it.getpeername()), linux.plain(it.getsockname())) == os.getuid()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_where_a_process_listens_is_what_psutil_says(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) if family == socket.AF_INET6 else contextlib.nullcontext():
            process: Any = psutil.Process()
            rows = getattr(process, "net_connections", None) or process.connections  # its name before psutil 6
            theirs = [it.laddr.ip for it in rows("tcp") if it.laddr.port == port]
            assert sorted(linux.listened_at(os.getpid(), port)) == sorted(theirs) != []
        assert linux.listened_at(os.getppid(), port) == []
        with socket.create_connection(server.getsockname()[:2]):
            assert linux.listened_at(os.getpid(), port) == [host]
    assert linux.listened_at(os.getpid(), port) == []


def test_a_process_that_has_ended_listens_nowhere() -> None:
    with pytest.raises(OSError):
        linux.listened_at(2**22 + 1, 80)


def test_a_bound_unix_socket_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    assert not linux.is_bound(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert linux.is_bound(path)


def test_where_there_are_no_tables_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_file)
    assert not linux.has_tables() and not linux.is_listened_at("127.0.0.1", 80)
    assert linux.listener(("127.0.0.1", 80), ("127.0.0.1", 81)) is None
    assert linux.is_bound("/s") and linux.sees_all_users()
