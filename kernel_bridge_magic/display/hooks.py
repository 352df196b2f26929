"""Hook into IPython while a cell runs: past what captures its output, and past a second display of its error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

_METHOD = "_showtraceback"


class Captured:
    """Remember the notes that one cell wrote to stderr, until it is known whether they were captured.

    `%%capture`, `capture_output` and `redirect_stderr` all replace `sys.stderr`, and put it back before the cell ends.
    A stream that still stands there at the cell's end is not theirs: the user has put it there for good, and it gets
    nothing twice.
    """

    def __init__(self, shell: Any) -> None:
        self._events = shell.events
        self._told: list[tuple[Any, str]] = []

    def told(self, text: str) -> None:
        """Record what was written to `sys.stderr` just now."""
        if not self._told:
            self._events.register("post_run_cell", self._tell_again)
            self._events.register("pre_run_cell", self._forget)
        self._told.append((sys.stderr, text))

    def _tell_again(self, result: object = None) -> None:
        # A cell within a cell ends as well, such as the one in `%%capture`: there its stream still stands, or that of
        # another `%%capture` around it.
        for stream, text in self._told:
            if stream is not sys.stderr:
                sys.stderr.write(text)
        self._told = [(sys.stderr, text) for _, text in self._told]

    def _forget(self, info: object = None) -> None:
        """Forget the notes: the next cell begins, and may capture for itself."""
        if _is_nested():
            return
        self._events.unregister("post_run_cell", self._tell_again)
        self._events.unregister("pre_run_cell", self._forget)
        self._told.clear()


def _is_nested() -> bool:
    """Return whether the cell that begins now runs within another one, as by `get_ipython().run_cell`."""
    frame, cells = sys._getframe(), 0
    while frame is not None and cells < 2:
        cells += frame.f_code is InteractiveShell.run_cell_async.__code__
        frame = frame.f_back  # type: ignore[assignment]
    return cells == 2


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


def is_captured(shell: Any) -> bool:
    """Return whether `%%capture`, or a `with Output():`, captures what the running cell of `shell` shows."""
    return isinstance(shell.display_pub, CapturingDisplayPublisher) or bool(_taking(shell))


def _taking(shell: Any) -> list[Any]:
    module = sys.modules.get("ipywidgets.widgets.widget")
    parent = shell.get_parent() if module is not None and hasattr(shell, "get_parent") else None
    msg_id = parent.get("header", {}).get("msg_id") if isinstance(parent, dict) else None
    if not msg_id:
        return []
    known = list(getattr(module, "_instances", {}).values())
    return [it for it in known if getattr(it, "_model_name", "") == "OutputModel" and it.msg_id == msg_id]


def leave_out(shell: Any, error: BaseException) -> None:
    """Let the IPython `shell` skip `error`, and no other one, when it shows errors, until its cell is over.

    The method by which a shell shows any traceback is replaced. A handler of `set_custom_exc` would not do: it is
    called only when an error leaves its cell, but `%%time` of IPython 8 and ipywidgets' `with Output():` show errors
    themselves. A handler of the user's stays where it is, and is called as for any error.
    """
    known = shell.__dict__.get(_METHOD)
    if isinstance(known, _Passing):
        known.errors.append(error)
    else:
        _Passing(shell, error)


class _Passing:
    """Stand in place of `_showtraceback` in one shell; a cell that runs another one shares it with that."""

    def __init__(self, shell: Any, error: BaseException) -> None:
        self.errors = [error]
        self._shell = shell
        self._known = shell.__dict__.get(_METHOD)  # `rich.traceback.install` puts one here, too
        self._show = getattr(shell, _METHOD)
        setattr(shell, _METHOD, self)
        # Also of a cell within a cell: what that raised is shown by then.
        shell.events.register("post_execute", self._go)

    def __call__(self, etype: Any, evalue: Any, *args: Any, **kwargs: Any) -> None:
        if not any(evalue is error for error in self.errors):
            self._show(etype, evalue, *args, **kwargs)

    def _go(self) -> None:
        self._shell.events.unregister("post_execute", self._go)
        self.errors.clear()
        if self._shell.__dict__.get(_METHOD) is not self:
            return  # somebody has put another one over it, which goes on to call this
        if self._known is None:
            delattr(self._shell, _METHOD)
        else:
            setattr(self._shell, _METHOD, self._known)
