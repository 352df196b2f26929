"""File descriptors: whether any are left, and whether those of sockets can be read or written.

libzmq calls abort() if it gets some of the descriptors that it needs but not all: the user's kernel would be gone.
Without descriptors a directory looks empty, a host unknown, and a process like somebody else's. So it is checked
first whether there are any.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
from typing import Any

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


def is_ready(sock: Any, seconds: float, *, write: bool = False) -> bool:
    """Return whether a read (or a write) would not wait, or would fail, within `seconds`."""
    waiting = selector()
    try:
        waiting.register(sock, selectors.EVENT_WRITE if write else selectors.EVENT_READ)
        return bool(waiting.select(max(seconds, 0.0)))
    except (OSError, ValueError):
        return True  # another thread has closed it meanwhile: whoever uses it is told


def selector() -> selectors.BaseSelector:
    """Return a selector for sockets that needs no descriptor of its own.

    `select` fails on descriptors above 1023, which notebooks reach; Windows has nothing else, and no such limit there.
    """
    kind: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return kind()
