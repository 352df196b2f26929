"""The transport to a kernel of this machine: signatures, connection files, and kernels that do not answer."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipykernel
import pytest
import zmq

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.errors import CannotConnect, Fate, KernelBridgeError, KernelDied, LinkLost, NotRun
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event, Lost, Queued, Started, Stream
from kernel_bridge_magic.protocol.messages import Message, execute_content
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.inbox import Closed, Inbox
from kernel_bridge_magic.transports.threads import Opening
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.scripted import ScriptedCell, ScriptedKernel, ZMQCell
from tests.support.servers import ConsoleKernel, private_env, wait_for


def connected(kernel: Kernel) -> tuple[KernelConnection, ZMQTransport]:
    transport = ZMQTransport(kernel)
    transport.open(10)
    return KernelConnection(kernel, transport, Control(kernel, None)), transport


def finish(cell: ScriptedCell) -> None:
    cell.busy()
    cell.print("done\n")
    cell.reply()
    cell.idle()


def write_file(path: Path, **changes: Any) -> Kernel:
    """A connection file where nobody listens, but for what the test changes."""
    info = {name: free_port() for name in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")}
    common = {"ip": "127.0.0.1", "key": "a-key", "transport": "tcp", "signature_scheme": "hmac-sha256"}
    path.write_text(json.dumps(info | common | changes))
    path.chmod(0o600)
    return Kernel(id="k", connection_file=str(path))


def refused(kernel: Kernel) -> str:
    transport = ZMQTransport(kernel)
    began = time.monotonic()
    with pytest.raises(CannotConnect) as raised:
        transport.open(30)
    assert time.monotonic() - began < 5
    assert not transport.is_open
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None
    return str(raised.value)


# -- who may speak


def test_messages_that_the_kernel_did_not_sign_are_dropped_and_counted(tmp_path: Path) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        for key in (b"another-key", b""):
            parts = cell.parts("stream", {"name": "stdout", "text": "forged\n"}, key=key)
            cell.send_parts("iopub", parts, "stream")
            cell.send_parts("shell", cell.parts("execute_reply", {"status": "error"}, key=key))
        finish(cell)

    with ScriptedKernel(script, tmp_path) as kernel:
        connection, transport = connected(kernel.kernel)
        with connection:
            *events, note = connection.stream("run", timeout=20)
            assert events == [Started(), Stream("stdout", "done\n")]
            assert "damaged or not signed by the kernel" in getattr(note, "text", "")
            assert transport.malformed == 4


def test_messages_that_are_replayed_are_dropped_and_counted(tmp_path: Path) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        parts = cell.parts("stream", {"name": "stdout", "text": "once\n"})
        for _ in range(3):
            cell.send_parts("iopub", parts, "stream")
        cell.reply()
        cell.idle()

    with ScriptedKernel(script, tmp_path) as kernel:
        connection, transport = connected(kernel.kernel)
        with connection:
            *events, note = connection.stream("run", timeout=20)
            assert events == [Started(), Stream("stdout", "once\n")]
            assert "damaged or not signed by the kernel" in getattr(note, "text", "")
            assert transport.malformed == 2


def test_parts_that_are_no_message_are_dropped_and_counted(tmp_path: Path) -> None:
    bad = [[], [b""], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"x", b"{", b"}", b"[", b"]"], [os.urandom(20)] * 9]

    def script(cell: Any) -> None:
        cell.busy()
        for parts in bad:
            cell.send_parts("iopub", parts, "stream")
            cell.send_parts("shell", parts or [b""])
        finish(cell)

    with ScriptedKernel(script, tmp_path) as kernel:
        connection, transport = connected(kernel.kernel)
        with connection:
            *events, note = connection.stream("run", timeout=20)
            assert events == [Started(), Stream("stdout", "done\n")]
            assert "damaged or not signed by the kernel" in getattr(note, "text", "")
            assert transport.malformed == 2 * len(bad)


def test_a_kernel_that_signs_nothing_is_refused(tmp_path: Path) -> None:
    with ScriptedKernel(finish, tmp_path, key=b"") as kernel:
        assert refused(kernel.kernel) == (
            "a script has a connection file with no key, so anybody could speak in its name. Nothing was sent; start "
            "it anew to give it one"
        )
        assert kernel.received == []


# -- connection files


def test_a_connection_file_that_is_gone(tmp_path: Path) -> None:
    kernel = Kernel(id="k", connection_file=str(tmp_path / "kernel-k.json"))
    assert refused(kernel) == "k has no connection file any more, or one that cannot be read"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is certain that nobody listens, three seconds prove no more than some."""
    monkeypatch.setattr(timing, "current", replace(timing.current, zmq_open=0.2))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '"x"', "[" * 10_000, "\ufeff{}", "{}"])
