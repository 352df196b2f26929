"""The rules R1 to R8 as data: what comes, and what is concluded of it. tests/faults/README.md is made of this.

`RULES` names the module that keeps each rule. What the modules do, row by row, is in `CELL` (`watch.CellWatch`),
`SIGNS` (`life.Life`) and `CONNECTION` (`patience.Silence`). tests/fate/test_rules.py plays every row with a clock of
its own: a row that is not true fails there. Seconds are counted from the last thing that comes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kernel_bridge_magic.choices import RECONNECT
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.patience import SilenceStep
from kernel_bridge_magic.fate.verdicts import Action

#: Each rule: what it says, and the module that keeps it.
RULES = {
    "R1": ("a cell is done when its reply and its idle are in, in either order", "protocol/request"),
    "R2": ("its fate is always one of ok, failed, not run, died, unknown, left running", "fate/watch"),
    "R3": ("at most once: nothing here has an action that sends a cell", "fate/watch"),
    "R4": ("the kernel is gone when it, its server or its session says so", "fate/life"),
    "R5": (
        "in silence the server and the heart are asked; the kernel only behind the cell, never on control",
        "fate/watch",
    ),
    "R6": (
        'loss is never silent: it is counted, exactly or as "up to", never too small, or said not to be countable',
        "fate/ledger",
    ),
    "R7": (
        "a silent connection is kept until a new one is answered and it still is silent, or for 90 s; "
        "one that is lost is tried again for 5 minutes since its last sign, then its cell is unknown",
        "fate/patience",
    ),
    "R8": ("clocks are monotonic; a machine that slept asks at once", "fate/patience"),
}


class Comes(enum.Enum):
    """What may come while a cell is watched."""

    NOTHING = "nothing"
    BUSY = "its busy"
    INPUT = "its execute_input"
    REPLY = "its reply"
    ERROR = "its reply: error"
    ERROR_SHOWN = "its error message"
    ABORTED = "its reply: aborted"
    IDLE = "its idle"
    KEYBOARD_INTERRUPT = "a KeyboardInterrupt that we did not ask for"
    DROPPED = "the server's word that it drops output"
    RESTARTING = "server: restarting"
    LEFT = "the kernel's sockets close"
    NEW_LIFE = "a new session"
    DEAD = "server: dead"
    SHUTDOWN = "goodbye (shutdown)"
    RESTART = "goodbye (restart)"
    ANSWER = "the kernel's answer from behind the cell"
    WORD = "the kernel's word, on IOPub, of a question from behind the reply"
    LATER = "its idle for a question from behind the cell"
    LATER_LIFE = "the same, from another process"
    REMEMBERS = "the kernel, asked once more, remembers its end"
    REMEMBERS_ERROR = "the kernel, asked once more, remembers an error"
    FORGOT = "the kernel, asked once more, does not"
    ALONE = "server asked: one connection, ours"
    CROWDED = "server asked: another connection"
    TOO_FEW = "fewer numbers never came than a cell makes"
    ENOUGH = "as many numbers never came as a cell makes"
    GONE = "server asked: 404"
    MODEL = "server asked: busy"
    IDLE_TWICE = "server asked: idle, twice"
    NOBODY = "server asked: no answer"
    NOBODY_THERE = "a server that we do not see, asked: no answer"
    HEART_STOPS = "no heartbeat, twice"
    NO_GREETING = "a heartbeat and no greeting (its Python is not running), twice"
    BREAKS = "the link breaks"
    BACK = "the link is back"
    CLOSED = "the link is closed for good"
    NO_SIGN = "no sign of the server, by a link that did not break"
    GAP = "three numbers never came"
    NUMBERS = "this kernel numbers what it sends"
    HOLE = "two numbers in a row never came"
    NO_NUMBERS = "this kernel numbers nothing"
    NO_RECORD = "this kernel cannot be asked how a cell ended"
    FREE = "this kernel was last heard to end a cell"
    INTERRUPT = "Ctrl-C"
    TIME_IS_UP = "the time that was given is up"
    LEAVE = "our process is told to end"


@dataclass(frozen=True, slots=True)
class Row:
    """What is concluded of a cell: in `state` these things come in their order, and `seconds` later this follows.

    `state` is `sent` (the kernel has not begun) or `running`. What follows is a fate, or a question, and some words.
    """

    rule: str
    state: str
    comes: tuple[Comes, ...]
    seconds: float = 0.0
    fate: Fate | None = None
    asks: Action | None = None
    says: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """What is done about a connection that says nothing for `seconds`: this `step` is taken, or these words are said.

    `running`: a cell is under way. `answered`: a new connection is answered. `slept`: for how many seconds this machine
    slept just before.
    """

    rule: str
    running: bool
    answered: bool
    seconds: float
    step: SilenceStep | str
    slept: float = 0.0


SENT, RUNNING = "sent", "running"
C, T = Comes, timing.current
_PING = T.ping_running + T.ping_answer
_LONG = 8 * 3600.0
_BACK = (C.BREAKS, C.BACK, C.ANSWER)
_BARE = (C.NUMBERS, C.INPUT, C.IDLE)  # no reply
_LOST, _SAFE = "the reply that says how is lost", "it is safe to run it again"
_CHECK, _REMEMBERS = "It may have run: check", "remembers how the cell ended"
_SAYS_NOTHING, _STILL = "does not say whether it ran", "no result within 30 s. The cell is still"
_ENDED = "its kernel process ended during this cell. Its variables are gone"
_SHUT_DOWN = "shut down by another client during this cell; it has no kernel now"

#: What `CellWatch` makes of what comes.
CELL = (
    Row("R1", RUNNING, (C.REPLY, C.IDLE), fate=Fate.OK),
    Row("R1", RUNNING, (C.IDLE, C.REPLY), fate=Fate.OK),
    Row("R1", RUNNING, (C.REPLY,), T.reply_grace, asks=Action.ASK_KERNEL),
    Row("R1", RUNNING, (C.REPLY, C.WORD), fate=Fate.OK),
    Row("R1", RUNNING, (C.REPLY,), T.iopub_backlog, fate=Fate.OK),
    Row("R1", RUNNING, (C.IDLE,), T.reply_grace, asks=Action.ASK_KERNEL),
    Row("R1", RUNNING, (C.IDLE, C.ANSWER), fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (C.IDLE,), T.reply_grace + T.kernel_answer, fate=Fate.UNKNOWN, says=_SAYS_NOTHING),
    Row("R1", RUNNING, (*_BARE, C.LATER), T.settle, asks=Action.ASK_RECORD),
    Row("R1", RUNNING, (*_BARE, C.ANSWER), T.settle, asks=Action.ASK_RECORD),
    Row("R1", RUNNING, (*_BARE, C.LATER, C.ERROR), fate=Fate.FAILED),
    Row("R1", RUNNING, (*_BARE, C.LATER, C.REMEMBERS), fate=Fate.OK, says=_REMEMBERS),
    Row("R1", RUNNING, (*_BARE, C.LATER, C.REMEMBERS_ERROR), fate=Fate.FAILED, says=_REMEMBERS),
    Row("R1", RUNNING, (*_BARE, C.LATER, C.FORGOT), fate=Fate.OK, says="ran to its end"),
    Row("R1", RUNNING, (C.NO_RECORD, *_BARE, C.LATER), T.settle, fate=Fate.OK, says="ran to its end"),
    Row("R1", RUNNING, (C.NO_RECORD, *_BARE, C.ANSWER), T.settle + T.kernel_answer, fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (*_BARE, C.LATER_LIFE, C.FORGOT), fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (C.INPUT, C.IDLE, C.LATER, C.FORGOT), fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (C.NUMBERS, C.IDLE, C.ANSWER), fate=Fate.UNKNOWN, says=_LOST),
    Row(
        "R1", RUNNING, (C.NUMBERS, C.INPUT, C.ERROR_SHOWN, C.IDLE, C.LATER, C.REMEMBERS_ERROR), fate=Fate.FAILED,
        says=_REMEMBERS,
    ),
    Row("R1", RUNNING, (C.NUMBERS, C.INPUT, C.ERROR_SHOWN, C.IDLE, C.LATER, C.FORGOT), fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (C.NUMBERS, C.INPUT, C.HOLE, C.IDLE, C.LATER, C.FORGOT), fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (C.DROPPED, *_BARE, C.LATER, C.FORGOT), fate=Fate.UNKNOWN, says=_LOST),
    Row("R1", RUNNING, (*_BARE, C.RESTARTING), T.settle, fate=Fate.DIED, says=_ENDED),
    Row("R1", SENT, (C.REPLY, C.IDLE), fate=Fate.OK, says="start-of-cell message is missing"),
    Row("R2", SENT, (C.NOTHING,), T.queued_after, says="Queued"),
    Row("R2", SENT, (C.FREE,), T.queued_after_free, says="Queued"),
    Row("R2", RUNNING, (C.ERROR, C.IDLE), fate=Fate.FAILED),
    Row("R2", RUNNING, (C.KEYBOARD_INTERRUPT, C.ERROR, C.IDLE), T.shutdown_reply, fate=Fate.FAILED),
    Row("R2", SENT, (C.ABORTED, C.IDLE), fate=Fate.NOT_RUN, says=_SAFE),
    Row("R2", SENT, (C.BUSY, C.ABORTED, C.IDLE), fate=Fate.NOT_RUN, says=_SAFE),
    Row("R2", SENT, (C.BUSY, C.INPUT, C.ABORTED, C.IDLE), fate=Fate.FAILED),
    Row("R2", SENT, (C.INTERRUPT,), fate=Fate.LEFT_RUNNING, says="so it was not interrupted; it may run there"),
    Row("R2", RUNNING, (C.INTERRUPT,), asks=Action.INTERRUPT),
    Row("R2", RUNNING, (C.INTERRUPT,), T.slow_interrupt, says="Ctrl-C again to leave it running there"),
    Row(
        "R2", RUNNING, (C.INTERRUPT, C.INTERRUPT), fate=Fate.LEFT_RUNNING,
        says="no longer waiting; the cell is still running there",
    ),
    Row("R2", SENT, (C.TIME_IS_UP,), fate=Fate.LEFT_RUNNING, says=f"{_STILL} queued there"),
    Row("R2", RUNNING, (C.TIME_IS_UP,), fate=Fate.LEFT_RUNNING, says=f"{_STILL} running there"),
    Row("R2", RUNNING, (C.REPLY, C.TIME_IS_UP), fate=Fate.OK),
    Row("R2", RUNNING, (C.NO_RECORD, *_BARE, C.LEAVE), fate=Fate.UNKNOWN, says="has ended the cell"),
    Row("R2", SENT, (C.LEAVE,), fate=Fate.LEFT_RUNNING, says="may run there"),
    Row("R2", RUNNING, (C.LEAVE,), fate=Fate.LEFT_RUNNING, says="is still running there"),
    Row("R2", RUNNING, (C.REPLY, C.LEAVE), fate=Fate.OK),
    Row("R3", SENT, (C.BREAKS, C.BACK), asks=Action.ASK_KERNEL),
    Row("R3", SENT, _BACK, T.settle, asks=Action.ASK_SERVER),
    Row("R3", SENT, (*_BACK, C.CROWDED), T.proof, fate=Fate.UNKNOWN, says=_CHECK),
    Row("R3", SENT, (*_BACK, C.ALONE), T.socket_linger, asks=Action.ASK_KERNEL),
    Row("R3", SENT, (*_BACK, C.ALONE, C.ANSWER), asks=Action.ASK_KERNEL),
    Row("R3", SENT, (*_BACK, C.ALONE, C.ANSWER, C.ANSWER, C.TOO_FEW), fate=Fate.NOT_RUN, says=_SAFE),
    Row("R3", SENT, (*_BACK, C.ALONE, C.ANSWER, C.ANSWER, C.ENOUGH), fate=Fate.UNKNOWN, says=_CHECK),
    Row("R3", SENT, (C.RESTARTING, C.ANSWER), fate=Fate.UNKNOWN, says=_CHECK),
    Row("R3", SENT, (C.RESTARTING, C.BUSY), says="process ended before this cell began"),
    Row("R4", RUNNING, (C.RESTARTING,), T.settle, fate=Fate.DIED, says=_ENDED),
    Row("R4", RUNNING, (C.LEFT,), T.settle, fate=Fate.DIED, says=_ENDED),
    Row("R4", RUNNING, (C.NEW_LIFE,), T.settle, fate=Fate.DIED, says="was restarted during this cell"),
    Row("R4", RUNNING, (C.DEAD,), T.settle, fate=Fate.DIED, says="ended for good during this cell"),
    Row(
        "R4", RUNNING, (C.RESTART, C.KEYBOARD_INTERRUPT, C.IDLE), T.settle, fate=Fate.DIED,
        says="was restarted by another client",
    ),
    Row("R4", RUNNING, (C.RESTART,), T.ask_kernel_again, asks=Action.ASK_KERNEL),
    Row(
        "R4", RUNNING, (C.RESTART, C.ANSWER), fate=Fate.DIED,
        says="restarted by another client during this cell (output above may be incomplete). Its",
    ),
    Row("R4", RUNNING, (C.SHUTDOWN,), T.ask_server_again, asks=Action.ASK_SERVER),
    Row("R4", RUNNING, (C.SHUTDOWN, C.KEYBOARD_INTERRUPT, C.IDLE), T.server_end, fate=Fate.DIED, says=_SHUT_DOWN),
    Row(
        "R4", RUNNING, (C.SHUTDOWN, C.KEYBOARD_INTERRUPT, C.IDLE, C.NOBODY), fate=Fate.DIED,
        says="was shut down with its server",
    ),
    Row("R4", RUNNING, (C.SHUTDOWN, C.GONE), T.server_end, fate=Fate.DIED, says=_SHUT_DOWN),
    Row("R4", SENT, (C.SHUTDOWN, C.GONE), T.server_end, fate=Fate.NOT_RUN, says=_SAFE),
    Row("R4", SENT, (C.RESTART, C.ANSWER), fate=Fate.NOT_RUN, says=_SAFE),
    Row("R4", SENT, (C.RESTARTING,), T.settle, asks=Action.ASK_KERNEL),
    Row("R4", SENT, (C.RESTARTING,), T.settle + T.kernel_answer, fate=Fate.UNKNOWN, says=_SAYS_NOTHING),
    Row(
        "R4", SENT, (C.RESTARTING, C.RESTARTING, C.DEAD), T.settle, fate=Fate.UNKNOWN,
        says="the kernel ended for good before",
    ),
    Row("R4", RUNNING, (C.GONE,), fate=Fate.DIED, says="shut down or deleted"),
    Row("R4", SENT, (C.GONE,), fate=Fate.UNKNOWN, says=_CHECK),
    Row("R4", RUNNING, (C.BREAKS, C.GONE), fate=Fate.DIED, says="disappeared from its server"),
    Row("R5", RUNNING, (C.NOTHING,), T.ask_server_after, asks=Action.ASK_SERVER),
    Row("R5", RUNNING, (C.IDLE_TWICE,), asks=Action.ASK_KERNEL),
    Row("R5", RUNNING, (C.IDLE_TWICE, C.IDLE_TWICE), T.kernel_answer, says="hands nothing on"),
    Row("R5", RUNNING, (C.HEART_STOPS,), says="does not answer (suspended or swapping?)"),
    Row("R5", RUNNING, (C.NO_GREETING,), says="busy in native code?"),
    Row("R6", RUNNING, (C.GAP, C.REPLY, C.IDLE), fate=Fate.OK, says="3 messages missing (made faster"),
    Row("R6", RUNNING, (C.NO_NUMBERS, C.REPLY, C.WORD), fate=Fate.OK, says="end-of-cell message is missing"),
    Row("R6", RUNNING, (C.DROPPED,), says="drops output beyond its rate limit"),
    Row("R6", RUNNING, (C.DROPPED, C.GAP, C.REPLY, C.IDLE), fate=Fate.OK, says="3 messages missing (dropped by the"),
    Row(
        "R6", RUNNING, (C.DROPPED, C.NO_NUMBERS, C.REPLY, C.IDLE), fate=Fate.OK,
        says="some output was dropped by the server's rate",
    ),
    Row("R6", RUNNING, (C.BREAKS, C.BACK, C.GAP), T.stragglers, says="3 messages missing"),
    Row("R6", RUNNING, (C.BREAKS, C.BACK, C.GAP, C.REPLY, C.WORD), T.settle, fate=Fate.OK, says="3 messages"),
    Row("R6", RUNNING, (C.BREAKS, C.BACK, C.NO_NUMBERS), T.stragglers, says="cannot be told"),
    Row("R7", RUNNING, (C.BREAKS,), T.tell_link_is_down, says="It is tried again for 5 min"),
    Row("R7", RUNNING, (C.BREAKS,), RECONNECT, fate=Fate.UNKNOWN, says="not back within 5 min"),
    Row("R7", SENT, (C.BREAKS,), RECONNECT, fate=Fate.UNKNOWN, says="may have run"),
    Row("R7", RUNNING, (C.NO_SIGN,), RECONNECT, fate=Fate.UNKNOWN, says="nothing was heard"),
    Row("R7", RUNNING, (C.BREAKS, C.BACK, C.BREAKS), RECONNECT, fate=Fate.UNKNOWN, says="not back within"),
    Row("R7", RUNNING, (C.REPLY, C.BREAKS), RECONNECT, fate=Fate.OK),
    Row(
        "R7", RUNNING, (C.BREAKS, C.TIME_IS_UP), fate=Fate.LEFT_RUNNING,
        says="within 30 s. The cell may still be running there",
    ),
    Row("R7", RUNNING, (C.REPLY, C.BREAKS, C.INTERRUPT), fate=Fate.OK),
    Row("R7", RUNNING, (C.BREAKS, C.BACK), asks=Action.ASK_SERVER, says="back after"),
    Row("R7", RUNNING, _BACK, T.settle, asks=Action.ASK_RECORD),
    Row("R7", RUNNING, (*_BACK, C.REMEMBERS), fate=Fate.OK, says=_REMEMBERS),
    Row("R7", RUNNING, (*_BACK, C.FORGOT), fate=Fate.UNKNOWN, says=_LOST),
    Row("R7", RUNNING, (*_BARE, *_BACK, C.FORGOT, C.LATER), fate=Fate.OK, says="lost with the link, but the cell ran"),
    Row("R7", RUNNING, (C.NO_RECORD, *_BACK), T.settle, fate=Fate.UNKNOWN, says=_LOST),
    Row("R7", RUNNING, (C.BREAKS, C.INTERRUPT), fate=Fate.LEFT_RUNNING, says="may still be running there"),
    Row("R7", RUNNING, (C.CLOSED,), asks=Action.ASK_SERVER),
    Row("R7", RUNNING, (C.CLOSED, C.MODEL), fate=Fate.UNKNOWN, says="may still be running"),
    Row("R7", RUNNING, (C.CLOSED, C.NOBODY), fate=Fate.DIED, says="its server stopped, and the kernel with it,"),
    Row("R7", RUNNING, (C.CLOSED, C.NOBODY_THERE), fate=Fate.UNKNOWN, says="may still be running"),
)  # fmt: skip

#: What is a sign of the kernel's end, in the messages of a connection.
SIGNS = {
    "`shutdown_reply`, restart": EndSignal.RESTART,
    "`shutdown_reply`": EndSignal.SHUTDOWN,
    "`status: restarting`": EndSignal.RESTARTING,
    "`status: dead`": EndSignal.DEAD,
    "`header.session` is not the one that answered two requests, and not ours": EndSignal.NEW_LIFE,
}

#: What `Silence` makes of a connection on which nothing is heard.
CONNECTION = (
    ConnectionRow("R7", True, False, T.ping_running, SilenceStep.PING),
    ConnectionRow("R7", True, False, _PING, "last heard"),
    ConnectionRow("R7", True, False, _PING, SilenceStep.PROBE),
    ConnectionRow("R7", True, True, _PING + T.silent_beside_answer, SilenceStep.GIVE_UP),
    ConnectionRow("R7", True, False, T.silent_running, SilenceStep.GIVE_UP),
    ConnectionRow("R7", False, False, T.ping_idle, SilenceStep.PING),
    ConnectionRow("R7", False, False, T.ping_idle + T.silent_idle, SilenceStep.GIVE_UP),
    ConnectionRow("R8", True, True, 0.0, SilenceStep.PROBE, _LONG),
    ConnectionRow("R8", True, True, T.ping_answer, SilenceStep.GIVE_UP, _LONG),
    ConnectionRow("R8", False, False, T.ping_answer, SilenceStep.GIVE_UP, _LONG),
)
