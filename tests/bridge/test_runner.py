"""The loop that shows a cell, and what Ctrl-C does to it: with real signals and a real kernel."""

from __future__ import annotations

import ctypes
import io
import os
import queue
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.runner import run
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import BadCell, CellError, Fate, FateError, LeftRunning, RemoteError
from kernel_bridge_magic.interrupts import interrupts_to
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.protocol.events import Started, Stream
from kernel_bridge_magic.protocol.frames import encode
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.faults.proxy import FaultProxy
from tests.support.scripted import LIFE, Channels, ScriptedCell, ScriptedKernel, ScriptedServer
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import found, known

Connect = Callable[[str], KernelConnection]


class Screen:
    """A sink that keeps what was shown, a stream's pieces joined; `on_line` is called with each whole line of stdout.

    A kernel may flush between the two writes of a `print`, so a line may come in two pieces.
    """

    def __init__(self, answers: list[Any] | None = None) -> None:
        self.shown: list[tuple[Any, ...]] = []
        self.answers = answers or []
        self.on_line: Callable[[str], None] = lambda line: None
        self.on_ask: Callable[[], None] = lambda: None
        self.on_note: Callable[[str], None] = lambda text: None

    def stream(self, name: str, text: str) -> None:
        before = self.shown.pop()[1] if self.shown and self.shown[-1][0] == name else ""
        self.shown.append((name, before + text))
        if name == "stdout":
            *lines, _ = (before.rpartition("\n")[2] + text).split("\n")
            for line in lines:
                self.on_line(line)

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self.shown.append(("display", data.get("text/plain"), update))

    def clear(self, wait: bool) -> None:
        self.shown.append(("clear", wait))

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        self.shown.append(("result", value.text))

    def error(self, error: CellError) -> None:
        self.shown.append(("error", error))

    stop = "Ctrl-C"
    names_kernel = False

    def inform(self, kind: str, text: str) -> None: ...

    def note(self, text: str) -> None:
        self.shown.append(("note", text))
        self.on_note(text)

    def begin_line(self) -> None:
        pass

    def ask(self, prompt: str, password: bool) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        self.shown.append(("ask", prompt, password))
        self.on_ask()
        return str(answer)

    @property
    def text(self) -> str:
        return "".join(item[1] for item in self.shown if item[0] == "stdout")


@pytest.fixture
def kernel(connect: Connect, shared_kernel: str) -> KernelConnection:
    return connect(shared_kernel)


def run_in(kernel: KernelConnection, code: str, screen: Screen, **options: Any) -> RemoteResult:
    relay = Relay(screen, kernel.kernel)
    options.setdefault("keep_outputs", False)
    return run(kernel.start(Cell(code, stdin=bool(screen.answers), **options)), relay, screen)


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


def test_an_error_behind_which_something_comes_is_shown_where_it_came(kernel: KernelConnection) -> None:
    screen = Screen()
    code = "try:\n    1 / 0\nexcept ArithmeticError:\n    get_ipython().showtraceback()\nprint('on')\n{}['key']"
    relay = Relay(screen, kernel.kernel)
    result = run(kernel.start(Cell(code)), relay, screen)
    assert [item[0] for item in screen.shown] == ["error", "stdout"]
    assert screen.shown[0][1].ename == "ZeroDivisionError"
    assert isinstance(result.error, RemoteError) and result.error.ename == "KeyError"
    assert not relay.error_is_shown
    assert [output.get("ename") for output in result.outputs] == ["ZeroDivisionError", None, "KeyError"]


def test_an_error_that_was_caught_leaves_the_cell_ok(kernel: KernelConnection) -> None:
    screen = Screen()
    code = "try:\n    1 / 0\nexcept ArithmeticError:\n    get_ipython().showtraceback()"
    result = run_in(kernel, code, screen)
    assert (result.fate, result.error) == (Fate.OK, None)
    assert [item[0] for item in screen.shown] == ["error"]


