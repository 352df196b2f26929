"""Whatever stands still for a while: the network, the server, the kernel. What is told, and that nothing is lost.

Most take longer than CI has: one partition and the far server are looked at there, the rest are marked `long`.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import Fate, TimedOut
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Lost, Note, Started, Stream
from kernel_bridge_magic.transports import timing as transport_timing
from tests.faults.proxy import FaultProxy
from tests.faults.truth import Run, run, through
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import private_shell
from tests.support.transports import connect_over, found

Tell = Callable[..., None]


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server that this test may stop."""
    with JupyterServer(tmp_path_factory.mktemp("own-server")) as server:
        yield server


@pytest.mark.long
def test_f21_a_connection_that_is_forgotten_is_told_of_and_opened_again(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 900, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        broke = cell.now
        proxy.hold(for_good=True)
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() > 0, "the server was not told, and sent into nothing"
        assert transport.reconnects == 1
        told = next(note for note in cell.notes if "last heard" in note)
        assert cell.when("back after") - broke <= 20
        tell(21, f"{told}; {cell.losses[0].reason}", cell.when("last heard") - broke, 8)


def test_f22_a_partition_loses_nothing(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, tell: Tell
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 600, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        broke = cell.now
        proxy.hold()
        time.sleep(8)  # the fault itself
        proxy.release()
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() == 0
        assert transport.reconnects == 0
        told = next(note for note in cell.notes if "heard again" in note)
        tell(22, f"{told}; 0 of {cell.count} lost", cell.when("last heard") - broke, 8)


@pytest.mark.long
def test_f15_a_server_that_stands_still_is_told_of_and_loses_nothing(
    own_server: JupyterServer, tmp_path: Path, tell: Tell
) -> None:
    kernel = own_server.start_kernel(path="a.ipynb")
    connection, transport = connect_over(own_server, found(own_server, kernel), "ws")
    with connection:
        cell = run(connection, tmp_path, 700, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        broke = cell.now
        own_server.signal(signal.SIGSTOP)
        try:
            cell.until(lambda: any("its server does not answer" in note for note in cell.notes), 20)
        finally:
            own_server.signal(signal.SIGCONT)
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() == 0
        told = next(note for note in cell.notes if "does not answer" in note)
        tell(15, told, cell.when("its server does not answer") - broke, 15)
        assert getattr(transport, "reconnects", None) == 0


@pytest.mark.long
@pytest.mark.parametrize("transport_name", ["ws", "zmq"])
def test_f9_a_kernel_that_stands_still_is_told_of_and_loses_nothing(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str, tmp_path: Path, tell: Tell
) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), transport_name)
    with connection:
        pid = int(connection.execute("import os; os.getpid()").text)
        cell = run(connection, tmp_path, 100, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        broke = cell.now
        os.kill(pid, signal.SIGSTOP)
        try:
            cell.until(lambda: any("it does not answer (suspended or swapping?)" in note for note in cell.notes), 20)
        finally:
            os.kill(pid, signal.SIGCONT)
        cell.join()
        assert cell.fate is Fate.OK
        assert cell.check() == 0
        told = next(note for note in cell.notes if "does not answer" in note)
        tell(9, told, cell.when("it does not answer (suspended or swapping?)") - broke, 15)


@pytest.mark.long
def test_f10_native_code_that_holds_the_gil_is_no_kernel_that_stands_still(
    jupyter_server: JupyterServer, own_kernel: str, tell: Tell
) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "zmq")
    with connection:
        # PyDLL keeps the GIL, as extension modules do that never give it back
        code = "import ctypes; print('on', flush=True); ctypes.PyDLL(None).sleep(16); print('done')"
        began = time.monotonic()
        events = [(time.monotonic() - began, event) for event in connection.stream(code, timeout=60)]
    # The first look is after 5 s of silence, and says nothing: some native code takes seconds.
    (when, note), *more = [(when, event) for when, event in events if isinstance(event, Note)]
    assert not more and "busy in native code?" in note.text
    assert when >= 10
    assert "".join(event.text for _, event in events if isinstance(event, Stream)) == "on\ndone\n"
    tell(10, note.text, when, 15)


@pytest.mark.long
@pytest.mark.parametrize("transport_name", ["ws", "zmq"])
def test_f10_a_cell_that_only_computes_is_told_nothing_of_and_looks_busy_to_everybody(
    jupyter_server: JupyterServer, own_kernel: str, transport_name: str
) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), transport_name)
    with connection:
        code = "import time\nend = time.monotonic() + 13\nwhile time.monotonic() < end: pass"
        execution = connection.start(Cell(code, timeout=60))
        states = set()
        for event in execution:
            assert not isinstance(event, Note), event
            # A control request would turn this to idle, and a culler would then kill the kernel
            # (FACTS.md#busy-kernels).
            threading.Timer(
                12, lambda: states.add(jupyter_server.rest("GET", f"api/kernels/{own_kernel}")["execution_state"])
            ).start()
        assert execution.result is not None and execution.result.fate is Fate.OK
    assert states == {"busy"}


