"""What the package gives, and what it costs to import and to load."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import kernel_bridge_magic
from kernel_bridge_magic import errors
from tests.benchmarks.loading import LIMIT_SECONDS, load
from tests.support.servers import private_env

ROOT = Path(kernel_bridge_magic.__file__).parent.parent
PUBLIC = [
    "AmbiguousKernel",
    "AuthRefused",
    "BadAnswer",
    "BadCell",
    "BadInput",
    "BadMatch",
    "BadOption",
    "BadServer",
    "BadVariable",
    "CannotConnect",
    "Fate",
    "FateError",
    "FateUnknown",
    "Kernel",
    "KernelBridgeError",
    "KernelConnection",
    "KernelDied",
    "KernelList",
    "KernelNotFound",
    "LeftRunning",
    "LinkError",
    "LinkLost",
    "NotCopied",
    "NotRun",
    "OwnKernel",
    "RemoteError",
    "RemoteErrors",
    "RemoteJob",
    "RemoteResult",
    "RemoteResults",
    "RemoteValue",
    "ServerError",
    "ServerUnreachable",
    "TimedOut",
    "__version__",
    "connect",
    "kernels",
    "run_on",
]
#: What must not be imported with the package: each takes time that a notebook waits for.
SLOW = [
    "IPython",
    "zmq",
    "websocket",
    "jupyter_client",
    "jupyter_core",
    "psutil",
    "traitlets",
    "asyncio",
    "http.client",
]
BESIDE = """
import json, sys
before = set(sys.modules)
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import threading
import kernel_bridge_magic
{more}
print(json.dumps([sorted(set(sys.modules) - before), opened, [t.name for t in threading.enumerate()]]))
"""


def test_the_public_names_are_exactly_these() -> None:
    assert kernel_bridge_magic.__all__ == PUBLIC
    assert dir(kernel_bridge_magic) == PUBLIC


def test_every_error_is_among_them() -> None:
    there = {name for name, it in vars(errors).items() if isinstance(it, type) and issubclass(it, Exception)}
    assert there <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(kernel_bridge_magic, name)
    if name != "__version__":
        assert inspect.getdoc(value)
        assert value.__module__.startswith("kernel_bridge_magic.")
        assert getattr(importlib.import_module(value.__module__), name) is value


def test_there_are_no_others() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        kernel_bridge_magic.no_such_name  # noqa: B018
    with pytest.raises(ImportError):
        from kernel_bridge_magic import no_such_name  # noqa: F401


def in_a_fresh_process(tmp_path: Path, more: str = "") -> tuple[list[str], list[str], list[str]]:
    code = BESIDE.format(more=more)
    env = private_env(tmp_path, PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    modules, opened, threads = json.loads(done.stdout)
    return modules, opened, threads


def test_importing_opens_no_socket_starts_no_thread_and_imports_nothing_slow(tmp_path: Path) -> None:
    modules, opened, threads = in_a_fresh_process(tmp_path)
    assert opened == []
    assert threads == ["MainThread"]
    assert [name for name in SLOW if name in modules] == []
    assert [name for name in modules if name.startswith("kernel_bridge_magic.")] == []


def test_errors_and_values_need_nothing_slow_either(tmp_path: Path) -> None:
    more = "from kernel_bridge_magic import RemoteError, Kernel, RemoteResult, Fate"
    modules, opened, threads = in_a_fresh_process(tmp_path, more)
    assert (opened, threads) == ([], ["MainThread"])
    assert [name for name in SLOW if name in modules] == []


def test_loading_the_extension_opens_no_socket_and_starts_no_thread(tmp_path: Path) -> None:
    more = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
opened.clear()
running = {t.name for t in threading.enumerate()}
before = set(sys.modules)  # IPython 8 imports http.client itself
shell.run_line_magic("load_ext", "kernel_bridge_magic")
shell.run_line_magic("reload_ext", "kernel_bridge_magic")
assert {t.name for t in threading.enumerate()} == running
slow = {"zmq", "websocket", "jupyter_client", "psutil", "http.client"}
assert not slow & (set(sys.modules) - before), slow & (set(sys.modules) - before)
shell.history_manager.end_session()
"""
    _, opened, _ = in_a_fresh_process(tmp_path, more)
    assert opened == []


def test_loading_in_a_running_kernel_takes_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = min(load(tmp_path / str(run)) for run in range(2))
    with capsys.disabled():
        print(f" [%load_ext: {seconds * 1000:.1f} ms] ", end="")
    # three times what a quiet machine may take: this one may be busy
    assert seconds < 3 * LIMIT_SECONDS


def test_every_module_can_be_imported() -> None:
    for path in sorted((ROOT / "kernel_bridge_magic").rglob("*.py")):
        if path.parent.name != "there" and path.stem != "__main__":
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
