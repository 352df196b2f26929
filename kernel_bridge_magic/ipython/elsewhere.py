"""What `%autoremote` does when it is typed: go to another kernel, come back, say where one is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.display.neutral import KERNEL
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import BadInput, BadOption, FateError, KernelNotFound, OwnKernel
from kernel_bridge_magic.fate.verdicts import GONE
from kernel_bridge_magic.interrupts import aside, held, sends_nothing
from kernel_bridge_magic.ipython.routing import leaves
from kernel_bridge_magic.text import visible
from kernel_bridge_magic.transfer.variables import Variables

if TYPE_CHECKING:
    from kernel_bridge_magic.ipython.autoremote import AutoRemote
    from kernel_bridge_magic.ipython.shell import InShell
    from kernel_bridge_magic.models import Kernel, Server
    from kernel_bridge_magic.results import RemoteValue

_OFF = "%autoremote off"
_HERE = "cells run here. %autoremote NAME has them run in another kernel"


def begin(here: InShell, auto: AutoRemote, match: str, options: argparse.Namespace) -> None:
    """Have every following cell run in the kernel that `match` means, once that can be reached.

    Raises:
        BadInput: it means none, or several, or this one.
        LinkError, ServerError, NotRun: it cannot be connected to.
    """
    # What %remote has beside these: a cell of its own says it.
    vars(options).update(variables=Variables(), result=None, all=False)
    if "," in match and here.several(match, options) is not None:
        raise BadOption("%autoremote is for one kernel. Write %%remote a,b,c above a cell that several are to run")
    here.ask_for_secrets(options.server)
    with held(), sends_nothing():
        try:
            kernel = here.find(match, options.server)
        except OwnKernel as own:
            if auto.kernel is None:
                raise OwnKernel("that is this notebook's own kernel, where cells run anyway", own.kernel) from None
            raise OwnKernel("that is this notebook's own kernel. Write %autoremote off", own.kernel) from None
        relay = Relay(here.front.sink(), kernel)
        with relay.waiting():
            here.connect(kernel, options.transport, relay, here.cell("...", [kernel], options))
    auto.begin(kernel, options)
    relay.inform(KERNEL, f"cells now run in {kernel.title} until %autoremote off (%%local runs one here)")


def run(here: InShell, auto: AutoRemote, code: str) -> RemoteValue | None:
    """Run a cell in the kernel where cells run.

    Raises:
        BadInput: cells run here, or that kernel is gone.
        RemoteError, FateError: what the cell ended with.
    """
    kernel = auto.kernel
    if kernel is None:
        raise BadInput("%autoremote is off. Write %%remote NAME above the code to run one cell elsewhere")
    # The kernel's end was told with the cell that met it, and that may stand far above in the notebook.
    if auto.died:
        auto.died = False
        here.front.sink().note(f"{visible(kernel.title)} ended during an earlier cell. {GONE}")
    try:
        return here.run(kernel, code, auto.options, hold_result=False)
    except FateError as error:
        auto.died = GONE in error.reason
        raise


def end(here: InShell, auto: AutoRemote) -> None:
    """Have cells run here again."""
    was = auto.kernel
    auto.end()
    here.front.sink().inform(
        KERNEL, _HERE if was is None else f"cells run here again, no longer in {visible(was.title)}"
    )


def keep_in_history(shell: Any, cell: str) -> None:
    """Keep a cell that was `exit`: IPython keeps none of these, and would count its `In` from one less after it."""
    if leaves(cell) and not cell.strip().endswith(";") and shell.history_manager is not None:
        shell.history_manager.store_inputs(shell.execution_count - 1, _OFF)


def where(here: InShell, auto: AutoRemote) -> None:
    """Say where cells run now."""
    kernel = auto.kernel
    there = "" if kernel is None else f"cells run in {visible(kernel.title)} until %autoremote off"
    here.front.sink().inform(KERNEL, there or _HERE)


def find_again(here: InShell, kernel: Kernel) -> Kernel:
    """Return a kernel that cells run in since a while, as it is listed now; it is never another one.

    Raises:
        KernelNotFound: it is gone.
        ServerUnreachable: nobody can tell.
    """
    if here.bridge.pool.known(kernel) and _is_as_added(here, kernel.server):
        return kernel
    found = aside(lambda: here.bridge.find_again(kernel), "kernel-bridge-find")
    if found is None:
        gone = "is gone (it has ended, or its server has), so nothing was run"
        hint = "%autoremote off runs cells here again, %autoremote NAME in another kernel"
        raise KernelNotFound(f"{visible(kernel.title)} {gone}. {hint}")
    return found


def _is_as_added(here: InShell, server: Server | None) -> bool:
    """Return whether the user has not removed a server since, and has not changed whether it is trusted."""
    if server is None or server.source == "runtime":
        return True
    added = here.bridge.registry.servers()
    return any((it.origin, it.trusted) == (server.origin, server.trusted) for it in added)
