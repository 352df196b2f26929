"""A runtime directory to plant files in, and a port that is listened on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.discovery import server_files


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A process that listens on a port again and again, as this one, may do so at another address.
    monkeypatch.setattr(server_files, "_HOSTS", {})
    path = tmp_path / "runtime"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    return path


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which this very process listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]
