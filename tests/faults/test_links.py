"""Links that break and come back, against a real server; what is told is held against what was."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.transports.base import Transport
from tests.faults.proxy import UP, FaultProxy
from tests.faults.truth import Run, run, through
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found

Tell = Callable[..., None]
QUIET_SECONDS = 0.5


def back_note(cell: Run) -> str:
    return next(note for note in cell.notes if "back after" in note)


def words(cell: Run) -> str:
    return "; ".join([back_note(cell), *(loss.reason for loss in cell.losses)])


@pytest.mark.bounded
def test_f17_a_reset_in_mid_run_loses_nothing_that_is_not_told(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 60, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        broke = cell.now
        assert proxy.reset() >= 1
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() <= 3, "what was on its way; the server keeps the rest for us"
        assert transport.reconnects == 1
        tell(17, words(cell), cell.when("back after") - broke, 1)
        # the connection is as good as before
        assert connection.execute("1 + 1").text == "2"


def test_f18_with_another_client_attached_what_was_lost_is_counted(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with other, connection:
        cell = run(connection, tmp_path, 400, 0.02)  # long enough to go on when the link is back
        cell.until(lambda: len(cell.lines) > 10)
        with proxy.away():
            wait_for(lambda: len(cell.printed) > 40, "more lines")
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() > 5
        assert cell.exact, cell.losses
        tell(18, words(cell))


def test_f19_another_client_that_comes_while_we_are_away(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 200, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        proxy.refuse()
        proxy.reset()
        other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
        with other:
            wait_for(lambda: len(cell.printed) > 30, "more lines")
            proxy.refuse(False)
            cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() > 5
        tell(19, words(cell))


@pytest.mark.bounded
def test_f20_a_cell_that_ends_while_we_are_away_is_given_again(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 30, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        with proxy.away():
            wait_for(lambda: idle(jupyter_server, own_kernel), "the end of the cell")
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() <= 3, "what was on its way; the server keeps the rest for us"
        assert cell.lines[-1] == 29
        assert not any("remembers" in note for note in cell.notes), "its reply was given again"
        tell(20, words(cell))


def idle(server: JupyterServer, kernel_id: str) -> bool:
    return bool(server.rest("GET", f"api/kernels/{kernel_id}")["execution_state"] == "idle")


@pytest.mark.parametrize("later", [False, True])
def test_f20_beside_another_client_its_reply_is_gone_and_the_kernel_is_asked(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, later: bool
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with other, connection:
        cell = run(connection, tmp_path, 60, 0.01)
        cell.until(lambda: len(cell.lines) > 10)
        with proxy.away():
            wait_for(lambda: idle(jupyter_server, own_kernel), "the end of the cell")
            if later:
                other.execute("1")  # then that is what the kernel remembers
        cell.join()
        assert cell.check() > 5
        if later:
            assert cell.fate is Fate.UNKNOWN
            assert "the reply that says how is lost. Check before running it again" in cell.told
        else:
            assert cell.fate is Fate.OK
            assert any("remembers how the cell ended" in note for note in cell.notes)
        assert connection.execute("1 + 1").text == "2"


def cut_the_cell(connection: KernelConnection, transport: Transport, proxy: FaultProxy, directory: Path) -> Run:
    """Send a cell whose frame is cut off in the middle by a reset."""
    (pair,) = [pair for pair in proxy.pairs if not pair.ended]
    for _ in range(2):
        before = pair.passed[UP]
        assert connection.execute("1 + 1").text == "2"
        # Beside another guest something goes before each cell: what is cut is the frame behind that.
        sent = pair.passed[UP] - before
        # What the kernel still says of its server's own questions may go with the link: then nothing is proven.
        wait_for(lambda: time.monotonic() - transport.state.heard_iopub > QUIET_SECONDS, "silence on IOPub")
    pair.limits[UP] = pair.passed[UP] + sent - 300
    return run(connection, directory, 3, 0.01).join()


def test_a_cell_that_the_reset_cut_off_is_proven_not_run(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = cut_the_cell(connection, transport, proxy, tmp_path)
        assert transport.reconnects == 1
        assert cell.fate is Fate.NOT_RUN, cell.told
        assert (
            "the link was lost before the cell reached the kernel; the cell was not run, so it is safe to run it again"
            in cell.told
        )
        cell.check()
        assert connection.execute("1 + 1").text == "2"
        cell.check()


def test_beside_another_client_nothing_is_proven(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with other, connection:
        cell = cut_the_cell(connection, transport, proxy, tmp_path)
        assert cell.fate is Fate.UNKNOWN, cell.told
        assert "It may have run: check before running it again" in cell.told


def test_f32_what_came_before_the_break_is_not_shown_twice(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 150, 0.02)
        for reached in (20, 50, 80):
            cell.until(lambda reached=reached: len(cell.printed) > reached and cell.lines[-1] > reached - 10)
            proxy.reset()
        cell.join()
        assert cell.fate is Fate.OK
        cell.check()
        assert transport.reconnects == 3
        tell(32, f"3 resets: {transport.repeated} came twice, 0 shown twice")


@pytest.mark.parametrize("how", ["close", "half-close"])
def test_f17_an_end_without_a_reset_is_the_same(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, how: str
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 40, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        if how == "close":
            proxy.close_all()
        else:
            proxy.pairs[0].half_close("down")
        cell.join()
        assert cell.fate is Fate.OK
        cell.check()


def test_a_link_that_breaks_with_nothing_under_way_is_let_go(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        connection.execute("1")
        proxy.reset()
        wait_for(lambda: not connection.is_open, "the end of the connection")
        assert transport.reconnects == 0


@pytest.mark.bounded
def test_ctrl_c_ends_the_wait_for_a_link_that_stays_away(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 200, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        proxy.refuse()
        proxy.reset()
        cell.until(lambda: any("It is tried again" in note for note in cell.notes))
        asked = cell.now
        cell.execution.interrupt()
        cell.join()
        assert cell.now - asked < 0.5
        assert cell.fate is Fate.LEFT_RUNNING
        wait_for(lambda: not transport.is_open, "the end of the tries", 15)


def test_a_kernel_restarted_while_the_link_was_down_has_died(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 2000, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        with proxy.away():
            jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
        cell.join()
        assert cell.fate is Fate.DIED, cell.told
        cell.check()
        assert transport.state.life.ended is not EndSignal.DEAD
