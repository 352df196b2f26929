"""The transport over a server, which may be anything: a proxy, a login page, a server that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import (
    AuthRefused,
    BadCell,
    CannotConnect,
    Fate,
    FateUnknown,
    KernelBridgeError,
    KernelDied,
    LinkLost,
    ServerUnreachable,
)
from kernel_bridge_magic.fate import timing as fate_timing
from kernel_bridge_magic.fate.patience import SleepDetector
from kernel_bridge_magic.interrupts import held
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.events import DisplayData, Note, Started, Stream
from kernel_bridge_magic.protocol.frames import V1, encode
from kernel_bridge_magic.protocol.messages import Message, execute_content
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports import message_socket
from kernel_bridge_magic.transports import websocket as websocket_module
from kernel_bridge_magic.transports.message_socket import LARGEST_SENT, Fragments
from kernel_bridge_magic.transports.websocket import Repeats, SilenceWatch, WebSocketTransport, clocks_apart
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.scripted import ScriptedCell, ScriptedServer
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found, has_ended, known

CANARY = "canary-5f1c77"
FRAMINGS = pytest.mark.parametrize("framing", [V1, ""], ids=["v1", "json"])


def with_secret(server: ScriptedServer) -> Vault:
    vault = Vault()
    vault.put(server.server.origin, Secret(CANARY))
    return vault


def transport_to(server: ScriptedServer) -> WebSocketTransport:
    return WebSocketTransport(server.kernel, server.server, with_secret(server))


def open_to(server: ScriptedServer) -> tuple[KernelConnection, WebSocketTransport]:
    transport = transport_to(server)
    transport.open(10)
    control = Control(server.kernel, ServerAPI(server.server, with_secret(server)))
    return KernelConnection(server.kernel, transport, control), transport


def refused(server: ScriptedServer) -> KernelBridgeError:
    transport = transport_to(server)
    with pytest.raises(KernelBridgeError) as raised:
        transport.open(10)
    assert not transport.is_open
    text = str(raised.value)
    assert "\n" not in text
    assert CANARY not in text
    # a library's own error, with its cookies and pages, is not carried along
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return raised.value


def finish(cell: ScriptedCell) -> None:
    cell.print("done\n")
    cell.reply()
    cell.idle()


# -- the handshake


def test_the_handshake_says_who_we_are_and_no_origin() -> None:
    with ScriptedServer() as server:
        open_to(server)[0].close()
        (headers,) = server.handshakes
    assert headers["Authorization"] == f"token {CANARY}"
    assert headers["Sec-Websocket-Protocol"] == V1
    assert "Origin" not in headers
    assert "Cookie" not in headers


def test_a_server_without_a_token_is_sent_none() -> None:
    with ScriptedServer() as server:
        transport = WebSocketTransport(server.kernel, server.server, Vault())
        transport.open(10)
        transport.close()
        assert "Authorization" not in server.handshakes[0]


@FRAMINGS
def test_the_framing_is_what_the_server_chose_in_one_handshake(framing: str) -> None:
    with ScriptedServer(finish, subprotocol=framing) as server:
        connection, _ = open_to(server)
        with connection:
            assert connection.execute("run").outputs[0]["text"] == "done\n"
        assert len(server.handshakes) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["elsewhere", "same origin", "relative"])
def test_no_redirect_is_followed(status: int, target: str) -> None:
    with RawServer(http()) as canary, ScriptedServer() as server:
        location = {
            "elsewhere": f"ws://127.0.0.1:{canary.port}/api/kernels/scripted/channels",
            "same origin": f"{server.url}hub/login?next=%2F",
            "relative": "/login",
        }[target]
        server.refusal = (status, {"Location": location, "Set-Cookie": "a=b"}, "")
        assert isinstance(refused(server), CannotConnect | AuthRefused)
        assert canary.requests == []
        assert len(server.handshakes) == 1


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, AuthRefused, "401"),
        (403, AuthRefused, "403"),
        (404, CannotConnect, "no kernel"),
        (500, CannotConnect, "500"),
        (503, CannotConnect, "503"),
    ],
)
def test_a_refusal_is_one_sentence(status: int, kind: type[KernelBridgeError], says: str) -> None:
    with ScriptedServer() as server:
        server.refusal = (status, {"Set-Cookie": f"a={CANARY}"}, f"<html>\x1b[31m{CANARY}</html>")
        problem = refused(server)
    assert type(problem) is kind
    assert says in str(problem)


def test_a_web_page_is_no_kernel() -> None:
    with ScriptedServer() as server:
        server.refusal = (200, {"Content-Type": "text/html"}, "<html><form>login</form></html>")
        assert isinstance(refused(server), CannotConnect)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ],
)
def test_what_is_no_websocket_server_is_one_sentence(answer: bytes) -> None:
    with RawServer(answer) as raw:
        vault = Vault()
        vault.put(raw.server().origin, Secret(CANARY))
        transport = WebSocketTransport(Kernel(id="k"), raw.server(), vault)
        with pytest.raises(CannotConnect) as raised:
            transport.open(10)
    assert "\n" not in str(raised.value)
    assert CANARY not in str(raised.value)


def test_a_port_that_is_closed_is_told_at_once() -> None:
    url, origin, _ = parse_base_url(f"http://127.0.0.1:{free_port()}/")
    began = time.monotonic()
    with pytest.raises(ServerUnreachable):
        WebSocketTransport(Kernel(id="k"), Server(url, "gone", origin), Vault()).open(10)
    assert time.monotonic() - began < 5


@pytest.mark.alone
def test_a_server_that_says_nothing_is_given_up() -> None:
    with RawServer(lambda connection, request: connection.recv(1) and None) as raw:
        transport = WebSocketTransport(Kernel(id="k"), raw.server(), Vault())
        began = time.monotonic()
        with pytest.raises(CannotConnect, match=r"within 0\.5 s"):
            transport.open(0.5)
        assert time.monotonic() - began < 3


def test_proxies_of_the_environment_are_not_used(
    jupyter_server: JupyterServer, shared_kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(http("502 Bad Gateway", b"")) as trap:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        where, vault = known(jupyter_server)
        assert ServerAPI(where, vault).kernel(shared_kernel) is not None
        connection, _ = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "ws")
        with connection:
            assert connection.execute("1 + 1").text == "2"
        assert trap.requests == []


def test_cookies_of_a_server_are_not_kept() -> None:
    from websocket._handshake import CookieJar

    with ScriptedServer() as server:
        server.refusal = (403, {"Set-Cookie": "stolen=1; Path=/"}, "")
        for _ in range(3):
            refused(server)
        assert all("Cookie" not in headers for headers in server.handshakes)
    assert not CookieJar.jar, "websocket-client has one for the whole process"


# -- what comes in

BAD_TEXT = [
    "",
    "{",
    "null",
    "[]",
    "3",
    '"text"',
    "{}",
    '{"channel": "iopub"}',
    '{"channel": "iopub", "header": null}',
    '{"channel": "iopub", "header": []}',
    '{"channel": "iopub", "header": {}}',
    '{"channel": "iopub", "header": {"msg_type": 3}}',
    '{"channel": "no-such", "header": {"msg_type": "status"}}',
    '{"channel": 3, "header": {"msg_type": "status"}}',
    "[" * 100_000,
    "\ud83d".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
]
BAD_BINARY = [
    b"",
    b"\0",
    b"\xff" * 8,
    struct.pack("<Q", 2**62),
    struct.pack("<Q", 6) + b"\0" * 48,
    struct.pack("<7Q", 6, *range(1000, 1006)),
    struct.pack(">I", 2**31) + b"xxxx",
    struct.pack(">II", 1, 8) + b"not json",
    os.urandom(500),
]


@FRAMINGS
def test_frames_that_are_no_messages_are_dropped_and_counted(framing: str) -> None:
    bad = [*BAD_TEXT, *BAD_BINARY]

    def script(cell: Any) -> None:
        cell.busy()
        for frame in bad:
            cell.raw(frame)
        finish(cell)

    with ScriptedServer(script, subprotocol=framing) as server:
        connection, transport = open_to(server)
        with connection:
            *events, note = connection.stream("run", timeout=20)
            assert events == [Started(), Stream("stdout", "done\n")]
            assert isinstance(note, Note)
            assert note.text.startswith(f"dropped {len(bad)} messages that are damaged")
            assert transport.malformed == len(bad)
            assert connection.execute("run").fate is Fate.OK


def test_a_message_without_a_channel_is_from_iopub() -> None:
    def script(cell: Any) -> None:
        cell.busy()
        header = {"msg_type": "stream", "msg_id": "m", "session": "s"}
        whole = {"header": header, "parent_header": cell.header, "content": {"name": "stdout", "text": "no channel\n"}}
        cell.raw(json.dumps(whole))
        cell.reply()
        cell.idle()

    with ScriptedServer(script, subprotocol="") as server:
        connection, transport = open_to(server)
        with connection:
            assert Stream("stdout", "no channel\n") in connection.stream("run")
            assert transport.malformed == 0


@FRAMINGS
def test_large_messages_come_whole(framing: str) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.iopub("display_data", {"data": {"text/plain": "x" * 30_000_000}, "metadata": {}})
        finish(cell)

    with ScriptedServer(script, subprotocol=framing) as server:
        connection, _ = open_to(server)
        with connection:
            (display,) = (event for event in connection.stream("run") if isinstance(event, DisplayData))
    assert display.data["text/plain"] == "x" * 30_000_000


def frame(opcode: int, length: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame that announces `length`, whatever follows."""
    return struct.pack("!BBQ", opcode | 0x80 * fin, 127, length) + payload


