"""Say when no file descriptors are left, before a library says something else, or ends the process.

libzmq calls abort() if it gets some of the descriptors that it needs but not all: the user's kernel would be gone.
Without descriptors a directory looks empty, a host unknown, and a process like somebody else's.
"""

from __future__ import annotations

import contextlib
import errno
import os

from kernel_bridge_magic.errors import CannotConnect

#: More than one connection or one look around needs; ZMQ takes 14 for the sockets of a kernel.
PLENTY = 32


def require(number: int = PLENTY) -> None:
    """Check that this process can open `number` more files and sockets.

    Raises:
        CannotConnect: it cannot.
    """
    opened: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while len(opened) < number:
                opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if len(opened) < number:
        raise CannotConnect(*none_left())


def are_out(error: BaseException) -> bool:
    """Return whether an error says that there are no more, for this process or for the whole machine."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def check(error: BaseException) -> None:
    """Raise if an error says that there are no more descriptors.

    Raises:
        CannotConnect: there are no more.
    """
    if are_out(error):
        raise CannotConnect(*none_left()) from None


def none_left() -> tuple[str, str]:
    """Return what to say when there are none to spare: what is wrong, and what to do."""
    limit = ""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = f" (its limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
    return (
        f"this process has no file descriptors to spare{limit}",
        "close files or connections, or raise it (ulimit -n)",
    )
