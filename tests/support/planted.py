"""Info files of servers as somebody may plant them in a runtime directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files
from kernel_bridge_magic.discovery.server_files import read_servers


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