MEGABYTE = b"x" * 2**20
TOO_LARGE: dict[str, list[bytes]] = {
    "announced": [frame(2, message_socket.LARGEST_RECEIVED + 1, b"x")],
    "2**62": [frame(1, 2**62, b"x")],
    "fragments": [frame(2, 2**20, MEGABYTE, fin=False), *[frame(0, 2**20, MEGABYTE, fin=False)] * 4],
    "small fragments": [frame(2, 1, b"x", fin=False), *[frame(0, 2**16, b"x" * 2**16, fin=False)] * 80],
    "a last fragment": [frame(2, 2**20, MEGABYTE, fin=False), frame(0, 2**40, b"")],
}


@pytest.mark.parametrize("how", TOO_LARGE)
def test_what_announces_more_than_may_come_ends_the_connection_at_once(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "fragments" in how:
        monkeypatch.setattr(message_socket, "LARGEST_RECEIVED", 4 * 2**20)
    ended = threading.Event()
    most = 0

    class Measured(Fragments):
        def add(self, data: bytes, *, text: bool | None, last: bool) -> str | bytes | None:
            nonlocal most
            whole = super().add(data, text=text, last=last)
            most = max(most, self.size)
            return whole

    monkeypatch.setattr(message_socket, "Fragments", Measured)

    def script(cell: Any) -> None:
        cell.busy()
        cell.print("one\n")
        for data in TOO_LARGE[how]:
            cell.handler.soon(lambda data=data: cell.handler.ws_connection.stream.write(data))
        ended.wait(10)

    with ScriptedServer(script) as server:
        connection, transport = open_to(server)
        execution = connection.start(Cell("run", timeout=20))
        began = time.monotonic()
        assert Stream("stdout", "one\n") in list(execution)
        ended.set()
        assert time.monotonic() - began < 5
        assert execution.result is not None
        assert isinstance(execution.result.error, FateUnknown)
        assert "MiB came, which is not read" in str(execution.result.error)
        assert not transport.is_open
        assert most <= message_socket.LARGEST_RECEIVED


@FRAMINGS
def test_a_message_in_fragments_comes_whole_with_pings_between(framing: str) -> None:
    text = "x" * 3_000_000

    def script(cell: Any) -> None:
        cell.busy()
        header = {"msg_type": "stream", "msg_id": "m", "session": "s"}
        message = Message("iopub", header, cell.header, {}, {"name": "stdout", "text": text})
        payload = encode(message, framing)
        data = payload if isinstance(payload, bytes) else payload.encode()
        opcode = 2 if isinstance(payload, bytes) else 1
        pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            wire = frame(0 if number else opcode, len(piece), piece, fin=last) + b"\x89\x02hi"
            cell.handler.soon(lambda wire=wire: cell.handler.ws_connection.stream.write(wire))
        finish(cell)

    with ScriptedServer(script, subprotocol=framing) as server:
        connection, transport = open_to(server)
        with connection:
            streams = [event for event in connection.stream("run", timeout=20) if isinstance(event, Stream)]
            assert "".join(event.text for event in streams) == text + "done\n"
            assert transport.malformed == 0


def test_a_hundred_megabytes_in_fragments_take_linear_time() -> None:
    # websocket-client alone: 19 s (T23)
    import psutil

    size, count = 2**20, 100
    data = json.dumps({"data": {"text/plain": "x" * (size * count)}, "metadata": {}})

    def script(cell: Any) -> None:
        header = {"msg_type": "display_data", "msg_id": "m", "session": "s"}
        whole = encode(Message("iopub", header, cell.header, {}, json.loads(data)), V1)
        assert isinstance(whole, bytes)
        cell.busy()

        def write() -> None:
            for at in range(0, len(whole), size):
                piece, last = whole[at : at + size], at + size >= len(whole)
                cell.handler.ws_connection.stream.write(frame(0 if at else 2, len(piece), piece, fin=last))

        cell.handler.soon(write)
        finish(cell)

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection:
            process = psutil.Process()
            before = process.cpu_times()
            (display,) = (event for event in connection.stream("run", timeout=60) if isinstance(event, DisplayData))
            after = process.cpu_times()
    assert len(display.data["text/plain"]) == size * count
    # the server's half, in this process too, is about as much
    assert after.user - before.user + after.system - before.system < 8


def test_what_is_too_large_for_the_server_is_refused_here_and_the_connection_lives() -> None:
    with ScriptedServer(finish) as server:
        connection, _ = open_to(server)
        with connection:
            with pytest.raises(
                BadCell,
                match=r"^a script: a message of 11,000,\d{3} bytes was not sent, since the server takes 10,484,736 at "
                "most; split the cell, or let it read its data from a file there$",
            ):
                connection.execute("#" * 11_000_000)
            assert connection.execute("run").fate is Fate.OK
        assert server.cells() == ["run"]


# -- when it ends

ENDS: dict[str, Callable[[Any], None]] = {
    "1000": lambda cell: cell.close(1000),
    "1001": lambda cell: cell.close(1001, "going away"),
    "1011": lambda cell: cell.close(1011, "internal error"),
    "4000": lambda cell: cell.close(4000, "\x1b[31mweird"),
    "EOF": lambda cell: cell.drop(),
}


@pytest.mark.bounded
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize(("state", "kind"), [("busy", FateUnknown), (None, KernelDied), ("dead", KernelDied)])
def test_an_end_in_mid_run_is_told_by_what_the_server_says(
    how: str, state: str | None, kind: type[KernelBridgeError]
) -> None:
    # This server gives nothing again: its kernel answers from behind the cell, whose reply never comes.
    def script(cell: Any) -> None:
        cell.busy()
        cell.print("one\n")
        server.state = state
        ENDS[how](cell)

    with ScriptedServer(script) as server:
        connection, transport = open_to(server)
        execution = connection.start(Cell("run"))
        began = time.monotonic()
        assert Stream("stdout", "one\n") in list(execution)
        assert time.monotonic() - began < 4
        assert execution.result is not None
        assert type(execution.result.error) is kind
        assert "\x1b" not in str(execution.result.error)
        assert server.cells() == ["run"], "nothing is sent twice"
        assert len(server.handshakes) == 2
        assert transport.reconnects == (state == "busy")
        if state == "busy":
            connection.close()
            return
        wait_for(lambda: not transport.is_open, "the end of the connection")
        with pytest.raises(LinkLost):
            connection.execute("again")


def test_an_end_before_the_cell_was_begun_is_never_said_to_be_safe() -> None:
    with ScriptedServer(lambda cell: cell.drop()) as server:
        connection, _ = open_to(server)
        with pytest.raises(FateUnknown, match="may have run"):
            connection.execute("run")


@pytest.mark.parametrize("frame", [b"\xc1\x00", b"\x83\x00", b"\x81\x02\xff\xfe", b"\x82\x7f" + b"\x7f" + b"\xff" * 7])
def test_a_frame_that_is_none_ends_the_connection_at_once(frame: bytes) -> None:
    # RSV bits, an unknown opcode, text that is no UTF-8 (dropped, no more), and a length of nearly 2**63
    def script(cell: Any) -> None:
        cell.busy()
        cell.handler.soon(lambda: cell.handler.ws_connection.stream.write(frame))
        finish(cell)
        if frame[:1] == b"\x82":
            cell.drop()

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        execution = connection.start(Cell("run", timeout=20))
        for _ in execution:
            pass
        assert execution.result is not None
        wanted = (Fate.OK, Fate.UNKNOWN) if frame[:1] == b"\x81" else (Fate.UNKNOWN,)
        assert execution.result.fate in wanted
        connection.close()


def test_pings_are_answered_while_nobody_looks() -> None:
    ponged = threading.Event()

    def on_pong(data: bytes) -> None:
        if data == b"are you there":
            ponged.set()

    def script(cell: Any) -> None:
        cell.handler.on_pong = on_pong
        cell.busy()
        cell.handler.soon(lambda: cell.handler.ping(b"are you there"))
        assert ponged.wait(10)
        finish(cell)

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection:
            execution = connection.start(Cell("run"))
            assert ponged.wait(10), "nobody has iterated yet"
            assert list(execution)[-1] == Stream("stdout", "done\n")


def test_after_each_message_comes_a_pong_that_ends_the_server_s_wait() -> None:
    # FACTS.md#latency: Nagle and the delayed acknowledgement, 48 ms for each small message
    ponged: list[bytes] = []

    def script(cell: Any) -> None:
        cell.handler.on_pong = ponged.append
        cell.busy()
        for _ in range(10):
            cell.print("x")
        finish(cell)

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection:
            connection.execute("run")
            wait_for(lambda: len(ponged) >= 10, "the pongs")


def test_interrupts_go_to_the_server() -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        wait_for(lambda: server.interrupts, "the interrupt")
        finish(cell)

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection:
            execution = connection.start(Cell("run"))
            for event in execution:
                if isinstance(event, Started):
                    execution.interrupt()
            assert server.interrupts == 1
            assert execution.result is not None
            assert execution.result.fate is Fate.OK


def test_a_result_that_comes_after_the_idle_is_a_result() -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.reply()
        cell.idle()
        cell.iopub("execute_result", {"data": {"text/plain": "42"}, "metadata": {}, "execution_count": 1})

    with ScriptedServer(script) as server:
        connection, _ = open_to(server)
        with connection:
            values = [connection.execute("6 * 7").value for _ in range(20)]
    assert [value is not None and value.text for value in values] == ["42"] * 20


# -- Ctrl-C in the main thread


def press_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.fixture
def stuck(jupyter_server: JupyterServer, shared_kernel: str) -> Iterator[WebSocketTransport]:
    """A connection to a server that reads no more."""
    connection, transport = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "ws")
    assert isinstance(transport, WebSocketTransport)
    assert connection.execute("1").text == "1"
    jupyter_server.signal(signal.SIGSTOP)
    try:
        yield transport
    finally:
        jupyter_server.signal(signal.SIGCONT)
        transport.close()
        wait_for(lambda: has_ended(transport), "the end of the connection")


