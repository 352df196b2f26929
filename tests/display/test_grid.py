from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from kernel_bridge_magic.display.grid import NO_TERMINAL, NONE, Column, Table, fit, html_table, shown, wrap
from kernel_bridge_magic.text import cells


class Row(NamedTuple):
    number: str
    name: str
    spec: str = "Python 3 (ipykernel)"


COLUMNS = [Column("number", "#", "number", always=True), Column("name", "name", "name"), Column("spec", "kernel")]
ROWS = [Row("1", "work/a rather long name.ipynb"), Row("12", "b.ipynb", "R")]


def test_lines_are_aligned_and_fit() -> None:
    lines = fit(COLUMNS, ROWS, 80)
    assert len(lines) == 3
    assert lines[1].startswith(" 1 ") and lines[2].startswith("12 ")
    assert len({line.index(word) for line, word in zip(lines, ("kernel", "Python", "R"), strict=True)}) == 1


@pytest.mark.parametrize("width", [12, 20, 30, 60])
def test_what_matters_least_gives_way_and_the_name_is_cut_in_the_middle(width: int) -> None:
    lines = fit(COLUMNS, ROWS, width, [("spec", 8), ("spec", 0)])
    assert max(map(cells, lines)) <= width
    assert width > 20 or "kernel" not in lines[0]
    assert width == 60 or "…" in lines[1]


def test_a_remark_in_brackets_goes_before_letters() -> None:
    assert any(line.endswith("Python 3") for line in fit(COLUMNS, ROWS, 40, [("spec", 8)]))


def test_columns_that_tell_nothing_are_left_out() -> None:
    same = [Row("1", "a"), Row("2", "b")]
    assert [column.field for column in shown(COLUMNS, same)] == ["number", "name"]
    assert [column.field for column in shown(COLUMNS, [Row("1", "a", NONE)])] == ["number", "name"]
    assert [column.field for column in shown(COLUMNS, [Row("1", "a")])] == ["number", "name", "spec"]


def test_html_is_escaped_and_a_row_may_have_more_below() -> None:
    html = html_table(COLUMNS, [Row("1", "<b>"), Row("2", "x")], lambda row: ("", "below" if row.name == "x" else ""))
    assert "<bdi>&lt;b&gt;</bdi>" in html and html.count("kb-more") == 1
    assert re.search(r'<th class="kb-number">#</th>', html)
    column = Column("name", "name", html=lambda row: "<i>mine</i>")
    assert column.cell(Row("1", "x")) == "<i>mine</i>"


def test_a_note_is_wrapped_and_not_cut() -> None:
    lines = wrap("the server does not answer; add it again with another token", 20)
    assert max(map(cells, lines)) <= 20 and " ".join(map(str.strip, lines)).endswith("another token")


def test_a_table_is_80_columns_wide_where_no_terminal_says_more() -> None:
    class Numbers(Table):
        def text(self, width: int = NO_TERMINAL) -> str:
            return str(width)

    assert repr(Numbers()) == "80"
    with pytest.raises(NotImplementedError):
        Table().text()
