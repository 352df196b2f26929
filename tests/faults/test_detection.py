"""How soon an end is told, the slowest of many (G1 to G5). test_ends.py has each of them once, for CI."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Queued, Stream
from tests.faults.lanes import a_kernel, idle, in_lanes, in_words, told_after
from tests.faults.proxy import FaultProxy
from tests.faults.truth import Run, run, through
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

LongRun = Callable[[str, str], None]
RUNS = 50
LANES = 3
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


def within(seconds: list[float], bound: float) -> str:
    words = in_words(seconds, bound)
    assert max(seconds) <= bound, words
    return words


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("transport_name", "bound"), [("ws", 4), ("zmq", 5)])
def test_g1_a_killed_kernel(
    jupyter_server: JupyterServer, tmp_path: Path, long_run: LongRun, transport_name: str, bound: float
) -> None:
    def once(_: str) -> float:
        # A new one each time: a kernel that ends five times within a minute is not started again.
        with a_kernel(jupyter_server) as kernel:
            return told_after(
                jupyter_server, kernel, transport_name, tmp_path, lambda pid: os.kill(pid, signal.SIGKILL)
            )[0]

    long_run(f"G1: kernel killed, {transport_name}", within(in_lanes(jupyter_server, LANES, RUNS, once), bound))


# -- G2: somebody else restarts the kernel, in three forms (F4 to F6)


def restart(server: JupyterServer, kernel: str) -> threading.Thread:
    """Ask for a restart, as another client does; the server's answer comes when the kernel is back."""
    thread = threading.Thread(target=server.rest, args=("POST", f"api/kernels/{kernel}/restart", {}))
    thread.start()
    return thread


def while_it_runs(server: JupyterServer, kernel: str, directory: Path) -> float:
    asked: list[threading.Thread] = []
    seconds, cell = told_after(server, kernel, "ws", directory, lambda pid: asked.append(restart(server, kernel)))
    asked[0].join()
    assert "restarted by another client" in cell.told
    return seconds


def while_it_ignores_signals(server: JupyterServer, kernel: str, directory: Path) -> float:
    idle(server, kernel)
    with connect_over(server, found(server, kernel), "ws")[0] as connection:
        cell = Run(connection.start(Cell(STUBBORN)), directory / "no-truth", 0).start()
        cell.until(lambda: any(isinstance(event, Stream) for _, event in cell.events))
        began = cell.now
        asked = restart(server, kernel)
        cell.join()
        asked.join()
        assert cell.fate is Fate.DIED, cell.told
        return cell.ended - began


def while_it_is_queued(server: JupyterServer, kernel: str, directory: Path) -> float:
    idle(server, kernel)

    def connect() -> KernelConnection:
        return connect_over(server, found(server, kernel), "ws")[0]

    with connect() as owner, connect() as guest:
        busy = Run(owner.start(Cell("import time; time.sleep(60)")), directory / "no-truth", 0).start()
        busy.until(lambda: busy.started)
        cell = run(guest, directory, 3, 0.0)
        cell.until(lambda: any(isinstance(event, Queued) for _, event in cell.events))
        began = cell.now
        asked = restart(server, kernel)
        cell.join()
        busy.join()
        asked.join()
        assert cell.fate in (Fate.NOT_RUN, Fate.UNKNOWN, Fate.OK), cell.told
        cell.check()
        cell.path.unlink(missing_ok=True)
        return cell.ended - began


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", [while_it_runs, while_it_ignores_signals, while_it_is_queued])
def test_g2_a_restart_by_another_client(
    jupyter_server: JupyterServer,
    tmp_path: Path,
    long_run: LongRun,
    form: Callable[[JupyterServer, str, Path], float],
) -> None:
    seconds = in_lanes(jupyter_server, LANES, RUNS, lambda kernel: form(jupyter_server, kernel, tmp_path))
    long_run(f"G2: restarted by another client {form.__name__.replace('_', ' ')}", within(seconds, 7))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_g3_a_deleted_kernel(jupyter_server: JupyterServer, tmp_path: Path, long_run: LongRun) -> None:
    def once(_: str) -> float:
        def delete(pid: int) -> None:
            jupyter_server.request("DELETE", f"api/kernels/{kernel}")

        with a_kernel(jupyter_server) as kernel:
            return told_after(jupyter_server, kernel, "ws", tmp_path, delete)[0]

    long_run("G3: kernel deleted", within(in_lanes(jupyter_server, LANES, RUNS, once), 6))


