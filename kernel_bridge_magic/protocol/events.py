"""What comes of a cell, as typed values, in the order in which it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernel_bridge_magic.protocol.messages import Message

#: How the text of an event names an interrupt; a front end that calls it something else puts its own word there.
STOP = "Ctrl-C"


@dataclass(frozen=True, slots=True)
class Stream:
    """Text that was printed; `name` is `stdout` or `stderr`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class DisplayData:
    """A MIME bundle to show. `update` replaces the earlier displays of the same `display_id`."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    display_id: str = ""
    update: bool = False


@dataclass(frozen=True, slots=True)
class ExecuteResult:
    """The value of the cell's last expression, as a MIME bundle."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    execution_count: int | None = None
    display_id: str = ""


@dataclass(frozen=True, slots=True)
class ClearOutput:
    """Clear what the cell has shown; with `wait` only when the next output is there."""

    wait: bool = False


@dataclass(frozen=True, slots=True)
class Error:
    """The cell raised. `traceback` is a list of lines, with ANSI colours."""

    ename: str
    evalue: str
    traceback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputRequest:
    """The cell waits for a line of input, and everybody who uses the kernel waits with it."""

    prompt: str
    password: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What would open in a pager (`obj?`), as a MIME bundle."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Payload:
    """What the cell asked its front end to do (`set_next_input`, `edit_magic`, …). Nothing does it here.

    `content` is the payload as the reply has it.
    """

    source: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CommMessage:
    """A widget's message (`comm_open`, `comm_msg`, `comm_close`), whole."""

    message: Message


@dataclass(frozen=True, slots=True)
class Aside:
    """Something that came over the connection and is no part of the cell, at its place in the order."""

    item: object


@dataclass(frozen=True, slots=True)
class Started:
    """The kernel has begun to run the cell."""


@dataclass(frozen=True, slots=True)
class Queued:
    """The kernel has not begun, and what it does first, as far as that is known: nothing, where all is at its default.

    `since` is the time of day at which it was heard to begin another cell, `ours`: that is one of this process's.
    `sure`: all was heard since. `starting`: it is starting again, or was when it was last heard of. `connecting`: its
    server waits for it before it lets us in, and nothing was sent yet.
    """

    since: str = ""
    ours: bool = False
    sure: bool = True
    starting: bool = False
    connecting: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Output that is known to be missing, and why. `count` is None when nobody can tell how much."""

    reason: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """One line of ours about what goes on.

    Without a `key` it says what went wrong, was lost or was restarted. With one it is neutral and replaces the
    line before it with that key; an empty text removes that line. The keys are those of `display.neutral`.
    """

    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing came, and the time that was asked for is there: see `Execution.wake_at`."""


Event = (
    Stream
    | DisplayData
    | ExecuteResult
    | ClearOutput
    | Error
    | InputRequest
    | Page
    | Payload
    | CommMessage
    | Aside
    | Started
    | Queued
    | Lost
    | Note
    | Tick
)
