"""Read what runtime directories hold, with suspicion: servers' info files and kernels' connection files.

Whoever can write there can say where our tokens go, so that owner and mode of file and directory are looked at
(T4). Nothing is ever deleted: on a home shared by hosts, a file that is stale here is alive elsewhere
(FACTS.md#runtime-files).
"""

from __future__ import annotations

import errno
import json
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from kernel_bridge_magic.access import descriptors
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.files import Directory, Fault, UnfitFile, is_foreign, others_may, read_fit
from kernel_bridge_magic.errors import sentence
from kernel_bridge_magic.reports import Skipped

SERVER_FILES = ("jpserver-*.json", "nbserver-*.json")
KERNEL_FILES = ("kernel-*.json",)
_LARGEST = 64 * 1024
_MOST_FILES = 10_000  # connection files of killed kernels stay for ever


class FileContent(NamedTuple):
    """One file that may be trusted as far as its owner: its path, its JSON object, its mtime (Unix seconds)."""

    path: str
    data: dict[str, Any]
    mtime: float

    def __repr__(self) -> str:
        # Tracebacks that show local variables must not show tokens, nor a kernel's key.
        return f"FileContent({self.path!r})"


@dataclass
class RuntimeFiles:
    """All that was read: servers' files, kernels' files, and what was not used."""

    servers: list[FileContent] = field(default_factory=list)
    kernels: list[FileContent] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def runtime_dirs() -> tuple[str, ...]:
    """Return the directories in which servers and kernels of this user leave their files; some may not exist."""
    from jupyter_core.paths import jupyter_runtime_dir

    found = [jupyter_runtime_dir()]
    # Jupyter left XDG_RUNTIME_DIR years ago, VS Code did not (FACTS.md#runtime-files).
    if base := os.environ.get("XDG_RUNTIME_DIR", ""):
        found += [os.path.join(base, "jupyter"), os.path.join(base, "jupyter", "runtime")]
    return tuple(dict.fromkeys(os.path.abspath(path) for path in found))


def named_files(match: str) -> tuple[str, ...]:
    """Return the absolute paths that a MATCH such as `./x.json`, `~/x.json` or `kernel-1.json` may stand for.

    A name without a directory is looked for in the current one, and where Jupyter looks.
    """
    if not match.endswith(".json") or "\0" in match:
        return ()
    path = os.path.abspath(os.path.expanduser(match))
    directory, name = os.path.split(path)
    runtime = runtime_dirs()
    if not os.path.dirname(match):
        return tuple(dict.fromkeys(os.path.join(place, name) for place in (directory, *runtime)))
    real = os.path.realpath(directory)
    return (os.path.join(next((it for it in runtime if os.path.realpath(it) == real), directory), name),)


def is_listed(path: str, directories: Sequence[str]) -> bool:
    """Return whether a connection file is found in `directories` without being named."""
    directory, name = os.path.split(path)
    return directory in directories and any(fnmatchcase(name, pattern) for pattern in KERNEL_FILES)


def read_runtime_files(directories: Sequence[str], seconds: float = 2.0, named: Sequence[str] = ()) -> RuntimeFiles:
    """Read all directories, each in a thread that is left behind if the file system hangs.

    `named` are connection files, by absolute path, that are read beside what `directories` hold, by the same rules.

    A missing directory is not reported; every other trouble is one `Skipped`. Nothing raises for what is found there.
    """
    end = Deadline.after(seconds)
    answers: queue.SimpleQueue[tuple[str, tuple[int, int], RuntimeFiles]] = queue.SimpleQueue()
    names: dict[str, list[str]] = {directory: [] for directory in directories}
    for path in named:
        names.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
    for directory, wanted in names.items():
        only = None if directory in directories else wanted
        target = threading.Thread(target=_read_directory, args=(directory, answers, wanted, only), daemon=True)
        target.start()
    found: dict[str, tuple[tuple[int, int], RuntimeFiles]] = {}
    while len(found) < len(names):
        try:
            directory, identity, files = answers.get(timeout=end.left)
        except queue.Empty:
            break
        found[directory] = identity, files
    return _merged(list(names), found, seconds)


