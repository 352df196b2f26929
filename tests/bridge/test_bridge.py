"""What all faces share: finding kernels, keeping connections, knowing servers; against a real server."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from kernel_bridge_magic.bridge import meanings
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    BadMatch,
    BadServer,
    CannotConnect,
    KernelNotFound,
    OwnKernel,
    ServerError,
    ServerUnreachable,
)
from kernel_bridge_magic.faces import COMMAND_LINE
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event, Note
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.transports.base import Transport
from tests.support.hostile import JSON, HostileServer
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for
from tests.support.transports import transport_of

PATHS = ("work/analysis.ipynb", "work/My Notebook.ipynb", "train.ipynb")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server that logs every request."""
    with JupyterServer(tmp_path_factory.mktemp("bridge"), extra=["--ServerApp.log_level=DEBUG"]) as server:
        yield server


@pytest.fixture(scope="module")
def ids(server: JupyterServer) -> dict[str, str]:
    """The ids of its kernels by path."""
    return server.start_kernels(*PATHS)


@pytest.fixture
def bridge(server: JupyterServer, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime_dir))
    made = Bridge()
    yield made
    made.close()


def asked(server: JupyterServer) -> int:
    """How often the server was asked for its kernels."""
    return len(re.findall(r"GET [^ ]*/api/(?:kernels|sessions)\b", server.log_text()))


# -- finding


@pytest.mark.parametrize(
    ("match", "path"),
    [
        ("work/analysis.ipynb", "work/analysis.ipynb"),
        ("analysis.ipynb", "work/analysis.ipynb"),
        ("analysis", "work/analysis.ipynb"),
        ("analy", "work/analysis.ipynb"),
        ("TRAIN.IPYNB", "train.ipynb"),
        ("My Notebook", "work/My Notebook.ipynb"),
        ("'My Notebook.ipynb'", "work/My Notebook.ipynb"),
        ("re:^train", "train.ipynb"),
        ("re:^work/a.*", "work/analysis.ipynb"),
    ],
)
def test_a_kernel_is_found_by_each_level(bridge: Bridge, ids: dict[str, str], match: str, path: str) -> None:
    kernel = bridge.find(match)
    assert (kernel.id, kernel.title) == (ids[path], path)
    assert kernel.is_yours
    assert os.path.basename(kernel.connection_file) == f"kernel-{kernel.id}.json"


def test_a_kernel_is_found_by_id_and_by_its_beginning(bridge: Bridge, ids: dict[str, str]) -> None:
    for path, kernel_id in ids.items():
        assert bridge.find(kernel_id).title == path
        assert bridge.find(kernel_id[:8]).title == path


def test_a_kernel_is_found_by_its_row_once_rows_were_shown(bridge: Bridge, ids: dict[str, str]) -> None:
    with pytest.raises(BadMatch, match="row of a listing"):
        bridge.find("#1")
    bridge.rows = bridge.search.look().kernels
    assert [bridge.find(f"#{n + 1}").id for n in range(3)] == [kernel.id for kernel in bridge.rows]
    # after another listing it is another kernel, whatever was remembered
    bridge.pool.connect(bridge.find("#1"))
    bridge.rows = tuple(reversed(bridge.rows))
    assert bridge.find("#1").id == bridge.rows[0].id


def test_a_foreign_server_s_claim_is_meant_by_its_server_alone(
    bridge: Bridge, server: JupyterServer, ids: dict[str, str]
) -> None:
    kernel_id = ids["train.ipynb"]
    model = {"id": kernel_id, "name": "python3"}
    session = {"path": "evil.ipynb", "name": "evil.ipynb", "type": "notebook", "kernel": model}
    models = [{**model, "id": "its-own"}, model]
    answers = {"kernels": http(body=json.dumps(models).encode()), "sessions": http(body=json.dumps([session]).encode())}
    with RawServer(answers) as raw:
        bridge.add_server(Entry("other", raw.server().url))
        for match in (kernel_id, kernel_id[:8], "train", "train.ipynb", "re:^train"):
            assert bridge.find(match).server != raw.server("other")
        for match in ("evil", "evil.ipynb", "re:evil"):
            with pytest.raises(KernelNotFound):
                bridge.find(match)
        claim = bridge.find(f"other::{kernel_id}")
        assert claim.server == raw.server("other") and claim.claimed and not claim.connection_file
        assert (
            bridge.find("other::evil")
            == bridge.find(kernel_id, "other")
            == bridge.find_by_id(kernel_id, "other")
            == claim
        )
        assert bridge.find(selector(claim, bridge.search.look().kernels)) == claim
        assert bridge.find_by_id(kernel_id).is_yours
        assert "other lists a kernel with an id of yours" in bridge.kernels().text()
        # A row means what stood in it.
        for match, server_name, own in (("other::evil", None, False), ("", "other", False), ("train", None, True)):
            shown = bridge.kernels(match, server_name)
            bridge.rows = tuple(shown)
            [number] = [n for n, kernel in enumerate(shown, 1) if kernel.id == kernel_id]
            assert bridge.find(f"#{number}").is_yours is own
        # Trusted, it is as good as the first.
        bridge.remove_server("other")
        bridge.add_server(Entry("other", raw.server().url, trust=True))
        assert bridge.search.look().claims == ()


