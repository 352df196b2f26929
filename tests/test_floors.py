"""Each module imports only from lower floors, or from siblings in its package; and none of them grows too large."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import kernel_bridge_magic
from tests.support.sources import nodes_of, text_of

ROOT = Path(kernel_bridge_magic.__file__).parent
NAME = ROOT.name

#: The floors, from the top. A folder stands for all its modules, which may import each other.
FLOORS = [
    {"", "__main__"},
    {"api", "cli", "ipython"},
    {"jobs"},
    {"bridge"},
    {"connection"},
    {"transfer"},
    {"contract", "discovery", "display", "transports"},
    {"fate", "matching", "remote_code", "sanitize", "servers"},
    {"results"},
    {"access", "protocol"},
    {"choices", "errors", "faces", "interrupts", "models", "questions", "reloads", "reports", "text"},
]
#: Modules that do no I/O: no socket, file, clock, thread, logging. A folder stands for all its modules.
PURE = {
    "access.urls",
    "choices",
    "connection.cell",
    "contract",
    "display.neutral",
    "display.tables",
    "display.widget_text",
    "errors",
    "faces",
    "fate",
    "matching",
    "models",
    "protocol",
    "remote_code",
    "reports",
    "results",
    "sanitize",
    "servers.entries",
    "servers.refusals",
    "text",
    "transfer.names",
    "transfer.summary",
}
IMPURE = {"socket", "select", "ssl", "http", "threading", "time", "logging", "os", "subprocess", "zmq", "websocket"}
#: Where IPython may be imported.
SHELL = {"ipython", "cli.demo", "display.hooks", "display.notebook", "display.terminal"}
#: Where Python may stand as text: what other kernels run, and the cells of the demo's notebooks.
SOURCE = {"remote_code", "cli.demo"}

#: Statements that a word or a table of words may be, too.
PLAIN = (ast.Expr, ast.Assign, ast.AnnAssign, ast.Delete, ast.Pass)
#: What runs in the other kernel is no module of this package.
THERE = ROOT / "remote_code" / "there"
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != THERE)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def room_of(module: str) -> str:
    return module.split(".")[0]


def floor_of(module: str) -> int:
    (floor,) = (number for number, rooms in enumerate(FLOORS) if room_of(module) in rooms)
    return -floor


def is_among(module: str, names: set[str]) -> bool:
    return any(module == name or (name and module.startswith(f"{name}.")) for name in names)


def for_type_checkers(node: ast.AST) -> list[ast.stmt]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return node.body
    return []


@functools.cache
def imports(path: Path) -> list[str]:
    """All modules that are imported at run time, wherever in the file."""
    unrun = {part for node in nodes_of(path) for it in for_type_checkers(node) for part in ast.walk(it)}
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import) and node not in unrun:
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node not in unrun:
            assert node.level == 0, f"{path.name}: imports are absolute here"
            module = node.module or ""
            found += [f"{module}.{alias.name}" if module == NAME else module for alias in node.names]
    return found


def libraries(path: Path, names: set[str]) -> list[str]:
    """Which of these libraries a module imports, as one line each."""
    return [f"{name_of(path)} imports {name}" for name in imports(path) if name.split(".")[0] in names]


def ours(path: Path) -> set[str]:
    return {module[len(NAME) + 1 :] for module in imports(path) if module.startswith(f"{NAME}.")}


def may_import(module: str, used: str) -> bool:
    inside = room_of(used) == room_of(module)
    ground = "." not in used + module and floor_of(used) == floor_of(module)
    return inside or ground or floor_of(used) < floor_of(module)


def test_imports_go_down() -> None:
    named = [(name_of(path), used) for path in MODULES for used in sorted(ours(path))]
    assert not [f"{module} imports {used}" for module, used in named if not may_import(module, used)]


def test_pure_modules_do_no_io() -> None:
    assert not [found for path in MODULES if is_among(name_of(path), PURE) for found in libraries(path, IMPURE)]


def test_ipython_is_imported_at_the_top_only() -> None:
    shell = {"IPython", "ipykernel"}
    assert not [found for path in MODULES if not is_among(name_of(path), SHELL) for found in libraries(path, shell)]


def test_a_connection_shows_nothing() -> None:
    assert not [
        path for path in MODULES if room_of(name_of(path)) == "connection" and "display" in map(room_of, ours(path))
    ]


def test_secrets_are_revealed_by_the_vault_only() -> None:
    assert [name_of(path) for path in MODULES if ".reveal" in text_of(path)] == ["access.vault"]


def test_source_for_the_other_kernel_stands_in_remote_code_only() -> None:
    others = [path for path in MODULES if not is_among(name_of(path), SOURCE)]
    assert not [(name_of(path), text) for path in others for text in texts(path) if is_source(text)]
    assert not [name_of(path) for path in others if re.search(r"(?<!def )evaluate_content\([^)]", text_of(path))]


def texts(path: Path) -> list[str]:
    """All literal texts but docstrings; adjacent ones are joined."""
    docs = {node.value for node in nodes_of(path) if isinstance(node, ast.Expr)}
    found = [node for node in nodes_of(path) if isinstance(node, ast.Constant) and node not in docs]
    return [node.value for node in found if isinstance(node.value, str)]


def is_source(text: str) -> bool:
    """Whether a text is Python that imports, defines, or asks for the shell."""
    if "__import__" in text or "get_ipython()" in text:
        return True
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, (ast.stmt, ast.Lambda)) and not isinstance(node, PLAIN) for node in nodes)


def test_every_module_has_a_floor() -> None:
    for path in MODULES:
        floor_of(name_of(path))


def test_modules_classes_and_functions_stay_small() -> None:
    """A function that is longer says why it is, in its docstring: with the word "long"."""
    too_large = []
    for path in MODULES:
        if len(text_of(path).splitlines()) > 350:
            too_large.append(name_of(path))
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef) and len(attributes(node)) > 25:
                too_large.append(f"{name_of(path)}.{node.name}")
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 40 and not excused(node):
                too_large.append(f"{name_of(path)}.{node.name}")
    assert not too_large


def excused(node: ast.FunctionDef) -> bool:
    return re.search(r"\blong", ast.get_docstring(node) or "", re.IGNORECASE) is not None


def attributes(node: ast.ClassDef) -> set[str]:
    """The attributes of `self` that the methods of a class set."""
    found = [it for it in ast.walk(node) if isinstance(it, ast.Attribute) and isinstance(it.ctx, ast.Store)]
    return {it.attr for it in found if isinstance(it.value, ast.Name) and it.value.id == "self"}
