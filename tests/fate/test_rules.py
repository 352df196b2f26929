"""Every row of the rules is true: it is played to the machine that it speaks of, with a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kernel_bridge_magic
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate.aftermath import MESSAGES_OF_A_CELL
from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.fate.life import EndSignal, Life
from kernel_bridge_magic.fate.patience import Silence, SilenceStep
from kernel_bridge_magic.fate.rules import (
    CELL,
    CONNECTION,
    RULES,
    RUNNING,
    SENT,
    SIGNS,
    Comes,
    ConnectionRow,
    Row,
)
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Event, Lost, Note, Queued
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.faults.table import rules
from tests.support.wire import CELL as CELL_ID
from tests.support.wire import KERNEL, OURS, entered, error, msg, reply, status, stream

TICK = 0.05
GIVEN = 30.0  # seconds, for a row whose time runs out
RATE = "IOPub data rate exceeded.\nThe Jupyter server will temporarily stop sending output\n"


class Player:
    """Plays what comes to a `CellWatch`; keeps all that it says and asks, with the time."""

    def __init__(self, row: Row) -> None:
        self.now = 1000.0
        self.row = row
        timeout = GIVEN if Comes.TIME_IS_UP in row.comes else None
        here = Comes.NOBODY_THERE not in row.comes
        self.watch = CellWatch(Request(CELL_ID), now=self.now, timeout=timeout, here=here)
        self.said: list[tuple[float, Event | Action]] = []
        self.asked = self.answered = 0
        self.number: int | None = None
        self.gap: Gap | str | None = ""
        self.counted = False
        if row.state == RUNNING:
            self.get(status("busy"))

    def keep(self, steps: list[Event] | list[Event | Action]) -> None:
        for step in steps:
            self.said.append((self.now, step))
            if step is Action.ASK_KERNEL:
                self.asked += 1
                self.watch.asked_kernel(f"probe {self.asked}", self.now)

    def around(self, **known: Any) -> None:
        """Let the caller know something about the kernel or the link."""
        self.watch.state.surroundings = replace(self.watch.state.surroundings, **known)

    def get(self, message: Message) -> None:
        self.keep(self.watch.receive(message, self.now))

    def numbered(self, skipped: int = 1) -> int | None:
        """The number of the kernel's next message on IOPub, None if it numbers nothing."""
        self.number = None if self.number is None else self.number + skipped
        return self.number

    def tick(self) -> None:
        self.now += TICK
        self.keep(self.watch.tick(self.now))
        if self.gap != "" and not self.counted and self.watch.judgment.wants_count(self.now):
            assert not isinstance(self.gap, str)
            self.counted = self.watch.verdict is not None
            self.keep(self.watch.judgment.count(self.gap))

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.tick()

    def answer(self) -> None:
        self.until(lambda: self.asked > self.answered, "the kernel is asked")
        self.answered = self.asked
        self.get(msg("kernel_info_reply", {}, channel="shell", parent=f"probe {self.asked}"))

    def word(self) -> None:
        self.until(lambda: self.watch.state.probe.behind_reply, "the kernel is asked behind the reply")
        self.get(status("busy", parent=f"probe {self.asked}"))

    def later(self, sender: str = KERNEL) -> None:
        self.until(lambda: bool(self.asked), "the kernel is asked")
        self.get(status("idle", parent=f"probe {self.asked}", sender=sender, number=self.numbered(3)))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = self.now + 15
        while not condition():
            assert self.now < end, f"never: {what}"
            self.tick()

    def connections(self, count: int) -> None:
        self.until(lambda: self.watch.state.aftermath.proof is not None, "a proof is sought")
        self.watch.server_says("idle", self.now, connections=count, asked_at=self.now)

    def numbers(self, count: int) -> None:
        self.until(lambda: self.watch.state.aftermath.wants_proof, "numbers are wanted")
        self.watch.judgment.proven(count)

    def record(self, remembered: dict[str, str] | None) -> None:
        self.until(lambda: any(step is Action.ASK_RECORD for _, step in self.said), "the kernel is asked for its end")
        self.keep(self.watch.judgment.kernel_recorded(remembered, self.now))

    def server_idle(self) -> None:
        for _ in range(2):
            self.watch.server_says("idle", self.now)
        self.tick()

    def heart_stops(self) -> None:
        for _ in range(2):
            self.watch.heart.receive(False)
        self.tick()

    def no_greeting(self) -> None:
        for _ in range(2):
            self.watch.heart.receive(True, False)
        self.tick()

    def breaks(self) -> None:
        self.around(lost_since=self.now)
        self.watch.broke("the server closed the connection", "10:00:00", self.now)

    def back(self) -> None:
        self.around(lost_since=None)
        self.keep(self.watch.back(0.1, "10:00:01", self.now))

    def goes(self, gap: Gap | None) -> None:
        self.gap = gap

    def play(self, what: Comes) -> None:
        simple: dict[Comes, Callable[[], object]] = {
            Comes.NOTHING: lambda: None,
            Comes.FREE: lambda: self.around(free=True),
            Comes.BUSY: lambda: self.get(status("busy")),
            Comes.INPUT: lambda: self.get(entered(number=self.numbered())),
            Comes.REPLY: lambda: self.get(reply()),
            Comes.ERROR: lambda: self.get(reply("error", ename="ValueError", evalue="no", traceback=[])),
            Comes.ABORTED: lambda: self.get(reply("aborted")),
            # The reply has the number before it.
            Comes.IDLE: lambda: self.get(status("idle", number=self.numbered(2))),
            Comes.ERROR_SHOWN: lambda: self.get(error(number=self.numbered())),
            Comes.KEYBOARD_INTERRUPT: lambda: self.get(error("KeyboardInterrupt", "")),
            Comes.DROPPED: lambda: self.get(stream(RATE, "stderr", sender=OURS)),
            Comes.ANSWER: self.answer,
            Comes.WORD: self.word,
            Comes.LATER: self.later,
            Comes.LATER_LIFE: lambda: self.later("kernel-life-2"),
            Comes.REMEMBERS: lambda: self.record({"status": "ok"}),
            Comes.REMEMBERS_ERROR: lambda: self.record({"status": "error", "ename": "ValueError", "evalue": "no"}),
            Comes.FORGOT: lambda: self.record(None),
            Comes.ALONE: lambda: self.connections(1),
            Comes.CROWDED: lambda: self.connections(2),
            Comes.TOO_FEW: lambda: self.numbers(MESSAGES_OF_A_CELL - 1),
            Comes.ENOUGH: lambda: self.numbers(MESSAGES_OF_A_CELL),
            Comes.GONE: lambda: self.keep(self.watch.server_says(None, self.now)),
            Comes.MODEL: lambda: self.watch.server_says("busy", self.now),
            Comes.IDLE_TWICE: self.server_idle,
            Comes.NOBODY: lambda: self.keep(self.watch.server_says("", self.now)),
            Comes.NOBODY_THERE: lambda: self.keep(self.watch.server_says("", self.now)),
            Comes.HEART_STOPS: self.heart_stops,
            Comes.NO_GREETING: self.no_greeting,
            Comes.BREAKS: self.breaks,
            Comes.BACK: self.back,
            Comes.NO_SIGN: lambda: self.around(lost_since=self.now),
            Comes.CLOSED: lambda: self.watch.closed("the server closed the connection", self.now),
            Comes.GAP: lambda: self.goes(Gap(3, True)),
            Comes.NUMBERS: lambda: setattr(self, "number", 0),
            Comes.HOLE: lambda: self.numbered(2),
            Comes.NO_NUMBERS: lambda: self.goes(None),
            Comes.NO_RECORD: lambda: self.around(remembers=False),
            Comes.INTERRUPT: lambda: self.keep(self.watch.interrupt(self.now)),
            Comes.LEAVE: lambda: self.keep(self.watch.leave("told to end")),
            Comes.TIME_IS_UP: lambda: self.wait(GIVEN),
        }
        signs = {one.name: one for one in EndSignal}
        if what.name in signs:
            self.watch.signal(signs[what.name], self.now)
        else:
            simple[what]()

    # -- whether it is so

    @property
    def fate(self) -> Fate | None:
        return self.watch.verdict.fate if self.watch.verdict else None

    def holds(self, since: int) -> bool:
        """Whether all that the row says has come about; of questions those count that came after `since` steps."""
        row = self.row
        steps = [step for _, step in self.said]
        words = [step.text for step in steps if isinstance(step, Note)]
        words += [step.reason for step in steps if isinstance(step, Lost)]
        words += ["Queued" for step in steps if isinstance(step, Queued)]
        words += [self.watch.verdict.reason] if self.watch.verdict else []
        fate = row.fate is None or self.fate is row.fate
        asks = row.asks is None or row.asks in steps[since:]
        return fate and asks and (not row.says or any(row.says in text for text in words))