def test_none_and_several_are_told(bridge: Bridge) -> None:
    with pytest.raises(KernelNotFound, match=r"3 kernels on 1 server"):
        bridge.find("no-such-thing")
    with pytest.raises(AmbiguousKernel) as raised:
        bridge.find("work/")
    assert len(raised.value.candidates) == 2
    for text, kernel in raised.value.candidates:
        assert bridge.find(text).id == kernel.id


def test_the_second_cell_asks_no_server(bridge: Bridge, server: JupyterServer) -> None:
    kernel = bridge.find("analysis")
    bridge.pool.connect(kernel)
    before = asked(server)
    assert bridge.find("analysis") == kernel
    assert asked(server) == before
    bridge.find("work/analysis.ipynb")
    assert asked(server) > before, "another word may mean another kernel"


def test_what_a_match_meant_is_forgotten_with_its_connection(bridge: Bridge, server: JupyterServer) -> None:
    kernel = bridge.find("analysis")
    connection = bridge.pool.connect(kernel)
    connection.close()
    before = asked(server)
    bridge.find("analysis")
    assert asked(server) > before


def test_what_a_match_meant_is_forgotten_after_a_while(
    bridge: Bridge, server: JupyterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meanings, "_SECONDS", 0.0)
    bridge.pool.connect(bridge.find("analysis"))
    before = asked(server)
    bridge.find("analysis")
    assert asked(server) > before


# -- notebooks that change between two cells


@pytest.fixture
def two_kernels(server: JupyterServer) -> Iterator[list[str]]:
    """The ids of two kernels with no notebook, on `server`."""
    started = [server.start_kernel() for _ in range(2)]
    yield started
    for kernel_id in started:
        server.delete_kernel(kernel_id)


@contextlib.contextmanager
def notebook(server: JupyterServer, path: str, kernel_id: str) -> Iterator[Callable[[str], None]]:
    """Have a notebook use that kernel; gives what renames it."""
    model = {"path": path, "name": path.rsplit("/", 1)[-1], "type": "notebook", "kernel": {"id": kernel_id}}
    session = server.rest("POST", "api/sessions", model)["id"]

    def rename(to: str) -> None:
        server.rest("PATCH", f"api/sessions/{session}", {"path": to, "name": to.rsplit("/", 1)[-1]})

    yield rename
    server.request("DELETE", f"api/sessions/{session}")


def test_a_path_means_the_notebook_that_has_it_now(
    bridge: Bridge, server: JupyterServer, two_kernels: list[str]
) -> None:
    def in_a_thread() -> None:
        thread = threading.Thread(target=Bridge().search.look)
        thread.start()
        thread.join()

    listings: dict[str, Callable[[], object]] = {
        "of this face": bridge.kernels,
        "of another": Bridge().kernels,
        "of another thread": in_a_thread,
        "of another cell": lambda: bridge.find("train"),
        "with a filter": lambda: bridge.kernels("other"),
        "of one server": lambda: bridge.search.look(server.url),
    }
    path, other = "work/p.ipynb", "work/other.ipynb"
    old, new = two_kernels
    with notebook(server, path, old) as rename_old, notebook(server, other, new) as rename_new:
        for what, listing in listings.items():
            kernel = bridge.find(path)
            assert kernel.id == old
            bridge.pool.connect(kernel)
            rename_old("work/meanwhile.ipynb")
            rename_new(path)
            rename_old(other)
            listing()
            assert (bridge.find(path).id, bridge.find(other).id) == (new, old), what
            (old, rename_old), (new, rename_new) = (new, rename_new), (old, rename_old)
        bridge.pool.connect(bridge.find(path))
        rename_old("work/meanwhile.ipynb")
        rename_new(path)
        # without a listing it is believed for two seconds
        wait_for(lambda: bridge.find(path).id == new, "the meaning's end", seconds=6)


