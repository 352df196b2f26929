"""What is done when the watch over a cell asks for it, with a control that only notes what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_bridge_magic.connection.actions import Actions, Call
from kernel_bridge_magic.errors import CannotConnect
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.waiting import Heart
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.protocol.events import Event, Note
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.transports.inbox import Inbox
from tests.support.still import StillTransport
from tests.support.wire import CELL, msg, reply, status


class Control:
    """As `connection.control.Control`, for a kernel that its server calls `busy`."""

    def __init__(self) -> None:
        self.interrupted: list[bool] = []
        self.problem: CannotConnect | None = None
        self.model: tuple[str | None, int | None] = ("busy", 1)

    def look(self) -> tuple[str | None, int | None]:
        return self.model

    def others(self) -> str:
        return "there now: a.ipynb"

    def beats(self) -> bool | None:
        return True

    def interrupt(self, transport: object, wanted: Callable[[], bool]) -> None:
        self.interrupted.append(wanted())
        if self.problem is not None:
            raise self.problem


class Watch(CellWatch):
    """The watch over a cell, which notes what it is told of the server and of the heartbeat."""

    def __init__(self) -> None:
        super().__init__(Request(CELL), now=0.0)
        self.told: list[SimpleNamespace] = []
        self.heart = Beats(self.told)

    def server_says(self, state: str | None, now: float, **rest: Any) -> list[Event]:
        self.told.append(SimpleNamespace(state=state, now=now, **rest))
        return super().server_says(state, now, **rest)


class Beats(Heart):
    def __init__(self, told: list[SimpleNamespace]) -> None:
        super().__init__()
        self._told = told

    def receive(self, beats: bool | None, greets: bool | None = None) -> None:
        self._told.append(SimpleNamespace(beats=beats, greets=greets))


class Subshell:
    """As `connection.subshells.Subshell`."""

    id = "s-1"

    def __init__(self) -> None:
        self.interrupted = 0

    def interrupt(self) -> None:
        self.interrupted += 1


class Scene:
    def __init__(self, subshell: Subshell | None = None) -> None:
        self.transport = StillTransport()
        self.control = Control()
        self.watch = Watch()
        self.inbox = Inbox()
        self.actions = Actions(
            self.transport,
            self.control,  # type: ignore[arg-type]
            self.watch,
            self.inbox,
            subshell,  # type: ignore[arg-type]
        )

    def came(self, number: int) -> list[Any]:
        """So many items of the inbox, handed back; what the watch was told then, or the items that told it nothing."""
        self.watch.told.clear()
        items = [self.inbox.get(timeout=10) for _ in range(number)]
        return [item for item in items if self.actions.receive(item, 1.0) is None] or self.watch.told


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_server_and_then_the_heartbeat_are_asked(scene: Scene) -> None:
    before = time.monotonic()
    scene.actions.do(Action.ASK_SERVER)
    says, beat = scene.came(2)
    assert (says.state, says.connections, says.there) == ("busy", 1, "")
    assert before <= says.asked_at <= time.monotonic()
    assert (beat.beats, beat.greets, says.now) == (True, None, 1.0)


def test_a_kernel_that_its_server_has_no_more_brings_up_what_it_has_where_the_link_was_down(scene: Scene) -> None:
    scene.control.model = (None, None)
    scene.actions.do(Action.ASK_SERVER)
    assert scene.came(2)[0].there == ""
    scene.watch.broke("reset", "12:00:00", 1.0)
    scene.actions.do(Action.ASK_SERVER)
    assert scene.came(2)[0].there == "there now: a.ipynb"


def test_the_kernel_is_asked_behind_the_cell_and_only_the_last_answer_counts(scene: Scene) -> None:
    scene.actions.do(Action.ASK_KERNEL)
    scene.actions.do(Action.ASK_KERNEL)
    first, second = scene.transport.of("kernel_info_request")
    assert (first.channel, second.channel) == ("shell", "shell")
    for asked in (first, second):
        scene.transport.receive(msg("kernel_info_reply", {}, channel="shell", parent=asked.msg_id))
    assert len(scene.inbox) == 1
    assert scene.inbox.get().parent_id == second.msg_id


def test_a_cell_in_a_subshell_is_asked_about_there() -> None:
    scene = Scene(Subshell())
    scene.actions.do(Action.ASK_KERNEL)
    scene.actions.do(Action.ASK_RECORD)
    assert [it.header["subshell_id"] for it in scene.transport.sent] == ["s-1", "s-1"]


def test_over_a_link_that_is_lost_nothing_is_asked_and_nothing_raised(scene: Scene) -> None:
    scene.transport.down = True
    scene.actions.do(Action.ASK_KERNEL)
    scene.actions.do(Action.ASK_RECORD)
    assert scene.transport.sent == []


def test_only_the_answer_to_the_question_for_the_record_is_taken_out(scene: Scene) -> None:
    scene.actions.do(Action.ASK_RECORD)
    (asked,) = scene.transport.of("execute_request")
    assert (
        scene.actions.receive(msg("execute_reply", {"status": "ok"}, channel="shell", parent=asked.msg_id), 1.0) == []
    )
    assert scene.actions.receive(status("idle", parent=asked.msg_id), 1.0) == []
    assert scene.actions.receive(reply(), 1.0) is None


def test_only_the_last_question_for_the_record_is_waited_for(scene: Scene) -> None:
    scene.actions.do(Action.ASK_RECORD)
    scene.actions.do(Action.ASK_RECORD)
    first, second = scene.transport.of("execute_request")
    for asked in (first, second):
        scene.transport.receive(msg("execute_reply", {"status": "ok"}, channel="shell", parent=asked.msg_id))
    assert [scene.inbox.get(timeout=10).parent_id for _ in range(len(scene.inbox))] == [second.msg_id]
    scene.actions.end()
    assert not scene.transport.router.is_awaited


def test_an_interrupt_is_under_way_until_it_is_done(scene: Scene) -> None:
    assert not scene.actions.sent_interrupt and not scene.actions.is_interrupting(10)
    scene.actions.do(Action.INTERRUPT)
    assert not scene.actions.is_interrupting(10)
    assert (scene.control.interrupted, scene.actions.sent_interrupt) == ([True], True)


def test_at_the_last_moment_a_cell_that_is_over_is_not_interrupted(scene: Scene) -> None:
    scene.watch.receive(reply(), 0.0)
    scene.actions.do(Action.INTERRUPT)
    assert not scene.actions.is_interrupting(10)
    assert scene.control.interrupted == [False]


def test_an_interrupt_that_takes_long_is_under_way_meanwhile(scene: Scene) -> None:
    go = threading.Event()
    scene.control.interrupt = lambda transport, wanted: bool(go.wait(10))  # type: ignore[assignment]
    scene.actions.do(Action.INTERRUPT)
    assert scene.actions.is_interrupting(0.01)
    go.set()
    assert not scene.actions.is_interrupting(10)


def test_an_interrupt_that_could_not_be_sent_is_told_of(scene: Scene) -> None:
    scene.control.problem = CannotConnect("no server, no process of ours")
    scene.actions.do(Action.INTERRUPT)
    (note,) = scene.came(1)
    assert note == Note("the interrupt was not sent (no server, no process of ours)")
    assert not scene.actions.is_interrupting(10)


def test_in_a_subshell_only_its_own_thread_is_interrupted() -> None:
    subshell = Subshell()
    scene = Scene(subshell)
    scene.actions.do(Action.INTERRUPT)
    assert not scene.actions.is_interrupting(10)
    assert (subshell.interrupted, scene.control.interrupted) == (1, [])


def test_what_answers_no_action_is_left_to_the_caller(scene: Scene) -> None:
    assert scene.actions.receive(Note("x"), 1.0) is None
    assert scene.actions.receive(Call(lambda now: None), 1.0) == []
    assert scene.actions.receive(Call(lambda now: [Note(f"{now}")]), 1.0) == [Note("1.0")]


def test_at_the_end_nothing_more_is_listened_to(scene: Scene) -> None:
    scene.actions.do(Action.ASK_KERNEL)
    scene.actions.do(Action.ASK_RECORD)
    scene.actions.end()
    for asked in scene.transport.sent:
        scene.transport.receive(status("idle", parent=asked.msg_id))
    assert scene.inbox.empty()