LARGE = execute_content("#" + "x" * (LARGEST_SENT - 2000))


def test_ctrl_c_ends_a_send_that_waits_and_the_torn_connection_with_it(stuck: WebSocketTransport) -> None:
    press_after(0.5)
    began = time.monotonic()
    with held(), pytest.raises(KeyboardInterrupt):
        stuck.send("execute_request", LARGE)
    assert time.monotonic() - began < 5
    assert not stuck.is_open, "half a frame is out: nothing can follow it"
    wait_for(lambda: has_ended(stuck), "the end of the connection")


def test_ctrl_c_while_another_thread_s_frame_is_stuck(stuck: WebSocketTransport) -> None:
    problems: list[Exception] = []

    def send() -> None:
        try:
            stuck.send("execute_request", LARGE)
        except LinkLost as problem:
            problems.append(problem)

    other = threading.Thread(target=send)
    other.start()
    wait_for(lambda: stuck._link is not None and stuck._link.lock._lock.locked(), "the other's frame")
    press_after(0.5)
    began = time.monotonic()
    with held(), pytest.raises(KeyboardInterrupt):
        stuck.send("execute_request", execute_content("1"))
    assert time.monotonic() - began < 5
    other.join(10)
    assert problems


def test_ctrl_c_while_the_server_does_not_answer_the_handshake() -> None:
    with RawServer(lambda connection, request: connection.recv(1) and None) as raw:
        server = raw.server()
        transport = WebSocketTransport(Kernel(id="k", server=server), server, Vault())
        press_after(0.5)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            transport.open(60)
        assert time.monotonic() - began < 5
        wait_for(lambda: has_ended(transport), "the end of the connection")


