"""Cells all the time, over both transports, and a fault every few seconds: nothing leaks, no fate is wrong (G10, G24).

`KERNEL_BRIDGE_SOAK` is how many minutes the long one takes, 20 if it is not set.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import Fate, KernelBridgeError
from tests.faults.lanes import a_kernel
from tests.faults.proxy import FaultProxy
from tests.faults.truth import run, through
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found

LongRun = Callable[[str, str], None]
PAUSE = 5.0  # seconds between two faults
CELL_SECONDS = 300.0  # a fault may cut off each return of the link; nothing else keeps a cell for so long
GROWTH = 20  # MiB
# Fates that these faults may give, beside ok; what a fault cannot cause is a lie wherever it is told.
POSSIBLE = {Fate.OK, Fate.DIED, Fate.NOT_RUN, Fate.UNKNOWN}


@dataclass
class Lane:
    """One kernel, and cells in it one after the other over one transport."""

    transport_name: str
    server: JupyterServer
    proxy: FaultProxy
    directory: Path
    kernel: str = ""
    fates: Counter[str] = field(default_factory=Counter)
    #: when this kernel was ended by a fault, in seconds on the monotonic clock
    ended: list[float] = field(default_factory=list)
    lost: int = 0
    opened: int = 0
    #: where cells would have left a trace that were told not to have run
    not_run: list[Path] = field(default_factory=list)

    def work(self, until: threading.Event, seed: int) -> None:
        dice = random.Random(seed)
        while not until.is_set():
            try:
                connection = self._open()
            except (KernelBridgeError, OSError):
                self.fates["not opened"] += 1
                until.wait(0.2)
                continue
            self.opened += 1
            with connection:
                while connection.is_open and not until.is_set():
                    self._cell(connection, dice)

    def _open(self) -> KernelConnection:
        if self.transport_name == "ws":
            return through(self.server, self.proxy, self.kernel)[0]
        return connect_over(self.server, found(self.server, self.kernel), "zmq")[0]

    def _cell(self, connection: KernelConnection, dice: random.Random) -> None:
        began = time.monotonic()
        try:
            cell = run(connection, self.directory, dice.randrange(1, 120), 0.01)
        except KernelBridgeError:
            self.fates["not sent"] += 1  # LinkLost: it did not run
            return
        cell.join(CELL_SECONDS)
        assert cell.fate in POSSIBLE, cell.told
        self.lost += cell.check()
        if cell.fate is Fate.DIED:
            # It takes a moment from a fault to its end, and nothing else ends kernels here.
            assert any(when > began - 10 for when in self.ended), (cell.told, self.ended[-3:], began)
        self.fates[str(cell.fate)] += 1
        if cell.fate is Fate.NOT_RUN:
            self.not_run.append(cell.path)
        cell.path.unlink(missing_ok=True)


class Faults:
    """One fault after the other, each at a random moment's random kernel or link."""

    def __init__(self, server: JupyterServer, proxy: FaultProxy, lanes: list[Lane], seed: int) -> None:
        self.server, self.proxy, self.lanes = server, proxy, lanes
        self.met: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._all: list[tuple[str, Callable[[], object]]] = [
            ("RST", proxy.reset),
            ("close", proxy.close_all),
            ("half-close", self.half_close),
            ("black hole", self.black_hole),
            ("forgotten", lambda: proxy.hold(for_good=True)),
            ("latency", self.latency),
            ("rate", self.rate),
            ("refused", self.refused),
            ("server stopped", self.stop_server),
            ("kernel killed", self.kill_kernel),
            ("kernel restarted", self.restart_kernel),
        ]
        self._dice.shuffle(self._all)

    def work(self, until: threading.Event, pause: float) -> None:
        while not until.wait(pause):
            name, fault = self._all[sum(self.met.values()) % len(self._all)]
            self.met[name] += 1
            fault()

    def half_close(self) -> None:
        for pair in list(self.proxy.pairs):
            pair.half_close(self._dice.choice(("up", "down")))

    def black_hole(self) -> None:
        self.proxy.hold()
        time.sleep(self._dice.random() * 4)  # the fault itself, as in all of these
        self.proxy.release()

    def latency(self) -> None:
        self.proxy.latency = 0.2
        time.sleep(3)
        self.proxy.latency = 0.0

    def rate(self) -> None:
        self.proxy.rate = 20_000
        time.sleep(3)
        self.proxy.rate = 0

    def refused(self) -> None:
        with self.proxy.away():
            time.sleep(self._dice.random())

    def stop_server(self) -> None:
        self.server.signal(signal.SIGSTOP)
        time.sleep(self._dice.random() * 4)
        self.server.signal(signal.SIGCONT)

    def kill_kernel(self) -> None:
        lane = self._dice.choice(self.lanes)
        lane.ended.append(time.monotonic())
        for child in psutil.Process(self.server.pid).children():
            if any(lane.kernel in word for word in child.cmdline()):
                os.kill(child.pid, signal.SIGKILL)

    def restart_kernel(self) -> None:
        lane = self._dice.choice(self.lanes)
        lane.ended.append(time.monotonic())
        self.server.rest("POST", f"api/kernels/{lane.kernel}/restart", {})


