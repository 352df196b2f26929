"""Each module imports only from lower floors, or from siblings in its package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kernel_bridge_magic

ROOT = Path(kernel_bridge_magic.__file__).parent
NAME = ROOT.name

#: The floors, from the top. A package stands for all its modules.
FLOORS = [
    {
        "",
        "__main__",
        "magics",
        "in_shell",
        "cli",
        "base_url",
        "arguments",
        "demo",
        "api",
        "options",
        "usage",
        "contract",
        "config",
    },
    {"bridge", "pool", "doctor", "mirror", "registry", "runner", "server_file"},
    {"connection", "execution", "outcome", "control", "beside", "busy", "durable"},
    {"discovery", "transports", "display"},
    {"refusals", "server", "sockets", "overflow", "timed", "tunnels"},
    {"auth", "models", "matching", "levels", "meanings", "results", "urls", "descriptors", "ports", "entries"},
    {"errors", "faces", "files", "choices", "interrupts", "protocol", "remote_code", "text", "patterns", "reloads"},
]
#: Modules that do no I/O: no socket, file, clock, thread, logging.
PURE = {
    "errors",
    "faces",
    "choices",
    "protocol",
    "remote_code",
    "models",
    "matching",
    "levels",
    "results",
    "outcome",
    "contract",
    "text",
    "patterns",
    "urls",
    "entries",
    "refusals",
    "display.tables",
}
IMPURE = {"socket", "select", "ssl", "http", "threading", "time", "logging", "os", "subprocess", "zmq", "websocket"}
#: Where IPython may be imported.
SHELL = {"", "magics", "demo", "display.captured", "display.notebook", "display.terminal"}

#: What runs in the other kernel is no module of this package.
THERE = ROOT / "remote_code" / "there"
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != THERE)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def floor_of(module: str) -> int:
    top = module.split(".")[0]
    (floor,) = (number for number, names in enumerate(FLOORS) if top in names)
    return -floor


def imports(path: Path) -> list[str]:
    """All modules that are imported at run time, wherever in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute here"
            module = node.module or ""
            found += [f"{module}.{alias.name}" if module == NAME else module for alias in node.names]
    return found


def ours(path: Path) -> set[str]:
    return {module[len(NAME) + 1 :] for module in imports(path) if module.startswith(f"{NAME}.")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    module = name_of(path)
    for used in ours(path):
        same_package = used.split(".")[0] == module.split(".")[0]
        same_floor = floor_of(used) == floor_of(module)
        assert same_package or floor_of(used) < floor_of(module) or (same_floor and "." not in used), (
            f"{module} must not import {used}"
        )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_pure_modules_do_no_io(path: Path) -> None:
    module = name_of(path)
    if module in PURE or module.split(".")[0] in PURE:
        assert not {name.split(".")[0] for name in imports(path)} & IMPURE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_ipython_is_imported_at_the_top_only(path: Path) -> None:
    if name_of(path) not in SHELL:
        assert not [name for name in imports(path) if name.split(".")[0] in ("IPython", "ipykernel")]


def test_every_module_has_a_floor() -> None:
    for path in MODULES:
        floor_of(name_of(path))
