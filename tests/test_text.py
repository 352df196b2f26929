from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.text import cells, clock, fit_columns, fold, some_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "CAFE"),
        ("cafe\u0301", "caf\u00e9"),
        ("Straße", "STRASSE"),
        ("İstanbul", "istanbul"),
        ("ΆΣ", "ας"),
        ("Việt", "viet"),
        ("йод", "ИОД"),
        ("ﬁn", "FIN"),
    ],
)
def test_case_and_accents_are_folded(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("が", "か"), ("한글", "하"), ("ø", "o"), ("कि", "क"), ("\u0301", "")])
def test_another_letter_is_another(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text())
def test_folding_is_done_once_and_takes_nothing_away(text: str) -> None:
    assert bool(fold(text)) == bool(text)
    assert fold(fold(text)) == fold(text)


def test_the_first_column_is_whole_and_the_rest_is_fitted() -> None:
    rows = [("a.ipynb", "Python 3", "idle"), ("x" * 90, "R", "idle"), ("b" * 30, "Julia 1.10 with a name", "idle")]
    assert fit_columns(rows, 50) == [
        "a.ipynb" + " " * 25 + "Python 3",
        "x" * 90,
        "b" * 30 + "  Julia 1.10 with a…",
    ]
    assert fit_columns([("one", "R")], 80) == ["one"], "one row says nothing of what differs"
    assert fit_columns([], 80) == []


@given(st.lists(st.tuples(st.text("ab é日", min_size=1), st.text("xy "), st.text("z"))), st.integers(10, 100))
def test_no_line_is_wider_but_for_the_first_column(rows: list[tuple[str, str, str]], width: int) -> None:
    for line, row in zip(fit_columns(rows, width), rows, strict=True):
        assert line.startswith(row[0].rstrip()) and cells(line) <= max(width, cells(row[0]))


@pytest.mark.parametrize(
    ("names", "line"), [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")]
)
def test_names_in_one_line_are_not_too_many(names: list[str], line: str) -> None:
    assert some_of(names, 2) == line


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (42.9, "0:42"), (61, "1:01"), (3723, "1:02:03")])
def test_a_time_is_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
