"""The servers that the user named: added in this process, saved in `kernel_bridge.json`, or configured."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel_bridge_magic import server_file
from kernel_bridge_magic.auth import Secret, Vault, read_secret
from kernel_bridge_magic.entries import BadEntry, Entry, read_entry
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.named_servers import read_url
from kernel_bridge_magic.sockets import check_ca_file

__all__ = ["Ask", "Registry"]

Ask = Callable[[str], str]
"""Asks the user for `"token"` or `"password"`."""


@dataclass
class _Known:
    server: Server
    entry: Entry
    ready: bool = False
    problem: str = ""


class Registry:
    """Safe to use from several threads. Nothing is read before `servers` is asked for the first time.

    `configured` gives what `c.KernelBridge.servers` holds now.
    """

    def __init__(self, vault: Vault, configured: Callable[[], Mapping[str, Any]] = dict) -> None:
        #: one line for each thing in the user's configuration that could not be used
        self.notes: tuple[str, ...] = ()
        self._vault = vault
        self._configured = configured
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}
        self._added: set[str] = set()
        self._seen: object = None

    def servers(self) -> list[Server]:
        """Give all of them: those of the configuration first, each with its secret in the vault if that can be had."""
        with self._lock:
            self._refresh()
            for known in self._known.values():
                self._make_ready(known, None)
            return [known.server for known in self._known.values()]

    def unready(self) -> dict[Origin, str]:
        """Give the servers that need not be asked, since their secret cannot be had; with the reason."""
        with self._lock:
            return {known.server.origin: known.problem for known in self._known.values() if known.problem}

    def ask_for_secrets(self, ask: Ask, name: str | None = None) -> None:
        """Ask for the secrets that are to be asked for: all, or that of one server.

        Raises:
            BadServer: what was typed cannot be a secret.
        """
        with self._lock:
            self._refresh()
            for known in self._known.values():
                if name is None or name in (known.server.name, known.server.url):
                    self._make_ready(known, ask)

    def add(self, entry: Entry, *, save: bool = False, ask: Ask | None = None) -> Server:
        """Remember a server for this process, and with `save` for all.

        Raises:
            BadServer: something of it cannot be used. Nothing is remembered then, unless only saving failed.
        """
        server, secret = read_url(entry.url, name=entry.name, source="saved" if save else "added", entry=entry)
        ca_file = os.path.abspath(os.path.expanduser(entry.ca_file)) if entry.ca_file else ""
        check_ca_file(ca_file)
        server, entry = replace(server, ca_file=ca_file), replace(entry, name=server.name, url=server.url)
        entry = replace(entry, ca_file=ca_file)
        if save and secret is not None and not entry.token:
            raise BadServer("the URL's token is not saved; leave it out, and write --token env:VAR, file:PATH or ask")
        with self._lock:
            self._refresh()
            known = self._known.get(server.name)
            if known is not None and known.server.origin != server.origin:
                raise BadServer(f"there is a server {server.name!r} already ({known.server.url}); give another --name")
            made = _Known(server, entry)
            if secret is not None and not entry.token:
                self._vault.put(server.origin, secret)
            self._read_secrets(made, ask)
            made.ready = True
            self._known[server.name] = made
            self._added.add(server.name)
        if save:
            server_file.save_entry(server_file.file_path(), entry)
        return server

    def remove(self, name: str) -> Server:
        """Forget a server and its secret, here and in `kernel_bridge.json`.

        Raises:
            BadServer: there is none of that name, or it is the configuration's.
        """
        with self._lock:
            self._refresh()
            known = self._known.get(name)
            if known is None:
                names = ", ".join(self._known) or "none"
                raise BadServer(f"no added server is called {name!r} (added: {names})")
            if known.server.source == "config":
                raise BadServer(f"{name!r} comes from c.KernelBridge.servers: take it out there")
            if known.server.source == "saved":
                server_file.remove_entry(server_file.file_path(), name)
            del self._known[name]
            self._added.discard(name)
            self._vault.forget(known.server.origin)
            return known.server

    def __len__(self) -> int:
        return len(self._known)

    # -- configuration

    def _refresh(self) -> None:
        """Read the file and the configuration again if they have changed."""
        configured = dict(self._configured())
        path = server_file.file_path()
        seen = (path, server_file.stamp(path), repr(configured))
        if seen == self._seen:
            return
        self._seen = seen
        saved, notes = server_file.read_file(path)
        entries = [("saved", entry) for entry in saved]
        for name, value in configured.items():
            where = f"c.KernelBridge.servers[{name!r}]"
            try:
                entry, passed_over = read_entry(name, value)
                entries.append(("config", entry))
            except BadEntry as error:
                passed_over = [("", str(error))]
            notes += [f"{where}: {why}" for _, why in passed_over]
        self.notes = tuple(notes)
        self._replace({entry.name: (source, entry) for source, entry in entries})

    def _replace(self, wanted: Mapping[str, tuple[str, Entry]]) -> None:
        fresh: dict[str, _Known] = {}
        for name, (source, entry) in wanted.items():
            old = self._known.get(name)
            if old is not None and (name in self._added or (old.entry, old.server.source) == (entry, source)):
                fresh[name] = old
            else:
                server, _ = read_url(entry.url, name=name, source=source, entry=entry)
                fresh[name] = _Known(server, entry)
        for name, known in self._known.items():
            if name in self._added and name not in fresh:
                fresh[name] = known
            elif name not in fresh or fresh[name].server.origin != known.server.origin:
                self._vault.forget(known.server.origin)
        self._known = fresh

    # -- secrets

    def _make_ready(self, known: _Known, ask: Ask | None) -> None:
        if known.ready:
            return
        try:
            if ask is None and "ask" in (known.entry.token, known.entry.password):
                raise BadServer("its secret is to be asked for: %servers asks, and so does -s NAME")
            self._read_secrets(known, ask)
            known.ready, known.problem = True, ""
        except BadServer as error:
            known.problem = str(error)

    def _read_secrets(self, known: _Known, ask: Ask | None) -> None:
        entry, origin = known.entry, known.server.origin
        if entry.token:
            self._vault.put(origin, read_secret(entry.token, ask=ask and (lambda: ask("token"))))
        if entry.password:
            password = read_secret(entry.password, ask=ask and (lambda: ask("password")), what="password")
            self._vault.put_password(origin, _reader(entry.password, password), once=entry.password == "ask")


def _reader(reference: str, typed: Secret) -> Callable[[], Secret]:
    """Keep what was typed, but read what can be read again when it is wanted."""
    return (lambda: typed) if reference == "ask" else (lambda: read_secret(reference, what="password"))
