"""One secret per source, one failure after another; then the secrets are looked for everywhere (G15).

The failures happen in a shell with `%xmode Verbose`, everything logged at DEBUG, `websocket.enableTrace(True)` and
`http.client`'s debugging on, a `.netrc` with a default entry, and proxies in the environment that lead into a trap.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import logging
import os
import pickle
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import trustme
import websocket
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.errors import AuthRefused, KernelBridgeError
from kernel_bridge_magic.ipython import magics
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.raw import RawServer
from tests.support.raw import http as answer
from tests.support.servers import wait_for
from tests.support.shells import private_shell
from tests.support.transports import has_ended

CANARY = re.compile(r"canary-[0-9a-f]{24}")
ID = "0f3c2c1e-1111-4222-8333-444455556666"
KERNEL = {"id": ID, "name": "python3", "execution_state": "idle", "connections": 0}
SESSION = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": KERNEL}
SPECS = {"kernelspecs": {"python3": {"spec": {"display_name": "Python 3", "language": "python"}}}}
HEALTHY = {"kernels": [KERNEL], "sessions": [SESSION], "kernelspecs": SPECS, ID: KERNEL}


def new_canary() -> str:
    return f"canary-{secrets.token_hex(12)}"


# -- the failures

Outcome = Callable[[socket.socket, "Scene"], None]


def gives(status: str, body: bytes = b"", **headers: str) -> Outcome:
    """Answer so; what the server makes up (`CANARY` in a header or in the body) must not be seen either."""

    def act(connection: socket.socket, scene: Scene) -> None:
        made = {name: value.replace("CANARY", scene.theirs) for name, value in headers.items()}
        connection.sendall(answer(status, body.replace(b"CANARY", scene.theirs.encode()), **made))

    return act


def sends(data: bytes) -> Outcome:
    def act(connection: socket.socket, scene: Scene) -> None:
        connection.sendall(data.replace(b"CANARY", scene.theirs.encode()))

    return act


def redirects(status: int, target: str) -> Outcome:
    def act(connection: socket.socket, scene: Scene) -> None:
        location = target.format(trap=scene.trap.port, own=scene.raw.port, theirs=scene.theirs)
        cookie = f"session={scene.theirs}"
        connection.sendall(answer(f"{status} See", b"moved", Location=location, Set_Cookie=cookie))

    return act


def resets(connection: socket.socket, scene: Scene) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


TARGETS = {
    "other host": "http://127.0.0.2:{trap}/api/kernels?token={theirs}",
    "other port": "http://127.0.0.1:{trap}/api/kernels",
    "other scheme": "https://127.0.0.1:{own}/api/kernels",
    "websocket": "ws://127.0.0.1:{trap}/api",
    "same origin": "http://127.0.0.1:{own}/hub/login?next=%2F",
    "relative": "../login?x={theirs}",
    "//evil": "//127.0.0.1:{trap}/api/kernels",
    "userinfo": "http://127.0.0.1:{own}@127.0.0.1:{trap}/{theirs}",
}
COOKIE = "username-127-0-0-1=CANARY; Path=/"
OUTCOMES: dict[str, Outcome] = {
    f"{status} to {name}": redirects(status, target)
    for status in (301, 302, 303, 307, 308)
    for name, target in TARGETS.items()
} | {
    "401": gives("401 Unauthorized", b'{"message": "CANARY"}', Set_Cookie=COOKIE),
    "403": gives("403 Forbidden", b"<html>\x1b[31mCANARY</html>", Set_Cookie=COOKIE, Content_Type="text/html"),
    "404": gives("404 Not Found", b"CANARY", Set_Cookie=COOKIE),
    "405": gives("405 Method Not Allowed", b"CANARY"),
    "407": gives("407 Proxy Authentication Required", b"", Proxy_Authenticate="Basic realm=CANARY"),
    "424": gives("424 Failed Dependency", b'{"message": "CANARY"}', Set_Cookie=COOKIE),
    "500": gives("500 CANARY", b"Traceback CANARY", Set_Cookie=COOKIE),
    "503": gives("503 Service Unavailable", b"CANARY", Retry_After="CANARY"),
    "login page": gives("200 OK", b"<form action='/login?CANARY'>", Set_Cookie=COOKIE, Content_Type="text/html"),
    "web page": gives("200 OK", b"<!doctype html>CANARY", Content_Type="text/html"),
    "no JSON": gives("200 OK", b"CANARY"),
    "other JSON": gives("200 OK", b'{"error": "CANARY"}'),
    "empty": gives("200 OK", b"", Set_Cookie=COOKIE),
    "no answer": sends(b""),
    "reset": resets,
    "no HTTP": sends(b"SSH-2.0-CANARY\r\n"),
    "bad status line": sends(b"HTTP/1.1 CANARY\r\nSet-Cookie: CANARY\r\n\r\n"),
    "bad header": sends(b"HTTP/1.1 200 OK\r\nCANARY\r\n\r\n"),
    "long header": sends(b"HTTP/1.1 200 OK\r\nX: " + b"CANARY" * 2_000 + b"\r\n\r\n"),
    "cut body": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[CANARY"),
    "bad chunk": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nCANARY\r\n"),
    "101 without a key": sends(b"HTTP/1.1 101 CANARY\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    "echo": lambda connection, scene: connection.sendall(answer("400 Bad", scene.raw.requests[-1])),
}


@dataclass
class Scene:
    """One case: where it plays, and what nobody may see."""

    raw: RawServer
    trap: Trap
    directory: Path
    ours: str = field(default_factory=new_canary)
    theirs: str = field(default_factory=new_canary)


class Trap(RawServer):
    """Where nothing may arrive: another port, another host, the proxy."""

    def __init__(self) -> None:
        super().__init__(answer("200 OK", b"[]"))
        self._other = socket.create_server(("127.0.0.2", self.port))
        threading.Thread(target=self._accept_other, daemon=True).start()

    def _accept_other(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._other.accept()
                self._serve(connection)

    def __exit__(self, *exc: object) -> None:
        self._other.close()
        super().__exit__(*exc)


# -- where the secrets come from


def from_file(scene: Scene, stage: Stage) -> Server:
    path = scene.directory / "token"
    path.write_text(scene.ours + "\n")
    path.chmod(0o600)
    stage.run(f"%servers --add http://127.0.0.1:{scene.raw.port}/ --name case --token file:{path}")
    return stage.bridge.registry.servers()[0]


def from_url(scene: Scene, stage: Stage) -> Server:
    # In a variable: what is typed into a cell is in the history before any magic runs.
    url = f"http://127.0.0.1:{scene.raw.port}/lab?token={scene.ours}"
    return stage.bridge.add_server(Entry("case", url, trust=True))


def from_asking(scene: Scene, stage: Stage) -> Server:
    where = f"http://127.0.0.1:{scene.raw.port}/"
    return stage.bridge.add_server(Entry("case", where, token="ask"), ask=lambda kind: scene.ours)


def from_runtime_file(scene: Scene, stage: Stage) -> Server:
    info = {"pid": os.getpid(), "port": scene.raw.port, "token": scene.ours, "base_url": "/", "secure": False}
    path = stage.runtime / f"jpserver-{os.getpid()}.json"
    path.write_text(json.dumps(info))
    path.chmod(0o600)
    (report,) = stage.bridge.search.look(f"localhost:{scene.raw.port}").servers
    return report.server


def from_login(scene: Scene, stage: Stage) -> Server:
    server = from_file(scene, stage)
    stage.bridge.vault.forget(server.origin)
    stage.bridge.vault.put_cookies(server.origin, {"username-127": scene.ours, "_xsrf": scene.ours})
    return server


SOURCES = {
    "file": from_file,
    "url": from_url,
    "ask": from_asking,
    "runtime": from_runtime_file,
    "cookie": from_login,
}


# Every failure with the two sources that differ most on the wire, and the others in turn.
CASES = [
    (outcome, source)
    for number, outcome in enumerate(OUTCOMES)
    for source in ("file", "cookie", ("url", "ask", "runtime")[number % 3], ("ask", "runtime", "url")[number // 3 % 3])
]
CASES = list(dict.fromkeys(CASES))


def each_fifth(cases: list[Any], first: int = 0) -> list[Any]:
    """Leave all but each fifth case to the long runs: together the tests have each outcome and each source."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if number % 5 == first else LONG)
        for number, case in enumerate(cases)
    ]


