"""Ask before one cell runs on many kernels."""

from __future__ import annotations

from collections.abc import Sequence

from kernel_bridge_magic.errors import NotRun
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.questions import Ask, says_yes
from kernel_bridge_magic.text import count, some_of, visible

#: On how many kernels of one server a cell runs without a question.
MOST_UNASKED = 10
_MOST_NAMED = 5


def confirm(kernels: Sequence[Kernel], *, yes: bool, ask: Ask | None) -> None:
    """Ask whether a cell may run on more than ten kernels, or on several servers; `yes` is the answer already.

    `ask` is None where nobody can be asked.

    Raises:
        NotRun: the answer is no, or there is none.
    """
    which = _many(kernels)
    if yes or not which:
        return
    if ask is None:
        raise NotRun(f"this would run on {which}, and nobody can be asked here; nothing was run. Add --yes to run it")
    if not says_yes(ask, f"run this on {which}? [y/N] "):
        raise NotRun(f"not run on {which}; nothing was sent")


def _many(kernels: Sequence[Kernel]) -> str:
    """Return which kernels they are, "" where they are so few that nobody need be asked."""
    servers = {kernel.server.name for kernel in kernels if kernel.server is not None}
    if len(kernels) <= MOST_UNASKED and len(servers) <= 1:
        return ""
    names = some_of([visible(kernel.title) for kernel in kernels], _MOST_NAMED)
    where = f" on {count(len(servers), 'server')}" if len(servers) > 1 else ""
    return f"{count(len(kernels), 'kernel')}{where} ({names})"