# -- links


def silence(server: JupyterServer, kernel: str, directory: Path) -> tuple[float, float]:
    """Forget a connection in mid-run; give the seconds until a word was said of it, and until it was opened again."""
    with FaultProxy(server.port) as proxy:
        connection, transport, _ = through(server, proxy, kernel)
        with connection:
            cell = run(connection, directory, 900, 0.03)
            cell.until(lambda: len(cell.lines) > 10)
            broke = cell.now
            proxy.hold(for_good=True)
            cell.join(90)
            assert (cell.fate, transport.reconnects) == (Fate.OK, 1), cell.told
            cell.check()
            return cell.when("last heard") - broke, cell.when("back after") - broke


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_g4_a_link_that_says_nothing(jupyter_server: JupyterServer, tmp_path: Path, long_run: LongRun) -> None:
    both = in_lanes(jupyter_server, 10, RUNS, lambda kernel: silence(jupyter_server, kernel, tmp_path))
    long_run("G4: silent link, the notice", within([notice for notice, _ in both], 8))
    long_run("G4: silent link, declared broken and open again", within([broken for _, broken in both], 20))


def reset_once(server: JupyterServer, kernel: str, directory: Path) -> float:
    """Reset a link in mid-run; give the seconds until the next line was shown."""
    with FaultProxy(server.port) as proxy:
        connection, transport, _ = through(server, proxy, kernel)
        with connection:
            cell = run(connection, directory, 60, 0.02)
            cell.until(lambda: len(cell.lines) > 10)
            broke = cell.now
            proxy.reset()
            cell.join()
            assert (cell.fate, transport.reconnects) == (Fate.OK, 1), cell.told
            cell.check()
            again = cell.when("back after")
            return next(when for when, event in cell.events if isinstance(event, Stream) and when > again) - broke


def p95_within(seconds: list[float], bound: float) -> str:
    words = in_words(seconds, bound)
    assert sum(one > bound for one in seconds) <= len(seconds) // 20, words
    return words


def test_g5_streaming_again_after_a_few_resets(jupyter_server: JupyterServer, tmp_path: Path) -> None:
    p95_within(in_lanes(jupyter_server, 1, 2, lambda kernel: reset_once(jupyter_server, kernel, tmp_path)), 1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_g5_streaming_again_after_two_hundred_resets(
    jupyter_server: JupyterServer, tmp_path: Path, long_run: LongRun
) -> None:
    seconds = in_lanes(jupyter_server, 2, 200, lambda kernel: reset_once(jupyter_server, kernel, tmp_path))
    long_run("G5: from a reset to the next line, p95", p95_within(seconds, 1))


# -- G6


def part_once(server: JupyterServer, kernel: str, directory: Path, away: float, lines: int) -> None:
    """Take the network away for a while in mid-run: nothing is lost, nothing comes twice."""
    with FaultProxy(server.port) as proxy:
        connection, transport, _ = through(server, proxy, kernel)
        with connection:
            cell = run(connection, directory, lines, (away + 5) / lines)
            cell.until(lambda: len(cell.lines) > 10)
            proxy.hold()
            threading.Event().wait(away)  # the fault itself
            proxy.release()
            cell.join(120)
            assert (cell.fate, cell.check(), transport.reconnects) == (Fate.OK, 0, 0), cell.told
            assert cell.lines == list(range(lines))


def test_g6_short_partitions_at_the_same_time(jupyter_server: JupyterServer, tmp_path: Path) -> None:
    in_lanes(jupyter_server, 2, 2, lambda kernel: part_once(jupyter_server, kernel, tmp_path, 2, 100))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_g6_partitions_of_thirty_seconds(jupyter_server: JupyterServer, tmp_path: Path, long_run: LongRun) -> None:
    in_lanes(jupyter_server, 10, RUNS, lambda kernel: part_once(jupyter_server, kernel, tmp_path, 30, 1000))
    long_run("G6: 30 s partitions, 1000 lines each", f"{RUNS} runs: 0 lines lost, 0 twice, 0 reconnects")
