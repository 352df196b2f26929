"""An IPython shell of one's own, in this process: no file of the user's is touched, nothing global stays."""

from __future__ import annotations

import atexit
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@contextlib.contextmanager
def bridged_shell(directory: Path, runtime_dir: Path) -> Iterator[InteractiveShell]:
    """Make such a shell with the extension loaded, which looks for servers in `runtime_dir`."""
    with pytest.MonkeyPatch.context() as patch, private_shell(directory) as shell:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(runtime_dir))
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        yield shell
        shell.run_line_magic("unload_ext", "kernel_bridge_magic")


def run(shell: InteractiveShell, code: str) -> Any:
    """Run a cell as a user does; give the result, raise what it raised."""
    outcome = shell.run_cell(code, store_history=True)
    outcome.raise_error()
    return outcome.result


@contextlib.contextmanager
def private_shell(
    directory: Path, *, keeps_history: bool = False, kind: type[InteractiveShell] = InteractiveShell
) -> Iterator[InteractiveShell]:
    """Make a shell of that `kind` whose profile lies below `directory`, and take all it changed back at the end.

    Its history is in memory, unless `keeps_history`: a file of its own takes longer than most tests.
    """
    before = sys.displayhook, sys.excepthook, sys.modules["__main__"]
    history = Config() if keeps_history else Config(HistoryManager={"hist_file": ":memory:"})
    shell = kind(ipython_dir=str(directory / "ipython"), config=history)
    assert not InteractiveShell.initialized(), "somebody left a shell behind"
    for cls in kind._walk_mro():  # %%capture and get_ipython() look there
        cls._instance = shell
    try:
        with shell.builtin_trap, shell.display_trap:
            yield shell
    finally:
        atexit.unregister(shell.atexit_operations)
        # Else it collects garbage now, among all that a process with thousands of tests has: longer than most tests.
        shell.displayhook.do_full_cache = False
        shell.atexit_operations()
        shell.restore_sys_module_state()
        kind.clear_instance()
        sys.displayhook, sys.excepthook, sys.modules["__main__"] = before
