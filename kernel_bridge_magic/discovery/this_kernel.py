"""Find out which kernel runs this code, without importing anything: a kernel has imported what it takes."""

from __future__ import annotations

import os
import sys
from typing import Any


def own_connection_file() -> str:
    """Return the absolute path of the connection file of the ipykernel that runs this code; "" outside of one."""
    module: Any = sys.modules.get("ipykernel.kernelapp")
    application = getattr(module, "IPKernelApp", None)
    if application is None or not application.initialized():
        return ""
    # ipykernel.connect.get_connection_file() does the same, after an import of 0.3 s outside a kernel.
    path = getattr(application.instance(), "abs_connection_file", "")
    return os.path.abspath(path) if isinstance(path, str) and path else ""


def own_kernel_id() -> str:
    """Return this kernel's id: its file's name without `kernel-` and ending. Behind a server it is the REST id."""
    stem = os.path.splitext(os.path.basename(own_connection_file()))[0]
    return stem.removeprefix("kernel-")
