"""What was found: frozen values, built from a server's JSON or from files. Nothing here does I/O.

`Kernel` is a kernel that was *found*; a `KernelConnection` is one that is *open*. `Session` is the REST
session (a notebook's path and its kernel), never the `session` of a message header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from kernel_bridge_magic.text import cut_end, visible

_KNOWN_BY = {"runtime": "discovered", "config": "configured"}
_RECENTLY = timedelta(minutes=10)
_LONGEST_IN_REPR = 60  # cells of a name
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Origin(NamedTuple):
    """Where a secret belongs: it is sent to this very scheme, host, port and base path, and nowhere else.

    For a server on a unix socket `scheme` is `"unix"`, `host` the socket's path and `port` 0.
    """

    scheme: str
    host: str
    port: int
    base_path: str


@dataclass(frozen=True)
class Server:
    """A Jupyter server: where it is, and how we know of it. It holds no secret: secrets are in the `Vault`.

    `url` is the base URL with a final slash (`http://127.0.0.1:8888/base/`); for a unix socket, which `socket_path`
    names, it is `http+unix://%2Frun%2Fj.sock/base/`. `source` is `"runtime"` for a server found in this user's
    runtime files with that very pid listening, else `"added"`, `"saved"`, `"config"` or `"option"`. `trusted` is
    whether the user said so. `ca_file` is the CA bundle (PEM) for its certificate, "" for the system's.
    `allow_plain_http` allows its secret to cross a network unencrypted. `hub` is the JupyterHub that told of it.
    `strangers` are loopback addresses with its port where another process listens.
    """

    url: str
    name: str
    origin: Origin
    source: str = "added"
    pid: int | None = None
    version: str = ""
    socket_path: str = ""
    trusted: bool = False
    ca_file: str = ""
    allow_plain_http: bool = False
    hub: Server | None = None
    strangers: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def is_yours(self) -> bool:
        """Whether what it sends may act with the user's rights. That it is on loopback proves nothing."""
        return self.source == "runtime" or self.trusted

    @property
    def trust(self) -> str:
        """How its output is shown, in a word: `yours` as it is, `sandboxed` not."""
        return "yours" if self.is_yours else "sandboxed"

    @property
    def known_by(self) -> str:
        """How we know of it, in a word: `discovered`, `added`, `saved`, `configured` or `option`."""
        return _KNOWN_BY.get(self.source, self.source)

    def is_ours_at(self, origin: Origin) -> bool:
        """Return whether a process of this user was seen to listen at `origin`, by whatever name of this machine.

        It is not where another process listens: a tunnel that finds 127.0.0.1 taken is content with ::1.
        """
        if {self.origin.host, origin.host} <= _LOOPBACK_NAMES and origin.host not in self.strangers:
            origin = origin._replace(host=self.origin.host)
        return self.source == "runtime" and origin == self.origin


@dataclass(frozen=True)
class Session:
    """One REST session: a notebook (or console) and the kernel it uses.

    `path` is relative to the server's root, `name` its last part.
    """

    path: str
    name: str
    type: str = "notebook"

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Session:
        """Build it from one item of `GET /api/sessions`.

        Kernel Gateway sends `notebook: {path}` and neither path, name nor type (FACTS.md#odd-servers).
        """
        notebook = model.get("notebook")
        inner = notebook if isinstance(notebook, Mapping) else {}
        path = _text(model.get("path")) or _text(inner.get("path"))
        # JupyterLab names console and some notebook sessions by a uuid path; the name is then the readable one.
        name = _text(model.get("name")) or _text(inner.get("name")) or path.rsplit("/", 1)[-1]
        return cls(path=path, name=name.rsplit("/", 1)[-1], type=_text(model.get("type")) or "notebook")


@dataclass(frozen=True)
class KernelSpec:
    """What a kernel name stands for: `display_name` as menus show it, `language` in lower case."""

    name: str
    display_name: str = ""
    language: str = ""

    @classmethod
    def from_json(cls, name: str, spec: object) -> KernelSpec:
        """Build it from a kernelspec's JSON, as in `kernel.json`; a field that is not text becomes ""."""
        fields = spec if isinstance(spec, Mapping) else {}
        return cls(name, _text(fields.get("display_name")), _text(fields.get("language")).lower())


