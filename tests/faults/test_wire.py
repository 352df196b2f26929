"""What comes over the wire and is not as it should be: messages that are none, and an order that nobody promised."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Note, Stream
from kernel_bridge_magic.protocol.frames import V1, decode, encode
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.scripted import LIFE, ScriptedServer
from tests.support.servers import JupyterServer, private_env

Tell = Callable[..., None]
LongRun = Callable[[str, str], None]
# What a mutation may make of a message that is read: anything but one of these, which end a cell
SAFE = ("stream", "display_data", "update_display_data", "clear_output", "comm_open", "comm_msg", "xyz")


def open_to(server: ScriptedServer) -> tuple[KernelConnection, WebSocketTransport]:
    transport = WebSocketTransport(server.kernel, server.server, Vault())
    transport.open(10)
    control = Control(server.kernel, ServerAPI(server.server, Vault()))
    return KernelConnection(server.kernel, transport, control), transport


def mutated(chance: random.Random, number: int, parent: dict[str, Any], subprotocol: str) -> bytes | str:
    """A message of a cell with something wrong in it: a byte, a length, a field, a type."""
    nonsense: list[Any] = [None, 3, "x", [], {}, [None], {"x": None}, True, 1e300, "\ud800", "x" * 5000]
    header: Any = {"msg_id": f"{LIFE}_{number}", "msg_type": chance.choice(SAFE), "session": LIFE}
    fields: list[Any] = [header, parent, {}, {"name": "stdout", "text": f"M{number}\n", "data": {}, "transient": {}}]
    how = chance.randrange(4)
    if how == 0:
        fields[chance.choice((1, 2, 3))] = chance.choice(nonsense)
    elif how == 1:
        fields[3] = {key: chance.choice(nonsense) for key in fields[3]}
    payload = encode(Message(chance.choice(("iopub", "iopub", "stdin", "x")), *fields), subprotocol)
    if how < 2:
        return payload
    data = bytearray(payload if isinstance(payload, bytes) else payload.encode())
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(data))
        if how == 2:
            data[place] = chance.randrange(256)
        else:
            del data[place : place + chance.randrange(1, 40)]
            data = data or bytearray(b"x")
    return bytes(data) if isinstance(payload, bytes) else data.decode("utf-8", "replace")


def ends_the_cell(payload: bytes | str, subprotocol: str) -> bool:
    """Whether a mutation has made one that says so: a kernel may end its cell."""
    try:
        message = decode(payload, subprotocol)
    except MalformedMessage:
        return False
    ends = message.msg_type in ("status", "error", "execute_reply", "shutdown_reply") or message.channel == "shell"
    return ends or message.sender != LIFE  # another session is another life (R4), however it came about


@pytest.mark.parametrize("subprotocol", [V1, ""])
@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_f28_mutated_messages_end_neither_the_reader_nor_the_cell(
    count: int, subprotocol: str, tell: Tell, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(28)

    def script(cell: Any) -> None:
        cell.busy()
        cell.print("first\n")
        for number in range(count):
            payload = mutated(chance, number, cell.header, subprotocol)
            if not ends_the_cell(payload, subprotocol):
                cell.raw(payload)
        cell.print("last\n")
        cell.reply()
        cell.idle()

    with ScriptedServer(script, subprotocol=subprotocol) as server:
        connection, transport = open_to(server)
        with connection:
            execution = connection.start(Cell("run", timeout=500, keep_outputs=False))
            events = list(execution)
            assert execution.result is not None and execution.result.fate is Fate.OK
            texts = [event.text for event in events if isinstance(event, Stream)]
            assert (texts[0], texts[-1]) == ("first\n", "last\n")
            (note,) = (event.text for event in events if isinstance(event, Note))
            assert note.startswith(f"dropped {transport.malformed} messages that are damaged")
            server.script = lambda cell: (cell.busy(), cell.reply(), cell.idle())
            assert connection.execute("run").fate is Fate.OK
    tell(28, f"{count} mutated messages: {note}")
    if count > 3000:
        framing = "binary" if subprotocol else "JSON"
        long_run: LongRun = request.getfixturevalue("long_run")
        long_run(f"F28: mutated messages, {framing} framing", f"{count}: {note}; the reader lives, the cell is ok")


@pytest.mark.parametrize("order", ["idle first", "reply first", "output last"])
def test_f31_a_cell_is_over_when_reply_and_idle_are_in_whatever_the_order(order: str, tell: Tell) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        if order == "idle first":
            cell.print("x" * 1000 + "\n")
            cell.idle()
            cell.reply()
        elif order == "reply first":
            cell.reply()
            cell.print("x" * 1000 + "\n")
            cell.idle()
        else:
            cell.reply()
            for _ in range(100):
                cell.print("x" * 100_000 + "\n")
            cell.idle()

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection:
            execution = connection.start(Cell("run", timeout=60))
            size = sum(len(event.text) for event in execution if isinstance(event, Stream))
            assert execution.result is not None
            assert (execution.result.fate, execution.result.missing) == (Fate.OK, 0)
            assert size == (100 * 100_001 if order == "output last" else 1001)
    tell(31, "nothing: idle before the reply, output after it, 10 MB after it: whole")


def test_f16_a_disk_that_takes_nothing_and_a_home_that_cannot_be_written_change_nothing(
    jupyter_server: JupyterServer, own_kernel: str, tmp_path: Path, tell: Tell
) -> None:
    env = private_env(tmp_path, jupyter_server.runtime_dir) | {"HOME": "/proc", "TMPDIR": "/proc"}
    env |= {"IPYTHONDIR": "/proc/ipython", "JUPYTER_CONFIG_DIR": "/proc/config", "JUPYTER_DATA_DIR": "/proc/data"}
    code = "for n in range(3): print('line', n)"
    full = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    full += "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "  # as a disk that is full: no file takes a byte
    full += "from kernel_bridge_magic.cli.main import main; import sys; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", full, "exec", "--kernel-match", own_kernel, "--code", code],
        env=env | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "line 0\nline 1\nline 2\n", "")
    tell(16, "nothing: the cell runs, exit status 0")
