"""Files of variables: which type a file of which suffix can hold, and how it is read and written.

A file is written beside its place, and put there as a whole. Libraries are imported where a file needs them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

from kernel_bridge_magic.cli.formats import FORMATS, suffixes
from kernel_bridge_magic.cli.unfit import HALF, Lacking, Unfit, is_of_library
from kernel_bridge_magic.errors import BadInput, NotCopied
from kernel_bridge_magic.text import cut_end, visible
from kernel_bridge_magic.transfer.refusals import size_of

_LONGEST_SHOWN = 100
# What file systems say that have no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class _Watched(io.BufferedWriter):
    """A file that remembers why it could not be written: many a library raises an error of its own then.

    It has no descriptor to show, since libraries write past a file that has one.
    """

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


class Output:
    """The file that `--output` names, checked before anything is copied.

    Raises:
        BadInput: nothing can be written there.
    """

    def __init__(self, path: str, *, replace: bool) -> None:
        self._suffix = _suffix_of(path, "--output")
        self._shown = _shown(path)
        # A link stays a link: the file that it leads to is replaced.
        self._path = os.path.realpath(path)
        self._replace = replace
        self.path = path
        #: whether a file has been replaced
        self.replaced = False
        try:
            FORMATS[self._suffix].check()
        except Lacking as problem:
            raise BadInput(f"{self._shown} {problem.what}, so nothing was copied", problem.remedy) from None
        self._check()

    def _check(self) -> None:
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise BadInput(f"{self._shown} is in a folder that does not exist, so nothing was copied. Make the folder")
        try:
            mode = os.stat(self._path).st_mode
        except FileNotFoundError:
            pass
        except OSError as error:
            raise BadInput(f"{self._shown} cannot be written ({error.strerror}), so nothing was copied") from None
        else:
            if not stat.S_ISREG(mode):
                raise BadInput(f"{self._shown} is no file, so nothing was copied. Choose another name")
            if not self._replace:
                raise BadInput(f"{self._shown} exists, so nothing was copied. --replace replaces it")
        if not os.access(folder, os.W_OK):
            raise BadInput(f"{self._shown} is in a folder that you may not write to. Choose another one")

    def write(self, name: str, value: Any) -> None:
        """Write the value of the variable `name`: the whole file, or none.

        Raises:
            BadInput: such a file cannot hold the value, or there is a file now that must not be replaced.
            NotCopied: it could not be written.
        """
        # Beside its place, so that it can be put there in one step.
        beside = os.path.join(os.path.dirname(self._path), f".{secrets.token_hex(8)}.kernel-bridge")
        try:
            # The mode is that of any new file: the system takes the bits of the umask away.
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            try:
                with _Watched(io.FileIO(handle, "wb")) as file:
                    self._fill(file, name, value)
                    file.flush()
                    os.fsync(handle)
                self._publish(beside)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside)
        except FileExistsError:
            raise BadInput(f"{self._shown} was made by somebody meanwhile. --replace replaces it") from None
        except OSError as error:
            why = f"{name} was read, but {self._shown} could not be written ({error.strerror})"
            raise NotCopied(why, "make room there, or choose another place") from None

    def _fill(self, file: _Watched, name: str, value: Any) -> None:
        """Write the value by the library for it. What that raises depends on the value; its text may hold anything."""
        try:
            with _unheard():
                FORMATS[self._suffix].write(value, file)
        except BaseException as problem:
            if file.failed is not None:
                raise file.failed from None
            if not is_of_library(problem):
                raise
            if isinstance(problem, UnicodeEncodeError):
                problem = Unfit(HALF)
            if isinstance(problem, Unfit):
                raise unfit(name, problem, self._suffix) from None
            if isinstance(problem, MemoryError):
                raise NotCopied(f"{name} was read, but writing it needs more memory than there is") from None
            told = f"{name} cannot be written as {self._suffix} ({type(problem).__name__})"
            raise BadInput(told, "convert it in the other kernel first") from None

    def _publish(self, beside: str) -> None:
        if self._replace:
            self.replaced = os.path.exists(self._path)
            os.replace(beside, self._path)
            return
        try:
            os.link(beside, self._path)  # unlike a rename, this replaces nothing
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # The empty file claims the name: whoever else wants it finds it taken.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            os.replace(beside, self._path)


def unfit(name: str, problem: Unfit, suffix: str = "") -> BadInput:
    """Return the error for a value that a file cannot hold; without `suffix`, that cannot be printed as JSON."""
    if isinstance(problem, Lacking):
        return BadInput(f"{name} was read, but writing it {problem.what}", problem.remedy)
    what = f"{suffix} files" if suffix else "JSON"
    told = f"{name}{problem.path} {problem.what}, which {what} cannot hold"
    if problem.remedy:
        # What stands behind a level of an index, or was cut, is nothing that one could write.
        where = "it" if " level " in problem.path or "…" in problem.path else f"{name}{problem.path}"
        return BadInput(told, problem.remedy.replace("{}", where))
    fitting = " or ".join(problem.suffixes)
    if fitting and not problem.path:
        return BadInput(told, f"write it with --output FILE, where FILE ends in {fitting}")
    return BadInput(told, "convert it in the other kernel first")


def read(path: str, most: int, stdin: BinaryIO | None) -> Any:
    """Return the value in a file, or, where `path` is `-`, in the JSON of `stdin`.

    Raises:
        BadInput: it cannot be read, it has more than `most` bytes, or it is not what its suffix says.
    """
    if path == "-":
        if stdin is None:
            raise BadInput("standard input is closed, so nothing was copied. Name a file")
        return _parsed("standard input", ".json", io.BytesIO(_limited(stdin, most, "standard input")))
    suffix = _suffix_of(path, "FILE")
    shown = _shown(path)
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                # Only from files can libraries read wherever they like.
                return _parsed(shown, suffix, io.BytesIO(_limited(file, most, shown)))
            if os.fstat(file.fileno()).st_size > most:
                raise _too_large(shown, most)
            return _parsed(shown, suffix, file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise BadInput(f"{shown} cannot be read ({reason}), so nothing was copied. Check the path") from None


def _limited(file: BinaryIO, most: int, shown: str) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise _too_large(shown, most)
    return data


def _too_large(shown: str, most: int) -> BadInput:
    return BadInput(f"{shown} is larger than {size_of(most)}, so nothing was copied", "--max-size SIZE allows more")


def _parsed(shown: str, suffix: str, file: BinaryIO) -> Any:
    """Read a file by the library for it. What that raises depends on the file; its text may hold anything."""
    found = FORMATS[suffix]
    try:
        found.check()
        beginning = file.read(len(found.begins))
        file.seek(0)
        if beginning != found.begins:
            raise Unfit(f"is no {suffix} file", remedy="check the file")
        with _unheard():
            return found.read(file)
    except Unfit as problem:
        raise BadInput(f"{shown} {problem.what}, so nothing was copied", problem.remedy) from None
    except UnicodeDecodeError:
        raise BadInput(f"{shown} is not UTF-8 text, so nothing was copied; save it as UTF-8") from None
    except MemoryError:
        raise BadInput(f"{shown} says that it needs more memory than there is, so nothing was copied") from None
    except BaseException as error:
        if not is_of_library(error):
            raise
        why = f"({type(error).__name__})"
        raise BadInput(f"{shown} cannot be read as {suffix} {why}, so nothing was copied. Check the file") from None


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Keep warnings of libraries from users: they are about code, with its lines. What changes a value is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _suffix_of(path: str, option: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in FORMATS:
        raise BadInput(f"{option} {_shown(path)} has none of the suffixes that are known, which are {suffixes()}")
    if "\0" in path:
        raise BadInput(f"{option} {_shown(path)} is a name that no file has")
    return suffix


def _shown(path: str) -> str:
    return f"'{cut_end(visible(path), _LONGEST_SHOWN)}'"
