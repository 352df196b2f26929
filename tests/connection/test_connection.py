"""Cells over real connections to real kernels, over both transports."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.errors import (
    BadCell,
    Fate,
    FateError,
    FateUnknown,
    KernelDied,
    LeftRunning,
    LinkLost,
    NotRun,
    RemoteError,
)
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    DisplayData,
    Event,
    ExecuteResult,
    InputRequest,
    Lost,
    Note,
    Page,
    Queued,
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.frames import decode
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.message_socket import LARGEST_SENT
from tests.faults.foreign import ForeignClient
from tests.faults.proxy import FaultProxy
from tests.support.owner import MAIN
from tests.support.servers import ConsoleKernel, JupyterServer, wait_for
from tests.support.still import KERNEL, StillTransport
from tests.support.transports import connect_over, found, known
from tests.support.versions import with_subshells

Connect = Callable[[str], KernelConnection]


@pytest.fixture
def kernel(connect: Connect, shared_kernel: str) -> KernelConnection:
    return connect(shared_kernel)


def run_beside(execution: Execution) -> tuple[threading.Thread, queue.SimpleQueue[Event]]:
    """Iterate in a thread; give the events as they come."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def work() -> None:
        for event in execution:
            events.put(event)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, events


def until(events: queue.SimpleQueue[Event], wanted: type) -> Event:
    while not isinstance(event := events.get(timeout=30), wanted):
        pass
    return event


# -- what a cell gives


CAUGHT = "try:\n    1 / 0\nexcept ArithmeticError:\n    get_ipython().showtraceback()\nprint('on')\n"


def test_an_error_that_was_caught_is_an_output_and_the_cell_is_ok(kernel: KernelConnection) -> None:
    result = kernel.execute(CAUGHT + "7")
    assert (result.fate, result.error, result.text) == (Fate.OK, None, "7")
    assert [output["output_type"] for output in result.outputs] == ["error", "stream", "execute_result"]
    with pytest.raises(RemoteError) as caught:
        kernel.execute(CAUGHT + "{}['key']")
    assert (caught.value.ename, caught.value.evalue) == ("KeyError", "'key'")
    enames = [output.get("ename") for output in caught.value.result.outputs]
    assert enames == ["ZeroDivisionError", None, "KeyError"]


def test_a_cell_that_changes_an_earlier_one_s_displays_says_so(kernel: KernelConnection) -> None:
    shown = kernel.execute("a, b = (display(1, display_id=True) for _ in 'ab')\na.update(2)")
    assert [output["data"]["text/plain"] for output in shown.outputs] == ["2", "1"]
    assert shown.updates == ()
    changed = kernel.execute("for n in range(5):\n    a.update(n)\nb.update('x')\na.display_id, b.display_id")
    assert [output["output_type"] for output in changed.outputs] == ["execute_result"]
    assert [update.data for update in changed.updates] == [{"text/plain": "4"}, {"text/plain": "'x'"}]
    assert str(tuple(update.display_id for update in changed.updates)) == changed.text


def test_what_goes_into_an_output_widget_is_none_of_the_cell_s_outputs(kernel: KernelConnection) -> None:
    outputs = kernel.execute(
        "import ipywidgets\nfrom IPython.display import clear_output\n"
        "out, inner = ipywidgets.Output(), ipywidgets.Output()\nprint('above')\n"
        "with out:\n    print('gone')\n    clear_output(wait=True)\n    print('in it')\n"
        "    with inner:\n        1 / 0\n    display('in it')\nprint('below')"
    ).outputs
    assert [output.get("text") for output in outputs] == ["above\nbelow\n"]


def test_a_result(kernel: KernelConnection) -> None:
    result = kernel.execute("1 + 1")
    assert (result.status, result.fate, result.text, result.missing) == ("ok", Fate.OK, "2", 0)
    assert result.value is not None
    assert result.value.data == {"text/plain": "2"}
    assert result.error is None


def test_streams_keep_their_order(kernel: KernelConnection) -> None:
    code = (
        "import sys\nfor n in range(5):\n"
        "    print(n); sys.stdout.flush()\n    print(-n, file=sys.stderr); sys.stderr.flush()"
    )
    shown = [(item["name"], item["text"]) for item in kernel.execute(code).outputs]
    assert shown == [pair for n in range(5) for pair in (("stdout", f"{n}\n"), ("stderr", f"{-n}\n"))]


