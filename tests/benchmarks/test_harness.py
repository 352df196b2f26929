"""What is measured, and what is said of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

import pytest

from tests.benchmarks.harness import Case, Row, measure, report
from tests.benchmarks.rows import ROWS


def prepared(order: list[str], **seconds: list[float]) -> Row:
    def prepare(stack: contextlib.ExitStack) -> Mapping[str, Case]:
        def case(name: str) -> Case:
            left = iter(seconds[name])

            def one() -> float:
                order.append(name)
                return next(left)

            return one

        return {name: case(name) for name in seconds}

    return Row("a row", prepare, 1.5, rounds=3, warm_up=1)


def test_rounds_are_interleaved_and_ratios_are_of_one_round() -> None:
    order: list[str] = []
    row = prepared(order, ours=[9.0, 1.0, 2.0, 40.0], floor=[9.0, 1.0, 1.0, 40.0])
    measured = measure(row)
    assert order == ["ours", "floor"] * 4
    assert measured.seconds == {"ours": [1.0, 2.0, 40.0], "floor": [1.0, 1.0, 40.0]}
    assert measured.ratio == 1.0 and measured.holds
    assert measured.lines()[0] == "a row  1.00 times the floor, limit 1.5"


def test_a_limit_that_does_not_hold_is_told() -> None:
    measured = measure(prepared([], ours=[1, 2, 2, 2], floor=[1, 1, 1, 1]))
    assert not measured.holds and measured.lines()[0].endswith("EXCEEDED")
    alone = measure(prepared([], ours=[1, 2, 2, 2]))
    assert alone.ratio is None and not alone.holds
    assert alone.lines() == [
        "a row, limit 1.5 s  EXCEEDED",
        "  ours                         2.00 s   (2.00 s to 2.00 s)",
    ]
    model = json.loads(json.dumps(report([alone])))
    assert model["rows"][0]["medians"] == {"ours": 2.0} and not model["rows"][0]["holds"]


@pytest.mark.parametrize("seconds", [None, 5.0])
def test_what_is_measured_may_count_by_itself(seconds: float | None) -> None:
    row = Row("a row", lambda stack: {"ours": lambda: seconds}, rounds=1, warm_up=0)
    assert (measure(row).seconds["ours"] == [5.0]) is (seconds == 5.0)


def test_a_figure_in_another_unit_is_told_in_it() -> None:
    measured = measure(Row("a row", lambda stack: {"ours": lambda: 2.0}, 1.5, rounds=1, warm_up=0, unit="times"))
    assert measured.lines() == [
        "a row, limit 1.5 times  EXCEEDED",
        "  ours                         2.00 times  (2.00 times to 2.00 times)",
    ]


def test_no_two_rows_have_one_name() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_of_many_rounds_the_slowest_are_told_as_well() -> None:
    numbers = iter([1.0] * 190 + [9.0] * 10)
    measured = measure(Row("a row", lambda stack: {"ours": lambda: next(numbers)}, rounds=200, warm_up=0))
    assert measured.lines()[1] == "  ours                         1.00 s   (1.00 s to 9.00 s, 95 % within 8.60 s)"
