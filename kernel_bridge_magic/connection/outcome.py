"""What a cell came to, as a `RemoteResult`. Pure."""

from __future__ import annotations

from kernel_bridge_magic.errors import Fate, FateError, RemoteError, fate_error
from kernel_bridge_magic.fate.watch import Link
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Error
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.sanitize.html import raisable

__all__ = ["outcome"]

_INTERRUPTIONS = {
    None: "interrupted there by another client, or by its own code",
    True: "interrupted there by another client",
    False: "",
}


def outcome(
    link: Link,
    kernel: Kernel,
    *,
    outputs: Outputs | None,
    value: RemoteValue | None,
    seconds: float,
    interrupted: bool,
    by_another: bool | None = None,
) -> RemoteResult:
    """Give the result of a cell whose fate `link` knows; its error, if there is one, has the result in turn.

    `by_another` tells whether it was another client that interrupted the cell if anybody did; None where that is not
    known: a signal says nothing of who sent it, and code may raise what an interrupt raises.
    """
    verdict = link.verdict
    assert verdict is not None
    error: RemoteError | FateError | None = None
    if verdict.fate is Fate.FAILED:
        error = raisable(link.request.error or Error("", ""), kernel)
        if error.ename == "KeyboardInterrupt":
            error.interruption = _INTERRUPTIONS[by_another]
    elif verdict.fate is not Fate.OK:
        error = fate_error(
            verdict.fate,
            verdict.reason,
            timed_out=verdict.timed_out,
            kernel=kernel.title,
            shown=link.shown,
            missing=link.losses.missing,
            seconds=seconds,
            started=link.begun,
        )
    result = RemoteResult(
        status="ok" if verdict.fate is Fate.OK else "error",
        fate=verdict.fate,
        kernel=kernel,
        outputs=[] if outputs is None else outputs.items,
        value=value,
        error=error,
        seconds=seconds,
        missing=link.losses.missing,
        interrupted=interrupted,
        updates=() if outputs is None else outputs.updates,
        truncated=outputs is not None and outputs.truncated,
        output_characters=0 if outputs is None else outputs.characters,
        started=link.begun,
    )
    if error is not None:
        error.result = result
    return result
