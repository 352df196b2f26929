"""`kernel_bridge.json` in the Jupyter config directory: the servers that a user keeps, for all faces.

It holds references to secrets, never a secret. It is read from that directory and from nowhere else: a file
beside a notebook comes with the notebook, and could say where tokens go (FAULTS T34).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.files import create, is_foreign, open_file, others_may, try_lock
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.servers.entries import BadEntry, Entry, read_entry
from kernel_bridge_magic.text import Hidden

__all__ = ["NAME", "file_path", "read_file", "remove_entry", "save_entry", "stamp"]

NAME = "kernel_bridge.json"
_LARGEST = 1 << 20
_LOCK_SECONDS = 10.0  # reading and writing take milliseconds, on a slow network disk a second
_LOCK_LOOK = 0.01  # seconds between two looks


def file_path() -> str:
    """Give the file's path; "" where the config directory is not an absolute path."""
    from jupyter_core.paths import jupyter_config_dir

    directory = jupyter_config_dir()
    # A relative one (JUPYTER_CONFIG_DIR=.) would be below the current directory.
    return os.path.join(directory, NAME) if os.path.isabs(directory) else ""


def stamp(path: str) -> tuple[int, ...]:
    """Give what changes when the file does; () if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid


def read_file(path: str) -> tuple[list[Entry], list[str]]:
    """Read the servers; give them, and one line for each thing that could not be used. A missing file is none."""
    try:
        text = _text(path)
        if text is None:
            return [], []
        servers, doubles = _servers(text)
    except BadServer as error:
        return [], [str(error)]
    entries, problems = [], []
    for name, value in servers.items():
        try:
            entry, passed_over = read_entry(name, value)
            entries.append(entry)
        except BadEntry as error:
            passed_over = [(error.field, str(error))]
        problems += [f"{NAME}, line {_line(text, name, field)}, {name}: {why}" for field, why in passed_over]
    problems += [f"{NAME}: {name!r} is there twice; the last one counts" for name in doubles]
    return entries, problems


def save_entry(path: str, entry: Entry) -> None:
    """Put an entry into the file, or in the place of the one of its name; all else in it stays.

    Raises:
        BadServer: the file is broken, or cannot be written.
    """
    otherwise = "the server was not saved"
    _content(path)  # a file that cannot be used says more than a lock
    with _locked(path, otherwise):
        content = _content(path)
        content.setdefault("servers", {})[entry.name] = entry.as_json()
        _write(path, content, otherwise)


def remove_entry(path: str, name: str) -> None:
    """Take an entry out of the file; one that is not there is no error.

    Raises:
        BadServer: as `save_entry`.
    """
    if name not in _content(path).get("servers", {}):
        return
    otherwise = f"{name!r} is still in it"
    with _locked(path, otherwise):
        content = _content(path)
        if content.get("servers", {}).pop(name, None) is not None:
            _write(path, content, otherwise)


@contextlib.contextmanager
def _locked(path: str, otherwise: str) -> Iterator[None]:
    """Let one process at a time read the file and write it anew: what another saved meanwhile would be lost.

    The lock is a file beside it, as that itself is replaced; whoever holds it takes it away.

    Raises:
        BadServer: it cannot be had.
    """
    lock = f"{path}.lock"
    end = Deadline.after(_LOCK_SECONDS)
    handle = None
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        while handle is None:
            handle = try_lock(lock)
            if handle is None:
                if end.is_over:
                    raise BadServer(f"{NAME} cannot be written, since another process is writing it; {otherwise}")
                time.sleep(_LOCK_LOOK)
    except OSError as error:
        raise BadServer(f"{NAME} cannot be written ({error.strerror}); {otherwise}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        os.close(handle)


def _text(path: str) -> str | None:
    if not path:
        raise BadServer(f"{NAME} is not read, since JUPYTER_CONFIG_DIR is not an absolute path")
    problem = ""
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                problem = "is not a regular file"
            elif is_foreign(status):
                problem = f"belongs to another user (uid {status.st_uid})"
            elif others_may(status, 0o022):
                problem = "may be written by others, who could say where tokens go (chmod 600 it)"
            data = b"" if problem else file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadServer(f"{NAME} cannot be read ({error.strerror}); it was not used") from None
    if len(data) > _LARGEST:
        problem = f"is larger than {_LARGEST >> 20} MiB"
    try:
        # Somebody may have written a secret out: no traceback that shows local variables shows the file.
        text = Hidden(data.decode("utf-8"))
    except UnicodeDecodeError:
        problem = problem or "is not UTF-8 text"
    del data
    if problem:
        raise BadServer(f"{NAME} {problem}; it was not used")
    return text


def _servers(text: str) -> tuple[dict[str, Any], list[str]]:
    """Give what stands under `servers`, and the names that stand there twice.

    Raises:
        BadServer: it is no JSON, or not of that shape; with the line.
    """
    doubles: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        doubles.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    servers: Any = None
    problem = f'{NAME}, line 1: it should be {{"servers": {{"NAME": {{"url": "https://…"}}}}}}'
    try:
        servers = json.loads(text, object_pairs_hook=collect).get("servers", {})
    except json.JSONDecodeError as error:
        problem = f"{NAME}, line {error.lineno}: {error.msg}; the file was not used"
    except (RecursionError, ValueError):
        problem = f"{NAME} is not JSON that can be read; it was not used"
    except AttributeError:
        pass  # no object
    if not isinstance(servers, dict):
        del servers
        raise BadServer(problem)
    return servers, doubles


def _line(text: str, *keys: str) -> int:
    """Count the line on which the last of these nested keys stands."""
    position = 0
    for key in ("servers", *filter(None, keys)):
        spelt = "|".join(re.escape(json.dumps(key, ensure_ascii=ascii)) for ascii in (True, False))
        found = re.compile(rf"(?:{spelt})\s*:").search(text, position)
        if found is None:
            break
        position = found.start()
    return text.count("\n", 0, position) + 1


def _content(path: str) -> dict[str, Any]:
    text = _text(path)
    if text is None or not text.strip():
        return {}
    _servers(text)  # what is broken is not written over
    content: dict[str, Any] = json.loads(text)
    return content


def _write(path: str, content: dict[str, Any], otherwise: str) -> None:
    data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
    new = f"{path}.{secrets.token_hex(8)}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with os.fdopen(create(new), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # In one step: a reader sees the old file or the new one.
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise BadServer(f"{NAME} cannot be written ({error.strerror}); {otherwise}") from None