@pytest.mark.bounded
def test_f24_a_slow_link_is_no_dead_one_and_says_how_far_it_is(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tell: Tell
) -> None:
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        proxy.rate = 10_000
        began = time.monotonic()
        events = [(time.monotonic() - began, event) for event in connection.stream("print('x' * 80_000)", timeout=60)]
        proxy.rate = 0
        text = "".join(event.text for _, event in events if isinstance(event, Stream))
        assert text == "x" * 80_000 + "\n"
        assert transport.reconnects == 0
    notes = [(when, event) for when, event in events if isinstance(event, Note)]
    started = next(when for when, event in events if isinstance(event, Started))  # what came before was slow as well
    assert all(note.key == "incoming" for _, note in notes), notes
    assert [note.text.split(" ")[0] for _, note in notes][-1] == "all" and len(notes) == 2
    assert re.fullmatch(r"\d\d(\.\d)? kB of a message of 80\.\d kB came in \d s", notes[0][1].text), notes
    tell(24, f"{notes[0][1].text}; then: {notes[1][1].text}", notes[0][0] - started, 7)


def test_f24_in_a_notebook_one_line_takes_the_place_of_the_other(tmp_path: Path) -> None:
    with private_shell(tmp_path) as shell, capture_output() as captured:
        sink = CappedSink(shell)
        relay = Relay(sink, Kernel(id="k", started_by="a test"))
        for come in (50, 100):
            relay.show(Note(f"{come} kB of a message of 120 kB came", key="incoming"))
            relay.show(Stream("stdout", "x"))
        sink.finish()
    first, second = captured.outputs
    assert second.data["text/plain"] == "a test: 100 kB of a message of 120 kB came"
    assert (first.update, second.update) == (False, True)
    assert first.transient["display_id"] == second.transient["display_id"]
    assert captured.stderr == ""


@pytest.mark.bounded
def test_f25_a_far_server_needs_few_round_trips(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tell: Tell
) -> None:
    proxy.latency = 0.3
    connection, _, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        connection.execute("1")
        seconds = []
        for _ in range(3):  # what a machine that is busy otherwise adds is no round trip
            began = time.monotonic()
            for event in connection.stream("print('x', flush=True)"):
                if isinstance(event, Stream):
                    seconds.append(time.monotonic() - began)
        tell(25, "first output of a warm connection", min(seconds), 3 * 0.3)


@pytest.mark.parametrize(
    ("transport_name", "jump"),
    [
        ("ws", -86_400),
        ("zmq", 86_400),
        pytest.param("ws", 86_400, marks=pytest.mark.long),
        pytest.param("zmq", -86_400, marks=pytest.mark.long),
    ],
)
def test_f39_a_clock_that_jumps_ends_nothing_and_stretches_nothing(
    jupyter_server: JupyterServer,
    own_kernel: str,
    transport_name: str,
    jump: int,
    monkeypatch: pytest.MonkeyPatch,
    tell: Tell,
) -> None:
    real = time.time
    connection, transport = connect_over(jupyter_server, found(jupyter_server, own_kernel), transport_name)
    with connection:
        execution = connection.start(Cell("import time; print('on', flush=True); time.sleep(7); 'done'", timeout=60))
        events = []
        for event in execution:
            events.append(event)
            if isinstance(event, Stream):
                monkeypatch.setattr(time, "time", lambda: real() + jump)
        # longer than any silence after which something is asked
        assert execution.result is not None and execution.result.text == "'done'"
        assert not [event for event in events if isinstance(event, Note | Lost)], events
        assert getattr(transport, "reconnects", 0) == 0
        began = time.monotonic()
        with pytest.raises(TimedOut):
            connection.execute("import time; time.sleep(6)", timeout=2)
        seconds = time.monotonic() - began
        monkeypatch.undo()
        assert 2 <= seconds <= 3
        assert connection.is_open
    tell(
        39, f"nothing: {jump / 86_400:+.0f} day by {transport_name}: no timeout fires, one of 2 s takes {seconds:.1f} s"
    )


