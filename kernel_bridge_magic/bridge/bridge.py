"""`Bridge`: what all faces share: known servers, open connections, what a MATCH meant, the last listing."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kernel_bridge_magic.access.sockets import check_ca_file
from kernel_bridge_magic.access.urls import is_server, servers_named, without_secrets
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.meanings import Meanings
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.discovery.look import last_answer, last_listing, look
from kernel_bridge_magic.discovery.processes import usages
from kernel_bridge_magic.discovery.runtime_files import named_files
from kernel_bridge_magic.discovery.this_kernel import own_connection_file, own_kernel_id
from kernel_bridge_magic.display.rows import problem_line, usage_words
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.errors import BadAnswer, BadInput, BadServer, KernelBridgeError, ServerError
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.find import find_by_id, find_many, find_one, find_only, none_matches
from kernel_bridge_magic.matching.levels import candidates, clean, row_of
from kernel_bridge_magic.models import Checkup, Kernel, Listing, Origin, Server, ServerReport
from kernel_bridge_magic.protocol.events import Event
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import Ask, Registry, read_url
from kernel_bridge_magic.servers.rest import ServerAPI

__all__ = ["Bridge", "only"]

_SECONDS = 3.0  # for a look around
_VERBOSE_SECONDS = 2.5  # for one that looks at processes as well: with that, it is no longer
_AGAIN_SECONDS = 0.9  # for one before a cell whose kernel is connected to: with what goes round it, a second
_REST_SECONDS = 30.0  # a server that did not answer is left alone that long (INTERFACE 2)


class _Silence(NamedTuple):
    """Why a server is left alone, until when, and by whom: those who would not wait longer than it was waited for."""

    until: float
    problem: str
    waited: float = math.inf


class Bridge:
    """The state of one process: nothing is opened, started or read before it is needed.

    Safe to use from several threads. `close` closes every connection; no kernel is touched by it.
    """

    def __init__(self, configured: Callable[[], Mapping[str, Any]] = dict, face: Face = PYTHON) -> None:
        #: who asks: texts name what can be done next there
        self.face = face
        self.vault = Vault()
        self.pool = Pool(self.vault)
        self.registry = Registry(self.vault, configured)
        #: the kernels of the listing shown last: what `#2` means
        self.rows: tuple[Kernel, ...] | None = None
        self._options: dict[str, Server] = {}
        self._lock = threading.RLock()
        self._meanings = Meanings()
        self._files: dict[str, None] = {}  # connection files that were named, and are looked at from then on
        self._silent: dict[Origin, _Silence] = {}
        self._patient: threading.Thread | None = None

    @property
    def own_id(self) -> str:
        """The id of the kernel that this process is, "" if it is none."""
        return own_kernel_id()

    # -- servers

    @property
    def servers(self) -> list[Server]:
        """The servers that the user named: configured, saved, or added in this process."""
        return self.registry.servers()

    def add_server(
        self,
        url: str,
        *,
        name: str = "",
        token: str = "",
        password: str = "",
        ca_file: str = "",
        trusted: bool = False,
        allow_plain_http: bool = False,
        save: bool = False,
        ask: Ask | None = None,
    ) -> Server:
        """Remember a server, whether it can be reached or not, for this process; with `save` for all of the user's.

        `token` and `password` are references, `ca_file` is a PEM file.

        Raises:
            BadServer: something of it cannot be used; nothing is remembered.
        """
        entry = Entry(name, url, token, password, ca_file, trusted, allow_plain_http)
        server = self.registry.add(entry, save=save, ask=ask)
        self._silent.pop(server.origin, None)
        self._meanings.clear()
        return server

    def remove_server(self, name: str) -> Server:
        """Forget a server and its secret, also where it was saved.

        Raises:
            BadServer: none of the servers that the user named is called so.
        """
        server = self.registry.remove(name)
        self._meanings.clear()
        return server

    # -- finding

    def look(self, server: str | None = None, *, patient: bool = True) -> Listing:
        """Look around: every kernel in reach, in 3 s at most; or those of one server, by name or URL.

        A server that has just failed is asked again only if `patient`.

        Raises:
            BadServer: no such server is known.
        """
        return self._look(server, _SECONDS, {} if patient else self._at_rest(_SECONDS))

    def _at_rest(self, seconds: float) -> dict[Origin, str]:
        """Return the servers that need not be asked by who would wait that long, with what is wrong with them."""
        now = time.monotonic()
        with self._lock:
            return {o: it.problem for o, it in self._silent.items() if it.until > now and it.waited >= seconds}

    def _look(self, server: str | None, seconds: float, at_rest: Mapping[Origin, str]) -> Listing:
        servers = self.servers
        url = server if server is not None and "://" in server else None
        if url is not None and not any(is_server(url, known) for known in servers):
            servers.append(self.server_at(url))
        skip = {**at_rest, **self.registry.unready()}
        listing = look(
            servers,
            self.vault,
            own_id=own_kernel_id(),
            own_file=own_connection_file(),
            deadline=seconds,
            skip=skip,
            only=url,
            named=(named := tuple(self._files)),
        )
        self.pool.see(listing.kernels)
        self._keep_found(named, listing)
        listing = dataclasses.replace(listing, notes=self.registry.notes)
        self._meanings.hear(listing)
        self._note_silence([report for report in listing.servers if report.server.origin not in skip], seconds)
        if url is not None:
            kernels = tuple(kernel for kernel in listing.kernels if kernel.server is not None)
            return dataclasses.replace(listing, kernels=kernels, skipped=())
        return listing if server is None else only(listing, server, self.face)

    def _name_files(self, match: str) -> tuple[str, ...]:
        """Look at the connection files that MATCH may name, from now on; return their paths."""
        text = ""
        with contextlib.suppress(BadInput):
            text = clean(match)
        paths = named_files(text)
        with self._lock:
            self._files.update(dict.fromkeys(paths))
        return paths

    def _keep_found(self, named: Sequence[str], listing: Listing) -> None:
        found = {kernel.connection_file for kernel in listing.kernels}
        with self._lock:
            for path in named:
                if path not in found:
                    self._files.pop(path, None)

    def _note_silence(self, reports: Sequence[ServerReport], seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            for report in reports:
                origin = report.server.origin
                if not report.problem:
                    self._silent.pop(origin, None)
                elif not report.kernels and not report.elsewhere:  # which is told each time
                    new = _Silence(now + _REST_SECONDS, report.problem, seconds if report.late else math.inf)
                    old = self._silent.get(origin)
                    if old is None or old.until <= now or old.waited < new.waited:
                        self._silent[origin] = new

    def kernels(self, match: str = "", server: str | None = None, *, verbose: bool = False) -> KernelList:
        """Look around, and keep what `match` could mean: the listing that every face shows.

        Raises:
            BadServer: no such server is known.
            BadMatch: `match` cannot be understood.
        """
        files = self._name_files(match)
        listing = self._look(server, _VERBOSE_SECONDS if verbose else _SECONDS, {})
        match = _file_or(match, files, listing)
        now = datetime.now(UTC)
        found, nothing = None, ""
        if match:
            among = candidates(match, listing)
            found = find_many(match, among, rows=self.rows, plain=True)
            nothing = none_matches(match, among, listing.servers, self.face, only=server is not None)
        kernels = listing.kernels if found is None else found
        known = {kernel.id: self.pool.known(kernel) for kernel in kernels}
        return KernelList(
            listing,
            found,
            now=now,
            details=_details(kernels, known) if verbose else None,
            busy_since={i: one.busy_since for i, them in known.items() for one in them if one.busy_since},
            face=self.face,
            nothing=nothing,
        )

    def check(self, which: str = "") -> list[Checkup]:
        """Walk the road to a server, by name or URL, or to every one that is known, step by step.

        Raises:
            BadServer: no such server is known.
        """
        from concurrent.futures import ThreadPoolExecutor

        from kernel_bridge_magic.bridge.doctor import check

        reports = self.look(which or None).servers
        unready = self.registry.unready()

        def check_one(report: ServerReport) -> Checkup:
            why = unready.get(report.server.origin, "")
            return check(report.server, self.vault, unready=why, elsewhere=report.elsewhere)

        with ThreadPoolExecutor(8, "kernel-bridge-check") as pool:
            return list(pool.map(check_one, reports))

    def server_at(self, url: str, *, ca_file: str = "", allow_plain_http: bool = False) -> Server:
        """Give the server at a URL for this once; a token in the URL goes to the vault.

        What is said of it the first time holds.

        Raises:
            BadServer: the URL or the CA file cannot be used.
        """
        if url in self._options:
            return self._options[url]
        check_ca_file(ca_file)
        entry = Entry("", url, ca_file=ca_file, allow_plain_http=allow_plain_http)
        server, secret = read_url(url, source="option", entry=entry)
        self._options[url] = server
        if secret is not None:
            self.vault.put(server.origin, secret)
        return server

    def find(self, match: str, server: str | None = None) -> Kernel:
        """Give the one kernel that MATCH means.

        Raises:
            KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: as `matching.find_one`.
            BadServer: no such server is known.
        """
        files = self._name_files(match)
        key = files[0] if len(files) == 1 else match
        meaning = self._meanings.get(key, server)
        known = self._row(match) if meaning is None else meaning.kernel
        if known is None or not self.pool.has(known):
            listing = self.look(server, patient=False)
        elif meaning is not None and meaning.is_fresh(time.monotonic(), last_listing()):
            return known
        else:
            listing = self._look_again(server, known)
        wanted = _file_or(match, files, listing)
        kernel = find_one(
            wanted,
            candidates(wanted, listing),
            rows=self.rows,
            reports=listing.servers,
            skipped=listing.skipped,
            face=self.face,
        )
        if self._row(match) is None:  # a row means something else after the next listing
            self._meanings.put(key, server, kernel, listing)
        return kernel

    def _row(self, match: str) -> Kernel | None:
        with contextlib.suppress(BadInput):
            return row_of(clean(match), self.rows or (), self.rows)
        return None

    def _look_again(self, server: str | None, known: Kernel) -> Listing:
        """Look around before a cell for a kernel that is connected to, in a second at most.

        A server that needs longer is left out, but that of the kernel counts as it was: the connection may be well
        while its server is not (FAULTS F15).
        """
        at_rest = self._at_rest(_AGAIN_SECONDS)
        if known.server is not None:
            for one in filter(None, (known.server, known.server.hub)):
                at_rest.pop(one.origin, None)
        listing = self._look(server, _AGAIN_SECONDS, at_rest)
        filled = self._meanings.fill(listing, known, last_answer)
        if filled is not listing:
            self._ask_patiently()
        return filled

    def _ask_patiently(self) -> None:
        """Let a server that is slow, rather than silent, be heard for the next cell."""

        def look() -> None:
            with contextlib.suppress(KernelBridgeError):  # it is told where somebody waits for it
                self.look()

        with self._lock:
            if self._patient is None or not self._patient.is_alive():
                self._patient = threading.Thread(target=look, daemon=True, name="kernel-bridge-patient")
                self._patient.start()

    def find_by_id(self, kernel_id: str, server: str | None = None) -> Kernel:
        """Give the kernel of that whole id; a server that is named is asked for this one only.

        A gateway may tell of one kernel where it does not list them (FACTS 13).

        Raises:
            KernelNotFound, OwnKernel, BadServer, ServerError: it cannot be had.
        """
        listing = self.look(server)
        found = [kernel for kernel in listing.kernels if kernel.id == kernel_id]
        if not found and server is not None:
            for report in listing.servers:
                found += self._ask_for(report, kernel_id)
        return find_by_id(
            kernel_id,
            found or listing.kernels,
            reports=listing.servers,
            skipped=listing.skipped,
            face=self.face,
        )

    def find_only(self, server: str | None = None) -> Kernel:
        """Give the one kernel that there is, where nobody said which.

        Raises:
            KernelNotFound, AmbiguousKernel: as `matching.find_only`.
            BadServer: no such server is known.
        """
        listing = self.look(server)
        return find_only(listing.kernels, listing.servers, listing.skipped, self.face)

    def _ask_for(self, report: ServerReport, kernel_id: str) -> list[Kernel]:
        problem: ServerError
        try:
            model = ServerAPI(report.server, self.vault).kernel(kernel_id)
            return [] if model is None else [Kernel.from_json(model, server=report.server)]
        except ServerError as error:
            problem = _in_words_of(report, error)
        raise problem

    def reach(self, url: str) -> Server:
        """Make sure that a server answers us.

        Raises:
            BadServer, ServerError: it does not; AuthRefused where only the secret is missing or wrong.
        """
        reports = self.look(url).servers
        report = next((report for report in reports if not report.problem), reports[0])
        problem: ServerError | None = None
        if report.elsewhere:
            problem = BadAnswer(problem_line(report))
        elif report.problem:
            # The listing has only words; this raises what is wrong, or shows that it is no more than the list.
            try:
                ServerAPI(report.server, self.vault).kernelspecs()
            except ServerError as error:
                problem = _in_words_of(report, error)
        if problem is not None:
            raise problem
        return report.server

    def log_in(self, server: Server, password: Secret) -> None:
        """Log in to a server with a password.

        Raises:
            ServerError: it is not accepted, or nobody answers.
        """
        ServerAPI(server, self.vault).log_in(password)
        self._silent.pop(server.origin, None)

    # -- connecting

    def connect(
        self,
        kernel: Kernel,
        transport: str = "auto",
        *,
        note: Callable[[Event], None] | None = None,
        timeout: float | None = None,
        if_busy: str = "wait",
    ) -> KernelConnection:
        """Give the open connection to a kernel, as `Pool.connect` does."""
        return self.pool.connect(kernel, transport, note=note, timeout=timeout, if_busy=if_busy)

    def open(self, kernel: Kernel, transport: str = "auto") -> KernelConnection:
        """Open a connection that the caller owns and closes, as `Pool.open` does."""
        return self.pool.open(kernel, transport)

    def interrupt(self, kernel: Kernel) -> bool:
        """Interrupt what a kernel runs, whoever began it, as `Pool.interrupt` does."""
        return self.pool.interrupt(kernel)

    def __repr__(self) -> str:
        return f"<Bridge: {len(self.registry)} servers added, {len(self.pool)} connections>"

    def close(self) -> None:
        """Close every connection, and remember nothing of what was found. Closing twice is no error."""
        self._meanings.clear()
        self.pool.close()


def _details(kernels: Sequence[Kernel], known: Mapping[str, Sequence[KernelConnection]]) -> dict[str, str]:
    """Say of each kernel what its process uses, and what a connection of ours knows of its language."""
    used = usages(kernel.connection_file for kernel in kernels if kernel.connection_file)

    def words(kernel: Kernel) -> str:
        language = next((one.language for one in known.get(kernel.id, ()) if one.language), "")
        return usage_words(used.get(kernel.connection_file), language)

    return {kernel.id: words(kernel) for kernel in kernels}


def _file_or(match: str, files: Sequence[str], listing: Listing) -> str:
    """Return what means the connection file that `match` means; else `match`, as a notebook's path may look so."""
    known = {kernel.connection_file for kernel in listing.kernels}
    if any(file in listing.copies for file in files):  # a list where they are of several kernels: none is meant alone
        return ",".join(dict.fromkeys(listing.copies.get(it, it) for it in files if it in {*known, *listing.copies}))
    known |= {it.path for it in listing.skipped}
    if len(files) == 1 and (files[0] in known or clean(match).startswith(("/", "~", "./", "../"))):
        return files[0]
    return match


def _in_words_of(report: ServerReport, error: ServerError) -> ServerError:
    """Say what a listing found out; it has looked further (whose server it is, what a hub says)."""
    return type(error)(problem_line(report)) if report.problem else error


def only(listing: Listing, server: str, face: Face = PYTHON) -> Listing:
    """Keep a listing to the server of that name; `face` is who asks.

    Raises:
        BadServer: it is not among those that were asked.
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