def name(row: Row | ConnectionRow) -> str:
    if isinstance(row, Row):
        return f"{row.rule} {row.state}: {', '.join(one.value for one in row.comes)} {row.seconds:g}"
    return f"{row.rule} {row.running} {row.answered} {row.seconds:g} {row.step}"


#: What comes when it is asked for.
WHEN_ASKED = (Comes.ANSWER, Comes.WORD, Comes.ALONE, Comes.CROWDED, Comes.LATER, Comes.FORGOT)


@pytest.mark.parametrize("row", CELL, ids=name)
def test_a_cell_s_row_is_true(row: Row) -> None:
    player = Player(row)
    for what in row.comes[:-1]:
        player.play(what)
    before = len(player.said)
    began = player.now
    player.play(row.comes[-1])
    if row.comes[-1] in WHEN_ASKED:
        began = player.now
    if row.seconds > 2 * TICK:
        player.wait(row.seconds - (player.now - began) - 2 * TICK)
        assert not player.holds(before), f"before {row.seconds} s were over"
        if row.fate is not None:
            assert player.fate is None
    # what is said of in passing comes with the next tick, or the one after
    for _ in range(4):
        if not player.holds(before):
            player.tick()
    assert player.holds(before), (player.fate, player.watch.verdict, player.said)
    if row.fate is None:
        assert player.fate is None