def test_an_error_that_was_caught_does_not_wait_for_the_end_of_its_cell(tmp_path: Path) -> None:
    seen = threading.Event()

    class Watching(Screen):
        def error(self, error: CellError) -> None:
            super().error(error)
            seen.set()

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.iopub("error", {"ename": "E", "evalue": "v", "traceback": ["t"]})
        assert seen.wait(20)
        cell.reply("error", ename="E", evalue="v")
        cell.idle()

    with ScriptedKernel(script, tmp_path) as scripted:
        transport = ZMQTransport(scripted.kernel)
        transport.open(30)
        screen = Watching()
        relay = Relay(screen, scripted.kernel)
        with KernelConnection(scripted.kernel, transport, Control(scripted.kernel, None)) as connection:
            result = run(connection.start(Cell("1")), relay, screen)
    assert result.fate is Fate.FAILED
    assert relay.error_is_shown  # raising it is not to show it again
    assert [item[0] for item in screen.shown] == ["error"]


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


# -- an answer for which there is no link


def test_a_kernel_that_dies_under_a_question_is_told_like_any_other(tmp_path: Path) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.send("stdin", "input_request", {"prompt": "name? ", "password": False})

    with ScriptedKernel(script, tmp_path) as dying:
        transport = ZMQTransport(dying.kernel)
        transport.open(10)
        with KernelConnection(dying.kernel, transport, Control(dying.kernel, None)) as connection:
            screen = Screen(["ann"])

            def die() -> None:
                dying.stop()
                wait_for(lambda: not connection.is_open, "the end of the connection")

            screen.on_ask = die
            result = run_in(connection, "input('name? ')", screen)
    assert result.fate is Fate.DIED
    assert isinstance(result.error, FateError)


def test_a_real_kernel_gets_the_answer_when_the_link_is_back(jupyter_server: JupyterServer, own_kernel: str) -> None:
    with FaultProxy(jupyter_server.port) as proxy:
        _, vault = known(jupyter_server)
        base = parse_base_url(f"http://127.0.0.1:{proxy.port}/")
        vault.put(base.origin, Secret(jupyter_server.token))
        server = Server(base.url, "proxied", base.origin, trusted=True)
        there = found(jupyter_server, own_kernel)
        transport = WebSocketTransport(there, server, vault)
        transport.open(75)
        with KernelConnection(there, transport, Control(there, ServerAPI(server, vault))) as connection:
            screen = Screen(["ann"])

            def cut() -> None:
                proxy.refuse()
                proxy.reset()
                wait_for(lambda: not connection.is_open, "the end of the link")

            screen.on_ask = cut
            screen.on_note = lambda text: proxy.refuse(False)  # "link lost": the answer was given before that
            result = run_in(connection, "input('name? ')", screen)
            assert (result.fate, result.text) == (Fate.OK, "'ann'")


