"""Files that are opened with suspicion: whatever stands under a name, nothing hangs and nothing is left open."""

from __future__ import annotations

import os
from typing import BinaryIO

__all__ = ["open_file"]


def open_file(path: str, *, flags: int = 0, directory: int | None = None) -> BinaryIO:
    """Open what stands under `path` to be read, below the open `directory` if that is given.

    Raises:
        OSError: it cannot be read; a directory cannot.
        ValueError: it is no path.
    """
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=directory)
    try:
        return os.fdopen(handle, "rb")
    except BaseException:  # it is a directory
        os.close(handle)
        raise
