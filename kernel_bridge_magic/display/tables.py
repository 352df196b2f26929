"""The table of `%kernels`: aligned text in terminals, HTML in notebooks.

Other people chose the names and paths, so that control and bidirectional characters in them are escaped (T22).
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any, SupportsIndex, overload
from urllib.parse import quote

from kernel_bridge_magic.display.grid import NO_TERMINAL, Column, Table, fit, html_page, html_table, shown, wrap
from kernel_bridge_magic.display.rows import Row, claim_lines, problem_line, row_of, transport
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.misses import none_matches
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.reports import Listing, ServerReport
from kernel_bridge_magic.text import count, cut_end, cut_middle, visible

# What shrinks while the table is too wide, in this order: pairs of a field and the width that it keeps.
_GIVE_WAY = (("clients", 0), ("spec", 16), ("server", 12), ("spec", 10), ("idle", 0), ("server", 0), ("spec", 0))


class KernelList(Table, list[Kernel]):
    """The kernels that were found: a list that notebooks and terminals show as a table.

    `listing` is all that was found, with servers and skipped files; `now` is when. A slice is a `KernelList`, too. Its
    rows keep their numbers, since `#2` means the second row of the whole table that was shown.
    """

    def __init__(
        self,
        listing: Listing,
        kernels: Iterable[Kernel] | None = None,
        *,
        now: datetime,
        details: Mapping[str, str] | None = None,
        busy_since: Mapping[str, str] | None = None,
        face: Face = PYTHON,
        nothing: str = "",
    ) -> None:
        """Hold `kernels`, by default all of `listing`.

        `now` has a time zone. `details` makes the table verbose, with whole ids, URLs and transports; it maps a
        kernel's id to a few more words (process, memory, CPU), where there are any. `busy_since` maps a kernel's id to
        the time of day at which we saw its running cell begin. `nothing` is shown where `kernels` is empty.
        """
        super().__init__(listing.kernels if kernels is None else kernels)
        self.listing = listing
        self.now = now
        self.details = None if details is None else dict(details)
        self.busy_since = dict(busy_since or {})
        self.face = face
        self._nothing_matches = nothing
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
        part = copy.copy(self)
        part[:] = super().__getitem__(index)
        return part

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return the table as lines of at most `width` columns."""
        lines = wrap(self._nothing(), width)
        if self:
            rows = self._rows()
            lines = fit(shown(self._columns(), rows), rows, width, _GIVE_WAY)
            if self.details is not None:
                lines = self._with_details(lines, width)
        return "\n".join([*lines, *(line for note in self._notes() for line in wrap(note, width))])

    def _repr_html_(self) -> str:
        rows = self._rows()
        table = html_table(shown(self._columns(), rows), rows, self._more) if self else ""
        return html_page(table, [*([] if self else [self._nothing()]), *self._problems()])

    def _rows(self) -> list[Row]:
        numbers, since = self._numbers, self.busy_since
        return [row_of(kernel, numbers.get(kernel.id), self.now, since.get(kernel.id, "")) for kernel in self]

    def _columns(self) -> list[Column]:
        here = _notebook_here(self.listing)
        return [
            Column("number", "#", "number", always=True, html=lambda row: str(row.number)),
            Column("name", "name", "name", always=True, html=lambda row: _html_name(row, here)),
            Column("spec", "kernel"),
            Column("state", "state", always=True, html=_html_state),
            Column("idle", "idle", "number"),
            Column("clients", "clients", "number"),
            Column("server", "server", html=_html_server),
            Column("id", "id", "mono", always=True),
        ]

    def _more(self, row: Row) -> tuple[str, str]:
        own = ' class="kb-own"' if row.kernel.is_this_kernel else ""
        return own, "<br>".join(map(escape, self._details_of(row.kernel))) if self.details is not None else ""

    def _with_details(self, lines: list[str], width: int) -> list[str]:
        """Insert the details of each kernel below its line: no terminal is wide enough for one line."""
        result = lines[:1]
        for line, kernel in zip(lines[1:], self, strict=True):
            result += [line, *("    " + cut_middle(text, max(width - 4, 0)) for text in self._details_of(kernel))]
        return result

    def _details_of(self, kernel: Kernel) -> list[str]:
        where = kernel.server.url if kernel.server else kernel.connection_file
        words = "  ".join(filter(None, map(visible, (kernel.id, transport(kernel), where))))
        more = visible((self.details or {}).get(kernel.id, ""))
        return [words, more] if more else [words]

    def _nothing(self) -> str:
        reached = sum(not report.problem for report in self.servers)
        if self.listing.kernels:
            return self._nothing_matches or none_matches("", self.listing.kernels, self.servers, self.face)
        if reached:
            were = "was" if reached == 1 else "were"
            return f"no kernels are running ({count(reached, 'server')} {were} asked). Open a notebook, and list again"
        return f"no kernels were found. Open a notebook, or name its server with {self.face.server}"

    def _notes(self) -> list[str]:
        """Return the lines below the table: whose output is sandboxed, who did not answer, which files are skipped."""
        sandboxed = [visible(it.server.name if it.server else it.title) for it in self if not it.is_yours]
        note = f"rich output of {', '.join(dict.fromkeys(sandboxed))} is shown in a sandbox"
        return [note] * bool(sandboxed) + self._problems()

    def _problems(self) -> list[str]:
        notes = [problem_line(report) for report in self.servers if report.problem]
        notes += claim_lines(self.listing.claims)
        notes += map(visible, self.listing.notes)
        if self.details is not None:
            notes += [f"skipped {visible(it.path)} ({visible(it.reason)})" for it in self.listing.skipped]
        return notes