class Asking:
    """A server whose kernel asks, and whose link is down when the answer is given.

    When it is back the same question comes `again`, or an`other`. With `left` it does not come back. With `taken` the
    link breaks only after the answer was sent, and nothing more comes until that was told.
    """

    def __init__(
        self,
        server: ScriptedServer,
        monkeypatch: pytest.MonkeyPatch,
        *,
        again: bool = False,
        other: bool = False,
        left: bool = False,
        taken: bool = False,
    ) -> None:
        self.server = server
        self.again, self.other, self.left, self.taken = again, other, left, taken
        server.script = self._ask
        by_the_book = Channels.by_the_book

        def unless_it_waits(*given: Any) -> None:
            if not hasattr(self, "cell"):
                by_the_book(*given)

        monkeypatch.setattr(Channels, "by_the_book", unless_it_waits)
        transport = WebSocketTransport(server.kernel, server.server, Vault())
        transport.open(10)
        control = Control(server.kernel, ServerAPI(server.server, Vault()))
        self.connection = KernelConnection(server.kernel, transport, control)
        self.cell: ScriptedCell
        self.screen = Screen(["ann", "bob"])
        self.screen.on_ask = self._go_down
        self.screen.on_note = self._come_back

    def _ask(self, cell: ScriptedCell) -> None:
        self.cell = cell
        cell.busy()
        self._send("iopub", "stream", {"name": "stdout", "text": ""}, "twice")
        self._send("iopub", "stream", {"name": "stdout", "text": ""}, "twice")  # ids that say nothing of repeats
        self._send("stdin", "input_request", {"prompt": "name? ", "password": False}, "first")
        if self.left:
            return
        if self.taken:
            wait_for(lambda: self.answers, "the answer")
            cell.drop()
            wait_for(lambda: any("may be lost" in str(item[1]) for item in self.screen.shown), "the note")
        wait_for(lambda: len(self.server.handlers) > 1, "the link")
        if self.again:
            self._send("stdin", "input_request", {"prompt": "name? ", "password": False}, "first")
        if self.other:
            self._send("stdin", "input_request", {"prompt": "name? ", "password": False}, "second")
        wait_for(lambda: self.answers, "the answer")
        self._send("shell", "execute_reply", {"status": "ok", "execution_count": 1}, "reply")
        self._send("iopub", "status", {"execution_state": "idle"}, "idle")

    def _send(self, channel: str, msg_type: str, content: dict[str, Any], msg_id: str) -> None:
        handler = self.server.handlers[-1]
        header = {"msg_id": msg_id, "msg_type": msg_type, "session": LIFE}
        payload = encode(Message(channel, header, self.cell.header, {}, content), self.server.subprotocol)
        handler.soon(lambda: handler.write_message(payload, binary=isinstance(payload, bytes)))

    @property
    def answers(self) -> list[str]:
        return [str(it.content["value"]) for it in self.server.received if it.msg_type == "input_reply"]

    @property
    def asked(self) -> int:
        return sum(item[0] == "ask" for item in self.screen.shown)

    def _go_down(self) -> None:
        if self.asked > 1 or self.taken:
            return
        self.server.refusal = (503, {}, "")
        self.cell.drop()
        wait_for(lambda: not self.connection.is_open, "the end of the link")

    def _come_back(self, text: str) -> None:
        if "link lost" in text and "It is tried again" in text:  # only now has the answer been given
            if self.left:
                interrupt_ourselves()
            else:
                self.server.refusal = None


def asked(monkeypatch: pytest.MonkeyPatch, **how: bool) -> tuple[Asking, RemoteResult]:
    """Run a cell that asks, in an `Asking` server."""
    with ScriptedServer() as server:
        asking = Asking(server, monkeypatch, **how)
        with asking.connection as connection:
            return asking, run_in(connection, "input('name? ')", asking.screen)


def test_an_answer_waits_for_the_link_and_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asking, result = asked(monkeypatch)
    assert result.fate is Fate.OK
    assert (asking.answers, asking.asked) == (["ann"], 1)
    assert not any("may be lost" in str(item[1]) for item in asking.screen.shown), "the cell has gone on"


def test_a_question_that_is_given_again_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asking, result = asked(monkeypatch, again=True)
    assert result.fate is Fate.OK
    assert (asking.answers, asking.asked) == (["ann"], 1)


def test_another_question_is_asked_and_not_given_the_answer_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    asking, result = asked(monkeypatch, other=True)
    assert result.fate is Fate.OK
    assert (asking.answers, asking.asked) == (["bob"], 2)


def test_an_answer_that_was_never_sent_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    asking, result = asked(monkeypatch, left=True)
    assert result.fate is Fate.LEFT_RUNNING
    assert asking.answers == []
    assert asking.screen.shown[-1][1].endswith(
        ": your answer was not sent. The cell may wait for it there, and holds up everybody who uses the kernel"
    )


