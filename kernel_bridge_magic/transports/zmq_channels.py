"""`ZMQChannels`: the sockets that a connection file names, and the signatures of what goes over them.

`rcvhwm=0`, or a flood would lose messages, `idle` among them; `immediate=1` and no linger for a kernel that is gone, or
a cell sent to it would run in the next one (FACTS.md#kernels-without-a-server).
"""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
from typing import Any

import zmq
from jupyter_client.connect import ConnectionFileMixin
from jupyter_client.session import Session

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.files import others_may, read_object
from kernel_bridge_magic.errors import CannotConnect
from kernel_bridge_magic.protocol.messages import Message, read_json

_CHANNELS = ("iopub", "shell", "stdin", "control")  # IOPub first, so that output stands before its cell's reply
_DIGESTS = 4096  # signatures that are not accepted a second time
_BATCH = 200  # messages of one channel before the others have their turn


def read_connection_file(path: str, title: str, context: Any) -> Any:
    """Return jupyter_client's `ConnectionFileMixin` of a file, whose sockets are made from the ZMQ `context`.

    `title` is what people call the kernel.

    Raises:
        CannotConnect: the file cannot be read, holds no key, or could be written by everybody.
    """
    info = ConnectionFileMixin(context=context, connection_file=path)
    try:
        info.load_connection_info(read_object(path))
    except Exception:
        # Whatever it holds (no object, no number, nesting without end): traitlets has errors of its own.
        raise CannotConnect(f"{title} has no connection file any more, or one that cannot be read") from None
    if not info.session.key:
        what = "has a connection file with no key, so anybody could speak in its name"
        raise CannotConnect(f"{title} {what}. Nothing was sent; start it anew to give it one")
    if info.transport == "ipc":
        info.ip = peers.unix_address(os.path.dirname(path), info.ip, f"-{info.shell_port}")
    elif others_may(os.stat(path), stat.S_IWOTH):
        what = "has a connection file that can be written by everybody, so it is not used"
        raise CannotConnect(f"{title} {what}. Take that right away with chmod 600")
    return info


