"""The loop that shows a cell, and what Ctrl-C does to it: with real signals and a real kernel."""

from __future__ import annotations

import os
import queue
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kernel_bridge_magic.connection import KernelConnection
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import BadCell, Fate, FateError, LeftRunning, RemoteError
from kernel_bridge_magic.interrupts import interrupts_to
from kernel_bridge_magic.protocol.events import Started, Stream
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.runner import run

Connect = Callable[[str], KernelConnection]


class Screen:
    """A sink that keeps what was shown; `on_text` is called with each stream's text."""

    def __init__(self, answers: list[Any] | None = None) -> None:
        self.shown: list[tuple[Any, ...]] = []
        self.answers = answers or []
        self.on_text: Callable[[str], None] = lambda text: None

    def stream(self, name: str, text: str) -> None:
        self.shown.append((name, text))
        self.on_text(text)

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self.shown.append(("display", data.get("text/plain"), update))

    def clear(self, wait: bool) -> None:
        self.shown.append(("clear", wait))

    def result(self, value: RemoteValue) -> None:
        self.shown.append(("result", value.text))

    def error(self, error: RemoteError | FateError) -> None:
        self.shown.append(("error", error))

    def note(self, text: str) -> None:
        self.shown.append(("note", text))

    def ask(self, prompt: str, password: bool) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        self.shown.append(("ask", prompt, password))
        return str(answer)

    @property
    def text(self) -> str:
        return "".join(item[1] for item in self.shown if item[0] == "stdout")


@pytest.fixture
def kernel(connect: Connect, shared_kernel: str) -> KernelConnection:
    return connect(shared_kernel)


def run_in(kernel: KernelConnection, code: str, screen: Screen, **options: Any) -> RemoteResult:
    relay = Relay(screen, kernel.kernel, quiet=True)
    options.setdefault("keep_outputs", False)
    return run(kernel.start(code, stdin=bool(screen.answers), **options), relay, screen)


def interrupt_ourselves() -> None:
    os.kill(os.getpid(), signal.SIGINT)


# -- what is shown


def test_everything_is_shown_in_order_and_the_outcome_given(kernel: KernelConnection) -> None:
    screen = Screen()
    result = run_in(kernel, "print(1)\nfrom IPython.display import display\ndisplay(2)\n3", screen, keep_outputs=True)
    assert screen.shown == [("stdout", "1\n"), ("display", "2", False), ("result", "3")]
    assert (result.fate, result.text, len(result.outputs)) == (Fate.OK, "3", 3)


def test_an_error_is_given_not_raised_and_not_shown(kernel: KernelConnection) -> None:
    screen = Screen()
    result = run_in(kernel, "1 / 0", screen)
    assert isinstance(result.error, RemoteError)
    assert screen.shown == []
    assert result.outputs == []


def test_input_is_asked_here(kernel: KernelConnection) -> None:
    screen = Screen(["ann", "secret"])
    result = run_in(kernel, "import getpass; input('name? ') + getpass.getpass('word? ')", screen)
    assert result.text == "'annsecret'"
    assert screen.shown[:2] == [("ask", "name? ", False), ("ask", "word? ", True)]


def test_the_end_of_input_ends_the_cell_s_question(kernel: KernelConnection) -> None:
    result = run_in(kernel, "input()", Screen([EOFError()]))
    assert isinstance(result.error, RemoteError)
    assert result.error.ename == "EOFError"


def test_ctrl_c_at_a_question_interrupts_the_cell_there(kernel: KernelConnection) -> None:
    result = run_in(kernel, "input()", Screen([KeyboardInterrupt()]))
    assert isinstance(result.error, RemoteError)
    assert result.error.ename == "KeyboardInterrupt"
    assert kernel.execute("1").text == "1"


def test_a_bad_cell_changes_no_handler(kernel: KernelConnection) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(BadCell):
        run_in(kernel, "", Screen())
    assert signal.getsignal(signal.SIGINT) is before


# -- Ctrl-C


def test_the_first_ctrl_c_interrupts_there_and_shows_the_rest(kernel: KernelConnection) -> None:
    screen = Screen()
    screen.on_text = lambda text: interrupt_ourselves() if text == "begun\n" else None
    code = "import time\nprint('begun')\ntry:\n    time.sleep(60)\nfinally:\n    print('drained')"
    result = run_in(kernel, code, screen)
    assert isinstance(result.error, RemoteError)
    assert result.error.ename == "KeyboardInterrupt"
    assert screen.text == "begun\ndrained\n"


def test_the_second_ctrl_c_leaves_it_running(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    screen = Screen()

    def twice(text: str) -> None:
        if text == "begun\n":
            interrupt_ourselves()
            interrupt_ourselves()

    screen.on_text = twice
    code = (
        "import signal, time\nbefore = signal.signal(signal.SIGINT, lambda number, frame: None)\n"
        "print('begun', flush=True)\ntime.sleep(1.5)\nsignal.signal(signal.SIGINT, before)\nleft = 1"
    )
    result = run_in(kernel, code, screen)
    assert isinstance(result.error, LeftRunning)
    assert "goes on there" in str(result.error)
    assert kernel.execute("left").text == "1"


def test_a_hundred_interrupts_lose_no_line(kernel: KernelConnection) -> None:
    """A handler that only leaves word loses nothing (FACTS 10)."""
    lines, hits = 2000, 0  # fewer a second than a server's rate limit allows
    arrived: queue.SimpleQueue[None] = queue.SimpleQueue()
    over = threading.Event()
    chance = random.Random(1)

    def handler() -> None:
        nonlocal hits
        hits += 1
        arrived.put(None)

    def disturb() -> None:
        for _ in range(100):
            interrupt_ourselves()
            arrived.get(timeout=20)
            over.wait(chance.random() * 0.02)

    code = f"import time\nfor n in range({lines}):\n    print(n, flush=True)\n    n % 20 or time.sleep(0.02)"
    disturber = threading.Thread(target=disturb)
    text = ""
    with interrupts_to(handler):
        execution = kernel.start(code)
        for event in execution:
            if isinstance(event, Started):
                disturber.start()
            if isinstance(event, Stream):
                text += event.text
        over.set()
        while disturber.is_alive():
            disturber.join(0.05)  # a join without end would not let the handler run
    assert hits == 100
    assert execution.result is not None
    assert execution.result.fate is Fate.OK
    assert text == "".join(f"{n}\n" for n in range(lines))
    assert kernel.execute("1").text == "1"
