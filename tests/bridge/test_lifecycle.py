"""Restarting and ending kernels: who is asked to do it, what is asked first, and what is left as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.bridge import lifecycle
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.lifecycle import question
from kernel_bridge_magic.bridge.starting import wanted
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import (
    KernelNotFound,
    NotRun,
    OwnKernel,
)
from kernel_bridge_magic.protocol.events import Event, Stream
from tests.support.hostile import JSON, HostileServer
from tests.support.matches import ANALYSIS, OWN, kernel
from tests.support.servers import ConsoleKernel, wait_for
from tests.support.told import told
from tests.support.transports import has_ended, transport_of

# -- what is asked first


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


@pytest.mark.parametrize("answer", ["n", "restart", EOFError])
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


def test_yes_is_yes() -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return "y"

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


# -- a server that does what a test says


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


# -- a real server


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
    kernel = at_home.starting.start(wanted("python3", "to-be-ended"), as_child=True).kernel
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
