"""Read servers as configuration names them, in `kernel_bridge.json` and in `c.KernelBridge.servers`. Pure.

A secret is named by where it is (`env:VAR`, `file:PATH`, `ask`) and never written out.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.text import visible


class BadEntry(BadServer):
    """An entry that cannot be used; `field` is the part of it that is wrong, "" for the whole."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Entry:
    """One server: `token` and `password` are references, `ca_file` an absolute path, each "" for none.

    No repr shows what is written for a reference: it may be the secret itself.
    """

    name: str
    url: str
    token: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca_file: str = ""
    trust: bool = False
    allow_plain_http: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return what a file keeps under the server's name: each field that has not its default."""
        pairs = ((it, getattr(self, it.name)) for it in fields(self) if it.name != "name")
        return {it.name: value for it, value in pairs if value != it.default}


_FIELDS = {it.name: it for it in fields(Entry) if it.name != "name"}


def check_name(name: str) -> None:
    """Refuse a name that would mean something else in a command.

    Raises:
        BadServer: it cannot be a server's name.
    """
    if "::" in name or name.startswith(("#", "-")) or name != name.strip():
        raise BadServer(
            f"{name!r} cannot be a server's name; it may have no '::', no leading '#' or '-', no spaces at its ends"
        )
    if name.lower() == "all":  # options of other commands mean every server by it (B45)
        raise BadServer(f"{name!r} cannot be a server's name, since it is reserved; choose another")


def is_reference(text: str) -> bool:
    """Return whether `text` is a reference to a secret, and not a secret itself."""
    kind, colon, place = text.partition(":")
    return text == "ask" or (kind in ("env", "file") and bool(colon and place))


def read_entry(name: str, value: object) -> tuple[Entry, list[tuple[str, str]]]:
    """Return the entry, and what of `value` was passed over, as pairs of field and reason.

    No error and no reason repeats a value: it may be a secret.

    Raises:
        BadEntry: it cannot be used.
    """
    if not isinstance(name, str) or not name or not isinstance(value, Mapping):
        raise BadEntry('a server is written "NAME": {"url": "https://…", "token": "env:VAR"}')
    try:
        check_name(name)
    except BadServer as error:
        raise BadEntry(str(error)) from None
    passed_over = []
    used: dict[str, Any] = {}
    for key, item in value.items():
        if key not in _FIELDS:
            near = difflib.get_close_matches(str(key), _FIELDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(_FIELDS)}"
            passed_over.append((str(key), f"{visible(str(key))[:40]!r} is not known{hint}"))
        elif isinstance(item, bool if _FIELDS[key].default is False else str):
            used[key] = item
        else:
            kind = "true or false" if _FIELDS[key].default is False else "text"
            raise BadEntry(f"{key!r} is not {kind}", key)
    if "url" not in used:
        raise BadEntry("it has no 'url'")
    entry = Entry(name, **used)
    _check(entry)
    return entry, passed_over


def _check(entry: Entry) -> None:
    for name in ("token", "password"):
        if getattr(entry, name) and not is_reference(getattr(entry, name)):
            raise BadEntry(
                f"the {name} is written out, so it is not used; {'revoke' if name == 'token' else 'change'} it, and "
                "write env:VAR, file:PATH or ask in its place",
                name,
            )
    if entry.token and entry.password:
        raise BadEntry("it has a token and a password; one of them is enough", "password")
    if entry.ca_file and not entry.ca_file.startswith(("/", "~")):
        # It would be looked for in the current directory (T34).
        raise BadEntry("'ca_file' is not an absolute path", "ca_file")
    try:
        base = parse_base_url(entry.url)
    except BadServer as error:
        raise BadEntry(str(error), "url") from None
    if base.token is not None:
        raise BadEntry(
            "the url has a token in it, so it is not used; revoke it, and write its place under 'token'", "url"
        )
