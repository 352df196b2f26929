from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.urls import parse_base_url, servers_named
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.discovery.heartbeat import Heartbeats
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.discovery.runtime_files import FileContent
from kernel_bridge_magic.discovery.standalone import endpoint
from kernel_bridge_magic.models import Kernel, KernelSpec, Server
from kernel_bridge_magic.reports import Listing
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for

UUID = "3f9c1c0e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JupyterServer, JupyterServer, ConsoleKernel]]:
    """Two servers and a kernel without one, which share a runtime directory."""
    base = tmp_path_factory.mktemp("look")
    runtime = base / "runtime"
    # All at once: each takes seconds to import.
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        first = pool.submit(JupyterServer, base / "a", base_url="/a/b%20c/", runtime_dir=runtime)
        second = pool.submit(JupyterServer, base / "b", token="other", runtime_dir=runtime)
        console = pool.submit(ConsoleKernel, runtime)
        servers = stack.enter_context(first.result()), stack.enter_context(second.result())
        yield *servers, stack.enter_context(console.result())


def wait_for_kernel(server: JupyterServer, kernel_id: str) -> None:
    """Wait until a kernel that has just been started answers its heartbeat."""

    def answers() -> bool:
        # Read each time: a kernel whose ports were taken while it started is started again with others.
        content = json.loads(server.connection_file(kernel_id).read_text())
        where = endpoint(FileContent(kernel_id, content, 0.0))
        beats = Heartbeats([where], 0.5)
        beats.wait([where.path], Deadline.after(0.5))
        return not beats.problem(where.path)

    wait_for(answers, "the kernel's heartbeat")


@pytest.fixture(autouse=True)
def directories(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    where = request.getfixturevalue("two")[0].runtime_dir if "two" in request.fixturenames else tmp_path
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(where))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def scripted(kernels: Any = (), sessions: Any = (), specs: Any = None) -> dict[str, bytes]:
    answers = {"kernels": kernels, "sessions": sessions, "kernelspecs": specs or {"kernelspecs": {}}}
    return {
        name: value if isinstance(value, bytes) else http(body=json.dumps(value).encode())
        for name, value in answers.items()
    }


def problems(listing: Listing) -> dict[str, str]:
    return {report.server.name: report.problem for report in listing.servers if report.problem}


