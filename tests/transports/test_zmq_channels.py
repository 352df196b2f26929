"""What a connection file says, and messages over the sockets that it names."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session

from kernel_bridge_magic.errors import CannotConnect
from kernel_bridge_magic.protocol.messages import Message, make_message
from kernel_bridge_magic.transports.zmq_channels import ZMQChannels, read_connection_file
from tests.support.servers import wait_for

PORTS = {f"{channel}_port": 1 + number for number, channel in enumerate(("shell", "iopub", "stdin", "control", "hb"))}
WHOLE = {"transport": "tcp", "ip": "127.0.0.1", "key": "secret", "signature_scheme": "hmac-sha256", **PORTS}


@pytest.fixture
def context() -> Iterator[Any]:
    with zmq.Context() as made:
        yield made


def write(folder: Path, **changes: object) -> str:
    path = folder / "kernel-1.json"
    path.write_text(json.dumps({**WHOLE, **changes}))
    path.chmod(0o600)
    return str(path)


def test_what_a_file_says(tmp_path: Path, context: Any) -> None:
    info = read_connection_file(write(tmp_path), "analysis", context)
    assert (info.ip, info.shell_port, info.session.key) == ("127.0.0.1", 1, b"secret")


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 10_000, " " * 70_000])
def test_what_is_no_connection_file(tmp_path: Path, context: Any, content: str) -> None:
    path = tmp_path / "kernel-1.json"
    path.write_text(content)
    with pytest.raises(CannotConnect, match=r"^analysis has (no connection file any more|a connection file with no)"):
        read_connection_file(str(path), "analysis", context)


@pytest.mark.parametrize("make", [lambda path: None, os.mkdir, os.mkfifo], ids=["nothing", "directory", "FIFO"])
def test_what_is_no_regular_file(tmp_path: Path, context: Any, make: Any) -> None:
    make(tmp_path / "kernel-1.json")
    with pytest.raises(CannotConnect, match="no connection file any more"):
        read_connection_file(str(tmp_path / "kernel-1.json"), "analysis", context)


def test_a_file_without_a_key_lets_anybody_speak(tmp_path: Path, context: Any) -> None:
    with pytest.raises(CannotConnect, match="with no key"):
        read_connection_file(write(tmp_path, key=""), "analysis", context)


def test_a_file_that_everybody_can_write_is_not_used(tmp_path: Path, context: Any) -> None:
    path = write(tmp_path)
    os.chmod(path, 0o606)
    with pytest.raises(CannotConnect, match="chmod 600"):
        read_connection_file(path, "analysis", context)


# -- over real sockets, whose other ends the test holds


class Ends:
    """A kernel's sockets, and the connection file that names them."""

    def __init__(self, folder: Path) -> None:
        self._context = zmq.Context()
        self.session = Session(key=b"secret")
        kinds = {"shell": zmq.ROUTER, "iopub": zmq.XPUB, "stdin": zmq.ROUTER, "control": zmq.ROUTER}
        self.sockets = {channel: self._context.socket(kind) for channel, kind in kinds.items()}
        ports = {f"{channel}_port": it.bind_to_random_port("tcp://127.0.0.1") for channel, it in self.sockets.items()}
        self.file = write(folder, **ports)

    def send(self, channel: str, text: str, session: Session | None = None, *, to: bytes = b"client") -> list[bytes]:
        message = self.session.msg("stream", {"name": "stdout", "text": text})
        parts = [*([] if channel == "iopub" else [to]), *(session or self.session).serialize(message)]
        self.sockets[channel].send_multipart(parts)
        return parts

    def close(self) -> None:
        self._context.destroy(0)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path)
    yield made
    made.close()


