"""The listing of `%kernels`: aligned text in terminals, an HTML table in notebooks. Pure but for the terminal's width.

Names and paths were chosen by others: no control or bidi character of theirs ever gets out (FAULTS T22).
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any, NamedTuple, SupportsIndex, overload

from kernel_bridge_magic.display.rows import Row, claim_lines, fit, problem_line, row_of, transport, wrap
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching import none_matches as none_matches_line
from kernel_bridge_magic.models import Kernel, Listing, ServerReport
from kernel_bridge_magic.text import count, cut_end, cut_middle, visible

__all__ = ["KernelList"]

_NO_TERMINAL = 80  # columns, where the text goes to a file or a pipe


class KernelList(list[Kernel]):
    """The kernels that were found, as a list; shown as a table wherever it is shown.

    `servers` are the reports of the servers that were asked, `skipped` the files that were not used, `now` is
    the time of the look around. A slice is a `KernelList` too, and its rows keep their numbers, since
    `#2` means the row of the listing that was shown.
    """

    def __init__(
        self,
        listing: Listing,
        kernels: Iterable[Kernel] | None = None,
        *,
        now: datetime,
        verbose: bool = False,
        extra: Mapping[str, str] | None = None,
        face: Face = PYTHON,
        none_matches: str = "",
    ) -> None:
        """Show `kernels`, or all of `listing`.

        `now` is aware. `verbose` adds whole ids, URLs and transports, and `extra`, a few words for each
        kernel id (process, memory, CPU). `none_matches` is what is shown where `kernels` is empty, `face` who asks.
        """
        super().__init__(listing.kernels if kernels is None else kernels)
        self.listing = listing
        self.now = now
        self.verbose = verbose
        self.extra = dict(extra or {})
        self.face = face
        self._none_matches = none_matches
        self._numbers = {kernel.id: number for number, kernel in enumerate(self, 1)}

    @property
    def servers(self) -> tuple[ServerReport, ...]:
        """The reports of the servers that were asked."""
        return self.listing.servers

    @overload
    def __getitem__(self, index: SupportsIndex) -> Kernel: ...
    @overload
    def __getitem__(self, index: slice[Any, Any, Any]) -> KernelList: ...
    def __getitem__(self, index: SupportsIndex | slice[Any, Any, Any]) -> Kernel | KernelList:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        part = KernelList(
            self.listing,
            super().__getitem__(index),
            now=self.now,
            verbose=self.verbose,
            extra=self.extra,
            face=self.face,
        )
        part._numbers = self._numbers
        return part

    def __reduce__(self) -> tuple[Any, ...]:
        # A list is otherwise copied and pickled through a constructor call that ours does not take.
        return _rebuild, (self.listing, list(self), self.now, self.verbose, self.extra, self._numbers)

    def __repr__(self) -> str:
        return self.text(_NO_TERMINAL)

    def _repr_pretty_(self, p: Any, cycle: bool) -> None:
        # IPython's own `p.max_width` is 79 in every terminal, however wide.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _NO_TERMINAL
        p.text(self.text(width))

    def text(self, width: int = _NO_TERMINAL) -> str:
        """Give the table as lines of at most `width` cells."""
        lines = []
        if self:
            rows = [row_of(kernel, self._numbers.get(kernel.id), self.now) for kernel in self]
            lines = self._with_details(fit(rows, width), width) if self.verbose else fit(rows, width)
        else:
            lines = wrap(self._nothing(), width)
        return "\n".join([*lines, *(line for note in self._notes() for line in wrap(note, width))])

    def _repr_html_(self) -> str:
        parts = [_STYLE, '<div class="kernel-bridge">']
        if self:
            rows = [row_of(kernel, self._numbers.get(kernel.id), self.now) for kernel in self]
            columns = [column for column in _HTML_COLUMNS if column.title != "server" or any(map(_has_server, self))]
            head = "".join(f"<th{column.attribute}>{column.title}</th>" for column in columns)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>")
            for row in rows:
                own = ' class="kb-own"' if row.kernel.is_own else ""
                body = "".join(f"<td{column.attribute}>{column.html(row)}</td>" for column in columns)
                parts.append(f"<tr{own}>{body}</tr>")
                if self.verbose:
                    more = "<br>".join(map(escape, self._details(row.kernel)))
                    parts.append(f'<tr{own}><td></td><td class="kb-more" colspan="{len(columns) - 1}">{more}</td></tr>')
            parts.append("</tbody></table>")
        else:
            parts.append(f'<div class="kb-note">{escape(self._nothing())}</div>')
        parts += [f'<div class="kb-note">{escape(note)}</div>' for note in self._problems()]
        parts.append("</div>")
        return "".join(parts)

    def _with_details(self, lines: list[str], width: int) -> list[str]:
        """Put below each kernel's line what -v adds: no terminal is wide enough for one line."""
        result = lines[:1]
        for line, kernel in zip(lines[1:], self, strict=True):
            result += [line, *("    " + cut_middle(text, max(width - 4, 0)) for text in self._details(kernel))]
        return result

    def _details(self, kernel: Kernel) -> list[str]:
        where = kernel.server.url if kernel.server else kernel.connection_file
        words = "  ".join(filter(None, map(visible, (kernel.id, transport(kernel), where))))
        extra = visible(self.extra.get(kernel.id, ""))
        return [words, extra] if extra else [words]

    def _nothing(self) -> str:
        reached = sum(not report.problem for report in self.servers)
        if self.listing.kernels:
            return self._none_matches or none_matches_line("", self.listing.kernels, self.servers, self.face)
        if reached:
            return f"no kernels are running ({count(reached, 'server')} asked); open a notebook, and list again"
        return f"no kernels found; open a notebook, or name a server with {self.face.server}"

    def _notes(self) -> list[str]:
        """Collect the lines below the text: who is foreign, who did not answer, what was passed over."""
        foreign = dict.fromkeys(_foreign_name(kernel) for kernel in self if not kernel.own)
        names = ", ".join(foreign)
        notes = [f"foreign (rich output is shown in a sandbox): {names}"] if foreign else []
        return notes + self._problems()

    def _problems(self) -> list[str]:
        notes = [problem_line(report) for report in self.servers if report.problem]
        notes += claim_lines(self.listing.claims)
        notes += map(visible, self.listing.notes)
        if self.verbose:
            notes += [f"passed over: {visible(it.path)}: {visible(it.reason)}" for it in self.listing.skipped]
        return notes