@pytest.mark.bounded
def test_f38_a_machine_that_has_slept_asks_at_once(
    jupyter_server: JupyterServer,
    own_kernel: str,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Tell,
) -> None:
    # It cannot be put to sleep here; what it would see of that can be: clocks that went apart, and a dead connection.
    asleep = 0.0
    monkeypatch.setattr("kernel_bridge_magic.transports.websocket.clocks_apart", lambda: asleep)
    connection, transport, _ = through(jupyter_server, proxy, own_kernel)
    with connection:
        cell = run(connection, tmp_path, 500, 0.02)
        cell.until(lambda: len(cell.lines) > 10)
        asked = len(proxy.pairs)
        proxy.hold(for_good=True)
        woke, asleep = cell.now, 8 * 3600.0
        wait_for(lambda: len(proxy.pairs) >= 1, "the question on a new connection", 3)
        probed = cell.now - woke
        cell.join()
        assert asked == 1 and transport.reconnects == 1
        assert cell.fate is Fate.OK
        cell.check()
        told = next(note for note in cell.notes if "slept" in note)
        assert re.search(r"last heard 288\d\d s ago; this machine slept", told)
        assert cell.when("back after") - woke <= 8
        tell(38, f"asked at once, open again after {cell.when('back after') - woke:.1f} s: {told}", probed, 3)


# -- F23: longer than patience has


def part_for_long(
    server: JupyterServer, kernel: str, proxy: FaultProxy, directory: Path, away: float, pause: float
) -> tuple[Run, int]:
    """Take the network away while a cell prints; give the cell, and how often the link was opened again."""
    connection, transport, _ = through(server, proxy, kernel)
    with connection:
        cell = run(connection, directory, 300, pause)
        cell.until(lambda: len(cell.lines) > 10)
        proxy.hold()
        time.sleep(away)  # the fault itself
        # What a network has lost stays lost: the old connection is not heard of again.
        old = [pair for pair in proxy.pairs if not pair.ended]
        proxy.release()
        assert old
        cell.join(400)
        assert cell.fate in (Fate.OK, Fate.UNKNOWN), cell.told
        cell.check()
        return cell, transport.reconnects


def test_f23_a_partition_longer_than_patience_is_tried_until_it_ends(
    jupyter_server: JupyterServer,
    own_kernel: str,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Tell,
) -> None:
    monkeypatch.setattr(timing, "current", replace(timing.current, silent_running=5.0, longest_retry=2.0))
    monkeypatch.setattr(transport_timing, "current", replace(transport_timing.current, websocket_reopen=1.0))
    cell, reconnects = part_for_long(jupyter_server, own_kernel, proxy, tmp_path, 12, 0.05)
    # A handshake that the network held back may come late, and take the place of the one that came through.
    assert reconnects >= 1
    assert cell.when("link lost at") < cell.when("back after")
    back = next(note for note in cell.notes if "back after" in note)
    lost = "; ".join(loss.reason for loss in cell.losses) or "nothing lost"
    tell(23, f"12 s, with a patience of 5 s: {back}; {lost}; {cell.told}")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_f23_a_partition_of_three_minutes(
    jupyter_server: JupyterServer,
    own_kernel: str,
    proxy: FaultProxy,
    tmp_path: Path,
    tell: Tell,
    long_run: Callable[[str, str], None],
) -> None:
    cell, reconnects = part_for_long(jupyter_server, own_kernel, proxy, tmp_path, 180, 0.75)
    assert reconnects == 1
    back = next(note for note in cell.notes if "back after" in note)
    words = "; ".join([back, *(loss.reason for loss in cell.losses), cell.told])
    tell(23, f"3 minutes: {words}")
    long_run("F23: a partition of three minutes", words)