def test_a_namesake_makes_a_name_ambiguous_and_a_deleted_kernel_is_none(
    bridge: Bridge, server: JupyterServer, two_kernels: list[str]
) -> None:
    old, new = two_kernels
    with notebook(server, "one/q.ipynb", old):
        bridge.pool.connect(bridge.find("q.ipynb"))
        with notebook(server, "two/q.ipynb", new):
            Bridge().search.look()
            with pytest.raises(AmbiguousKernel, match=r"'q.ipynb' matches 2 kernels, so nothing was run"):
                bridge.find("q.ipynb")
        Bridge().search.look()
        assert bridge.find("q.ipynb").id == old
    assert server.request("GET", f"api/kernels/{old}")[0] == 404, "it goes with its notebook"
    Bridge().search.look()
    with pytest.raises(KernelNotFound):
        bridge.find("q.ipynb")


# -- servers that are silent


def took(seconds: float, work: Callable[[], Kernel]) -> Kernel:
    began = time.monotonic()
    found = work()
    assert time.monotonic() - began < seconds
    return found


@pytest.fixture
def frozen(server: JupyterServer) -> Iterator[Callable[[], None]]:
    """Freezes the server when it is called, until the test is over."""
    yield lambda: server.signal(signal.SIGSTOP)
    server.signal(signal.SIGCONT)


@pytest.mark.parametrize("match", ["work/analysis.ipynb", "analysis", "#{}"])
def test_a_kernel_that_is_connected_to_is_meant_while_its_server_is_frozen(
    match: str, bridge: Bridge, frozen: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meanings, "_SECONDS", 0.0)  # each cell asks again
    bridge.rows = bridge.search.look().kernels
    kernel = next(kernel for kernel in bridge.rows if kernel.title == "work/analysis.ipynb")
    match = match.format(1 + bridge.rows.index(kernel))
    connection = bridge.pool.connect(bridge.find(match))
    frozen()
    for _ in range(2):
        found = took(2.5, lambda: bridge.find(match))
        assert found.id == kernel.id
        assert bridge.pool.connect(found) is connection
    assert connection.execute("6 * 7").text == "42"


def test_a_silent_server_is_no_reason_to_wait_for_a_cell_of_another_one(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meanings, "_SECONDS", 0.0)  # each cell asks again
    silent = threading.Event()

    def asked() -> int:
        return sum(map(bool, raw.requests))

    def answer(connection: socket.socket, request: bytes) -> None:
        if silent.is_set():
            raw.closing.wait(20)
        connection.sendall(http())

    with RawServer(answer) as raw:
        bridge.add_server(Entry("silent", f"http://127.0.0.1:{raw.port}/"))
        kernel = bridge.find("train")
        bridge.pool.connect(kernel)
        silent.set()
        assert took(2.5, lambda: bridge.find("train")).id == kernel.id
        before = asked()
        assert took(2.5, lambda: bridge.find("train")).id == kernel.id
        assert asked() == before, "it is left alone for a while"
        # a cell that means another kernel waits longer than that
        with pytest.raises(KernelNotFound, match="silent"):
            bridge.find("nobody")
        assert asked() > before


def test_what_its_server_does_not_list_now_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with HostileServer() as server, contextlib.closing(Bridge()) as bridge:
        bridge.add_server(Entry("lab", server.url))
        known = bridge.find("scripted")
        listed = json.dumps(server.kernels)
        late = iter([1.5])  # seconds: longer than a cell waits for a listing

        def slow(request: object) -> tuple[int, dict[str, str], str]:
            time.sleep(next(late, 0.0))
            return 200, JSON, listed

        bridge.search.forget()
        server.paths["/api/kernels"] = slow
        assert bridge.find_again(known) is not None
        server.paths["/api/kernels"] = 502, {}, ""
        with pytest.raises(ServerUnreachable, match=r"^lab"):
            bridge.find_again(known)
        server.paths["/api/kernels"] = 200, JSON, "[]"
        assert bridge.find_again(known) is None


def test_a_listing_opens_no_websocket(bridge: Bridge, server: JupyterServer) -> None:
    before = server.log_text().count("/channels")
    bridge.search.look()
    bridge.find("analysis")
    assert server.log_text().count("/channels") == before


# -- connecting


def test_a_connection_is_kept_for_the_next_cell(bridge: Bridge) -> None:
    kernel = bridge.find("analysis")
    first = bridge.pool.connect(kernel)
    assert bridge.pool.connect(kernel) is first
    assert bridge.pool.connect(bridge.find("analysis")) is first
    assert first.execute("1 + 1").text == "2"


@pytest.mark.parametrize("transport_name", ["zmq", "ws"])
def test_a_connection_that_died_is_replaced(bridge: Bridge, transport_name: str) -> None:
    kernel = bridge.find("analysis")
    first = bridge.pool.connect(kernel, transport_name)
    first.close()
    second = bridge.pool.connect(kernel, transport_name)
    assert second is not first
    assert second.is_open
    assert second.execute("1 + 1").text == "2"


