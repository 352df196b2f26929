"""`Outcome`: what a cell came to, collected event by event, and at last as a `RemoteResult`. Pure."""

from __future__ import annotations

from kernel_bridge_magic.errors import Fate, FateError, RemoteError, fate_error
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Error, Event, ExecuteResult
from kernel_bridge_magic.protocol.outputs import Outputs, Whole
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.sanitize.html import raisable, sanitize

_INTERRUPTIONS = {
    None: "interrupted there by another client, or by its own code",
    True: "interrupted there by another client",
    False: "",
}


class Outcome:
    """What one cell of `kernel` has come to so far.

    Without `keep_outputs` only the value is kept. `whole` receives all printed text if that is more than is kept.
    """

    def __init__(self, kernel: Kernel, *, keep_outputs: bool = True, whole: Whole | None = None) -> None:
        self._kernel = kernel
        self._outputs = Outputs(whole=whole)
        self._keeps = keep_outputs
        self._value: RemoteValue | None = None

    def add(self, event: Event) -> None:
        """Record one event of the cell."""
        if isinstance(event, ExecuteResult):
            shown = None if self._kernel.is_yours else sanitize(event.data)
            self._value = RemoteValue(event.data, event.metadata, shown=shown)
        if self._keeps:
            self._outputs.add(event)

    def result(
        self, watch: CellWatch, *, seconds: float, interrupted: bool = False, by_another: bool | None = None
    ) -> RemoteResult:
        """Return the result of a cell whose fate `watch` knows, `seconds` after it was sent.

        If there is an error, it has the result in turn. `interrupted`: from here. `by_another` tells whether it was
        another client that interrupted the cell if anybody did. It is None where that is not known: a signal says
        nothing of who sent it, and code may raise what an interrupt raises.
        """
        verdict = watch.verdict
        assert verdict is not None
        error = self._error(watch, seconds, by_another)
        result = RemoteResult(
            status="ok" if verdict.fate is Fate.OK else "error",
            fate=verdict.fate,
            kernel=self._kernel,
            outputs=self._outputs.items,
            value=self._value,
            error=error,
            seconds=seconds,
            missing=watch.losses.missing,
            interrupted=interrupted,
            updates=self._outputs.updates,
            truncated=self._outputs.truncated,
            output_characters=self._outputs.characters,
            started=watch.judgment.begun,
        )
        if error is not None:
            error.result = result
        return result

    def _error(self, watch: CellWatch, seconds: float, by_another: bool | None) -> RemoteError | FateError | None:
        verdict = watch.verdict
        assert verdict is not None
        if verdict.fate is Fate.OK:
            return None
        if verdict.fate is Fate.FAILED:
            error = raisable(watch.request.error or Error("", ""), self._kernel)
            if error.ename == "KeyboardInterrupt":
                error.interruption = _INTERRUPTIONS[by_another]
            return error
        return fate_error(
            verdict.fate,
            verdict.reason,
            timed_out=verdict.timed_out,
            kernel=self._kernel.title,
            shown=watch.shown,
            missing=watch.losses.missing,
            seconds=seconds,
            started=watch.judgment.begun,
        )
