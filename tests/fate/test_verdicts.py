"""The sentences that people read when a cell did not come to its end."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate import verdicts
from kernel_bridge_magic.fate.life import PROCESS, KernelEnd
from kernel_bridge_magic.fate.verdicts import Verdict
from kernel_bridge_magic.protocol.events import Error, Queued
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, error, reply, status

X = "x.ipynb"
SAFE = "the cell was not run, so it is safe to run it again"


def test_a_kernel_that_died_is_told_with_its_variables() -> None:
    assert verdicts.died(X, KernelEnd("was restarted", restarted=True)) == Verdict(
        Fate.DIED,
        "x.ipynb was restarted during this cell (output above may be incomplete). Its variables are gone",
    )
    ended = verdicts.died(X, KernelEnd("ended", comes_back=False, subject=PROCESS))
    assert ended.reason == "x.ipynb: its kernel process ended during this cell; it has no kernel now"


def test_a_goodbye_before_the_cell_began_proves_that_it_was_not_run_and_a_crash_does_not() -> None:
    end = KernelEnd("was shut down by another client", comes_back=False)
    assert verdicts.ended_before(X, end, said_goodbye=True) == Verdict(
        Fate.NOT_RUN,
        f"x.ipynb was shut down by another client while the cell was queued; {SAFE}. It has no kernel now",
    )
    crash = verdicts.ended_before(X, KernelEnd("ended", subject=PROCESS), said_goodbye=False)
    assert crash == Verdict(
        Fate.UNKNOWN,
        "x.ipynb: the kernel ended before confirming the cell. It may have run: check before running it again. "
        "Its variables are gone",
    )


@pytest.mark.parametrize("what", [verdicts.SKIPPED, verdicts.NEVER_BEGAN, verdicts.NEVER_ARRIVED])
def test_what_was_not_run_may_be_run_again(what: str) -> None:
    verdict = verdicts.not_run(X, what)
    assert verdict.fate is Fate.NOT_RUN
    assert verdict.reason == f"{X}{what}; {SAFE}"


@pytest.mark.parametrize(
    "what",
    [
        verdicts.REPLY_LOST,
        verdicts.REPLY_NOT_AWAITED,
        verdicts.SAYS_NOTHING,
        verdicts.NOT_CONFIRMED,
        verdicts.may_go_on("link lost (reset)", started=True),
        verdicts.may_go_on("link lost (reset)", started=False),
    ],
)
@pytest.mark.parametrize(
    ("alive", "variables"), [(True, "are still there"), (False, "are gone"), (None, "may be gone")]
)
def test_who_is_told_of_an_unknown_fate_is_told_to_check_first(what: str, alive: bool | None, variables: str) -> None:
    verdict = verdicts.unknown(X, what, alive=alive)
    assert verdict.fate is Fate.UNKNOWN
    assert "heck before running it again" in verdict.reason
    assert verdict.reason.endswith(f". Its variables {variables}")


@pytest.mark.parametrize(
    ("begun", "is_down", "state"),
    [
        (True, False, "the cell is still running there"),
        (True, True, "the cell may still be running there"),
        (False, False, "the cell is still queued there"),
        (None, True, "the cell may run there"),
    ],
)
def test_a_cell_that_is_left_is_told_where_it_is(begun: bool | None, is_down: bool, state: str) -> None:
    left = verdicts.left(X, "no longer waiting", begun, is_down=is_down)
    assert left == Verdict(Fate.LEFT_RUNNING, f"x.ipynb: no longer waiting; {state}")
    late = verdicts.left(X, "no result within 5 s", begun, is_down=is_down, timed_out=True)
    assert late.reason == f"x.ipynb: no result within 5 s. T{state[1:]}"
    assert late.timed_out


@pytest.mark.parametrize(
    ("queued", "words"),
    [
        (None, "had not confirmed the cell, so it was not interrupted"),
        (Queued(), "still queued and cannot"),
        (Queued("10:00:00"), "still queued (behind another client's cell) and cannot"),
        (Queued("10:00:00", ours=True, sure=False), "still queued (probably behind your earlier cell) and cannot"),
    ],
)
def test_an_interrupt_before_the_beginning_says_what_the_cell_waits_for(queued: Queued | None, words: str) -> None:
    verdict = verdicts.interrupted_early(X, queued)
    assert verdict.fate is Fate.LEFT_RUNNING
    assert words in verdict.reason


def answered(*messages: object, passed_over: bool = False, believes_ok: bool = True) -> tuple[Verdict, Error | None]:
    request = Request(CELL)
    for message in messages:
        request.receive(message)  # type: ignore[arg-type]
    return verdicts.of_reply(request, X, passed_over=passed_over, believes_ok=believes_ok)


def test_the_reply_tells_the_fate() -> None:
    assert answered(reply()) == (verdicts.OK, None)
    assert answered(error(), reply()) == (verdicts.OK, None), "it was caught"
    assert answered(error(), reply(), believes_ok=False) == (verdicts.FAILED, None)
    assert answered(error(), reply("error", ename="ValueError", evalue="no")) == (verdicts.FAILED, None)
    only_here = answered(reply("error", ename="UsageError", evalue="bad"))
    assert only_here == (verdicts.FAILED, Error("UsageError", "bad"))


def test_an_aborted_cell_was_passed_over_or_interrupted() -> None:
    verdict, told = answered(reply("aborted"), passed_over=True)
    assert (verdict.fate, told) == (Fate.NOT_RUN, None)
    assert answered(status("busy"), reply("aborted")) == (verdicts.FAILED, Error("KeyboardInterrupt", ""))
    assert answered(error(), reply("aborted")) == (verdicts.FAILED, None), "it was shown"