def test_auto_prefers_zmq_for_a_kernel_of_one_s_own(bridge: Bridge) -> None:
    kernel = bridge.find("analysis")
    assert bridge.pool.connect(kernel).transport == "zmq"
    assert bridge.pool.connect(kernel, "zmq").transport == "zmq"
    other = bridge.pool.connect(kernel, "ws")
    assert other.transport == "ws"
    assert other.execute("1 + 1").text == "2"
    assert bridge.pool.connect(kernel, "ws") is other


def test_auto_takes_the_server_where_there_is_no_file(bridge: Bridge) -> None:
    kernel = dataclasses.replace(bridge.find("analysis"), connection_file="")
    assert bridge.pool.connect(kernel).transport == "ws"
    with pytest.raises(CannotConnect, match=r"no connection file .* cannot be reached by zmq"):
        bridge.pool.connect(kernel, "zmq")


def test_auto_takes_the_server_where_the_file_leads_nowhere(bridge: Bridge, tmp_path: Path) -> None:
    kernel = dataclasses.replace(bridge.find("analysis"), connection_file=str(tmp_path / "kernel-gone.json"))
    assert bridge.pool.connect(kernel).transport == "ws"


def test_a_kernel_without_a_server_has_no_websocket(bridge: Bridge) -> None:
    kernel = dataclasses.replace(bridge.find("analysis"), server=None)
    with pytest.raises(CannotConnect, match="has no server"):
        bridge.pool.connect(kernel, "ws")


def test_an_opened_connection_is_the_caller_s(bridge: Bridge) -> None:
    kernel = bridge.find("analysis")
    kept = bridge.pool.connect(kernel)
    with bridge.pool.open(kernel) as mine:
        assert mine is not kept
        assert mine.execute("1 + 1").text == "2"
    assert kept.is_open


def test_one_s_own_kernel_and_a_dead_one_are_refused(bridge: Bridge) -> None:
    kernel = bridge.find("analysis")
    for transport_name in ("auto", "zmq", "ws"):
        with pytest.raises(OwnKernel, match="wait for itself"):
            bridge.pool.connect(dataclasses.replace(kernel, is_this_kernel=True), transport_name)
    with pytest.raises(OwnKernel):
        bridge.pool.open(dataclasses.replace(kernel, is_this_kernel=True))
    with pytest.raises(CannotConnect, match="is dead"):
        bridge.pool.connect(dataclasses.replace(kernel, state="dead"))


def test_unread_output_that_is_thrown_away_is_told_of(bridge: Bridge) -> None:
    notes: list[Event] = []
    kernel = dataclasses.replace(bridge.find("analysis"), connections=0, state="busy", last_activity=None)
    # by ZMQ nothing is thrown away
    bridge.pool.connect(kernel, "zmq", note=notes.append)
    assert notes == []
    bridge.pool.connect(kernel, "ws", note=notes.append)
    assert notes == [Note("note: this connection may discard output that the server keeps for a closed notebook")]
    bridge.pool.connect(kernel, "ws", note=notes.append)
    assert len(notes) == 1, "it is open now"


@pytest.mark.parametrize(
    ("before", "state", "told"),
    [
        (None, "idle", False),  # nobody was seen there; its activity may be our own
        (0, "idle", False),
        (1, "idle", True),  # somebody was there and went
        (0, "busy", True),  # its cell runs, and nobody is there
    ],
)
def test_nothing_is_told_of_unread_output_without_a_reason(
    bridge: Bridge, before: int | None, state: str, told: bool
) -> None:
    pool = Pool(bridge.vault)
    notes: list[Event] = []
    kernel = dataclasses.replace(bridge.find("analysis"), connections=0, state=state, last_activity=datetime.now(UTC))
    pool.see([dataclasses.replace(kernel, connections=before)])
    pool.connect(kernel, "ws", note=notes.append)
    assert len(notes) == told
    # Our own connection is nobody else's, while it is open and when it is gone.
    pool.see([dataclasses.replace(kernel, connections=1)])
    pool.close()
    notes.clear()
    pool.connect(dataclasses.replace(kernel, state="idle"), "ws", note=notes.append)
    assert notes == []
    pool.close()


def test_closing_leaves_no_thread_and_no_connection(bridge: Bridge) -> None:
    before = threading.active_count()
    connections = [bridge.pool.connect(bridge.find("analysis"), transport_name) for transport_name in ("zmq", "ws")]
    for connection in connections:
        connection.execute("1")
    assert threading.active_count() > before
    bridge.close()
    wait_for(lambda: threading.active_count() <= before, "the end of the threads")
    assert not any(connection.is_open for connection in connections)
    bridge.close()
    # and it can be used again
    assert bridge.pool.connect(bridge.find("analysis")).execute("1 + 1").text == "2"


