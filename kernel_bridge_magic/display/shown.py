"""Keep an error that was shown among a cell's output from being shown again when it is raised."""

from __future__ import annotations

from typing import Any

_METHOD = "_showtraceback"


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
    """Stand in place of the method in one shell; a cell that runs another one shares it with that."""

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
