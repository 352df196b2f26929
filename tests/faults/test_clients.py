"""Who else is there: another client whose cell fails, our own threads, tasks and forks, and cells that print on."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.bridge.pump import Pump
from kernel_bridge_magic.bridge.runner import run as run_cell
from kernel_bridge_magic.bridge.widgets import WidgetBridge
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.neutral import waiting
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import Fate, LinkLost
from kernel_bridge_magic.protocol.events import Queued
from tests.faults.foreign import ForeignClient
from tests.faults.lanes import a_kernel
from tests.faults.late import LateNotes
from tests.faults.truth import Run, run
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import private_shell
from tests.support.transports import TRANSPORTS, connect_over, found

Tell = Callable[..., None]


def open_to(server: JupyterServer, kernel: str, transport_name: str) -> KernelConnection:
    return connect_over(server, found(server, kernel), transport_name)[0]


@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_f41_a_queued_cell_that_another_client_s_error_aborts_is_not_run(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, tmp_path: Path, tell: Tell
) -> None:
    other = ForeignClient(jupyter_server, own_kernel)
    try:
        with open_to(jupyter_server, own_kernel, transport_name) as connection:
            failing = other.send("import time; print('on', flush=True); time.sleep(2)\n1 / 0")
            other.until(failing, lambda ran: ran.text)
            cell = run(connection, tmp_path, 3, 0.0)
            cell.until(lambda: any(isinstance(event, Queued) for _, event in cell.events))
            cell.join()
            assert cell.fate is Fate.NOT_RUN, cell.told
            cell.check()
            assert cell.told == (
                "a.ipynb skipped the cell after another client's cell failed or was interrupted; the cell was not run, "
                "so it is safe to run it again"
            )
            tell(41, cell.told)
            assert other.until(failing, lambda ran: ran.reply).reply["ename"] == "ZeroDivisionError"
            assert connection.execute("1 + 1").text == "2"
    finally:
        other.close()


@pytest.mark.bounded
def test_f40_a_queued_cell_says_whom_it_waits_for_and_since_when(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    other = ForeignClient(jupyter_server, own_kernel)
    with (
        contextlib.closing(other),
        open_to(jupyter_server, own_kernel, "ws") as owner,
        open_to(jupyter_server, own_kernel, "zmq") as guest,
    ):
        guest.execute("1")  # it is open, and hears what others run
        since = time.strftime("%H:%M:%S")
        first = other.send("import time; print('on', flush=True); time.sleep(3)")
        other.until(first, lambda ran: ran.text)
        theirs = Run(guest.start(Cell("1")), tmp_path / "none", 0).start()
        theirs.join()
        busy = Run(owner.start(Cell("import time; time.sleep(3)")), tmp_path / "none", 0).start()
        busy.until(lambda: busy.started)
        cells = [Run(connection.start(Cell("1")), tmp_path / "none", 0).start() for connection in (guest, owner)]
        for cell in (*cells, busy):
            cell.join()
        whose = [[event for _, event in cell.events if isinstance(event, Queued)] for cell in (theirs, *cells)]
        (another,), *ours = whose
        assert another == Queued(another.since), "another client's"
        assert all(len(each) == 1 and each[0].ours and each[0].sure and each[0].since for each in ours), ours
        assert since <= another.since <= time.strftime("%H:%M:%S") or since > another.since == "00:00:00"
        line = waiting(another, guest.kernel.title, "Ctrl-C")
        tell(40, line, next(when for when, event in theirs.events if isinstance(event, Queued)), 1)


# -- forks (F44)


def use_it(connection: KernelConnection, how: str, answer: int) -> None:
    """What a child may do with the parent's connection."""
    said = "ran"
    try:
        connection.execute("2")
    except LinkLost:
        said = "refused"
    connection.close()
    os.write(answer, said.encode())