# -- what a server sends again


def numbered(number: int, *, channel: str = "iopub") -> Message:
    return Message(channel, {"msg_id": f"kernel_4242_{number}", "msg_type": "stream", "session": "kernel"})


def test_what_came_before_the_link_broke_is_a_repeat_and_nothing_else() -> None:
    repeats = Repeats()
    assert not any(repeats.is_repeat(numbered(number)) for number in range(10))
    assert not repeats.is_repeat(numbered(3, channel="shell")), "another channel"
    repeats.broke()
    assert repeats.is_repeat(numbered(9))
    assert not repeats.is_repeat(numbered(10))
    repeats.broke()
    assert repeats.is_repeat(numbered(9)) and repeats.is_repeat(numbered(10))


def test_what_is_remembered_does_not_grow_with_every_break() -> None:
    repeats = Repeats()
    for number in range(20_000):
        repeats.is_repeat(numbered(number))
        if number % 100 == 0:
            repeats.broke()
    assert repeats.is_repeat(numbered(19_900))
    assert sum(repeats.is_repeat(numbered(number)) for number in range(20_000)) <= 5000


def test_a_kernel_whose_ids_are_not_unique_loses_nothing() -> None:
    repeats = Repeats()
    assert not any(repeats.is_repeat(numbered(1)) for _ in range(3))
    repeats.broke()
    assert not repeats.is_repeat(numbered(1))
    nameless = Message.parse("iopub", {"msg_type": "stream"})
    assert not repeats.is_repeat(nameless) and not repeats.is_repeat(nameless)


