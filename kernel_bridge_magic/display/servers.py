"""The tables that `%servers` shows: the servers, and with `--check` what works with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

from kernel_bridge_magic.display.grid import NO_TERMINAL, NONE, Column, Table, fit, html_page, html_table, shown, wrap
from kernel_bridge_magic.display.rows import problem_line
from kernel_bridge_magic.faces import MAGICS, Face
from kernel_bridge_magic.reports import Checkup, ServerReport, Step
from kernel_bridge_magic.text import cut_middle, visible

_GIVE_WAY = (("version", 0), ("name", 16), ("source", 0), ("auth", 0), ("trust", 0))
_MARKS = {True: "ok", False: "FAILED", None: "–"}


class _Row(NamedTuple):
    """The cells of one server. Control characters are escaped; nothing is shortened yet."""

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


class ServerList(Table, list[ServerReport]):
    """Reports of servers, shown as a table. It names how we authenticate (token, password, none), never the secret.

    `notes` are lines below it on what is wrong in the configuration.
    """

    def __init__(self, reports: Iterable[ServerReport], notes: Iterable[str] = (), face: Face = MAGICS) -> None:
        super().__init__(reports)
        self.notes = tuple(notes)
        self.face = face

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return the table as lines of at most `width` columns."""
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

    def _repr_html_(self) -> str:
        rows = self._rows()
        table = html_table(shown(_COLUMNS, rows), rows, lambda row: ("", "")) if self else ""
        return html_page(table, [*([] if self else [self._nothing()]), *self._problems()])


class CheckList(Table, list[Checkup]):
    """The checkups of servers, one table each. `face` is the interface that shows them."""

    def __init__(self, checkups: Iterable[Checkup], face: Face = MAGICS) -> None:
        super().__init__(checkups)
        self.face = face

    def _lines(self) -> Iterator[str]:
        if not self:
            yield f"no server is known. Start one, or add one with {self.face.add} --token env:VAR"
        for checkup in self:
            yield f"{visible(checkup.server.name)}  {visible(checkup.server.url)}"
            for step in checkup.steps:
                yield f"  {_MARKS[step.ok]:<6}  {step.name:<9}  {visible(step.seen)}"
                if step.remedy:
                    yield f"  {'':<6}  {'':<9}  → {visible(step.remedy)}"

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return one line for each step and each remedy; they are never cut, whatever the `width`."""
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        if not self:
            return f"<div>{escape(repr(self))}</div>"
        return "".join(map(_table, self))


def _table(checkup: Checkup) -> str:
    title = f"<b>{escape(visible(checkup.server.name))}</b> {escape(visible(checkup.server.url))}"
    return f"<div>{title}</div><table><tbody>{''.join(map(_row, checkup.steps))}</tbody></table>"


def _row(step: Step) -> str:
    cell = '<td style="text-align:left">'
    mark = f"<b>{_MARKS[step.ok]}</b>" if step.ok is False else _MARKS[step.ok]
    remedy = f"<br>→ {escape(visible(step.remedy))}" if step.remedy else ""
    seen = f"<bdi>{escape(visible(step.seen))}</bdi>{remedy}"
    return f"<tr>{cell}{mark}</td>{cell}{escape(step.name)}</td>{cell}{seen}</td></tr>"
