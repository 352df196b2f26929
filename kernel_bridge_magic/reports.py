"""What looking around and checking brought to light: frozen values about kernels, servers and files. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from kernel_bridge_magic.models import Kernel, Server

__all__ = ["Checkup", "Listing", "ServerReport", "Skipped", "Step", "Usage"]


@dataclass(frozen=True)
class Listing:
    """Everything that one look around gave: each kernel once, each server once, each file skipped.

    `notes` are lines about the user's own configuration, of what in it could not be used. `claims` are what foreign
    servers list under ids of kernels of ours: nothing means them but `SERVER::MATCH`. `when` is when it was begun, by
    the monotonic clock. `copies` says of connection files that were named, and are a second one of a kernel, what
    means that kernel: its own file's path, or its id.
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

    `misplaced` is whether no Jupyter server is there at all, as at a wrong URL; `elsewhere` is then the URL of a server
    of ours that listens on that port, if one does. `late` is whether it had not answered in full when its time was up.
    `auth` is how we say who we are: `token`, `password` or `none`. `is_named` is whether `problem` names the server.
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
    """A file that was not used, and the one line that says why. The file is left as it is.

    `silent` is whether it is a directory that did not answer, or that of a kernel that listens and did not.
    `stale` is one whose process has ended: killed servers and kernels leave theirs for ever.
    """

    path: str
    reason: str
    silent: bool = False
    stale: bool = False


class Usage(NamedTuple):
    """What a kernel's process uses: bytes of memory, per cent of one CPU. `started` is local time."""

    pid: int
    memory: int
    cpu: float
    started: datetime


@dataclass(frozen=True)
class Checkup:
    """The road to one server, step by step."""

    server: Server
    steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(step.ok is not False for step in self.steps)


@dataclass(frozen=True)
class Step:
    """One step on the road to a server; `ok` is None where it was not tried or does not apply."""

    name: str
    ok: bool | None
    seen: str
    remedy: str = ""
