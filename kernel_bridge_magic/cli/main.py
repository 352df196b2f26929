"""The command line: `kernel-bridge`, the same as `python -m kernel_bridge_magic` and `jupyter kernel-bridge`.

Results go to stdout, everything else to stderr; with `--json` stdout is one JSON object (see `contract/`). No module of
the command line but `demo` imports IPython. This one is about the process: its signals, streams and end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kernel_bridge_magic.access.signals import ENDING, resume
from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.cli.outcome import BY_SIGNAL, LOST, PIPE_CLOSED, fail, say, stop
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.interrupts import heard_in_calls, held, spent, told_to_end

if TYPE_CHECKING:
    from kernel_bridge_magic.models import Kernel

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LAST_SECONDS = 5.0  # for our last words after a signal to end: nobody may read what we write


def main(argv: Sequence[str] | None = None, *, mask: frozenset[int] | None = None) -> int:
    """Run the command line and return its exit status.

    `mask` is given where this is the whole process. Then SIGINT, SIGTERM and SIGHUP are blocked until here, and only
    the signals of `mask` from here on; once everything is reported, Ctrl-C is ignored.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_open_streams())
        if arguments[:1] != ["demo"]:  # the demo has a shell to interrupt, and ends by handlers of its own
            then = _end_soon if mask is not None else None
            stack.enter_context(held(*ENDING, then=then))
            if mask is not None:
                stack.enter_context(heard_in_calls())
        if mask is not None:
            resume(mask)
        try:
            return _run(arguments)
        finally:
            if mask is not None:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            spent()  # what came up to the line above as well


def _end_soon(number: int) -> None:
    """End the process a few seconds after a signal told it to, even where a write blocks that nobody reads."""
    timer = threading.Timer(_LAST_SECONDS, lambda: os._exit(BY_SIGNAL + number))
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def _open_streams() -> Iterator[None]:
    """Open the null device for closed standard streams (`>&-`): print would send what is for stderr to stdout (B49)."""
    # Nor may the next socket get the number of a standard stream: other code writes to that.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    with contextlib.ExitStack() as stack:
        for stream, redirect in ((sys.stdout, contextlib.redirect_stdout), (sys.stderr, contextlib.redirect_stderr)):
            if stream is None:
                stack.enter_context(redirect(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        yield


def _run(arguments: list[str]) -> int:
    """Run the command and report how it failed; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            # A name that the terminal's encoding lacks is escaped, not a crash (B49).
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    meant: list[Kernel] = []
    try:
        try:
            options = parse(arguments)
            from kernel_bridge_magic.cli.commands import run_command

            return run_command(options, meant)
        except KernelBridgeError as error:
            return fail(error, meant, as_json="--json" in arguments)
        except KeyboardInterrupt as came:
            return stop(came, meant, as_json="--json" in arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:
        return _unwritable(error)


def _unwritable(error: OSError) -> int:
    """Report output that could not be written; return the exit status.

    Raises:
        OSError: it is another error.
    """
    for note in getattr(error, "__notes__", ()):
        with contextlib.suppress(OSError):
            print(note, file=sys.stderr)
    if told_to_end():
        return BY_SIGNAL + told_to_end()  # the terminal is gone, and with it whoever would read this
    if error.errno not in (errno.EPIPE, *_DISK_FULL):
        raise error
    # Python would complain once more when it closes stdout.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return PIPE_CLOSED  # whoever read our output has gone
    with contextlib.suppress(OSError):
        say(f"the output could not be written ({error.strerror}). Make room there, or write it elsewhere")
    return LOST