def _merged(
    directories: Sequence[str], found: dict[str, tuple[tuple[int, int], RuntimeFiles]], seconds: float
) -> RuntimeFiles:
    whole = RuntimeFiles()
    seen: set[tuple[int, int]] = set()
    for directory in directories:
        identity, files = found.get(directory, ((0, 0), None))
        if files is None:
            whole.skipped.append(Skipped(directory, f"the directory did not answer within {seconds:g} s", silent=True))
        elif identity not in seen:  # else it is one directory by two names
            whole.servers += files.servers
            whole.kernels += files.kernels
            whole.skipped += files.skipped
        if identity != (0, 0):
            seen.add(identity)
    return whole


def _read_directory(
    directory: str,
    answers: queue.SimpleQueue[tuple[str, tuple[int, int], RuntimeFiles]],
    named: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> None:
    """Read what a directory holds, and the connection files `named`; or `only` these."""
    files = RuntimeFiles()
    identity = (0, 0)
    try:
        with Directory(directory) as opened:
            status = opened.status()
            identity = (status.st_dev, status.st_ino)
            refusal = _directory_refusal(status)
            if refusal:
                there = [directory] if only is None else [os.path.join(directory, it) for it in only if opened.has(it)]
                files.skipped += [Skipped(path, refusal) for path in there]
            else:
                private = not others_may(status, 0o077)
                if only is None:
                    _read_all(directory, opened, private, files)
                for name in named:
                    if not any(file.path == os.path.join(directory, name) for file in files.kernels):
                        _read_one(directory, name, opened, private, files.kernels, files.skipped)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        files.skipped.append(Skipped(directory, _reason(error)))
    finally:
        answers.put((directory, identity, files))


def _directory_refusal(status: os.stat_result) -> str:
    if is_foreign(status, root=False):
        return f"the directory belongs to another user (uid {status.st_uid})"
    if others_may(status, 0o002):
        return "everybody may write in this directory; chmod o-w it"
    return ""


def _read_all(directory: str, opened: Directory, private: bool, files: RuntimeFiles) -> None:
    names = sorted(opened.names())
    kinds = ((SERVER_FILES, files.servers), (KERNEL_FILES, files.kernels))
    for name in names[:_MOST_FILES]:
        target = next((into for patterns, into in kinds if any(fnmatchcase(name, p) for p in patterns)), None)
        if target is None:
            continue
        _read_one(directory, name, opened, private, target, files.skipped)


def _read_one(
    directory: str, name: str, opened: Directory, private: bool, target: list[FileContent], skipped: list[Skipped]
) -> None:
    path = os.path.join(directory, name)
    try:
        target.append(FileContent(path, *_read_file(name, opened, private)))
    except FileNotFoundError:
        return  # its server or kernel ended while we looked
    except (OSError, ValueError, RecursionError) as error:
        if not any(it.path == path for it in skipped):
            skipped.append(Skipped(path, _reason(error)))


class Refused(ValueError):
    """A file that is not used; the text says why, and is ours."""


def _read_file(name: str, directory: Directory, private: bool) -> tuple[dict[str, Any], float]:
    with directory.open_file(name) as file:
        # In a directory that only this user can enter, modes of files do not matter (Notebook 6 writes 0644).
        data = read_fit(file, _LARGEST, forbidden=0 if private else 0o022)
        changed = os.fstat(file.fileno()).st_mtime
    content = json.loads(data)
    if not isinstance(content, dict):
        raise Refused("not a JSON object")
    return content, changed


_UNFIT = {
    Fault.KIND: "not a regular file",
    Fault.OWNER: "it belongs to another user (uid {uid})",
    Fault.MODE: "others may write to it",
    Fault.SIZE: f"larger than {_LARGEST // 1024} KiB",
}


def _reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, UnfitFile):
        return _UNFIT[error.fault].format(uid=error.uid)
    if descriptors.are_out(error):
        return sentence("", *descriptors.none_left())
    if isinstance(error, OSError):
        return "a symbolic link" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"
    if isinstance(error, RecursionError):
        return "its JSON is nested too deep"
    return "not JSON, perhaps half written"


def number(data: dict[str, Any], name: str, most: int) -> int:
    """Return the field `name`, a whole number from 1 to `most`.

    Raises:
        Refused: it is something else.
    """
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise Refused(f"its {name!r} is not a possible number")
    return value


def text(data: dict[str, Any], name: str) -> str:
    """Return the field `name`, a text; "" if it is missing.

    Raises:
        Refused: it is something else.
    """
    value = data.get(name, "")
    if not isinstance(value, str):
        raise Refused(f"its {name!r} is not text")
    return value