def test_nothing_is_opened_started_or_read_before_it_is_needed() -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    Bridge()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_several_threads_share_one_connection(bridge: Bridge) -> None:
    seen = []

    def work() -> None:
        seen.append(bridge.pool.connect(bridge.find("analysis")))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1


# -- servers


def test_one_server_by_name_and_by_url(bridge: Bridge, server: JupyterServer, ids: dict[str, str]) -> None:
    (report,) = bridge.search.look().servers
    for word in (report.server.name, server.url, server.url.rstrip("/"), server.url.upper()):
        assert bridge.find("analysis", word).id == ids["work/analysis.ipynb"]
    assert bridge.find(f"{report.server.name}::analysis").id == ids["work/analysis.ipynb"]


@pytest.fixture(scope="module")
def below_a_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server of ours below a base path with a space, with one notebook."""
    with JupyterServer(tmp_path_factory.mktemp("below"), base_url="/a/b%20c/") as there:
        there.start_kernel(path="below.ipynb")
        yield there


@pytest.fixture
def below(below_a_path: JupyterServer, bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> JupyterServer:
    """That server, which `bridge` finds here and no other."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(below_a_path.runtime_dir))
    return below_a_path


def test_a_url_means_its_scheme_host_port_and_base_path(bridge: Bridge, below: JupyterServer) -> None:
    port = below.port
    pages = ("", "lab", "lab/tree/x.ipynb", "tree/sub%20folder", "notebooks/x.ipynb?x=1", "doc/tree/x.ipynb#here")
    hosts = itertools.cycle(("127.0.0.1", "localhost", "[::1]", "LocalHost"))
    for page, space in itertools.product(pages, ("%20", " ")):
        url = f"http://{next(hosts)}:{port}/a/b{space}c/{page}"
        listing = bridge.search.look(url)
        assert [report.problem for report in listing.servers] == [""], url
        assert [kernel.title for kernel in listing.kernels] == ["below.ipynb"], url
        assert bridge.find(f"{url}::below").title == "below.ipynb"
    wrong = ["http://{}/", "http://{}/lab", "http://{}/a/", "http://{}/a/b%20c/d/", "http://{}/a/b%2520c/",
             "http://{}/A/b%20c/tree"]  # fmt: skip
    for pattern in wrong:
        url = pattern.format(f"{next(hosts)}:{port}")
        (report,) = bridge.search.look(url).servers
        assert (report.kernels, report.elsewhere) == (0, f"http://127.0.0.1:{port}/a/b%20c/"), url
        with pytest.raises(ServerError, match=f"a Jupyter server is at http://127.0.0.1:{port}/a/b%20c/: use that URL"):
            bridge.reach(url)
        for _ in range(2):
            with pytest.raises(KernelNotFound, match=f"a Jupyter server is at http://127.0.0.1:{port}/a/b%20c/"):
                bridge.find("below", url)
        with pytest.raises(KernelNotFound, match="No server is called"):
            bridge.find(f"{url}::below")
        (checkup,) = bridge.check(url)
        assert not checkup.ok
        assert next(step.remedy for step in checkup.steps if step.ok is False).startswith("a Jupyter server is at ")


def test_a_server_keeps_its_url_whatever_it_is_called(bridge: Bridge, below: JupyterServer) -> None:
    url = f"http://localhost:{below.port}/a/b%20c/"
    bridge.add_server(Entry("mine", url))
    for word in ("mine", url, url.replace("localhost", "127.0.0.1"), f"{url}lab/tree/x.ipynb"):
        (report,) = bridge.search.look(word).servers
        assert report.server.source == "runtime"
        assert bridge.find("below", word).title == "below.ipynb"
        assert bridge.find(f"{word}::below").title == "below.ipynb"
    # a name is no URL, though it looks like one
    bridge.add_server(Entry(f"localhost:{below.port}", "http://127.0.0.1:9/"))
    assert bridge.find("below", url).title == "below.ipynb"
    with pytest.raises(KernelNotFound):
        bridge.find("below", "http://127.0.0.1:9/")


