"""Ask all servers at once: in a daemon thread each, so that a frozen one holds up neither the others nor exit."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.sockets import no_answer
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.hubs import other_user, servers_of
from kernel_bridge_magic.errors import AuthRefused, Cause, KernelBridgeError, ServerError, ServerUnreachable
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, Session
from kernel_bridge_magic.reports import ServerReport
from kernel_bridge_magic.servers.rest import ServerAPI

_SPECS: dict[Origin, tuple[float, dict[str, KernelSpec]]] = {}
_MOST_SERVERS = 200
_SPECS_SECONDS = 600.0
_SLACK = 0.01  # seconds; a clock and a timer may differ by that much
_ASK_SPECS_AGAIN = 30.0  # seconds, when a kernel's name is not among those that are known


@dataclass
class Answer:
    """What one server answered: its kernels, and how it went."""

    report: ServerReport
    kernels: list[Kernel] = field(default_factory=list)
    #: the server's own time when it answered, None where it does not say
    clock: datetime | None = None


def ask_all(
    servers: Sequence[Server],
    vault: Vault,
    until: Deadline,
    seconds: float,
    skip: Mapping[Origin, str] = MappingProxyType({}),
) -> list[list[Answer]]:
    """Ask every server for its kernels, until `until` has passed; return the answers of each, in order.

    A server has one answer; a hub has one for each server of its user. Those in `skip` are not asked: the text there
    is reported as their problem. `seconds` is the time that a silent server is said to have had.
    """
    answers: queue.SimpleQueue[tuple[int, list[Answer]]] = queue.SimpleQueue()
    start = time.monotonic()

    def run(number: int, server: Server) -> None:
        answers.put((number, _ask_in_time(server, vault, until, seconds, skip)))

    found: dict[int, list[Answer]] = {}
    for number, server in enumerate(servers):
        if server.origin in skip:
            found[number] = [Answer(ServerReport(server, problem=skip[server.origin]))]
            continue
        threading.Thread(target=run, args=(number, server), daemon=True, name="kernel-bridge-ask").start()
    while len(found) < len(servers):
        try:
            # A little longer than the threads have: they know better why there is no answer.
            number, answer = answers.get(timeout=until.left + 0.1)
        except queue.Empty:
            break
        found[number] = answer
    why, remedy = no_answer(seconds)
    return [
        found.get(n) or [Answer(ServerReport(server, 0, why, remedy, time.monotonic() - start, late=True))]
        for n, server in enumerate(servers)
    ]


def _ask_in_time(
    server: Server, vault: Vault, until: Deadline, seconds: float, skip: Mapping[Origin, str]
) -> list[Answer]:
    """Return the answers of a server, or one that says what is wrong; mark those that the end of the time cut short."""
    try:
        answers = _ask(server, vault, until, seconds, skip)
    except Exception:
        # Whatever a server sends, it must not end a listing (B44).
        answers = [Answer(ServerReport(server, problem="its answer cannot be understood"))]
    if until.left <= _SLACK:
        for one in answers:
            if one.report.problem and one.report.server is server:  # of a hub's servers each has its own time
                one.report = replace(one.report, late=True)
    return answers


def _ask(server: Server, vault: Vault, until: Deadline, seconds: float, skip: Mapping[Origin, str]) -> list[Answer]:
    start = time.monotonic()
    if server.source != "runtime":
        is_named = False
        try:
            problem, remedy = other_user(server, vault, seconds, until)
        except KernelBridgeError as error:
            problem, remedy = error.problem, error.remedy
            is_named = isinstance(error, ServerError) and error.is_named
        if problem:
            return [Answer(ServerReport(server, 0, problem, remedy, time.monotonic() - start, is_named=is_named))]
    answer = _ask_one(server, vault, until, seconds)
    if server.source != "runtime" and answer.report.problem and not answer.kernels and server.hub is None:
        running, others = servers_of(server, vault, seconds, until)
        if running or others:
            asked = ask_all(running, vault, until, seconds, skip)
            return [*(one for answers in asked for one in answers), *map(Answer, others)]
    return [answer]


def _ask_one(server: Server, vault: Vault, until: Deadline, seconds: float) -> Answer:
    start = time.monotonic()
    problem = remedy = ""
    misplaced = is_named = False
    models: list[dict[str, Any]] = []
    sessions: list[dict[str, Any]] = []
    clock: datetime | None = None
    with ServerAPI(server, vault, seconds, until=until) as api:
        try:
            models = api.kernels()
            clock = api.clock
        except KernelBridgeError as error:
            problem, remedy = error.problem, error.remedy
            status = 0
            if isinstance(error, ServerError):
                misplaced, is_named = error.cause in (Cause.NO_SERVER, Cause.NOBODY), error.is_named
                status = error.status
            if status == 403 and _is_gateway_without_list(api):
                problem, remedy = "it does not list its kernels", LIST_KERNELS
            elif isinstance(error, AuthRefused | ServerUnreachable):
                seconds = time.monotonic() - start
                return Answer(ServerReport(server, 0, problem, remedy, seconds, misplaced, is_named=is_named))
        try:
            sessions = api.sessions()
        except KernelBridgeError as error:
            if not problem:
                problem, remedy = f"its notebooks are not known ({error.problem})", error.remedy
        kernels = join(server, models, sessions)
        specs = _specs(api, {kernel.name for kernel in kernels})
    kernels = [replace(kernel, spec=specs.get(kernel.name, KernelSpec(kernel.name))) for kernel in kernels]
    report = ServerReport(server, len(kernels), problem, remedy, time.monotonic() - start, misplaced)
    return Answer(report, kernels, clock)


LIST_KERNELS = (
    "name a kernel by its whole id, or start the gateway with --JupyterWebsocketPersonality.list_kernels=True "
    "(Enterprise Gateway: --EnterpriseGatewayApp.list_kernels=True)"
)


def _is_gateway_without_list(api: ServerAPI) -> bool:
    """Return whether only listing is refused: a gateway with list_kernels off answers 403 to that question alone."""
    try:
        api.kernelspecs()
    except KernelBridgeError:
        return False
    return True


def join(server: Server, models: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]]) -> list[Kernel]:
    """Return the kernels of `GET /api/kernels` and `GET /api/sessions`, each id once, with all its sessions.

    A session's kernel counts though it is not in the list: gateways may list none (FACTS.md#odd-servers). Items
    without an id are left out, and so are ids that occur again.
    """
    found: dict[str, Kernel] = {}
    owned: dict[str, list[Session]] = {}
    inner = [(item.get("kernel"), item) for item in sessions]
    for model in (*models, *(kernel for kernel, _ in inner)):
        try:
            if isinstance(model, Mapping) and model.get("id") not in found:
                kernel = Kernel.from_json(model, server=server)
                found[kernel.id] = kernel
        except (ValueError, TypeError):  # no id, or one of a type that cannot be looked up
            continue
    for model, item in inner:
        kernel_id = model.get("id") if isinstance(model, Mapping) else None
        if isinstance(kernel_id, str):
            owned.setdefault(kernel_id, []).append(Session.from_json(item))
    return [
        replace(kernel, sessions=tuple(dict.fromkeys(owned[kernel.id]))) if kernel.id in owned else kernel
        for kernel in found.values()
    ]


def _specs(api: ServerAPI, names: set[str]) -> dict[str, KernelSpec]:
    """Return the server's kernelspecs, from memory if it has these names; {} if the server does not say."""
    origin, now = api.server.origin, time.monotonic()
    when, known = _SPECS.get(origin, (-_SPECS_SECONDS, {}))
    fresh = _ASK_SPECS_AGAIN if names - known.keys() else _SPECS_SECONDS
    if not names or now - when < fresh:
        return known
    with contextlib.suppress(KernelBridgeError):  # display names are not worth a failure
        known = api.kernelspecs()
    if len(_SPECS) >= _MOST_SERVERS:
        _SPECS.clear()
    _SPECS[origin] = now, known
    return known
