"""`Cell`: what one cell is sent with, from the face that has it to the wire. `Outcome`: what it came to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from kernel_bridge_magic.choices import IF_BUSY, check, check_duration
from kernel_bridge_magic.errors import (
    BadCell,
    BadOption,
    BadVariable,
    Fate,
    FateError,
    NotCopied,
    RemoteError,
    fate_error,
)
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Error, Event, ExecuteResult
from kernel_bridge_magic.protocol.messages import check_code
from kernel_bridge_magic.protocol.outputs import Outputs, Whole
from kernel_bridge_magic.results import Copied, RemoteResult, RemoteValue
from kernel_bridge_magic.sanitize.html import raisable, sanitize
from kernel_bridge_magic.transfer.variables import Variables

_SWITCHES = ("store_history", "stdin", "keep_outputs", "durable")
_INTERRUPTIONS = {
    None: "interrupted there by another client, or by its own code",
    True: "interrupted there by another client",
    False: "",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, and how it is to be run. It is checked here, once, when a face makes it.

    Raises:
        BadCell: the code cannot be sent, or is no text.
        BadOption: an option is of a wrong type or value, or two do not go together.
    """

    #: the code as it is sent: a byte order mark at its head is dropped
    code: str
    _: KW_ONLY
    #: after how many seconds it is no longer waited for, None for no limit
    timeout: float | None = None
    #: from when they count, on the monotonic clock: when the caller began to connect; None for when it is sent
    since: float | None = None
    #: whether it goes into the kernel's history and counts there
    store_history: bool = False
    #: whether it may ask for input; without, the first question gets the end of input, a second one interrupts the cell
    stdin: bool = False
    #: whether the result has the outputs
    keep_outputs: bool = True
    #: what receives all printed text if that is more than the outputs keep
    whole: Whole | None = None
    #: what to do with a kernel that runs something else: `wait` for it, `fail`, or run beside it in a `subshell`
    if_busy: str = "wait"
    #: whether the kernel keeps the messages until we have them (ipykernel 7)
    durable: bool = False
    #: the variables that are copied with it
    variables: Variables = field(default_factory=Variables)
    #: what goes along under `kernel_bridge` in the metadata
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        check("code", self.code, str, "a text", BadCell)
        object.__setattr__(self, "code", check_code(self.code))
        check("if_busy", self.if_busy, str, "a word")
        check("metadata", self.metadata, dict | None, "a dict")
        for switch in _SWITCHES:
            check("an option that is on or off", getattr(self, switch), bool, "True or False")
        object.__setattr__(self, "timeout", check_duration("timeout", self.timeout))
        if self.if_busy not in IF_BUSY:
            raise BadOption(f"if_busy is one of {', '.join(IF_BUSY)}, not {self.if_busy!r}")
        if self.durable and self.if_busy == "subshell":
            raise BadOption("a durable cell runs in the main shell: leave out --durable, or --if-busy subshell")


class Outcome:
    """What `cell`, which was sent to `kernel`, has come to so far."""

    def __init__(self, kernel: Kernel, cell: Cell, sent: Mapping[str, Copied] | None = None) -> None:
        self._kernel = kernel
        self._outputs = Outputs(whole=cell.whole)
        self._keeps = cell.keep_outputs
        self._value: RemoteValue | None = None
        #: the variables that went there, and those that came
        self.sent = dict(sent or {})
        self.variables: dict[str, Copied] = {}
        #: why variables could not be got
        self.not_copied: BadVariable | NotCopied | None = None

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
        error = self._error(watch, seconds, by_another) or self.not_copied
        result = RemoteResult(
            status="ok" if verdict.fate is Fate.OK else "error",
            fate=verdict.fate,
            kernel=self._kernel,
            outputs=self._outputs.items,
            value=self._value,
            error=error,
            seconds=seconds,
            sent=self.sent,
            variables=self.variables,
            missing=watch.losses.missing,
            interrupted=interrupted,
            updates=self._outputs.updates,
            truncated=self._outputs.truncated,
            output_characters=self._outputs.characters,
            started=watch.judgment.begun,
        )
        if isinstance(error, RemoteError | FateError):
            error.result = result
        return result

    def _error(self, watch: CellWatch, seconds: float, by_another: bool | None) -> RemoteError | FateError | None:
        verdict = watch.verdict
        if verdict is None or verdict.fate is Fate.OK:
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
