"""Files that are opened with suspicion: whatever stands under a name, nothing hangs and nothing is left open.

Windows has neither owners nor modes of this kind: there a file is trusted for its place, which other users cannot
write to by default.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import os
import stat
from types import TracebackType
from typing import Any, BinaryIO


def _flags(*names: str) -> int:
    """Return the flags of these names that there are here. Python never lets a descriptor be inherited."""
    return sum(getattr(os, name, 0) for name in ("O_BINARY", *names))


_LARGEST_OBJECT = 64 * 1024  # bytes

# O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOFOLLOW: a link would show what is elsewhere.
_READ = os.O_RDONLY | _flags("O_NONBLOCK")
_NO_LINK = _flags("O_NOFOLLOW", "O_NOCTTY")
_WRITE = os.O_WRONLY | _flags("O_NOFOLLOW")


def open_file(path: str) -> BinaryIO:
    """Open what stands under `path` to be read.

    Raises:
        OSError: it cannot be read; a directory cannot.
        ValueError: it is no path.
    """
    return _opened(os.open(path, _READ))


def _opened(handle: int) -> BinaryIO:
    try:
        return os.fdopen(handle, "rb")
    except BaseException:  # it is a directory
        os.close(handle)
        raise


def create(path: str) -> int:
    """Create a file that only this user may read, and return its descriptor, open to be written.

    Raises:
        OSError: there is something of that name, or it cannot be created.
    """
    return os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o600)


def truncate(path: str) -> int:
    """Empty a file of ours, and return its descriptor, open to be written.

    Raises:
        OSError: it is no file of that name any more, or cannot be written.
    """
    return os.open(path, _WRITE | os.O_TRUNC)


def is_foreign(status: os.stat_result, *, root: bool = True) -> bool:
    """Return whether a file is another user's. With `root` the administrator's files are as good as ours."""
    return hasattr(os, "getuid") and status.st_uid not in (os.getuid(), *((0,) if root else ()))


def others_may(status: os.stat_result, mode: int) -> bool:
    """Return whether a file's mode has one of these bits; False where modes mean nothing."""
    return hasattr(os, "getuid") and bool(status.st_mode & mode)


class Fault(enum.Enum):
    """Why a file is not read."""

    KIND = enum.auto()  # it is no regular file
    OWNER = enum.auto()  # it is another user's
    MODE = enum.auto()  # others have permissions that they must not have
    SIZE = enum.auto()  # it is too large


class UnfitFile(OSError):
    """A file that is not read: `fault` is why, `uid` whose it is."""

    def __init__(self, fault: Fault, uid: int) -> None:
        super().__init__(errno.EPERM, os.strerror(errno.EPERM))
        self.fault = fault
        self.uid = uid


def read_fit(file: BinaryIO, largest: int, *, forbidden: int = 0, foreign: bool = False) -> bytes:
    """Return what an open file holds, which must be a regular file of this user's or the administrator's.

    `largest` is in bytes. `forbidden` are bits of the mode that it must not have. With `foreign` it may be anybody's.

    Raises:
        UnfitFile: it is another kind of file.
        OSError: it cannot be read.
    """
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise UnfitFile(Fault.KIND, status.st_uid)
    if not foreign and is_foreign(status):
        raise UnfitFile(Fault.OWNER, status.st_uid)
    if others_may(status, forbidden):
        raise UnfitFile(Fault.MODE, status.st_uid)
    data = file.read(largest + 1)
    if len(data) > largest:
        del data  # it may be a secret, which no traceback that shows local variables must show
        raise UnfitFile(Fault.SIZE, status.st_uid)
    return data


def read_object(path: str) -> dict[str, Any]:
    """Return the JSON object in a small file of anybody's: a connection file, a kernelspec.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than 64 KiB.
        ValueError: it is no path, or holds no JSON object.
    """
    with open_file(path) as file:
        data = read_fit(file, _LARGEST_OBJECT, foreign=True)
    with contextlib.suppress(RecursionError):
        if isinstance(content := json.loads(data), dict):
            return content
    raise ValueError("no JSON object")


class Directory:
    """An open directory: what is opened in it stands there, though the path may come to lead elsewhere meanwhile.

    Raises:
        OSError: there is none under that path, or it cannot be read.
        ValueError: it is no path.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None
        if os.open in os.supports_dir_fd and os.listdir in os.supports_fd:
            self._handle = os.open(path, _READ | _flags("O_DIRECTORY"))
        elif not os.path.isdir(path):
            os.stat(path)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def status(self) -> os.stat_result:
        """Return what the file system tells of the directory itself."""
        return os.stat(self._path) if self._handle is None else os.fstat(self._handle)

    def names(self) -> list[str]:
        """Return the names of what it holds."""
        return os.listdir(self._path if self._handle is None else self._handle)

    def has(self, name: str) -> bool:
        """Return whether there is anything of that name; a link counts for itself."""
        with contextlib.suppress(OSError):
            os.stat(self._below(name), dir_fd=self._handle, follow_symlinks=False)
            return True
        return False

    def open_file(self, name: str) -> BinaryIO:
        """Open a file in it to be read, as the function `open_file` does; a link is refused.

        Raises:
            OSError: it cannot be read, or is a link.
        """
        if not _NO_LINK and os.path.islink(self._below(name)):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return _opened(os.open(self._below(name), _READ | _NO_LINK, dir_fd=self._handle))

    def _below(self, name: str) -> str:
        return os.path.join(self._path, name) if self._handle is None else name


def try_lock(path: str) -> int | None:
    """Return the descriptor of a lock file that this process holds now; None if another process holds it.

    It is free again when that is closed. Some network disks have no locks; there every process holds it.

    Raises:
        OSError: the file cannot be opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _flags("O_NOFOLLOW", "O_NONBLOCK"), 0o600)
    try:
        # Whoever held it may have taken the file away just now.
        if _lock(handle) and os.path.samestat(os.fstat(handle), os.lstat(path)):
            held, handle = handle, -1
            return held
    except FileNotFoundError:
        pass
    finally:
        if handle >= 0:
            os.close(handle)
    return None


def _lock(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    return True


def _lock_on_windows(handle: int) -> bool:
    try:
        import msvcrt
    except ImportError:
        return True  # no locks here at all
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined] # there on Windows only
    except OSError:
        return False
    return True
