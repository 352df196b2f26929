"""The table that `%servers` shows."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from kernel_bridge_magic.auth import Vault
from kernel_bridge_magic.display.rows import problem_line
from kernel_bridge_magic.models import Listing, ServerReport
from kernel_bridge_magic.text import align, cut_middle, visible

__all__ = ["ServerList"]

_TITLES = ("name", "URL", "known by", "kernels", "version", "auth", "trust")
_SOURCES = {
    "runtime": "found here",
    "added": "you",
    "saved": "kernel_bridge.json",
    "config": "configuration",
    "option": "--server",
}
_WIDEST = 48  # cells; a base path can be long


class ServerList(list[ServerReport]):
    """Reports of servers, shown as a table. How we say who we are is told, never the secret."""

    def __init__(self, reports: Iterable[ServerReport], vault: Vault, notes: Iterable[str] = ()) -> None:
        super().__init__(reports)
        self.notes = tuple(notes)
        self._auth = {report.server.origin: vault.way(report.server.origin) for report in self}

    @classmethod
    def of(cls, listing: Listing, vault: Vault) -> ServerList:
        """Show the servers of a listing, and what was wrong in the configuration."""
        return cls(listing.servers, vault, listing.notes)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                visible(report.server.name),
                cut_middle(visible(report.server.url), _WIDEST),
                _SOURCES.get(report.server.source, report.server.source),
                "no answer" if report.problem else str(report.kernels),
                visible(report.server.version),
                self._auth.get(report.server.origin, ""),
                "own" if report.server.own else "foreign",
            )
            for report in self
        ]

    def _problems(self) -> list[str]:
        return [*(problem_line(report) for report in self if report.problem), *map(visible, self.notes)]

    def __repr__(self) -> str:
        if not self:
            nothing = "no servers known; start one, or %servers --add URL --name NAME --token env:VAR"
            return "\n".join([nothing, *self._problems()])
        return "\n".join([*align([_TITLES, *self._rows()]), *self._problems()])

    def _repr_pretty_(self, p: Any, cycle: bool) -> None:
        for number, line in enumerate(repr(self).splitlines()):
            if number:
                p.break_()
            p.text(line)

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(repr(self))}</div>"
        cell = ' style="text-align:left"'
        head = "".join(f"<th{cell}>{escape(title)}</th>" for title in _TITLES)
        body = "".join(
            "<tr>" + "".join(f"<td{cell}><bdi>{escape(text)}</bdi></td>" for text in row) + "</tr>"
            for row in self._rows()
        )
        problems = "".join(f"<div>{escape(line)}</div>" for line in self._problems())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{problems}"
