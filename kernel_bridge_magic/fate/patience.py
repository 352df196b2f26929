"""How long to hold on to a link that says nothing, and when to try to get a broken one back. R7. Pure.

A TCP connection that is silent is not dead. One that was kept through a black hole of 30 s lost nothing; a new one
that was opened early did. So a silent connection is kept until a *new* one is answered and the old one still says
nothing 10 s later, or for 90 s. A connection that broke is tried again for 5 minutes, unless the user says otherwise,
counted from its last sign; then `watch` gives its cell up. `now` is seconds on a monotonic clock, which stands still
while the machine sleeps (R8); `SleepDetector` tells that it has slept.
"""

from __future__ import annotations

import enum

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.protocol.events import Note

#: The pauses between tries double so often. A float holds 1023 doublings, which a link that is waited for without an
#: end outlasts.
_DOUBLINGS = 5
#: So many refusals by a port of this machine say that its server has ended.
_REFUSALS_HERE = 2
#: Half a minute. A tunnel that is not back by then is tried as rarely as anything else.
_QUICK_TRIES = 40


class SilenceStep(enum.Enum):
    """What the owner of a connection must do."""

    PING = "send a WebSocket ping, say so with `pinged`"
    PROBE = "ask the server on a new connection, say what came with `probed`"
    GIVE_UP = "close this connection and open another"


class Silence:
    """The watch over one connection that may fall silent, from its opening to its end."""

    def __init__(self) -> None:
        self._pinged: float | None = None  # when the ping was sent that is not answered yet
        self._told = False  # people know that nothing is heard
        self._told_why = False  # and whether the server answers on a new connection
        self._quiet_since = 0.0
        self._probing = False
        self._probe_at = 0.0
        self._answered_at: float | None = None
        self._slept = 0.0
        self._woke = False

    def woke(self, seconds: float) -> None:
        """Record that this machine slept for so many seconds: the next `tick` asks at once."""
        self._slept += seconds
        self._woke = True

    @property
    def _still_silent(self) -> float:
        # A server gives up a client that does not answer for as long: there is nothing to be kept.
        slept_long = self._slept >= timing.current.silent_running
        return timing.current.ping_answer if slept_long else timing.current.silent_beside_answer

    @property
    def doubts(self) -> bool:
        """Whether a cell is under way, and a ping has gone unanswered for so long that it was told."""
        return self._pinged is not None and self._told

    def pinged(self, now: float) -> None:
        """Record that a ping was sent."""
        self._pinged = now

    def probed(self, answered: bool, now: float) -> list[Note]:
        """Record whether a question on a new connection was answered; return what to say."""
        self._probing = False
        self._probe_at = now
        if self._pinged is None:
            return []  # it was heard meanwhile
        if answered and self._answered_at is None:
            self._answered_at = now
        if self._told_why or now - self._pinged < timing.current.ping_answer:
            return []  # after a sleep it was asked before there was anything to say
        self._told_why = True
        if answered:
            return [self._why()]
        return [Note("its server does not answer (suspended, or the network is down); still waiting")]

    def _why(self) -> Note:
        wait = self._still_silent
        return Note(f"its server answers on a new connection only; reconnecting in {wait:g} s if this stays")

    def tick(self, *, heard: float, running: bool, now: float) -> list[SilenceStep | Note]:
        """Return what to do. `heard` is when the last byte came, `running` whether a request is under way."""
        if self._pinged is not None and heard >= self._pinged:
            told, since = self._told, self._quiet_since
            self._pinged, self._told, self._told_why, self._answered_at = None, False, False, None
            self._slept = 0.0
            return [Note(f"heard again after {heard - since:.0f} s of silence")] if told and running else []
        if self._woke:
            self._woke = False
            if not running:
                return [SilenceStep.PING]
            self._probing = True
            return [SilenceStep.PING, SilenceStep.PROBE]
        if self._pinged is None:
            due = now - heard >= (timing.current.ping_running if running else timing.current.ping_idle)
            self._quiet_since = heard
            return [SilenceStep.PING] if due else []
        unanswered = now - self._pinged
        if not running:
            patience = timing.current.ping_answer if self._slept else timing.current.silent_idle
            return [SilenceStep.GIVE_UP] if unanswered >= patience else []
        return self._unanswered(unanswered, heard, now)

    def _unanswered(self, unanswered: float, heard: float, now: float) -> list[SilenceStep | Note]:
        if unanswered < timing.current.ping_answer:
            return []
        steps: list[SilenceStep | Note] = []
        if not self._told:
            self._told = True
            asleep = "; this machine slept" if self._slept else ""
            steps.append(Note(f"last heard {now - heard + self._slept:.0f} s ago{asleep}; waiting for the link"))
        late = self._answered_at is not None and now - self._answered_at >= self._still_silent
        if late or now - heard >= timing.current.silent_running:
            return [*steps, SilenceStep.GIVE_UP]
        if self._answered_at is not None and not self._told_why:
            self._told_why = True
            steps.append(self._why())
        if not self._probing and self._answered_at is None and now - self._probe_at >= timing.current.ask_anew_again:
            self._probing = True
            steps.append(SilenceStep.PROBE)
        return steps