def ours() -> list[str]:
    """The threads of the code under test."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kernel-bridge")]


def soak(directory: Path, seconds: float, pause: float, seed: int) -> str:
    """Let it run for a while; give the numbers in words. Fails at the first lie and at what is left behind."""
    process = psutil.Process()
    with JupyterServer(directory / "server") as server, a_kernel(server) as first, a_kernel(server) as second:
        # What is opened once for all is open now.
        connect_over(server, found(server, second), "zmq")[0].close()
        descriptors, sockets = process.num_fds(), len(process.net_connections())
        with FaultProxy(server.port) as proxy:
            lanes = [
                Lane("ws", server, proxy, directory, kernel=first),
                Lane("zmq", server, proxy, directory, kernel=second),
                Lane("ws", server, proxy, directory, kernel=second),
            ]
            faults = Faults(server, proxy, lanes, seed)
            # The lanes on one kernel share its ends.
            lanes[2].ended = lanes[1].ended
            sizes = keep_on(lanes, faults, process, seconds, pause, seed)
        wait_for(lambda: not ours(), f"the end of the threads {ours()}", 20)
        gc.collect()
        wait_for(lambda: process.num_fds() <= descriptors, "the closing of the descriptors", 20)
        wait_for(lambda: len(process.net_connections()) <= sockets, "the closing of the sockets", 20)
    assert not any(path.exists() for lane in lanes for path in lane.not_run), "told not to have run, and it ran later"
    growth = (max(sizes[len(sizes) // 2 :]) - sizes[0]) / 2**20
    assert growth <= GROWTH, f"{growth:.0f} MiB: {[size >> 20 for size in sizes]}"
    fates = sum((lane.fates for lane in lanes), Counter[str]())
    words = ", ".join(f"{number} {fate}" for fate, number in sorted(fates.items()))
    cells = sum(number for fate, number in fates.items() if fate not in ("not opened", "not sent"))
    return (
        f"{seconds / 60:.0f} min, {sum(faults.met.values())} faults of {len(faults.met)} kinds, {cells} cells: "
        f"{words}; no fate wrong, {sum(lane.lost for lane in lanes)} lines lost, all told; 0 threads, 0 sockets, "
        f"0 descriptors left; memory {growth:+.1f} MiB"
    )


def keep_on(
    lanes: list[Lane], faults: Faults, process: psutil.Process, seconds: float, pause: float, seed: int
) -> list[int]:
    """Run the lanes and the faults; give our memory, in bytes, over the time after the first tenth."""
    until, over = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def guarded(work: Callable[..., None], *arguments: object) -> threading.Thread:
        def guard() -> None:
            try:
                work(*arguments)
            except BaseException as problem:
                problems.append(problem)
                over.set()

        thread = threading.Thread(target=guard, name="soak")
        thread.start()
        return thread

    threads = [guarded(lane.work, until, seed + number) for number, lane in enumerate(lanes)]
    weather = guarded(faults.work, until, pause)
    sizes: list[int] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds and not over.wait(min(seconds / 20, 10)):
        if passed > seconds / 10:
            gc.collect()
            sizes.append(process.memory_info().rss)
    until.set()
    weather.join(30)
    for thread in threads:
        thread.join(CELL_SECONDS)
    if problems:
        raise problems[0]
    assert not any(thread.is_alive() for thread in threads)
    return sizes


def test_g24_a_short_soak(tmp_path: Path) -> None:
    soak(tmp_path, 15, 1.0, seed=1)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_g24_a_soak(tmp_path: Path, long_run: LongRun) -> None:
    minutes = float(os.environ.get("KERNEL_BRIDGE_SOAK", "20"))
    long_run("G24: soak, a fault every 5 s", soak(tmp_path, minutes * 60, PAUSE, seed=int(time.time())))
