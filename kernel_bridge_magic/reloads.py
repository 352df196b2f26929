"""Modules of ours that were reloaded one by one (`importlib.reload`, `%autoreload`).

Each has classes of its own then, and what was imported from it before has the old ones: an event that nobody knows any
more would be waited for without end. So it is seen that modules were reloaded, and all of them are imported anew.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

#: what a cell is told that modules of two ages would have to send
REFUSAL = (
    "nothing was sent, since modules of kernel_bridge_magic were reloaded and do not fit to the old ones. "
    "Connect again after %reload_ext kernel_bridge_magic; in a script, start Python anew"
)
_PACKAGE = __package__ or ""
_PREFIX = f"{_PACKAGE}."
#: the spec that each module had when it was first seen: reloading gives it a new one. Reloading this one keeps it.
_FIRST: dict[str, Any] = globals().get("_FIRST", {})


def happened() -> bool:
    """Return whether any module of ours was reloaded since it was seen first. The package itself holds no classes."""
    found = False
    for name, module in list(sys.modules.items()):
        if name.startswith(_PREFIX) and module is not None:
            spec = getattr(module, "__spec__", None)
            found |= _FIRST.setdefault(name, spec) is not spec
    return found


def renew(name: str) -> ModuleType:
    """Forget all modules of the package, and return the one of that name, imported anew.

    Objects of before keep theirs.
    """
    package = sys.modules[_PACKAGE]
    for known in [known for known in sys.modules if known.startswith(_PREFIX)]:
        del sys.modules[known]
        # `from package import module` would find the old one.
        vars(package).pop(known.removeprefix(_PREFIX).partition(".")[0], None)
    return importlib.import_module(f"{_PACKAGE}.{name}")