def test_a_connection_file_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kernel-k.json"
    path.write_text(content)
    refused(Kernel(id="k", connection_file=str(path)))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "changes",
    [
        {"transport": "pigeon"},
        {"ip": "no such host!"},
        {"shell_port": "x"},
        {"shell_port": 70_000},
        {"iopub_port": None},
        {"ip": 3},
        {"key": 7},
        {"signature_scheme": "rot13"},
        {"signature_scheme": None},
    ],
)
def test_a_connection_file_with_nonsense_in_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(write_file(tmp_path / "kernel-k.json", **changes))


def test_what_could_not_be_opened_is_closed_when_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    def finish(opening: Opening, problem: KernelBridgeError | None) -> None:
        assert not transport.is_open
        told.append(problem)
        said_so(opening, problem)

    said_so = Opening.finish
    monkeypatch.setattr(Opening, "finish", finish)
    transport = ZMQTransport(write_file(tmp_path / "kernel-k.json", ip=3))
    with pytest.raises(CannotConnect):
        transport.open(5)
    assert len(told) == 1


def test_a_connection_file_that_everybody_can_write(tmp_path: Path) -> None:
    kernel = write_file(tmp_path / "kernel-k.json")
    os.chmod(kernel.connection_file, 0o666)
    assert refused(kernel) == (
        "k has a connection file that can be written by everybody, so it is not used. Take that right away with "
        "chmod 600"
    )


@pytest.mark.bounded
def test_ports_that_are_closed_are_told_in_seconds(tmp_path: Path) -> None:
    assert "ended" in refused(write_file(tmp_path / "kernel-k.json"))


@pytest.mark.bounded
def test_a_port_that_another_program_has_is_told_in_seconds(tmp_path: Path) -> None:
    with RawServer(http()) as other:
        ports = {f"{name}_port": other.port for name in ("shell", "iopub", "stdin", "control", "hb")}
        refused(write_file(tmp_path / "kernel-k.json", **ports))


# -- kernels


def test_a_kernel_that_does_not_greet_loses_no_output(tmp_path: Path) -> None:
    # the subscription takes its time; older kernels have no iopub_welcome to prove it
    def script(cell: ScriptedCell) -> None:
        for number in range(3):
            cell.print(f"{number}\n")
        finish(cell)

    with ScriptedKernel(script, tmp_path) as kernel:
        for _ in range(10):
            connection, _ = connected(kernel.kernel)
            with connection:
                (output,) = connection.execute("run").outputs
                assert output["text"] == "0\n1\n2\ndone\n"


def test_a_greeting_that_was_dropped_may_be_among_what_is_missing(tmp_path: Path) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        if cell.content["code"] == "greet":
            cell.iopub("iopub_welcome", {}, {})
        elif cell.content["code"] != "settle":
            if cell.content["code"] == "ask and lose":
                assert transport.greets(0.1) is False
            for _ in range(50):
                kernel.session.msg("stream")  # numbered, and never sent
        cell.reply()
        cell.idle()

    def lost(code: str) -> list[tuple[int | None, str]]:
        events = list(connection.stream(code, timeout=20))
        return [(event.count, event.reason.split(" messages")[0]) for event in events if isinstance(event, Lost)]

    with ScriptedKernel(script, tmp_path) as kernel:
        connection, transport = connected(kernel.kernel)
        with connection:
            assert transport.greets(0.1) is None
            # Three messages in a row make its ids a counter. Those of a subscription that takes long are not heard.
            assert not connection.execute("settle").missing
            assert lost("lose") == [(50, "50")]
            assert not connection.execute("greet").missing
            assert lost("lose") == [(50, "50")]
            assert lost("ask and lose") == [(50, "up to 50")]
            assert not connection.execute("greet").missing
            assert lost("lose") == [(50, "50")]


