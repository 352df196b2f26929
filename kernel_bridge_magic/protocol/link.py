"""What to believe when something does not come back: the rules of FAULTS 2 live in this file, and R4 in `life`.

`Link` watches one cell, from *sent* to a `Verdict`. It is pure; time comes in as `now`, seconds on a monotonic
clock::

    sent ──busy──▶ running ──reply and idle──▶ ok | failed
     │                │  reply, 2 s of silence ──▶ the same, and a note (idle can be lost in a flood)
     │                │  a sign that the kernel ended ──▶ died
     │                │  interrupt twice, or time is up ──▶ left running
     │  reply "aborted" ──▶ not run
     │  interrupt, or time is up ──▶ left running (it stays queued)
     │  a sign that the kernel ended ──▶ asks the kernel for its info, behind the cell:
     │       our busy comes first ──▶ running, in the new kernel
     │       the answer comes first ──▶ not run if the kernel had said goodbye, unknown if it crashed
     └──────── neither comes ──▶ unknown

Nothing is ever sent again (R3): no rule here has an action that sends a cell.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.protocol.events import (
    Error,
    Event,
    Lost,
    Note,
    Queued,
    Stream,
)
from kernel_bridge_magic.protocol.life import ANNOUNCED, Sign, is_rate_limit
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request

__all__ = ["Action", "Link", "Verdict"]

# Seconds. Each is the smallest that no healthy kernel or server was seen to exceed (FACTS 5, 6, 13, 15).
QUEUED_AFTER = 0.5  # no busy by then: the kernel runs something else
SETTLE = 0.3  # messages under way when the end is already certain
DOUBT = 0.5  # between a shutdown's interrupt and its shutdown_reply (ipykernel 6: 10 ms)
REPLY_GRACE = 2.0  # between the idle of a cell and its reply, or the other way round
BACKLOG = 30.0  # the longest that IOPub may be behind the reply while it is moving
SILENCE = 5.0  # then the server is asked whether the kernel is still there
PROOF = 10.0  # an answer to kernel_info behind the cell, by a kernel that must start first
SLOW_INTERRUPT = 3.0  # an interrupt that has not helped by then is worth a line


class Action(enum.Enum):
    """What the caller must do; none of it can run a cell."""

    ASK_SERVER = "ask the server for the kernel's model, answer with `server_says`"
    ASK_KERNEL = "send kernel_info on shell, tell its msg_id with `asked_kernel`"
    INTERRUPT = "interrupt the kernel"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a cell ended: its fate, and one clause of reason ("" for *ok* and *failed*)."""

    fate: Fate
    reason: str = ""
    timed_out: bool = False


