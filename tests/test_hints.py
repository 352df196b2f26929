"""What a text tells somebody to type exists: each option, each magic, each command."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kernel_bridge_magic
from kernel_bridge_magic.cli import parser
from kernel_bridge_magic.ipython import options
from kernel_bridge_magic.ipython.line_parser import MagicParser
from tests.support.shells import private_shell
from tests.support.sources import nodes_of

PACKAGE = Path(kernel_bridge_magic.__file__).parent
ROOT = PACKAGE.parent
MAGICS: dict[str, MagicParser] = {
    "remote": options.remote_parser(),
    "kernels": options.kernels_parser(),
    "jobs": options.jobs_parser(),
    "servers": options.servers_parser(),
    "autoremote": options.autoremote_parser(),
}
PROGRAM, COMMANDS = parser.parser_and_commands()
OPTIONS = {it for parser in (PROGRAM, *MAGICS.values(), *COMMANDS.values()) for it in parser._option_string_actions}
#: Options of other programs; those of Jupyter's have a dot and a capital, and are not looked at. And CSS variables.
OTHERS = ("--existing", "--jp-", "--vscode-")
DOCUMENTS = ["README.md", ".github/CONTRIBUTING.md"]
DOCUMENTS += sorted(f"notebooks/{it.name}" for kind in ("*.md", "*.ipynb") for it in (ROOT / "notebooks").glob(kind))

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_MAGIC = re.compile(r"(?<![\w%])%%?([a-z_]{3,})\b([^,;.()\n]*)")
_COMMAND = re.compile(r"(?<![\w.-])kernel-bridge ([a-z]+)([^|\n]*)")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """All texts of a module but docstrings, each with its line; of an f-string what is written out."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    others = {id(node.body[0].value) for node in nodes_of(path)
              if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    others |= {id(part) for node in nodes_of(path) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes_of(path):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(it.value) if isinstance(it, ast.Constant) else "{}" for it in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in others:
            yield node.lineno, node.value


def unknown(text: str, magics: set[str]) -> list[str]:
    """Name what a text says that nobody could type."""
    found = [it for it in _OPTION.findall(text) if it not in OPTIONS and not it.startswith(OTHERS)]
    found = found if " " in text else []  # one word is an argument for a program
    for name, rest in _MAGIC.findall(text):
        if name not in magics and name not in MAGICS:
            found.append(f"%{name}")
        parser = MAGICS.get(name)
        of_it = parser._option_string_actions if parser else ()
        found += [f"%{name} {it}" for it in _OPTION.findall(rest) if parser and it in OPTIONS and it not in of_it]
    for name, rest in _COMMAND.findall(text):
        if name not in COMMANDS:
            found.append(f"kernel-bridge {name}")
            continue
        of_it = COMMANDS[name]._option_string_actions
        found += [f"kernel-bridge {name} {it}" for it in _OPTION.findall(rest) if it in OPTIONS and it not in of_it]
    return found


@pytest.fixture(scope="module")
def magics(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The magics of a bare IPython."""
    with private_shell(tmp_path_factory.mktemp("shell")) as shell:
        kinds = shell.magics_manager.magics.values()
        return {name for kind in kinds for name in kind} | {"local", "load_ext", "unload_ext", "reload_ext"}


@functools.cache
def all_texts() -> list[tuple[str, int, str]]:
    """All texts of the package: the module's name, the line, the text."""
    return [
        (path.relative_to(PACKAGE).as_posix(), line, text)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in texts(path)
    ]


def test_the_texts_of_all_modules(magics: set[str]) -> None:
    assert not {(name, line): found for name, line, text in all_texts() if (found := unknown(text, magics))}


#: Modules that one face alone uses. All others hand on what `faces` says.
ONLY_MAGICS = {"cli/demo.py"} | {f"ipython/{path.name}" for path in (PACKAGE / "ipython").glob("*.py")}
ONLY_COMMANDS = {
    f"cli/{name}.py" for name in ("arguments", "commands", "completion", "login", "main", "many", "outcome", "parser")
}


def others_words(name: str, text: str) -> list[str]:
    """Name the commands that a text tells of, though not all who read it can type them."""
    found = [] if name in ONLY_MAGICS else [f"%{it}" for it, _ in _MAGIC.findall(text) if it in MAGICS]
    return found + ([] if name in ONLY_COMMANDS else [it for it, _ in _COMMAND.findall(text) if it in COMMANDS])


def test_the_command_of_one_face_is_told_to_no_other() -> None:
    told = {(name, line): found for name, line, text in all_texts() if (found := others_words(name, text))}
    assert not {where: found for where, found in told.items() if where[0] != "faces.py"}


def test_the_command_of_another_face_is_seen() -> None:
    text = "add it with %servers --add URL, or kernel-bridge servers --add URL"
    assert others_words("bridge.py", text) == ["%servers", "servers"]
    assert others_words("cli/main.py", text) == ["%servers"] and others_words("ipython/magics.py", text) == ["servers"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document(name: str, magics: set[str]) -> None:
    found = unknown((ROOT / name).read_text("utf-8"), magics)
    assert not [it for it in found if not it.startswith("--")]  # those of other programs are among them


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("%kernels --every lists them", ["--every"]),
        ("%elsewhere MATCH sets one", ["%elsewhere"]),
        ("%kernels --save", ["%kernels --save"]),
        ("kernel-bridge run x", ["kernel-bridge run"]),
        ("kernel-bridge interrupt x --code 1", ["kernel-bridge interrupt --code"]),
        (
            "%%remote -s lab --timeout 5m x; %kernels lists; kernel-bridge exec --code 1; 5 % of --token; %matplotlib",
            [],
        ),
    ],
)
def test_what_does_not_exist_is_seen(text: str, says: list[str], magics: set[str]) -> None:
    assert unknown(text, magics) == says
