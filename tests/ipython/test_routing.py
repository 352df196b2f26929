"""Which cells `%autoremote` sends to the other kernel."""

from __future__ import annotations

import inspect

import pytest

from kernel_bridge_magic.ipython.routing import goes_on, is_typed, leaves, local_body, run_here, stays_here, typed_cell


@pytest.mark.parametrize(
    "cell",
    [
        "",
        " \n\n",
        "%kernels",
        "  %kernels -v north",
        "\n\n%%remote south\ndf",
        "%remote south df",
        "x = %remote south df",
        "a, b = %remote south df",
        "d['k'] = %remote south df",
        "%jobs 3 --stop",
        "%servers",
        "%autoremote off",
        "%%local\nx",
        "%%remote?",
        "?%remote",
        "%kernels??",
        "%load_ext kernel_bridge_magic",
        "%reload_ext kernel_bridge_magic ",
        "%unload_ext kernel_bridge_magic",
        "%config KernelBridge",
        "# longer\n %config  KernelBridge.reconnect_timeout = 60",
        "%rerun 3",
        "%recall 3",
        "%history -n",
        "%save f 1-3",
        "%load_ext kernel_bridge_magic\n%autoremote north",
        "import os\n  %load_ext  kernel_bridge_magic",
        "autoremote",
        "autoremote off",
        "# which are there?\n\n  # now\n%kernels",
        "# back\n%autoremote off",
    ],
)
def test_what_stays_here(cell: str) -> None:
    assert stays_here(cell)
    assert not leaves(cell)


@pytest.mark.parametrize(
    "cell",
    [
        "1 + 1",
        "# a comment",
        "%time df",
        "%%time\n%remote south df",
        "%%bash\nls",
        "!ls",
        "df?",
        "await f()",
        "%matplotlib inline",
        "%load_ext autoreload",
        "%config InlineBackend",
        "%config KernelBridgeX",
        "%config",
        "%kernelsx",
        "x = 5 % kernels",
        "print('%kernels')",
        "%localtime",
        "kernels",
        "autoremote = 3",
        "%load_ext kernel_bridge_magic_too",
        "# %kernels\nx",
        "# one\n# %kernels",
        "x %in% kernels",
        "x = 1\n%autoremote off",
    ],
)
def test_what_goes_there(cell: str) -> None:
    assert not stays_here(cell)
    assert not leaves(cell)
    assert local_body(cell) is None


@pytest.mark.parametrize("cell", ["exit", "quit", " exit() ", "quit( )\n", "\nexit;"])
def test_exit_is_off(cell: str) -> None:
    assert leaves(cell)


@pytest.mark.parametrize("cell", ["exit(1)", "exit = 3", "exits", "x = 1\nexit", "sys.exit()", "%exit"])
def test_what_is_no_exit(cell: str) -> None:
    assert not leaves(cell)


def test_local() -> None:
    assert local_body("%%local\nx = 1\n\ny") == "x = 1\n\ny"
    assert local_body("\n %%local  \n%%time\nx") == "%%time\nx"
    assert local_body("%%locals\nx") is None
    assert local_body("%%local x\ny") is None
    assert local_body("%%local") == ""


@pytest.mark.parametrize(
    ("cell", "runs"),
    [
        ("%%local\nx\ny", "# %%local\nx\ny"),
        ("\n\n%%local  \n\nx", "# %%local\n\nx"),
        ("%%local\n%%time\nx", "%%time\nx"),
        ("%%local\n\n%%time\nx", "\n%%time\nx"),
        ("%%local\n  x\n  y", "  x\n  y"),
        ("%%local\n\n\tx", "\n\tx"),
        ("%%local\n%time x", "# %%local\n%time x"),
    ],
)
def test_what_runs_below_local_keeps_its_lines_where_it_can(cell: str, runs: str) -> None:
    body = local_body(cell)
    assert body is not None and run_here(cell, body) == runs


@pytest.mark.parametrize(
    ("cell", "more"),
    [
        ("%autoremote north", False),
        ("%autoremote north\n\n# that is all\n", False),
        ("x = 1\n  %autoremote north", False),
        ("%autoremote north\n%kernels", True),
        ("\n%autoremote north\n# and\nx", True),
        ("# no magic\nx", False),
        ("", False),
    ],
)
def test_whether_code_stands_below_it(cell: str, more: bool) -> None:
    assert goes_on(cell) is more


def test_where_no_cell_runs_nobody_has_typed_one() -> None:
    frame = inspect.currentframe()
    assert not is_typed(frame, in_kernel=False) and not is_typed(None, in_kernel=True)
    assert typed_cell(frame) == "" == typed_cell(None)


def test_functions_that_are_only_called_alike_are_none_of_ipython_s() -> None:
    def do_execute(silent: bool = False, store_history: bool = True) -> bool:
        return is_typed(inspect.currentframe(), in_kernel=True)

    def _run_cell(raw_cell: str = "x", silent: bool = False, store_history: bool = True) -> bool:
        return is_typed(inspect.currentframe(), in_kernel=False)

    assert not do_execute() and not _run_cell()
