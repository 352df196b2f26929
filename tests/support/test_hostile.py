"""The hostile server does what a test tells it, so that a test which holds has met what it names."""

from __future__ import annotations

import http.client
import json

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import Note, Started, Stream
from kernel_bridge_magic.protocol.frames import V1
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.hostile import HostileServer
from tests.support.scripted import ScriptedCell


def open_to(server: HostileServer) -> KernelConnection:
    transport = WebSocketTransport(server.kernel, server.server, Vault())
    transport.open(10)
    return KernelConnection(server.kernel, transport, Control(server.kernel, ServerAPI(server.server, Vault())))


def test_its_rest_is_a_server_s_until_a_test_says_otherwise() -> None:
    with HostileServer() as server:
        api = ServerAPI(server.server, Vault())
        assert [model["id"] for model in api.kernels()] == ["scripted"]
        assert api.version() == "2.99"
        server.paths["/api/kernels"] = lambda request: (200, {}, json.dumps([{"id": "other"}]))
        assert api.kernels() == [{"id": "other"}]
        server.paths["/api/kernels/scripted"] = None
        assert api.kernel("scripted") is None
        assert ("GET", "/api/kernels/scripted") in server.requests


def test_it_closes_a_connection_that_it_promised_to_keep() -> None:
    with HostileServer() as server:
        server.closes = True
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.auto_open = False
        connection.connect()
        connection.request("GET", "/api")
        answer = connection.getresponse()
        assert answer.read() and not answer.will_close
        with pytest.raises((http.client.HTTPException, OSError)):  # which of them is a matter of time
            connection.request("GET", "/api")
            connection.getresponse()
        connection.close()


@pytest.mark.parametrize("subprotocol", [V1, ""], ids=["v1", "json"])
def test_it_sends_every_byte_that_a_test_names_and_loses_what_it_names(subprotocol: str) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.text("iopub", "stream", header={"msg_id": "x"}, content='{"name": "stdout", "text": "one\\n"}')
        cell.text("iopub", "stream", content='{"name": "stdout", NO JSON')
        cell.print("lost\n")
        cell.reply()
        cell.idle()

    with HostileServer(script, subprotocol=subprotocol) as server:
        server.changes = lambda message, payload: None if message.content.get("text") == "lost\n" else payload
        with open_to(server) as connection:
            *events, note = connection.stream("run", timeout=20)
            assert events == [Started(), Stream("stdout", "one\n")]
            assert isinstance(note, Note) and "1 message" in note.text


def test_it_lets_nobody_in_again_when_its_doors_are_shut() -> None:
    server: HostileServer

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        server.cut()

    with HostileServer(script) as server:
        server.doors = 1
        with open_to(server) as connection:
            execution = connection.start(Cell("run", timeout=3))
            list(execution)
            assert execution.result is not None and execution.result.fate is Fate.LEFT_RUNNING
            assert len(server.handlers) == 1 and len(server.handshakes) == 1
