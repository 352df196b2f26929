"""Tables as aligned text and as HTML. Pure but for the terminal's width."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from kernel_bridge_magic.text import align, cells, cut_end, cut_middle

#: the text of a cell that has no value
NONE = "–"
#: the width of a text, in columns, where no terminal says what fits: in a file or a pipe
NO_TERMINAL = 80
_NARROWEST = 24  # terminal columns that the widest table column keeps while less useful ones can shrink
_WIDEST = 40  # terminal columns of every other table column


class Table:
    """A mixin for lists that show as a table: `repr` is 80 columns wide, IPython's display as wide as the terminal."""

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return the table as lines of at most `width` columns."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.text()

    def _repr_pretty_(self, p: Any, cycle: bool) -> None:
        # IPython's own `p.max_width` is 79 in every terminal, however wide.
        p.text(self.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else NO_TERMINAL))


class Column(NamedTuple):
    """One column: the field of a row that it shows, its title, and its layout.

    `kind` is "", `number` (aligned right), `mono` (fixed width), or `name`. Exactly one column is of the kind `name`:
    it gets the room that the others leave, is cut in the middle, and wraps in HTML. A column whose cells are all the
    same is left out, unless it is shown `always`. `html` makes the HTML of a row's cell, by default from its text.
    """

    field: str
    title: str
    kind: str = ""
    always: bool = False
    html: Callable[[Any], str] | None = None

    @property
    def attribute(self) -> str:
        """The attribute of the column's cells in HTML, "" for none."""
        return f' class="kb-{self.kind}"' if self.kind else ""

    def cell(self, row: Any) -> str:
        """Return the HTML of the cell that `row` has in this column."""
        if self.html is not None:
            return self.html(row)
        return f"<bdi>{escape(cut_end(getattr(row, self.field), _WIDEST))}</bdi>"


def shown(columns: Sequence[Column], rows: Sequence[Any]) -> list[Column]:
    """Return the columns whose cells differ between rows; for a single row, the columns that are not empty."""

    def tells(column: Column) -> bool:
        texts = {getattr(row, column.field) for row in rows}
        return column.always or (not texts <= {"", NONE} if len(rows) == 1 else len(texts) > 1)

    return [column for column in columns if tells(column)]


def fit(
    columns: Sequence[Column], rows: Sequence[Any], width: int, give_way: Sequence[tuple[str, int]] = ()
) -> list[str]:
    """Return a head and one line for each row, aligned, of at most `width` terminal columns.

    `give_way` says what to shrink, in this order, while the table is too wide: pairs of a field and the width that it
    keeps. A width of 0 removes the field.
    """
    named = next(column.field for column in columns if column.kind == "name")
    texts = {c.field: [c.title, *(getattr(row, c.field) for row in rows)] for c in columns}
    right = {column.field for column in columns if column.kind == "number"}
    for field in texts.keys() - {named}:
        texts[field] = [cut_end(text, _WIDEST) for text in texts[field]]
    widths = {field: max(map(cells, column)) for field, column in texts.items()}
    wanted = min(widths[named], _NARROWEST)
    for field, keep in give_way:
        if _room(widths, named, width) >= wanted:
            break
        if keep and field in widths and widths[field] > keep:
            texts[field] = [_shorten(text, keep) for text in texts[field]]
            widths[field] = max(map(cells, texts[field]))
        elif not keep:
            texts.pop(field, None)
            widths.pop(field, None)
    room = max(min(_room(widths, named, width), widths[named]), 4)
    texts[named] = [cut_middle(text, room) for text in texts[named]]
    flush = frozenset(index for index, field in enumerate(texts) if field in right)
    return [cut_end(line, width) for line in align(list(zip(*texts.values(), strict=True)), flush)]


def wrap(note: str, width: int) -> list[str]:
    """Break `note` into lines of at most `width` columns. It is not cut, since it says at its end what to do."""
    lines = textwrap.wrap(note, max(width, 8), subsequent_indent="  ", break_on_hyphens=False)
    return [cut_end(line, width) for line in lines]


def html_table(columns: Sequence[Column], rows: Sequence[Any], more: Callable[[Any], tuple[str, str]]) -> str:
    """Return the rows as an HTML table.

    `more(row)` returns the attribute of that row, and the HTML that stands below it; each may be "".
    """
    head = "".join(f"<th{column.attribute}>{escape(column.title)}</th>" for column in columns)
    parts = [f"<table><thead><tr>{head}</tr></thead><tbody>"]
    for row in rows:
        attribute, below = more(row)
        body = "".join(f"<td{column.attribute}>{column.cell(row)}</td>" for column in columns)
        parts.append(f"<tr{attribute}>{body}</tr>")
        if below:
            cell = f'<td class="kb-more" colspan="{len(columns) - 1}">{below}</td>'
            parts.append(f"<tr{attribute}><td></td>{cell}</tr>")
    return "".join([*parts, "</tbody></table>"])


def html_page(table: str, notes: Sequence[str]) -> str:
    """Return a table, as `html_table` makes it, with its style, and with notes below it."""
    lines = "".join(f'<div class="kb-note">{escape(note)}</div>' for note in notes)
    return f'{_STYLE}<div class="kernel-bridge">{table}{lines}</div>'


def _shorten(text: str, width: int) -> str:
    """Cut `text` to `width`; a remark in brackets goes first: `Python 3 (ipykernel)` becomes `Python 3`."""
    if cells(text) > width and text.endswith(")"):
        text = text.rpartition(" (")[0] or text
    return cut_end(text, width)


def _room(widths: Mapping[str, int], named: str, width: int) -> int:
    return width - sum(taken + 2 for field, taken in widths.items() if field != named)


# JupyterLab's own variables where there are some; elsewhere (VS Code, nbconvert) the page's colours shine through.
_STYLE = """<style>
.kernel-bridge table{border-collapse:collapse;border:none;margin:0;font-size:inherit;\
color:var(--jp-content-font-color1,inherit)}
.kernel-bridge thead{border-bottom:1px solid var(--jp-border-color1,#8886);vertical-align:bottom}
.kernel-bridge th,.kernel-bridge td{text-align:left!important;padding:.25em .6em!important;border:none;\
white-space:nowrap;vertical-align:top;max-width:none}
.kernel-bridge th{font-weight:600;color:var(--jp-content-font-color2,inherit)}
.kernel-bridge .kb-number{text-align:right!important;font-variant-numeric:tabular-nums}
.kernel-bridge .kb-name{white-space:normal;overflow-wrap:anywhere;min-width:14em}
.kernel-bridge td.kb-mono{font-family:var(--jp-code-font-family,monospace);font-size:.92em}
.kernel-bridge td.kb-more{font-family:var(--jp-code-font-family,monospace);font-size:.85em;opacity:.65;\
padding-top:0!important;white-space:pre-wrap;overflow-wrap:anywhere}
.kernel-bridge .kb-own td,.kernel-bridge .kb-muted{opacity:.65}
.kernel-bridge .kb-muted{font-size:.88em;margin-left:.35em}
.kernel-bridge .kb-note{padding:.25em .6em;color:var(--jp-content-font-color2,inherit)}
</style>"""