def test_every_kind_of_output_in_order(kernel: KernelConnection) -> None:
    code = (
        "from IPython.display import display, clear_output, HTML\n"
        "print('a\\rb\\x1b[31mc')\nh = display(HTML('<b>x</b>'), display_id='d')\n"
        "h.update(HTML('<b>y</b>'))\nclear_output(wait=True)\n'value'"
    )
    events = list(kernel.stream(code))
    if isinstance(events[2], Stream):  # a print is sometimes two messages: its text and its line break
        assert isinstance(events[1], Stream)
        events[1:3] = [Stream("stdout", events[1].text + events[2].text)]
    assert [type(event) for event in events] == [Started, Stream, DisplayData, DisplayData, ClearOutput, ExecuteResult]
    assert events[1] == Stream("stdout", "a\rb\x1b[31mc\n")
    shown, update = events[2], events[3]
    assert isinstance(shown, DisplayData) and isinstance(update, DisplayData)
    assert (shown.display_id, shown.update) == ("d", False)
    assert (update.display_id, update.update, update.data["text/html"]) == ("d", True, "<b>y</b>")
    assert events[4] == ClearOutput(True)


def test_a_page(kernel: KernelConnection) -> None:
    (page,) = (event for event in kernel.stream("len?") if isinstance(event, Page))
    assert "Return the number of items" in page.data["text/plain"]


def test_an_error_is_the_remote_s_own(kernel: KernelConnection) -> None:
    with pytest.raises(RemoteError) as raised:
        kernel.execute("print('before')\n1 / 0")
    error = raised.value
    assert (type(error).__name__, error.ename, str(error)) == ("ZeroDivisionError",) * 2 + (
        "division by zero (in a.ipynb)",
    )
    assert "1 / 0" in re.sub(r"\x1b\[[0-9;]*m", "", "".join(error.traceback))
    assert error.result.fate is Fate.FAILED
    assert error.result.outputs[0]["text"] == "before\n"
    with pytest.raises(type(error)):
        kernel.execute("1 / 0")


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("%no_such_magic_at_all", "UsageError"),
        ("raise ExceptionGroup('several', [ValueError(1), TypeError(2)])", "ExceptionGroup"),
        ("def f(:\n  pass", "SyntaxError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_errors_of_every_kind_fail_the_cell(kernel: KernelConnection, code: str, ename: str) -> None:
    with pytest.raises(RemoteError) as raised:
        kernel.execute(code)
    assert raised.value.ename == ename


def test_input_is_asked_and_answered(kernel: KernelConnection) -> None:
    execution = kernel.start(Cell("import getpass\n[input('name? '), getpass.getpass('word? ')]", stdin=True))
    asked = []
    for event in execution:
        if isinstance(event, InputRequest):
            asked.append(event)
            execution.answer("é" if event.password else "ann")
    assert asked == [InputRequest("name? ", False), InputRequest("word? ", True)]
    assert execution.result is not None
    assert execution.result.text == "['ann', 'é']"


def test_what_was_shown_before_a_question_comes_before_it(kernel: KernelConnection) -> None:
    # Questions and output come on channels of their own, in no order between them.
    code = "for n in range(10):\n    display(n)\n    print('line', n)\ninput('? ')"
    for _ in range(10):
        execution = kernel.start(Cell(code, stdin=True))
        events = []
        for event in execution:
            events.append(event)
            if isinstance(event, InputRequest):
                execution.answer("")
        before = events[: events.index(InputRequest("? "))]
        assert [event.data for event in before if isinstance(event, DisplayData)][-1] == {"text/plain": "9"}
        assert "".join(event.text for event in before if isinstance(event, Stream)).endswith("line 9\n")


def test_a_question_is_asked_though_output_never_ends(kernel: KernelConnection) -> None:
    code = (
        "import threading, time\nend = threading.Event()\n"
        "def talk():\n    while not end.wait(0.01): print('.', flush=True)\n"
        "thread = threading.Thread(target=talk); thread.start()\n"
        "try: input('? ')\nfinally: end.set(); thread.join()"
    )
    execution = kernel.start(Cell(code, stdin=True))
    for event in execution:
        if isinstance(event, InputRequest):
            execution.answer("")
    assert execution.result is not None and execution.result.fate is Fate.OK


def test_input_is_refused_at_once_where_nobody_can_be_asked(kernel: KernelConnection) -> None:
    with pytest.raises(RemoteError) as raised:
        kernel.execute("input()")
    assert raised.value.ename == "StdinNotImplementedError"


def test_a_hundred_thousand_lines_arrive_whole_and_in_order_over_zmq(
    jupyter_server: JupyterServer, shared_kernel: str
) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "zmq")
    with connection:
        (output,) = connection.execute("for n in range(100_000): print(n)").outputs
    assert output["text"] == "".join(f"{n}\n" for n in range(100_000))