@pytest.mark.bounded
def test_a_kernel_that_is_busy_is_connected_to_at_once_and_runs_the_cell_later(tmp_path: Path) -> None:
    with ScriptedKernel(finish, tmp_path, busy=True) as kernel:
        began = time.monotonic()
        connection, _ = connected(kernel.kernel)
        assert time.monotonic() - began < 2
        with connection:
            events: list[Event] = []
            for event in connection.start(Cell("run", timeout=20)):
                events.append(event)
                if isinstance(event, Queued):
                    kernel.busy.clear()
            assert events == [Queued(), Started(), Stream("stdout", "done\n")]


def test_a_kernel_that_leaves_is_noticed_at_once(tmp_path: Path) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.print("last words\n")

    with ScriptedKernel(script, tmp_path) as kernel:
        connection, _ = connected(kernel.kernel)
        execution = connection.start(Cell("run"))
        events: list[Event] = []
        began = 0.0
        for event in execution:
            events.append(event)
            if isinstance(event, Stream):  # what a process has not sent yet when it ends is lost
                kernel.stop()
                began = time.monotonic()
        assert time.monotonic() - began < 5
        assert events == [Started(), Stream("stdout", "last words\n")]
        assert execution.result is not None
        assert isinstance(execution.result.error, KernelDied)
        wait_for(lambda: not connection.is_open, "the end of the connection")
        with pytest.raises(LinkLost):
            connection.execute("again")


def test_nothing_waits_for_the_next_kernel_on_the_same_ports(tmp_path: Path) -> None:
    # an execute_request that ZMQ kept would run in a kernel that nobody meant (FACTS.md#kernels-without-a-server)
    with ScriptedKernel(finish, tmp_path) as kernel:
        connection, transport = connected(kernel.kernel)
        ports = json.loads(kernel.connection_file.read_text())
        kernel.stop()
        wait_for(lambda: not transport.is_open, "the end of the connection")
        with pytest.raises(NotRun, match="ended before the cell was sent"):
            connection.execute("run")
        context = zmq.Context()
        try:
            with context.socket(zmq.ROUTER) as next_one:
                next_one.linger = 0
                next_one.bind(f"tcp://127.0.0.1:{ports['shell_port']}")
                assert not next_one.poll(300)
        finally:
            context.destroy(0)


@pytest.mark.usefixtures("impatient")
def test_closing_leaves_no_descriptor_even_when_opening_failed(tmp_path: Path) -> None:
    kernel = write_file(tmp_path / "kernel-k.json")
    refused(kernel)  # what is opened once for all is open now
    threads, before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        refused(kernel)
    wait_for(lambda: threading.active_count() <= threads, "the end of the threads")
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before, "the closing of the sockets")


# -- real kernels on other transports


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A short path: a unix socket's has 107 characters at most."""
    import shutil
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="kb", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def test_a_kernel_on_unix_sockets(short_dir: Path) -> None:
    extra = ["--transport=ipc", f"--ip={short_dir}/ipc"]
    with ConsoleKernel(short_dir / "runtime", extra=extra) as console:
        connection, _ = connected(Kernel(id="x", connection_file=str(console.connection_file)))
        with connection:
            assert connection.execute("1 + 1").text == "2"
            console.kill()
            wait_for(lambda: not connection.is_open, "the end of the connection")


