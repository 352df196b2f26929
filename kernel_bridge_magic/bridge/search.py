"""Looking for kernels: which servers are asked, how long they may take, and what stands in for one that is silent."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kernel_bridge_magic.access.sockets import check_ca_file
from kernel_bridge_magic.access.urls import is_server, servers_named, without_secrets
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.meanings import Meanings
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.discovery.look import last_answer, look
from kernel_bridge_magic.discovery.runtime_files import named_files
from kernel_bridge_magic.discovery.standalone import own_connection_file, own_kernel_id
from kernel_bridge_magic.errors import BadInput, BadServer, KernelBridgeError
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.levels import clean
from kernel_bridge_magic.models import Kernel, Origin, Server
from kernel_bridge_magic.reports import Listing, ServerReport
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import Registry, read_server

USUAL_SECONDS = 3.0
VERBOSE_SECONDS = 2.5  # looking at processes takes the rest of the usual time
_AGAIN_SECONDS = 0.9  # before a cell for a kernel that we are connected to: with all around it, one second
_REST_SECONDS = 30.0  # for so long a server that did not answer is not asked before a cell


class _Silence(NamedTuple):
    """A server that did not answer: when it may be asked again, what is wrong, and how long it was waited for.

    A server that was late is asked again by whoever would wait longer than that.
    """

    until: float
    problem: str
    waited: float = math.inf


class Search:
    """Finds the kernels in reach. Safe to use from several threads."""

    def __init__(self, vault: Vault, registry: Registry, pool: Pool, face: Face) -> None:
        #: what each MATCH meant last
        self.meanings = Meanings()
        self._vault = vault
        self._registry = registry
        self._pool = pool
        self._face = face
        self._lock = threading.RLock()
        self._urls: dict[str, Server] = {}  # servers that an option named by URL
        self._files: dict[str, None] = {}  # connection files that a MATCH named: looked at from then on
        self._silent: dict[Origin, _Silence] = {}
        self._background: threading.Thread | None = None

    def look(self, server: str | None = None, *, seconds: float = USUAL_SECONDS, rest: bool = False) -> Listing:
        """Return every kernel in reach, or those of one `server`, by name or URL, in at most `seconds`.

        With `rest` a server that has just failed is not asked again.

        Raises:
            BadServer: no such server is known.
        """
        return self._look(server, seconds, self._at_rest(seconds) if rest else {})

    def look_again(self, server: str | None, known: Kernel) -> Listing:
        """Return what can be found within a second, before a cell for a kernel that we are connected to.

        A server that needs longer is left out. Only the server of `known` counts as it was: the connection may be well
        while its server is not (F15).
        """
        at_rest = self._at_rest(_AGAIN_SECONDS)
        if known.server is not None:
            for one in filter(None, (known.server, known.server.hub)):
                at_rest.pop(one.origin, None)
        listing = self._look(server, _AGAIN_SECONDS, at_rest)
        filled = self.meanings.fill(listing, known, last_answer)
        if filled is not listing:
            self._look_in_background()
        return filled

    def _at_rest(self, seconds: float) -> dict[Origin, str]:
        """Return the servers that would not answer within `seconds` now, with what is wrong with each."""
        now = time.monotonic()
        with self._lock:
            return {o: it.problem for o, it in self._silent.items() if it.until > now and it.waited >= seconds}

    def _look(self, server: str | None, seconds: float, at_rest: Mapping[Origin, str]) -> Listing:
        servers = self._registry.servers()
        url = server if server is not None and "://" in server else None
        if url is not None and not any(is_server(url, known) for known in servers):
            servers.append(self.server_at(url))
        skip = {**at_rest, **self._registry.unready()}
        named = tuple(self._files)
        own, file = own_kernel_id(), own_connection_file()
        listing = look(
            servers, self._vault, own_id=own, own_file=file, deadline=seconds, skip=skip, only=url, named=named
        )
        self._pool.see(listing.kernels)
        with self._lock:
            for path in set(named) - {kernel.connection_file for kernel in listing.kernels}:
                self._files.pop(path, None)
        listing = dataclasses.replace(listing, notes=self._registry.notes)
        self.meanings.hear(listing)
        self._note_silence([report for report in listing.servers if report.server.origin not in skip], seconds)
        if url is not None:
            kernels = tuple(kernel for kernel in listing.kernels if kernel.server is not None)
            return dataclasses.replace(listing, kernels=kernels, skipped=())
        return listing if server is None else only(listing, server, self._face)

    def _note_silence(self, reports: Sequence[ServerReport], seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            for report in reports:
                origin = report.server.origin
                if not report.problem:
                    self._silent.pop(origin, None)
                elif not report.kernels and not report.elsewhere:  # a server at another URL answers at once each time
                    new = _Silence(now + _REST_SECONDS, report.problem, seconds if report.late else math.inf)
                    old = self._silent.get(origin)
                    if old is None or old.until <= now or old.waited < new.waited:
                        self._silent[origin] = new

    def _look_in_background(self) -> None:
        """Look once more with more time, so that a slow server is known again for the next cell."""

        def in_background() -> None:
            with contextlib.suppress(KernelBridgeError):  # it is told where somebody waits for it
                self.look()

        with self._lock:
            if self._background is None or not self._background.is_alive():
                self._background = threading.Thread(target=in_background, daemon=True, name="kernel-bridge-look")
                self._background.start()

    def forget(self, origin: Origin | None = None) -> None:
        """Forget what every MATCH meant, and that the server at `origin` was silent."""
        self.meanings.clear()
        if origin is not None:
            with self._lock:
                self._silent.pop(origin, None)

    def server_at(self, url: str, *, ca_file: str = "", allow_plain_http: bool = False) -> Server:
        """Return the server at a URL, for this process. What the first call says of it holds.

        A token in the URL goes to the vault.

        Raises:
            BadServer: the URL or the CA file cannot be used.
        """
        if url not in self._urls:
            check_ca_file(ca_file)
            entry = Entry("", url, ca_file=ca_file, allow_plain_http=allow_plain_http)
            self._urls[url], secret = read_server(entry, "option")
            if secret is not None:
                self._vault.put(self._urls[url].origin, secret)
        return self._urls[url]

    # -- connection files that a MATCH names

    def name_files(self, match: str) -> tuple[str, ...]:
        """Return the paths of the connection files that `match` may name; every look includes them from now on."""
        text = ""
        with contextlib.suppress(BadInput):
            text = clean(match)
        paths = named_files(text)
        with self._lock:
            self._files.update(dict.fromkeys(paths))
        return paths

    @staticmethod
    def file_or_match(match: str, files: Sequence[str], listing: Listing) -> str:
        """Return the MATCH that means the connection file which `match` names; else `match` itself.

        `files` are those of `name_files`. A notebook's path may look like a connection file's.
        """
        known = {kernel.connection_file for kernel in listing.kernels}
        if any(file in listing.copies for file in files):  # copies of the files of several kernels mean none alone
            found = (listing.copies.get(it, it) for it in files if it in {*known, *listing.copies})
            return ",".join(dict.fromkeys(found))
        known |= {it.path for it in listing.skipped}
        if len(files) == 1 and (files[0] in known or clean(match).startswith(("/", "~", "./", "../"))):
            return files[0]
        return match


def only(listing: Listing, server: str, face: Face = PYTHON) -> Listing:
    """Return the part of a listing that is of the server of that name.

    Raises:
        BadServer: it is not among those that were asked; `face` is told how to add it.
    """
    named = servers_named(server, [report.server for report in listing.servers])
    reports = tuple(report for report in listing.servers if report.server in named)
    if not reports:
        known = ", ".join(report.server.name for report in listing.servers) or "none"
        shown = without_secrets(server)
        raise BadServer(f"no server is called {shown!r} (known: {known}); add it with {face.add}")
    everything = (*listing.kernels, *listing.claims)  # whoever names a server means what that lists
    kernels = tuple(kernel for kernel in everything if kernel.server in named)
    return dataclasses.replace(listing, kernels=kernels, servers=reports, skipped=(), claims=())