def test_what_the_rate_limit_drops_is_reported(jupyter_server: JupyterServer, shared_kernel: str) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "ws")
    with connection:
        execution = connection.start(Cell("for n in range(30): print('x' * 1_000_000, flush=True)"))
        events = list(execution)
    (lost,) = (event for event in events if isinstance(event, Lost))
    assert "iopub_data_rate_limit" in lost.reason and "messages missing" in lost.reason
    shown = "".join(event.text for event in events if isinstance(event, Stream))
    assert "IOPub" not in shown
    assert execution.result is not None
    assert execution.result.fate is Fate.OK
    # A print may be two messages: its text and its line break.
    assert lost.count == execution.result.missing
    assert lost.count is not None and lost.count >= 30 - shown.count("x" * 1_000_000) > 0


def test_a_large_message_comes_whole(kernel: KernelConnection) -> None:
    code = "from IPython.display import display\ndisplay({'text/plain': 'y' * 20_000_000}, raw=True)"
    (output,) = kernel.execute(code).outputs
    assert output["data"]["text/plain"] == "y" * 20_000_000


# -- a guest's manners


def test_the_owner_s_count_stands_still_and_its_queue_is_not_aborted(connect: Connect, own_kernel: str) -> None:
    owner, guest = connect(own_kernel), connect(own_kernel)
    count = owner.execute("None", store_history=True).kernel and _count(owner)
    slow, slow_events = run_beside(guest.start(Cell("import time; time.sleep(0.5); 1 / 0")))
    until(slow_events, Started)
    queued = owner.execute("'not aborted'")
    slow.join(30)
    assert queued.text == "'not aborted'"
    assert _count(owner) == count


def _count(kernel: KernelConnection) -> str:
    return kernel.execute("get_ipython().execution_count").text