@pytest.mark.bounded
def test_an_encrypted_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import KernelManager

    if not KernelManager.class_traits().get("transport_encryption"):
        pytest.skip("this jupyter_client does not encrypt")
    env = private_env(tmp_path)
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, env[name])
    file = Path(env["JUPYTER_RUNTIME_DIR"]) / "kernel-curve.json"
    specs = KernelSpecManager(ensure_native_kernel=True)
    manager = KernelManager(
        connection_file=str(file), transport_encryption="auto", kernel_spec_manager=specs, kernel_name="python3"
    )
    spec = manager.kernel_spec
    assert spec is not None
    spec.metadata = {**spec.metadata, "supported_encryption": "curve"}
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        info = json.loads(file.read_text())
        assert info.get("curve_publickey"), "the kernel is not encrypted: nothing is tested"
        wait_for(lambda: manager.is_alive() and _listens(info["shell_port"]), "the kernel")
        connection, transport = connected(Kernel(id="curve", connection_file=str(file)))
        with connection:
            assert connection.execute("1 + 1").text == "2"
            assert transport.malformed == 0
        # who has the signing key but not the curve keys hears and says nothing
        plain = {key: value for key, value in info.items() if not key.startswith("curve")}
        other = Path(env["JUPYTER_RUNTIME_DIR"]) / "kernel-plain.json"
        other.write_text(json.dumps(plain))
        other.chmod(0o600)
        refused(Kernel(id="plain", connection_file=str(other)))
    finally:
        manager.shutdown_kernel(now=True)


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_output_without_end_is_read_while_nobody_looks(tmp_path: Path) -> None:
    # a subscriber that does not read loses messages (FACTS.md#receiving)
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        for number in range(5_000):
            cell.print(f"{number}\n")
        finish(cell)

    with ScriptedKernel(script, tmp_path) as kernel:
        connection, _ = connected(kernel.kernel)
        with connection:
            execution = connection.start(Cell("run"))
            wait_for(lambda: len(execution.inbox) >= 5_003, "everything, unread")
            for _ in execution:
                pass
            assert execution.result is not None
            assert execution.result.fate is Fate.OK
            (output,) = execution.result.outputs
            assert output["text"] == "".join(f"{n}\n" for n in range(5_000)) + "done\n"


def test_what_was_sent_just_before_the_close_arrives(tmp_path: Path) -> None:
    came = threading.Event()
    with ScriptedKernel(lambda cell: came.set(), tmp_path) as kernel:
        for _ in range(20):
            came.clear()
            transport = ZMQTransport(kernel.kernel)
            transport.open(10)
            transport.send("execute_request", execute_content("last words"))
            transport.close()
            assert came.wait(10)


