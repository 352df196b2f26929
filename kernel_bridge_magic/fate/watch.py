"""What to believe when something does not come back: R2, R3 and R5 of FAULTS 2. The others are in `request` (R1),
`life` (R4), `ledger` (R6) and `patience` (R7, R8).

`Link` watches one cell, from *sent* to a `Verdict`. It is pure; time comes in as `now`, seconds on a monotonic
clock. What it makes of everything that may come is data, in `rules`, where each row is held against it by a test. In
short: a cell is *sent*, then *running* once the kernel's busy for it is in; reply and idle end it. A sign that the
kernel ended makes a running cell *died*. For one that was only sent the kernel is asked for its info, behind the cell:
if our busy comes first, the cell runs in the new kernel; if the answer comes first, it was *not run* where the kernel
had said goodbye, and is *unknown* where it crashed. A link that broke proves nothing of a cell that was only sent: it
may still arrive, and stays *unknown* unless a `proof` excludes that (*not run*). Of one that has ended, and whose
reply is lost, the kernel's `record` tells how; without a record its `completion` may show that it did, and then it is
*ok* if it has shown no error.

Nothing is ever sent again (R3): no rule here has an action that sends a cell.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.completion import Completion
from kernel_bridge_magic.fate.heart import Heart
from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.life import ANNOUNCED, Sign, since_the_last_cell, told_of
from kernel_bridge_magic.fate.losses import NO_BUSY, Losses
from kernel_bridge_magic.fate.outage import Outage, spoken
from kernel_bridge_magic.fate.patience import RECONNECT
from kernel_bridge_magic.fate.proof import MESSAGES_OF_A_CELL, Proof, Step
from kernel_bridge_magic.protocol.events import (
    Error,
    Event,
    Note,
    Queued,
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import is_rate_limit
from kernel_bridge_magic.protocol.request import Request

__all__ = ["Action", "Link", "Verdict"]

# Seconds. Each is the smallest that no healthy kernel or server was seen to exceed (FACTS 5, 6, 13, 15).


#: Parts of the names of implementations whose replies say ok of code that raised (FACTS 13).
_ALWAYS_OK = ("octave",)

_SAFE = "the cell was not run, so it is safe to run it again"
_CHECK = "check before running it again"
_MAY_HAVE_RUN = f"It may have run: {_CHECK}"
_GONE = "Its variables are gone"
_NO_KERNEL = "it has no kernel now"
#: What is said of a kernel's variables where nobody can tell how a cell ended; None: it may have ended as well.
_VARIABLES = {True: "Its variables are still there", False: _GONE, None: "Its variables may be gone"}
_REPLY_LOST = f"has ended the cell, but the reply that says how is lost. {_CHECK.capitalize()}"
_RECORDED = "but the kernel remembers how the cell ended"
_COMPLETED = (
    "but the cell ran to its end and showed no error. What only the reply carries, such as a page of help, is missing"
)
_STILL = {
    True: "the cell is still running there",
    False: "the cell is still queued there",
    None: "the cell may run there",
}
_QUEUED = "no longer waiting. The cell is still queued{behind} and cannot be withdrawn; it will run when its turn comes"
_UNCONFIRMED = "no longer waiting. The kernel had not confirmed the cell, so it was not interrupted; it may run there"
_MUTE = (
    "its server hands nothing on, and does not call the kernel busy; still waiting. A server before a gateway is "
    "stopped by a widget's binary data"
)
_IN_THE_NEW_ONE = "before this cell began. It runs in the new kernel, where the earlier variables are gone"
_SLOW = "interrupt sent, but the cell is still running. Ctrl-C again to leave it running there"


class Action(enum.Enum):
    """What the caller must do; none of it can run a cell."""

    ASK_SERVER = "ask the server for the kernel's model, answer with `server_says`"
    ASK_KERNEL = "send kernel_info on shell, tell its msg_id with `asked_kernel`"
    ASK_RECORD = "ask the kernel how the cell ended (protocol.record), answer with `kernel_recorded`"
    INTERRUPT = "interrupt the kernel"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a cell ended: its fate, and what happened, which names the kernel ("" for *ok* and *failed*)."""

    fate: Fate
    reason: str = ""
    timed_out: bool = False