@pytest.mark.parametrize("transport_name", TRANSPORTS)
@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_f44_a_fork_in_mid_run_leaves_the_parent_s_cell_alone(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, how: str, tmp_path: Path, tell: Tell
) -> None:
    with open_to(jupyter_server, own_kernel, transport_name) as connection:
        cell = run(connection, tmp_path, 100, 0.02)
        cell.until(lambda: len(cell.lines) > 5)
        heard, answer = os.pipe()
        if how == "fork":
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a child that hangs is no reason for the parent to
                try:
                    use_it(connection, how, answer)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
        else:
            process = multiprocessing.get_context("fork").Process(target=use_it, args=(connection, how, answer))
            process.start()
            process.join(20)
            assert process.exitcode == 0
        assert os.read(heard, 20) == b"refused"
        os.close(heard)
        os.close(answer)
        cell.join()
        assert (cell.fate, cell.check(), cell.notes) == (Fate.OK, 0, [])
        assert connection.execute("3").text == "3"
    tell(44, f"{how}, {transport_name}: refused in the child; the parent's cell lost 0 of 100 lines")


# -- threads and tasks (F45)


@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_f45_threads_on_one_kernel_take_turns_each_with_its_own_output(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, tell: Tell
) -> None:
    texts: dict[int, str] = {}
    with open_to(jupyter_server, own_kernel, transport_name) as connection:
        connection.execute("inside = most = 0")
        code = (
            "inside += 1; most = max(most, inside)\nimport time\n"
            "for n in range(10): print('thread {0}', n, flush=True); time.sleep(0.005)\ninside -= 1"
        )

        def work(number: int) -> None:
            outputs = connection.execute(code.format(number)).outputs
            texts[number] = "".join(item["text"] for item in outputs)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert texts == {n: "".join(f"thread {n} {i}\n" for i in range(10)) for n in range(8)}
        assert connection.execute("most").text == "1", "one after the other"
    tell(45, f"{transport_name}: 8 threads, each with its own 10 lines, one after the other")


@pytest.mark.bounded
@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_f45_tasks_on_two_kernels_run_at_the_same_time(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, tell: Tell
) -> None:
    async def both(first: KernelConnection, second: KernelConnection) -> list[str]:
        cells = [
            (kernel, f"import time; time.sleep(1.5); 'cell {n}'") for n, kernel in enumerate((first, second, first))
        ]
        results = await asyncio.gather(*(asyncio.to_thread(kernel.execute, code) for kernel, code in cells))
        return [result.text for result in results]

    with (
        a_kernel(jupyter_server) as other,
        open_to(jupyter_server, own_kernel, transport_name) as first,
        open_to(jupyter_server, other, transport_name) as second,
    ):
        first.execute("1")
        second.execute("1")
        began = time.monotonic()
        assert asyncio.run(both(first, second)) == ["'cell 0'", "'cell 1'", "'cell 2'"]
        seconds = time.monotonic() - began
        assert 3.0 <= seconds <= 4.2, "two on the first kernel, the other one beside them"
    tell(45, f"{transport_name}: three tasks of 1.5 s, two of them on one kernel: {seconds:.1f} s")


# -- output after idle (F48)


@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_f48_a_thread_that_prints_on_after_the_cell_prints_below_that_cell(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, tmp_path: Path, tell: Tell
) -> None:
    gate = tmp_path / "gate"
    code = (
        "import os, sys, threading, time\n"
        f"def late():\n    while not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
        "    for n in range(5): print('late', n, flush=True)\n"
        "    sys.stderr.write('swapped\\n'); sys.stderr.flush()\n"
        "threading.Thread(target=late).start()\nprint('now')"
    )
    with private_shell(tmp_path) as shell, open_to(jupyter_server, own_kernel, transport_name) as connection:
        front, pump = LateNotes(), Pump()
        widgets = WidgetBridge(connection, front, pump)
        try:
            sink = TerminalSink(shell)
            execution = connection.start(Cell(code))
            with widgets.cell(execution, {"header": {"msg_id": "the cell"}}, sink):
                assert run_cell(execution, Relay(sink, connection.kernel), sink).fate is Fate.OK
            gate.touch()  # the cell is over, and nobody has waited for what may come
            wait_for(lambda: "swapped" in front.text, "what comes late")
            assert front.text == "".join(f"late {n}\n" for n in range(5)) + "swapped\n"
            assert front.parents == {"the cell"}
        finally:
            widgets.close()
            pump.close()
    tell(48, f"{transport_name}: 6 late lines, shown below their cell")
