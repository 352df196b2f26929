"""A line that is to go again, in a cell whose output an Output widget takes: shown outside that widget."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["outside"]


@contextlib.contextmanager
def outside(shell: Any) -> Iterator[None]:
    """While the block runs, let no `with Output():` of the user's take what the running cell of `shell` shows.

    JupyterLab's Output widget keeps no display ids: what it has taken can be neither updated nor taken away. Leaving it
    and coming back is what two `with` blocks would do. Of several, one in the other, none is left.
    """
    taking = _taking(shell)
    if len(taking) != 1:
        yield
        return
    (widget,), msg_id = taking, taking[0].msg_id
    widget.msg_id = ""
    try:
        yield
    finally:
        widget.msg_id = msg_id


def _taking(shell: Any) -> list[Any]:
    module = sys.modules.get("ipywidgets.widgets.widget")
    parent = shell.get_parent() if module is not None and hasattr(shell, "get_parent") else None
    msg_id = parent.get("header", {}).get("msg_id") if isinstance(parent, dict) else None
    if not msg_id:
        return []
    known = list(getattr(module, "_instances", {}).values())
    return [it for it in known if getattr(it, "_model_name", "") == "OutputModel" and it.msg_id == msg_id]