def test_no_secret_goes_to_another_url_of_a_server_s_port(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with RawServer(http("404 Not Found", b"{}")) as raw:
        bridge.add_server(Entry("a", f"http://127.0.0.1:{raw.port}/lab-a/?token=canary-77"))
        for url in ("http://127.0.0.1:{}/lab-b/", "http://127.0.0.1:{}/", "http://localhost:{}/lab-a/"):
            with pytest.raises(ServerError, match="no Jupyter server"):
                bridge.reach(url.format(raw.port))
        assert raw.requests
        assert not [head for head in raw.requests if b"canary-77" in head]
        bridge.search.look("a")
        assert [head for head in raw.requests if b"canary-77" in head]


def test_a_socket_s_server_is_meant_by_its_url_alone(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "j.sock")
    with JupyterServer(tmp_path / "server", sock=path) as there:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(there.runtime_dir))
        kernel_id = there.start_kernel(path="odd.ipynb")
        (report,) = bridge.search.look().servers
        for url in (report.server.url, f"http+unix://{quote(path, safe='')}/lab/tree/x.ipynb"):
            assert bridge.find("odd", url).id == bridge.find(f"{url}::odd").id == kernel_id
        for url in ("http://localhost/", f"http+unix://{quote(path + '2', safe='')}/"):
            assert bridge.search.look(url).kernels == ()
            with pytest.raises(KernelNotFound):
                bridge.find("odd", url)


def test_a_server_that_nobody_knows_is_one_line(bridge: Bridge) -> None:
    with pytest.raises(BadServer, match=r"no server is called 'no-such' \(known: ") as raised:
        bridge.find("analysis", "no-such")
    assert "\n" not in str(raised.value)


def test_a_server_can_be_added_and_removed(
    bridge: Bridge, server: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))  # nothing is found here by itself
    monkeypatch.setenv("LAB_TOKEN", server.token)
    with pytest.raises(KernelNotFound):
        bridge.find("analysis")
    added = bridge.add_server(Entry("lab", server.url, token="env:LAB_TOKEN"))
    assert (added.name, added.source, added.is_yours) == ("lab", "added", False)
    assert bridge.registry.servers() == [added]
    kernel = bridge.find("analysis")
    assert (kernel.server, kernel.connection_file) == (added, "")
    assert bridge.find("lab::analysis", "lab") == kernel
    assert bridge.pool.connect(kernel).transport == "ws"
    assert bridge.pool.connect(kernel).execute("1 + 1").text == "2"
    assert server.token not in repr(bridge.registry.servers()) + repr(bridge.vault)
    assert bridge.remove_server("lab") == added
    assert bridge.registry.servers() == []
    assert not bridge.vault.has(added.origin)


