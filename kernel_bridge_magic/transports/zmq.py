"""The road to a kernel of this machine: its ZMQ sockets, signed and encrypted by `jupyter_client`.

`rcvhwm=0`, or a flood would lose messages, `idle` among them; `immediate=1`, and no linger for a kernel that is gone,
or a cell sent to it would run in the next one (FACTS 2, 15). All sockets belong to the one thread: other
threads put messages into a list and ring a bell.
"""

from __future__ import annotations

import collections
import contextlib
import hmac
import os
import stat
import threading
import time
from typing import Any

from kernel_bridge_magic.access import peers as ports
from kernel_bridge_magic.access.descriptors import require
from kernel_bridge_magic.access.files import others_may
from kernel_bridge_magic.errors import CannotConnect, LinkLost
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message, read_json
from kernel_bridge_magic.transports.base import Transport

__all__ = ["ZMQTransport"]

CHANNELS = ("shell", "iopub", "stdin", "control")
_CONNECT_SECONDS = 3.0  # until all channels are connected: on one machine this takes milliseconds
_STARTING_SECONDS = 60.0  # a server writes the file before it starts the process
_WELCOME_SECONDS = 0.5  # for the subscription to be proven; a busy kernel of old proves nothing before
_LOOK_AROUND_MS = 1000
_LOOK_SECONDS = 0.5  # between looks at a process that does not take us
_FLUSH_MS = 500  # for what was sent last to leave; a kernel that is there takes it in milliseconds
_DIGESTS = 4096  # signatures that are not taken a second time
_BATCH = 200  # messages of one channel before the others have their turn
_LARGEST_FILE = 64 * 1024  # bytes of a connection file
_OTHER_KEY = (
    "does not have the key that {file} names, so nothing was run. The kernel of that file has probably ended, and "
    "another one listens on its ports: list the kernels again and use that one's file"
)
_NOT_RUNNING = "the kernel does not listen where its connection file says; it has ended"


