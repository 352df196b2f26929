"""The road over a Jupyter server: one WebSocket, both framings, through `websocket-client`.

Its traps, and why this code looks as it does (FACTS 3, 4, 13): a list of subprotocols raises when the server
selects none, so the wish goes out as a raw header; redirects would carry the token elsewhere; a proxy from
the environment would get loopback connections; small messages wait 48 ms unless an empty pong follows each.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from selectors import EVENT_READ
from typing import TYPE_CHECKING
from urllib.parse import quote

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.readiness import is_ready, selector
from kernel_bridge_magic.access.sockets import open_socket
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import (
    AuthRefused,
    BadCell,
    CannotConnect,
    Cause,
    KernelBridgeError,
    LinkLost,
    ServerUnreachable,
)
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.patience import Failure, Incoming, Retry, Silence, SilenceStep, SleepDetector
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.frames import decode, encode
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.servers.http_client import refuses_host
from kernel_bridge_magic.servers.refusals import host_refused
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.bell import Bell
from kernel_bridge_magic.transports.endings import End, read_close
from kernel_bridge_magic.transports.fragments import Fragments
from kernel_bridge_magic.transports.handshake import Bounded, options, untraced, ws_url
from kernel_bridge_magic.transports.items import Back, Broken
from kernel_bridge_magic.transports.repeats import Repeats

if TYPE_CHECKING:
    from kernel_bridge_magic.transports.watched import WatchedSocket

__all__ = ["CONNECT_TIMEOUT", "WebSocketTransport"]

#: A first connection to a busy kernel answers only when the kernel is free, or after 60 s (FACTS 3).
CONNECT_TIMEOUT = 70.0
#: tornado's limit for one message to the server; beyond it the server just drops the connection (FACTS 7).
LARGEST_SENT = 10 * 2**20 - 1024
#: No message of a kernel may be larger (FAULTS T23): the length that its frames announce is what counts.
LARGEST_RECEIVED = 256 * 2**20
#: A send that waits longer has corrupted the stream anyhow: the connection is then broken.
SEND_TIMEOUT = 90.0
#: A server that knew us a moment ago answers at once; one that is stopped takes the connection and says nothing.
RECONNECT_TIMEOUT = 10.0
_CLOSE_SECONDS = 0.5  # for the server's half of the closing handshake
_LOOK_AROUND = 15.0  # seconds between looks at an idle connection: is it wanted, does it live
_LOOK_CLOSELY = 0.5  # the same while a request is under way
_SHORT_LIVED = 10.0  # seconds; a link that breaks sooner has not come back for good
_LOOK_UP = 1.0  # seconds in the middle of a frame until pings and clocks are looked at again


class WebSocketTransport(Transport):
    """A WebSocket to `/api/kernels/<id>/channels` of the kernel's server.

    When it breaks while a request is under way, it is opened again under the same session id: the server then gives
    what it kept for us. Nothing is ever sent again.
    """

    name = "ws"

    def __init__(
        self, kernel: Kernel, server: Server, vault: Vault, renew: Callable[[], Server | None] | None = None
    ) -> None:
        super().__init__(kernel)
        #: gives the server as it is known when it was started anew, with what it wants of us in the vault (F14)
        self._renew = renew
        self._kernel = kernel
        self._server = server
        self._vault = vault
        self._socket: WatchedSocket | None = None
        self._raw: socket.socket | None = None
        self._fragments = Fragments(LARGEST_RECEIVED)
        self._largest = 0  # bytes of the largest message that we have sent
        self._wake_up = SleepDetector()
        self._subprotocol = ""
        self._status: int | None = None  # of the last handshake that was refused
        self._repeats = Repeats()
        self._retry: Retry | None = None
        self.reopens = True
        self._back_at = 0.0
        self._dialled_at = 0.0  # when the link was last opened
        self._signed_at = 0.0  # when it last gave a sign before that
        #: messages that came a second time and were dropped
        self.repeated = 0
        #: how often the link was opened again
        self.reconnects = 0
        self._bell = Bell()
        self._dozing = False

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would go to the kernel; not while the link is down and being opened again."""
        connection = self._socket
        return super().is_open and connection is not None and not connection.torn

    def _connect(self) -> None:
        self._dial(CONNECT_TIMEOUT)

    def _dial(self, seconds: float) -> None:
        import websocket

        from kernel_bridge_magic.transports.watched import WatchedSocket

        self._status = None
        secret = self._vault.auth_method(self._server.origin) != "none"
        raw = self._raw = open_socket(self._server, seconds, secret=secret)
        if self._closing:
            raw.close()  # `_break` may have been here before there was something to break
            raise CannotConnect("the connection is closed")
        raw.settimeout(seconds)
        self._opening.asked()
        # Its validation of UTF-8 is pure Python: 9 s for 30 MB. Decoding finds the same.
        connection = WatchedSocket(skip_utf8_validation=True, fire_cont_frame=True)
        connection.cap(lambda: self._fragments.room)
        problem: AuthRefused | CannotConnect | None = None
        try:
            with untraced():
                bounded = Bounded(raw, Deadline.after(seconds))
                connection.connect(self._url(), socket=bounded, **options(self._server, self._vault, seconds))
            connection.sock = raw
            if connection.getstatus() != 101:
                # Versions before 1.7 take a redirect that they do not follow for a connection.
                raise websocket.WebSocketException
        except Exception as error:
            # Its text may hold cookies and the server's page (FACTS 4): only the status is looked at.
            problem = self._refusal(error, seconds)
        if problem is not None:
            raw.close()
            raise problem  # outside the except block: the library's error does not come along as context
        raw.settimeout(SEND_TIMEOUT)
        headers = {key.lower(): value for key, value in (connection.getheaders() or {}).items()}
        self._subprotocol = headers.get("sec-websocket-protocol", "")
        connection.heard = self._dialled_at = time.monotonic()
        self._socket = connection
        # Nobody waits for the answer: it teaches `life` the kernel's session before our first cell does.
        self.send("kernel_info_request", {})

    def _url(self) -> str:
        base = ws_url(self._server)
        return f"{base}api/kernels/{quote(self._kernel.id, safe='')}/channels?session_id={self.client_id}"

    def _refusal(self, error: Exception, seconds: float) -> AuthRefused | CannotConnect:
        status = self._status = getattr(error, "status_code", None)
        where = self._server.name
        if status == 404:
            return CannotConnect(f"{where} has no kernel {self._kernel.short_id} any more; list the kernels again")
        if status == 403 and refuses_host(self._server):
            return CannotConnect(str(host_refused(self._server)))
        if status in (401, 403):
            return AuthRefused(where, f"token not accepted ({status})", "give the right one with --token env:VAR")
        if "Timeout" in type(error).__name__:
            return CannotConnect(f"{where} did not open the connection within {seconds:g} s: the kernel may be busy")
        if status is not None:
            return CannotConnect(f"{where} refused the connection to the kernel (HTTP {status})")
        return CannotConnect(f"{where} did not open a WebSocket to the kernel (a proxy or a login page in between?)")

    # -- the thread

    def _pump(self) -> str:
        while True:
            end = self._watch()
            if end is None:
                return ""
            self._drop()
            reason = end.reason if end.final or not self.router.is_awaited else self._get_back(end)
            if reason is not None:
                return reason

    def _watch(self) -> End | None:
        """Receive until the connection ends, and say how; None when it is to be closed."""
        connection = self._socket
        assert connection is not None
        silence, incoming = Silence(), Incoming()
        poll = selector()
        poll.register(connection.sock, EVENT_READ)
        poll.register(self._bell, EVENT_READ)
        while not self._closing:
            ready = connection.has_bytes(0)
            if not ready:
                self._dozing = not self.router.is_awaited
                wait = _LOOK_AROUND if self._dozing else _LOOK_CLOSELY
                ready = any(key.fileobj is not self._bell for key, _ in poll.select(wait))
                self._dozing = False
                self._bell.hush()
            if self._closing or (not ready and self._expired()):
                self._closing = True
                break
            end = self._receive() if ready else None
            end = end or self._mind(silence, incoming, connection)
            if end is not None:
                return end
        return None

    def _mind(self, silence: Silence, incoming: Incoming, connection: WatchedSocket) -> End | None:
        """Do what the rules about silence say."""
        now = time.monotonic()
        if slept := self._wake_up.slept(ahead_of_monotonic()):
            silence.woke(slept)
        come, size = connection.under_way
        before = self._fragments.size
        for note in incoming.tick(number=self._fragments.count, come=before + come, size=before + size, now=now):
            self.router.tell_requests(note)
        for step in silence.tick(heard=connection.heard, running=self.router.is_awaited, now=now):
            if step is SilenceStep.PING:
                if connection.ping_if_possible():
                    silence.pinged(now)
            elif step is SilenceStep.PROBE:
                threading.Thread(target=self._probe, args=(silence,), name="kernel-bridge-probe", daemon=True).start()
            elif step is SilenceStep.GIVE_UP:
                silent = now - connection.heard
                return End(f"nothing was heard for {silent:.0f} s", silent=silent)
            elif isinstance(step, Note):
                self.router.tell_requests(step)
        self.lost_since = connection.heard if silence.doubts else None
        return None

    def _probe(self, silence: Silence) -> None:
        """Ask the server on a new connection whether it is there; runs in a thread of its own."""
        try:
            ServerAPI(self._server, self._vault).kernel(self._kernel.id)
            answered = True
        except AuthRefused:
            answered = True
        except KernelBridgeError:
            answered = False
        for note in silence.probed(answered, time.monotonic()):
            self.router.tell_requests(note)

    def _get_back(self, end: End) -> str | None:
        """Open the link again, for as long as a request waits; None when it is open, else the reason of the end."""
        lost_at = time.monotonic()
        self.lost_since = self._signed_at
        self.breaks += 1
        self._hear(False)
        with self._lock:
            self._ledger.broke()
            self._repeats.broke()
        self.router.tell_requests(Broken(end.reason, _clock(end.silent)))
        retry = self._retry
        if retry is None or lost_at - self._back_at > _SHORT_LIVED:
            retry = self._retry = Retry(once=end.unwanted, here=self._kernel.here)
        else:
            # A link that breaks as soon as it is back: each try counts, as if it had failed.
            retry.failed(Failure.DENIED if end.unwanted else Failure.OTHER)
        while (wait := retry.wait(random.random())) is not None:
            if not self._wait(wait):
                return end.reason
            try:
                self._dial(RECONNECT_TIMEOUT)
            except KernelBridgeError as problem:
                self.breaks += 1
                self._drop()
                why = self._failure(problem)
                if why is not Failure.NO_KERNEL and self._is_renewed():
                    retry = self._retry = Retry(here=self._kernel.here)
                    continue
                retry.failed(why)
                self.denied = why is Failure.DENIED
                continue
            if not self.router.is_awaited:
                return end.reason  # who waited has left meanwhile, and may have a connection of their own by now
            self.reconnects += 1
            self._hear(True)
            self._back_at = time.monotonic()
            self._kept_until = self._back_at + timing.current.stragglers
            self.lost_since = None
            self.router.tell_requests(Back(time.monotonic() - lost_at + end.silent, _clock()))
            return None
        if self.denied:
            return f"{end.reason}, and our token is no longer valid there"
        return end.reason

    def _is_renewed(self) -> bool:
        """Whether the server's file knows it under a new process, and perhaps with a new token; true once."""
        server = None
        with contextlib.suppress(KernelBridgeError):  # no descriptors to look with: later, perhaps
            server = self._renew() if self._renew is not None else None
        if server is not None:
            self._server, self._renew = server, None
        return server is not None

    def _failure(self, problem: KernelBridgeError) -> Failure:
        if isinstance(problem, ServerUnreachable):
            return Failure.REFUSED if problem.cause is Cause.NOBODY else Failure.OTHER
        if isinstance(problem, AuthRefused):
            return Failure.DENIED
        return Failure.NO_KERNEL if self._status == 404 else Failure.OTHER

    def _wait(self, seconds: float) -> bool:
        """Wait; tell whether the link is still wanted then."""
        until = time.monotonic() + seconds
        while self.router.is_awaited and not self._closing:
            left = until - time.monotonic()
            if left <= 0:
                return True
            is_ready(self._bell, min(left, _LOOK_CLOSELY))
            self._bell.hush()
        return False

    def _deliver(self, message: Message) -> None:
        self._send(message)

    def _listen(self, seconds: float) -> None:
        if self._socket is None or (self._socket.has_bytes(seconds * 1000) and self._receive()):
            raise LinkLost("the connection is closed")

    def _receive(self) -> End | None:
        """Take one frame; give how the connection ended if it was the end."""
        import websocket

        from kernel_bridge_magic.transports.watched import TooLarge

        assert self._socket is not None
        self._socket.until = time.monotonic() + _LOOK_UP
        try:
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return None  # in the middle of a frame: the next call resumes there (FACTS 3)
        except TooLarge:
            return End(f"a message of more than {LARGEST_RECEIVED >> 20} MiB came, which is not read", final=True)
        except (websocket.WebSocketException, OSError):
            return End("the server closed the connection")
        except MemoryError:
            # Where the next frame begins is not known any more.
            self.unheld += 1
            return End("no memory is left here for what the kernel sends")
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return read_close(bytes(frame.data), self._largest)
        if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_CONT):
            # The server's Nagle waits for our ACK, which waits for data: give it some (FACTS, head 4). If it has
            # left meanwhile, the next receive says so, behind all that had come before.
            self._socket.pong_if_possible()
            text = None if opcode == websocket.ABNF.OPCODE_CONT else opcode == websocket.ABNF.OPCODE_TEXT
            self._take_frame(frame.data, text=text, last=bool(frame.fin))
        return None

    def _take_frame(self, data: bytes | bytearray, *, text: bool | None, last: bool) -> None:
        try:
            whole = self._fragments.take(bytes(data), text=text, last=last)
            message = None if whole is None else decode(whole, self._subprotocol)
        except (MalformedMessage, MemoryError) as problem:
            self._drop_message(problem)
            if last and self._fragments.begun:
                self._fragments.drop()
            return
        if message is not None:
            self._take_message(message)

    def _dispatch(self, message: Message) -> None:
        with self._lock:
            repeat = self._repeats.is_repeat(message)
        if repeat:
            self.repeated += 1
            return
        super()._dispatch(message)

    @property
    def receiving_at(self) -> float:
        """When the last bytes came of a message that is not whole yet."""
        connection = self._socket
        if connection is None or not (self._fragments.begun or connection.under_way[1]):
            return float("-inf")
        return connection.heard

    def _send(self, message: Message) -> None:
        payload = encode(message, self._subprotocol)
        if len(payload) > LARGEST_SENT:
            # In bytes: a size and a limit that are close to each other would be one number in MiB.
            raise BadCell(
                f"{self._kernel.title}: a message of {len(payload):,} bytes was not sent, since the server takes "
                f"{LARGEST_SENT:,} at most; split the cell, or let it read its data from a file there"
            )
        import websocket

        opcode = websocket.ABNF.OPCODE_TEXT if isinstance(payload, str) else websocket.ABNF.OPCODE_BINARY
        connection = self._socket
        if connection is None:
            raise LinkLost("the link is down; nothing was sent")
        self._largest = max(self._largest, len(payload))
        try:
            connection.send(payload, opcode)
        except (websocket.WebSocketException, OSError, ValueError):
            # Part of the frame may be out: whatever followed it would be read as its rest. ValueError is select's word
            # for a socket that another thread has closed.
            _shut(connection)
            raise LinkLost("the connection broke while sending; the cell did not run") from None
        except KeyboardInterrupt:
            # For the same reason; it comes from `send` where it waits. The next cell gets a connection of its own.
            _shut(connection)
            raise
        if self._dozing:
            self._bell.ring()

    def _wake(self) -> None:
        self._bell.ring()

    def _break(self) -> None:
        if self._raw is not None:
            # A receive in the middle of a frame ends only so, and a handshake that a server drips (T24).
            with contextlib.suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        """Close a connection that broke."""
        connection, self._socket = self._socket, None
        self._fragments.drop()
        if connection is not None:
            # A link that was opened and said nothing before it broke again has given no sign.
            if connection.heard > self._dialled_at or not self._signed_at:
                self._signed_at = connection.heard
            connection.shutdown()

    def _release(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            # With the closing handshake: a socket that is closed with something unread in it is reset, and the
            # server would then drop what we have sent last.
            with contextlib.suppress(Exception):
                connection.sock.settimeout(_CLOSE_SECONDS)
                connection.close(timeout=_CLOSE_SECONDS)
            connection.shutdown()
        self._bell.close()


def _shut(connection: WatchedSocket) -> None:
    """End a connection from another thread: whoever receives from it sees the end."""
    connection.torn = True
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def ahead_of_monotonic() -> float | None:
    """By how many seconds the clock that goes on while the machine sleeps is ahead; None where there is none."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _clock(seconds_ago: float = 0.0) -> str:
    return time.strftime("%H:%M:%S", time.localtime(time.time() - seconds_ago))