def test_trust_counts_from_the_next_cell_on(
    bridge: Bridge, server: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("LAB_TOKEN", server.token)
    for trusted in (False, True, False):
        bridge.add_server(Entry("lab", server.url, token="env:LAB_TOKEN", trust=trusted))
        kernel = bridge.find("analysis")
        bridge.pool.connect(kernel)
        assert kernel.is_yours is trusted
    bridge.remove_server("lab")
    with pytest.raises(KernelNotFound):
        bridge.find("analysis")


def test_a_trusted_server_is_one_s_own(bridge: Bridge) -> None:
    assert bridge.add_server(Entry("lab", "http://lab.example/", trust=True)).is_yours


def test_a_server_that_cannot_be_reached_is_added_and_explained(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    bridge.add_server(Entry("off", f"http://127.0.0.1:{free_port()}/"))
    (report,) = bridge.search.look().servers
    assert report.server.name == "off"
    assert report.problem
    with pytest.raises(KernelNotFound, match="off"):
        bridge.find("analysis")


@pytest.mark.parametrize("name", ["a::b", "#1", "-x", " lab", "lab "])
def test_names_that_would_mean_something_else_are_refused(bridge: Bridge, name: str) -> None:
    with pytest.raises(BadServer, match="cannot be a server's name"):
        bridge.add_server(Entry(name, "http://lab.example/"))
    assert bridge.registry.servers() == []


def test_a_name_means_one_server(bridge: Bridge) -> None:
    bridge.add_server(Entry("lab", "http://lab.example/"))
    bridge.add_server(Entry("lab", "http://lab.example/"))  # the same again is no error
    with pytest.raises(BadServer, match="already"):
        bridge.add_server(Entry("lab", "http://other.example/"))
    assert [server.url for server in bridge.registry.servers()] == ["http://lab.example/"]
    with pytest.raises(BadServer, match="no added server is called 'other'"):
        bridge.remove_server("other")


def test_a_literal_token_is_refused_without_being_repeated(bridge: Bridge) -> None:
    with pytest.raises(BadServer, match="env:VAR") as raised:
        bridge.add_server(Entry("lab", "http://lab.example/", token="abcdef0123456789"))
    assert "abcdef0123456789" not in str(raised.value)
    assert bridge.registry.servers() == []
    with pytest.raises(BadServer, match="NO_SUCH_VARIABLE"):
        bridge.add_server(Entry("lab", "http://lab.example/", token="env:NO_SUCH_VARIABLE"))


def test_a_token_that_is_asked_for_is_asked_once(bridge: Bridge) -> None:
    asked_for = []
    server = bridge.add_server(
        Entry("lab", "http://lab.example/", token="ask"),
        ask=lambda what: asked_for.append(what) or "word",
    )
    assert asked_for == ["token of lab (http://lab.example/)"]
    assert bridge.vault.has(server.origin)


def test_a_token_in_a_url_goes_to_the_vault(bridge: Bridge) -> None:
    server = bridge.add_server(Entry("lab", "http://lab.example/lab?token=canary123"))
    assert server.url == "http://lab.example/"
    assert bridge.vault.has(server.origin)
    assert "canary123" not in repr(server) + repr(bridge.vault)


@pytest.mark.parametrize(("ip", "base"), [("::1", "/"), ("127.0.0.1", "/größe%20und%20mehr/")])
def test_a_cell_over_ipv6_and_below_an_odd_base_path(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ip: str, base: str
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("LAB_TOKEN", "token-of-a-test")
    with JupyterServer(tmp_path / "server", ip=ip, base_url=quote(base, safe="/%")) as there:
        there.start_kernel(path="odd.ipynb")
        bridge.add_server(Entry("odd", there.url.replace(quote(base, safe="/%"), base), token="env:LAB_TOKEN"))
        kernel = bridge.find("odd::odd")
        assert bridge.pool.connect(kernel, "ws").execute("6 * 7").text == "42"
        (checkup,) = bridge.check("odd")
        assert checkup.ok


def test_a_cell_over_a_unix_socket_that_was_added(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("LAB_TOKEN", "token-of-a-test")
    path = str(tmp_path / "j.sock")
    with JupyterServer(tmp_path / "server", sock=path) as there:
        kernel_id = there.start_kernel(path="odd.ipynb")
        bridge.add_server(Entry("sock", f"http+unix://{quote(path, safe='')}/", token="env:LAB_TOKEN"))
        kernel = bridge.find("sock::odd")
        assert kernel.id == kernel_id
        assert bridge.pool.connect(kernel, "ws").execute("6 * 7").text == "42"


def test_what_a_connection_has_heard_and_its_process_uses_is_shown_without_a_request(
    bridge: Bridge, server: JupyterServer, ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_id = ids["train.ipynb"]
    go = tmp_path / "go"
    connection = bridge.pool.connect(bridge.find("train.ipynb"))
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    execution = connection.start(Cell(code))
    try:
        since = wait_for(lambda: connection.busy_since, "the cell's begin")
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "new_id", lambda self: pytest.fail("it makes a message"))
            shown = bridge.kernels(verbose=True)
    finally:
        go.touch()
        for _ in execution:
            pass
    row = next(line for line in shown.text(200).splitlines() if " train.ipynb " in line)
    assert f"  busy since {since}  " in row and re.fullmatch(r"\d\d:\d\d:\d\d", since)
    others = [line for line in shown.text(200).splitlines() if ".ipynb" in line and line != row]
    assert others and not any("since" in line for line in others)
    pid = connection.execute("import os; os.getpid()").text
    assert shown.details is not None
    details = shown.details[kernel_id]
    assert re.match(rf"pid {pid}, \d+ MB, \d+ % CPU, started \d{{4}}-\d\d-\d\d \d\d:\d\d", details)
    assert not connection.busy_since and "since" not in bridge.kernels("train.ipynb").text(200)
    # What it is asked before any cell tells its language; a listing asks for nothing.
    transport_of(connection).ask("kernel_info_request", {}, seconds=10)
    assert (bridge.kernels("train", verbose=True).details or {})[kernel_id].endswith(
        ", python " + sys.version.split()[0]
    )


# -- a connection file, as people name it for consoles


@pytest.fixture
def elsewhere(private_dir: Path) -> Iterator[ConsoleKernel]:
    """A kernel whose connection file is in no runtime directory."""
    with ConsoleKernel(private_dir, "4711") as console:
        yield console


@pytest.fixture
def private_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_a_connection_file_is_a_match_wherever_it_is(elsewhere: ConsoleKernel, private_dir: Path) -> None:
    path = str(elsewhere.connection_file)
    names = [path, "./kernel-4711.json", "kernel-4711.json", "~/elsewhere/kernel-4711.json", f"'{path}'"]
    for match in [*names, "../elsewhere/kernel-4711.json"]:
        with contextlib.closing(Bridge()) as bridge:
            with pytest.raises(KernelNotFound):
                bridge.find("4711")
            kernel = bridge.find(match)
            assert (kernel.connection_file, kernel.outside) == (path, True)
            assert [it.connection_file for it in bridge.kernels(match)] == [path]
            assert bridge.find("4711") == kernel, "it is known from then on"
            assert selector(kernel, bridge.search.look().kernels) == path, "by its path, elsewhere too"
            if match == path:
                assert bridge.pool.connect(kernel).execute("6 * 7").text == "42"


def test_a_named_file_is_read_by_the_rules_of_all(elsewhere: ConsoleKernel, private_dir: Path) -> None:
    info = json.loads(elsewhere.connection_file.read_text())
    odd = private_dir / "odd"
    odd.mkdir(mode=0o755)
    (odd / "link.json").symlink_to(elsewhere.connection_file)
    for name, content in (("open", info), ("keyless", info | {"key": ""}), ("gone", info | {"hb_port": free_port()})):
        (odd / f"{name}.json").write_text(json.dumps(content))
        (odd / f"{name}.json").chmod(0o666 if name == "open" else 0o600)
    everybody = private_dir / "everybody"
    everybody.mkdir()
    (everybody / "k.json").write_text(json.dumps(info))
    everybody.chmod(0o777)
    reasons = {
        "odd/open.json": "others may write to it",
        "odd/link.json": "a symbolic link",
        "odd/keyless.json": "it has no key, so its messages would not be signed",
        "odd/gone.json": "its heartbeat does not answer (ended, stopped or swapped out)",
        "everybody/k.json": "everybody may write in this directory; chmod o-w it",
        "/etc/passwd.json": "",
        "odd/nothing.json": "",
    }
    for match, reason in reasons.items():
        with contextlib.closing(Bridge(face=COMMAND_LINE)) as bridge, pytest.raises(KernelNotFound) as raised:
            bridge.find(match)
        skipped = f"{match.rpartition('/')[2]} was skipped ({reason})"
        assert (skipped in str(raised.value)) == bool(reason), str(raised.value)


@pytest.mark.parametrize("name", ["copy.json", "kernel-4711.json"])
def test_a_copy_of_a_listed_file_means_that_kernel(elsewhere: ConsoleKernel, private_dir: Path, name: str) -> None:
    runtime = private_dir.parent / "runtime"
    runtime.mkdir(mode=0o700)
    original = runtime / "kernel-4711.json"
    elsewhere.connection_file.rename(original)
    shutil.copy(original, private_dir / name)
    with contextlib.closing(Bridge()) as bridge:
        known = bridge.find("4711")
        assert known.connection_file == str(original)
        for match in (str(private_dir / name), f"./{name}", f"~/elsewhere/{name}", name):
            assert bridge.find(match) == known, match
            assert list(bridge.kernels(match)) == [known], match
        assert bridge.search.look().kernels == (known,), "it is no second kernel"
    original.rename(private_dir / "kernel-4711.json")


@pytest.mark.parametrize("same_name", [True, False])
def test_a_copy_of_the_file_of_a_server_s_kernel_means_that_kernel(
    bridge: Bridge, ids: dict[str, str], tmp_path: Path, same_name: bool
) -> None:
    known = bridge.find("train.ipynb")
    tmp_path.chmod(0o700)
    copy = tmp_path / (os.path.basename(known.connection_file) if same_name else "copy.json")
    shutil.copy(known.connection_file, copy)
    found = bridge.find(str(copy))
    assert found == dataclasses.replace(known, state=found.state, last_activity=found.last_activity)
    assert bridge.pool.connect(bridge.find(str(copy))).execute("6 * 7").text == "42"


def test_a_name_that_two_files_have_means_none_of_two_kernels(
    bridge: Bridge, ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = bridge.find("train.ipynb"), bridge.find("analysis")
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    name = os.path.basename(one.connection_file)
    shutil.copy(other.connection_file, tmp_path / name)
    with pytest.raises(AmbiguousKernel, match=r"is a list of 2 kernels, so nothing was run\. Use one of:"):
        bridge.find(name)
    found = bridge.find(f"./{name}")
    assert found == dataclasses.replace(other, state=found.state, last_activity=found.last_activity)


def test_a_copy_of_its_own_file_is_its_own_kernel(elsewhere: ConsoleKernel, private_dir: Path) -> None:
    """As the kernel that asks: a cell that names a copy of its file would wait for itself."""
    copy = private_dir / "copy.json"
    code = (
        "from kernel_bridge_magic import connect\n"
        f"open({str(copy)!r}, 'w').write(open({str(elsewhere.connection_file)!r}).read())\n"
        f"for name in ({str(copy)!r}, {str(elsewhere.connection_file)!r}):\n"
        "    try:\n        connect(name)\n"
        "    except Exception as error:\n        print(type(error).__name__)\n"
    )
    with contextlib.closing(Bridge()) as bridge:
        result = bridge.pool.connect(bridge.find(str(elsewhere.connection_file))).execute(code)
    assert result.outputs[0]["text"] == "OwnKernel\nOwnKernel\n"
