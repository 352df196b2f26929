"""Read a secret from where a reference names it: an environment variable, a private file, or a person.

A secret itself is no reference: it would be saved with the notebook and the history (T8).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from kernel_bridge_magic.access.files import Fault, UnfitFile, open_file, read_fit
from kernel_bridge_magic.access.vault import Secret
from kernel_bridge_magic.errors import BadServer

_LARGEST = 64 * 1024  # bytes


def read_secret(reference: str, *, ask: Callable[[], str] | None = None, what: str = "token") -> Secret:
    """Read the secret that a reference names: `env:VAR`, `file:PATH` or `ask`.

    A final line break is not part of the secret. `ask` is called for `ask`. `what` is "token" or "password", for texts.

    Raises:
        BadServer: it is no reference, or names nothing that can be used; the text says what to do.
    """
    if reference.strip() == "ask":
        if ask is None:
            raise BadServer("nobody can be asked for the secret here", "use env:VAR or file:PATH")
        return Secret(ask())
    found = _look_up(reference, what)
    # What was given may be the secret itself: it is in no error's text, nor in a variable of a frame that raises
    # (T8).
    del reference
    if isinstance(found, Secret):
        return found
    raise found


def _look_up(reference: str, what: str) -> Secret | BadServer:
    """Return what a reference names, or why there is nothing that can be used. Nothing is raised from here."""
    kind, colon, place = reference.strip().partition(":")
    try:
        if kind == "env" and colon:
            return _from_environment(place, what)
        if kind == "file" and colon:
            return _from_file(place)
    except BadServer as error:
        return BadServer(error.problem, error.remedy)  # without the frames that it comes from
    undo = "revoke it" if what == "token" else "change it"
    return BadServer(
        f"refused: a {what} typed in a cell is saved in the notebook and the history. If it was real, {undo}. "
        f"Put it in an environment variable and write --{what} env:VAR (or file:PATH, or ask)"
    )


_NAME_OF_A_SECRET = re.compile(r"[A-Z]+(?:_[A-Z]+)+|(?:[A-Z0-9]+_)*(?:TOKEN|PASSWORD|PASSWD|SECRET|KEY)(?:_[A-Z0-9]+)*")


def _from_environment(name: str, what: str) -> Secret | BadServer:
    if name and "=" not in name and "\0" not in name and name in os.environ:
        return Secret(_without_final_break(os.environ[name]))
    # Only what is plainly a name is repeated: a shell puts the secret itself in the place of `$TOKEN`.
    if len(name) < 60 and _NAME_OF_A_SECRET.fullmatch(name):
        return BadServer(f"environment variable {name} (--{what} env:{name}) is not set")
    remedy = f"write its name without $, as in --{what} env:VAR"
    return BadServer(f"the environment variable of --{what} is not set", remedy)


_UNFIT = {
    Fault.KIND: "is not a regular file",
    Fault.OWNER: "belongs to another user",
    Fault.MODE: "can be read by others",
    Fault.SIZE: f"is larger than {_LARGEST // 1024} KiB",
}


def _from_file(place: str) -> Secret | BadServer:
    path = place
    remedy = ""
    try:
        path = os.path.expanduser(place)
        with open_file(path) as file:
            return Secret(_without_final_break(read_fit(file, _LARGEST, forbidden=0o077).decode("utf-8")))
    except UnfitFile as error:
        problem = _UNFIT[error.fault]
        remedy = f"chmod 600 {path!r}" if error.fault is Fault.MODE else ""
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({_reason(error)})"
    return BadServer(f"the secret's file{_shown(path)} {problem}", remedy)


def _without_final_break(value: str) -> str:
    """Drop the line break that editors and shells put behind a text; what else is in it stays."""
    return value.removesuffix("\n").removesuffix("\r")


def _shown(path: str) -> str:
    """Repeat a path where there is at least its directory: it may be the secret itself."""
    directory = os.path.dirname(path)
    known = os.path.lexists(path) or (directory != "" and os.path.isdir(directory))
    return f" {path!r}" if known else ""


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not a usable path"
