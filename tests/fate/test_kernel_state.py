"""What a connection learns of its kernel, and in which order: the order is what the cells' threads rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate.ending import Ending
from kernel_bridge_magic.fate.kernel_state import KernelState
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.messages import Message
from tests.support.wire import OURS, msg, status, stream


class Recorder:
    """What the state is told to do, in order; `look` sees the state at each of these moments."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, Any]] = []
        self.look: Callable[[], Any] = lambda: None
        self.seen: list[Any] = []
        self.state = KernelState(OURS, self, self, lambda message: self.note("patch", message))

    def note(self, step: str, what: Any) -> None:
        self.steps.append((step, what))
        self.seen.append(self.look())

    # As a router.

    def deliver(self, message: Message) -> None:
        self.note("deliver", message)

    def tell_all(self, item: EndSignal) -> None:
        self.note("tell all", item)

    # As a main shell.

    def receive(self, message: Message, clock: str) -> None:
        self.note("main shell", clock)

    def kernel_ended(self, sign: EndSignal) -> None:
        self.note("main shell ends", sign)

    # From outside.

    def hear(self, message: Message, now: float = 1.0) -> list[str]:
        """The names of the steps that a message goes through."""
        self.steps.clear()
        self.seen.clear()
        self.state.receive(message, now=now, clock="10:00:00")
        return [step for step, _ in self.steps]


@pytest.fixture
def kernel() -> Recorder:
    """A kernel whose life is known: it has answered two requests."""
    recorder = Recorder()
    for parent in ("our-session_1", "our-session_2"):
        recorder.hear(status("busy", parent=parent))
    return recorder


def info(implementation: str = "ipython") -> Message:
    return msg("kernel_info_reply", {"implementation": implementation}, channel="shell")


def test_what_runs_is_learnt_behind_the_message_that_says_so(kernel: Recorder) -> None:
    # A cell that reads that it runs must find the word of it in its inbox, or it would be called queued.
    assert kernel.hear(stream("x")) == ["deliver", "main shell", "patch"]
    assert kernel.steps[1] == ("main shell", "10:00:00")


def test_what_the_kernel_is_stands_there_before_the_answer_is_handed_on(kernel: Recorder) -> None:
    kernel.look = lambda: (kernel.state.info, kernel.state.orderly)
    assert kernel.state.info == {} and kernel.state.orderly, "it is taken to be, until it says what it is"
    assert kernel.hear(info("xeus")) == ["deliver", "patch"]
    assert kernel.seen[0] == ({"implementation": "xeus"}, False)
    kernel.hear(info())
    assert kernel.seen[0] == ({"implementation": "ipython"}, True)


def test_an_end_is_told_before_the_first_message_of_the_new_life_is_handed_on(kernel: Recorder) -> None:
    kernel.look = lambda: (kernel.state.life.session, kernel.state.unproven, kernel.state.has_news)
    steps = kernel.hear(status("busy", parent="our-session_3", sender="kernel-life-2"))
    assert steps == ["main shell ends", "tell all", "deliver", "main shell", "patch"]
    assert kernel.steps[1] == ("tell all", EndSignal.NEW_LIFE)
    assert kernel.seen[1] == ("kernel-life-2", True, True), "whoever is told of the end finds it here"


def test_only_what_comes_over_iopub_counts_as_heard_there(kernel: Recorder) -> None:
    kernel.hear(info(), now=7.0)
    assert kernel.state.heard_iopub == 1.0
    kernel.hear(stream("x"), now=8.0)
    assert kernel.state.heard_iopub == 8.0


def test_news_is_given_once_and_only_the_first_sign_of_one_end(kernel: Recorder) -> None:
    kernel.hear(status("restarting", sender=OURS))
    kernel.hear(status("dead", sender=OURS))
    assert kernel.state.has_news
    assert kernel.state.take_news() is EndSignal.RESTARTING
    assert not kernel.state.has_news
    assert kernel.state.take_news() is None


def test_what_a_cell_has_told_of_is_no_news_until_the_next_cell(kernel: Recorder) -> None:
    kernel.state.take_news(told=True)
    assert kernel.hear(status("dead", sender=OURS))[:2] == ["main shell ends", "tell all"], "but it is told to all"
    assert kernel.state.told and not kernel.state.has_news
    kernel.state.take_news()
    kernel.hear(status("restarting", sender=OURS))
    assert kernel.state.take_news() is EndSignal.RESTARTING


def test_an_end_that_no_message_says_is_told_as_well(kernel: Recorder) -> None:
    kernel.steps.clear()
    kernel.state.end(EndSignal.LEFT)
    assert kernel.steps == [("main shell ends", EndSignal.LEFT), ("tell all", EndSignal.LEFT)]
    assert kernel.state.take_news() is EndSignal.LEFT
    assert not kernel.state.unproven, "nothing new is there that would have to be heard"


@pytest.mark.parametrize(
    ("fate", "told", "left"),
    [
        (Fate.OK, False, True),  # the next cell tells of the end
        (Fate.FAILED, False, True),
        (Fate.DIED, True, False),  # it has told of it itself
        (Fate.UNKNOWN, True, False),
        (Fate.UNKNOWN, False, True),
        (None, False, True),
    ],
)
def test_a_cell_leaves_the_news_of_an_end_to_the_next_unless_it_has_told_of_it(
    kernel: Recorder, fate: Fate | None, told: bool, left: bool
) -> None:
    ending = Ending(0.0, told=told)
    kernel.state.life.awaited = EndSignal.RESTARTING
    kernel.state.end(EndSignal.RESTARTING)
    kernel.state.end_cell(ending, fate)
    assert kernel.state.has_news == left
    assert kernel.state.life.awaited is EndSignal.RESTARTING, "the new life was not heard"


@pytest.mark.parametrize(("fate", "awaited"), [(Fate.OK, None), (Fate.LEFT_RUNNING, EndSignal.SHUTDOWN)])
def test_an_end_that_was_awaited_before_a_cell_is_over_once_the_cell_has_ended(
    kernel: Recorder, fate: Fate, awaited: EndSignal | None
) -> None:
    kernel.state.life.awaited = EndSignal.SHUTDOWN
    kernel.state.end(EndSignal.SHUTDOWN)
    kernel.state.end_cell(Ending(0.0, EndSignal.SHUTDOWN, told=True), fate)
    assert kernel.state.life.awaited is awaited
    assert not kernel.state.has_news and kernel.state.told == (awaited is not None)
