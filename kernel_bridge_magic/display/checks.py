"""The table that `%servers --check` shows: each step, what was seen, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from kernel_bridge_magic.display.grid import NO_TERMINAL, Table
from kernel_bridge_magic.faces import MAGICS, Face
from kernel_bridge_magic.reports import Checkup, Step
from kernel_bridge_magic.text import visible

_MARKS = {True: "ok", False: "FAILED", None: "–"}


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
