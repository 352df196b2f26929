"""Run a cell in another kernel that is already running, and see what it gives as if it had run here.

In IPython and Jupyter::

    %load_ext kernel_bridge_magic
    %kernels
    %%remote analysis
    df.describe()

In Python::

    from kernel_bridge_magic import connect, kernels

    with connect("analysis") as kernel:
        kernel.execute("df.shape").value

Importing this package opens no socket, starts no thread, and imports nothing that takes time.
"""

from __future__ import annotations

TYPE_CHECKING = False  # checkers take it for typing's, whose import takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from kernel_bridge_magic.api import connect, kernels, run_on
    from kernel_bridge_magic.connection.connection import KernelConnection
    from kernel_bridge_magic.display.tables import KernelList
    from kernel_bridge_magic.errors import (
        AmbiguousKernel,
        AuthRefused,
        BadAnswer,
        BadCell,
        BadInput,
        BadMatch,
        BadOption,
        BadServer,
        BadVariable,
        CannotConnect,
        Fate,
        FateError,
        FateUnknown,
        KernelBridgeError,
        KernelDied,
        KernelNotFound,
        LeftRunning,
        LinkError,
        LinkLost,
        NotCopied,
        NotRun,
        OwnKernel,
        RemoteError,
        ServerError,
        ServerUnreachable,
        TimedOut,
    )
    from kernel_bridge_magic.jobs.job import RemoteJob
    from kernel_bridge_magic.jobs.results import RemoteErrors, RemoteResults
    from kernel_bridge_magic.models import Kernel
    from kernel_bridge_magic.results import RemoteResult, RemoteValue

__version__ = "0.1.0"

__all__ = [
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

_HOMES = {
    "Kernel": "models",
    "KernelConnection": "connection.connection",
    "KernelList": "display.tables",
    "RemoteErrors": "jobs.results",
    "RemoteJob": "jobs.job",
    "RemoteResult": "results",
    "RemoteResults": "jobs.results",
    "RemoteValue": "results",
    "connect": "api",
    "kernels": "api",
    "run_on": "api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """Register the magics: `%load_ext kernel_bridge_magic`. Loading twice is no error."""
    from kernel_bridge_magic import reloads
    from kernel_bridge_magic.ipython import magics

    (reloads.renew("ipython.magics") if reloads.happened() else magics).load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove all that loading added, and close every connection: `%unload_ext kernel_bridge_magic`."""
    from kernel_bridge_magic.ipython import magics

    magics.unload(shell)
