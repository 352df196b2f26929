"""When a silent link is kept, and when a broken one is tried again; with a clock of our own."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.patience import Failure, Incoming, Retry, Silence, SilenceStep, SleepDetector
from kernel_bridge_magic.protocol.events import Note

T = timing.current


class Line:
    """A connection on which `alive` says whether pings are answered; what the watch said, and when."""

    def __init__(self, *, running: bool = True, reachable: bool | None = None) -> None:
        self.silence = Silence()
        self.now = self.heard = 500.0
        self.alive = True
        self.running = running
        self.reachable = reachable  # what a new connection brings; None: no answer yet
        self.said: list[tuple[float, SilenceStep | Note]] = []
        self.began = self.now

    def wait(self, seconds: float) -> Line:
        until = self.now + seconds
        while self.now < until - 1e-9 and SilenceStep.GIVE_UP not in self.steps:
            self.now += 0.25
            for step in self.silence.tick(heard=self.heard, running=self.running, now=self.now):
                self.said.append((self.now - self.began, step))
                if step is SilenceStep.PING:
                    self.silence.pinged(self.now)
                    if self.alive:
                        self.heard = self.now
                elif step is SilenceStep.PROBE and self.reachable is not None:
                    self.said += [(self.now - self.began, it) for it in self.silence.probed(self.reachable, self.now)]
        return self

    def dead(self) -> Line:
        self.alive = False
        self.began = self.heard
        return self

    @property
    def steps(self) -> list[SilenceStep | Note]:
        return [step for _, step in self.said]

    def when(self, wanted: SilenceStep | str) -> float:
        for when, step in self.said:
            if step is wanted or (isinstance(step, Note) and isinstance(wanted, str) and wanted in step.text):
                return when
        raise AssertionError(f"{wanted} was not said: {self.said}")


def test_a_living_link_is_pinged_and_nothing_is_said() -> None:
    line = Line().wait(600)
    assert set(line.steps) == {SilenceStep.PING}


def test_an_idle_link_is_pinged_often_enough_for_proxies() -> None:
    line = Line(running=False).wait(120)
    assert set(line.steps) == {SilenceStep.PING}
    assert len(line.steps) >= 120 / 20
    assert T.ping_idle <= 20


def test_a_dead_link_is_told_within_8_s_and_given_up_within_20_where_the_server_answers() -> None:
    line = Line(reachable=True).wait(10).dead().wait(100)
    assert line.when("last heard") <= 8
    assert T.silent_beside_answer <= line.when(SilenceStep.GIVE_UP) <= 20
    assert line.steps.count(SilenceStep.PROBE) == 1


def test_where_nobody_answers_it_is_kept_for_90_s() -> None:
    line = Line(reachable=False).wait(10).dead().wait(200)
    assert line.when("its server does not answer (suspended, or the network is down)") <= 15
    assert T.silent_running <= line.when(SilenceStep.GIVE_UP) <= T.silent_running + 1
    assert sum(isinstance(step, Note) for step in line.steps) == 2, "each thing is said once"
    assert line.steps.count(SilenceStep.PROBE) > 10


def test_a_question_without_an_answer_is_not_asked_twice() -> None:
    line = Line(reachable=None).wait(10).dead().wait(60)
    assert line.steps.count(SilenceStep.PROBE) == 1


def test_a_black_hole_that_ends_leaves_everything_as_it_was() -> None:
    line = Line(reachable=False).wait(10).dead().wait(30)
    line.alive, line.heard = True, line.now
    line.wait(60)
    assert SilenceStep.GIVE_UP not in line.steps
    assert line.when("heard again after 31 s") <= 32
    assert len([step for step in line.steps if isinstance(step, Note)]) == 3
    # and the next one is told anew
    line.dead().wait(12)
    assert sum("last heard" in step.text for step in line.steps if isinstance(step, Note)) == 2


def test_an_answer_that_comes_late_changes_nothing() -> None:
    line = Line(reachable=None).wait(10).dead().wait(10)
    line.alive, line.heard = True, line.now
    line.wait(1)
    assert line.silence.probed(True, line.now) == []
    assert SilenceStep.GIVE_UP not in line.wait(60).steps


def test_a_link_is_in_doubt_from_the_word_that_is_said_of_it_until_it_is_heard_again() -> None:
    line = Line(reachable=False).wait(10)
    assert not line.silence.doubts
    line.dead().wait(T.ping_running + T.ping_answer + 1)
    assert line.silence.doubts
    line.alive, line.heard = True, line.now
    assert not line.wait(0.5).silence.doubts
    assert not Line(running=False).wait(20).dead().wait(40).silence.doubts, "nobody waits for it"


def test_with_nothing_under_way_nothing_is_said_and_a_dead_link_is_let_go() -> None:
    line = Line(running=False).wait(20).dead().wait(200)
    assert set(line.steps) == {SilenceStep.PING, SilenceStep.GIVE_UP}
    assert line.when(SilenceStep.GIVE_UP) <= T.ping_idle + T.silent_idle + 1


def test_the_first_try_is_at_once_and_the_others_spread_out() -> None:
    retry = Retry()
    assert retry.wait(1.0) == 0
    longest = []
    for _ in range(2000):  # a night: whoever waits without an end has as many
        retry.failed(Failure.OTHER)
        longest.append(retry.wait(1.0))
        assert retry.wait(0.0) == 0
    assert longest[:4] == [1, 3, 7, 15]
    assert set(longest[4:]) == {T.longest_retry}


def test_a_server_that_is_gone_is_believed_after_two_seconds_at_most() -> None:
    retry = Retry()
    waited = 0.0
    while (wait := retry.wait(1.0)) is not None:
        waited += wait
        retry.failed(Failure.REFUSED)
    assert 0.5 <= waited < 2


def test_elsewhere_it_may_be_a_tunnel_that_comes_back() -> None:
    retry = Retry(here=False)
    waits = []
    for _ in range(500):
        waits.append(retry.wait(1.0))
        retry.failed(Failure.REFUSED)
    assert None not in waits, "whoever waits says for how long"
    quick = [wait for wait in waits if wait is not None and wait < 1]
    assert waits[: len(quick)] == quick
    assert 20 < sum(quick) < 40
    assert set(waits[len(quick) :]) == {T.longest_retry}


def test_a_refusal_between_other_failures_is_not_believed() -> None:
    retry = Retry()
    for why in (Failure.REFUSED, Failure.OTHER, Failure.REFUSED, Failure.OTHER):
        retry.failed(why)
        assert retry.wait(0.5) is not None


@pytest.mark.parametrize("why", [Failure.DENIED, Failure.NO_KERNEL])
def test_what_will_not_change_is_not_tried_again(why: Failure) -> None:
    retry = Retry()
    retry.failed(why)
    assert retry.wait(0.5) is None


def test_a_server_that_does_not_want_us_is_tried_once() -> None:
    retry = Retry(once=True)
    assert retry.wait(0.5) == 0
    retry.failed(Failure.OTHER)
    assert retry.wait(0.5) is None


# -- R8: the machine slept


def test_a_jump_between_the_clocks_is_a_sleep_and_a_drift_is_none() -> None:
    wake = SleepDetector()
    assert wake.slept(1000.0) == 0.0, "what was before us"
    assert [wake.slept(1000.0 + drift) for drift in (0.5, 1.9, 2.0)] == [0.0, 0.0, 0.0]
    assert wake.slept(1002.0 + 8 * 3600) == 8 * 3600
    assert wake.slept(1002.0 + 8 * 3600) == 0.0, "once"
    assert wake.slept(900.0) == 0.0, "a clock that goes back is no sleep"


def test_where_there_is_no_such_clock_nothing_ever_sleeps() -> None:
    wake = SleepDetector()
    assert [wake.slept(ahead) for ahead in (None, None, 5000.0, None)] == [0.0] * 4


def slept(line: Line, seconds: float) -> Line:
    line.silence.woke(seconds)
    line.began = line.now
    return line


def test_after_a_sleep_a_running_cell_s_server_is_asked_at_once() -> None:
    line = slept(Line(reachable=True), 60).wait(0.25)
    assert line.steps == [SilenceStep.PING, SilenceStep.PROBE]
    assert SilenceStep.GIVE_UP not in line.wait(60).steps, "the ping was answered: the link lives"


def test_after_a_long_sleep_a_dead_link_is_given_up_as_soon_as_the_server_is_known_to_answer() -> None:
    line = slept(Line(reachable=True).wait(10).dead(), 8 * 3600).wait(60)
    assert line.when(SilenceStep.PROBE) <= 0.5
    assert line.when(f"last heard {8 * 3600 + 4} s ago; this machine slept") <= 4
    assert T.ping_answer <= line.when(SilenceStep.GIVE_UP) <= T.ping_answer + 1


def test_after_a_short_sleep_a_link_is_kept_as_any_silent_one() -> None:
    line = slept(Line(reachable=True).wait(10).dead(), 10).wait(60)
    assert line.when(SilenceStep.PROBE) <= 0.5
    assert T.silent_beside_answer <= line.when(SilenceStep.GIVE_UP) <= T.silent_beside_answer + T.ping_answer + 1


def test_after_a_sleep_with_nothing_under_way_a_dead_link_is_let_go_soon() -> None:
    line = slept(Line(running=False).wait(20).dead(), 600).wait(60)
    assert line.steps[-2:] == [SilenceStep.PING, SilenceStep.GIVE_UP]
    assert line.when(SilenceStep.GIVE_UP) <= T.ping_answer + 1


# -- F24: a message that is long in coming


def told(incoming: Incoming, until: float, size: int = 120_000, *, began: float = 0.0) -> list[tuple[float, str]]:
    """What is said of a message that comes with 10 kB/s, at which second."""
    said: list[tuple[float, str]] = []
    for tick in range(int(until * 4)):
        now = began + tick / 4
        come = int((now - began) * 10_000)
        said += [(now, note.text) for note in incoming.tick(number=1, come=come, size=size, now=now)]
    return said


def test_a_message_that_is_long_in_coming_is_told_of_each_five_seconds() -> None:
    incoming = Incoming()
    said = told(incoming, 12)
    assert said == [
        (5.0, "50 kB of a message of 120 kB came in 5 s"),
        (10.0, "100 kB of a message of 120 kB came in 10 s"),
    ]
    (last,) = incoming.tick(number=2, come=0, size=0, now=12.0)
    assert (last.text, last.key) == ("all 120 kB of a large message came after 12 s", "incoming")
    assert incoming.tick(number=2, come=0, size=0, now=60.0) == []


def test_quick_messages_are_never_told_of_however_many() -> None:
    incoming = Incoming()
    for number in range(200):
        assert incoming.tick(number=number, come=100, size=200, now=number / 4) == []


def test_the_wait_for_a_message_is_no_part_of_its_coming() -> None:
    incoming = Incoming()
    assert incoming.tick(number=1, come=0, size=0, now=0.0) == []
    assert incoming.tick(number=1, come=0, size=0, now=100.0) == []
    assert incoming.tick(number=1, come=500, size=10**9, now=101.0) == []
    (note,) = incoming.tick(number=1, come=2 * 10**6, size=10**9, now=100.0 + T.tell_incoming)
    assert note.text == "2 MB of a message of 1 GB came in 5 s"
