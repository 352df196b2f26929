"""A table of words, as aligned text of a terminal's width and as HTML. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from kernel_bridge_magic.text import align, cells, cut_end, cut_middle

__all__ = ["NONE", "STYLE", "Column", "fit", "html_table", "shown", "wrap"]

#: what stands in a cell where there is nothing
NONE = "–"
_NARROWEST = 24  # cells that the widest column keeps while less useful ones can give way
_WIDEST = 40  # cells of every other column


class Column(NamedTuple):
    """One column: the field of a row that it shows, its title, and how.

    `kind` is "", `number` (flush right), `mono`, or `name`: the one that takes the room which is left, is cut in its
    middle, and wraps in HTML. One that is `always` shown is not left out where it says the same in every row.
    `html` makes a row's cell, by default of its text.
    """

    field: str
    title: str
    kind: str = ""
    always: bool = False
    html: Callable[[Any], str] | None = None

    @property
    def attribute(self) -> str:
        """Return the attribute that its cells have in HTML."""
        return f' class="kb-{self.kind}"' if self.kind else ""

    def cell(self, row: Any) -> str:
        """Return the HTML of a row's cell."""
        if self.html is not None:
            return self.html(row)
        return f"<bdi>{escape(cut_end(getattr(row, self.field), _WIDEST))}</bdi>"


def shown(columns: Sequence[Column], rows: Sequence[Any]) -> list[Column]:
    """Return the columns that tell rows apart; of a single row those that say something."""

    def tells(column: Column) -> bool:
        texts = {getattr(row, column.field) for row in rows}
        return column.always or (not texts <= {"", NONE} if len(rows) == 1 else len(texts) > 1)

    return [column for column in columns if tells(column)]


def fit(
    columns: Sequence[Column], rows: Sequence[Any], width: int, give_way: Sequence[tuple[str, int]] = ()
) -> list[str]:
    """Lay rows out under a head, in lines of at most `width` cells.

    `give_way` is what is made narrower where they do not fit, in this order: a field, and the cells that it may keep; 0
    takes it away.
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
    """Break a note rather than cut it: the remedy stands at its end."""
    lines = textwrap.wrap(note, max(width, 8), subsequent_indent="  ", break_on_hyphens=False)
    return [cut_end(line, width) for line in lines]


def html_table(columns: Sequence[Column], rows: Sequence[Any], more: Callable[[Any], tuple[str, str]]) -> str:
    """Return the table; `more` gives the attribute of a row, and the HTML that stands below it, "" for none."""
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


def _shorten(text: str, width: int) -> str:
    """Cut `text`; a remark in brackets goes first: `Python 3 (ipykernel)` is `Python 3`."""
    if cells(text) > width and text.endswith(")"):
        text = text.rpartition(" (")[0] or text
    return cut_end(text, width)


def _room(widths: Mapping[str, int], named: str, width: int) -> int:
    return width - sum(taken + 2 for field, taken in widths.items() if field != named)


# JupyterLab's own variables where there are some; elsewhere (VS Code, nbconvert) the page's colours shine through.
STYLE = """<style>
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
