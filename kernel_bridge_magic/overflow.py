"""`Overflow`: a file for output that is too much to show. It is the user's only, and goes when this process ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets

__all__ = ["Overflow"]

_MOST = 1 << 30  # bytes: a cell that prints for ever must not fill the disk


class Overflow:
    """A file in the Jupyter runtime directory, which no server shows in its file browser (FAULTS T35).

    It is made with the first text. A disk that takes no more is no reason to end the cell: then `problem` says why
    the rest is not kept.
    """

    def __init__(self) -> None:
        #: the file, "" before there is one
        self.path = ""
        #: why not all of it is kept, "" while it is
        self.problem = ""
        self._descriptor = -1
        self._size = 0
        self._pid = os.getpid()

    def write(self, text: str) -> None:
        """Put text at the end."""
        if self.problem:
            return
        try:
            if not self.path:
                self._open()
            data = text.encode("utf-8", "backslashreplace")
            if self._size + len(data) > _MOST:
                self.problem = f"more than {_MOST >> 30} GiB"
                return
            self._size += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self.problem = error.strerror or type(error).__name__

    def close(self) -> None:
        """Write no more; the file stays until this process ends."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Remove the file; not in a process that was forked off."""
        self.close()
        if self.path and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            atexit.unregister(self.remove)

    def _open(self) -> None:
        from jupyter_core.paths import jupyter_runtime_dir

        directory = jupyter_runtime_dir()
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, f"kernel-bridge-output-{os.getpid()}-{secrets.token_hex(6)}.txt")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(path, flags, 0o600)
        self.path = path
        atexit.register(self.remove)