def test_an_answer_that_the_link_may_have_taken_along_is_told_of_and_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking, result = asked(monkeypatch, taken=True)
    assert result.fate is Fate.OK
    assert (asking.answers, asking.asked) == (["ann"], 1)
    says = "the link broke after your answer, which may be lost. If the cell does not go on, Ctrl-C interrupts it"
    assert sum(str(item[1]).endswith(says) for item in asking.screen.shown) == 1


def test_a_bad_cell_changes_no_handler(kernel: KernelConnection) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(BadCell):
        run_in(kernel, "", Screen())
    assert signal.getsignal(signal.SIGINT) is before


# -- Ctrl-C


def test_the_first_ctrl_c_interrupts_there_and_shows_the_rest(kernel: KernelConnection) -> None:
    screen = Screen()
    screen.on_line = lambda line: interrupt_ourselves() if line == "begun" else None
    code = "import time\nprint('begun')\ntry:\n    time.sleep(60)\nfinally:\n    print('drained')"
    result = run_in(kernel, code, screen)
    assert isinstance(result.error, RemoteError)
    assert result.error.ename == "KeyboardInterrupt"
    assert screen.text == "begun\ndrained\n"


@pytest.mark.parametrize("names_kernel", [False, True])
@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("a client's request", "interrupted there by another client"),
        ("the server's signal", "interrupted there by another client, or by its own code"),
        ("its own code", "interrupted there by another client, or by its own code"),
        ("a connection of ours", ""),
    ],
)
def test_an_interrupt_that_we_did_not_send_is_told_as_far_as_it_is_known(
    kernel: KernelConnection, jupyter_server: JupyterServer, shared_kernel: str, by: str, told: str, names_kernel: bool
) -> None:
    client = BlockingKernelClient()
    client.load_connection_file(str(jupyter_server.connection_file(shared_kernel)))

    def interrupt(line: str) -> None:
        if line != "begun":
            return
        if by == "a client's request":
            client.control_channel.send(client.session.msg("interrupt_request", {}))
        elif by == "the server's signal":
            jupyter_server.request("POST", f"api/kernels/{shared_kernel}/interrupt")
        elif by == "a connection of ours":
            kernel.interrupt()

    screen = Screen()
    screen.names_kernel = names_kernel
    screen.on_line = interrupt
    then = "raise KeyboardInterrupt" if by == "its own code" else "time.sleep(60)"
    try:
        # Not flushed, and so seen while it sleeps: an ipykernel that is interrupted while it flushes may go on.
        result = run_in(kernel, f"import time\nprint('begun')\n{then}", screen)
    finally:
        client.stop_channels()
    error = result.error
    assert isinstance(error, RemoteError) and error.ename == "KeyboardInterrupt"
    assert not result.interrupted
    notes = [text for kind, text in screen.shown if kind == "note"]
    where = f"in {kernel.kernel.title}" + (f", {told}" if told else "")
    if names_kernel:
        assert (error._render_traceback_(), notes) == ([*error.traceback, f"({where})"], [])
    else:
        assert (error._render_traceback_(), str(error)) == (error.traceback, error.evalue)
        assert notes == ([f"{kernel.kernel.title}: the cell was {told}"] if told else [])