class Link:
    """The watch over one cell.

    `kernel` is what people call the kernel. `served`: it has a server. `here`: that is a process that we see, whose end
    is the kernel's.
    `implementation` is what the kernel calls itself, "" where that is not known.
    `reconnect_timeout`: for how many seconds a link that is lost is waited for, None for ever. `timeout` seconds are
    counted from `since`, when the way to the kernel began to be looked for; None: from `now`. `awaited` is the sign of
    an end behind which no new life was heard when the cell was sent; with `told` people know of it.
    """

    def __init__(
        self,
        request: Request,
        *,
        now: float,
        kernel: str = "the kernel",
        timeout: float | None = None,
        since: float | None = None,
        served: bool = True,
        here: bool = True,
        implementation: str = "",
        reconnect_timeout: float | None = RECONNECT,
        awaited: Sign | None = None,
        told: bool = False,
    ) -> None:
        self.request = request
        self._kernel = kernel
        self._believes_ok = not any(name in implementation.lower() for name in _ALWAYS_OK)
        self.reconnect_timeout = reconnect_timeout
        #: since when nothing was heard over a link that broke or does not answer, on the clock of `now`; None for a
        #: link that is well
        self.lost_since: float | None = None
        #: whether the link was waited for in vain, and is not any more
        self.gave_link_up = False
        self._served = served
        self._here = here
        self.verdict: Verdict | None = None
        #: of a cell that is *unknown*: whether the kernel that had it goes on with its variables; None: nobody can tell
        self.variables: bool | None = None
        #: outputs that were given on; a stream counts its lines
        self.shown = 0
        #: what is known to be missing of its output
        self.losses = Losses()
        self._sent = self._heard = now
        self._receiving_at = float("-inf")
        # Where the way took all of the time the cell has a moment, in which most are over.
        self._deadline = (
            None
            if timeout is None
            else max((now if since is None else since) + timeout, now + timing.current.least_timeout)
        )
        self._timeout = timeout
        self._waits_for, self._waits_since = Queued(), now
        self._told_queued: Queued | None = None
        # What was only announced may end the cell as if it had been announced under it.
        self._sign: Sign | None = awaited if awaited in ANNOUNCED else None
        self._signed_at = now
        self._awaited = awaited
        #: whether people know of the kernel's end, or are told of it by what is said of the cell
        self.end_is_told = told
        self._server_gone = False  # and with it the kernel that was shut down
        self._not_there = False  # the server knew it no more while it was open who had shut it down
        self._ending = False
        self._lost_link = ""
        #: the times at which the link was down
        self.outage = Outage()
        #: whether the kernel was heard to end what it ran, and to begin nothing since
        self.free = False
        #: whether something has come that was not handed to `receive` yet, perhaps the word that the cell has begun
        self.unread = False
        #: the `msg_id` of the kernel's answer from behind the cell, once a link that broke is back; "" for none
        self.behind = ""
        self._probe = ""
        self._probe_at: float | None = None  # when the kernel was first asked
        self._probed_at = now  # and when last
        self._probe_answered_at: float | None = None
        self._probe_seen = False
        self._probed_behind = False  # the kernel was asked once the cell's reply was in
        self._idle_passed = False  # and IOPub, which keeps its order, has come to that question
        self._arrived = False  # something of the cell's has come
        self._proof: Proof | None = None  # that a cell of which nothing has come never arrived
        self._wants_proof = False
        #: whether the kernel can be asked how a cell ended, see `record`
        self.remembers = True
        self._completion = Completion()
        self._record_due: float | None = None  # the cell has ended, and its reply is lost: when the record must be in
        self._unrecorded = False  # there is none
        self._reply_lost = False
        self._idle_lost = False
        self._asked_server_at = now
        self._idle_answers = 0
        self._idle_since_asked = False  # the kernel was free after our last question to it
        self._told_mute = False
        self._interrupted_at: float | None = None
        self._heart = Heart()
        #: a KeyboardInterrupt that we did not ask for: until it is known what it was, the cell does not end with it
        self._doubtful: Error | None = None
        self._held_back: list[Event] = []  # the same, until it is shown

    # -- what comes in

    def receive(self, message: Message, now: float) -> list[Event]:
        """Take a message of this cell, or the answer to our question about it."""
        if self._probe and message.parent_id == self._probe:
            if message.channel == "shell":
                self._take_probe(message, now)
            elif self._probed_behind and message.channel == "iopub" and self._idle_is_due():
                return self._pass_idle(message, now)
            elif message.channel == "iopub":
                self._take_later(message, now)
            return []
        if message.parent_id == self.request.msg_id and message.channel != "shell":
            self._completion.receive(message)
        was_started = self.request.started
        events: list[Event | None] = []
        for event in self.request.receive(message):
            events += [*self._release(event), self._read(event)]
        if self.request.status == "ok":
            # Whatever it was, the cell has gone on behind it.
            self._doubtful = None
            events += self._release()
        self._heard = now
        if message.parent_id == self.request.msg_id and message.channel != "stdin":
            self._arrived = True
        if self._arrived and self._proof is not None:
            # The last question may have gone before it: another one, if it is needed, in silence.
            self._end_proof()
            self._probe, self._probe_at, self._probe_answered_at = "", None, None
        if not was_started and (self.request.started or self.request.status in ("ok", "error")):
            events += self._begin()
        if self.request.done and self._doubtful is None:
            events += self._finish()
        shown = [event for event in events if event is not None]
        self.shown += sum(_weight(event) for event in shown)
        return shown

    def broke(self, why: str, clock: str, now: float) -> None:
        """Take the break of a link that is being opened again. `clock` is the time of day."""
        self.outage.broke(why, clock, now)
        self._probe, self._probe_at, self._probe_answered_at = "", None, None
        self._probed_behind = self._idle_passed = False
        self._end_proof()
        self._record_due, self._unrecorded = None, False
        self._idle_answers = 0

    def back(self, seconds: float, clock: str, now: float) -> list[Event | Action]:
        """Take the return of the link, `seconds` after it broke."""
        note = self.outage.back(seconds, clock, now)
        self._heard = self._asked_server_at = now
        if self.verdict is not None:
            return [note]
        return [note, Action.ASK_SERVER, Action.ASK_KERNEL]

    def wants_count(self, now: float) -> bool:
        """Whether it is time to count what is missing, and to give it to `count`."""
        if self.verdict is not None:
            return self.verdict.fate is not Fate.NOT_RUN
        # Between idle and reply the reply's own number is a hole: they come by channels of their own. And a cell of
        # which nothing has come may prove not to have run.
        return self._arrived and not self.request.idle and self.outage.settled(now)

    def count(self, gap: Gap | None) -> list[Event]:
        """Take what is missing; None where nobody can tell. Give what to say of it, once."""
        if not self.outage.happened:
            return self.losses.by_kernel(gap, idle_lost=self._idle_lost)
        idle_lost = self._idle_lost and not self._probe_seen
        uncounted = [] if self.verdict is None else self.losses.uncountable(idle_lost=idle_lost)
        # A reply that is lost is told of by itself.
        return [*uncounted, *self.losses.by_link(gap, self.outage.span, told=int(self._reply_lost))]

    def wait_for(self, what: Queued, now: float) -> None:
        """Take what the kernel does first, as far as that is known, while the cell has not begun."""
        if what != self._waits_for:
            self._waits_for, self._waits_since = what, now

    def receiving(self, when: float) -> None:
        """Take the time at which the last bytes of a message came that is not whole yet."""
        self._receiving_at = when

    def sign(self, sign: Sign, now: float) -> None:
        """Take a sign of the kernel's end."""
        # The first cause explains best: "restarted by another client" rather than "new session".
        if self._sign is None or sign is Sign.DEAD:
            self._sign, self._signed_at = sign, now
        if sign is Sign.RESTARTING:
            # It died again while it started (F3), and with it what it was asked.
            self._probe, self._probe_at = "", None
        if sign not in ANNOUNCED:
            self._ending = True
            self._heard = now
        self._end_proof()

    def closed(self, why: str, now: float, *, denied: bool = False, unaccepted: bool = False) -> None:
        """Take the end of the connection itself.

        `denied`: the server is there and does not accept us any more. `unaccepted`: the kernel took nothing of ours.
        """
        if unaccepted and not self.request.started:
            self._judge(Fate.NOT_RUN, why)
        self._lost_link = why or "the connection broke"
        self.outage.closed()
        if denied:
            # It would not tell us of the kernel, either.
            self._conclude_link(server_alive=True)
        self._heard = now
        self._asked_server_at = now - timing.current.ask_server_after

    def server_says(
        self, state: str | None, now: float, *, connections: int | None = None, asked_at: float = 0.0, there: str = ""
    ) -> None:
        """Take the server's answer: the kernel's `execution_state`, None for 404, "" for no answer.

        `connections` is how many it has to the kernel, None if it does not say; it was asked at `asked_at`. `there`
        names, after a 404, the kernels that the server has instead.
        """
        if self.verdict is not None:
            return
        if self._proof is not None and state:
            self._proof.server_says(connections, asked_at)
        if self._asks_who(now):
            self._server_gone, self._not_there = state == "", state is None
        elif state is None and self.outage.happened:
            self._conclude_gone(f"disappeared from its server ({there or 'which has no kernel now'})")
        elif state is None or state == "dead":
            self._conclude_gone(Sign.DEAD.told if state else "was shut down or deleted", comes_back=bool(state))
        elif self._lost_link:
            self._conclude_link(server_alive=bool(state))
        elif state == "idle" or (state == "starting" and self.request.started):
            # A server before a gateway says "starting" for ever.
            self._idle_answers += 1
            self._idle_since_asked = True
        else:
            self._idle_answers = 0

    def heartbeat(self, beats: bool | None, greets: bool | None = None) -> None:
        """Take what the kernel's heartbeat said, None where nobody can ask it.

        `greets`: whether its Python runs, too; None where that is not known.
        """
        self._heart.take(beats, greets)

    def asked_kernel(self, msg_id: str, now: float) -> None:
        """Take the `msg_id` of the question that `Action.ASK_KERNEL` wanted sent."""
        self._probe, self._probed_at = msg_id, now
        self._idle_since_asked = False
        self._probed_behind = self.request.reply is not None
        if self._probe_at is None:
            self._probe_at = now

    def interrupt(self, now: float) -> list[Event | Action]:
        """Take one interrupt of the user: the first one over there if our cell runs, else only here (H4)."""
        if self.verdict is not None:
            return []
        if self.outage.is_down:
            return list(self._leave(f"{self.outage.words}, and no longer waited for"))
        if self._proof is not None:
            self._judge_unconfirmed()
            return []
        if not self.request.started:
            told = self._told_queued if self.begun is False else None
            what = _UNCONFIRMED if told is None else _QUEUED.format(behind=_behind(told))
            self._judge(Fate.LEFT_RUNNING, f"{self._kernel}: {what}")
            return []
        first = self._interrupted_at is None
        if first:
            self._interrupted_at = now
        if not self._has_ended:
            return [Action.INTERRUPT] if first else list(self._leave("no longer waiting"))
        return [] if first else list(self._leave_ended())

    def leave(self, why: str) -> list[Event]:
        """Take that nobody here waits any longer, and why: the cell goes on over there."""
        if self.verdict is not None:
            return []
        return self._leave(f"{why} while the link was down" if self.outage.is_down else why)

    def _leave(self, why: str, *, timed_out: bool = False) -> list[Event]:
        if self._has_ended:
            return self._leave_ended()
        state = _STILL[self.begun]
        if self.request.started and self.outage.is_down:
            state = "the cell may still be running there"
        rest = f". {state[0].upper()}{state[1:]}" if timed_out else f"; {state}"
        self._judge(Fate.LEFT_RUNNING, f"{self._kernel}: {why}{rest}", timed_out=timed_out)
        return self._release()

    @property
    def _has_ended(self) -> bool:
        """Whether the kernel has ended the cell, though not all that tells how is in."""
        return self.request.idle or self.request.reply is not None or self._record_due is not None

    @property
    def begun(self) -> bool | None:
        """Whether the cell has begun; None if nobody can tell."""
        fate = None if self.verdict is None else self.verdict.fate
        if fate is Fate.NOT_RUN:
            return False  # though the kernel says busy and idle of a cell that it passes over
        if self.request.started or fate in (Fate.OK, Fate.FAILED):
            return True  # of one that has ended the first message may be lost
        if fate not in (None, Fate.LEFT_RUNNING):
            return None
        # No busy after all that time: before that it may be on its way.
        return False if self._told_queued is not None and not self.outage.happened else None

    def _rest_may_come(self, now: float) -> bool:
        """Return whether the rest of a cell that has ended may still be on its way: idle and reply go separate ways."""
        halfway = self._has_ended and not self.request.done
        return halfway and not self.outage.is_down and now - self._heard < timing.current.reply_grace

    def _leave_ended(self) -> list[Event]:
        """The cell is over, and nobody wants to wait for the rest of what it sent."""
        if self.request.reply is not None:
            return [*self._release(), *self._finish_without_idle()]
        what = "has ended the cell, but its reply was not waited for"
        self._judge_unknown(f"{self._kernel} {what}. {_CHECK.capitalize()}")
        return self._release()

    # -- time

    def tick(self, now: float) -> list[Event | Action]:
        """Say what is to be done or shown now that nothing comes. Call it a few times a second."""
        if self.verdict is not None:
            return []
        if self._deadline is not None and now >= self._deadline and not self._rest_may_come(now):
            return list(self._leave(f"no result within {self._timeout:g} s", timed_out=True))
        if self._link_is_given_up(now):
            return list(self._give_link_up())
        if self._server_gone and self._sign is Sign.SHUTDOWN:
            self._conclude_sign(self._sign)
            return []
        if self._asks_who(now):
            return self._tick_who(now)
        if self._not_there:
            self._not_there = False
            self.server_says(None, now)
            return []
        if self.outage.is_down:
            return list(self.outage.tick(now, self.reconnect_timeout))
        if self._probe_answered_at is not None and now - self._probe_answered_at >= timing.current.settle:
            return self._conclude_probe(now)
        if self._proof is not None:
            return self._tick_proof(self._proof, now)
        if self._record_due is not None and self.request.reply is None:
            return list(self._conclude_unrecorded(now)) if self._unrecorded or now >= self._record_due else []
        silent = now - self._heard
        if self._doubtful is not None and self.request.done:
            return list(self._tick_doubt(silent))
        if self._held_back and self._sign is None and silent >= timing.current.shutdown_reply:
            return list(self._release())
        if self._idle_is_due() and min(silent, now - self._receiving_at) >= timing.current.reply_grace:
            if self._idle_is_given_up(silent):
                return list(self._finish_without_idle())
            if not self._probed_behind:
                return [Action.ASK_KERNEL]
        if self._ending or (self.request.idle and silent >= timing.current.settle):
            steps = self._tick_ending(now, silent)
            if steps or self.verdict is not None:
                return steps
        return [*self._tick_notes(now), *self._tick_questions(now, silent)]

    def _link_is_given_up(self, now: float) -> bool:
        limit, since = self.reconnect_timeout, self.lost_since
        return limit is not None and since is not None and now - max(since, self._sent) >= limit

    def _give_link_up(self) -> list[Event]:
        """The link gave no sign for as long as it was to be waited for."""
        self.gave_link_up = True
        if self._sign is not None:
            self._conclude_sign(self._sign)
            return []
        self._doubtful = None
        if self.request.reply is not None:
            return [*self._release(), *self._finish_without_idle()]
        limit = spoken(self.reconnect_timeout or 0.0)
        lost = f"{self.outage.words}, not back within {limit}"
        what = lost if self.outage.is_down else f"nothing was heard from its server for {limit}"
        self._judge_unknown(f"{self._kernel}: {what}. {self._may_go_on}")
        return self._release()

    def _asks_who(self, now: float) -> bool:
        """Whether it is still open who shut the kernel down: a client by its server, or its server, which ends."""
        recent = now - self._signed_at < timing.current.server_end
        return self._sign is Sign.SHUTDOWN and self._served and recent and not self._server_gone

    def _tick_who(self, now: float) -> list[Event | Action]:
        if now - self._asked_server_at < timing.current.ask_server_again:
            return []
        self._asked_server_at = now
        return [Action.ASK_SERVER]

    def _idle_is_due(self) -> bool:
        return self.verdict is None and self.request.reply is not None and not self.request.idle

    def _idle_is_given_up(self, silent: float) -> bool:
        """Whether nothing can show any more that the cell's idle was lost.

        Silence does not: a server was seen to hand on a message of 20 MB, and the IOPub of ten clients, seconds after
        the replies. What the kernel says on IOPub of a question that was asked behind the reply does.
        """
        return bool(self._lost_link) or self._sign is not None or silent >= timing.current.iopub_backlog

    @property
    def wants_proof(self) -> bool:
        """Whether it is time to count what may have been the cell's messages, and to give that to `proven`."""
        return self._wants_proof

    def proven(self, unexplained: int | None) -> None:
        """Take how many messages may have been the cell's, see `Ledger.unexplained`."""
        if unexplained is not None and unexplained < MESSAGES_OF_A_CELL:
            self._judge(Fate.NOT_RUN, f"{self._kernel}: the link was lost before the cell reached the kernel; {_SAFE}")
        else:
            self._judge_unconfirmed()
        self._end_proof()

    def _tick_proof(self, proof: Proof, now: float) -> list[Event | Action]:
        step = proof.tick(now)
        if step is Step.ASK_SERVER:
            return [Action.ASK_SERVER]
        if step is Step.ASK_KERNEL:
            return [Action.ASK_KERNEL]
        if step is Step.COUNT:
            self._wants_proof = True
        elif step is Step.GIVE_UP:
            self._judge_unconfirmed()
        return []

    def _end_proof(self) -> None:
        self._proof, self._wants_proof = None, False

    def _judge_unconfirmed(self) -> None:
        self._judge_unknown(f"{self._kernel}: the link was lost before the kernel confirmed the cell. {_MAY_HAVE_RUN}")

    def _tick_ending(self, now: float, silent: float) -> list[Event | Action]:
        """Signs of the end are in, or our idle without a reply: conclude, once everything is in."""
        if silent < timing.current.settle:
            return []
        if self._sign is not None and (self.request.started or self._sign is Sign.DEAD):
            self._conclude_sign(self._sign)
        elif self._probe_at is None:
            if self._lost_link:
                self._conclude_sign(self._sign or Sign.LEFT)
                return []
            wait = 0.0 if self._ending else timing.current.reply_grace
            return [Action.ASK_KERNEL] if silent >= wait else []
        elif now - self._probe_at >= timing.current.kernel_answer:
            self._judge_unknown(f"{self._kernel} does not say whether it ran the cell. {_MAY_HAVE_RUN}")
        return []

    def _tick_doubt(self, silent: float) -> list[Event]:
        """The cell ended with a KeyboardInterrupt: somebody's interrupt, or the first act of a shutdown?"""
        if self._sign is None and silent < timing.current.shutdown_reply:
            return []
        self._doubtful = None
        if self._sign is not None:
            self._judge_died(self._how(self._sign), comes_back=self._sign.comes_back)
            return []
        return [*self._release(), *self._finish()]

    def _tick_notes(self, now: float) -> list[Event]:
        if not self.request.started and not self.unread and self._waits_for != self._told_queued:
            known_for = now - self._waits_since  # what is over at once is not worth a line
            silent = now - self._sent >= (
                timing.current.queued_after_free if self.free else timing.current.queued_after
            )
            if silent if self._told_queued is None else known_for >= timing.current.queued_after:
                self._told_queued = self._waits_for
                return [self._waits_for]
        if (note := self._heart.note()) is not None:
            return [note]
        if self._interrupted_at is not None and now - self._interrupted_at >= timing.current.slow_interrupt:
            self._interrupted_at = float("inf")
            return [Note(_SLOW)]
        return []

    def _tick_questions(self, now: float, silent: float) -> list[Event | Action]:
        questions: list[Event | Action] = []
        if self._sign is Sign.RESTART and min(silent, now - self._probed_at) >= timing.current.ask_kernel_again:
            # The new life's first words are often lost: who reads the kernel's IOPub has to subscribe anew. An answer
            # from behind our cell says that its life is over; the old life gives none before the cell's reply.
            questions.append(Action.ASK_KERNEL)
        elif self._probe and self._idle_since_asked and now - self._probed_at >= timing.current.kernel_answer:
            if self.outage.happened:
                # The question may have gone with the link as well; only a busy kernel need not answer for so long.
                questions.append(Action.ASK_KERNEL)
            elif not self._told_mute:
                # No verdict: a busy kernel may be called so, once anybody has asked it something on control.
                self._told_mute = True
                questions.append(Note(_MUTE))
        elif self._idle_answers >= 2 and self._probe_at is None:
            # "idle" alone proves nothing (FACTS 15). An answer from behind our cell does.
            questions.append(Action.ASK_KERNEL)
        if (
            silent >= (0.0 if self._lost_link else timing.current.ask_server_after)
            and now - self._asked_server_at >= timing.current.ask_server_after
        ):
            self._asked_server_at = now
            questions.append(Action.ASK_SERVER)
        return questions

    # -- conclusions

    def _begin(self) -> list[Event]:
        """The cell has begun. Tell of an end of the kernel that was before, once, if people do not know of it."""
        if self._ending and self._sign is not None:
            news = f"{told_of('', self._sign.told)} {_IN_THE_NEW_ONE}"
            self._ending, self._sign = False, None
        elif self._awaited is not None and self._awaited not in ANNOUNCED:
            news = since_the_last_cell(self._awaited)
        else:
            return []  # what was announced may end this very cell
        known, self.end_is_told = self.end_is_told, True
        return [] if known else [Note(news)]

    @property
    def untold(self) -> Sign | None:
        """Of a cell that is judged: the sign of an end before it that nothing has told of."""
        return None if self.end_is_told else self._awaited

    def _release(self, event: Event | None = None) -> list[Event]:
        """Give what was held back, now or where `event` shows something behind it."""
        if isinstance(event, Started):
            return []
        held, self._held_back = self._held_back, []
        return held

    def _read(self, event: Event) -> Event | None:
        if isinstance(event, Error) and event.ename == "KeyboardInterrupt" and self._interrupted_at is None:
            # A shutdown interrupts the cell first: that is its sign, not the user's interrupt (F4, F11). Older
            # servers' shutdown_reply comes after it.
            self._doubtful = event
            self._held_back = [event]
            return None
        if isinstance(event, Stream) and event.name == "stderr" and is_rate_limit(event.text):
            return self.losses.limit(event.text)
        return event

    def _finish(self) -> list[Event]:
        events = self._judge_reply()
        ended = self.verdict is not None and self.verdict.fate in (Fate.OK, Fate.FAILED)
        if ended and not self.request.started and not self.outage.happened:
            # Seen where a kernel had just been restarted: the server subscribes anew, and what comes before is lost.
            events.append(self.losses.uncounted(NO_BUSY))
        return events

    def _judge_reply(self) -> list[Event]:
        request = self.request
        if request.status == "aborted" and self._was_never_entered():
            why = "skipped the cell after another client's cell failed or was interrupted"
            self._judge(Fate.NOT_RUN, f"{self._kernel} {why}; {_SAFE}")
        elif request.status == "aborted":
            error = request.error or Error("KeyboardInterrupt", "")
            events: list[Event] = [] if request.error else [error]
            request.error = error
            self._judge(Fate.FAILED)
            return events
        elif request.status == "error":
            error_only_in_reply = request.conclude_error()
            self._judge(Fate.FAILED)
            return [error_only_in_reply] if error_only_in_reply else []
        elif request.error is not None and not self._believes_ok:
            self._judge(Fate.FAILED)
        else:
            # An error that was shown and caught, by `%run` say, is output as any other.
            self._judge(Fate.OK)
        return []

    def _was_never_entered(self) -> bool:
        """Whether an aborted cell was passed over: ipykernel says busy and idle of that, too, and nothing else."""
        if not self.request.started:
            return True
        # bash_kernel calls a cell aborted that was interrupted while it ran.
        seen = self.request.entered or self.shown or self._interrupted_at is not None
        return not seen and not self.outage.happened

    def _finish_without_idle(self) -> list[Event]:
        # Above 4000 messages a second the kernel's own queue loses even the idle (FACTS 13). IRkernel sends
        # none for a request that it aborted.
        events = self._finish()
        if self.verdict is not None and self.verdict.fate in (Fate.OK, Fate.FAILED):
            self._idle_lost = not self.request.idle
        return events

    def _pass_idle(self, message: Message, now: float) -> list[Event]:
        """IOPub has come to a question from behind the cell's reply: the cell's idle was lost."""
        if not self.outage.happened:
            return self._finish_without_idle()
        # What the link has lost is counted up to here, once all of it is in.
        self._idle_passed = True
        self._take_probe(message, now)
        return []

    @property
    def _lacks_reply(self) -> bool:
        """Whether the cell has begun and ended, and its reply is not in."""
        return self.request.entered and self.request.idle and self.request.reply is None

    def _take_later(self, message: Message, now: float) -> None:
        """IOPub speaks of a question from behind the cell."""
        self._completion.receive_later(message)
        answered = message.execution_state == "idle" and self._probe_answered_at is None
        if answered and self._lacks_reply and not self.outage.happened:
            self._probe_answered_at = now  # that answer may be lost as well

    def _take_probe(self, message: Message, now: float) -> None:
        if not self.outage.happened and not self._lacks_reply:
            self._conclude_probe(now)
            return
        if self._proof is not None:
            self._proof.answered(now)
            return
        # What the server gives again, and what the kernel sends on IOPub, may come behind this answer.
        self._probe_answered_at, self._heard = now, now
        self._probe_seen = True
        if not self.request.done:
            self.behind = message.msg_id

    def _conclude_probe(self, now: float) -> list[Event | Action]:
        self._probe_answered_at = None
        if self.verdict is not None:
            return []
        if self.request.reply is not None:
            return list(self._finish_without_idle()) if self._idle_passed else []
        if self._arrived:
            if self._sign is not None:
                self._conclude_sign(self._sign)
            elif not self.outage.happened and not self._lacks_reply:
                self._judge_unknown(f"{self._kernel} {_REPLY_LOST}")
            elif self._record_due is None:
                self._record_due = now + timing.current.kernel_answer
                if self.remembers:
                    return [Action.ASK_RECORD]
                return list(self._conclude_unrecorded(now))
        elif self._sign is not None and (self.outage.happened or self._sign not in ANNOUNCED):
            # The new life did not run it. The old one may have: a process that crashes takes along what its
            # IOPub thread has not sent, our `busy` too (seen with `os._exit` as the cell's first act).
            self._conclude_sign(self._sign)
        elif self.outage.happened:
            # It may be on its way still, by the connection that broke.
            self._proof = Proof(now)
        else:
            self._judge_not_run(self._sign)
        return []

    def kernel_recorded(self, reply: dict[str, Any] | None, now: float) -> list[Event]:
        """Take the reply that the cell had, as its kernel remembers it; None if it does not."""
        if self.verdict is not None or self._record_due is None or self.request.reply is not None:
            return []
        return self._conclude_unrecorded(now) if reply is None else self._stand_in(reply, _RECORDED)

    def record_heard(self, message: Message, now: float) -> None:
        """Take IOPub's word of the question for the record: that is over, though its answer may be lost as well."""
        self._completion.receive_later(message)
        if message.execution_state == "idle" and self._record_due is not None:
            self._record_due = min(self._record_due, now + timing.current.record_grace)

    def _conclude_unrecorded(self, now: float) -> list[Event]:
        """The kernel does not remember how the cell ended: what it said on IOPub must do, if that is enough."""
        self._unrecorded = True
        faultless = self.request.error is None and not self.losses.limited and self._completion.is_whole
        if faultless and self._completion.is_proven:
            return self._stand_in({"status": "ok"}, _COMPLETED)
        in_time = self._record_due is not None and now < self._record_due
        if not (faultless and self._completion.is_awaited and in_time):
            self._judge_unknown(f"{self._kernel} {_REPLY_LOST}")
        return []

    def _stand_in(self, reply: dict[str, Any], why: str) -> list[Event]:
        """Take what stands for the reply that was lost, and say why it may."""
        self.request.reply, self._reply_lost = reply, True
        self._doubtful = None
        note = Note(f"the cell's reply was lost{' with the link' if self.outage.happened else ''}, {why}")
        return [note, *self._release(), *self._judge_reply()]

    def _conclude_sign(self, sign: Sign) -> None:
        """The kernel that had our cell is no more: a sign says so."""
        self._conclude_gone(self._how(sign), comes_back=sign.comes_back)

    def _how(self, sign: Sign) -> str:
        return "was shut down with its server" if sign is Sign.SHUTDOWN and self._server_gone else sign.told

    def _conclude_gone(self, how: str, *, comes_back: bool = True) -> None:
        """The kernel that had our cell is no more. `how` is said of it, see `Sign.told`."""
        if self.request.reply is not None and self._doubtful is None:
            self._finish()
        elif self.request.started:
            if self._sign in ANNOUNCED:  # it was said before, and by whom
                how, comes_back = self._how(self._sign), self._sign.comes_back
            self._judge_died(how, comes_back=comes_back)
        elif self._sign in ANNOUNCED and not self.outage.happened:
            # It said goodbye on the same socket on which our `busy` would have come before.
            self._judge_not_run(self._sign)
        else:
            self.end_is_told = True
            what = told_of(self._kernel, how.replace("its kernel process", "the kernel"))
            self._judge_unknown(f"{what} before confirming the cell. {_MAY_HAVE_RUN}", alive=False)

    def _conclude_link(self, *, server_alive: bool) -> None:
        if self._sign is not None:
            self._conclude_sign(self._sign)
        elif server_alive or not self._here:
            what = "link lost" if server_alive else "its server stopped answering"
            self._judge_unknown(f"{self._kernel}: {what} ({self._lost_link}). {self._may_go_on}")
        else:
            self._conclude_gone("its server stopped, and the kernel with it,")

    @property
    def _may_go_on(self) -> str:
        return f"The cell may {'still be running' if self.request.started else 'have run'}: {_CHECK}"

    def _judge_died(self, how: str, *, comes_back: bool) -> None:
        self.end_is_told = True
        rest = f". {_GONE}" if comes_back else f"; {_NO_KERNEL}"
        incomplete = " (output above may be incomplete)" if "restarted" in how else ""
        self._judge(Fate.DIED, f"{told_of(self._kernel, how)} during this cell{incomplete}{rest}")

    def _judge_not_run(self, sign: Sign | None) -> None:
        if sign is None:
            self._judge(Fate.NOT_RUN, f"{self._kernel} has answered a later request and never began this one; {_SAFE}")
            return
        self.end_is_told = True
        rest = _GONE if sign.comes_back else _NO_KERNEL.capitalize()
        self._judge(
            Fate.NOT_RUN, f"{told_of(self._kernel, self._how(sign))} while the cell was queued; {_SAFE}. {rest}"
        )

    def _judge_unknown(self, what: str, *, alive: bool | None = None) -> None:
        """Nobody can tell how the cell ended. `alive` is whether the kernel that had it goes on, None for not known."""
        self.variables = alive if alive is not None or self.request.reply is not None else self._completion.goes_on
        self._judge(Fate.UNKNOWN, f"{what}. {_VARIABLES[self.variables]}")

    def _judge(self, fate: Fate, reason: str = "", *, timed_out: bool = False) -> None:
        if self.verdict is None:
            self.verdict = Verdict(fate, reason, timed_out)


def _behind(queued: Queued) -> str:
    """Say what a cell is queued behind; "" where that is not known."""
    if not queued.since and not queued.ours:
        return ""
    whose = "your earlier cell" if queued.ours else "another client's cell"
    return f" (behind {whose})" if queued.sure else f" (probably behind {whose})"


def _weight(event: Event) -> int:
    if isinstance(event, Stream):
        return event.text.count("\n")
    return int(type(event).__name__ in ("DisplayData", "ExecuteResult", "Error", "Page"))
