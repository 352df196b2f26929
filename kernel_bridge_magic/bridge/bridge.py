"""`Bridge`: what the magics, the command line and the Python functions share: servers, kernels, connections."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.children import Children
from kernel_bridge_magic.bridge.lifecycle import Lifecycle
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.bridge.search import USUAL_SECONDS, VERBOSE_SECONDS, Search
from kernel_bridge_magic.bridge.starting import Starting
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.discovery.look import last_listing
from kernel_bridge_magic.discovery.processes import usages
from kernel_bridge_magic.display.rows import usage_words
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.errors import BadAnswer, BadInput, ServerError, ServerUnreachable
from kernel_bridge_magic.faces import PYTHON, Face, acting
from kernel_bridge_magic.matching.find import find_by_id, find_named, find_one, find_only
from kernel_bridge_magic.matching.levels import candidates, clean, could_mean, row_of, same_kernel
from kernel_bridge_magic.matching.misses import none_matches
from kernel_bridge_magic.matching.several import find_several, is_list
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.reports import Checkup, Listing, ServerReport
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import Ask, Registry
from kernel_bridge_magic.servers.rest import ServerAPI


class Bridge:
    """The servers, kernels and connections of one process. Nothing is opened, started or read before it is needed.

    Safe to use from several threads. `close` closes every connection and leaves every kernel as it is,
    but those that were started here without a server.
    """

    def __init__(self, configured: Callable[[], Mapping[str, Any]] = dict, face: Face = PYTHON) -> None:
        #: the interface that the user sees; error texts name what can be done next there
        self.face = face
        self.vault = Vault()
        self.pool = Pool(self.vault)
        self.registry = Registry(self.vault, configured)
        self.search = Search(self.vault, self.registry, self.pool, face)
        self._children = Children()
        #: what starts kernels
        self.starting = Starting(self.vault, self.search, self._children, face)
        #: what restarts and ends them
        self.life = Lifecycle(self.vault, self.pool, self.search, self._children, face)
        #: the kernels of the table shown last, which `#2` counts; None where no table has numbers
        self.rows: tuple[Kernel, ...] | None = None

    # -- servers

    def add_server(self, entry: Entry, *, save: bool = False, ask: Ask | None = None) -> Server:
        """Add a server, whether it can be reached or not; return it. With `save` it is kept in a file for next time.

        Raises:
            BadServer: something of it cannot be used; nothing was added.
        """
        server = self.registry.add(entry, save=save, ask=ask)
        self.search.forget(server.origin)
        return server

    def remove_server(self, name: str) -> Server:
        """Remove a server and its secret, also from the file; return it.

        Raises:
            BadServer: the user has named no server so.
        """
        server = self.registry.remove(name)
        self.search.forget()
        return server

    # -- finding

    def kernels(self, match: str = "", server: str | None = None, *, verbose: bool = False) -> KernelList:
        """Return the kernels that `match` could mean, by default all in reach, as the table that every interface shows.

        Raises:
            BadServer: no such server is known.
            BadMatch: `match` cannot be understood.
        """
        files = self.search.name_files(match)
        listing = self.search.look(server, seconds=VERBOSE_SECONDS if verbose else USUAL_SECONDS)
        match = self.search.file_or_match(match, files, listing)
        now = datetime.now(UTC)
        found, nothing = None, ""
        if match:
            among = candidates(match, listing)
            found = could_mean(match, among, self.rows)
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
        """Check step by step what works with one server, by name or URL, or with every server that is known.

        Raises:
            BadServer: no such server is known.
        """
        from concurrent.futures import ThreadPoolExecutor

        from kernel_bridge_magic.bridge.doctor import check

        reports = self.search.look(which or None).servers
        unready = self.registry.unready()

        def check_one(it: ServerReport) -> Checkup:
            return check(it.server, self.vault, unready=unready.get(it.server.origin, ""), elsewhere=it.elsewhere)

        with ThreadPoolExecutor(8, "kernel-bridge-check") as pool:
            return list(pool.map(check_one, reports))

    def find(self, match: str, server: str | None = None) -> Kernel:
        """Return the one kernel that `match` means.

        Raises:
            KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: as `find_one`.
            BadServer: no such server is known.
        """
        files = self.search.name_files(match)
        key = files[0] if len(files) == 1 else match
        meaning = self.search.meanings.get(key, server)
        known = self._row(match) if meaning is None else meaning.kernel
        if known is None or not self.pool.known(known):
            listing = self.search.look(server, rest=True)
        elif meaning is not None and meaning.is_fresh(time.monotonic(), last_listing()):
            return known
        else:
            listing = self.search.look_again(server, known)
        wanted = self.search.file_or_match(match, files, listing)
        kernel = find_one(wanted, candidates(wanted, listing), listing, rows=self.rows, face=self.face)
        if self._row(match) is None:  # a row means another kernel after the next table
            self.search.meanings.put(key, server, kernel, listing)
        return kernel

    def find_to(self, verb: str, match: str, server: str | None = None) -> Kernel:
        """Return the one kernel that `match` means, to `interrupt`, `restart` or `shutdown` it, as it is listed now.

        For the last two `match` must be its whole name: what is gone does not come back.

        Raises:
            KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: as `find_named`.
            BadServer: no such server is known.
        """
        wanted, among, listing = self._look_for(match, server)
        find = find_one if verb == "interrupt" else find_named
        return find(wanted, among, listing, rows=self.rows, face=acting(self.face, verb))

    def find_again(self, known: Kernel) -> Kernel | None:
        """Return a kernel that was found before, as it is listed now; None if it is gone: it is never another one.

        Raises:
            ServerUnreachable: nobody can tell, since its server does not.
        """
        quickly = functools.partial(self.search.look_again, None, known)
        for look in (quickly, self.search.look):  # its server may need longer
            listing = look()
            if (found := same_kernel(known, (*listing.kernels, *listing.claims))) is not None:
                return found
        servers = (known.server, known.server.hub) if known.server else ()
        for report in listing.servers:
            if report.problem and report.server.origin in [server.origin for server in servers if server]:
                raise _error(ServerUnreachable, report)
        return None

    def find_all(self, match: str, server: str | None = None, *, every: bool = True) -> KernelList | None:
        """Return all kernels that `match` means, in the order of the listing, without this kernel itself.

        Without `every` they are those of a list such as `a,b,c`; None where `match` is no list.

        Raises:
            KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: as `find_several`.
            BadServer: no such server is known.
        """
        wanted, among, listing = self._look_for(match, server)
        if not every and not is_list(wanted, among, self.rows):
            return None
        found = find_several(wanted, among, listing, every=every, rows=self.rows, face=self.face)
        return KernelList(listing, found, now=datetime.now(UTC), face=self.face)

    def _look_for(self, match: str, server: str | None) -> tuple[str, Sequence[Kernel], Listing]:
        """Return what `match` names, the kernels that it may mean, and the listing that they are of, made now."""
        files = self.search.name_files(match)
        listing = self.search.look(server, rest=True)
        wanted = self.search.file_or_match(match, files, listing)
        return wanted, candidates(wanted, listing), listing

    def _row(self, match: str) -> Kernel | None:
        with contextlib.suppress(BadInput):
            return row_of(clean(match), self.rows or (), self.rows)
        return None

    def find_by_id(self, kernel_id: str, server: str | None = None) -> Kernel:
        """Return the kernel of that whole id; a `server` that does not list it is asked for this kernel alone.

        A gateway may answer for one kernel although it lists none (FACTS.md#odd-servers).

        Raises:
            KernelNotFound, OwnKernel, BadServer, ServerError: there is no such kernel, or it cannot be asked for.
        """
        listing = self.search.look(server)
        found = [kernel for kernel in listing.kernels if kernel.id == kernel_id]
        if not found and server is not None:
            for report in listing.servers:
                found += self._ask_for(report, kernel_id)
        return find_by_id(kernel_id, found or listing.kernels, listing, face=self.face)

    def find_only(self, server: str | None = None) -> Kernel:
        """Return the only kernel in reach, where nobody named one.

        Raises:
            KernelNotFound, AmbiguousKernel: as `matching.find.find_only`.
            BadServer: no such server is known.
        """
        return find_only(self.search.look(server), self.face)

    def _ask_for(self, report: ServerReport, kernel_id: str) -> list[Kernel]:
        problem: ServerError
        try:
            model = ServerAPI(report.server, self.vault).kernel(kernel_id)
            return [] if model is None else [Kernel.from_json(model, server=report.server)]
        except ServerError as error:
            problem = _in_words_of(report, error)
        raise problem

    def reach(self, url: str) -> Server:
        """Return the server at a URL, once it has answered us.

        Raises:
            AuthRefused: only the secret is missing or wrong.
            BadServer, ServerError: it does not answer, or not as a Jupyter server.
        """
        reports = self.search.look(url).servers
        report = next((report for report in reports if not report.problem), reports[0])
        problem: ServerError | None = None
        if report.elsewhere:
            problem = _error(BadAnswer, report)
        elif report.problem:
            # The listing has words only. This raises the error itself, or shows that only listing is refused.
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
        self.search.forget(server.origin)

    def __repr__(self) -> str:
        return f"<Bridge: {len(self.registry)} servers added, {len(self.pool)} connections>"

    def close(self) -> None:
        """Close every connection, end the kernels that were started here without a server, and forget what was found.

        Closing twice is no error.
        """
        self._children.close()
        self.search.forget()
        self.pool.close()


def _details(kernels: Sequence[Kernel], known: Mapping[str, Sequence[KernelConnection]]) -> dict[str, str]:
    """Map each kernel's id to what its process uses, and to the language that a connection of ours has heard of."""
    used = usages(kernel.connection_file for kernel in kernels if kernel.connection_file)

    def words(kernel: Kernel) -> str:
        language = next((one.language for one in known.get(kernel.id, ()) if one.language), "")
        return usage_words(used.get(kernel.connection_file), language)

    return {kernel.id: words(kernel) for kernel in kernels}


def _in_words_of(report: ServerReport, error: ServerError) -> ServerError:
    """Return the error with what the listing says: it has looked further (whose server it is, what a hub says)."""
    return _error(type(error), report) if report.problem else error


def _error(kind: type[ServerError], report: ServerReport) -> ServerError:
    server = report.server.name or report.server.url
    return kind(server, report.problem, report.remedy, is_named=report.is_named)