class ZMQChannels:
    """The five sockets of a connection file, less the heartbeat, which a broken connection makes needless.

    They belong to one thread. `client_id` is the `session` in our headers.
    """

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._context: Any = None
        self._info: Any = None
        self._pid: int | None = None  # of the process that listens there, once that is known
        self._session: Any = None
        self._topic = b""  # what is subscribed to besides all
        self._sockets: dict[str, Any] = {}
        self._monitors: dict[str, Any] = {}
        self._signed = False  # something came that was signed with the key of the file
        self._forged = self._unsigned = False  # with another one, or not at all

    def open(self, path: str, title: str) -> None:
        """Make the sockets for what the connection file `path` says; they connect meanwhile. `title` is the kernel's.

        Raises:
            CannotConnect: the file cannot be used, see `read_connection_file`, or names no address.
        """
        self._context = zmq.Context()
        for option in ("rcvhwm", "sndhwm", "linger"):
            setattr(self._context, option, 0)  # the default of every socket made from it
        self._context.immediate = 1
        info = self._info = read_connection_file(path, title, self._context)
        try:
            # A replayed signature is dropped by the Session (T27). It remembers 65536 digests if it is let: 10 MB.
            self._session = Session(
                digest_history_size=_DIGESTS,
                key=info.session.key,
                signature_scheme=info.session.signature_scheme,
                session=self._client_id,
                username="kernel_bridge",
            )
            self._session.unpack = read_json  # what a kernel sends is read in one way, whatever the transport
            for channel in _CHANNELS:
                connect = getattr(info, f"connect_{channel}")
                made = connect() if channel == "iopub" else connect(identity=self._client_id.encode())
                made.linger = 0
                self._sockets[channel] = made
                if channel in ("shell", "iopub"):
                    self._monitors[channel] = made.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        except Exception:
            # No such transport, a port beyond 65535, a name that is no host: ZMQ, traitlets and Python each have errors
            # of their own.
            raise CannotConnect(f"{title} has a connection file that names no address that can be used") from None

    def are_connected(self, wait_ms: int) -> bool:
        """Return whether all channels are connected. Wait up to `wait_ms` for each until one is not.

        With `immediate` a socket takes messages only once it is connected. IOPub takes none at all.
        """
        return all(self._sockets[channel].poll(wait_ms, zmq.POLLOUT) for channel in ("shell", "stdin", "control"))

    def is_suspended(self) -> bool:
        """Return whether the process that listens there stands still (SIGSTOP), so that it lets us in once it goes on.

        The operating system accepts connections in its name meanwhile, but ZMQ's greeting is not answered.
        """
        port = self._info.shell_port
        if self._pid is None and self._info.transport == "ipc":
            self._pid = peers.unix_listener(f"{self._info.ip}-{port}")
        elif self._pid is None:
            self._pid = peers.listening_pids([port]).get(port)
        return self._pid is not None and peers.is_suspended(self._pid)

    def register(self, poller: zmq.Poller) -> None:
        """Let a poller wake when something comes, or when the kernel leaves."""
        for made in (*self._sockets.values(), *self._monitors.values()):
            poller.register(made, zmq.POLLIN)

    def has_left(self, ready: dict[Any, int]) -> bool:
        """Return whether the kernel closed its sockets, by what a poller says is `ready`."""
        return any(monitor in ready for monitor in self._monitors.values())

    def subscribe_anew(self) -> None:
        """Subscribe to a topic of IOPub that nobody publishes under, which makes newer kernels greet."""
        before, self._topic = self._topic, f"kernel-bridge-{os.urandom(8).hex()}".encode()
        self._sockets["iopub"].subscribe(self._topic)
        if before:
            # Not the new one: what is taken back before the socket is connected is never said.
            self._sockets["iopub"].unsubscribe(before)

    # -- messages

    def send(self, message: Message) -> None:
        """Sign and send a message. One for a kernel that has left is dropped: the monitors tell of that."""
        model = {**message.dicts, "msg_id": message.msg_id, "msg_type": message.msg_type}
        parts = self._session.serialize(model)
        with contextlib.suppress(zmq.Again):
            self._sockets[message.channel].send_multipart([*parts, *message.buffers], zmq.NOBLOCK)

    def receive(self, wait_ms: int) -> list[Message | type[Exception]]:
        """Return what has come, after up to `wait_ms` for the first: messages, and why others were dropped.

        The reason is the type of an exception. The exception itself would keep the bytes of the message.
        """
        if wait_ms:
            zmq.select(list(self._sockets.values()), [], [], wait_ms / 1000)
        came: list[Message | type[Exception]] = []
        for channel, made in self._sockets.items():
            for _ in range(_BATCH):
                try:
                    parts = made.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                except MemoryError:  # what is left of the message will not be signed, and is dropped, too
                    came.append(MemoryError)
                    continue
                came.append(self._parse(channel, parts))
        return came

    def _parse(self, channel: str, parts: list[bytes]) -> Message | type[Exception]:
        try:
            _, signed = self._session.feed_identities(parts, copy=True)
            model = self._session.deserialize(signed, copy=True)
            self._signed = True
            return Message.read(channel, model, [bytes(buffer) for buffer in model.get("buffers", ())])
        except Exception as problem:
            # Unsigned, wrongly signed, replayed, not JSON: the Session has a different exception for each, and
            # the thread must outlive them all (T27).
            self._note_signature(parts)
            return type(problem)

    # -- signatures

    @property
    def has_other_key(self) -> bool:
        """Whether the kernel signs with another key than the file's. Only the kernel can send to us."""
        return self._forged and not self._signed

    @property
    def is_unsigned(self) -> bool:
        """Whether the kernel signs nothing."""
        return self._unsigned and not self._signed

    def _note_signature(self, parts: list[bytes]) -> None:
        if self._signed:
            return
        with contextlib.suppress(Exception):
            _, (signature, *signed) = self._session.feed_identities(parts, copy=True)
            if not signature:
                self._unsigned = True
            elif hmac.compare_digest(signature, self._session.sign(signed[:4])):
                self._signed = True  # it is something else that is wrong with it
            else:
                self._forged = len(signed) >= 4

    def close(self, flush: float) -> None:
        """Close all sockets, after up to `flush` seconds for what was sent last to leave."""
        for channel, monitor in self._monitors.items():
            self._sockets[channel].disable_monitor()
            monitor.close(0)
        for made in self._sockets.values():
            made.close(round(flush * 1000))
        if self._context is not None:
            # A socket that jupyter_client made and could not connect is known to the context alone.
            self._context.destroy(0)