@pytest.mark.parametrize("row", CELL, ids=name)
def test_r2_every_row_ends_in_one_of_the_fates_in_bounded_time_once_the_kernel_is_gone(row: Row) -> None:
    player = Player(row)
    for what in row.comes:
        player.play(what)
    if player.fate is None:
        # Whatever has come before: a connection that ends, and a server that does not answer.
        player.play(Comes.CLOSED)
        player.wait(0.5)
        player.play(Comes.NOBODY)
        player.wait(15)
    assert player.fate in set(Fate)


def test_r3_no_row_has_anything_sent_but_questions_and_interrupts() -> None:
    assert {row.asks for row in CELL} - {None} <= set(Action)
    assert {action.name for action in Action} == {"ASK_SERVER", "ASK_KERNEL", "ASK_RECORD", "INTERRUPT"}


MESSAGES: dict[str, Message] = {
    "`shutdown_reply`, restart": msg("shutdown_reply", {"restart": True}, parent="other"),
    "`shutdown_reply`": msg("shutdown_reply", {"restart": False}, parent="other"),
    "`status: restarting`": status("restarting", parent=""),
    "`status: dead`": status("dead", parent=""),
    "`header.session` is not the one that answered two requests, and not ours": status(
        "starting", parent="", sender="kernel-life-2"
    ),
}


@pytest.mark.parametrize("words", SIGNS)
def test_r4_a_sign_is_what_the_table_says(words: str) -> None:
    life = Life(OURS)
    for request in ("1", "2"):
        assert life.receive(status("busy", parent=request)) is None
    assert life.receive(status("busy", sender=OURS)) is None, "the server's own messages bear our session"
    assert life.receive(MESSAGES[words]) is SIGNS[words]


@pytest.mark.parametrize("row", CONNECTION, ids=name)
def test_a_connection_s_row_is_true(row: ConnectionRow) -> None:
    silence, heard = Silence(), 500.0
    now, when = heard + 0.01, None
    if row.slept:
        silence.woke(row.slept)
    while when is None and now < heard + 200:
        for step in silence.tick(heard=heard, running=row.running, now=now):
            if step is SilenceStep.PING:
                silence.pinged(now)
            elif step is SilenceStep.PROBE:
                silence.probed(row.answered, now)
            if step is row.step or (isinstance(step, Note) and isinstance(row.step, str) and row.step in step.text):
                when = now - heard
        now += TICK
    assert when is not None
    assert row.seconds - 1e-6 <= when <= row.seconds + 3 * TICK


def test_every_rule_has_rows_and_the_module_that_keeps_it_names_it() -> None:
    assert list(RULES) == [f"R{number}" for number in range(1, 9)]
    rows = {row.rule for row in (*CELL, *CONNECTION)}
    assert rows == set(RULES)
    folder = Path(kernel_bridge_magic.__file__).parent
    for rule, (_, module) in RULES.items():
        assert rule in (folder / f"{module}.py").read_text("utf-8"), f"{module}.py does not name {rule}"


def test_everything_that_may_come_is_in_a_row() -> None:
    assert {what for row in CELL for what in row.comes} == set(Comes)
    assert {row.state for row in CELL} == {SENT, RUNNING}


def test_the_documentation_has_every_row() -> None:
    lines = rules()
    assert sum(line.startswith(("| R", '| <a id="r')) for line in lines) == len(RULES) + len(CELL) + len(CONNECTION)
    assert all(line.count(" | ") == lines[2].count(" | ") for line in lines[2:10])