LONG = (pytest.mark.long,)


# -- where they are looked for


def frames_of(error: BaseException | None) -> Iterator[str]:
    """What `%xmode Verbose` could show of an error and of all it carries along, and more: every local variable."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo += [one.__cause__, one.__context__]
        yield f"{one!r} {one} {one.args!r} {vars(one)!r}"
        trace: TracebackType | None = one.__traceback__
        while trace is not None:
            # Not ours, and not the shell's: they hold all names of the user, which are looked at by themselves.
            if not trace.tb_frame.f_globals.get("__name__", "").startswith(("tests.", "IPython.")):
                for value in trace.tb_frame.f_locals.values():
                    yield repr(value)
            trace = trace.tb_next


class Stage:
    """A shell in which everything that can be said is said, and all of it is kept."""

    def __init__(self, shell: InteractiveShell, runtime: Path, log: io.StringIO) -> None:
        self.shell = shell
        self.runtime = runtime
        self.log = log
        self.printed = io.StringIO()
        self.error: BaseException | None = None
        self.run("%load_ext kernel_bridge_magic")
        self.run("%xmode Verbose")

    @property
    def magics(self) -> magics.BridgeMagics:
        found = getattr(self.shell, magics._ATTRIBUTE)
        assert isinstance(found, magics.BridgeMagics)
        return found

    @property
    def bridge(self) -> Bridge:
        return self.magics.bridge

    def run(self, cell: str) -> None:
        with contextlib.redirect_stdout(self.printed), contextlib.redirect_stderr(self.printed):
            outcome = self.shell.run_cell(cell, store_history=True)
        self.error = outcome.error_in_exec or outcome.error_before_exec

    def places(self, *values: object) -> dict[str, str]:
        """All that may be seen since the last call."""
        shell = self.shell
        found = {
            "printed": self.printed.getvalue(),
            "log": self.log.getvalue(),
            "In": repr(shell.user_ns["In"][-4:]),
            "Out": repr(shell.user_ns["Out"]),
            "names": repr({k: v for k, v in shell.user_ns.items() if k not in ("In", "_ih", "Out", "_oh", "act")}),
            "error": "\n".join(frames_of(self.error)),
            "last": "\n".join(frames_of(getattr(sys, "last_value", None))),
            "bridge": f"{vars(self.bridge)!r} {vars(self.bridge.vault)!r} {self.bridge!r}",
        }
        for number, value in enumerate((self.error, *values)):
            found[f"repr {number}"] = f"{value!r} {value}"
            with contextlib.suppress(TypeError):
                found[f"vars {number}"] = repr(vars(value))
            with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
                found[f"pickle {number}"] = repr(pickle.dumps(value))
        # Looked at once: what is kept would be looked at again after each case.
        shell.user_ns["Out"].clear()
        for name in [name for name in shell.user_ns if re.fullmatch(r"_i?\d+|_{1,3}", name)]:
            shell.user_ns[name] = ""
        for buffer in (self.printed, self.log):
            buffer.seek(0)
            buffer.truncate()
        return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("stage")
    runtime = directory / "runtime"
    runtime.mkdir(mode=0o700)
    netrc = directory / ".netrc"
    netrc.write_text(f"default login somebody password {new_canary()}\n")
    netrc.chmod(0o600)
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    level = logging.root.level
    with pytest.MonkeyPatch.context() as patch, private_shell(directory, keeps_history=True) as shell:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        patch.setenv("HOME", str(directory))
        patch.setenv("NETRC", str(netrc))
        patch.setattr(http.client.HTTPConnection, "debuglevel", 1)
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.DEBUG)
        websocket.enableTrace(True, handler=handler)
        try:
            yield Stage(shell, runtime, log)
        finally:
            websocket.enableTrace(False, handler=handler)
            logging.getLogger("websocket").removeHandler(handler)
            logging.root.removeHandler(handler)
            logging.root.setLevel(level)
            with contextlib.redirect_stdout(io.StringIO()):
                shell.run_line_magic("unload_ext", "kernel_bridge_magic")


@pytest.fixture(scope="module")
def trap(stage: Stage) -> Iterator[Trap]:
    with Trap() as trap, pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy"):
            patch.setenv(name, f"http://127.0.0.1:{trap.port}")
            patch.setenv(name.upper(), f"http://127.0.0.1:{trap.port}")
        for name in ("no_proxy", "NO_PROXY"):
            patch.delenv(name, raising=False)
        yield trap


@pytest.fixture
def play(stage: Stage, trap: Trap, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    with contextlib.ExitStack() as stack:

        def play(outcome: Outcome, source: str, transport_name: str) -> Scene:
            def script(connection: socket.socket, request: bytes) -> None:
                path = request.split(b" ")[1].decode().partition("?")[0].rsplit("/", 1)[-1]
                if healthy.is_set() or (transport_name == "ws" and path != "channels"):
                    connection.sendall(answer(body=json.dumps(HEALTHY.get(path, [])).encode()))
                else:
                    outcome(connection, scene)

            healthy = threading.Event()
            healthy.set()
            raw = stack.enter_context(RawServer(script))
            scene = Scene(raw, trap, tmp_path)
            server = SOURCES[source](scene, stage)
            healthy.clear()
            stage.shell.user_ns["act"] = lambda: ServerAPI(server, stage.bridge.vault).kernels()
            return scene

        yield play
    for server in stage.bridge.registry.servers():
        stage.bridge.remove_server(server.name)
    for file in stage.runtime.iterdir():
        file.unlink()


def look_for_leaks(stage: Stage, scene: Scene, *values: object) -> None:
    places = stage.places(*values)
    assert not [(place, CANARY.findall(text)) for place, text in places.items() if CANARY.search(text)]
    assert scene.trap.requests == []
    # Told to its own server, in headers, as it was to be: a secret that was never used proves nothing.
    assert any(scene.ours.encode() in request for request in scene.raw.requests)
    assert not any(CANARY.search(request.split(b"\r\n")[0].decode("latin-1")) for request in scene.raw.requests)


@pytest.mark.parametrize(("outcome", "source"), each_fifth(CASES))
def test_rest(stage: Stage, play: Callable[..., Scene], outcome: str, source: str) -> None:
    scene = play(OUTCOMES[outcome], source, "rest")
    name = f"localhost:{scene.raw.port}" if source == "runtime" else "case"
    stage.run(f"found = %kernels -s {name}")
    assert stage.error is None
    (report,) = stage.shell.user_ns["found"].servers
    assert report.problem
    stage.run("found")
    stage.run("act()")
    assert isinstance(stage.error, KernelBridgeError)
    look_for_leaks(stage, scene, report, stage.shell.user_ns["found"], report.server)


@pytest.mark.parametrize(("outcome", "source"), each_fifth(CASES, 2))
def test_websocket(stage: Stage, play: Callable[..., Scene], outcome: str, source: str) -> None:
    scene = play(OUTCOMES[outcome], source, "ws")
    stage.run(f"%%remote --transport ws {ID}\n1 + 1")
    assert isinstance(stage.error, KernelBridgeError)
    assert any(b"/channels" in request.split(b"\r\n")[0] for request in scene.raw.requests)
    look_for_leaks(stage, scene)


@pytest.mark.parametrize("transport_name", ["rest", "ws"])
@pytest.mark.parametrize("outcome", ["401", "403", "302 to other host", "500", "bad status line", "echo", "cut body"])
def test_verbose_tracebacks_of_the_users_own_errors(
    stage: Stage, play: Callable[..., Scene], outcome: str, transport_name: str
) -> None:
    scene = play(OUTCOMES[outcome], "file", transport_name)
    call = "act()" if transport_name == "rest" else f"get_ipython().run_cell_magic('remote', '{ID}', '1')"
    stage.run(f"try:\n    {call}\nexcept Exception as problem:\n    raise RuntimeError('mine') from problem")
    assert isinstance(stage.error, RuntimeError)
    assert isinstance(stage.error.__cause__, KernelBridgeError)
    assert "RuntimeError" in stage.printed.getvalue() and "fail" not in str(stage.error)
    look_for_leaks(stage, scene)


@pytest.mark.parametrize("outcome", each_fifth([name for name in OUTCOMES if name != "404"]))
def test_logging_in(stage: Stage, play: Callable[..., Scene], outcome: str) -> None:
    scene = play(OUTCOMES[outcome], "file", "rest")
    (server,) = stage.bridge.registry.servers()
    stage.bridge.vault.forget(server.origin)
    password = Secret(scene.ours)
    # The form is served, and what the password is answered with is the failure.
    first = itertools.count()
    fail = OUTCOMES[outcome]

    def script(connection: socket.socket, request: bytes) -> None:
        if next(first) == 0:
            connection.sendall(
                answer(
                    body=b'<form><input type="password" name="password">', Set_Cookie=f"_xsrf={scene.theirs}; Path=/"
                )
            )
        else:
            while scene.ours.encode() not in request and (more := connection.recv(4096)):
                request += more
                scene.raw.requests[-1] = request
            fail(connection, scene)

    scene.raw.script = script
    stage.shell.user_ns["act"] = lambda: stage.bridge.log_in(server, password)
    stage.run("act()")
    # A redirect and a cookie are how a right password is answered.
    assert stage.error is None if " to " in outcome and outcome[:3] in ("301", "302", "303") else stage.error
    look_for_leaks(stage, scene, password)


@pytest.mark.alone
@pytest.mark.parametrize("transport_name", ["rest", "ws"])
@pytest.mark.parametrize("how", ["silent", "drips"])
def test_timeouts(stage: Stage, play: Callable[..., Scene], how: str, transport_name: str) -> None:
    def outcome(connection: socket.socket, scene: Scene) -> None:
        while not scene.raw.closing.wait(0.05):
            connection.sendall(b"" if how == "silent" else b"H")

    scene = play(outcome, "file", transport_name)
    (server,) = stage.bridge.registry.servers()
    vault = stage.bridge.vault
    transport = WebSocketTransport(Kernel(ID, server=server), server, vault)
    acts: dict[str, Callable[[], object]] = {
        "rest": ServerAPI(server, vault, 0.3).kernels,
        "ws": lambda: transport.open(0.3),
    }
    stage.shell.user_ns["act"] = acts[transport_name]
    began = time.monotonic()
    stage.run("act()")
    assert time.monotonic() - began < 2.0
    assert isinstance(stage.error, KernelBridgeError)
    if transport_name == "ws":
        wait_for(lambda: has_ended(transport), "the end of a dripped handshake with its connection", 5)
    look_for_leaks(stage, scene, transport)


# -- TLS


class Encrypted:
    """A server with a certificate, that keeps what it is told after the handshake."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.told: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self.listener.accept()
                plain.settimeout(5)
                with plain, contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as sock:
                    self.told.append(sock.recv(65536))


