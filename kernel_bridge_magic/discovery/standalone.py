"""Kernels that no server tells of, and this one: connection files, what started them, what disk knows of their spec."""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.files import read_object
from kernel_bridge_magic.discovery.heartbeat import Endpoint
from kernel_bridge_magic.discovery.runtime_files import FileContent, Refused, number, text
from kernel_bridge_magic.models import Kernel, KernelSpec, Session
from kernel_bridge_magic.reports import Skipped

_SPEC_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")

#: What a kernel's parent's command line holds, and what people call that. The first that is found counts.
_STARTERS = (
    (re.compile(r"\bspyder"), "spyder"),
    (re.compile(r"qtconsole"), "qtconsole"),
    (re.compile(r"\bjupyter[-_ ]console"), "jupyter console"),
    (re.compile(r"vscode|ms-python|ms-toolsai|\bcode-server|\bcode\b"), "VS Code"),
    (re.compile(r"\bjupyter[-_ ]kernel(?![\w-])|jupyter_client\.kernelapp"), "jupyter kernel"),
    (re.compile(r"\bjupyter[-_ ]?(lab|server|notebook)|jupyterhub-singleuser"), "jupyter server"),
    (re.compile(r"papermill"), "papermill"),
    (re.compile(r"\bjupyter[-_ ](nbconvert|execute|run)"), "jupyter nbconvert"),
)


class _Process(NamedTuple):
    pid: int
    started_by: str
    language: str


#: A connection file (path, mtime) and the process that was found to listen: looking for it costs 10-100 ms.
_PROCESSES: dict[tuple[str, float], _Process] = {}
_MOST_PROCESSES = 1000


def file_kernel_id(path: str) -> str:
    """Return the id in a connection file's name, `kernel-<id>.json`. Behind a server it is the REST id."""
    return os.path.basename(path).removeprefix("kernel-").removesuffix(".json")


def own_connection_file() -> str:
    """Return the absolute path of the connection file of the ipykernel that runs this code; "" outside of one."""
    module: Any = sys.modules.get("ipykernel.kernelapp")  # nothing is imported: a kernel has imported what it needs
    application = getattr(module, "IPKernelApp", None)
    if application is None or not application.initialized():
        return ""
    # ipykernel.connect.get_connection_file() does the same, after an import of 0.3 s outside a kernel.
    path = getattr(application.instance(), "abs_connection_file", "")
    return os.path.abspath(path) if isinstance(path, str) and path else ""


def own_kernel_id() -> str:
    """Return the id of the kernel that runs this code, as `file_kernel_id`; "" outside of one."""
    return file_kernel_id(own_connection_file())


def endpoints(files: Sequence[FileContent]) -> tuple[dict[str, Endpoint], list[Skipped]]:
    """Read connection files: where each kernel listens, by path, and which files cannot be used."""
    found, skipped = {}, []
    for file in files:
        try:
            found[file.path] = endpoint(file)
        except Refused as error:
            skipped.append(Skipped(file.path, str(error)))
    return found, skipped


def endpoint_at(path: str) -> Endpoint | None:
    """Read the connection file at `path`, which a listing has trusted already; None if it cannot be used any more."""
    try:
        return endpoint(FileContent(path, read_object(path), 0.0))
    except (OSError, ValueError):
        return None


def endpoint(file: FileContent) -> Endpoint:
    """Read one connection file; raises `Refused` if it cannot be used."""
    data = file.data
    shell, _, _, _, heartbeat = (number(data, name, 65535) for name in _PORTS)
    public, secret = text(data, "curve_publickey"), text(data, "curve_secretkey")
    if bool(public) != bool(secret):
        raise Refused("it has only one of the two curve keys")
    if not text(data, "key"):
        raise Refused("it has no key, so its messages would not be signed")
    transport, ip = text(data, "transport") or "tcp", text(data, "ip")
    if transport == "ipc":
        if "\0" in ip:  # the system's calls read a path up to there: another socket would be asked
            raise Refused("its socket's path has a NUL character")
        ip = peers.unix_address(os.path.dirname(file.path), ip, f"-{shell}")
    elif transport == "tcp":
        ip = _address(ip, bool(public))
    else:
        raise Refused(f"its transport {transport[:20]!r} is neither tcp nor ipc")
    return Endpoint(file.path, transport, ip, shell, heartbeat, public, secret)


def _address(ip: str, encrypted: bool) -> str:
    """Return the address to dial: one of this machine, and beyond loopback only where traffic is encrypted."""
    if ip in ("", "localhost"):
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address("0.0.0.0" if ip == "*" else ip)
    except ValueError:
        raise Refused("its ip is not an address") from None
    if address.is_loopback:
        return str(address)
    if not encrypted:
        raise Refused(f"its kernel listens beyond this machine ({address}) without encryption")
    if address.is_unspecified:
        return peers.LOOPBACK[str(address)]
    import psutil

    if str(address) not in {item.address for items in psutil.net_if_addrs().values() for item in items}:
        raise Refused(f"its kernel is on another machine ({address})")
    return str(address)


