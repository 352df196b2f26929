"""Files by which two processes of one user on one machine hand each other memory. Both sides run this text.

On Linux such a file has no name: the other side opens it through /proc, and it is gone with the last process that has
it open. It is sealed, so that nobody can change it, or cut it off under somebody who reads it (that would be SIGBUS).
Elsewhere, and where memory is full, it stands in a private folder, and is unlinked once it is open.
"""

import errno
import mmap
import os
import re
import stat
import threading
import time
import uuid

MEMORY_NAME = "kernel_bridge"
ADD_SEALS, GET_SEALS = 1033, 1034  # of Linux's fcntl.h; Python names them since 3.9
SEALS = 1 | 2 | 4 | 8  # seal, shrink, grow, write
LEFT_SECONDS = 3600
FOLDER_NAME = re.compile("[0-9a-f]{32}")
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class SharedFile(object):
    """A file of this process's for one other. `place` says how it is opened there, `crc` is its checksum or None.

    Raises:
        OSError: it cannot be made, here or in `folder`.
    """

    def __init__(self, folder, memory=True):
        self.path, self.handle, self.crc = "", -1, None
        if memory:
            if not hasattr(os, "memfd_create"):
                raise OSError(errno.ENOSYS, "no files in memory")
            self.handle = os.memfd_create(MEMORY_NAME, 1 | 2)  # close on exec, allow seals
            self.place = [os.getpid(), self.handle]
        else:
            os.makedirs(folder, 0o700, exist_ok=True)
            sweep(folder)
            name = uuid.uuid4().hex
            self.path = os.path.join(folder, name)
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600)
            self.place = [name]

    def write(self, view):
        while view.nbytes:
            view = view[os.write(self.handle, view[: 1 << 30]) :]

    def seal(self):
        """Let nobody change it any more."""
        if not self.path:
            __import__("fcntl").fcntl(self.handle, ADD_SEALS, SEALS)

    def read(self, start, stop):
        """Return the bytes from `start` to `stop`."""
        if hasattr(os, "pread"):
            return os.pread(self.handle, stop - start, start)
        os.lseek(self.handle, start, os.SEEK_SET)
        return os.read(self.handle, stop - start)

    def close(self):
        """Close it; remove its name, if it has one and nobody has opened it. Closing twice is no error."""
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)
        unlink(self.path)

    __del__ = close


def sweep(folder):
    """Remove what processes have left there that were killed."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            if FOLDER_NAME.fullmatch(name) and time.time() - os.lstat(path).st_mtime > LEFT_SECONDS:
                os.unlink(path)
        except OSError:
            pass


def share(parcel, folder):
    """Write a parcel to a new file and return that: in memory, or in the folder if there is no room.

    What is in memory and sealed cannot be damaged on its way. It has a checksum only where a value may change while it
    is written.

    Raises:
        OSError: it has no room in the folder either.
    """
    try:
        return written(parcel, SharedFile(folder))
    except OSError:
        return written(parcel, SharedFile(folder, memory=False))


def written(parcel, file):
    try:
        parcel.write_to(file, counts=bool(file.path) or may_change())
        file.crc = parcel.crc
        file.seal()
    except BaseException:
        file.close()
        raise
    return file


def open_shared(place, size, folder):
    """Return what the file at a place holds, `size` bytes, as something to make a memoryview of; or None.

    None is what cannot be opened from here, such as a process that this system does not see, and what is not as
    `SharedFile` makes it. A name in the folder is removed.
    """
    try:
        if len(place) == 2:
            return opened_memory("/proc/%d/fd/%d" % tuple(place), size)
        if not FOLDER_NAME.fullmatch(place[0]):
            return None
        path = os.path.join(folder, place[0])
        handle = os.open(path, os.O_RDONLY | NO_LINK | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        unlink(path)
        if not is_private(handle, size):
            return None
        data = bytearray(size)
        with os.fdopen(os.dup(handle), "rb") as file:
            return data if file.readinto(data) == size else None
    finally:
        os.close(handle)
        unlink(path)  # where a file that is open cannot be removed


def opened_memory(path, size):
    if not os.readlink(path).startswith("/memfd:%s" % MEMORY_NAME):
        return None
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        sealed = __import__("fcntl").fcntl(handle, GET_SEALS) & SEALS == SEALS
        if not sealed or not is_private(handle, size):
            return None
        # Private: what is written there changes this process's pages alone.
        return mmap.mmap(handle, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(handle)


def may_change():
    """Return whether values may change while they are written: in the thread that runs cells nothing else runs."""
    return threading.current_thread() is not threading.main_thread()


def is_sealed(view):
    """Return whether a memoryview is of a file in memory that nobody can change, as `open_shared` returns it."""
    return isinstance(view.obj, mmap.mmap)


def is_private(handle, size):
    """Return whether it is an ordinary file of this user's with that size."""
    about = os.fstat(handle)
    mine = not hasattr(os, "geteuid") or about.st_uid == os.geteuid()
    return mine and stat.S_ISREG(about.st_mode) and about.st_size == size


def unlink(path):
    if path:
        try:
            os.unlink(path)
        except OSError:
            pass