AUTHORITY, OTHER = trustme.CA(), trustme.CA()
PAST = datetime.now(UTC) - timedelta(days=30)
CERTIFICATES = {
    "unknown authority": OTHER.issue_cert("127.0.0.1"),
    "other name": AUTHORITY.issue_cert("elsewhere.example"),
    "expired": AUTHORITY.issue_cert("127.0.0.1", not_after=PAST),
}


@pytest.mark.parametrize("transport_name", ["rest", "ws"])
@pytest.mark.parametrize("how", [*CERTIFICATES, "no TLS", "ca file"])
def test_tls(stage: Stage, trap: Trap, tmp_path: Path, how: str, transport_name: str) -> None:
    ours = new_canary()
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca"))
    ca_file = str(tmp_path / "ca") if how != "ca file" else str(tmp_path / "missing")
    with contextlib.ExitStack() as stack:
        there: Any = Encrypted(CERTIFICATES[how]) if how in CERTIFICATES else stack.enter_context(RawServer(answer()))
        server = replace(
            stage.bridge.add_server(Entry("tls", f"https://127.0.0.1:{there.port}/?token={ours}")), ca_file=ca_file
        )
        vault = stage.bridge.vault
        acts: dict[str, Callable[[], object]] = {
            "rest": ServerAPI(server, vault).kernels,
            "ws": lambda: WebSocketTransport(Kernel(ID, server=server), server, vault).open(5),
        }
        stage.shell.user_ns["act"] = acts[transport_name]
        stage.run("act()")
        stage.bridge.remove_server("tls")
        assert isinstance(stage.error, KernelBridgeError)
        places = stage.places(server)
        assert not [place for place, text in places.items() if CANARY.search(text)]
        assert ours.encode() not in b"".join(getattr(there, "told", []) + getattr(there, "requests", []))
        assert trap.requests == []
        if isinstance(there, Encrypted):
            there.listener.close()


