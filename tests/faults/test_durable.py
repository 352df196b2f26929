"""Durable mode through broken links, beside another client: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Queued, Stream
from kernel_bridge_magic.protocol.messages import Message
from tests.faults.proxy import FaultProxy
from tests.faults.truth import Run, run, through
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found

Tell = Callable[..., None]
LongRun = Callable[[str, str], None]
HOOKED = "'send' in get_ipython().kernel.session.__dict__"
WAITS = "import os, sys, time\nwhile not os.path.exists({path!r}): time.sleep(0.02)\n"


def left_behind(other: KernelConnection) -> str:
    return other.execute(HOOKED).text


@pytest.mark.timeout(240)
def test_f18_f19_nothing_is_lost_beside_another_client(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with other, connection:
        cell = run(connection, tmp_path, 800, 0.02, durable=True)
        for times, reached in enumerate((20, 120, 220), 1):
            cell.until(lambda reached=reached: len(cell.lines) > reached)
            with proxy.away():
                wait_for(lambda reached=reached: len(cell.printed) > reached + 40, "more lines")
            # A reset of a link that is still being opened again is none of its own. One that breaks soon after it
            # came back is tried again after up to half a minute.
            wait_for(lambda times=times: transport.reconnects == times, "the link", 90)
        cell.join()
        assert (cell.fate, cell.lines, cell.losses) == (Fate.OK, list(range(800)), [])
        assert transport.reconnects == 3
        assert left_behind(other) == "False"
        assert other.execute("[n for n in globals() if 'pool' in n]").text == "[]"


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_g8_ten_thousand_lines_through_drops_and_partitions(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, long_run: LongRun
) -> None:
    count, drops, partitions = 10_000, 0, 0
    dice = random.Random(8)
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection, connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")[0] as other:
        cell = run(connection, tmp_path, count, 0.04, durable=True)
        cell.until(lambda: len(cell.lines) > 20)

        def printed(more: int) -> None:
            upto = min(len(cell.printed) + more, count - 100)
            wait_for(lambda: len(cell.printed) >= upto, f"{upto} lines", 240, every=0.2)

        while len(cell.printed) < count * 0.85:
            if drops and drops % 5 == 0 and partitions < 2:
                partitions += 1
                proxy.hold(for_good=partitions == 2)  # heard again as if nothing had been; or forgotten by a NAT
                printed(2500)  # a minute and a half and more
                proxy.release()
            drops += 1
            with proxy.away():
                printed(dice.randrange(1, 60))
            reconnects = transport.reconnects
            wait_for(lambda: transport.is_open, "the link", 120)
            assert transport.reconnects >= reconnects
            printed(dice.randrange(50, 400))
        cell.join(400)
        assert (cell.fate, cell.losses) == (Fate.OK, [])
        assert cell.lines == cell.printed == list(range(count))
        assert left_behind(other) == "False"
    long_run(
        "G8: durable, another client attached",
        f"{count} lines through {drops} drops and {partitions} partitions of minutes, {transport.reconnects} "
        "reconnects: 0 lost, 0 twice",
    )


def test_f20_a_cell_that_ends_while_we_are_away_is_fetched(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with other, connection:
        cell = run(connection, tmp_path, 30, 0.02, durable=True)
        cell.until(lambda: len(cell.lines) > 5)
        with proxy.away():
            wait_for(lambda: len(cell.printed) == 30, "the last line")
            other.execute("1")  # behind the cell: it has ended
        cell.join()
        assert (cell.fate, cell.lines, cell.losses) == (Fate.OK, list(range(30)), []), (cell.told, cell.notes)
        assert left_behind(other) == "False"


def test_more_than_one_chunk_is_fetched_before_the_cell_is_called_over(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    go = tmp_path / "go"
    lines = "for i in range(130): sys.stdout.write(f'L{i}\\n' + '.' * 100_000 + '\\n'); sys.stdout.flush()"
    code = f"print('on', flush=True)\n{WAITS.format(path=str(go))}{lines}"
    with other, connection:
        cell = Run(connection.start(Cell(code, durable=True)), tmp_path / "none", 130).start()
        cell.until(lambda: any(isinstance(event, Stream) for _, event in cell.events))
        with proxy.away():
            go.touch()
            other.execute("1")  # behind the cell: it has ended
        cell.join()
        assert (cell.fate, cell.lines, cell.losses) == (Fate.OK, list(range(130)), [])
        assert not [note for note in cell.notes if "remembers" in note]
        assert left_behind(other) == "False"


@pytest.mark.parametrize("free", ["meanwhile", "later"])
def test_a_link_that_breaks_while_the_cell_is_queued_leaves_the_kernel_busy_and_loses_nothing(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, free: str
) -> None:
    owner, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    watcher, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    watcher.subscribe(seen)
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with owner, watcher, connection:
        go = tmp_path / "go"
        code = f"import os, time\nwhile not os.path.exists({str(go)!r}): print('.', flush=True); time.sleep(0.05)"
        busy = Run(owner.start(Cell(code)), tmp_path / "none", 0).start()
        busy.until(lambda: busy.started)
        cell = run(connection, tmp_path, 30, 0.02, durable=True)
        cell.until(lambda: any(isinstance(event, Queued) for _, event in cell.events))
        with proxy.away():
            if free == "meanwhile":
                go.touch()
                wait_for(lambda: len(cell.printed) == 30, "the last line")
                owner.execute("1")  # behind the cell: it has ended
        wait_for(lambda: transport.reconnects == 1, "the link", 90)
        durable = cell.execution.durable
        assert durable is not None
        wait_for(lambda: durable.fetches, "the fetch")
        if free == "later":
            shown = len(busy.events)
            busy.until(lambda: len(busy.events) > shown + 10)  # whatever answered us would have come meanwhile
            assert jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"] == "busy"
            go.touch()
        cell.join()
        assert (cell.fate, cell.lines, cell.losses) == (Fate.OK, list(range(30)), []), (cell.told, cell.notes)
        assert left_behind(owner) == "False"
        states = []
        while not seen.empty():
            message = seen.get()
            states += [(message.parent_id, message.execution_state)] if message.execution_state else []
        owners = busy.execution.msg_id
        assert states[states.index((owners, "busy")) + 1] == (owners, "idle")


def test_what_children_print_through_a_break_is_said_to_be_uncounted(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    first, last = tmp_path / "first", tmp_path / "last"
    code = f"""