def _rebuild(
    listing: Listing,
    kernels: list[Kernel],
    now: datetime,
    verbose: bool,
    extra: Mapping[str, str],
    numbers: dict[str, int],
) -> KernelList:
    result = KernelList(listing, kernels, now=now, verbose=verbose, extra=extra)
    result._numbers = numbers
    return result


def _has_server(kernel: Kernel) -> bool:
    return kernel.server is not None


def _foreign_name(kernel: Kernel) -> str:
    return visible(kernel.server.name if kernel.server else kernel.title)


# --- HTML ---------------------------------------------------------------------------------------------------


class _Column(NamedTuple):
    title: str
    kind: str
    html: Callable[[Row], str]

    @property
    def attribute(self) -> str:
        return f' class="kb-{self.kind}"' if self.kind else ""


def _html_name(row: Row) -> str:
    titles = " | ".join(visible(path) for path in row.kernel.paths) or row.name
    name = re.sub("[/_]", r"\g<0><wbr>", escape(cut_middle(row.name, 64)))  # where a long one may go on below
    # Kept apart from its neighbours, and read as a path: the ending stays on the right of an Arabic name.
    return f'<bdi dir="ltr" title="{escape(titles)}">{name}</bdi>'


def _html_state(row: Row) -> str:
    colour = _COLOURS.get(row.state, _COLOURS["unknown"])
    return f'<span style="color:{colour}">●</span> {escape(cut_end(row.state, 20))}'


def _html_server(row: Row) -> str:
    foreign = (
        "" if row.kernel.own else ' <span class="kb-muted" title="rich output is shown in a sandbox">foreign</span>'
    )
    return f"<bdi>{escape(cut_end(row.server, 40))}</bdi>{foreign}"


_HTML_COLUMNS = [
    _Column("#", "number", lambda row: row.number),
    _Column("name", "name", _html_name),
    _Column("kernel", "", lambda row: f"<bdi>{escape(cut_end(row.spec, 40))}</bdi>"),
    _Column("state", "", _html_state),
    _Column("idle", "number", lambda row: row.idle),
    _Column("clients", "number", lambda row: row.clients),
    _Column("server", "", _html_server),
    _Column("id", "mono", lambda row: escape(row.id)),
]

# Readable on white and on black: one table is saved, and seen in either theme.
_COLOURS = {
    "idle": "#2e9e54",
    "busy": "#e0821f",
    "starting": "#3b8bd6",
    "unused": "#3b9b9b",
    "alive": "#3b9b9b",
    "dead": "#d64541",
    "unknown": "#8f8f8f",
    "this kernel": "#8e6bd1",
}

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
