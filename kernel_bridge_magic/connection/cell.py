"""`Cell`: what one cell is sent with, as a single value from the face that has it to the wire. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from kernel_bridge_magic.choices import IF_BUSY, check, check_duration
from kernel_bridge_magic.errors import BadCell, BadOption
from kernel_bridge_magic.protocol.messages import check_code
from kernel_bridge_magic.protocol.outputs import Whole

_SWITCHES = ("store_history", "stdin", "keep_outputs", "durable")


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
