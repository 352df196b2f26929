"""Show a line that will be removed again outside of an Output widget that captures the cell's output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def outside(shell: Any) -> Iterator[None]:
    """Let no `with Output():` of the user's capture what the running cell of `shell` shows in this block.

    JupyterLab's Output widget keeps no display ids: what it has captured can be neither updated nor removed. So the
    widget is left and entered again, as two `with` blocks would do. If several widgets are nested, none is left.
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
