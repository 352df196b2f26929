"""The table that `%servers` shows. Pure but for the terminal's width."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

from kernel_bridge_magic.display.grid import NONE, STYLE, Column, fit, html_table, shown, wrap
from kernel_bridge_magic.display.rows import problem_line
from kernel_bridge_magic.faces import MAGICS, Face
from kernel_bridge_magic.models import Listing, ServerReport
from kernel_bridge_magic.text import cut_middle, visible

__all__ = ["ServerList"]

_NO_TERMINAL = 80  # columns, where the text goes to a file or a pipe
_GIVE_WAY = (("version", 0), ("name", 16), ("source", 0), ("auth", 0), ("trust", 0))


class _Row(NamedTuple):
    """One server in words, each safe to show, none shortened yet."""

    name: str
    url: str
    source: str
    kernels: str
    version: str
    auth: str
    trust: str


_COLUMNS = [
    Column("name", "name", always=True),
    Column("url", "URL", "name", always=True, html=lambda row: f"<bdi>{escape(cut_middle(row.url, 64))}</bdi>"),
    Column("source", "source"),
    Column("kernels", "kernels", "number"),
    Column("version", "version"),
    Column("auth", "auth"),
    Column("trust", "trust"),
]


class ServerList(list[ServerReport]):
    """Reports of servers, shown as a table. How we say who we are is told, never the secret."""

    def __init__(self, reports: Iterable[ServerReport], notes: Iterable[str] = (), face: Face = MAGICS) -> None:
        super().__init__(reports)
        self.notes = tuple(notes)
        self.face = face

    @classmethod
    def of(cls, listing: Listing, face: Face) -> ServerList:
        """Show the servers of a listing to `face`, and what was wrong in the configuration."""
        return cls(listing.servers, listing.notes, face)

    def text(self, width: int = _NO_TERMINAL) -> str:
        """Give the table as lines of at most `width` cells."""
        lines = wrap(self._nothing(), width)
        if self:
            rows = self._rows()
            lines = fit(shown(_COLUMNS, rows), rows, width, _GIVE_WAY)
        return "\n".join([*lines, *(line for problem in self._problems() for line in wrap(problem, width))])

    def _rows(self) -> list[_Row]:
        return [
            _Row(
                visible(report.server.name),
                visible(report.server.url),
                report.server.known_by,
                NONE if report.problem and not report.kernels else str(report.kernels),
                visible(report.server.version),
                report.auth,
                report.server.trust,
            )
            for report in self
        ]

    def _nothing(self) -> str:
        return f"no server is known. Start one, or name one with {self.face.server}"

    def _problems(self) -> list[str]:
        return [*(problem_line(report) for report in self if report.problem), *map(visible, self.notes)]

    def __repr__(self) -> str:
        return self.text()

    def _repr_pretty_(self, p: Any, cycle: bool) -> None:
        # IPython's own `p.max_width` is 79 in every terminal, however wide.
        p.text(self.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else _NO_TERMINAL))

    def _repr_html_(self) -> str:
        rows = self._rows()
        table = html_table(shown(_COLUMNS, rows), rows, lambda row: ("", "")) if self else ""
        notes = [] if self else [self._nothing()]
        lines = "".join(f'<div class="kb-note">{escape(line)}</div>' for line in notes + self._problems())
        return f'{STYLE}<div class="kernel-bridge">{table}{lines}</div>'