import os, sys, time
def say(what): sys.stdout.write(what); sys.stdout.flush()
if not (child := os.fork()):
    for number in range(100): say('kid\\n')
    os._exit(0)
os.waitpid(child, 0)
say('on\\n')
{WAITS.format(path=str(first))}
for number in range(30): say(f'L{{number}}\\n')
open({str(last)!r}, 'w').close()
"""
    with other, connection:
        cell = Run(connection.start(Cell(code, durable=True)), tmp_path / "none", 30).start()

        def text() -> str:
            return "".join(event.text for _, event in cell.events if isinstance(event, Stream))

        cell.until(lambda: "on" in text() and text().count("kid") == 100)
        with proxy.away():
            first.touch()
            wait_for(last.exists, "the last line")
            other.execute("1")
        cell.join()
        assert (cell.fate, cell.lines, cell.losses) == (Fate.OK, list(range(30)), []), (cell.told, cell.notes)
        assert text().count("kid") == 100
        assert len([note for note in cell.notes if "child processes" in note]) == 1
        assert cell.execution.result is not None and cell.execution.result.missing is None
        assert left_behind(other) == "False"


def test_f34_what_the_rate_limit_drops_is_fetched(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        code = "import sys\nfor i in range(8000):\n    sys.stdout.write(f'L{i}\\n'); sys.stdout.flush()"
        result = connection.execute(code, durable=True)
        text = "".join(output["text"] for output in result.outputs if output["output_type"] == "stream")
        assert text == "".join(f"L{i}\n" for i in range(8000))
        assert result.missing == 0
    with connect_over(jupyter_server, found(jupyter_server, own_kernel), "zmq")[0] as other:
        assert left_behind(other) == "False"  # over a transport without that limit