def test_history_is_counted_when_asked_for(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    before = int(_count(kernel))
    kernel.execute("1", store_history=True)
    assert int(_count(kernel)) == before + 1


def test_the_owner_s_semicolon_hides_no_result_of_ours(connect: Connect, own_kernel: str) -> None:
    # IPython looks at the last line of the history, where our cells are not
    owner, guest, other = connect(own_kernel), connect(own_kernel), connect(own_kernel)
    for last, _ in (("x = 1;", 0), ("x = 1", 0), ("x;", 0)):
        owner.execute(last, store_history=True)
        for _ in range(2):
            assert guest.execute("40 + 2").text == "42"
            assert guest.execute("40 + 2;").value is None
            assert other.execute("%time 1").text == "1"
    assert owner.execute("1;", store_history=True).value is None
    # when the guests have left nothing of this is left there: whoever looks is the only one
    for kernel in (owner, guest, other):
        kernel.close()
    assert connect(own_kernel).execute("get_ipython().displayhook.quiet.guest").text


def test_a_queued_cell_is_told_of_and_detached_without_harm(connect: Connect, own_kernel: str) -> None:
    owner, guest = connect(own_kernel), connect(own_kernel)
    busy, events = run_beside(owner.start(Cell("import time\nfor _ in range(30): time.sleep(0.1)\n'done'")))
    until(events, Started)
    execution = guest.start(Cell("ran = True"))
    for event in execution:
        if isinstance(event, Queued):
            execution.interrupt()
    assert execution.result is not None
    assert isinstance(execution.result.error, LeftRunning)
    assert "The cell is still queued (behind your earlier cell) and cannot be withdrawn" in str(execution.result.error)
    busy.join(30)
    done = until(events, ExecuteResult)
    assert isinstance(done, ExecuteResult)
    assert done.data == {"text/plain": "'done'"}
    assert guest.execute("ran").text == "True"


def waits_for(connection: KernelConnection, *, subshell: bool = False) -> tuple[Queued, str]:
    """Run a cell that must wait, and leave it in the queue; give what was told, and how it is told that it was left."""
    if subshell:
        assert connection.execute("1 + 1", if_busy="subshell").text == "2"
    told: list[Queued] = []
    execution = connection.start(Cell("1"))
    for event in execution:
        if isinstance(event, Queued):
            told.append(event)
            execution.interrupt()
    assert execution.result is not None and len(told) == 1
    return told[0], str(execution.result.error)


def left_to_run(connection: KernelConnection, code: str) -> None:
    """Run a cell until it has begun, and leave it running."""
    execution = connection.start(Cell(code))
    for event in execution:
        if isinstance(event, Started):
            execution.leave("it goes on")
    assert execution.result is not None and execution.result.fate is Fate.LEFT_RUNNING


def test_a_cell_of_one_s_own_that_was_left_is_what_the_next_ones_wait_for(
    connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    first = connect(own_kernel)
    left_to_run(first, MAIN.format(go=str(tmp_path / "go")))
    event, error = waits_for(first)
    assert event.since and event == Queued(event.since, ours=True)
    assert "still queued (behind your earlier cell) and" in error
    # Another connection of this process, which has heard nothing, waits for the same.
    second = connect(own_kernel)
    assert waits_for(second) == (event, error)
    first.close()
    second.close()
    third = connect(own_kernel)
    guess, error = waits_for(third)
    assert guess == Queued(event.since, ours=True, sure=False), "its end may have been missed"
    assert "still queued (probably behind your earlier cell) and" in error
    (tmp_path / "go").touch()
    assert third.execute("1", timeout=60).text == "1"


@with_subshells
def test_after_a_subshell_s_cell_the_main_shell_is_still_another_client_s(
    jupyter_server: JupyterServer, connect: Connect, own_kernel: str, tmp_path: Path
) -> None:
    guest = connect(own_kernel)
    guest.execute("1")
    with contextlib.closing(ForeignClient(jupyter_server, own_kernel)) as other:
        sent = other.send("print('on', flush=True)\n" + MAIN.format(go=str(tmp_path / "go")))
        other.until(sent, lambda ran: ran.text)
        before, _ = waits_for(guest)
        after, error = waits_for(guest, subshell=True)
        assert before.since and after == before == Queued(before.since)
        assert "still queued (behind another client's cell) and" in error
        (tmp_path / "go").touch()
        assert other.until(sent, lambda ran: ran.idle)
    assert guest.execute("1").text == "1"


def test_a_frozen_kernel_is_not_said_to_run_anybody_s_cell(connect: Connect, own_kernel: str) -> None:
    guest = connect(own_kernel)
    pid = int(guest.execute("import os; os.getpid()").text)
    os.kill(pid, signal.SIGSTOP)
    try:
        event, error = waits_for(guest)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert event == Queued()
    assert "The cell is still queued and cannot be withdrawn; it will run when its turn comes" in error
    assert guest.execute("1", timeout=60).text == "1"


def test_the_first_interrupt_ends_the_cell_there(kernel: KernelConnection) -> None:
    execution = kernel.start(Cell("import time\ntry:\n    print('on'); time.sleep(60)\nfinally:\n    print('drained')"))
    seen: list[Event] = []
    for event in execution:
        seen.append(event)
        if isinstance(event, Stream) and event.text.startswith("on"):  # its line break may come by itself
            execution.interrupt()
    assert execution.result is not None
    assert isinstance(execution.result.error, RemoteError)
    assert execution.result.error.ename == "KeyboardInterrupt"
    assert "".join(event.text for event in seen if isinstance(event, Stream)) == "on\ndrained\n"
    assert kernel.execute("1").text == "1"


def test_an_interrupt_that_comes_too_late_does_not_hit_the_next_cell(
    jupyter_server: JupyterServer, own_kernel: str
) -> None:
    """H4: the interrupt is slow here, and the cell ends while it is under way."""
    with FaultProxy(jupyter_server.port) as proxy:
        proxy.latency = 0.2
        _, vault = known(jupyter_server)
        slow = parse_base_url(f"http://127.0.0.1:{proxy.port}/")
        vault.put(slow.origin, Secret(jupyter_server.token))
        api = ServerAPI(Server(slow.url, "slow", slow.origin, trusted=True), vault)
        found_there = found(jupyter_server, own_kernel)
        _, transport = connect_over(jupyter_server, found_there, "ws")
        with KernelConnection(found_there, transport, Control(found_there, api)) as kernel:
            for seconds in (0.3, 0.5, 0.55, 0.6):  # to the interrupt it takes 0.6
                execution = kernel.start(Cell(f"import time; print('on', flush=True); time.sleep({seconds})"))
                for event in execution:
                    if isinstance(event, Stream):
                        execution.interrupt()
                assert kernel.execute("time.sleep(0.5); 7").text == "7"


def test_the_second_interrupt_leaves_it_running(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on')\ntime.sleep(2)\nleft = 1"
    execution = kernel.start(Cell(code))
    for event in execution:
        if isinstance(event, Stream):
            execution.interrupt()
            execution.interrupt()
    assert execution.result is not None
    assert execution.result.fate is Fate.LEFT_RUNNING
    assert kernel.execute("left").text == "1"


def test_a_timeout_leaves_it_running_and_says_so(kernel: KernelConnection) -> None:
    with pytest.raises(LeftRunning, match=r"^.+: no result within 0\.5 s\. The cell is still running there$") as raised:
        kernel.execute("import time; time.sleep(1.5); late = 1", timeout=0.5)
    assert raised.value.fate is Fate.LEFT_RUNNING
    assert kernel.execute("late").text == "1"


def test_several_threads_share_a_connection(kernel: KernelConnection) -> None:
    texts: dict[int, list[str]] = {}

    def work(number: int) -> None:
        texts[number] = [kernel.execute(f"print({number}, {n})").outputs[0]["text"] for n in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == {number: [f"{number} {n}\n" for n in range(10)] for number in range(5)}


# -- what cannot be sent


def test_bad_cells_are_refused_here(kernel: KernelConnection) -> None:
    for code in ("", " \n", "a\0b"):
        with pytest.raises(BadCell):
            kernel.execute(code)


def test_a_cell_beyond_the_server_s_limit_is_refused_here(jupyter_server: JupyterServer, shared_kernel: str) -> None:
    kernel = found(jupyter_server, shared_kernel)
    connection, _ = connect_over(jupyter_server, kernel, "ws")
    with connection:
        for size in (LARGEST_SENT, 11_000_000, 10 * 2**20):
            with pytest.raises(BadCell) as raised:
                connection.execute("#" + "x" * size)
            told = re.fullmatch(
                re.escape(kernel.title)
                + r": a message of ([\d,]+) bytes was not sent, since the server takes 10,484,736 at most; "
                "split the cell, or let it read its data from a file there",
                str(raised.value),
            )
            # More than the limit by what is sent beside the code, and never the same number.
            assert told and size < int(told[1].replace(",", "")) < size + 2000
        assert connection.execute("1").text == "1"
        assert connection.execute("#" + "x" * 9_000_000 + "\n2").text == "2"


def test_a_closed_connection_sends_nothing(kernel: KernelConnection) -> None:
    kernel.close()
    kernel.close()
    assert not kernel.is_open
    with pytest.raises(LinkLost):
        kernel.execute("1")


# -- kernels that end


def _pid(kernel: KernelConnection) -> int:
    return int(kernel.execute("import os; os.getpid()").text)


def _end(how: str, server: JupyterServer, kernel_id: str, pid: int) -> None:
    if how == "kill":
        os.kill(pid, 9)
    elif how == "restart":
        server.rest("POST", f"api/kernels/{kernel_id}/restart", {})
    else:
        server.delete_kernel(kernel_id)


@pytest.mark.parametrize("how", ["kill", "restart", "delete"])
def test_a_running_cell_ends_with_its_kernel(
    jupyter_server: JupyterServer, connect: Connect, own_kernel: str, how: str
) -> None:
    kernel = connect(own_kernel)
    pid = _pid(kernel)
    execution = kernel.start(Cell("print('one')\nimport time; time.sleep(60)"))
    thread, events = run_beside(execution)
    until(events, Stream)
    _end(how, jupyter_server, own_kernel, pid)
    thread.join(20)
    assert execution.result is not None
    error = execution.result.error
    assert isinstance(error, KernelDied)
    assert (
        str(error)
        == {
            "kill": "a.ipynb: its kernel process ended during this cell. Its variables are gone",
            "restart": "a.ipynb was restarted by another client during this cell (output above may be incomplete). "
            "Its variables are gone",
            "delete": "a.ipynb was shut down by another client during this cell; it has no kernel now",
        }[how]
    )
    assert (error.shown, error.kernel) == (1, "a.ipynb")


@pytest.mark.parametrize("how", ["kill", "restart", "delete"])
def test_a_queued_cell_is_never_said_to_have_run(
    jupyter_server: JupyterServer, connect: Connect, own_kernel: str, how: str
) -> None:
    owner, guest = connect(own_kernel), connect(own_kernel)
    pid = _pid(owner)
    busy, events = run_beside(owner.start(Cell("import time; time.sleep(60)")))
    until(events, Started)
    execution = guest.start(Cell("open('ran-twice', 'a').write('x')"))
    thread, queued = run_beside(execution)
    until(queued, Queued)
    _end(how, jupyter_server, own_kernel, pid)
    thread.join(30)
    busy.join(30)
    assert execution.result is not None
    ran = (jupyter_server.root / "ran-twice").exists()
    if ran:
        (jupyter_server.root / "ran-twice").unlink()
        assert execution.result.fate is Fate.OK
    else:
        assert isinstance(execution.result.error, NotRun | FateUnknown)


def test_a_cell_that_ends_its_own_process(connect: Connect, own_kernel: str) -> None:
    kernel = connect(own_kernel)
    with pytest.raises(KernelDied):
        kernel.execute("import os, time; time.sleep(0.2); os._exit(1)")


def test_one_that_ends_it_before_a_word_is_out_is_never_said_not_to_have_run(connect: Connect, own_kernel: str) -> None:
    # whether the kernel's own thread had time to send our `busy` is chance
    kernel = connect(own_kernel)
    with pytest.raises((KernelDied, FateUnknown)):
        kernel.execute("import os; os._exit(1)")


def test_quit_in_a_cell_is_ok(connect: Connect, own_kernel: str) -> None:
    assert connect(own_kernel).execute("print('bye')\nexit()").fate is Fate.OK


def test_a_server_that_is_killed_ends_the_cell(tmp_path: object, transport_name: str) -> None:
    from pathlib import Path

    with JupyterServer(Path(str(tmp_path))) as server:
        kernel_id = server.start_kernel(path="a.ipynb")
        connection, _ = connect_over(server, found(server, kernel_id), transport_name)
        execution = connection.start(Cell("import time; time.sleep(60)"))
        thread, events = run_beside(execution)
        until(events, Started)
        server.kill()
        thread.join(20)
        assert execution.result is not None
        assert isinstance(execution.result.error, KernelDied)
        connection.close()


def test_a_kernel_restarted_between_cells_is_a_new_life_not_an_error(
    jupyter_server: JupyterServer, own_kernel: str
) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    with connection:
        connection.execute("x = 1")
        jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart", {})
        assert connection.execute("'x' in globals()").text == "False"


@pytest.mark.parametrize("awaited", [True, False], ids=["when it is over", "at once"])
def test_a_restart_between_cells_is_told_once(
    jupyter_server: JupyterServer, connect: Connect, own_kernel: str, awaited: bool
) -> None:
    connection = connect(own_kernel)
    connection.execute("x = 1")
    asked = threading.Thread(target=jupyter_server.rest, args=("POST", f"api/kernels/{own_kernel}/restart", {}))
    asked.start()
    if awaited:
        asked.join(30)
    told: list[str] = []
    value = "True"
    while value == "True":  # the old life may have time for a cell yet
        try:
            execution = connection.start(Cell("'x' in globals()"))
        except NotRun as problem:  # ZMQ: its sockets closed in the very moment
            told.append(str(problem))
            break
        except LinkLost:  # ZMQ: as above, behind a cell that has told of it
            assert told
            break
        told += [event.text for event in execution if isinstance(event, Note)]
        result = execution.result
        assert result is not None
        if isinstance(result.error, FateError):
            told.append(str(result.error))
            break
        value = result.text
    asked.join(30)
    (text,) = told
    assert "was restarted by another client" in text


def test_zmq_knows_at_once_that_the_kernel_left(jupyter_server: JupyterServer, own_kernel: str) -> None:
    connection, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "zmq")
    os.kill(_pid(connection), 9)
    wait_for(lambda: not connection.is_open, "the end of the connection")


# -- the transports themselves


def test_a_connection_leaves_no_thread_and_no_descriptor(connect: Connect, shared_kernel: str) -> None:
    connect(shared_kernel).close()  # what is opened once for all is open now
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        kernel = connect(shared_kernel)
        kernel.execute("1")
        kernel.close()
    wait_for(lambda: threading.active_count() <= threads, "the end of the threads")
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, "the closing of the sockets")


def test_an_idle_connection_is_let_go(
    jupyter_server: JupyterServer, shared_kernel: str, transport_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = replace(timing.current, unused=0.1, websocket_look_idle=0.1, zmq_look=0.1)
    monkeypatch.setattr(timing, "current", bounds)
    connection, transport = connect_over(jupyter_server, found(jupyter_server, shared_kernel), transport_name)
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    transport.router.subscribe(inbox)
    assert connection.execute("1").text == "1"
    assert connection.is_open, "somebody listens to it"
    transport.router.unsubscribe(inbox)
    wait_for(lambda: not connection.is_open, "the idle connection's end")


def test_a_child_after_fork_leaves_the_parent_s_connection_alone(kernel: KernelConnection) -> None:
    kernel.execute("1")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.execute("2")
            said = "ran"
        except LinkLost:
            said = "refused"
        kernel.close()
        os.write(write, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 20) == b"refused"
    os.close(read)
    os.close(write)
    assert kernel.execute("3").text == "3"


def test_a_kernel_without_a_server_is_interrupted_by_message(tmp_path_factory: pytest.TempPathFactory) -> None:
    from kernel_bridge_magic.connection.control import Control
    from kernel_bridge_magic.models import Kernel
    from kernel_bridge_magic.transports.zmq import ZMQTransport

    with ConsoleKernel(tmp_path_factory.mktemp("console") / "runtime") as console:
        kernel = Kernel(id="x", connection_file=str(console.connection_file))
        transport = ZMQTransport(kernel)
        transport.open(10)
        with KernelConnection(kernel, transport, Control(kernel, None)) as connection:
            # Before the code itself runs, an interrupt would take the reply away.
            execution = connection.start(Cell("print('runs', end=''); import time; time.sleep(60)"))
            for event in execution:
                if isinstance(event, Stream):
                    execution.interrupt()
            assert execution.result is not None
            assert isinstance(execution.result.error, RemoteError)
            console.kill()
            wait_for(lambda: not connection.is_open, "the end of the connection")


def test_opening_a_websocket_needs_the_token(jupyter_server: JupyterServer, shared_kernel: str) -> None:
    from kernel_bridge_magic.access.vault import Secret, Vault
    from kernel_bridge_magic.errors import AuthRefused, CannotConnect
    from kernel_bridge_magic.transports.websocket import WebSocketTransport

    where, vault = known(jupyter_server)
    kernel = found(jupyter_server, shared_kernel)
    wrong = Vault()
    wrong.put(where.origin, Secret("wrong"))
    with pytest.raises(AuthRefused) as refused:
        WebSocketTransport(kernel, where, wrong).open(10)
    assert "wrong" not in str(refused.value)
    gone = found(jupyter_server, "no-such-kernel")
    with pytest.raises(CannotConnect, match="no kernel"):
        WebSocketTransport(gone, where, vault).open(10)


def test_json_is_spoken_where_the_server_does_not_know_better(
    jupyter_server: JupyterServer, shared_kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    framings: set[str] = set()

    def read(payload: str | bytes, framing: str) -> Message:
        framings.add(framing)
        return decode(payload, framing)

    monkeypatch.setattr("kernel_bridge_magic.transports.message_socket.decode", read)
    monkeypatch.setattr("kernel_bridge_magic.transports.handshake.V1", "no-such-protocol")
    connection, _ = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "ws")
    with connection:
        assert json.loads(connection.execute("print(1); 2").text) == 2
    assert framings == {""}


def test_it_is_kept_as_long_as_anybody_wants_it() -> None:
    connection: Any = KernelConnection(KERNEL, StillTransport(), None)  # type: ignore[arg-type] # nothing is asked of it
    connection.keep("a widget", True)
    connection.keep("whoever follows", True)
    connection.keep("a widget", False)
    assert connection.is_kept
    connection.keep("a widget", False)
    connection.keep("whoever follows", False)
    assert not connection.is_kept


def test_what_was_sent_over_it_is_known_by_its_id() -> None:
    transport = StillTransport()
    connection = KernelConnection(KERNEL, transport, None)  # type: ignore[arg-type]
    assert connection.has_sent(connection.post("comm_msg", {}, metadata={}))
    assert not connection.has_sent("another client_1") and not connection.has_sent("")