class Link:
    """The watch over one cell."""

    def __init__(self, request: Request, *, now: float, timeout: float | None = None) -> None:
        self.request = request
        self.verdict: Verdict | None = None
        #: outputs that were given on; a stream counts its lines
        self.shown = 0
        #: messages known to be missing; None when some are and nobody can tell how many
        self.missing: int | None = 0
        self._sent = self._heard = self._iopub_at = now
        self._deadline = None if timeout is None else now + timeout
        self._timeout = timeout
        self._told_queued = False
        self._sign: Sign | None = None
        self._sign_at = 0.0
        self._ending = False
        self._lost_link = ""
        self._probe = ""
        self._probe_at: float | None = None
        self._asked_server_at = now
        self._idle_answers = 0
        self._interrupted_at: float | None = None
        #: a KeyboardInterrupt that we did not ask for, held back until it is known what it was
        self._doubtful: Error | None = None

    # -- what comes in

    def receive(self, message: Message, now: float) -> list[Event]:
        """Take a message of this cell, or the answer to our question about it."""
        if self._probe and message.parent_id == self._probe:
            if message.channel == "shell":
                self._probe_answered()
            return []
        was_started = self.request.started
        events = [self._read(event) for event in self.request.receive(message)]
        self._heard = now
        if self.request.started and not was_started and self._ending:
            # The restart was over before the kernel came to our cell.
            self._ending, self._sign = False, None
            events.append(Note("the kernel was restarted before this cell began; it runs in the new one"))
        if self.request.done and self._doubtful is None:
            events += self._finish()
        shown = [event for event in events if event is not None]
        self.shown += sum(_weight(event) for event in shown)
        return shown

    def iopub_heard(self, when: float) -> None:
        """Take the time at which any IOPub message last came over the connection."""
        self._iopub_at = when

    def sign(self, sign: Sign, now: float) -> None:
        """Take a sign of the kernel's end."""
        if self._sign is None or self._sign in ANNOUNCED:
            # The first cause explains best: "restarted by another client" rather than "new session".
            if self._sign is None or sign is Sign.DEAD:
                self._sign = sign
            self._sign_at = now
        if sign not in ANNOUNCED:
            self._ending = True
            self._heard = now

    def closed(self, why: str, now: float) -> None:
        """Take the end of the connection itself."""
        self._lost_link = why or "the connection broke"
        self._heard = now
        self._asked_server_at = now - SILENCE

    def server_says(self, state: str | None, now: float) -> None:
        """Take the server's answer: the kernel's `execution_state`, None for 404, "" for no answer."""
        if self.verdict is not None:
            return
        if state is None or state == "dead":
            self._conclude_gone(Sign.DEAD.value if state else "kernel was shut down or deleted")
        elif self._lost_link:
            self._conclude_link(server_alive=bool(state))
        elif state == "idle":
            self._idle_answers += 1
        else:
            self._idle_answers = 0

    def asked_kernel(self, msg_id: str, now: float) -> None:
        """Take the `msg_id` of the question that `Action.ASK_KERNEL` wanted sent."""
        self._probe, self._probe_at = msg_id, now

    def interrupt(self, now: float) -> list[Event | Action]:
        """Take one interrupt of the user: the first one over there if our cell runs, else only here (H4)."""
        if self.verdict is not None:
            return []
        if not self.request.started:
            self._judge(
                Fate.LEFT_RUNNING,
                "still queued behind another client's cell, which was not interrupted; it runs when its turn comes",
            )
            return []
        if self._interrupted_at is None:
            self._interrupted_at = now
            return [Action.INTERRUPT]
        self._judge(Fate.LEFT_RUNNING, "detached; the cell goes on there")
        return []

    # -- time

    def tick(self, now: float) -> list[Event | Action]:
        """Say what is to be done or shown now that nothing comes. Call it a few times a second."""
        if self.verdict is not None:
            return []
        if self._deadline is not None and now >= self._deadline:
            where = "it goes on there" if self.request.started else "it is still queued there"
            self._judge(Fate.LEFT_RUNNING, f"gave up waiting after {self._timeout:g} s; {where}", timed_out=True)
            return []
        silent = now - self._heard
        if self._doubtful is not None and self.request.done:
            return list(self._tick_doubt(silent))
        if self.request.reply is not None and self._reply_stands_alone(now):
            return list(self._finish_without_idle())
        if self._ending or (self.request.idle and silent >= SETTLE):
            steps = self._tick_ending(now, silent)
            if steps or self.verdict is not None:
                return steps
        return [*self._tick_notes(now), *self._tick_questions(now, silent)]

    def _reply_stands_alone(self, now: float) -> bool:
        """Whether the cell's idle is to be given up, now that its reply is in.

        IOPub keeps its order. While other clients' messages still come there, ours may stand behind them: a server
        with ten clients was seen to hand on IOPub seconds after the replies.
        """
        if now - self._heard < REPLY_GRACE:
            return False
        return now - self._iopub_at >= REPLY_GRACE or now - self._heard >= BACKLOG

    def _tick_ending(self, now: float, silent: float) -> list[Event | Action]:
        """Signs of the end are in, or our idle without a reply: conclude, once everything is in."""
        if silent < SETTLE:
            return []
        if self._sign is not None and (self.request.started or self._sign is Sign.DEAD):
            self._conclude_gone(self._sign.value)
        elif self._probe_at is None:
            if self._lost_link:
                self._conclude_gone((self._sign or Sign.LEFT).value)
                return []
            wait = 0.0 if self._ending else REPLY_GRACE
            return [Action.ASK_KERNEL] if silent >= wait else []
        elif now - self._probe_at >= PROOF:
            self._judge(Fate.UNKNOWN, "the kernel does not say whether it ran the cell; check before running again")
        return []

    def _tick_doubt(self, silent: float) -> list[Event]:
        """The cell ended with a KeyboardInterrupt: somebody's interrupt, or the first act of a shutdown?"""
        if self._sign is None and silent < DOUBT:
            return []
        doubtful, self._doubtful = self._doubtful, None
        if self._sign is not None:
            self._judge_died(self._sign.value)
            return []
        return [*([doubtful] if doubtful else []), *self._finish()]

    def _tick_notes(self, now: float) -> list[Event]:
        if not self._told_queued and not self.request.started and now - self._sent >= QUEUED_AFTER:
            self._told_queued = True
            return [Queued()]
        if self._interrupted_at is not None and now - self._interrupted_at >= SLOW_INTERRUPT:
            self._interrupted_at = float("inf")
            return [Note("interrupted, and still running; interrupt again to leave it running there")]
        return []

    def _tick_questions(self, now: float, silent: float) -> list[Event | Action]:
        if self._idle_answers >= 2 and self._probe_at is None:
            # "idle" alone proves nothing (FACTS 15). An answer from behind our cell does.
            return [Action.ASK_KERNEL]
        if silent >= (0.0 if self._lost_link else SILENCE) and now - self._asked_server_at >= SILENCE:
            self._asked_server_at = now
            return [Action.ASK_SERVER]
        return []

    # -- conclusions

    def _read(self, event: Event) -> Event | None:
        if isinstance(event, Error) and event.ename == "KeyboardInterrupt" and self._interrupted_at is None:
            # A shutdown interrupts the cell first: that is its sign, not the user's interrupt (F4, F11). Older
            # servers' shutdown_reply comes after it.
            self._doubtful = event
            return None
        if isinstance(event, Stream) and event.name == "stderr" and is_rate_limit(event.text):
            self.missing = None
            return Lost("the server's rate limit dropped output; ZMQ has none, or raise it: " + _setting(event.text))
        return event

    def _finish(self) -> list[Event]:
        request = self.request
        if request.status == "aborted" and not request.started:
            self._judge(Fate.NOT_RUN, "aborted while queued, by another client's error or interrupt. Safe to run again")
        elif request.status == "aborted":
            error = request.error or Error("KeyboardInterrupt", "")
            events: list[Event] = [] if request.error else [error]
            request.error = error
            self._judge(Fate.FAILED)
            return events
        elif request.status == "error" or request.error is not None:
            error_only_in_reply = request.missing_error()
            self._judge(Fate.FAILED)
            return [error_only_in_reply] if error_only_in_reply else []
        else:
            # Octave's errors come with status ok: an error message makes it failed (above).
            self._judge(Fate.OK)
        return []

    def _finish_without_idle(self) -> list[Event]:
        # Above 4000 messages a second the kernel's own queue loses even the idle (FACTS 13). IRkernel sends
        # none for a request that it aborted.
        events = self._finish()
        if self.verdict is not None and self.verdict.fate in (Fate.OK, Fate.FAILED):
            self.missing = None
            events.append(Lost("the kernel's end-of-cell message is missing; output may be, too"))
        return events

    def _probe_answered(self) -> None:
        request = self.request
        if self.verdict is not None or request.reply is not None:
            return
        if not request.started and self._sign is not None and self._sign not in ANNOUNCED:
            # The new life did not run it. The old one may have: a process that crashes takes along what its
            # IOPub thread has not sent, our `busy` too (seen with `os._exit` as the cell's first act).
            self._conclude_gone(self._sign.value)
        elif not request.started:
            reason = self._sign.value if self._sign else "the kernel never took it"
            self._judge(Fate.NOT_RUN, f"{reason} while the cell was queued. Safe to run again")
        elif self._sign is not None:
            self._conclude_gone(self._sign.value)
        else:
            self._judge(
                Fate.UNKNOWN, "the kernel has ended the cell, but its reply is lost; check before running again"
            )

    def _conclude_gone(self, reason: str) -> None:
        """The kernel that had our cell is no more."""
        if self.request.reply is not None:
            self._finish()
        elif self.request.started:
            self._judge_died(self._sign.value if self._sign in ANNOUNCED else reason)
        elif self._sign in ANNOUNCED:
            # It said goodbye on the same socket on which our `busy` would have come before.
            self._judge(Fate.NOT_RUN, f"{self._sign.value} while the cell was queued. Safe to run again")
        else:
            self._judge(Fate.UNKNOWN, f"{reason} before it confirmed. It may have run; check before running again")

    def _conclude_link(self, *, server_alive: bool) -> None:
        if self._sign is not None:
            self._conclude_gone(self._sign.value)
        elif server_alive:
            state = "the cell may still be running" if self.request.started else "the cell may have run"
            self._judge(Fate.UNKNOWN, f"link lost ({self._lost_link}); {state}; check before running again")
        else:
            self._conclude_gone(f"server does not answer any more ({self._lost_link})")

    def _judge_died(self, cause: str) -> None:
        lines = f"{self.shown} line{'' if self.shown == 1 else 's'} shown"
        self._judge(Fate.DIED, f"{cause}. {lines}; variables are gone")

    def _judge(self, fate: Fate, reason: str = "", *, timed_out: bool = False) -> None:
        if self.verdict is None:
            self.verdict = Verdict(fate, reason, timed_out)


def _setting(text: str) -> str:
    kind = "data" if "data rate" in text.split(".", 1)[0] else "msg"
    return f"iopub_{kind}_rate_limit"


def _weight(event: Event) -> int:
    if isinstance(event, Stream):
        return event.text.count("\n")
    return int(type(event).__name__ in ("DisplayData", "ExecuteResult", "Error", "Page"))
