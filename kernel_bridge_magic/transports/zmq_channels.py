"""`ZMQChannels`: a kernel's sockets, and the signatures of what goes over them, by `jupyter_client`.

`rcvhwm=0`, or a flood would lose messages, `idle` among them; `immediate=1` and no linger for a kernel that is gone, or
a cell sent to it would run in the next one (FACTS.md#kernels-without-a-server).
"""

from __future__ import annotations

import contextlib
import hmac
from typing import Any

import zmq
from jupyter_client.session import Session

from kernel_bridge_magic.protocol.messages import Message, read_json

CHANNELS = ("shell", "iopub", "stdin", "control")
_IN_ORDER = ("iopub", "shell", "stdin", "control")  # IOPub first, so that output stands before its cell's reply
_DIGESTS = 4096  # signatures that are not accepted a second time
_BATCH = 200  # messages of one channel before the others have their turn


class ZMQChannels:
    """The five sockets of a connection file, less the heartbeat, which a broken connection makes needless.

    They belong to one thread. `client_id` is the `session` in our headers.
    """

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        #: the context from which all sockets are made
        self.context: Any = zmq.Context()
        for option in ("rcvhwm", "sndhwm", "linger"):
            setattr(self.context, option, 0)  # the default of every socket made from it
        self.context.immediate = 1
        self._session: Any = None
        self._sockets: dict[str, Any] = {}
        self._monitors: dict[str, Any] = {}
        self._signed = False  # something came that was signed with the key of the file
        self._forged = self._unsigned = False  # with another one, or not at all

    def open(self, info: Any) -> None:
        """Make the sockets for what a connection file says, see `read_connection_file`. They connect meanwhile.

        Raises whatever ZMQ, traitlets and Python say, each in its way, of an address that is none.
        """
        # A replayed signature is dropped by the Session (T27). It remembers 65536 digests if it is let: 10 MB.
        self._session = Session(
            digest_history_size=_DIGESTS,
            key=info.session.key,
            signature_scheme=info.session.signature_scheme,
            session=self._client_id,
            username="kernel_bridge",
        )
        self._session.unpack = read_json  # what a kernel sends is read in one way, whatever the transport
        for channel in CHANNELS:
            connect = getattr(info, f"connect_{channel}")
            made = connect() if channel == "iopub" else connect(identity=self._client_id.encode())
            made.linger = 0
            self._sockets[channel] = made
            if channel in ("shell", "iopub"):
                self._monitors[channel] = made.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def are_connected(self, wait_ms: int) -> bool:
        """Return whether all channels are connected. Wait up to `wait_ms` for each until one is not.

        With `immediate` a socket takes messages only once it is connected. IOPub takes none at all.
        """
        return all(self._sockets[channel].poll(wait_ms, zmq.POLLOUT) for channel in CHANNELS if channel != "iopub")

    def register(self, poller: zmq.Poller) -> None:
        """Let a poller wake when something comes, or when the kernel leaves."""
        for made in (*self._sockets.values(), *self._monitors.values()):
            poller.register(made, zmq.POLLIN)

    def has_left(self, ready: dict[Any, int]) -> bool:
        """Return whether the kernel closed its sockets, by what a poller says is `ready`."""
        return any(monitor in ready for monitor in self._monitors.values())

    def subscribe(self, topic: bytes, instead_of: bytes) -> None:
        """Subscribe to a topic of IOPub in place of another one, b"" for none."""
        self._sockets["iopub"].subscribe(topic)
        if instead_of:
            # Not the new one: what is taken back before the socket is connected is never said.
            self._sockets["iopub"].unsubscribe(instead_of)

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
            poller = zmq.Poller()
            for made in self._sockets.values():
                poller.register(made, zmq.POLLIN)
            poller.poll(wait_ms)
        came: list[Message | type[Exception]] = []
        for channel in _IN_ORDER:
            for _ in range(_BATCH):
                try:
                    parts = self._sockets[channel].recv_multipart(zmq.NOBLOCK)
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
        # A socket that jupyter_client made and could not connect is known to the context alone.
        self.context.destroy(0)