def links_of(kernels: KernelList) -> list[str]:
    """Return the URL of each kernel's notebook, relative to the notebook that asks; "" where there is none."""
    here = _notebook_here(kernels.listing)
    return [_link(kernel, here) for kernel in kernels]


# --- HTML ---------------------------------------------------------------------------------------------------


def _notebook_here(listing: Listing) -> tuple[Server, str] | None:
    """Return the server of this notebook, and the notebook's folder there; None where they are not known.

    The listing tells, not this kernel's environment: what that says of the notebook is wrong after a rename
    (FACTS.md#which-kernel-asks).
    """
    own = next((kernel for kernel in listing.kernels if kernel.is_this_kernel), None)
    notebooks = [session for session in own.sessions if session.type == "notebook"] if own else []
    folders = {posixpath.dirname(_rooted(session.path)) for session in notebooks if session.path}
    return (own.server, folders.pop()) if own and own.server and len(folders) == 1 else None


def _rooted(path: str) -> str:
    return "/" + path.lstrip("/")


def _link(kernel: Kernel, here: tuple[Server, str] | None) -> str:
    """Return the URL of a kernel's notebook, relative to a notebook on the same server; "" if there is none."""
    notebook = kernel.notebook
    if here is None or notebook is None or kernel.server != here[0] or kernel.title != notebook.path:
        return ""
    if {".", ".."} & set(notebook.path.split("/")):
        return ""  # no notebook is called so, and a link would lead elsewhere
    return quote(posixpath.relpath(_rooted(notebook.path), here[1]), errors="surrogatepass")


def _html_name(row: Row, here: tuple[Server, str] | None) -> str:
    titles = " | ".join(visible(path) for path in row.kernel.paths) or row.name
    name = re.sub("[/_]", r"\g<0><wbr>", escape(cut_middle(row.name, 64)))  # a long name may break here
    if link := _link(row.kernel, here):
        name = f'<a href="{escape(link)}">{name}</a>'
    # Isolated from its neighbours and laid out left to right: an Arabic name keeps its ending on the right.
    return f'<bdi dir="ltr" title="{escape(titles)}">{name}</bdi>'


def _html_state(row: Row) -> str:
    colour = _COLOURS.get(row.activity, _COLOURS["unknown"])
    return f'<span style="color:{colour}">●</span> {escape(cut_end(row.state, 24))}'


def _html_server(row: Row) -> str:
    title = "its rich output is shown in a sandbox"
    sandboxed = "" if row.kernel.is_yours else f' <span class="kb-muted" title="{title}">sandboxed</span>'
    return f"<bdi>{escape(cut_end(row.server, 40))}</bdi>{sandboxed}"


# Readable on white and on black: a saved table is seen in either theme.
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
