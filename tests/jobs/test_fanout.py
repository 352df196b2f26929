"""One cell on many kernels at once: nobody holds up the others, and each has an outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.jobs import fanout
from kernel_bridge_magic.jobs.fanout import Begun, Came, FanOut
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Started, Stream
from kernel_bridge_magic.results import RemoteResult
from tests.support.scripted import ScriptedCell, ScriptedServer, WSCell
from tests.support.servers import wait_for

SECONDS = 20.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(Vault())
    yield pool
    pool.close()


def kernels(server: ScriptedServer, *names: str) -> list[Kernel]:
    return [replace(server.kernel, id=name, started_by=name) for name in names]


def name_of(cell: ScriptedCell) -> str:
    """Which kernel a cell came to."""
    assert isinstance(cell, WSCell)
    return cell.handler.request.path.split("/")[3]


def greets(cell: ScriptedCell) -> None:
    cell.busy()
    cell.iopub("execute_input", {"code": "", "execution_count": 1})
    cell.print(f"{name_of(cell)}\n")
    cell.reply()
    cell.idle()


def run(fan: FanOut, saw: Callable[[int, Came], None] = lambda number, came: None) -> list[RemoteResult]:
    for item in fan:
        if item is not None:
            saw(*item)
    return [result for result in fan.results if result is not None]


def fates(results: list[RemoteResult]) -> list[str]:
    return [str(result.fate) for result in results]


def test_each_kernel_has_its_events_in_order_and_an_outcome(pool: Pool) -> None:
    with ScriptedServer(greets) as server:
        came: dict[int, list[Came]] = {0: [], 1: [], 2: []}
        results = run(
            FanOut(pool, kernels(server, "a", "b", "c"), Cell("x")), lambda number, it: came[number].append(it)
        )
    assert fates(results) == ["ok"] * 3 and [result.stdout for result in results] == ["a\n", "b\n", "c\n"]
    for number, name in enumerate("abc"):
        first, *events, last = came[number]
        assert isinstance(first, Begun) and last is results[number]
        wanted = [event for event in events if isinstance(event, Started | Stream)]
        assert wanted == [Started(), Stream("stdout", f"{name}\n")]


def test_what_one_kernel_does_holds_up_no_other(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "STARTING_SECONDS", 0.3)
    over = threading.Event()

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.iopub("execute_input", {"code": "", "execution_count": 1})
        if (name := name_of(cell)) == "slow":
            over.wait(SECONDS)
        elif name == "raises":
            cell.iopub("error", {"ename": "E", "evalue": "v", "traceback": ["E: v"]})
            cell.reply("error", ename="E", evalue="v", traceback=["E: v"])
            cell.idle()
        else:
            greets(cell)

    class Silent(ScriptedServer):
        def answer(self, action: Callable[[], None]) -> None:
            """Answer no question, as a kernel that never comes up."""

    with ScriptedServer(script) as server, Silent(script) as silent:
        targets = [
            *kernels(server, "a", "slow", "raises"),
            replace(kernels(server, "dead")[0], state="dead"),
            replace(kernels(silent, "starting")[0], state="starting"),
            *kernels(server, "z"),
        ]
        results = run(FanOut(pool, targets, Cell("x", timeout=2)))
        over.set()
        assert silent.cells() == []
    assert fates(results) == ["ok", "left running", "failed", "not run", "not run", "ok"]
    assert [str(result.error) for result in results if result.fate is Fate.NOT_RUN] == [
        "dead was not reached: dead is dead. Restart it where it was started",
        "starting is starting, as its server says, and did not answer within 0.3 s; nothing was sent",
    ]
    assert str(results[1].error) == "slow: no result within 2 s. The cell is still running there"


def test_a_kernel_that_starts_is_waited_for_if_the_user_wants_that(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "STARTING_SECONDS", 0.0)
    with ScriptedServer(greets) as server:
        (starting,) = [replace(kernel, state="starting") for kernel in kernels(server, "a")]
        assert fates(run(FanOut(pool, [starting], Cell("x"), if_busy="wait"))) == ["ok"]


def waits_for_interrupt(server: Callable[[], ScriptedServer], enough: int) -> Callable[[ScriptedCell], None]:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.iopub("execute_input", {"code": "", "execution_count": 1})
        wait_for(lambda: server().interrupts >= enough, "the interrupt", SECONDS)
        cell.iopub("error", {"ename": "KeyboardInterrupt", "evalue": "", "traceback": []})
        cell.reply("error", ename="KeyboardInterrupt", evalue="", traceback=[])
        cell.idle()

    return script


def test_an_interrupt_reaches_all_that_run_and_what_was_not_sent_is_not_run(pool: Pool) -> None:
    with ScriptedServer(waits_for_interrupt(lambda: server, 2)) as server:
        fan = FanOut(pool, kernels(server, "a", "b", "c"), Cell("x"), at_once=2)
        began: set[int] = set()

        def saw(number: int, came: Came) -> None:
            if isinstance(came, Started) and len(began) < 2:
                began.add(number)
                if len(began) == 2:
                    fan.interrupt()

        results = run(fan, saw)
        assert len(server.cells()) == 2
    waiting = ({0, 1, 2} - began).pop()
    assert [str(result.fate) for result in results] == ["not run" if n == waiting else "failed" for n in range(3)]
    assert all(result.interrupted for n, result in enumerate(results) if n != waiting)
    assert str(results[waiting].error) == "interrupted before the cell was sent; nothing was run"


def test_a_second_interrupt_leaves_all_running(pool: Pool) -> None:
    over = threading.Event()

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.iopub("execute_input", {"code": "", "execution_count": 1})
        over.wait(SECONDS)

    with ScriptedServer(script) as server:
        fan = FanOut(pool, kernels(server, "a", "b"), Cell("x"))
        began: set[int] = set()

        def saw(number: int, came: Came) -> None:
            if isinstance(came, Started):
                began.add(number)
                if len(began) == 2:
                    fan.interrupt()
                    fan.interrupt()

        assert fates(run(fan, saw)) == ["left running"] * 2
        over.set()


def test_an_error_while_showing_leaves_the_cells_running(pool: Pool) -> None:
    over = threading.Event()

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.iopub("execute_input", {"code": "", "execution_count": 1})
        over.wait(SECONDS)

    def saw(number: int, came: Came) -> None:
        if isinstance(came, Started):
            raise OSError("disk full")

    with ScriptedServer(script) as server:
        fan = FanOut(pool, kernels(server, "a", "b"), Cell("x"))
        with pytest.raises(OSError, match="disk full"):
            run(fan, saw)
        assert {result.fate for result in fan.results if result is not None} <= {Fate.LEFT_RUNNING, Fate.NOT_RUN}
        over.set()


def test_few_connections_and_no_threads_are_left(pool: Pool) -> None:
    before = threading.active_count()
    with ScriptedServer(greets) as server:
        names = [f"k{n}" for n in range(100)]
        assert fates(run(FanOut(pool, kernels(server, *names), Cell("x")))) == ["ok"] * 100
        assert len([one for one in pool.connections if one.is_open]) <= 16
        assert fates(run(FanOut(pool, kernels(server, *names), Cell("x")))) == ["ok"] * 100
        assert len([one for one in pool.connections if one.is_open]) <= 16
        wait_for(lambda: threading.active_count() <= before + 20, "the end of the threads")


def test_what_was_called_off_is_not_connected_to(pool: Pool) -> None:
    with ScriptedServer(waits_for_interrupt(lambda: server, 1)) as server:
        fan = FanOut(pool, kernels(server, "a", "b", "c"), Cell("x"), at_once=1)
        results = run(fan, lambda number, came: fan.interrupt() if isinstance(came, Started) else None)
        wait_for(lambda: not any(it.name.startswith("kernel-bridge-") and it.name[14:].isdigit()
                                 for it in threading.enumerate()), "the end of its threads")  # fmt: skip
        assert sorted(fates(results)) == ["failed", "not run", "not run"]
        assert len(pool.connections) == 1


def test_a_connection_that_is_open_too_late_is_closed(pool: Pool) -> None:
    waits, goes_on = threading.Event(), threading.Event()

    class Late(Pool):
        def connect(self, *arguments: Any, **options: Any) -> KernelConnection:
            waits.set()
            goes_on.wait(SECONDS)
            connection = super().connect(*arguments, **options)
            opened.append(connection)
            return connection

    opened: list[KernelConnection] = []
    late = Late(Vault())
    with ScriptedServer(greets) as server:
        fan = FanOut(late, kernels(server, "a"), Cell("x"))
        for _ in fan:
            if waits.is_set():
                fan.interrupt()
        assert [str(result.fate) for result in fan.results if result] == ["not run"]
        goes_on.set()
        wait_for(lambda: opened and not opened[0].is_open, "its end")
        assert not late.connections
    late.close()


def test_a_problem_of_ours_with_one_kernel_ends_no_other(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = pool.connect

    def fails(kernel: Kernel, *arguments: Any, **options: Any) -> KernelConnection:
        if kernel.title == "b":
            raise OSError("no room")
        return connect(kernel, *arguments, **options)

    monkeypatch.setattr(pool, "connect", fails)
    with ScriptedServer(greets) as server:
        results = run(FanOut(pool, kernels(server, "a", "b", "c"), Cell("x")))
    assert fates(results) == ["ok", "not run", "ok"]
    assert str(results[1].error) == "b: OSError was raised here: no room"


def test_a_kernel_that_never_starts_leaves_no_connection(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "STARTING_SECONDS", 0.3)

    class Silent(ScriptedServer):
        def answer(self, action: Callable[[], None]) -> None:
            """Answer no question."""

    with Silent(greets) as server:
        (starting,) = [replace(kernel, state="starting") for kernel in kernels(server, "a")]
        assert fates(run(FanOut(pool, [starting], Cell("x")))) == ["not run"]
        assert not pool.connections
