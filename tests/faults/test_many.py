"""One cell on fifty kernels of which four are in no state to run it; and Ctrl-C on real ones."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.groups import Shown, summary
from kernel_bridge_magic.jobs.fanout import Came, FanOut, run
from kernel_bridge_magic.jobs.together import Together
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Started
from kernel_bridge_magic.results import RemoteResult
from tests.support.owner import Owner
from tests.support.scripted import ScriptedCell, ScriptedServer
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found, known

LIMIT = 10.0  # seconds for each cell
LongRun = Callable[[str, str], None]


@pytest.fixture
def pool(jupyter_server: JupyterServer) -> Iterator[Pool]:
    _, vault = known(jupyter_server)
    pool = Pool(vault)
    yield pool
    pool.close()


def outcomes(fan: FanOut, saw: Callable[[int, Came], object] = lambda number, came: None) -> list[RemoteResult]:
    return list(run(fan, saw).values())


def called(kernel: Kernel, name: str) -> Kernel:
    return replace(kernel, started_by=name, sessions=())


class Canvas:
    """What is said of all kernels at the end."""

    said = ""

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> None: ...

    def end(self, shown: Sequence[Shown], seconds: float, *, group: bool) -> None:
        self.said = summary(shown)


def greets(cell: ScriptedCell) -> None:
    cell.busy()
    cell.iopub("execute_input", {"code": "", "execution_count": 1})
    cell.print("done\n")
    cell.reply()
    cell.idle()


class Silent(ScriptedServer):
    """A server whose kernels never come up: they answer no question."""

    def answer(self, action: Callable[[], None]) -> None:
        """Answer nothing."""


@pytest.mark.parametrize("transport", ["auto", "ws"])
def test_of_fifty_kernels_four_in_trouble_hold_up_none(
    jupyter_server: JupyterServer, pool: Pool, transport: str, tmp_path: Path
) -> None:
    ids = [jupyter_server.start_kernel(path=f"many/{n}.ipynb") for n in range(4)]
    for kernel_id in ids:
        jupyter_server.wait_for_kernel(kernel_id)
    names = ("well", "busy", "frozen", "dying")
    pids = []
    for kernel_id in ids:
        with connect_over(jupyter_server, found(jupyter_server, kernel_id), "ws")[0] as connection:
            pids.append(int(connection.execute("import os; os.getpid()").text))
    owner_s = connect_over(jupyter_server, found(jupyter_server, ids[1]), "zmq")[0]
    with owner_s, ScriptedServer(greets) as server, Silent(greets) as silent:
        owner = Owner(owner_s, tmp_path / "go")
        # The server calls them idle, or busy, since it has heard of them. Before that it calls each "starting".
        wait_for(lambda: found(jupyter_server, ids[1]).state == "busy", "the server's word for the busy one")
        real = [called(found(jupyter_server, it), name) for it, name in zip(ids, names, strict=True)]
        os.kill(pids[2], signal.SIGSTOP)
        never = replace(called(silent.kernel, "starting"), id="starting", state="starting")
        others = [replace(called(server.kernel, f"k{n}"), id=f"k{n}") for n in range(45)]
        code = f"import os, time\ntime.sleep(1)\nif os.getpid() == {pids[3]}: os.kill({pids[3]}, 9)\nprint('done')"
        done_at: dict[int, float] = {}

        def saw(number: int, came: Came) -> None:
            if isinstance(came, RemoteResult):
                done_at[number] = time.monotonic() - began

        began = time.monotonic()
        try:
            fan = FanOut(pool, [*real, never, *others], Cell(code, timeout=LIMIT), transport=transport)
            together = Together(fan.kernels, canvas := Canvas(), lambda name: GroupSink("Stop", 1000, lambda *_: None))

            def take(number: int, came: Came) -> None:
                saw(number, came)
                together.take(number, came)

            results = outcomes(fan, take)
            together.end(group=True)
            took = time.monotonic() - began
        finally:
            os.kill(pids[2], signal.SIGCONT)
        assert owner.unharmed()
    for kernel_id in ids:
        jupyter_server.delete_kernel(kernel_id)
    fates = [str(result.fate) for result in results]
    assert fates == ["ok", "left running", "left running", "died", "not run", *["ok"] * 45]
    assert [result.stdout for result in results if result.fate == "ok"] == ["done\n"] * 46
    well, busy, frozen, dying, starting = results[:5]
    assert well.error is None and "its kernel process ended" in str(dying.error)
    assert "The cell is still queued there" in str(busy.error) and "no result within 10 s" in str(frozen.error)
    left = "2 left running (busy: queued, busy for an earlier cell of yours, frozen"
    assert canvas.said.startswith("50 kernels: 46 ok, ") and left in canvas.said
    assert "1 died (dying)" in canvas.said and "1 not run (starting)" in canvas.said
    assert "starting is starting, as its server says, and did not answer" in str(starting.error)
    assert took < LIMIT + 5
    assert all(done_at[number] < LIMIT for number in (0, *range(5, 50))), "none waited for the four"


def interrupt_when(number_of_kernels: int, times: int) -> Callable[[int, Came], None]:
    """Press Ctrl-C so often when all have begun."""
    begun: set[int] = set()

    def saw(number: int, came: Came) -> None:
        if isinstance(came, Started) and number not in begun:
            begun.add(number)
            if len(begun) == number_of_kernels:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)

    return saw


def four(server: JupyterServer) -> list[Kernel]:
    ids = [server.start_kernel(path=f"four/{n}.ipynb") for n in range(4)]
    for kernel_id in ids:
        server.wait_for_kernel(kernel_id)
    return [called(found(server, kernel_id), f"k{n}") for n, kernel_id in enumerate(ids)]


def test_ctrl_c_once_ends_all_cells_and_twice_leaves_all_running(
    jupyter_server: JupyterServer, pool: Pool, tmp_path: Path
) -> None:
    kernels = four(jupyter_server)
    results = outcomes(FanOut(pool, kernels, Cell("import time; time.sleep(60)", timeout=30)), interrupt_when(4, 1))
    assert [(str(it.fate), getattr(it.error, "ename", "")) for it in results] == [("failed", "KeyboardInterrupt")] * 4
    go = tmp_path / "go"
    stubborn = (
        "import os, signal, time\nbefore = signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\nx = signal.signal(signal.SIGINT, before); on = 1"
    )
    results = outcomes(FanOut(pool, kernels, Cell(stubborn, timeout=30)), interrupt_when(4, 2))
    assert [str(it.fate) for it in results] == ["left running"] * 4
    go.touch()
    results = outcomes(FanOut(pool, kernels, Cell("on")))
    assert [it.text for it in results] == ["1"] * 4
    for kernel in kernels:
        jupyter_server.delete_kernel(kernel.id)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_forty_eight_real_kernels(tmp_path: Path, long_run: LongRun) -> None:
    before = threading.active_count()
    with JupyterServer(tmp_path) as server:
        ids = []
        for number in range(48):
            ids.append(server.start_kernel(path=f"class/{number:02}.ipynb"))
            server.wait_for_kernel(ids[-1])  # many at once take each other's ports
        kernels = [called(found(server, it), f"k{n:02}") for n, it in enumerate(ids)]
        vault = Vault()
        vault.put(known(server)[0].origin, Secret(server.token))
        told = []
        for transport in ("zmq", "ws"):
            pool = Pool(vault)
            try:
                for how in ("with connecting", "warm"):
                    began = time.monotonic()
                    results = outcomes(FanOut(pool, kernels, Cell("import time; time.sleep(1)"), transport=transport))
                    took = time.monotonic() - began
                    told.append(f"{transport} {how} {took:.2f} s")
                    assert [str(it.fate) for it in results] == ["ok"] * 48
                    assert len([it for it in pool.connections if it.is_open]) <= 48
                began = time.monotonic()
                results = outcomes(
                    FanOut(pool, kernels, Cell("time.sleep(60)", timeout=30), transport=transport),
                    interrupt_when(48, 1),
                )
                told.append(f"{transport} interrupted {time.monotonic() - began:.2f} s")
                assert {getattr(it.error, "ename", str(it.fate)) for it in results} == {"KeyboardInterrupt"}
            finally:
                pool.close()
        long_run("48 kernels", "; ".join(told))
    assert threading.active_count() <= before + 2
