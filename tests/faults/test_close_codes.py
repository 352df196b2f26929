"""How a server may close a connection, and what it may do when we come back (F14, F27, F32)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import Fate, FateUnknown
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Note, Stream
from kernel_bridge_magic.protocol.frames import encode
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports import timing as transport_timing
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.scripted import LIFE, ScriptedServer
from tests.support.servers import wait_for

Tell = Callable[..., None]


def open_to(server: ScriptedServer) -> tuple[KernelConnection, WebSocketTransport]:
    transport = WebSocketTransport(server.kernel, server.server, Vault())
    transport.open(10)
    return KernelConnection(
        server.kernel, transport, Control(server.kernel, ServerAPI(server.server, Vault()))
    ), transport


def follow(server: ScriptedServer, cell: Any, connections: int) -> None:
    """Let the cell go on over the connection that came last."""
    wait_for(lambda: len(server.handlers) == connections, "the next connection", 10)
    cell.handler = server.handlers[-1]


def numbered(cell: Any, number: int, text: str) -> bytes | str:
    """A stream message of an ipykernel: its id is a counter's."""
    header = {"msg_id": f"{LIFE}_42_{number}", "msg_type": "stream", "session": LIFE}
    message = Message("iopub", header, cell.header, {}, {"name": "stdout", "text": text})
    return encode(message, cell.handler.owner.subprotocol)


@pytest.mark.parametrize("code", [0, 1000, 1001, 1011, 1012, 4000])
def test_f27_whatever_the_code_the_link_is_opened_again_under_the_same_session(code: int, tell: Tell) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        cell.print("one\n")
        cell.close(code) if code else cell.drop()
        follow(server, cell, 2)
        cell.print("two\n")
        cell.reply()
        cell.idle()

    with ScriptedServer(script) as server:
        connection, transport = open_to(server)
        with connection:
            execution = connection.start(Cell("run"))
            events = list(execution)
        assert [event.text for event in events if isinstance(event, Stream)] == ["one\n", "two\n"]
        assert execution.result is not None and execution.result.fate is Fate.OK
        assert len(server.uris) == 2 and len(set(server.uris)) == 1, "the same session id"
        assert transport.client_id in server.uris[0]
        assert server.cells() == ["run"]
        (note,) = (event.text for event in events if isinstance(event, Note) and "back after" in event.text)
        tell(27, f"{code}: {note}")


@pytest.mark.parametrize("code", [1008, 4003])
def test_f27_a_server_that_does_not_want_us_is_tried_once(code: int) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        cell.close(code, "go\x1b[31m away")
        follow(server, cell, 2)
        cell.close(code, "go\x1b[31m away")

    with ScriptedServer(script) as server:
        connection, transport = open_to(server)
        with connection, pytest.raises(FateUnknown) as raised:
            connection.execute("run")
        assert len(server.handshakes) == 2
        if "ended the cell" not in str(raised.value):  # this kernel may answer before the second end
            assert f"{code} go\\x1b[31m away" in str(raised.value)
        assert not transport.is_open


def test_f27_a_message_that_the_server_calls_too_large_is_told_with_its_size(tell: Tell) -> None:
    with ScriptedServer(lambda cell: cell.close(1009, "message too big")) as server:
        connection, _ = open_to(server)
        with (
            connection,
            pytest.raises(FateUnknown, match=r"3\.0 MB is too large for the server in one message") as raised,
        ):
            connection.execute("#" * 3_000_000)
        assert "or use ZMQ" in str(raised.value)
        assert len(server.handshakes) == 1, "it would say the same again"
        tell(27, f"1009: {raised.value}")


@pytest.mark.alone
def test_f14_a_token_that_is_no_longer_valid_is_no_reason_to_go_on(tell: Tell) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        server.refusal = (403, {}, "")
        cell.drop()

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection, pytest.raises(FateUnknown, match="our token is no longer valid") as raised:
            connection.execute("run")
        assert len(server.handshakes) == 2
        tell(14, str(raised.value), raised.value.seconds, 5)


def test_f32_what_a_server_gives_twice_is_shown_once(tell: Tell) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        for number in range(20):
            cell.raw(numbered(cell, number, f"{number}\n"))
        cell.drop()
        follow(server, cell, 2)
        for number in range(15, 25):
            cell.raw(numbered(cell, number, f"{number}\n"))
        cell.reply()
        cell.idle()

    with ScriptedServer(script) as server:
        connection, transport = open_to(server)
        with connection:
            text = "".join(event.text for event in connection.stream("run") if isinstance(event, Stream))
        assert text == "".join(f"{number}\n" for number in range(25))
        assert transport.repeated == 5
        tell(32, "5 messages came twice, 0 shown twice")


def test_ids_that_are_no_counters_are_not_counted_and_that_is_said() -> None:
    def script(cell: Any) -> None:
        cell.busy()
        cell.print("one\n")
        cell.drop()
        follow(server, cell, 2)
        cell.print("two\n")
        cell.reply()
        cell.idle()

    with ScriptedServer(script) as server:  # its ids begin anew with each connection
        connection, _ = open_to(server)
        with connection:
            execution = connection.start(Cell("run"))
            notes = [event.text for event in execution if isinstance(event, Note)]
        assert sum("cannot be told" in note for note in notes) == 1
        assert execution.result is not None
        assert (execution.result.fate, execution.result.missing) == (Fate.OK, None)


def test_f26_an_idle_connection_is_pinged(monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    monkeypatch.setattr(timing, "current", replace(timing.current, ping_idle=0.2))
    monkeypatch.setattr(transport_timing, "current", replace(transport_timing.current, websocket_look_idle=0.1))
    pinged: list[bytes] = []
    four = threading.Event()

    def on_ping(data: bytes) -> None:
        pinged.append(data)
        if len(pinged) >= 4:
            four.set()

    with ScriptedServer(lambda cell: None) as server:
        connection, transport = open_to(server)
        with connection:
            wait_for(lambda: server.handlers, "the handler of the connection")
            server.handlers[0].on_ping = on_ping  # type: ignore[method-assign]
            assert four.wait(10)
            assert transport.is_open
    tell(26, "pinged every 15 s while idle, every 3 s while a cell runs: proxies that wait 60 s see traffic")
