"""Durable mode through broken links, beside another client: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.errors import Fate
from tests.faults.proxy import FaultProxy
from tests.faults.truth import run, through
from tests.support.roads import found, road_to
from tests.support.servers import JupyterServer, wait_for

Tell = Callable[..., None]
LongRun = Callable[[str, str], None]
HOOKED = "'send' in get_ipython().kernel.session.__dict__"


def left_behind(other: KernelConnection) -> str:
    return other.execute(HOOKED).text


@pytest.mark.timeout(240)
def test_f18_f19_nothing_is_lost_beside_another_client(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    other, _ = road_to(jupyter_server, found(jupyter_server, own_kernel), "ws")
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
    with connection, road_to(jupyter_server, found(jupyter_server, own_kernel), "ws")[0] as other:
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
    other, _ = road_to(jupyter_server, found(jupyter_server, own_kernel), "ws")
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with other, connection:
        cell = run(connection, tmp_path, 30, 0.02, durable=True)
        cell.until(lambda: len(cell.lines) > 5)
        with proxy.away():
            wait_for(lambda: len(cell.printed) == 30, "the last line")
            other.execute("1")  # behind the cell: it has ended
        cell.join()
        assert (cell.fate, cell.lines, cell.losses) == (Fate.OK, list(range(30)), [])
        assert left_behind(other) == "False"


def test_f34_what_the_rate_limit_drops_is_fetched(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy
) -> None:
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        code = "import sys\nfor i in range(20000):\n    sys.stdout.write(f'L{i}\\n'); sys.stdout.flush()"
        result = connection.execute(code, durable=True)
        text = "".join(output["text"] for output in result.outputs if output["output_type"] == "stream")
        assert text == "".join(f"L{i}\n" for i in range(20000))
        assert result.missing == 0
    with road_to(jupyter_server, found(jupyter_server, own_kernel), "zmq")[0] as other:
        assert left_behind(other) == "False"  # by a road without that limit