@pytest.fixture
def channels(ends: Ends) -> Iterator[ZMQChannels]:
    """The sockets of a client that is connected and subscribed."""
    made = ZMQChannels("client")
    made.open(ends.file, "analysis")
    wait_for(lambda: made.are_connected(20), "the connections")
    # A socket that connects says what it subscribes to once it is looked at.
    wait_for(lambda: made.receive(20) or ends.sockets["iopub"].poll(20), "the subscription")
    assert ends.sockets["iopub"].recv() == b"\1"
    yield made
    made.close(0.0)


def receive(channels: ZMQChannels, count: int = 1) -> list[Message | type[Exception]]:
    """What comes, as soon as it is so many messages."""
    came: list[Message | type[Exception]] = []
    wait_for(lambda: came.extend(channels.receive(20)) or len(came) >= count, "what was sent")
    return came


@pytest.mark.parametrize("channel", ["shell", "stdin", "control"])
def test_what_is_sent_arrives_signed(ends: Ends, channels: ZMQChannels, channel: str) -> None:
    message = make_message("any_request", {"a": 1}, channel=channel, msg_id="client_1", client_id="client", date="")
    channels.send(message)
    assert ends.sockets[channel].poll(10_000)
    identities, signed = ends.session.feed_identities(ends.sockets[channel].recv_multipart())
    assert identities == [b"client"]
    came = ends.session.deserialize(signed)
    assert (came["msg_id"], came["content"], came["header"]["session"]) == ("client_1", {"a": 1}, "client")


def test_what_a_kernel_shows_stands_before_what_it_answers(ends: Ends, channels: ZMQChannels) -> None:
    ends.send("shell", "answered")
    ends.send("iopub", "shown")
    time.sleep(0.2)  # until both are there
    came = [item for item in receive(channels, 2) if isinstance(item, Message)]
    assert [(item.channel, item.content["text"]) for item in came] == [("iopub", "shown"), ("shell", "answered")]
    assert not channels.has_other_key and not channels.is_unsigned


@pytest.mark.parametrize("key", [b"another", b""])
def test_who_signs_otherwise_or_not_at_all_is_not_believed(ends: Ends, channels: ZMQChannels, key: bytes) -> None:
    ends.send("iopub", "forged", Session(key=key))
    assert receive(channels) == [ValueError]
    assert (channels.has_other_key, channels.is_unsigned) == (bool(key), not key)
    ends.send("iopub", "signed")
    assert isinstance(receive(channels)[0], Message)
    assert not channels.has_other_key and not channels.is_unsigned


def test_what_is_replayed_is_dropped(ends: Ends, channels: ZMQChannels) -> None:
    ends.sockets["iopub"].send_multipart(ends.send("iopub", "once"))
    message, why = receive(channels, 2)
    assert isinstance(message, Message) and why is ValueError


def test_a_topic_takes_the_place_of_the_one_before(ends: Ends, channels: ZMQChannels) -> None:
    channels.subscribe_anew()
    channels.subscribe_anew()
    heard = [ends.sockets["iopub"].recv() for _ in range(3) if ends.sockets["iopub"].poll(10_000)]
    first, second, over = heard
    assert (first[:1], second[:1]) == (b"\1", b"\1") and first != second
    assert over == b"\0" + first[1:]


def test_a_kernel_that_closes_its_sockets_has_left(ends: Ends, channels: ZMQChannels) -> None:
    poller = zmq.Poller()
    channels.register(poller)
    assert not channels.has_left(dict(poller.poll(0)))
    ends.close()
    wait_for(lambda: channels.has_left(dict(poller.poll(100))), "the sign of its end")


def test_a_process_that_runs_is_not_suspended(channels: ZMQChannels) -> None:
    assert not channels.is_suspended()
    assert not channels.is_suspended(), "once its pid is known"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_where_nobody_listens_nobody_is_suspended(tmp_path: Path, transport: str) -> None:
    made = ZMQChannels("client")
    made.open(write(tmp_path, transport=transport, ip="127.0.0.1" if transport == "tcp" else "k"), "analysis")
    assert not made.is_suspended()
    made.close(0.0)