def test_everything_once_and_sorted(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    first, second, console = two
    a = first.start_kernel(path="b.ipynb")
    b = first.start_kernel(path="a.ipynb")
    model = {"path": "also.ipynb", "name": "also.ipynb", "type": "notebook", "kernel": {"id": a}}
    first.rest("POST", "api/sessions", model)
    c = second.start_kernel()
    vault = Vault()
    try:
        listing = look([], vault, own_id=b)
        assert problems(listing) == {} and listing.skipped == ()
        by_id = {kernel.id: kernel for kernel in listing.kernels}
        assert by_id.keys() == {a, b, c, "x"} and len(listing.kernels) == 4
        assert set(by_id[a].paths) == {"b.ipynb", "also.ipynb"}
        assert by_id[a].connection_file == str(first.connection_file(a)) and by_id[a].is_yours
        assert by_id[a].display_name == "Python 3 (ipykernel)" and by_id[a].connections == 0
        assert [kernel.id for kernel in listing.kernels if kernel.is_this_kernel] == [b]
        assert by_id["x"].server is None and by_id["x"].connection_file == str(console.connection_file)
        places = [(it.notebook is None, it.server.name if it.server else "~") for it in listing.kernels]
        assert places == sorted(places), "those with no notebook last"
        again = look([], vault, own_id=b)
        assert [kernel.id for kernel in again.kernels] == [kernel.id for kernel in listing.kernels]
        # No WebSocket was opened (H1).
        assert "channels" not in first.log_text() + second.log_text()
    finally:
        for server, kernel_id in ((first, a), (first, b), (second, c)):
            server.delete_kernel(kernel_id)


def test_own_file_is_marked(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    listing = look([], Vault(), own_id="x", own_file=str(two[2].connection_file))
    assert [kernel.id for kernel in listing.kernels if kernel.is_this_kernel] == ["x"]


def test_each_token_goes_to_its_server_alone(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    first, second, _ = two
    vault = Vault()
    origins = {report.server.pid: report.server.origin for report in look([], vault).servers}
    assert vault.headers(origins[first.pid])["Authorization"] == f"token {first.token}"
    assert vault.headers(origins[second.pid])["Authorization"] == f"token {second.token}"


def within(seconds: float, work: Callable[[], Listing]) -> Listing:
    """Do it, up to three times, until it took no longer: a machine that is busy otherwise may be slow once."""
    times = []
    for _ in range(3):
        start = time.monotonic()
        listing = work()
        times.append(round(time.monotonic() - start, 2))
        if times[-1] < seconds:
            return listing
    raise AssertionError(f"took {times} s, not less than {seconds}")


@pytest.mark.alone
def test_fast_when_all_is_well(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    vault = Vault()
    look([], vault)
    times = []
    for _ in range(15):
        start = time.perf_counter()
        look([], vault)
        times.append(time.perf_counter() - start)
    # G23 says 150 ms for p95, which tests/benchmarks measures; here others share the machine.
    assert min(times) < 0.15


def test_a_server_given_by_another_loopback_name_is_the_same(
    two: tuple[JupyterServer, JupyterServer, ConsoleKernel],
) -> None:
    first = two[0]
    url, origin, _ = parse_base_url(first.url.replace("127.0.0.1", "localhost"))
    listing = look([Server(url, "mine", origin)], Vault())
    assert problems(listing) == {} and len(listing.servers) == 2
    [mine] = [report.server for report in listing.servers if report.server.name == "mine"]
    assert mine.pid == first.pid and mine.source == "runtime"


TUNNEL = """
import http.server, json, socket, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = [{"id": "there"}] if self.path == "/api/kernels" else []
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())
with Server(("::1", int(sys.argv[1])), Handler) as server:
    print("listens", flush=True)
    server.serve_forever()
"""


@pytest.mark.parametrize("name", ["[::1]", "[0:0::0:1]"])
def test_another_process_on_a_server_s_port_is_another_server(name: str, tmp_path: Path) -> None:
    # As ssh -L leaves it where 127.0.0.1 was taken.
    with RawServer(scripted([{"id": "here"}])) as raw:
        (tmp_path / "jpserver-1.json").write_text(json.dumps({"pid": os.getpid(), "port": raw.port, "token": "own"}))
        url = f"http://{name}:{raw.port}/"
        given = Server(parse_base_url(url).url, "mine", parse_base_url(url).origin)
        vault = Vault()
        with subprocess.Popen([sys.executable, "-c", TUNNEL, str(raw.port)], stdout=subprocess.PIPE) as tunnel:
            try:
                assert tunnel.stdout is not None and tunnel.stdout.readline() == b"listens\n"
                vault.put(given.origin, Secret("theirs"))
                named = look([given], vault, only=url)
                assert [kernel.id for kernel in named.kernels] == ["there"] and raw.requests == []
                [own] = [report.server for report in look([given], vault).servers if report.server.source == "runtime"]
                assert "theirs" not in str(vault.headers(own.origin)) and servers_named(url, [own]) == []
                assert servers_named(f"http://localhost:{raw.port}/", [own]) == [own]
            finally:
                tunnel.terminate()
        # Nobody else is there now: another name of this machine is the one server that is.
        assert [kernel.id for kernel in look([given], vault, only=url).kernels] == ["here"]


def test_a_password_given_for_another_loopback_name_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with JupyterServer(tmp_path, token="", password="pw") as server:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime_dir))
        url, origin, _ = parse_base_url(server.url.replace("127.0.0.1", "localhost"))
        vault = Vault()
        assert "token or password" in problems(look([Server(url, "mine", origin)], vault))["mine"]
        vault.put_password(origin, lambda: Secret("pw"))
        assert problems(look([Server(url, "mine", origin)], vault)) == {}


def test_only_what_is_given(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    second = two[1]
    url, origin, _ = parse_base_url(second.url)
    vault = Vault()
    vault.put(origin, Secret(second.token))
    kernel_id = second.start_kernel(path="only.ipynb")
    try:
        listing = look([Server(url, "s", origin)], vault, local=False)
        [kernel] = listing.kernels
        # Not of this machine, as far as is known: its connection file is not used.
        assert kernel.id == kernel_id and kernel.connection_file == "" and not kernel.is_yours
    finally:
        second.delete_kernel(kernel_id)


def test_skipped_servers_are_not_asked() -> None:
    with RawServer(http()) as raw:
        server = raw.server()
        listing = look([server], Vault(), skip={server.origin: "did not answer a moment ago"})
        assert raw.requests == []
    assert problems(listing) == {"raw": "did not answer a moment ago"}


@pytest.mark.alone
def test_a_stopped_server_holds_nobody_up(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    first, second, _ = two
    hidden, seen = first.start_kernel(path="hidden.ipynb"), second.start_kernel(path="seen.ipynb")
    wait_for_kernel(first, hidden)
    first.signal(signal.SIGSTOP)
    try:
        listing = within(3.2, lambda: look([], Vault()))
    finally:
        first.signal(signal.SIGCONT)
    assert list(problems(listing).values()) == ["no answer within 3 s"]
    by_id = {kernel.id: kernel for kernel in listing.kernels}
    assert by_id[seen].paths == ("seen.ipynb",)
    # The stopped server's kernel answers its heartbeat: it is there, without its server.
    assert by_id[hidden].server is None and by_id[hidden].connection_file
    assert by_id[hidden].title.endswith("hidden.ipynb")
    first.delete_kernel(hidden)
    second.delete_kernel(seen)


@pytest.mark.alone
def test_a_stopped_kernel_of_a_server_costs_nothing(
    two: tuple[JupyterServer, JupyterServer, ConsoleKernel],
) -> None:
    import psutil

    first = two[0]
    kernel_id = first.start_kernel()
    [process] = [p for p in psutil.Process(first.pid).children(recursive=True) if kernel_id in " ".join(p.cmdline())]
    process.suspend()
    try:
        start = time.monotonic()
        assert kernel_id in {kernel.id for kernel in look([], Vault()).kernels}
        assert time.monotonic() - start < 0.6
    finally:
        process.resume()
        first.delete_kernel(kernel_id)


@pytest.mark.alone
def test_ten_servers_three_of_them_bad() -> None:
    def freeze(connection: socket.socket, request: bytes) -> None:
        frozen.closing.wait(20)

    def drip(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while not dripping.closing.wait(0.2):
            connection.sendall(b" ")

    good = [RawServer(scripted([{"id": f"k{n}", "name": "python3"}])) for n in range(7)]
    with RawServer(freeze) as frozen, RawServer(drip) as dripping:
        closed = parse_base_url(f"http://127.0.0.1:{free_port()}/")
        servers = [raw.server(f"good{n}") for n, raw in enumerate(good)]
        servers += [frozen.server("frozen"), dripping.server("drip"), Server(closed.url, "closed", closed.origin)]
        start = time.monotonic()
        listing = look(servers, Vault(), deadline=1.0)
        assert time.monotonic() - start < 1.2
    for raw in good:
        raw.__exit__()
    assert {kernel.id for kernel in listing.kernels} == {f"k{n}" for n in range(7)}
    found = problems(listing)
    assert found["frozen"] == found["drip"] == "no answer within 1 s"
    assert "nothing is listening on" in found["closed"]
    assert all(report.remedy for report in listing.servers if report.problem)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (scripted(kernels={"message": "hi"}), "another shape"),
        (scripted(kernels=http(body=b"[" * 100_000)), "not JSON"),
        (scripted(kernels=http(body=b"[1, null, [], {}, {\"id\": 5}, {\"id\": [1]}, {\"id\": null}]")), ""),
        (scripted(kernels=http("302 Found", Location="/login")), "to log in"),
        (scripted(sessions=http("500 Oops")), "its notebooks are not known (the server failed (500))"),
        (scripted(sessions=[{"kernel": None}, {"kernel": 5}, {}, {"kernel": {"id": None}}, 7]), ""),
        (scripted(specs={"kernelspecs": [1]}, kernels=[{"id": "a", "name": "n"}]), ""),
        (scripted(kernels=[{"id": "a", "last_activity": 5, "execution_state": [], "connections": "x", "name": 1}]), ""),
        (scripted(kernels=http(body=b'[{"id": "\\ud800"}]')), ""),
    ],
)  # fmt: skip
def test_bad_data_is_reported_not_raised(answers: dict[str, bytes], problem: str) -> None:
    with RawServer(answers) as raw:
        listing = look([raw.server()], Vault())
    assert problem in problems(listing).get("raw", "")
    assert bool(problem) == bool(problems(listing))


def test_gateway_that_lists_nothing() -> None:
    kernel = {"id": UUID, "name": "python3"}
    answers = scripted(http("403 Forbidden", b"{}"), [{"id": "s", "notebook": {"path": "g.ipynb"}, "kernel": kernel}])
    with RawServer(answers) as raw:
        listing = look([raw.server()], Vault())
    [report] = listing.servers
    assert report.problem == "it does not list its kernels" and "list_kernels=True" in report.remedy
    assert [kernel.title for kernel in listing.kernels] == ["g.ipynb"]


@pytest.mark.parametrize("trusted", [True, False])
def test_two_servers_of_one_trust_with_one_kernel_are_one_row(trusted: bool) -> None:
    answers = scripted([{"id": UUID, "name": "python3"}, {"id": "guessed"}])
    with RawServer(answers) as gateway, RawServer(answers) as front:
        servers = [replace(raw.server(name), trusted=trusted) for raw, name in ((gateway, "aa"), (front, "zz"))]
        listing = look(servers, Vault())
    # An id that can be guessed proves nothing, and stays two rows.
    assert [(k.id, k.server.name) for k in listing.kernels if k.server and k.id == UUID] == [(UUID, "aa")]
    assert [k.id for k in listing.kernels].count("guessed") == 2
    assert listing.claims == ()


def claims(listing: Listing) -> list[tuple[str, str]]:
    return [(kernel.server.name, kernel.id) for kernel in listing.claims if kernel.server]


def test_what_is_trusted_owns_an_id_and_takes_nothing_over() -> None:
    model = {"id": UUID, "name": "ir", "execution_state": "busy"}
    session = {"path": "evil.ipynb", "name": "evil.ipynb", "type": "notebook", "kernel": model}
    ours = scripted([{"id": UUID, "name": "python3"}, {"id": "guessed"}])
    theirs = scripted([model, {"id": "guessed"}, {"id": "its own"}], [session])
    with RawServer(theirs) as foreign, RawServer(ours) as raw:
        listing = look([foreign.server("aa"), replace(raw.server("zz"), trusted=True)], Vault())
    rows = {kernel.id: kernel for kernel in listing.kernels}
    assert len(rows) == len(listing.kernels) == 3
    assert rows[UUID] == Kernel(UUID, "python3", KernelSpec("python3"), server=rows[UUID].server)
    assert rows[UUID].is_yours and rows["guessed"].is_yours and not rows["its own"].is_yours
    assert claims(listing) == [("aa", UUID), ("aa", "guessed")]
    assert all(kernel.claimed for kernel in listing.claims) and not any(kernel.claimed for kernel in listing.kernels)


@pytest.mark.parametrize("kernel_id", ["x", "X", UUID])
def test_a_foreign_server_cannot_take_a_kernel_s_place_that_has_no_server(
    two: tuple[JupyterServer, JupyterServer, ConsoleKernel], kernel_id: str
) -> None:
    console = two[2]
    with contextlib.ExitStack() as stack:
        if kernel_id == UUID:  # as jupyter_client names connection files
            other = console.connection_file.with_name(f"kernel-{UUID}.json")
            stack.callback(other.unlink)
            other.write_text(console.connection_file.read_text())
            other.chmod(0o600)
        raw = stack.enter_context(RawServer(scripted([{"id": kernel_id, "name": "python3"}])))
        listing = look([raw.server()], Vault())
    if kernel_id == "X":
        assert listing.claims == () and [k.is_yours for k in listing.kernels if k.id == "X"] == [False]
        return
    [row] = [kernel for kernel in listing.kernels if kernel.id == kernel_id]
    assert row.server is None and row.connection_file and row.is_yours
    assert claims(listing) == [("raw", kernel_id)]


def test_a_frozen_server_s_kernels_stay_its_own(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    import psutil

    first = two[0]
    alive, stopped = first.start_kernel(path="alive.ipynb"), first.start_kernel(path="stopped.ipynb")
    wait_for_kernel(first, alive)
    wait_for_kernel(first, stopped)
    children = psutil.Process(first.pid).children(recursive=True)
    [process] = [child for child in children if stopped in " ".join(child.cmdline())]
    process.suspend()
    models = [{"id": alive, "name": "python3"}, {"id": stopped, "name": "python3"}, {"id": UUID}]
    with RawServer(scripted(models)) as raw:
        try:
            # It answers, and the stopped kernel is its: nobody else's.
            assert claims(look([raw.server()], Vault())) == [("raw", models[n]["id"]) for n in order(alive, stopped)]
            first.signal(signal.SIGSTOP)
            listing = look([raw.server()], Vault(), deadline=1.5)
        finally:
            first.signal(signal.SIGCONT)
            process.resume()
    assert sorted(claims(listing)) == sorted([("raw", alive), ("raw", stopped)])
    by_id = {kernel.id: kernel for kernel in listing.kernels}
    assert by_id[alive].server is None and by_id[alive].connection_file  # ours, by its connection file
    assert stopped not in by_id and by_id[UUID].server == raw.server()
    for kernel_id in (alive, stopped):
        first.delete_kernel(kernel_id)


def order(*ids: str) -> list[int]:
    return sorted(range(len(ids)), key=lambda n: ids[n])


def test_an_ended_kernel_s_file_hides_nobody_s_kernel(tmp_path: Path) -> None:
    # On a home that machines share, it is the file of a kernel that their server rightly lists.
    port = free_port()
    ports = dict.fromkeys(("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"), port)
    (tmp_path / f"kernel-{UUID}.json").write_text(json.dumps({"ip": "127.0.0.1", "key": "k", **ports}))
    with RawServer(scripted([{"id": UUID, "name": "python3"}])) as raw:
        listing = look([raw.server()], Vault())
    assert [kernel.id for kernel in listing.kernels] == [UUID] and listing.claims == ()


def test_who_names_a_server_gets_what_it_lists() -> None:
    answers = scripted([{"id": UUID, "name": "python3"}])
    with RawServer(answers) as foreign:
        listing = look([foreign.server("aa")], Vault(), only=f"http://127.0.0.1:{foreign.port}/", own_id="mine")
    assert [kernel.id for kernel in listing.kernels] == [UUID] and listing.claims == ()


def test_kernelspecs_are_asked_once() -> None:
    specs = {"kernelspecs": {"ir": {"spec": {"display_name": "R", "language": "R"}}}}
    with RawServer(scripted([{"id": "a", "name": "ir"}], specs=specs)) as raw:
        for _ in range(3):
            assert look([raw.server()], Vault()).kernels[0].language == "r"
        assert sum(b"kernelspecs" in request for request in raw.requests) == 1


@pytest.mark.alone
def test_five_thousand_kernels() -> None:
    models = [{"id": f"{n:08x}-0000-4000-8000-000000000000", "name": "python3"} for n in range(5000)]
    sessions = [{"path": f"n{n}.ipynb", "name": "", "type": "notebook", "kernel": m} for n, m in enumerate(models)]
    with RawServer(scripted(models, sessions)) as raw:
        listing = within(2.0, lambda: look([raw.server()], Vault()))
    assert len(listing.kernels) == 5000 and len({kernel.id for kernel in listing.kernels}) == 5000


@pytest.mark.alone
def test_planted_files_do_no_harm(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with RawServer(http()) as trap:
        info = {"pid": 1, "port": trap.port, "url": f"http://127.0.0.1:{trap.port}/", "token": "canary"}
        changes: list[dict[str, object]] = [{}, {"pid": 2**31 - 1}, {"pid": "x"}, {"port": "x"}, {"sock": "x/y"}]
        for number, change in enumerate(changes):
            (tmp_path / f"jpserver-{number}.json").write_text(json.dumps(info | change))
        (tmp_path / "jpserver-deep.json").write_bytes(b"[" * 60_000)
        (tmp_path / "kernel-bad.json").write_bytes(b"{")
        names = {path.name for path in tmp_path.iterdir()}
        start = time.monotonic()
        listing = look([], Vault())
        assert time.monotonic() - start < 1.0
        assert trap.requests == []
    assert not listing.kernels and not listing.servers
    assert {Path(item.path).name for item in listing.skipped} == names == {path.name for path in tmp_path.iterdir()}


def test_no_thread_is_left_behind(two: tuple[JupyterServer, JupyterServer, ConsoleKernel]) -> None:
    look([], Vault())
    end = time.monotonic() + 2
    while left := [thread for thread in threading.enumerate() if thread.name.startswith("kernel-bridge-")]:
        assert time.monotonic() < end, left
        left[0].join(0.1)


def test_a_frozen_server_does_not_hold_up_exit_nor_is_anything_heavy_imported() -> None:
    code = """
import sys, time
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.access.urls import parse_base_url
print([name for name in ("psutil", "zmq", "jupyter_client", "ssl", "http.client", "IPython") if name in sys.modules])
url, origin, _ = parse_base_url(sys.argv[1])
listing = look([Server(url, "frozen", origin)], Vault(), deadline=0.3)
print(listing.servers[0].problem, flush=True)
"""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=20)
        assert time.monotonic() - start < 5
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout == "[]\nno answer within 0.3 s\n"