def test_the_second_ctrl_c_leaves_it_running(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    screen = Screen()

    def twice(line: str) -> None:
        if line == "begun":
            interrupt_ourselves()
            interrupt_ourselves()

    screen.on_line = twice
    code = (
        "import signal, time\nbefore = signal.signal(signal.SIGINT, lambda number, frame: None)\n"
        "print('begun', flush=True)\ntime.sleep(1.5)\nsignal.signal(signal.SIGINT, before)\nleft = 1"
    )
    result = run_in(kernel, code, screen)
    assert isinstance(result.error, LeftRunning)
    assert "the cell is still running there" in str(result.error)
    assert kernel.execute("left").text == "1"


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGUSR1])
def test_a_keyboard_interrupt_that_is_no_sigint_interrupts_there(kernel: KernelConnection, number: int) -> None:
    def handler(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    screen = Screen()
    screen.on_line = lambda line: signal.raise_signal(number) if line == "begun" else None
    code = "import time\nprint('begun')\ntry:\n    time.sleep(60)\nfinally:\n    print('drained')"
    before = signal.signal(number, handler)
    try:
        result = run_in(kernel, code, screen)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert isinstance(result.error, RemoteError)
    assert (result.error.ename, result.interrupted) == ("KeyboardInterrupt", True)
    assert screen.text == "begun\ndrained\n"
    assert kernel.execute("6 * 7").text == "42"


def test_a_keyboard_interrupt_raised_in_a_thread_that_waits_interrupts_there(kernel: KernelConnection) -> None:
    """As `Subshell.interrupt` does it to a cell of ours that waits in a subshell for another kernel."""
    screen, results = Screen(), list[RemoteResult]()
    begun = threading.Event()
    screen.on_line = lambda line: begun.set()
    code = "import time\nprint('begun')\ntry:\n    time.sleep(60)\nfinally:\n    print('drained')"
    waiting = threading.Thread(target=lambda: results.append(run_in(kernel, code, screen)))
    waiting.start()
    assert begun.wait(20) and waiting.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(waiting.ident), ctypes.py_object(KeyboardInterrupt))
    waiting.join(20)
    assert isinstance(results[0].error, RemoteError) and results[0].error.ename == "KeyboardInterrupt"
    assert screen.text == "begun\ndrained\n"


# -- what goes wrong here


class Closed(Exception):
    pass


@pytest.mark.parametrize("problem", [Closed, ValueError, SystemExit])
def test_a_sink_that_raises_in_mid_run_leaves_the_cell_running_and_says_so(
    kernel: KernelConnection, tmp_path: Path, problem: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    go = tmp_path / "go"
    screen = Screen()

    def fail(line: str) -> None:
        raise problem("no sink")

    screen.on_line = fail
    code = (
        f"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\nn = 1"
    )
    with pytest.raises(problem, match="no sink") as came:
        run_in(kernel, code, screen)
    assert not hasattr(came.value, "__notes__")
    (line,) = capsys.readouterr().err.splitlines()
    assert f": {problem.__name__} was raised here, so it is not waited for; the cell is still running there" in line
    go.touch()
    assert kernel.execute("n").text == "1"


def test_a_time_limit_by_sigalrm_is_raised_and_the_fate_is_told(
    kernel: KernelConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    stderr.close()
    monkeypatch.setattr("sys.stderr", stderr)
    go = tmp_path / "go"

    def handler(number: int, frame: object) -> None:
        raise TimeoutError("too long")

    screen = Screen()
    screen.on_line = lambda line: signal.raise_signal(signal.SIGUSR1)
    code = (
        f"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\nn = 2"
    )
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(TimeoutError, match="too long") as came:
            run_in(kernel, code, screen)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ": TimeoutError was raised here, so it is not waited for; the cell is still" in came.value.__notes__[0]
    go.touch()
    assert kernel.execute("n").text == "2"


@pytest.mark.parametrize(("code", "says"), [("2", "has ended there without an error"), ("1 / 0", "failed there (Zero")])
def test_what_goes_wrong_after_the_end_is_told_with_that(
    kernel: KernelConnection, code: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Late(Relay):
        def finish(self, raised: object = None) -> None:
            raise Closed("no sink")

    with pytest.raises(Closed):
        run(kernel.start(Cell(code)), Late(Screen(), kernel.kernel), Screen())
    assert says in capsys.readouterr().err


def test_a_hundred_interrupts_lose_no_line(kernel: KernelConnection) -> None:
    """A handler that only leaves word loses nothing (FACTS.md#showing-output-here)."""
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
        execution = kernel.start(Cell(code))
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