class SleepDetector:
    """Whether this machine has slept: the clock that goes on in its sleep has run ahead of the one that does not."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def slept(self, ahead: float | None) -> float:
        """Return for how many seconds it slept since the last call, 0.0 for not at all.

        `ahead` is CLOCK_BOOTTIME less CLOCK_MONOTONIC, None where there are no such clocks.
        """
        before, self._ahead = self._ahead, ahead
        if ahead is None or before is None or ahead - before <= timing.current.sleep_jump:
            return 0.0
        return ahead - before


class Incoming:
    """What is said of one message that takes long to arrive: one line, replaced each 5 s (F24)."""

    def __init__(self) -> None:
        self._number = -1
        self._since = 0.0
        self._told_at: float | None = None
        self._size = 0

    def tick(self, *, number: int, come: int, size: int, now: float) -> list[Note]:
        """Return what is to be said of message `number`: `come` of its `size` bytes have arrived."""
        notes: list[Note] = []
        if number != self._number:
            if self._told_at is not None:
                notes = [self._note(f"all {_bytes(self._size)} of a large message came after", now)]
            self._number, self._since, self._told_at = number, now, None
        if not come:
            self._since = now
            return notes
        self._size = size
        if now - (self._since if self._told_at is None else self._told_at) >= timing.current.tell_incoming:
            self._told_at = now
            notes.append(self._note(f"{_bytes(come)} of a message of {_bytes(size)} came in", now))
        return notes

    def _note(self, what: str, now: float) -> Note:
        return Note(f"{what} {now - self._since:.0f} s", key="incoming")


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


class Failure(enum.Enum):
    """Why a try to get the link back failed."""

    REFUSED = "nobody listens there"
    DENIED = "the server does not accept who we are"
    NO_KERNEL = "the server has no such kernel"
    OTHER = "no answer, or none of use"


class Retry:
    """When to try again: at once, then after 0 to 2**n - 1 s, at random, so that not all clients come back together.

    `once`: one try only, as the server said that it does not want us (close codes 1008, 4xxx). `here`: the server is a
    process that we saw, so a port on which nobody listens says that it has ended. Elsewhere that may be a tunnel or a
    proxy, which comes back: it is tried for as long as somebody waits.
    """

    def __init__(self, *, once: bool = False, here: bool = True) -> None:
        self._once = once
        self._here = here
        self._tries = 0
        self._refused = 0
        self._hopeless = False

    def failed(self, why: Failure) -> None:
        """Record that a try failed, and why."""
        self._tries += 1
        self._refused = self._refused + 1 if why is Failure.REFUSED else 0
        ended = self._here and self._refused >= _REFUSALS_HERE
        self._hopeless = self._once or why in (Failure.DENIED, Failure.NO_KERNEL) or ended

    def wait(self, chance: float) -> float | None:
        """Return the seconds until the next try, None to give up. `chance` is a random number from 0 to 1."""
        if self._hopeless:
            return None
        if 0 < self._refused < _QUICK_TRIES:
            return timing.current.retry_refused
        return chance * min(2.0 ** min(self._tries, _DOUBLINGS) - 1, timing.current.longest_retry)
