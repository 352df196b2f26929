"""Whoever else uses the kernel is left alone (G14): their cells are not interrupted, not aborted, not un-buffered.

The others are no clients of ours but raw ones: jupyter_client by ZMQ, and a tab's WebSocket.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websocket

from kernel_bridge_magic.access.vault import Secret
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Queued, Started
from tests.faults.foreign import ForeignClient
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found, known, transport_of

Tell = Callable[..., None]
LongRun = Callable[[str, str], None]
FOREVER = "import time\nwhile True: time.sleep(0.01)"


def foreign_cells(client: ForeignClient, name: str, cells: int, harm: list[str]) -> None:
    """Run cells as a notebook does, one after the other; what became of them is held against what should have."""
    for number in range(cells):
        mine = f"{name} cell {number}"
        code = f"import time\nfor part in range(3):\n    print('{mine}', part, flush=True)\n    time.sleep(0.002)"
        try:
            ran = client.run(code)
        except BaseException as problem:
            harm.append(f"{mine}: {problem!r}")
            return
        if ran.reply["status"] != "ok":
            harm.append(f"{mine}: {ran.reply['status']} {ran.reply.get('ename')}")
        elif ran.text != "".join(f"{mine} {part}\n" for part in range(3)):
            harm.append(f"{mine}: {ran.text!r}")


def our_cells(connection: KernelConnection, cells: int, wrong: list[str]) -> None:
    """Do all that may harm a neighbour: raise, interrupt what runs, detach from what is queued, give up in time."""
    for number in range(cells):
        code = ("1 / 0", "number = 1", FOREVER, "print('x' * 1000)", "late = 1")[number % 5]
        execution = connection.start(Cell(code, timeout=0.02 if number % 5 == 4 else 110))
        pressed = False
        for event in execution:
            if number % 5 == 2 and isinstance(event, Queued | Started) and not pressed:
                # Queued: it must run when its turn comes, and be ended then; nobody else's cell is.
                pressed = True
                execution.interrupt()
        assert execution.result is not None
        fate = execution.result.fate
        allowed = {0: {Fate.FAILED}, 2: {Fate.FAILED, Fate.LEFT_RUNNING}, 4: {Fate.OK, Fate.LEFT_RUNNING}}
        if fate not in allowed.get(number % 5, {Fate.OK}):
            wrong.append(f"{code}: {execution.result.error!r}")
        if number % 5 == 2 and fate is Fate.LEFT_RUNNING:
            # It is ours, and runs for ever when its turn comes: end it as soon as it is seen to run.
            end_when_it_runs(connection, execution.msg_id)


def end_when_it_runs(connection: KernelConnection, msg_id: str) -> None:
    transport = transport_of(connection)
    wait_for(lambda: transport.main_shell.runs(msg_id), "our cell's turn", 110, every=0.005)
    connection.interrupt()


def beside(
    server: JupyterServer, kernel: str, ours: int, our_count: int, theirs: int, their_count: int
) -> tuple[list[str], list[str]]:
    """Run all at the same time; give the harm done to others, and what went wrong with our own."""
    others = [ForeignClient(server, kernel) for _ in range(theirs)]
    before = execution_count(others[0])
    guests = [connect_over(server, found(server, kernel), ("zmq", "ws")[n % 2])[0] for n in range(ours)]
    harm: list[str] = []
    wrong: list[str] = []
    threads = [
        *(
            threading.Thread(target=foreign_cells, args=(o, f"other {n}", their_count, harm))
            for n, o in enumerate(others)
        ),
        *(threading.Thread(target=our_cells, args=(guest, our_count, wrong)) for guest in guests),
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(900)
        assert not any(thread.is_alive() for thread in threads)
        ran = execution_count(others[0]) - before
        if ran != theirs * their_count + 1:
            harm.append(f"their count went up by {ran}")
        return harm, wrong
    finally:
        for guest in guests:
            guest.close()
        for other in others:
            other.close()


def execution_count(client: ForeignClient) -> int:
    return int(client.run("None").reply["execution_count"])


def test_g14_a_few_neighbours_are_left_alone(jupyter_server: JupyterServer, own_kernel: str, tell: Tell) -> None:
    harm, wrong = beside(jupyter_server, own_kernel, 4, 10, 3, 10)
    assert (harm, wrong) == ([], [])
    tell(33, "nothing: 30 cells of raw clients beside 40 of ours, each side with its own output")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_g14_five_hundred_cells_of_neighbours(
    jupyter_server: JupyterServer, own_kernel: str, long_run: LongRun
) -> None:
    harm, wrong = beside(jupyter_server, own_kernel, 20, 50, 10, 50)
    assert (harm, wrong) == ([], [])
    long_run(
        "G14: cells of 10 raw clients beside 20 of ours with 50 cells each",
        "0 of 500 interrupted, aborted or without output; they count as they would without us; 0 of 1000 of ours wrong",
    )


# -- a tab that is closed while its cell runs


class Tab:
    """A notebook's tab: a WebSocket under one session id, which may be closed and opened again."""

    def __init__(self, server: JupyterServer, kernel: str) -> None:
        self._url = f"ws{server.url[4:]}api/kernels/{kernel}/channels?session_id="
        self._header = [f"Authorization: token {server.token}"]
        self._session = uuid.uuid4().hex
        self.text = ""
        self.open()

    def open(self) -> None:
        self._socket = websocket.create_connection(
            self._url + self._session, header=self._header, suppress_origin=True, timeout=70
        )

    def close(self) -> None:
        self._socket.close()

    def send(self, code: str) -> str:
        msg_id = uuid.uuid4().hex
        header = {
            "msg_id": msg_id,
            "session": self._session,
            "msg_type": "execute_request",
            "username": "",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": True, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._socket.send(json.dumps(message))
        return msg_id

    def until(self, msg_id: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Take what comes of a cell until a message of it meets a condition."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            message = json.loads(self._socket.recv())
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            if message["msg_type"] == "stream":
                self.text += message["content"]["text"]
            if condition(message):
                return
        raise AssertionError(self.text)


def is_idle(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


def closed_tab(server: JupyterServer, kernel: str, bridge: Bridge) -> list[int]:
    """Close a tab while its cell runs, run a cell of ours beside it, open it again; give the lines it then lacks.

    Left out are those right behind its closing: what is on its way to a tab that closes is lost, whoever is there.
    """
    tab = Tab(server, kernel)
    sent = tab.send("import time\nfor n in range(40):\n    print('line', n, flush=True)\n    time.sleep(0.02)")
    tab.until(sent, lambda message: "line 5\n" in tab.text)
    tab.close()
    # Over the transport that is used when none is named
    with bridge.pool.open(found(server, kernel)) as connection:
        assert connection.execute("'ours'").text == "'ours'"
    tab.open()
    tab.until(sent, is_idle)
    tab.close()
    shown = [int(line.split()[1]) for line in tab.text.splitlines()]
    lacks = sorted(set(range(40)) - set(shown))
    return [line for line in lacks if line > 12]


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_g14_what_the_server_keeps_for_a_closed_tab_is_still_there_when_we_have_been(
    jupyter_server: JupyterServer, own_kernel: str, times: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bridge = Bridge()
    bridge.vault.put(known(jupyter_server)[0].origin, Secret(jupyter_server.token))
    try:
        assert [closed_tab(jupyter_server, own_kernel, bridge) for _ in range(times)] == [[]] * times
    finally:
        bridge.close()
    if times > 2:
        note: LongRun = request.getfixturevalue("long_run")
        note("G14: output kept for a closed tab, our cell in between", f"{times} times, 0 of what was kept lost")