class ZMQTransport(Transport):
    """The five sockets of a connection file, less the heartbeat, which a broken connection makes needless."""

    name = "zmq"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._path = kernel.connection_file
        self._title = kernel.title
        self._signed = False  # something came that was signed with the key of the file
        self._forged = self._unsigned = False  # with another one, or not at all
        self._connect_seconds = _STARTING_SECONDS if kernel.state == "starting" else _CONNECT_SECONDS
        self._context: Any = None
        self._session: Any = None
        self._sockets: dict[str, Any] = {}
        self._monitors: dict[str, Any] = {}
        self._bell_in: Any = None
        self._bell_out: Any = None
        self._bell_lock = threading.Lock()
        self._outbox: collections.deque[Message] = collections.deque()
        self._topic = b""  # what is to be subscribed to besides all, for the sake of the greeting
        self._subscribed = b""
        self._greeted = threading.Event()
        self._has_greeted = False
        self._pid_there: int | None = None

    # -- opening

    def _connect(self) -> None:
        import zmq

        require()
        self._context = zmq.Context()
        for option in ("rcvhwm", "sndhwm", "linger"):
            setattr(self._context, option, 0)  # the default of every socket made from it
        self._context.immediate = 1
        self._bell_out = self._context.socket(zmq.PULL)
        self._bell_out.bind("inproc://bell")
        self._bell_in = self._context.socket(zmq.PUSH)
        self._bell_in.connect("inproc://bell")
        self._wait_connected(self._open_channels())
        self._topic = _new_topic()
        self._subscribe_anew()  # does it greet? It does not for what its server has subscribed to, which is all
        self._prove_subscription()
        self._check_signatures()

    def _check_signatures(self) -> None:
        """Refuse a kernel that has another key than the file, or none, where it was heard to sign so.

        Only the kernel can send to us: a message of another client, whatever its key, goes to the kernel.
        """
        if self._has_other_key:
            raise CannotConnect(f"{self._title} {_OTHER_KEY.format(file=os.path.basename(self._path))}")
        if self._unsigned and not self._signed:
            raise CannotConnect(
                f"{self._title} does not sign what it sends, though its connection file has a key, so nothing was run. "
                "List the kernels again, or start it anew: the file may be another kernel's"
            )

    @property
    def _has_other_key(self) -> bool:
        return self._forged and not self._signed

    def _open_channels(self) -> Any:
        from jupyter_client.connect import ConnectionFileMixin

        info = ConnectionFileMixin(context=self._context, connection_file=self._path)
        try:
            status = os.stat(self._path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
                raise ValueError
            info.load_connection_file()
        except Exception:
            # Whatever it holds (no object, no number, nesting without end): traitlets has errors of its own.
            raise CannotConnect(f"{self._title} has no connection file any more, or one that cannot be read") from None
        self._check(info)
        try:
            self._open_sockets(info)
        except Exception:
            # No such transport, a port beyond 65535, a name that is no host: ZMQ, traitlets and Python each say it
            # in their own way.
            raise CannotConnect(f"{self._title} has a connection file that names no address that can be used") from None
        return info

    def _open_sockets(self, info: Any) -> None:
        import zmq
        from jupyter_client.session import Session

        # A replayed signature is dropped by the Session (T27). It remembers 65536 digests if it is let: 10 MB.
        self._session = Session(
            digest_history_size=_DIGESTS,
            key=info.session.key,
            signature_scheme=info.session.signature_scheme,
            session=self.client_id,
            username="kernel_bridge",
        )
        self._session.unpack = read_json  # what a kernel sends is read in one way, whatever the road
        for channel in CHANNELS:
            connect = getattr(info, f"connect_{channel}")
            made = connect() if channel == "iopub" else connect(identity=self.client_id.encode())
            made.linger = 0
            self._sockets[channel] = made
            if channel in ("shell", "iopub"):
                self._monitors[channel] = made.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def _check(self, info: Any) -> None:
        if not info.session.key:
            what = "has a connection file with no key, so anybody could speak in its name"
            raise CannotConnect(f"{self._title} {what}. Nothing was sent; start it anew to give it one")
        if info.transport == "ipc":
            info.ip = ports.unix_address(os.path.dirname(self._path), info.ip, f"-{info.shell_port}")
            return
        if others_may(os.stat(self._path), stat.S_IWOTH):
            what = "has a connection file that can be written by everybody, so it is not used"
            raise CannotConnect(f"{self._title} {what}. Take that right away with chmod 600")

    def _wait_connected(self, info: Any) -> None:
        import zmq

        # With `immediate` a socket takes messages only once it is connected. IOPub takes none: it is proven next.
        waiting = [self._sockets[channel] for channel in CHANNELS if channel != "iopub"]
        deadline = time.monotonic() + self._connect_seconds
        look_at = time.monotonic() + _LOOK_SECONDS
        while waiting and time.monotonic() < deadline and not self._closing:
            waiting = [made for made in waiting if not made.poll(20, zmq.POLLOUT)]
            if waiting and time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_SECONDS
                if self._is_suspended(info):
                    self._opening.suspended()
                    deadline = time.monotonic() + self._connect_seconds
        if waiting:
            raise CannotConnect(_NOT_RUNNING)

    def _is_suspended(self, info: Any) -> bool:
        """Whether the process that listens there stands still (SIGSTOP): it takes us once it goes on.

        The operating system accepts connections in its name meanwhile, but ZMQ's greeting is not answered.
        """
        if info.transport == "ipc":
            self._pid_there = self._pid_there or ports.unix_listener(f"{info.ip}-{info.shell_port}")
        else:
            self._pid_there = self._pid_there or ports.listening_process(info.shell_port)
        return self._pid_there is not None and ports.is_suspended(self._pid_there)

    def _prove_subscription(self) -> None:
        """Make sure that IOPub reaches us before a cell is sent: a subscription takes its time.

        Newer kernels greet (`iopub_welcome`). Others are asked for their info until some IOPub message is
        heard; one that is busy answers later, and by then the subscription is old.
        """
        for _ in range(5):
            deadline = time.monotonic() + _WELCOME_SECONDS
            self._transmit(self._make("kernel_info_request", {}))
            answered = False
            while time.monotonic() < deadline and not self.state.heard_iopub and not self._closing:
                for message in self._poll_channels(20):
                    self._take_message(message)
                    answered = answered or message.channel == "shell"
            if self.state.heard_iopub or not answered:
                return

    # -- the thread

    def _pump(self) -> str:
        import zmq

        poller = zmq.Poller()
        for channel in CHANNELS:
            poller.register(self._sockets[channel], zmq.POLLIN)
        for watched in (*self._monitors.values(), self._bell_out):
            poller.register(watched, zmq.POLLIN)
        while not self._closing:
            ready = dict(poller.poll(_LOOK_AROUND_MS))
            if not ready and self._expired():
                self._closing = True
                return ""
            if self._bell_out in ready:
                self._bell_out.recv()
            for message in self._poll_channels(0):
                self._take_message(message)
            if self._has_other_key:
                # It was silent when we connected. What it was sent it has dropped.
                self.unaccepted = True
                return f"the kernel {_OTHER_KEY.format(file=os.path.basename(self._path))}"
            if any(monitor in ready for monitor in self._monitors.values()):
                return self._left()
            while self._outbox and not self._closing:
                self._transmit(self._outbox.popleft())
            self._subscribe_anew()
        while self._outbox and self.state.life.ended is None:
            self._transmit(self._outbox.popleft())  # what was sent just before the close
        return ""

    def _subscribe_anew(self) -> None:
        topic, self._topic = self._topic, b""
        if topic:
            self._sockets["iopub"].subscribe(topic)
            if self._subscribed:
                # Not this one: what is taken back before the socket is connected is never said.
                self._sockets["iopub"].unsubscribe(self._subscribed)
            self._subscribed = topic

    def _dispatch(self, message: Message) -> None:
        if message.msg_type == "iopub_welcome":
            self._has_greeted = True
            self._greeted.set()
        super()._dispatch(message)

    def greets(self, seconds: float) -> bool | None:
        """Whether the kernel's Python runs: it greets a new subscription. None for a kernel that never greets.

        No request is needed for it, which would make a busy kernel look idle to its server (FACTS 15): a topic that
        nobody publishes under is enough, and the thread that sends all output answers (ipykernel 7.2).
        """
        if not self._has_greeted:
            return None
        with self._lock:
            self._ledger.share()  # the greeting has a number as well, and is none of a cell's
        self._greeted.clear()
        self._topic = _new_topic()
        try:
            self._ring()
        except LinkLost:
            return None
        return self._greeted.wait(seconds)

    def _left(self) -> str:
        """The kernel's process closed its sockets. What it had sent before is still here: hand it on."""
        quiet = 0
        while quiet < 3 and not self._closing:
            messages = self._poll_channels(50)
            quiet = 0 if messages else quiet + 1
            for message in messages:
                self._take_message(message)
        self.state.end(EndSignal.LEFT)
        return "the kernel closed its sockets"

    def _poll_channels(self, wait_ms: int) -> list[Message]:
        """Receive what is there, waiting up to `wait_ms` for the first; IOPub first, to keep the order."""
        import zmq

        if wait_ms:
            poller = zmq.Poller()
            for channel in CHANNELS:
                poller.register(self._sockets[channel], zmq.POLLIN)
            poller.poll(wait_ms)
        messages = []
        for channel in ("iopub", "shell", "stdin", "control"):
            for _ in range(_BATCH):
                try:
                    parts = self._sockets[channel].recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                except MemoryError as problem:  # what is left of the message will not be signed, and is dropped, too
                    self._drop_message(problem)
                    continue
                message = self._parse(channel, parts)
                if message is not None:
                    messages.append(message)
        return messages

    def _parse(self, channel: str, parts: list[bytes]) -> Message | None:
        try:
            _, signed = self._session.feed_identities(parts, copy=True)
            model = self._session.deserialize(signed, copy=True)
            self._signed = True
            return Message.parse(
                channel,
                model.get("header"),
                model.get("parent_header"),
                model.get("metadata"),
                model.get("content"),
                [bytes(buffer) for buffer in model.get("buffers", ())],
            )
        except Exception as problem:
            # Unsigned, wrongly signed, replayed, not JSON: the Session has a different exception for each, and
            # the thread must outlive them all (T27).
            self._note_signature(parts)
            self._drop_message(problem)
        return None

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

    def _transmit(self, message: Message) -> None:
        import zmq

        parts = self._session.serialize(
            {
                "header": message.header,
                "msg_id": message.msg_id,
                "msg_type": message.msg_type,
                "parent_header": message.parent_header,
                "metadata": message.metadata,
                "content": message.content,
            }
        )
        # Again: not connected any more (`immediate`). The monitor has that news, too, and ends the connection.
        with contextlib.suppress(zmq.Again):
            self._sockets[message.channel].send_multipart([*parts, *message.buffers], zmq.NOBLOCK)

    def _deliver(self, message: Message) -> None:
        self._transmit(message)

    def _listen(self, seconds: float) -> None:
        for message in self._poll_channels(round(seconds * 1000)):
            self._take_message(message)

    # -- other threads

    def _send(self, message: Message) -> None:
        self._outbox.append(message)
        self._ring()

    def _wake(self) -> None:
        self._ring()

    def _ring(self) -> None:
        import zmq

        # A ZMQ socket belongs to one thread at a time: the lock is what makes that so for the bell.
        with self._bell_lock:
            bell = self._bell_in
            if bell is None:
                if not self._closing:
                    raise LinkLost("the connection is closed")
                return
            try:
                bell.send(b"", zmq.NOBLOCK)
            except zmq.Again:
                pass  # it is ringing already
            except zmq.ZMQError:
                raise LinkLost("the connection is closed") from None

    def _release(self) -> None:
        with self._bell_lock:
            bell, self._bell_in = self._bell_in, None
        for channel in self._monitors:
            self._sockets[channel].disable_monitor()
        linger = _FLUSH_MS if self.state.life.ended is None else 0
        for made in self._sockets.values():
            made.close(linger)
        for aside in (*self._monitors.values(), self._bell_out, bell):
            if aside is not None:
                aside.close(0)
        if self._context is not None:
            # A socket that jupyter_client made and could not connect is known to the context alone.
            self._context.destroy(0)


def _new_topic() -> bytes:
    """Give a topic that nobody publishes under and nobody has subscribed to."""
    return b"kernel-bridge-" + os.urandom(8).hex().encode()