# -- cookies of others


def test_a_cookie_goes_back_to_nobody(stage: Stage, play: Callable[..., Scene]) -> None:
    from websocket._handshake import CookieJar

    scene = play(gives("403 Forbidden", b"", Set_Cookie="stolen=CANARY; Domain=127.0.0.1; Path=/"), "file", "ws")
    for _ in range(20):
        stage.run(f"%%remote --transport ws {ID}\n1")
    assert not any(scene.theirs.encode() in request for request in scene.raw.requests)
    assert CookieJar.jar == {}
    look_for_leaks(stage, scene)


def test_ten_thousand_pairs_of_urls_share_no_secret() -> None:
    import random

    from kernel_bridge_magic.access.urls import parse_base_url
    from kernel_bridge_magic.errors import BadServer

    pick = random.Random(7)
    hosts = ["a.example", "A.example", "a.example.", "b.example", "127.0.0.1", "127.1", "[::1]", "localhost", "xn--a",
             "a.example@b.example", "a.example\\@b", "a.example%2fb", "a.example%0a", "a.example:80"]  # fmt: skip
    paths = ["", "/", "//", "/lab", "/user/ann/", "/user/ann%2F", "/user/ann/../bob/", "/user/bob", "/%75ser/ann/"]

    def url() -> str:
        port = pick.choice(["", ":80", ":443", ":8888", ":08888", ":0"])
        return pick.choice(["http://", "https://", "HTTP://"]) + pick.choice(hosts) + port + pick.choice(paths)

    used = 0
    for _ in range(10_000):
        try:
            one, two = parse_base_url(url()), parse_base_url(url())
        except BadServer:
            continue
        used += 1
        vault = Vault()
        secret = new_canary()
        vault.put(one.origin, Secret(secret))
        sent = secret in "".join(vault.headers(two.origin).values())
        assert sent == (one.origin == two.origin) == (one.url == two.url)
    assert used > 1000


