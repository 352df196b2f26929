"""The transport over a Jupyter server: one WebSocket, both framings, through `websocket-client`."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from selectors import EVENT_READ

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import is_ready, selector
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import KernelBridgeError, LinkLost
from kernel_bridge_magic.fate import timing as fate_timing
from kernel_bridge_magic.fate.patience import Failure, Incoming, Retry, Silence, SilenceStep, SleepDetector
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.frames import V1
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.handshake import Dialler
from kernel_bridge_magic.transports.inbox import Back, Broken, Closed
from kernel_bridge_magic.transports.message_socket import End, MessageSocket

_REMEMBERED = 5000  # ids; far more than a socket's buffers hold


class Repeats:
    """Which messages come twice, when a server sends again what we had before the link broke.

    A kernel whose ids are not unique is left alone: then nothing is called a repeat.
    """

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._before: frozenset[str] = frozenset()

    def broke(self) -> None:
        """Record that the link broke."""
        # The deque alone bounds it: what was added up over every break of a link grew for hours.
        known = frozenset(self._recent)
        self._before = known if len(known) == len(self._recent) else frozenset()

    def is_repeat(self, message: Message) -> bool:
        """Record any message of the connection; return whether it came before the link broke."""
        name = f"{message.channel} {message.msg_id}"
        if message.msg_id and name not in self._before:
            self._recent.append(name)
        return name in self._before


class SilenceWatch:
    """Does what the rules of `fate.patience` say of one connection.

    `answers` asks the server on a new connection whether it is there. `tell` hands a note to all who wait. `detector`
    outlives the connection: this machine may sleep between two of them.
    """

    def __init__(
        self, link: MessageSocket, detector: SleepDetector, answers: Callable[[], bool], tell: Callable[[Note], None]
    ) -> None:
        self._link = link
        self._detector = detector
        self._answers = answers
        self._tell = tell
        self._silence = Silence()
        self._incoming = Incoming()

    @property
    def doubts(self) -> bool:
        """Whether a cell is under way, and people were told that a ping has gone unanswered."""
        return self._silence.doubts

    def tick(self, *, running: bool) -> End | None:
        """Do what is due. Return how the connection is to end where it is to be given up.

        `running` is whether a request is under way.
        """
        now, link = time.monotonic(), self._link
        if slept := self._detector.slept(clocks_apart()):
            self._silence.woke(slept)
        number, held, announced = link.progress
        for note in self._incoming.tick(number=number, come=held, size=announced, now=now):
            self._tell(note)
        for step in self._silence.tick(heard=link.heard, running=running, now=now):
            if step is SilenceStep.PING:
                if link.send_if_possible(link.ping):
                    self._silence.pinged(now)
            elif step is SilenceStep.PROBE:
                threading.Thread(target=self._probe, name="kernel-bridge-probe", daemon=True).start()
            elif step is SilenceStep.GIVE_UP:
                silent = now - link.heard
                return End(f"nothing was heard for {silent:.0f} s", silent=silent)
            elif isinstance(step, Note):
                self._tell(step)
        return None

    def _probe(self) -> None:
        """Ask the server on a new connection whether it is there; runs in a thread of its own."""
        for note in self._silence.probed(self._answers(), time.monotonic()):
            self._tell(note)


def clocks_apart() -> float | None:
    """Return by how many seconds the clock that goes on while the machine sleeps is ahead; None where there is none."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class WebSocketTransport(Transport):
    """A WebSocket to `/api/kernels/<id>/channels` of the kernel's server.

    When it breaks while a request is under way, it is opened again under the same session id: the server then sends
    what it kept for us. Nothing is ever sent again by us.

    `renew` returns the server as it is known when it was started anew, with what it wants of us in the vault (F14).
    """

    name = "ws"
    reopens = True

    def __init__(
        self, kernel: Kernel, server: Server, vault: Vault, renew: Callable[[], Server | None] | None = None
    ) -> None:
        super().__init__(kernel)
        self._dialler = Dialler(kernel, server, vault, self.client_id, renew)
        self._link: MessageSocket | None = None
        self._retry = Retry(here=kernel.here)
        self._back_at = float("-inf")
        #: how often the link was opened again
        self.reconnects = 0
        self._signed_at = 0.0  # when the link last gave a sign, before it was last opened
        self._sleep_detector = SleepDetector()
        self._repeats = Repeats()
        #: messages that came a second time and were dropped
        self.repeated = 0
        self._dozing = False

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would go to the kernel; not while the link is down and being opened again."""
        link = self._link
        return super().is_open and link is not None and not link.is_torn

    def _connect(self) -> None:
        self._dial(timing.current.websocket_open)

    def _dial(self, seconds: float) -> None:
        self._link = self._dialler.dial(seconds, self._opening.asked, lambda: self._closing)
        # A server before a gateway breaks at buffers; it speaks JSON only.
        self.carries_buffers = self._link.framing == V1
        # Nobody waits for the answer: it teaches `life` the kernel's session before our first cell does.
        self.send("kernel_info_request", {})

    # -- the thread

    def _pump(self) -> Closed:
        while True:
            end = self._watch()
            if end is None:
                return Closed("")
            self._drop()
            closed = Closed(end.reason) if end.final or not self.router.is_awaited else self._get_back(end)
            if closed is not None:
                return closed

    def _watch(self) -> End | None:
        """Receive until the connection ends, and return how; None when it is to be closed."""
        link = self._link
        assert link is not None
        silence = SilenceWatch(link, self._sleep_detector, self._dialler.answers, self.router.tell_requests)
        poll = selector()
        poll.register(link.sock, EVENT_READ)
        poll.register(self._wakeup, EVENT_READ)
        while not self._closing:
            ready = link.has_bytes(0)
            if not ready:
                self._dozing = not self.router.is_awaited
                bounds = timing.current
                wait = bounds.websocket_look_idle if self._dozing else bounds.websocket_look_running
                ready = any(key.fileobj is not self._wakeup for key, _ in poll.select(wait))
                self._dozing = False
                self._wakeup.clear()
            if self._closing or (not ready and self._expired()):
                self._closing = True
                break
            end = self._receive(link) if ready else None
            end = end or silence.tick(running=self.router.is_awaited)
            if end is not None:
                self.unheld += end.unheld
                return end
            self.lost_since = link.heard if silence.doubts else None
        return None

    def _get_back(self, end: End) -> Closed | None:
        """Open the link again, for as long as a request waits. Return None when it is open, else how it ended."""
        lost_at = time.monotonic()
        self.lost_since = self._signed_at
        self.breaks += 1
        self.main_shell.leave(self.client_id)
        self._repeats.broke()
        with self._lock:
            self._ledger.broke()
        self.router.tell_requests(Broken(end.reason, _clock(end.silent)))
        if lost_at - self._back_at > timing.current.websocket_short_lived:
            self._retry = Retry(once=end.unwanted, here=self._kernel.here)
        else:  # a link that breaks as soon as it is back: each try counts, as if it had failed
            self._retry.failed(Failure.DENIED if end.unwanted else Failure.OTHER)
        denied = False
        while (wait := self._retry.wait(random.random())) is not None:
            if not self._wait(wait):
                return Closed(end.reason, denied)
            try:
                self._dial(timing.current.websocket_reopen)
            except KernelBridgeError as problem:
                denied = self._note_failure(problem) is Failure.DENIED
                continue
            if not self.router.is_awaited:
                # Who waited has left meanwhile, and may have a connection of their own by now.
                return Closed(end.reason, denied)
            self.main_shell.join(self.client_id)
            now = self._back_at = time.monotonic()
            self.reconnects += 1
            self._kept_until = now + fate_timing.current.stragglers
            self.lost_since = None
            self.router.tell_requests(Back(now - lost_at + end.silent, _clock()))
            return None
        return Closed(f"{end.reason}, and our token is no longer valid there" if denied else end.reason, denied)

    def _note_failure(self, problem: KernelBridgeError) -> Failure:
        """Record that a try to open the link again failed. Return why."""
        self.breaks += 1
        self._drop()
        why = self._dialler.failure(problem)
        if why is not Failure.NO_KERNEL and self._dialler.is_renewed():
            self._retry = Retry(here=self._kernel.here)  # whatever the server refused before says nothing
            return Failure.OTHER
        self._retry.failed(why)
        return why

    def _wait(self, seconds: float) -> bool:
        """Wait, and return whether the link is still wanted then."""
        deadline = Deadline.after(seconds)
        while self.router.is_awaited and not self._closing:
            if deadline.is_over:
                return True
            is_ready(self._wakeup, min(deadline.left, timing.current.websocket_look_running))
            self._wakeup.clear()
        return False

    def _listen(self, seconds: float) -> None:
        link = self._link
        if link is None or (link.has_bytes(seconds) and self._receive(link)):
            raise LinkLost("the connection is closed")

    def _receive(self, link: MessageSocket) -> End | None:
        """Receive one frame, and dispatch the message that is complete with it. Return how the connection ended."""
        try:
            came = link.receive()
            if not isinstance(came, Message):
                return came
            self._handle_message(came)
        except (MalformedMessage, MemoryError) as problem:
            self._drop_message(type(problem))
        return None

    def _dispatch(self, message: Message) -> None:
        if self._repeats.is_repeat(message):
            self.repeated += 1
        else:
            super()._dispatch(message)

    @property
    def receiving_at(self) -> float:
        """When the last bytes of an incomplete message came, on the monotonic clock; -inf if none is incomplete."""
        link = self._link
        return float("-inf") if link is None else link.receiving_at

    # -- any thread

    def _send(self, message: Message) -> None:
        link = self._link
        if link is None:
            raise LinkLost("the link is down; nothing was sent")
        link.send_message(message, self._kernel.title)
        if self._dozing:
            self._wakeup.ring()

    def _break(self) -> None:
        self._dialler.cut()

    # -- the end

    def _drop(self) -> None:
        """Close a connection that broke."""
        link, self._link = self._link, None
        if link is not None:
            # A link that was opened and said nothing before it broke again showed no sign of life.
            if link.heard > link.opened_at or not self._signed_at:
                self._signed_at = link.heard
            link.shutdown()

    def _release(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close_politely()


def _clock(seconds_ago: float = 0.0) -> str:
    """Return the time of day, for people."""
    return time.strftime("%H:%M:%S", time.localtime(time.time() - seconds_ago))