@dataclass(frozen=True, repr=False)
class Kernel:
    """A kernel that was found. It has no socket, and asking it anything needs a connection.

    `state` is what the server says (`idle`, `busy`, `starting`, `dead`) or `unknown`; it is a hint, never a
    truth to act on (FACTS.md#busy-kernels). `unused` is a kernel that is ready and that nobody has connected to since
    it started, `alive` one without a server whose heartbeat answers: whether it is idle or busy is not known.
    `last_activity` is aware, in UTC. `connections` is the number of WebSocket clients, None without a server.
    `connection_file` is the path of its connection file on this machine, "" when there is none that we may use.
    `is_this_kernel` marks the kernel that runs this code. `claimed` marks what a sandboxed server lists under the id of
    one of the user's own kernels. `outside` marks one that no runtime directory tells of, so that only its connection
    file's path leads to it.
    """

    id: str
    name: str = ""
    spec: KernelSpec = field(default_factory=lambda: KernelSpec(""))
    state: str = "unknown"
    last_activity: datetime | None = None
    connections: int | None = None
    sessions: tuple[Session, ...] = ()
    server: Server | None = None
    connection_file: str = ""
    started_by: str = ""
    is_this_kernel: bool = False
    claimed: bool = False
    outside: bool = False

    @classmethod
    def from_json(cls, model: Mapping[str, Any], **known: Any) -> Kernel:
        """Build it from one item of `GET /api/kernels`, or from the `kernel` part of a session.

        Fields that are missing or of a wrong type become unknown; an item without an id is refused.

        Raises:
            ValueError: there is no id in it.
        """
        kernel_id = model.get("id")
        if not isinstance(kernel_id, str) or not kernel_id:
            raise ValueError("a kernel without an id")
        connections = model.get("connections")
        return cls(
            id=kernel_id,
            name=_text(model.get("name")),
            state=_text(model.get("execution_state")) or "unknown",
            last_activity=parse_time(model.get("last_activity")),
            connections=connections if isinstance(connections, int) else None,
            **known,
        )

    @property
    def short_id(self) -> str:
        """The first 8 characters of the id, as listings show it."""
        return self.id[:8]

    @property
    def place(self) -> Origin | str:
        """The place within which its id is unique: its server's origin, else its connection file."""
        return self.server.origin if self.server else self.connection_file

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of its sessions, in the server's order."""
        return tuple(session.path for session in self.sessions if session.path)

    @property
    def notebook(self) -> Session | None:
        """The session of its first notebook, None where it has none."""
        return next((one for one in self.sessions if one.type == "notebook" and one.path), None)

    @property
    def path(self) -> str:
        """The path of its first session, "" where it has none."""
        return next(iter(self.paths), "")

    @property
    def title(self) -> str:
        """What people call it: its notebook's path, else what started it, else its id."""
        return next(filter(None, map(label, self.sessions)), "") or self.started_by or self.short_id

    @property
    def display_name(self) -> str:
        """The kernelspec's display name, else its name."""
        return self.spec.display_name or self.name

    @property
    def language(self) -> str:
        """The kernelspec's language, "" when it is not known."""
        return self.spec.language

    @property
    def here(self) -> bool:
        """Whether it would end with its server, a process that is seen on this machine; true without a server.

        A URL may lead to a tunnel or a proxy, and a server may stand before a gateway: those end alone.
        """
        return self.server is None or (self.server.source == "runtime" and bool(self.connection_file))

    @property
    def is_yours(self) -> bool:
        """Whether it is the user's own, so that its output may act with their rights (tests/security/THREATS.md)."""
        return self.server.is_yours if self.server else bool(self.connection_file)

    @property
    def own(self) -> bool:
        """The former name of `is_yours`."""
        return self.is_yours

    @property
    def is_own(self) -> bool:
        """The former name of `is_this_kernel`."""
        return self.is_this_kernel

    def __repr__(self) -> str:
        where = self.server.name if self.server else ""
        parts = (self.display_name, self.state, where, self.short_id)
        about = ", ".join(cut_end(visible(part), _LONGEST_IN_REPR) for part in parts if part)
        return f"<Kernel: {cut_end(visible(self.title), _LONGEST_IN_REPR)} ({about})>"


def label(session: Session) -> str:
    """Return what a session is called: a notebook by its path, anything else (a console) by its name."""
    return (session.path if session.type == "notebook" else session.name) or session.name or session.path


def kernelspec_of(notebook: object) -> str:
    """Return the name of the kernelspec that a notebook of nbformat 4 wants, "" if its content does not say."""
    found = notebook
    for key in ("metadata", "kernelspec", "name"):
        found = found.get(key) if isinstance(found, dict) else None
    return _text(found)


def is_uuid(kernel_id: str) -> bool:
    """Return whether nobody can guess this id, so that two sources which name it mean one kernel."""
    return re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", kernel_id) is not None


def parse_time(value: object) -> datetime | None:
    """Return the time of a text in ISO 8601, as servers write it (`2026-01-02T03:04:05.678901Z`); else None."""
    try:
        when = datetime.fromisoformat(value)  # type: ignore[arg-type] # what is no text is no time
    except (TypeError, ValueError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def may_have_unread(kernel: Kernel, now: datetime) -> bool:
    """Return whether the server may keep output for a closed tab, which a new session would throw away (H2).

    `now` is an aware time.
    """
    if kernel.connections != 0 or not kernel.sessions:
        return False
    recent = kernel.last_activity is not None and now - kernel.last_activity < _RECENTLY
    return kernel.state == "busy" or recent
