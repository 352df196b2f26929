"""`kernel_bridge.json` in the Jupyter config directory: the servers that a user keeps, for all faces.

It holds references to secrets, never a secret. It is read from that directory and from nowhere else: a file
beside a notebook comes with the notebook, and could say where tokens go (T34).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.files import Fault, UnfitFile, create, open_file, read_fit, try_lock
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.servers.entries import BadEntry, Entry, read_entry
from kernel_bridge_magic.text import Hidden

NAME = "kernel_bridge.json"
_LARGEST = 1 << 20
_LOCK_SECONDS = 10.0  # reading and writing take milliseconds, on a slow network disk a second
_LOCK_LOOK = 0.01  # seconds between two looks


def file_path() -> str:
    """Return the file's path; "" where the config directory is not an absolute path."""
    from jupyter_core.paths import jupyter_config_dir

    directory = jupyter_config_dir()
    # A relative one (JUPYTER_CONFIG_DIR=.) would be below the current directory.
    return os.path.join(directory, NAME) if os.path.isabs(directory) else ""


def stamp(path: str) -> tuple[int, ...]:
    """Return a value that changes when the file does; () if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid


def read_file(path: str) -> tuple[list[Entry], list[str]]:
    """Return the servers, and one line for each thing that could not be used. A missing file holds none."""
    try:
        text = _text(path)
        if text is None:
            return [], []
        content, doubles = _parsed(text)
    except BadServer as error:
        return [], [str(error)]
    entries, problems = [], []
    for name, value in content.get("servers", {}).items():
        try:
            entry, passed_over = read_entry(name, value)
            entries.append(entry)
        except BadEntry as error:
            passed_over = [(error.field, str(error))]
        problems += [f"{NAME}, line {_line(text, name, field)}, {name}: {why}" for field, why in passed_over]
    problems += [f"{NAME}: {name!r} is there twice; the last one counts" for name in doubles]
    return entries, problems


def save_entry(path: str, entry: Entry) -> None:
    """Write an entry into the file, in place of one of the same name; everything else in it stays.

    Raises:
        BadServer: the file is broken, or cannot be written.
    """
    with _edited(path, "the server was not saved") as content:
        content.setdefault("servers", {})[entry.name] = entry.as_json()


def remove_entry(path: str, name: str) -> None:
    """Remove an entry from the file. It is no error if there is none of that name.

    Raises:
        BadServer: as `save_entry`.
    """
    if name in _content(path).get("servers", {}):
        with _edited(path, f"{name!r} is still in it") as content:
            content.get("servers", {}).pop(name, None)


@contextlib.contextmanager
def _edited(path: str, otherwise: str) -> Iterator[dict[str, Any]]:
    """Yield what the file holds, and write what the block has made of it.

    One process at a time does that: what another saved meanwhile would be lost. The lock is a file beside it, as that
    itself is replaced; whoever holds it removes it.

    Raises:
        BadServer: the file is broken or cannot be written, which `otherwise` is said of, or the lock cannot be had.
    """
    _content(path)  # a file that cannot be used says more than a lock
    lock = f"{path}.lock"
    end = Deadline.after(_LOCK_SECONDS)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        while (handle := try_lock(lock)) is None:
            if end.is_over:
                raise BadServer(f"{NAME} cannot be written, since another process is writing it; {otherwise}")
            time.sleep(_LOCK_LOOK)
    except OSError as error:
        raise BadServer(f"{NAME} cannot be written ({error.strerror}); {otherwise}") from None
    try:
        content = _content(path)
        yield content
        _write(path, content, otherwise)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        os.close(handle)


_UNFIT = {
    Fault.KIND: "is not a regular file",
    Fault.OWNER: "belongs to another user (uid {uid})",
    Fault.MODE: "may be written by others, who could say where tokens go (chmod 600 it)",
    Fault.SIZE: f"is larger than {_LARGEST >> 20} MiB",
}


def _text(path: str) -> str | None:
    if not path:
        raise BadServer(f"{NAME} is not read, since JUPYTER_CONFIG_DIR is not an absolute path")
    try:
        with open_file(path) as file:
            # Somebody may have written a secret out: no traceback that shows local variables shows the file.
            return Hidden(read_fit(file, _LARGEST, forbidden=0o022).decode("utf-8"))
    except FileNotFoundError:
        return None
    except UnfitFile as error:
        problem = _UNFIT[error.fault].format(uid=error.uid)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    # Outside the except blocks: an error of decoding holds the file.
    raise BadServer(f"{NAME} {problem}; it was not used")


def _parsed(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return what the file holds, with the servers by name under `servers`, and the names that stand there twice.

    Raises:
        BadServer: it is no JSON, or not of that shape; with the line.
    """
    doubles: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        doubles.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    content: Any = None
    problem = f'{NAME}, line 1: it should be {{"servers": {{"NAME": {{"url": "https://…"}}}}}}'
    try:
        content = json.loads(text, object_pairs_hook=collect)
        if isinstance(content.get("servers", {}), dict):
            return content, doubles
    except json.JSONDecodeError as error:
        problem = f"{NAME}, line {error.lineno}: {error.msg}; the file was not used"
    except (RecursionError, ValueError):
        problem = f"{NAME} is not JSON that can be read; it was not used"
    except AttributeError:
        pass  # no object
    del content
    raise BadServer(problem)


def _line(text: str, *keys: str) -> int:
    """Return the number of the line on which the last of these nested keys stands."""
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
    return _parsed(text)[0] if text and text.strip() else {}  # what is broken is not written over


def _write(path: str, content: dict[str, Any], otherwise: str) -> None:
    data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
    new = f"{path}.{secrets.token_hex(8)}.new"
    try:
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
