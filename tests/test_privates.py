"""Tests say what an object does, and leave what it keeps for itself alone: what is left is written down here."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
SECONDS = "a bound that the test shortens"
#: What a test may read though its name begins with `_`, by file, and why nothing public says the same.
LEFT: dict[str, tuple[set[str], str]] = {
    "access/test_files.py": ({"_NO_LINK"}, "a flag of this system that another one lacks"),
    "access/test_peers.py": ({"_is_this_user_s"}, "who runs a process, as another system tells it"),
    "access/test_sockets.py": ({"_WHERE"}, "what was seen of a name, which no test can move"),
    "benchmarks/cells.py": ({"_dispatch"}, "the one step that is measured"),
    "bridge/test_bridge.py": ({"_SECONDS"}, SECONDS),
    "cli/test_parser.py": ({"_actions"}, "argparse has no public list of its options"),
    "connection/test_control.py": ({"_INTERRUPT_SECONDS"}, SECONDS),
    "connection/test_durable.py": ({"_FETCH_SECONDS"}, SECONDS),
    "connection/test_execution.py": ({"_PROOF_SECONDS"}, SECONDS),
    "discovery/test_claims.py": ({"_LISTED"}, "a memory of the process, empty for the test"),
    "discovery/conftest.py": ({"_HOSTS"}, "a memory of the process, empty for each test"),
    "display/test_capped.py": ({"_bundles"}, "a memory of the process, smaller for the test"),
    "display/test_hooks.py": ({"_showtraceback"}, "IPython's, which we replace"),
    "display/test_notebook.py": ({"_allow_stdin"}, "ipykernel's"),
    "display/test_tables.py": ({"_measure"}, "the width of a letter, measured without wcwidth"),
    "ipython/test_completion.py": (
        {"_kernel_bridge_magics", "_SECONDS", "_FRESH_SECONDS", "_FIND_SECONDS"},
        f"where the shell keeps our magics; {SECONDS}, or makes longer",
    ),
    "ipython/test_fronts.py": ({"_allow_stdin"}, "ipykernel's"),
    "ipython/test_magics.py": ({"_kernel_bridge_magics"}, "where the shell keeps our magics"),
    "ipython/test_shell.py": ({"_get_larger"}, "what is asked for behind a cell, without a kernel to run one"),
    "remote_code/test_there.py": ({"_tee"}, "IPython's, whose layers we peel"),
    "security/test_canaries.py": ({"_ATTRIBUTE"}, "where the shell keeps our magics"),
    "servers/test_config_file.py": ({"_LOCK_SECONDS"}, SECONDS),
    "support/transports.py": ({"_thread", "_transport"}, "once, for all tests that speak past a connection"),
    "support/servers.py": ({"_create_unverified_context"}, "of ssl: the server's certificate is a test's"),
    "support/shells.py": ({"_walk_mro"}, "IPython's own way to its one instance"),
    "test_api.py": ({"_bridge"}, "the bridge of the process, which each test begins without"),
    "test_errors.py": ({"_MOST_NAMES", "_REMOTE_ERRORS"}, "that what is remembered has an end"),
    "test_hints.py": ({"_option_string_actions"}, "argparse has no public list of its options"),
    "connection/test_copying.py": ({"_alone"}, "to stop a copy half way"),
    "transfer/test_exchange.py": ({"_BACK_SECONDS", "_FROZEN_SECONDS", "_SILENT_SECONDS", "_TELL_SECONDS"}, SECONDS),
    "transfer/test_languages.py": ({"_kernel_spec"}, "a kernel that no kernelspec tells of"),
    "transports/test_base.py": ({"_TICK"}, SECONDS),
    "transports/test_main_shell.py": ({"_is_cell"}, "that what is remembered has an end"),
    "transports/test_websocket.py": ({"_link", "_lock"}, "that another thread is within websocket-client's send"),
}
#: Names that begin with `_` though everybody may call them.
PROTOCOLS = {"_asdict", "_fields", "_exit", "_ipython_display_", "_replace", "_render_traceback_", "_repr_html_"}
PROTOCOLS |= {"_repr_mimebundle_", "_repr_pretty_"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in {"_", *PROTOCOLS}


def privates(source: str) -> set[str]:
    """The private names that are read of, or set on, anything but `self`, its class and `super()`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            found |= set() if owner in ("self", "cls", "super()") else {node.attr}
        elif isinstance(node, ast.ImportFrom):
            found |= {it.name for it in node.names if is_private(it.name)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "delattr")):
            texts = [it.value for it in node.args[:2] if isinstance(it, ast.Constant) and isinstance(it.value, str)]
            found |= {name for text in texts if is_private(name := text.rpartition(".")[2])}
    return found


def test_tests_leave_privates_alone() -> None:
    there: dict[str, set[str]] = defaultdict(set)
    for path in TESTS.rglob("*.py"):
        if found := privates(path.read_text("utf-8")):
            there[str(path.relative_to(TESTS))] = found
    assert there == {file: names for file, (names, _) in LEFT.items()}
