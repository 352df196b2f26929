from __future__ import annotations

from kernel_bridge_magic.protocol.semicolons import Semicolons, arm, disarm
from tests.support.wire import msg


def info(implementation: str) -> Semicolons:
    known = Semicolons()
    known.receive(msg("kernel_info_reply", {"implementation": implementation}, channel="shell"))
    return known


def test_only_ipython_kernels_and_those_that_have_not_said_are_armed() -> None:
    assert info("ipython").must_arm("life-1")
    assert Semicolons().must_arm("")
    assert not info("bash").must_arm("life-1")


def test_once_for_each_life() -> None:
    known = info("ipython")
    assert [known.must_arm(life) for life in ("life-1", "life-1", "life-2", "life-2")] == [True, False, True, False]


def test_a_life_that_becomes_known_is_no_other_one() -> None:
    known = Semicolons()
    assert [known.must_arm(life) for life in ("", "", "life-1", "", "life-1", "life-2")] == [True, *[False] * 4, True]


def test_what_is_sent_runs_no_statement_and_leaves_no_history() -> None:
    for content in (arm(), disarm()):
        assert content["code"] == ""
        assert content["silent"] is True
        assert content["store_history"] is False
        for expression in content["user_expressions"].values():
            compile(expression, "", "eval")