# -- at the end of all of them


def test_nothing_is_left_anywhere(stage: Stage, trap: Trap) -> None:
    stage.run("%history -g -n")
    manager = stage.shell.history_manager
    assert manager is not None
    manager.writeout_cache()
    manager.db.commit()
    places = stage.places()
    assert len(places["printed"].splitlines()) > 300, "the history is there"
    database = Path(manager.hist_file)
    assert database.stat().st_size > 0
    places |= {str(file): file.read_bytes().decode("latin-1") for file in database.parent.rglob("*") if file.is_file()}
    places["arguments"] = Path("/proc/self/cmdline").read_text() if os.path.exists("/proc/self/cmdline") else ""
    places["environment"] = repr(os.environ)
    child = [sys.executable, "-S", "-c", "import os, sys; print(os.environ, sys.argv)"]
    places["child"] = subprocess.run(child, capture_output=True, text=True, check=True).stdout
    assert not [place for place, text in places.items() if CANARY.search(text)]
    assert trap.requests == []


def test_the_search_finds_what_it_looks_for(stage: Stage) -> None:
    """A search that finds nothing proves nothing: each place, with a secret in it."""
    secret = new_canary()

    def fail() -> None:
        try:
            raise KeyError(secret)
        except KeyError:
            raise AuthRefused("lab", "no") from None

    stage.shell.user_ns["act"] = fail
    stage.run(f"import logging; logging.debug('{secret}'); act()")
    found = {place for place, text in stage.places(Server(secret, "", None)).items() if secret in text}  # type: ignore[arg-type]
    assert {"printed", "log", "In", "error", "repr 1", "vars 1", "pickle 1"} <= found | {"printed"}
    stage.shell.user_ns["In"][-1] = ""
    stage.places()
