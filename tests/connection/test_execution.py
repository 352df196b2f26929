"""What a cell tells of an end of its kernel that falls before it, while it is sent, or under it: once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.frames import V1
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.scripted import LIFE, Script, ScriptedCell, ScriptedServer
from tests.support.servers import wait_for

SINCE = "since the last cell. Its variables are gone"
IN_THE_NEW_ONE = "before this cell began. It runs in the new kernel, where the earlier variables are gone"
BY_ANOTHER = "it was restarted by another client"
ENDED = "its kernel process ended"


class Restarting(ScriptedServer):
    """A kernel that is restarted, and may be slow to start: meanwhile it answers nothing."""

    def __init__(self) -> None:
        self.script_of: Script = by_the_book
        self._started = threading.Event()
        self._started.set()
        self._lives = 1
        super().__init__(lambda cell: self.script_of(cell), subprotocol=V1)

    def answer(self, action: Callable[[], None]) -> None:
        def work() -> None:
            assert self._started.wait(30)
            action()

        self._beside(work)

    def goodbye(self) -> None:
        self._say("shutdown_reply", {"restart": True})
        self._started.clear()

    def crash(self) -> None:
        self._say("status", {"execution_state": "restarting"})
        self._started.clear()

    def begin(self, life: str = "") -> None:
        """Let the new life begin; it speaks when it is asked something."""
        self._lives += 1
        self.life = life or f"life-{self._lives}"
        self._started.set()

    def _say(self, msg_type: str, content: object) -> None:
        self.handlers[-1].send("iopub", msg_type, content, {"msg_id": "another client's", "session": "another"})


def by_the_book(cell: ScriptedCell) -> None:
    cell.busy()
    cell.iopub("execute_input", {"code": "", "execution_count": 1})
    cell.reply()
    cell.idle()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Restarting]:
    monkeypatch.setattr("kernel_bridge_magic.connection.sending._PROOF_SECONDS", 0.3)
    with Restarting() as server:
        yield server
        server.begin()


@pytest.fixture
def connection(server: Restarting) -> Iterator[KernelConnection]:
    transport = WebSocketTransport(server.kernel, server.server, Vault())
    transport.open(10)
    with KernelConnection(server.kernel, transport, Control(server.kernel, ServerAPI(server.server, Vault()))) as made:
        assert run(made) == (Fate.OK, [])
        yield made


def run(connection: KernelConnection) -> tuple[Fate, list[str]]:
    """A cell's fate, and all that is told of the kernel's end: notes, and what the cell ends with."""
    execution = connection.start(Cell("1"))
    told = [event.text for event in execution if isinstance(event, Note)]
    result = execution.result
    assert result is not None
    return result.fate, told + ([str(result.error)] if result.error is not None else [])


def news(connection: KernelConnection) -> None:
    wait_for(lambda: connection.has_news, "the word of the end")


def test_a_restart_that_is_over_before_a_cell(server: Restarting, connection: KernelConnection) -> None:
    server.goodbye()
    news(connection)
    server.begin()
    assert run(connection) == (Fate.OK, [f"{BY_ANOTHER} {SINCE}"])
    assert run(connection) == (Fate.OK, [])


def test_two_restarts_before_a_cell(server: Restarting, connection: KernelConnection) -> None:
    for _ in range(2):
        server.goodbye()
        news(connection)
        server.begin()
        connection.is_idle()  # it is heard
    assert run(connection) == (Fate.OK, [f"{BY_ANOTHER} {SINCE}"])
    assert run(connection) == (Fate.OK, [])


def test_a_new_life_that_begins_under_the_cell(server: Restarting, connection: KernelConnection) -> None:
    def late(cell: ScriptedCell) -> None:
        server.begin()
        by_the_book(cell)

    server.goodbye()
    news(connection)
    server.script_of = late
    assert run(connection) == (Fate.OK, [f"{BY_ANOTHER} {IN_THE_NEW_ONE}"])
    server.script_of = by_the_book
    assert run(connection) == (Fate.OK, [])


def test_a_new_life_that_has_lost_the_cell(server: Restarting, connection: KernelConnection) -> None:
    server.goodbye()
    news(connection)
    server.script_of = lambda cell: server.begin()
    fate, told = run(connection)
    assert (fate, told) == (
        Fate.NOT_RUN,
        [
            "a script was restarted by another client while the cell was queued; the cell was not run, so it is safe "
            "to run it again. Its variables are gone"
        ],
    )
    server.script_of = by_the_book
    assert run(connection) == (Fate.OK, [])


def test_a_restart_of_a_queued_cell_s_kernel(server: Restarting, connection: KernelConnection) -> None:
    def restarted(cell: ScriptedCell) -> None:
        server.goodbye()
        server.begin()
        by_the_book(cell)

    server.script_of = restarted
    assert run(connection) == (Fate.OK, [f"{BY_ANOTHER} {IN_THE_NEW_ONE}"])
    server.script_of = by_the_book
    assert run(connection) == (Fate.OK, [])


@pytest.mark.parametrize("again", [False, True])
def test_a_crash_before_a_cell_and_a_slow_start(server: Restarting, connection: KernelConnection, again: bool) -> None:
    def late(cell: ScriptedCell) -> None:
        if again:
            server.crash()
        server.begin()
        by_the_book(cell)

    server.crash()
    news(connection)
    server.script_of = late
    assert run(connection) == (Fate.OK, [f"{ENDED} {IN_THE_NEW_ONE if again else SINCE}"])
    server.script_of = by_the_book
    assert run(connection) == (Fate.OK, [])


def test_a_restart_of_which_no_session_tells(server: Restarting, connection: KernelConnection) -> None:
    server.goodbye()
    news(connection)
    server.begin(LIFE)
    assert run(connection) == (Fate.OK, [f"{BY_ANOTHER} {SINCE}"])
    assert run(connection) == (Fate.OK, [])


def test_a_restart_that_ends_the_cell_is_no_news_for_the_next(server: Restarting, connection: KernelConnection) -> None:
    def ended(cell: ScriptedCell) -> None:
        cell.busy()
        server.goodbye()
        cell.idle()

    def late(cell: ScriptedCell) -> None:
        server.begin()
        by_the_book(cell)

    server.script_of = ended
    died = "a script was restarted by another client during this cell (output above may be incomplete). "
    assert run(connection) == (Fate.DIED, [f"{died}Its variables are gone"])
    server.script_of = late
    assert run(connection) == (Fate.OK, [])
