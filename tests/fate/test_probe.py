"""The question behind a cell, with a clock of our own."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.probe import Probe

T = timing.current


def asked(now: float = 100.0) -> Probe:
    probe = Probe()
    probe.asked("probe 1", now, behind_reply=True)
    return probe


def test_nothing_is_due_before_it_is_asked() -> None:
    probe = Probe()
    assert not (probe.is_asked or probe.is_answered or probe.is_wanted)
    assert not (probe.is_settled(1e9) or probe.is_mute(1e9) or probe.is_overdue(1e9))


def test_an_answer_is_concluded_when_what_comes_behind_it_is_in() -> None:
    probe = asked()
    probe.answered(101.0)
    assert probe.is_answered and not probe.is_settled(101.0 + T.settle - 0.1)
    assert probe.is_settled(101.0 + T.settle + 0.01)
    probe.concluded()
    assert not probe.is_answered and not probe.is_settled(1e9)


def test_the_newest_question_counts_and_patience_counts_from_the_first() -> None:
    probe = asked()
    probe.asked("probe 2", 105.0, behind_reply=False)
    assert (probe.msg_id, probe.behind_reply) == ("probe 2", False)
    assert not probe.may_repeat(105.0 + T.ask_kernel_again - 0.1)
    assert probe.may_repeat(105.0 + T.ask_kernel_again)
    assert not probe.is_mute(100.0 + T.kernel_answer - 0.1)
    assert probe.is_mute(100.0 + T.kernel_answer)


def test_whatever_took_the_question_along_took_all_of_it() -> None:
    for lose in (Probe.forget, Probe.broke):
        probe = asked()
        probe.passed_on_iopub = True
        probe.answered(101.0)
        lose(probe)
        assert (probe.msg_id, probe.behind_reply, probe.passed_on_iopub) == ("", False, False)
        assert not (probe.is_asked or probe.is_answered or probe.is_mute(1e9))


def test_a_kernel_that_its_server_calls_idle_twice_is_asked() -> None:
    probe = Probe()
    for idle, wanted in ((True, False), (False, False), (True, False), (True, True)):
        probe.server_says(is_idle=idle)
        assert probe.is_wanted is wanted
    probe.broke()
    assert not probe.is_wanted


def test_a_question_is_overdue_only_where_the_kernel_was_called_idle_since() -> None:
    probe = asked()
    assert not probe.is_overdue(100.0 + T.kernel_answer)
    probe.server_says(is_idle=True)
    assert not probe.is_overdue(100.0 + T.kernel_answer - 0.1)
    assert probe.is_overdue(100.0 + T.kernel_answer)
    probe.asked("probe 2", 120.0, behind_reply=True)
    assert not probe.is_overdue(1e9), "another question"
    assert [probe.take_mute() for _ in range(2)] == [True, False]
