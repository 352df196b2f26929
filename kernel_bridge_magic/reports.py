"""What looking around and checking brought to light: frozen values about kernels, servers and files. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from kernel_bridge_magic.models import Kernel, Server


@dataclass(frozen=True)
class Listing:
    """Everything that one look around found: each kernel once, each server once, each file that was skipped.

    `notes` are lines about parts of the user's own configuration that could not be used. `claims` are kernels that
    sandboxed servers list under ids of this user's kernels: only `SERVER::MATCH` means them. `when` is the time at
    which the look began, on the monotonic clock. `copies` has connection files that were named and are a kernel's
    second one, each with what means that kernel: the path of its own file, or its id.
    """

    kernels: tuple[Kernel, ...] = ()
    servers: tuple[ServerReport, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    claims: tuple[Kernel, ...] = ()
    when: float = 0.0
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerReport:
    """What one server answered: how many kernels, or why none (`problem`) and what to do (`remedy`).

    `seconds` is how long that took. `misplaced` is whether no Jupyter server is there at all, as at a wrong URL;
    `elsewhere` is then the URL of this user's server that listens on that port, if there is one. `late` is whether the
    time was up before it had answered in full. `auth` is how we authenticate: `token`, `password` or `none`.
    `is_named` is whether `problem` names the server itself.
    """

    server: Server
    kernels: int = 0
    problem: str = ""
    remedy: str = ""
    seconds: float = 0.0
    misplaced: bool = False
    elsewhere: str = ""
    late: bool = False
    auth: str = "none"
    is_named: bool = False


@dataclass(frozen=True)
class Skipped:
    """A file that was not used, and one line that says why. The file is left as it is.

    `silent` is whether it is a directory that did not answer, or the file of a kernel that listens but did not answer.
    `stale` is whether its process has ended: killed servers and kernels leave their files for ever.
    """

    path: str
    reason: str
    silent: bool = False
    stale: bool = False


class Usage(NamedTuple):
    """What a kernel's process uses: `memory` in bytes, `cpu` in per cent of one CPU. `started` is local time."""

    pid: int
    memory: int
    cpu: float
    started: datetime


@dataclass(frozen=True)
class Checkup:
    """What came of connecting to one server, step by step."""

    server: Server
    steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(step.ok is not False for step in self.steps)


@dataclass(frozen=True)
class Step:
    """One step of connecting to a server; `ok` is None where it was not tried or does not apply."""

    name: str
    ok: bool | None
    seen: str
    remedy: str = ""
