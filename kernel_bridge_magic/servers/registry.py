"""Know the servers that the user named: added in this process, saved in `kernel_bridge.json`, or configured."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel_bridge_magic.access.references import read_secret
from kernel_bridge_magic.access.sockets import check_ca_file
from kernel_bridge_magic.access.urls import is_server, parse_base_url, without_secrets
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.servers import config_file
from kernel_bridge_magic.servers.entries import BadEntry, Entry, check_name, read_entry
from kernel_bridge_magic.text import visible

#: Asks the user for a secret, such as the `token of lab (https://lab.example/)`; raises BadServer if nobody can answer.
Ask = Callable[[str], str]


@dataclass
class _Known:
    server: Server
    entry: Entry
    ready: bool = False
    problem: str = ""


class Registry:
    """The servers that the user named. Nothing is read before they are asked for. Safe to use from several threads.

    `configured` returns what `c.KernelBridge.servers` holds now.
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
        """Return all of them, those of the configuration first; secrets that can be had are in the vault then."""
        with self._lock:
            self._refresh()
            for known in self._known.values():
                self._make_ready(known, None)
            return [known.server for known in self._known.values()]

    def unready(self) -> dict[Origin, str]:
        """Return the origins of servers that need not be asked, since their secret cannot be had, with the reason."""
        with self._lock:
            return {known.server.origin: known.problem for known in self._known.values() if known.problem}

    def ask_for_secrets(self, ask: Ask, name: str | None = None) -> None:
        """Ask the user for each secret that is to be typed in, or for that of one server, by name or URL.

        Where nobody can be asked, or what was typed cannot be a secret, `unready` has the reason.
        """
        with self._lock:
            self._refresh()
            for known in self._known.values():
                if name is None or is_server(name, known.server):
                    self._make_ready(known, ask)

    def add(self, entry: Entry, *, save: bool = False, ask: Ask | None = None) -> Server:
        """Remember a server for this process, and with `save` for all; return it.

        Raises:
            BadServer: a part of it cannot be used. Nothing is remembered then, unless only saving failed.
        """
        server, secret = read_server(entry, "saved" if save else "added")
        ca_file = os.path.abspath(os.path.expanduser(entry.ca_file)) if entry.ca_file else ""
        check_ca_file(ca_file)
        if save and secret is not None and not entry.token:
            raise BadServer("the URL's token is not saved; leave it out, and write --token env:VAR, file:PATH or ask")
        with self._lock:
            self._refresh()
            name = self._name_for(server, chosen=bool(entry.name))
            server = replace(server, name=name, ca_file=ca_file)
            entry = replace(entry, name=name, url=server.url, ca_file=ca_file)
            made = _Known(server, entry, ready=True)
            if secret is not None and not entry.token:
                self._vault.put(server.origin, secret)
            self._read_secrets(made, ask)
            self._known[server.name] = made
            self._added.add(server.name)
        if save:
            config_file.save_entry(config_file.file_path(), entry)
        return server

    def _name_for(self, server: Server, *, chosen: bool) -> str:
        """Return the name under which a server is added: one name means one server, and one server has one name.

        An unnamed server that is known keeps its name; one whose name was `chosen` is refused then.
        """
        for name, known in self._known.items():
            if known.server.origin == server.origin and name != server.name:
                if chosen:
                    raise BadServer(
                        f"{server.url} is known already, as {name!r}; add it under that name, or --remove {name} first"
                    )
                return name
        other = self._known.get(server.name)
        if other is not None and other.server.origin != server.origin:
            raise BadServer(f"there is a server {server.name!r} already ({other.server.url}); give another --name")
        return server.name

    def override(self, given: Server, *, secret: bool) -> Server:
        """Return the server to use where the user gives options for one that may be known already.

        What they say now wins over what is kept of it, in this process. With `secret` they give the secret as well:
        the kept one is neither read nor asked for. A server that is not known is returned unchanged.
        """
        with self._lock:
            self._refresh()
            for known in self._known.values():
                if known.server.origin != given.origin:
                    continue
                known.server = replace(
                    known.server,
                    ca_file=given.ca_file or known.server.ca_file,
                    allow_plain_http=given.allow_plain_http or known.server.allow_plain_http,
                )
                if secret:
                    known.ready, known.problem = True, ""
                return known.server
            return given

    def remove(self, name: str) -> Server:
        """Forget a server and its secret, here and in `kernel_bridge.json`; return the server.

        Raises:
            BadServer: there is none of that name, or it is the configuration's, or the file cannot be written.
        """
        with self._lock:
            self._refresh()
            known, path = self._known.get(name), config_file.file_path()
            saved = next((entry for entry in config_file.read_file(path)[0] if entry.name == name), None)
            if known is None and saved is None:
                names = ", ".join(self._known) or "none"
                raise BadServer(f"no added server is called {without_secrets(name)!r} (added: {names})")
            if known is not None and known.server.source == "config":
                raise BadServer(f"{name!r} comes from c.KernelBridge.servers; take it out there")
            self._seen = None  # another entry of that name or server may count now
            if known is None:
                # It is the second name of a server that stands in the file twice, see `_replace`.
                assert saved is not None
                config_file.remove_entry(path, name)
                return read_server(saved, "saved")[0]
            saved_here = saved is not None and parse_base_url(saved.url).origin == known.server.origin
            if saved_here or known.server.source == "saved":
                config_file.remove_entry(path, name)
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
        path = config_file.file_path()
        seen = (path, config_file.stamp(path), repr(configured))
        if seen == self._seen:
            return
        self._seen = seen
        saved, notes = config_file.read_file(path)
        entries = [("saved", entry) for entry in saved]
        for name, value in configured.items():
            where = f"c.KernelBridge.servers[{name!r}]"
            try:
                entry, passed_over = read_entry(name, value)
                entries.append(("config", entry))
            except BadEntry as error:
                passed_over = [("", str(error))]
            notes += [f"{where}: {why}" for _, why in passed_over]
        self.notes = (*notes, *self._replace({entry.name: (source, entry) for source, entry in entries}))

    def _replace(self, wanted: Mapping[str, tuple[str, Entry]]) -> list[str]:
        """Keep the wanted entries and the added ones; return a line for each that is a second name of a server."""
        added = {name: known for name, known in self._known.items() if name in self._added}
        names = {known.server.origin: name for name, known in added.items()}
        fresh: dict[str, _Known] = {}
        doubles = []
        # The configuration comes first: it wins for two names of one server, as it does for two servers of one name.
        for name, (source, entry) in sorted(wanted.items(), key=lambda item: item[1][0] != "config"):
            if name in added:
                fresh[name] = added[name]
                continue
            server, _ = read_server(entry, source)
            first = names.setdefault(server.origin, name)
            if first != name:
                where = f"c.KernelBridge.servers[{name!r}]" if source == "config" else f"{config_file.NAME}, {name}"
                doubles.append(f"{where}: it is the same server as {first!r}, so that name is used")
                continue
            old = self._known.get(name)
            if old is None or (old.entry, old.server.source) != (entry, source):
                old = _Known(server, entry)
            fresh[name] = old
        fresh |= added
        left = {known.server.origin for known in fresh.values()}
        for known in self._known.values():
            if known.server.origin not in left:
                self._vault.forget(known.server.origin)
        self._known = fresh
        return doubles

    # -- secrets

    def _make_ready(self, known: _Known, ask: Ask | None) -> None:
        if known.ready:
            return
        try:
            if ask is None and "ask" in (known.entry.token, known.entry.password):
                # What came of asking says more.
                raise BadServer(known.problem or "its secret has to be typed in; name the server where you can type it")
            self._read_secrets(known, ask)
            known.ready, known.problem = True, ""
        except BadServer as error:
            known.problem = str(error)

    def _read_secrets(self, known: _Known, ask: Ask | None) -> None:
        entry, origin = known.entry, known.server.origin
        whose = f"of {visible(known.server.name)} ({visible(known.server.url)})"
        if entry.token:
            self._vault.put(origin, read_secret(entry.token, ask=ask and (lambda: ask(f"token {whose}"))))
        if entry.password:
            password = read_secret(entry.password, ask=ask and (lambda: ask(f"password {whose}")), what="password")
            typed = entry.password == "ask"
            # What was typed is kept, the rest is read again whenever it is wanted.
            read = (lambda: password) if typed else (lambda: read_secret(entry.password, what="password"))
            self._vault.put_password(origin, read, once=typed)


def read_server(entry: Entry, source: str) -> tuple[Server, Secret | None]:
    """Return the server of an entry, and the token in its URL as a secret. Without a name it is called by its address.

    Raises:
        BadServer: the URL or the name cannot be used.
    """
    url, origin, token = parse_base_url(entry.url)
    is_socket = origin.scheme == "unix"
    check_name(entry.name)
    server = Server(
        url=url,
        name=entry.name or (os.path.basename(origin.host) if is_socket else f"{origin.host}:{origin.port}"),
        origin=origin,
        source=source,
        socket_path=origin.host if is_socket else "",
        trusted=entry.trust,
        ca_file=os.path.expanduser(entry.ca_file),
        allow_plain_http=entry.allow_plain_http,
    )
    return server, Secret(token) if token else None