def standalone_kernel(file: FileContent, where: Endpoint, own_file: str = "") -> Kernel:
    """Return the kernel of a connection file whose heartbeat answers.

    Raises:
        Refused: who listens there is no process of this user.
    """
    process = _process(file, where)
    # A file may be a copy of ours.
    own = process.pid == os.getpid() or (bool(own_file) and os.path.realpath(own_file) == os.path.realpath(file.path))
    name, path = _quiet(file.data, "kernel_name"), _quiet(file.data, "jupyter_session")
    spec = kernelspec_on_disk(name)
    if not spec.language and process.language:
        spec = KernelSpec(name, spec.display_name or "Python (ipykernel)", process.language)
    sessions = (Session(path, path.rsplit("/", 1)[-1]),) if path else ()
    return Kernel(
        file_kernel_id(file.path),
        name,
        spec,
        "alive",
        sessions=sessions,
        connection_file=file.path,
        started_by=process.started_by,
        is_this_kernel=own,
    )


def _quiet(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _process(file: FileContent, where: Endpoint) -> _Process:
    key = file.path, file.mtime
    known = _PROCESSES.get(key)
    if known is not None and _still_listens(known.pid, where):
        return known
    if where.transport == "tcp":
        pid = _pid_by_port(file, where)
    else:
        pid = peers.unix_listener(where.shell_socket) or _pid_by_command(file.path)
    if pid is None and where.curve_public:
        # Who answers has proven to hold the file's key; a container's process may be hidden from us.
        return _Process(0, "", "")
    if pid is None or not peers.is_ours(pid):
        raise Refused(f"what listens on its {'socket' if where.transport == 'ipc' else 'port'} is no process of ours")
    found = _describe(pid, file.path)
    if len(_PROCESSES) >= _MOST_PROCESSES:
        _PROCESSES.clear()
    _PROCESSES[key] = found
    return found


def _still_listens(pid: int, where: Endpoint) -> bool:
    if where.transport == "ipc":
        return peers.is_ours(pid) and peers.unix_listener(where.shell_socket) in (pid, None)
    return peers.is_ours(pid) and bool(peers.listening_addresses(pid, where.shell_port))


def _pid_by_port(file: FileContent, where: Endpoint) -> int | None:
    stem = file_kernel_id(file.path)  # `kernel-<pid>.json`, where nobody else named the file
    if stem.isascii() and stem.isdigit() and _still_listens(int(stem), where):
        return int(stem)
    return peers.listening_pids([where.shell_port]).get(where.shell_port)


def _pid_by_command(path: str) -> int | None:
    """Find the kernel that was started with this connection file, where a socket does not name its pid."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        # The parent may name the file too (`jupyter console --existing`): a kernel takes it as `-f` or `--f=`.
        words = process.info["cmdline"] or ()
        if f"--f={path}" in words or any(a == "-f" and b == path for a, b in itertools.pairwise(words)):
            return int(process.pid)
    return None


def _describe(pid: int, path: str) -> _Process:
    import psutil

    command, parent_command = "", ""
    try:
        process = psutil.Process(pid)
        command = _command(process)
        parent = process.parent()
        parent_command = _command(parent) if parent is not None else ""
    except psutil.Error:
        pass
    language = "python" if "ipykernel" in command or "ipython" in command else ""
    return _Process(pid, starter(command, parent_command, path) or f"{_program(command)} (pid {pid})", language)


def _command(process: Any) -> str:
    return " ".join(os.path.basename(word) for word in process.cmdline()[:20])[:2000]


def _program(command: str) -> str:
    return re.sub(r"[\d.]+$", "", command.split(" ", 1)[0]) or "kernel"


def starter(command: str, parent_command: str, path: str = "") -> str:
    """Return what started a kernel, by its command line and its parent's; "" if that is not known."""
    if os.path.basename(path).startswith("kernel-v3"):
        return "VS Code"
    for where in (command, parent_command):
        # The kernel's own command line counts for Spyder's kernels alone: all others run the same launcher.
        candidates = _STARTERS[:1] if where is command else _STARTERS
        for pattern, name in candidates:
            if pattern.search(where):
                return name
    return "ipython kernel" if re.search(r"\bipython3?\b.* kernel\b", command) else ""


def kernelspec_on_disk(name: str) -> KernelSpec:
    """Read `kernels/<name>/kernel.json` of this machine; an unknown name gives a spec with that name alone."""
    if not _SPEC_NAME.fullmatch(name) or name in (".", ".."):
        return KernelSpec(name)
    from jupyter_core.paths import jupyter_path

    for directory in jupyter_path("kernels"):
        try:
            return KernelSpec.from_json(name, read_object(os.path.join(directory, name, "kernel.json")))
        except (OSError, ValueError):
            continue
    return KernelSpec(name)