class Racing(ZMQTransport):
    """It is closed by somebody else between two steps of a send."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._outbox = Outbox(self)


class Outbox(collections.deque[Message]):
    def __init__(self, transport: ZMQTransport) -> None:
        super().__init__()
        self.transport = transport

    def append(self, message: Message) -> None:
        super().append(message)
        if message.msg_type == "execute_request":
            self.transport.close()


def test_what_the_thread_has_sent_as_its_last_is_not_called_unsent(tmp_path: Path) -> None:
    came = threading.Event()
    with ScriptedKernel(lambda cell: came.set(), tmp_path) as kernel:
        transport = Racing(kernel.kernel)
        transport.open(10)
        inbox = Inbox()
        transport.send("execute_request", execute_content("last words"), inbox=inbox)
        assert came.wait(10)
        assert inbox.get(timeout=10) == Closed("")


def test_what_nobody_sent_before_the_close_is_called_unsent(tmp_path: Path) -> None:
    class Late(ZMQTransport):
        def _send(self, message: Message) -> None:
            if message.msg_type == "execute_request":
                self.close()
            super()._send(message)

    with ScriptedKernel(finish, tmp_path) as kernel:
        transport = Late(kernel.kernel)
        transport.open(10)
        with pytest.raises(LinkLost):
            transport.send("execute_request", execute_content("too late"))


# -- keys


def other_file(console: ConsoleKernel, path: Path, **changes: Any) -> Kernel:
    """A connection file that leads to a kernel, but for what the test changes."""
    path.write_text(json.dumps({**json.loads(console.connection_file.read_text()), **changes}))
    path.chmod(0o600)
    return Kernel(id="x", connection_file=str(path), started_by="python")


@pytest.mark.skipif(ipykernel.version_info < (7, 2), reason="an older one sends nothing of its own accord")
def test_a_kernel_with_another_key_than_the_file_is_told_and_runs_nothing(tmp_path: Path) -> None:
    with ConsoleKernel(tmp_path / "runtime") as console:
        kernel = other_file(console, tmp_path / "kernel-old.json", key="another-key")
        assert refused(kernel) == (
            "python does not have the key that kernel-old.json names, so nothing was run. The kernel of that file has "
            "probably ended, and another one listens on its ports: list the kernels again and use that one's file"
        )
        right = Kernel(id="x", connection_file=str(console.connection_file))
        with connected(right)[0] as connection:
            # Another client's wrong key is none of ours: what it sends goes to the kernel, which drops it.
            with contextlib.closing(ZMQTransport(kernel)) as wrong, pytest.raises(CannotConnect):
                wrong.open(30)
            assert connection.execute("1 + 1").text == "2"


def test_a_kernel_that_signs_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir(mode=0o700)
    # A kernel takes the file that is there, if there is one, with what it says.
    ports = {f"{name}_port": free_port() for name in ("shell", "iopub", "stdin", "control", "hb")}
    where = {"ip": "127.0.0.1", "key": "", "transport": "tcp", "signature_scheme": "hmac-sha256"}
    (tmp_path / "runtime" / "kernel-x.json").write_text(json.dumps(ports | where))
    with ConsoleKernel(tmp_path / "runtime") as console:
        kernel = other_file(console, tmp_path / "kernel-old.json", key="a-key")
        assert refused(kernel).startswith(
            "python does not sign what it sends, though its connection file has a key, so "
        )


def test_a_key_that_is_heard_to_be_another_while_the_cell_waits_ends_it_as_not_run(tmp_path: Path) -> None:
    with ScriptedKernel(finish, tmp_path, busy=True) as kernel:
        info = json.loads(kernel.connection_file.read_text())
        kernel.connection_file.write_text(json.dumps({**info, "key": "another-key"}))
        connection, _ = connected(kernel.kernel)
        with connection:
            execution = connection.start(Cell("1", timeout=30))
            for event in execution:
                if isinstance(event, Queued):
                    owner = {"msg_id": "x", "msg_type": "execute_request", "session": "the owner's"}
                    ZMQCell(kernel, [], {"header": owner, "content": {}}).busy()
            assert execution.result is not None
            assert isinstance(execution.result.error, NotRun)
            assert "does not have the key that kernel-scripted.json names, so nothing was run" in str(
                execution.result.error
            )


def test_one_message_that_is_wrongly_signed_proves_nothing_of_a_kernel_that_has_answered(tmp_path: Path) -> None:
    def script(cell: ScriptedCell) -> None:
        assert isinstance(cell, ZMQCell)
        cell.send_parts("iopub", cell.parts("status", {"execution_state": "busy"}, key=b"another-key"))
        finish(cell)

    with ScriptedKernel(script, tmp_path) as kernel, connected(kernel.kernel)[0] as connection:
        assert connection.execute("1", timeout=30).fate is Fate.OK


def test_a_kernel_that_answers_nothing_while_it_is_busy_is_waited_for(tmp_path: Path) -> None:
    # As one with a single thread does, which has no ear for control meanwhile.
    with (
        ScriptedKernel(finish, tmp_path, busy=True, answers_control=False) as kernel,
        connected(kernel.kernel)[0] as connection,
    ):
        events: list[Event] = []
        for event in connection.start(Cell("run", timeout=30)):
            events.append(event)
            if isinstance(event, Queued):
                kernel.busy.clear()
        assert events == [Queued(), Started(), Stream("stdout", "done\n")]