# -- the rules of `fate.patience` on a connection whose clock the test turns


class Link:
    """A connection over which nothing comes from `heard` on."""

    progress = (0, 0, 0)

    def __init__(self, heard: float) -> None:
        self.heard = heard
        self.pings = 0

    def send_if_possible(self, send: Callable[[bytes], None]) -> bool:
        send(b"")
        return True

    def ping(self, data: bytes) -> None:
        self.pings += 1


class Clock:
    """`time`, as the module under test sees it."""

    CLOCK_BOOTTIME, CLOCK_MONOTONIC = 7, 1

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def clock_gettime(self, which: int) -> float:
        return self.now + (self.slept if which == self.CLOCK_BOOTTIME else 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(websocket_module, "time", made)
    return made


def watch_over(link: Link, *, answers: bool) -> tuple[SilenceWatch, list[Note]]:
    told: list[Note] = []
    as_link: Any = link
    return SilenceWatch(as_link, SleepDetector(), lambda: answers, told.append), told


def run(watch: SilenceWatch, clock: Clock, seconds: float) -> Any:
    for _ in range(round(seconds * 2)):
        clock.now += 0.5
        if end := watch.tick(running=True):
            return end
        for thread in threading.enumerate():
            if thread.name == "kernel-bridge-probe":
                thread.join(5)
    return None


def test_a_connection_that_is_heard_is_pinged_only(clock: Clock) -> None:
    link = Link(clock.now)
    watched, told = watch_over(link, answers=True)
    for _ in range(200):
        link.heard = clock.now
        assert run(watched, clock, 1) is None
    assert not told and not watched.doubts


def test_one_that_says_nothing_while_the_server_answers_is_given_up(clock: Clock) -> None:
    link = Link(clock.now)
    watched, told = watch_over(link, answers=True)
    end = run(watched, clock, 200)
    assert link.pings and watched.doubts
    assert end.silent >= fate_timing.current.silent_beside_answer and "nothing was heard for" in end.reason
    assert told


def test_one_whose_server_does_not_answer_either_is_kept_for_longer(clock: Clock) -> None:
    link = Link(clock.now)
    watched, _ = watch_over(link, answers=False)
    assert run(watched, clock, 200).silent >= fate_timing.current.silent_running


def test_after_a_sleep_of_this_machine_it_is_asked_at_once(clock: Clock) -> None:
    link = Link(clock.now)
    watched, _ = watch_over(link, answers=True)
    run(watched, clock, 1)
    before = link.pings
    clock.slept = 3600.0
    run(watched, clock, 0.5)
    assert link.pings == before + 1


def test_the_clock_that_goes_on_in_sleep_is_never_behind() -> None:
    apart = clocks_apart()
    assert apart is None or apart > -0.1  # the two are read one after the other
    assert hasattr(time, "CLOCK_BOOTTIME") or apart is None
