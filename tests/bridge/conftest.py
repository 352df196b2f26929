"""A bridge to a server that does what a test says, and one to a real server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.servers.entries import Entry
from tests.support.hostile import JSON, HostileServer
from tests.support.servers import JupyterServer


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "none"))
    with HostileServer() as server:
        specs: dict[str, object] = {"kernelspecs": {"python3": {"spec": {}}, "ir": {"spec": {}}}}
        server.paths["/api/kernelspecs"] = 200, JSON, json.dumps(specs)
        yield server


@pytest.fixture
def bridge(hostile: HostileServer) -> Iterator[Bridge]:
    with contextlib.closing(Bridge(face=MAGICS)) as bridge:
        bridge.add_server(Entry("lab", hostile.url))
        yield bridge


@pytest.fixture
def at_home(jupyter_server: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter_server.runtime_dir))
    with contextlib.closing(Bridge(face=MAGICS)) as bridge:
        yield bridge
