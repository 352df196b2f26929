"""Ctrl-C at any moment: while a cell is found, sent, received, while its link is being opened again (G11, G12).

The child (storm.py) is a shell whose main thread runs `%%remote`; the signals are real and come at random times.
"""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import FaultProxy
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import TRANSPORTS

LongRun = Callable[[str, str], None]
ROOT = Path(__file__).parents[2]
HANGS = 20.0  # seconds; nothing here takes as long
TWICE = 0.5  # seconds from the second Ctrl-C to the prompt
LINES = "import time\nfor n in range(20): print(n, flush=True); time.sleep(0.01)"
STUBBORN = """\
import signal, time
before = signal.signal(signal.SIGINT, lambda number, frame: None)
print('on', flush=True)
time.sleep(2)
signal.signal(signal.SIGINT, before)"""


class Storm:
    """The child; `ask` runs one cell there, `press` is Ctrl-C."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.answer()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(json.loads(line))

    def send(self, cell: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(cell) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What became of the cell; a child that says nothing hangs."""
        try:
            return self._answers.get(timeout=HANGS)
        except queue.Empty:
            os.kill(self.process.pid, signal.SIGABRT)  # faulthandler says where
            raise AssertionError("it hangs") from None

    def run(self, cell: str) -> dict[str, Any]:
        self.send(cell)
        return self.answer()

    def press(self) -> None:
        os.kill(self.process.pid, signal.SIGINT)


@contextmanager
def storm(server: JupyterServer, proxy: FaultProxy, directory: Path, transport_name: str) -> Iterator[Storm]:
    env = os.environ | {
        # By WebSocket only through the proxy: the server that is found here would be nearer.
        "JUPYTER_RUNTIME_DIR": str(server.runtime_dir if transport_name == "zmq" else directory / "runtime"),
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "PYTHONFAULTHANDLER": "1",
    }
    directory.mkdir(exist_ok=True)
    with (directory / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.storm", f"http://127.0.0.1:{proxy.port}/", server.token, directory],
            cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        yield Storm(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def line(kernel: str, transport_name: str) -> str:
    return f"%%remote --quiet --transport {transport_name} {kernel}\n"


def press_at_random(
    server: JupyterServer, proxy: FaultProxy, kernel: str, transport_name: str, directory: Path, count: int, seed: int
) -> str:
    """Interrupt so many cells, each once, at a random moment; give what became of them."""
    dice = random.Random(seed)
    fates: Counter[str] = Counter()
    moments = ["any", "send", "first"] + ["reconnect"] * (transport_name == "ws")
    with storm(server, proxy, directory, transport_name) as child:
        head = line(kernel, transport_name)
        usable(child, head)
        threads, descriptors = settled(child, head)
        for _ in range(count):
            moment = dice.choice(moments)
            if moment == "send":
                child.send(f"{head}{LINES}\n# {'x' * 3_000_000}")
            else:
                child.send(head + LINES)
            if moment == "reconnect":
                time.sleep(dice.random() * 0.2)
                proxy.reset()
            time.sleep(dice.random() * {"any": 0.4, "send": 0.08, "first": 0.02, "reconnect": 0.1}[moment])
            child.press()
            answer = child.answer()
            fates[answer["fate"] if answer["fate"] != "none" else answer["error"].split(":")[0]] += 1
            # Whatever was interrupted, nothing stays broken.
            usable(child, head, again=moment == "reconnect")
        after = settled(child, head)
        assert len(after[0]) <= len(threads), f"{after[0]}, before {threads}"
        assert after[1] <= descriptors, f"{after[1]} descriptors, {descriptors} before"
    words = ", ".join(f"{number} {fate}" for fate, number in sorted(fates.items()))
    assert set(fates) <= {"ok", "failed", "left running", "unknown", "KeyboardInterrupt", "LinkLost"}, words
    return words


def usable(child: Storm, head: str, *, again: bool = False) -> None:
    """Run a cell to its end; with `again` the link may have been reset so late that the first try meets that."""
    answer = child.run(head + "assert 6 * 7 == 42")
    if again and answer["fate"] != "ok":
        assert answer["error"].startswith("LinkLost"), answer
        answer = child.run(head + "assert 6 * 7 == 42")
    assert answer["fate"] == "ok", answer


def settled(child: Storm, head: str) -> tuple[list[str], int]:
    """Which threads of ours and how many descriptors the child has when nothing is under way."""
    end = time.monotonic() + 5
    answer = child.run(head + "1")
    while time.monotonic() < end and len(answer["threads"]) > 1:
        time.sleep(0.1)
        answer = child.run(head + "1")
    return answer["threads"], answer["descriptors"]


@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_g12_a_few_interrupts_at_random(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, transport_name: str
) -> None:
    press_at_random(jupyter_server, proxy, own_kernel, transport_name, tmp_path / "storm", 15, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_g12_five_hundred_interrupts_over_each_transport(
    jupyter_server: JupyterServer,
    own_kernel: str,
    proxy: FaultProxy,
    tmp_path: Path,
    transport_name: str,
    long_run: LongRun,
) -> None:
    seed = int(time.time())
    words = press_at_random(jupyter_server, proxy, own_kernel, transport_name, tmp_path / "storm", 500, seed)
    result = f"500 interrupts: {words}; 0 hangs, the next cell ran after each, 0 threads and descriptors left"
    long_run(f"G12: Ctrl-C at a random moment, {transport_name}", result)


def press_twice(
    server: JupyterServer, proxy: FaultProxy, kernel: str, transport_name: str, directory: Path, count: int
) -> list[float]:
    """Press Ctrl-C twice in cells that ignore it; give the seconds from the second to the prompt."""
    dice = random.Random(count)
    seconds: list[float] = []
    shown = directory / "shown"
    with storm(server, proxy, directory, transport_name) as child:
        head = line(kernel, transport_name)
        usable(child, head)
        for _ in range(count):
            before = shown.stat().st_size
            child.send(head + STUBBORN)
            wait_for(lambda before=before: shown.stat().st_size > before, "the cell's first line")
            time.sleep(dice.random() * 0.1)
            child.press()
            time.sleep(0.02 + dice.random() * 0.2)  # two that come at once are one signal
            pressed = time.monotonic()
            child.press()
            answer = child.answer()
            assert answer["fate"] == "left running", answer
            seconds.append(answer["ended"] - pressed)
            usable(child, head)
    return seconds


@pytest.mark.bounded
@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_g11_the_second_ctrl_c_gives_the_prompt_back(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, transport_name: str
) -> None:
    seconds = press_twice(jupyter_server, proxy, own_kernel, transport_name, tmp_path / "storm", 3)
    # One of them may meet a machine that does something else; the long run has no such excuse.
    assert sorted(seconds)[1] <= TWICE and max(seconds) <= 4 * TWICE, seconds


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_g11_a_hundred_times_twice(
    jupyter_server: JupyterServer,
    own_kernel: str,
    proxy: FaultProxy,
    tmp_path: Path,
    transport_name: str,
    long_run: LongRun,
) -> None:
    seconds = press_twice(jupyter_server, proxy, own_kernel, transport_name, tmp_path / "storm", 100)
    assert max(seconds) <= TWICE, sorted(seconds)[-5:]
    long_run(
        f"G11: the second Ctrl-C, {transport_name}", f"100 runs: the prompt is back after {max(seconds):.2f} s at most"
    )
