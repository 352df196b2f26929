"""Look which kernels there are: on servers of this user, on servers that were named, and without a server.

Only REST and heartbeats are used. No WebSocket is opened and no kernel is asked anything, so looking disturbs nobody
(H1, FACTS.md#opening-a-websocket). What that tells of a kernel's state is in `Kernel.state`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import require
from kernel_bridge_magic.access.urls import servers_named
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.asking import Answer, ask_all
from kernel_bridge_magic.discovery.claims import listed_by, of_frozen_servers, of_silent_kernels
from kernel_bridge_magic.discovery.heartbeat import Endpoint, Heartbeats
from kernel_bridge_magic.discovery.processes import may_be_unused, with_unused
from kernel_bridge_magic.discovery.runtime_files import (
    FileContent,
    Refused,
    RuntimeFiles,
    is_listed,
    read_runtime_files,
    runtime_dirs,
)
from kernel_bridge_magic.discovery.server_files import read_servers
from kernel_bridge_magic.discovery.standalone import endpoints, file_kernel_id, standalone_kernel
from kernel_bridge_magic.models import Kernel, Origin, Server, Session, is_uuid
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped

_FILE_SECONDS = 1.0  # a directory on a hung network disk must leave the servers their time
_HEARTBEAT_SECONDS = 1.0  # a live kernel answers in milliseconds
_MOST_ORIGINS = 1000
_ANSWERED: dict[Origin, float] = {}
_listed = 0.0


def look(
    servers: Sequence[Server],
    vault: Vault,
    *,
    own_id: str = "",
    own_file: str = "",
    deadline: float = 3.0,
    local: bool = True,
    skip: Mapping[Origin, str] = MappingProxyType({}),
    only: str | None = None,
    named: Sequence[str] = (),
) -> Listing:
    """Look around once: runtime files (if `local`), all servers at the same time, kernels without a server.

    `own_id` and `own_file` are the id and connection file of the kernel that runs this code, which is marked.
    `deadline` is in seconds, for everything. Servers whose origin is in `skip` are not asked; the text there is
    reported as their problem. With `only`, a URL, only the servers that it means are asked, of `servers` and those of
    runtime files. Tokens of runtime files are put into `vault`, each for its own server. `named` are connection files
    that are looked at as those of the runtime directories are (see `named_files`).

    Where a trusted and an untrusted server list the same id, the kernel is the trusted one's (see `claims`); the
    other's is among the listing's claims. With `only` the caller named the server, and gets what that lists.

    Nothing raises for what files hold or servers send: what is wrong with them is in the listing.

    This is one long function, since almost every step uses what several steps before it found.

    Raises:
        CannotConnect: this process can open nothing more, so that everything would look absent.
    """
    require()
    began = time.monotonic()
    until = Deadline(began + deadline)
    places = runtime_dirs()
    files = read_runtime_files(places, min(_FILE_SECONDS, deadline / 2), named) if local else RuntimeFiles()
    found, skipped = read_servers(files.servers, vault)
    all_servers = _without_doubles(found, servers, vault)
    asked = all_servers if only is None else servers_named(only, all_servers)
    where, unusable = endpoints(files.kernels)
    heartbeats = Heartbeats(list(where.values()), min(_HEARTBEAT_SECONDS, deadline))
    try:
        ordered = [answer for answers in ask_all(asked, vault, until, deadline, skip) for answer in answers]
        usable = [file for file in files.kernels if file.path in where]
        copies = _copies(usable, where, places)
        usable = [file for file in usable if file.path not in copies]
        ours = [answer for answer in ordered if answer.report.server.is_yours]
        foreign = _attach(_merge([answer for answer in ordered if not answer.report.server.is_yours]), (), own_id)
        rows = _attach(_merge(ours), usable, own_id)
        attached = {kernel.connection_file for kernel in rows}
        # Of those of rows only who may be unused: a frozen kernel whose server tells of it must not cost a second.
        unattached = [file for file in usable if file.path not in attached]
        fresh = [kernel.connection_file for kernel in rows if may_be_unused(kernel) and kernel.connection_file in where]
        heartbeats.wait((*(file.path for file in unattached), *fresh), until)
        clocks = {answer.report.server.origin: answer.clock for answer in ordered}
        rows, foreign = (
            with_unused(kernels, where, lambda path: not heartbeats.problem(path), clocks)
            for kernels in (rows, foreign)
        )
        alone, dead = _alone(unattached, where, heartbeats, own_file)
        alone = [replace(it, outside=not is_listed(it.connection_file, places)) for it in alone]
        known = {kernel.id for kernel in rows if is_uuid(kernel.id)}
        rows += [replace(k, is_this_kernel=k.is_this_kernel or k.id == own_id) for k in alone if k.id not in known]
        owned = {kernel.id for kernel in rows} | listed_by(ours) | of_frozen_servers(ours, files.kernels)
        wanted = {kernel.id for kernel in foreign} - owned
        owned |= of_silent_kernels(
            [file for file in unattached if file_kernel_id(file.path) in wanted], where, heartbeats
        )
    finally:
        heartbeats.stop()
    if only is not None:
        owned = set()
    claims = tuple(replace(kernel, claimed=True) for kernel in foreign if kernel.id in owned)
    rows += [kernel for kernel in foreign if kernel.id not in owned]
    if own_id and only is None and not any(kernel.is_this_kernel for kernel in rows):
        # nbclient and papermill keep the connection file elsewhere, where nobody else is to find the kernel.
        name = f"process {os.getpid()}"
        rows.append(Kernel(own_id, state="alive", started_by=name, connection_file=own_file, is_this_kernel=True))
    answered = [replace(answer.report, auth=vault.auth_method(answer.report.server.origin)) for answer in ordered]
    reports = tuple(report if only is None else _whereabouts(report, all_servers) for report in answered)
    everything = (*files.skipped, *skipped, *unusable, *dead)
    skipped = sorted(everything, key=lambda item: item.path)
    _note(began, reports)
    return Listing(
        tuple(_in_order(rows)),
        reports,
        tuple(skipped),
        claims=tuple(_in_order(claims)),
        when=began,
        copies=_meant_by(copies, named, rows),
    )


def last_listing() -> float:
    """Return when the last listing of this process was begun, by the monotonic clock, whoever asked for it."""
    return _listed


def last_answer(origin: Origin) -> float:
    """Return when the last listing of this process was begun in which that server answered in full."""
    return _ANSWERED.get(origin, 0.0)


def _note(began: float, reports: Sequence[ServerReport]) -> None:
    global _listed
    if len(_ANSWERED) >= _MOST_ORIGINS:
        _ANSWERED.clear()
    for report in reports:
        if not report.problem:
            _ANSWERED[report.server.origin] = max(began, last_answer(report.server.origin))
    _listed = max(_listed, began)


def _without_doubles(found: Sequence[Server], given: Sequence[Server], vault: Vault) -> list[Server]:
    """Return the servers of runtime files and the given ones, each once, sorted by name and URL.

    `localhost`, 127.0.0.1 and ::1 with the port of a server found in runtime files mean that server: its pid was seen
    to listen there. It has the name and the secret then that the user gave.
    """
    whole: dict[Origin, Server] = {}
    for server in found:
        whole.setdefault(server.origin, server)
    for server in given:
        origin = server.origin
        if origin not in whole:
            origin = next((one.origin for one in whole.values() if one.is_ours_at(origin)), origin)
        if origin in whole and whole[origin].source == "runtime":
            known = whole[origin]
            whole[origin] = replace(known, name=server.name, ca_file=server.ca_file or known.ca_file)
            vault.adopt(server.origin, origin)
        else:
            whole.setdefault(origin, server)
    return sorted(whole.values(), key=lambda server: (server.name, server.url, server.socket_path))


def _whereabouts(report: ServerReport, known: Sequence[Server]) -> ServerReport:
    """Return the report on a URL without a server with the server of this user that listens on its port, if any."""
    at = report.server.origin
    for server in known if report.problem else ():
        there = at._replace(scheme=server.origin.scheme, base_path=server.origin.base_path)
        # Behind another base path may be a server of its own; another scheme is never answered, or not in time.
        wrong = report.misplaced or there.scheme != at.scheme
        if wrong and there != at and server.is_ours_at(there):
            return replace(report, elsewhere=server.url, remedy=f"a Jupyter server is at {server.url}: use that URL")
    return report


def _merge(answers: Sequence[Answer]) -> list[Kernel]:
    """Return the kernels of servers of one trust, each once: a server before a gateway lists the gateway's kernels.

    Only two equal ids that nobody can guess mean one kernel.
    """
    rows: list[Kernel] = []
    seen: dict[str, int] = {}
    for answer in answers:
        for kernel in answer.kernels:
            if kernel.id in seen and is_uuid(kernel.id):
                first = rows[seen[kernel.id]]
                sessions: dict[str, Session] = {s.path: s for s in (*kernel.sessions, *first.sessions)}
                rows[seen[kernel.id]] = replace(first, sessions=first.sessions or tuple(sessions.values()))
                continue
            seen[kernel.id] = len(rows)
            rows.append(kernel)
    return rows


def _attach(rows: Sequence[Kernel], files: Sequence[FileContent], own_id: str) -> list[Kernel]:
    """Return the kernels with their connection files, where their server is of this machine, and mark this kernel."""
    by_id = {file_kernel_id(file.path): file.path for file in reversed(files)}  # not a copy that was named
    whole = []
    for kernel in rows:
        local = kernel.server is not None and kernel.server.source == "runtime"
        path = by_id.get(kernel.id, "") if local else ""
        whole.append(replace(kernel, connection_file=path, is_this_kernel=bool(own_id) and kernel.id == own_id))
    return whole


def _copies(files: Sequence[FileContent], where: Mapping[str, Endpoint], places: Sequence[str]) -> dict[str, str]:
    """Return the named files that are copies, each with its original: a file with the same ports and the same key."""
    first: dict[tuple[object, ...], str] = {}
    copies = {}
    for file in files:
        original = first.setdefault((*where[file.path][1:], file.data["key"]), file.path)
        if original != file.path and not is_listed(file.path, places):
            copies[file.path] = original
    return copies


def _meant_by(copies: Mapping[str, str], named: Sequence[str], rows: Sequence[Kernel]) -> dict[str, str]:
    """Return what means the kernel of each named file that is not itself the file of a row."""
    files = {kernel.connection_file for kernel in rows}
    ids = {kernel.id for kernel in rows if is_uuid(kernel.id)}
    meant = {}
    for path in named:
        original = copies.get(path, path)
        if original not in files and file_kernel_id(original) in ids:
            meant[path] = file_kernel_id(original)
        elif original != path:
            meant[path] = original
    return meant


def _alone(
    files: Sequence[FileContent], where: Mapping[str, Endpoint], heartbeats: Heartbeats, own_file: str
) -> tuple[list[Kernel], list[Skipped]]:
    kernels, skipped = [], []
    for file in files:
        problem = heartbeats.problem(file.path)
        if not problem:
            try:
                kernels.append(standalone_kernel(file, where[file.path], own_file))
                continue
            except Refused as error:
                problem = str(error)
        is_silent, has_ended = heartbeats.is_silent(file.path), heartbeats.has_ended(file.path)
        skipped.append(Skipped(file.path, problem, silent=is_silent, stale=has_ended))
    return kernels, skipped


def _in_order(rows: Sequence[Kernel]) -> list[Kernel]:
    """Sort by server and title, those without a notebook and those without a server last.

    The id makes it the same each time.
    """

    def key(kernel: Kernel) -> tuple[bool, bool, str, str, str, str]:
        server = kernel.server
        where = (server.name, server.url) if server else ("", "")
        last = kernel.notebook is None, server is None
        return *last, *where, kernel.title, kernel.id + os.path.basename(kernel.connection_file)

    return sorted(rows, key=key)
