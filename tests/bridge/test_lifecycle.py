"""Starting, restarting and ending kernels: who is asked to do it, what is asked first, and what is left as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.bridge import lifecycle
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.lifecycle import Wanted, question, wanted
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import (
    BadInput,
    KernelBridgeError,
    KernelNotFound,
    NotRun,
    OwnKernel,
    ServerError,
)
from kernel_bridge_magic.faces import COMMAND_LINE, MAGICS
from kernel_bridge_magic.protocol.events import Event, Stream
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.servers.entries import Entry
from tests.support.hostile import JSON, HostileServer
from tests.support.matches import ANALYSIS, OWN, kernel
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for
from tests.support.transports import has_ended, transport_of

NOTEBOOK = {"cells": [], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}

# -- what is asked for, and what is asked first


@pytest.mark.parametrize(
    ("what", "name", "means"),
    [
        ("north.ipynb", "", Wanted(notebook="north.ipynb")),
        ("students/north.ipynb", "n", Wanted(notebook="students/north.ipynb", name="n")),
        ("./a//b.ipynb", "", Wanted(notebook="a/b.ipynb")),
        ("/home/me/b.ipynb", "", Wanted(notebook="/home/me/b.ipynb")),
        ('"my notebook.ipynb"', "", Wanted(notebook="my notebook.ipynb")),
        ("python3", "", Wanted(spec="python3")),
        (" ir ", "größe-2.x", Wanted(spec="ir", name="größe-2.x")),
    ],
)
def test_what_is_to_be_started(what: str, name: str, means: Wanted) -> None:
    assert wanted(what, name) == means


@pytest.mark.parametrize(
    "name", ["a b", "#2", "-x", "re:x", "lab::x", "a,b", "../x", "a/b", "$x", '"x"', ".", "\x1b[2J"]
)
def test_a_name_that_could_not_be_typed_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be a kernel's name: use letters"):
        wanted("python3", name)


@pytest.mark.parametrize("what", ["", "  ", "''"])
def test_nothing_is_refused(what: str) -> None:
    with pytest.raises(BadInput, match=r"^which one"):
        wanted(what)


@pytest.mark.parametrize(
    ("connections", "ours", "busy", "busy_for", "asked"),
    [
        (2, 1, True, "0:42", "restart work/analysis.ipynb? 1 other client is connected, busy for 0:42 [y/N] "),
        (1, 1, False, "", "restart work/analysis.ipynb? [y/N] "),
        (0, 1, False, "", "restart work/analysis.ipynb? [y/N] "),
        (None, 1, True, "", "restart work/analysis.ipynb? busy [y/N] "),
        (4, 1, False, "", "restart work/analysis.ipynb? 3 other clients are connected [y/N] "),
    ],
)
def test_the_question_says_who_else_has_it(
    connections: int | None, ours: int, busy: bool, busy_for: str, asked: str
) -> None:
    one = kernel(1, "work/analysis.ipynb", connections=connections)
    assert question("restart", one, ours=ours, busy=busy, busy_for=busy_for) == asked


def test_a_hostile_name_is_shown_as_it_is_in_the_question() -> None:
    assert "\x1b" not in question("shut down", kernel(1, "a\x1b[2J.ipynb"), ours=0, busy=False)


@pytest.mark.parametrize("answer", ["", "n", "no", "yess", "yes please", "restart", "\x04", "Ja", EOFError])
@pytest.mark.parametrize("verb", ["restart", "shutdown"])
def test_anything_but_yes_is_no(verb: str, answer: str | type[EOFError]) -> None:
    def ask(text: str) -> str:
        if isinstance(answer, str):
            return answer
        raise answer

    with (
        contextlib.closing(Bridge()) as bridge,
        pytest.raises(NotRun, match=r"^nothing was done to work/"),
    ):
        bridge.life.confirm(verb, ANALYSIS, yes=False, ask=ask)


@pytest.mark.parametrize("answer", ["y", "Y", " yes ", "YES\n"])
def test_yes_is_yes(answer: str) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return answer

    with contextlib.closing(Bridge()) as bridge:
        bridge.life.confirm("shutdown", ANALYSIS, yes=False, ask=ask)
        assert asked == ["shut down work/analysis.ipynb? [y/N] "]
        bridge.life.confirm("shutdown", ANALYSIS, yes=True, ask=ask)
        assert len(asked) == 1
        with pytest.raises(NotRun, match=r"nobody can be asked here.*Add --yes"):
            bridge.life.confirm("shutdown", ANALYSIS, yes=False, ask=None)


def test_this_kernel_itself_is_never_ended() -> None:
    with contextlib.closing(Bridge()) as bridge:
        for act in (bridge.life.restart, bridge.life.shutdown):
            with pytest.raises(OwnKernel):
                act(OWN)


def test_how_long_it_has_been_busy() -> None:
    now = datetime(2026, 1, 2, 0, 0, 30)
    clocks = {"23:59:48": "0:42", "00:00:30": "0:00", "22:58:28": "1:02:02", "": "", "soon": "", "99:99:99": ""}
    assert {clock: lifecycle.since(clock, now) for clock in clocks} == clocks


@pytest.mark.parametrize(
    "what", ["http://lab/notebooks/a.ipynb?token=abc", "lab/tree/a.ipynb?TOKEN=abc", "file:///a.ipynb"]
)
def test_a_url_is_refused_and_its_token_not_shown(what: str) -> None:
    with pytest.raises(BadInput, match=r"^a URL is no notebook's path\. Write the path from") as refused:
        wanted(what)
    assert "abc" not in str(refused.value)


# -- a server that does what a test says


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "none"))
    with HostileServer() as server:
        specs: dict[str, object] = {"kernelspecs": {"python3": {"spec": {}}, "ir": {"spec": {}}}}
        server.paths["/api/kernelspecs"] = 200, JSON, json.dumps(specs)
        yield server


@pytest.fixture
def bridge(hostile: HostileServer) -> Iterator[Bridge]:
    with contextlib.closing(Bridge(face=MAGICS)) as bridge:
        bridge.add_server(Entry("lab", hostile.url))
        yield bridge


def told(work: Callable[[], object]) -> str:
    with pytest.raises(KernelBridgeError) as refused:
        work()
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("status", [403, 404, 405])
@pytest.mark.parametrize("verb", ["restart", "shutdown"])
def test_a_server_that_does_not_allow_it_is_one_line(
    bridge: Bridge, hostile: HostileServer, verb: str, status: int
) -> None:
    act = {"restart": bridge.life.restart, "shutdown": bridge.life.shutdown}[verb]
    path = "/api/kernels/scripted" + "/restart" * (verb == "restart")
    hostile.state = "idle"

    def refuse(request: Any) -> Any:
        return (status, {}, "") if request.method != "GET" else (200, JSON, '{"id": "scripted"}')

    hostile.paths[path] = refuse
    kernel = bridge.find("scripted")
    connection = bridge.pool.connect(kernel)
    assert not kernel.is_yours, "a sandboxed server decides itself"
    assert told(lambda: act(kernel)) == (
        f"lab does not let you do that with its kernels ({status}); ask whoever runs it"
    )
    assert connection.is_open and bridge.pool.known(kernel) == [connection], "it is as it was"
    assert not transport_of(connection).state.life.end_is_ours, "a later end is another's doing"


def test_a_kernel_that_does_not_come_up_is_not_waited_for_without_end(
    bridge: Bridge, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kernel_bridge_magic.servers import rest

    for module in (rest, lifecycle):
        monkeypatch.setattr(module, "SLOW_SECONDS", 3.1)
    let_go = threading.Event()
    hostile.paths["/api/kernels/scripted/restart"] = lambda request: (let_go.wait(30) and None) or (200, JSON, "{}")
    kernel = bridge.find("scripted")
    line = told(lambda: bridge.life.restart(kernel))
    let_go.set()
    assert line == (
        "scripted has not come up within 3.1 s. lab was told to restart it, and its log says what it waits for"
    )


def test_a_server_that_says_it_is_done_before_the_kernel_is(
    bridge: Bridge, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.paths["/api/kernels/scripted/restart"] = 200, JSON, "{}"
    kernel = bridge.find("scripted")
    assert bridge.life.restart(kernel) >= 0 and not hostile.handlers, "it is not visited where we were not"
    before = bridge.pool.connect(kernel)
    bridge.life.restart(kernel)
    (after,) = bridge.pool.known(kernel)
    assert after is not before and after.is_open and not before.is_open
    monkeypatch.setattr(lifecycle, "SLOW_SECONDS", 0.5)
    hostile.doors = len(hostile.handlers)  # its kernel answers nobody
    assert told(lambda: bridge.life.restart(kernel)) == (
        "scripted has not come up within 0.5 s. lab was told to restart it, and its log says what it waits for"
    )


def test_a_dead_kernel_is_up_as_soon_as_it_answers(
    bridge: Bridge, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.paths["/api/kernels/scripted/restart"] = 200, JSON, "{}"
    monkeypatch.setattr(lifecycle, "SLOW_SECONDS", 5.0)
    kernel = bridge.find("scripted")
    bridge.pool.connect(kernel)
    bridge.life.restart(dataclasses.replace(kernel, state="dead"))
    (after,) = bridge.pool.known(kernel)
    assert after.is_open


def test_what_is_open_or_taken_is_not_started(bridge: Bridge, hostile: HostileServer) -> None:
    hostile.sessions = [
        {"path": "students/north.ipynb", "name": "north.ipynb", "type": "notebook", "kernel": hostile.kernels[0]}
    ]
    for path in ("students/north.ipynb", "./students/north.ipynb"):
        line = told(functools.partial(bridge.life.start, wanted(path), as_child=True))
        assert line == (
            "students/north.ipynb is open already, so nothing was started. To run code in it: "
            "%%remote students/north.ipynb"
        )
    line = told(lambda: bridge.life.start(wanted("python3", "north"), as_child=True))
    assert line == (
        "a kernel is called north already, so nothing was started. Give another --name, or use that one: %%remote north"
    )
    own = dataclasses.replace(bridge.find("north"), is_this_kernel=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge.search, "look", lambda *given: Listing((own,)))
        line = told(lambda: bridge.life.start(wanted("students/north.ipynb"), as_child=True))
    assert line.endswith("is open already, so nothing was started. It is this kernel's own notebook")
    line = told(lambda: bridge.life.start(wanted("julia"), as_child=True))
    assert line == "lab has no kernel called 'julia', so nothing was started. It has: ir, python3"
    line = told(lambda: bridge.life.start(wanted("north.ipynb"), as_child=True))
    assert line == "lab has no notebook north.ipynb; write its path from the server's root"
    assert not [request for request in hostile.requests if request[0] != "GET"]


def test_a_server_that_does_not_answer_may_still_start_it(
    bridge: Bridge, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kernel_bridge_magic.servers import rest

    monkeypatch.setattr(rest, "SLOW_SECONDS", 3.1)
    let_go = threading.Event()

    def start(request: Any) -> Any:
        if request.method == "GET":
            return 200, JSON, "[]"
        let_go.wait(30)
        return 200, JSON, "{}"

    hostile.paths["/api/sessions"] = start
    line = told(lambda: bridge.life.start(wanted("python3", "scratch"), as_child=True))
    let_go.set()
    assert line == "lab: no answer within 3.1 s; it may still start the kernel, and %kernels shows it then"


def test_several_servers_are_asked_for_and_listed(hostile: HostileServer) -> None:
    with HostileServer() as second, HostileServer() as broken:
        broken.paths["/api/kernels"] = 500, {}, ""
        urls = ", ".join(sorted([hostile.url, second.url]))
        for face, named in ((MAGICS, "-s NAME: gpu, lab"), (COMMAND_LINE, f"--base-url URL: {urls}")):
            with contextlib.closing(Bridge(face=face)) as bridge:
                for name, server in (("lab", hostile), ("gpu", second), ("broken", broken)):
                    bridge.add_server(Entry(name, server.url))
                line = told(lambda: bridge.life.start(wanted("python3"), as_child=True))
                assert line == f"2 servers are in reach, so nothing was started. Choose one with {named}"
                with pytest.raises(ServerError, match="broken"):
                    bridge.life.start(wanted("python3"), "broken", as_child=True)
                assert "no server is called 'nosuch'" in told(
                    lambda: bridge.life.start(wanted("ir"), "nosuch", as_child=True)
                )


def test_without_a_server_a_command_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with contextlib.closing(Bridge(face=COMMAND_LINE)) as bridge:
        assert told(lambda: bridge.life.start(wanted("python3"), as_child=False)) == (
            "no server is in reach, and a kernel without one would end with this command. Start a Jupyter server, or "
            "name one with --base-url URL"
        )
        for path, why in (
            ("missing.ipynb", "No such file or directory"),
            (str(tmp_path / "b.ipynb"), "not a notebook"),
        ):
            (tmp_path / "b.ipynb").write_text("oops")
            assert f"cannot be read ({why}), so nothing was started" in told(
                functools.partial(bridge.life.start, wanted(path), as_child=True)
            )


# -- a real server


@pytest.fixture
def at_home(jupyter_server: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter_server.runtime_dir))
    with contextlib.closing(Bridge(face=MAGICS)) as bridge:
        yield bridge


@pytest.mark.parametrize("transport", ["zmq", "ws"])
def test_the_cell_behind_a_restart_runs_without_an_alarm(
    at_home: Bridge, own_kernel: str, shared_kernel: str, transport: str
) -> None:
    beside = at_home.pool.connect(at_home.find(shared_kernel), transport)
    beside.execute("life = 1")
    kernel = at_home.find_to("restart", own_kernel)
    before = at_home.pool.connect(kernel, transport)
    first = before.execute("import os; life = 2; os.getpid()").text
    at_home.life.restart(kernel)
    assert not before.is_open
    notes: list[Event] = []
    after = at_home.pool.connect(kernel, transport, note=notes.append)
    assert after.execute("'life' in globals()", timeout=60).text == "False"
    assert after.execute("import os; os.getpid()").text != first
    assert notes == [], "whoever restarted it knows"
    wait_for(lambda: has_ended(transport_of(before)), "the end of the old connection")
    assert beside.is_open and beside.execute("life").text == "1"


@pytest.mark.parametrize("transport", ["zmq", "ws"])
def test_a_cell_that_runs_is_told_of_the_restart(at_home: Bridge, own_kernel: str, transport: str) -> None:
    kernel = at_home.find(own_kernel)
    execution = at_home.pool.connect(kernel, transport).start(
        Cell("print('begun', flush=True); import time; time.sleep(60)")
    )
    asked: list[str] = []
    for event in execution:
        if isinstance(event, Stream):
            at_home.life.confirm("restart", kernel, yes=False, ask=lambda text: asked.append(text) or "y")
            at_home.life.restart(kernel)
    assert execution.result is not None
    assert f"{kernel.title} was restarted from here during this cell" in str(execution.result.error)
    assert re.search(r"\? busy for \d+:\d\d \[y/N\] $", asked[0]), "its only client is ours"
    assert at_home.pool.connect(kernel).execute("6 * 7", timeout=60).text == "42"


@pytest.mark.parametrize("transport", ["zmq", "ws"])
def test_a_cell_that_runs_is_told_of_the_end(at_home: Bridge, transport: str) -> None:
    kernel = at_home.life.start(wanted("python3", "to-be-ended"), as_child=True).kernel
    cell = Cell("print('begun', flush=True); import time; time.sleep(60)")
    execution = at_home.pool.connect(kernel, transport).start(cell)
    for event in execution:
        if isinstance(event, Stream):
            at_home.life.shutdown(kernel)
    assert execution.result is not None
    says = "to-be-ended was shut down from here during this cell; it has no kernel now"
    assert str(execution.result.error) == says


def test_the_clients_that_are_told_of_are_others(at_home: Bridge, own_kernel: str) -> None:
    asked: list[str] = []
    with contextlib.closing(Bridge()) as other:
        for bridge in (at_home, other):
            bridge.pool.connect(bridge.find(own_kernel), "ws").execute("1")
            kernel = bridge.find_to("restart", own_kernel)
            assert kernel.connections == len(asked) + 1
            bridge.life.confirm("restart", kernel, yes=False, ask=lambda text: asked.append(text) or "y")
    assert [it.partition("? ")[2] for it in asked] == ["[y/N] ", "1 other client is connected [y/N] "]


def test_a_kernel_is_started_found_and_ended(
    at_home: Bridge, jupyter_server: JupyterServer, shared_kernel: str
) -> None:
    folder = jupyter_server.root / "life"
    folder.mkdir(exist_ok=True)
    for name, spec in (("north", "python3"), ("shell", "bash")):
        (folder / f"{name}.ipynb").write_text(json.dumps(NOTEBOOK | {"metadata": {"kernelspec": {"name": spec}}}))
    (folder / "lost.ipynb").write_text(json.dumps(NOTEBOOK | {"metadata": {"kernelspec": {"name": "no-such"}}}))
    before = {it["id"] for it in jupyter_server.rest("GET", "api/kernels")}
    with pytest.raises(KernelNotFound):
        at_home.find("scratch-life")
    started = [
        at_home.life.start(wanted("life/shell.ipynb"), as_child=True),
        at_home.life.start(wanted("python3", "scratch-life"), as_child=True),
        at_home.life.start(wanted("bash"), jupyter_server.url, as_child=True),
    ]
    assert [it.kernel.name for it in started] == ["bash", "python3", "bash"], "a notebook says itself which it wants"
    assert [it.select for it in started[:2]] == ["life/shell.ipynb", "scratch-life"]
    for it in started:
        assert at_home.find(it.select).id == it.kernel.id
    assert at_home.find("shell").id == started[0].kernel.id
    assert told(lambda: at_home.life.start(wanted("life/lost.ipynb"), as_child=True)).endswith(
        " has no kernel called 'no-such', so nothing was started. It has: bash, deno, ir, python3"
    )
    scratch = at_home.find_to("shutdown", "scratch-life")
    connection = at_home.pool.connect(scratch)
    assert connection.execute("6 * 7", timeout=60).text == "42"
    at_home.life.shutdown(scratch)
    assert not connection.is_open and not at_home.pool.known(scratch)
    with pytest.raises(KernelNotFound):
        at_home.find("scratch-life")
    assert told(lambda: at_home.life.shutdown(scratch)).endswith(" any more; list the kernels again")
    for it in (started[0], started[2]):
        at_home.life.shutdown(it.kernel)
    assert {it["id"] for it in jupyter_server.rest("GET", "api/kernels")} == before


# -- no server


def test_a_kernel_of_somebody_else_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    with ConsoleKernel(runtime, "4711") as console, contextlib.closing(Bridge()) as bridge:
        kernel = bridge.find_to("restart", "kernel-4711")
        connection = bridge.pool.connect(kernel)
        connection.execute("life = 1")
        refused = "cannot be restarted from here: it has no server, and only what started it can start it again"
        assert refused in told(lambda: bridge.life.restart(kernel))
        assert refused in told(lambda: bridge.life.confirm("restart", kernel, yes=False, ask=lambda text: "y"))
        assert connection.is_open and connection.execute("life").text == "1", "it is as it was"
        with monkeypatch.context() as patch:  # another kernel may come to its file while somebody is asked
            pids = iter([console.process.pid, 4711])
            patch.setattr(lifecycle, "listening_process", lambda file: next(pids))
            assert told(lambda: bridge.life.confirm("shutdown", kernel, yes=False, ask=lambda text: "y")).endswith(
                " has ended meanwhile, so nothing was done. kernels() shows what there is"
            )
        bridge.life.confirm("shutdown", kernel, yes=False, ask=lambda text: "y")
        bridge.life.shutdown(kernel)
        with pytest.raises(KernelNotFound):
            bridge.find("kernel-4711")
        wait_for(lambda: console.process.poll() is not None, "the end of its process")
        wait_for(lambda: has_ended(transport_of(connection)), "the end of the connection")
        assert not console.connection_file.exists()
