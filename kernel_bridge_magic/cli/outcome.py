"""What a command leaves behind: its exit status, and JSON or a table on stdout; failures as one line on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    BadCell,
    BadOption,
    Fate,
    FateError,
    KernelBridgeError,
    NotCopied,
    NotRun,
    TimedOut,
)
from kernel_bridge_magic.interrupts import Terminated, told_to_end
from kernel_bridge_magic.text import visible

if TYPE_CHECKING:
    from kernel_bridge_magic.display.grid import Table
    from kernel_bridge_magic.jobs.results import RemoteResults
    from kernel_bridge_magic.models import Kernel
    from kernel_bridge_magic.results import RemoteResult

OK, RAISED, UNUSABLE, LOST, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 124, 130
#: a shell reports a process that a signal ended as this plus the signal's number
BY_SIGNAL = 128
PIPE_CLOSED = BY_SIGNAL + 13  # SIGPIPE
_WIDE = 200  # columns of a table that goes to a file or a pipe


def say(line: str) -> None:
    """Print a line for people, on stderr."""
    print(f"kernel-bridge: {line}", file=sys.stderr)


def show(table: Table, model: Callable[[], dict[str, Any]], *, as_json: bool) -> None:
    """Print what a command found, on stdout: the JSON of `model()`, or the table."""
    if as_json:
        print_json(model())
    else:
        print(table.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE))


def print_json(model: dict[str, Any]) -> None:
    """Print one JSON object on stdout, with null for NaN and infinities, which only Python reads."""
    try:
        text = json.dumps(model, allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(json.dumps(model), parse_constant=lambda _: None), allow_nan=False)
    print(text)


def status_of(result: RemoteResult) -> int:
    """Return the exit status for a cell that was sent."""
    from kernel_bridge_magic.contract.json_contract import has_exited_well

    if result.fate is Fate.OK or has_exited_well(result):
        return OK
    if isinstance(result.error, TimedOut):
        return TIMEOUT
    if told_to_end() and result.fate is Fate.LEFT_RUNNING:
        return BY_SIGNAL + told_to_end()
    if result.interrupted:
        return INTERRUPTED
    if isinstance(result.error, NotRun):
        return UNUSABLE
    return RAISED if result.fate is Fate.FAILED else LOST


def status_of_many(results: RemoteResults) -> int:
    """Return the exit status for code that ran on several kernels: the worst that came of one.

    It is 2 only where it ran on none, so that it is safe to run it again.
    """
    statuses = {status_of(result) for result in results.values()}
    ran = statuses - {OK, UNUSABLE}
    order = (LOST, RAISED, TIMEOUT, INTERRUPTED)
    worst = next((status for status in order if status in ran), max(ran, default=OK))
    return worst or (UNUSABLE if statuses == {UNUSABLE} else RAISED if UNUSABLE in statuses else OK)


def stop(came: KeyboardInterrupt, meant: list[Kernel], *, as_json: bool, outcome: str = "nothing was run") -> int:
    """Report a Ctrl-C, or a signal to end, that came before anything was done; return the exit status."""
    how, status = "interrupted", INTERRUPTED
    if isinstance(came, Terminated):
        how, status = f"told to end ({came.name})", BY_SIGNAL + came.number
    words = f"{how}; {outcome}"
    if as_json:
        from kernel_bridge_magic.contract.json_contract import failure

        print_json(failure(NotRun(words), *meant))
    say(words)
    return status


def fail(error: KernelBridgeError, meant: list[Kernel], *, as_json: bool) -> int:
    """Report an error that is no cell's; return the exit status. `meant` has the kernel, if it was found."""
    text = str(error)
    if as_json:
        from kernel_bridge_magic.contract.json_contract import failure

        model = failure(error, *meant)
        print_json(model)
        text = model["error"]["message"]
    # What is wrong with a cell or an option rarely depends on the kernel, so that most such texts do not name it.
    names_none = isinstance(error, BadOption) or (isinstance(error, BadCell) and not error.kernel)
    say(f"{visible(meant[0].title)}: {text}" if meant and names_none else text)
    if isinstance(error, AmbiguousKernel) and not as_json:
        for line in error.choices(_columns()):
            print(line, file=sys.stderr)
    return _status_of_failure(error)


def _status_of_failure(error: KernelBridgeError) -> int:
    """Return the exit status for an error that is no cell's: a copy may have broken off half way."""
    if isinstance(error, TimedOut):
        return TIMEOUT
    broke = isinstance(error, NotCopied) or (isinstance(error, FateError) and not isinstance(error, NotRun))
    return LOST if broke else UNUSABLE


def _columns() -> int:
    """Return the width of the terminal that stderr is, 80 where it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # ValueError: a stream without a descriptor
        return 80
