"""Keep output that is too much to show in a file that only the user can read.

It is removed when this process ends, unless it is `Kept`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

from kernel_bridge_magic.access.files import create, truncate

_MOST = 1 << 30  # bytes: a cell that prints for ever must not fill the disk
_DAY = 86400.0  # seconds


class Overflow:
    """A file in the Jupyter runtime directory, which no server shows in its file browser (T35).

    It is created with the first text. A full disk is no reason to end the cell: then `problem` says why the rest is not
    kept.
    """

    kind = "output"  # a part of the file's name

    def __init__(self) -> None:
        #: the file, "" before there is one
        self.path = ""
        #: why not all of it is kept, "" while it is
        self.problem = ""
        #: bytes in the file
        self.size = 0
        self._descriptor = -1
        self._pid = os.getpid()

    def write(self, text: str) -> None:
        """Append text."""
        if self.problem:
            return
        try:
            if not self.path:
                self._open()
            data = text.encode("utf-8", "backslashreplace")
            if self.size + len(data) > _MOST:
                self.problem = f"more than {_MOST >> 30} GiB"
                return
            self.size += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self.problem = error.strerror or type(error).__name__

    def close(self) -> None:
        """Close the file; it stays until this process ends."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def restart(self) -> None:
        """Empty the file; begin a new one if it has gone, or is another process's."""
        self.close()
        self.size, self.problem = 0, ""
        if self.path and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                self._descriptor = truncate(self.path)
                return
            atexit.unregister(self.remove)
        self.path, self._pid = "", os.getpid()

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
        path = os.path.join(directory, f"kernel-bridge-{self.kind}-{os.getpid()}-{secrets.token_hex(6)}.txt")
        self._descriptor = create(path)
        self.path = path
        self._see_to_its_end(directory)

    def _see_to_its_end(self, directory: str) -> None:
        atexit.register(self.remove)


class Kept(Overflow):
    """A file for somebody who reads it when this process has ended. The next such file removes it after a day."""

    kind = "kept"

    def _see_to_its_end(self, directory: str) -> None:
        now = time.time()
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if name.startswith(f"kernel-bridge-{self.kind}-") and now - os.lstat(path).st_mtime > _DAY:
                    os.unlink(path)


class Shelf:
    """Keep what is too large to show, one file for each key, and at most `most` bytes in all.

    An animation of such pictures must not fill the disk: the oldest files are removed. The newest always stays.
    """

    def __init__(self, most: int = _MOST) -> None:
        #: bytes that are kept in all
        self.most = most
        self._files: OrderedDict[str, Overflow] = OrderedDict()  # the newest last
        self._unnamed = 0
        self._lock = threading.Lock()

    def put(self, key: str, texts: Iterable[str]) -> Overflow:
        """Keep texts in place of what `key` had before; "" is a new key each time. Return the closed file."""
        with self._lock:
            if not key:
                self._unnamed += 1
            file = self._files.pop(key, None) or Overflow()
            file.restart()
            for text in texts:
                file.write(text)
            file.close()
            if file.path:
                self._files[key or f" {self._unnamed}"] = file
            while len(self._files) > 1 and sum(kept.size for kept in self._files.values()) > self.most:
                self._files.popitem(last=False)[1].remove()
            return file
