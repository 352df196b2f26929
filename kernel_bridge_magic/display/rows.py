"""Kernels in words, and the words in lines of a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from kernel_bridge_magic.models import Kernel, ServerReport
from kernel_bridge_magic.text import align, cells, cut_end, cut_middle, visible

__all__ = ["Row", "claim_lines", "fit", "row_of", "transport", "wrap"]

_NONE = "–"
_NARROWEST_NAME = 24  # cells that the name keeps while less useful columns can give way


class Row(NamedTuple):
    """One kernel in words, each safe to show, none shortened yet."""

    kernel: Kernel
    number: str
    name: str
    spec: str
    state: str
    idle: str
    clients: str
    server: str
    id: str


def row_of(kernel: Kernel, number: int | None, now: datetime) -> Row:
    """Put `kernel` into words; `number` is its row in the listing that was shown."""
    more = f" +{len(kernel.sessions) - 1}" if len(kernel.sessions) > 1 else ""
    return Row(
        kernel=kernel,
        number=str(number) if number else "",
        name=visible(kernel.title) + more,
        spec=visible(_spec_words(kernel)),
        state="this kernel" if kernel.is_own else visible(kernel.state) or "unknown",
        idle=_idle_words(kernel, now),
        clients="" if kernel.connections is None else str(kernel.connections),
        server=visible(kernel.server.name) if kernel.server else _NONE,
        id=visible(kernel.short_id),
    )


def _spec_words(kernel: Kernel) -> str:
    name, language = kernel.display_name, kernel.language
    known = not language or language.casefold() in name.casefold()
    return (name if known else f"{name} ({language})") or _NONE


def _idle_words(kernel: Kernel, now: datetime) -> str:
    """Say for how long nothing was heard from a kernel that is not at work."""
    if kernel.is_own or kernel.state == "busy" or kernel.last_activity is None:
        return ""
    seconds = (now - kernel.last_activity).total_seconds()
    if seconds < 60:  # clocks differ: a time to come is now, too
        return "now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    return f"{seconds // 3600:.0f} h" if seconds < 86400 else f"{seconds // 86400:.0f} d"


def problem_line(report: ServerReport) -> str:
    """Say of a server that did not answer why, and what to do."""
    name = visible(report.server.name or report.server.url)
    return f"{name}: {visible(report.problem)}" + (f"; {visible(report.remedy)}" if report.remedy else "")


def claim_lines(claims: Iterable[Kernel]) -> list[str]:
    """Say of each foreign server which of its kernels are left out, since their ids are those of kernels of ours."""
    ids: dict[str, list[str]] = {}
    for kernel in claims:
        ids.setdefault(kernel.server.name if kernel.server else "", []).append(kernel.short_id)
    lines = []
    for name, them in ids.items():
        some = ", ".join(map(visible, them[:3])) + (", …" if len(them) > 3 else "")
        one = len(them) == 1
        what = "a kernel under an id of yours" if one else f"{len(them)} kernels under ids of yours"
        are, it = ("is", "it") if one else ("are", "them")
        server = visible(name)
        lines.append(f"{server} lists {what} ({some}), which {are} left out here; {server}::MATCH reaches {it}")
    return lines


def transport(kernel: Kernel) -> str:
    """Name the road that a cell would take by itself: `zmq`, `ws`, or none."""
    if kernel.connection_file:
        return "zmq"
    return "ws" if kernel.server else ""


_TITLES = {
    "number": "#",
    "name": "name",
    "spec": "kernel",
    "state": "state",
    "idle": "idle",
    "clients": "clients",
    "server": "server",
    "id": "id",
}
_RIGHT = {"number", "idle", "clients"}
# What gives way when the table is too wide, in this order: (column, cells it may keep; 0 takes it away).
_GIVE_WAY = (("clients", 0), ("spec", 16), ("server", 12), ("spec", 10), ("idle", 0), ("server", 0), ("spec", 0))


def fit(rows: list[Row], width: int) -> list[str]:
    """Lay `rows` out under a head, in lines of at most `width` cells."""
    columns = {field: [title, *(getattr(row, field) for row in rows)] for field, title in _TITLES.items()}
    for field in ("state", "id", "spec", "server"):
        columns[field] = [cut_end(text, 40) for text in columns[field]]
    if len({row.server for row in rows}) == 1:
        del columns["server"]  # it would say the same in each line
    for field in ("idle", "clients"):
        if not any(columns[field][1:]):
            del columns[field]
    widths = {field: max(map(cells, texts)) for field, texts in columns.items()}
    wanted = min(widths["name"], _NARROWEST_NAME)
    for field, keep in _GIVE_WAY:
        if _left_for_name(widths, width) >= min(wanted, widths["name"]):
            break
        if keep and field in widths and widths[field] > keep:
            columns[field] = [_shorten(text, keep) for text in columns[field]]
            widths[field] = max(map(cells, columns[field]))
        elif not keep:
            columns.pop(field, None)
            widths.pop(field, None)
    room = max(min(_left_for_name(widths, width), widths["name"]), 4)
    columns["name"] = [cut_middle(text, room) for text in columns["name"]]
    right = frozenset(index for index, field in enumerate(columns) if field in _RIGHT)
    return [cut_end(line, width) for line in align(list(zip(*columns.values(), strict=True)), right)]


def wrap(note: str, width: int) -> list[str]:
    """Break a note rather than cut it: the remedy stands at its end."""
    lines = textwrap.wrap(note, max(width, 8), subsequent_indent="  ", break_on_hyphens=False)
    return [cut_end(line, width) for line in lines]


def _shorten(text: str, width: int) -> str:
    """Cut `text`; a remark in brackets goes first: `Python 3 (ipykernel)` is `Python 3`."""
    if cells(text) > width and text.endswith(")"):
        text = text.rpartition(" (")[0] or text
    return cut_end(text, width)


def _left_for_name(widths: Mapping[str, int], width: int) -> int:
    return width - sum(cells + 2 for field, cells in widths.items() if field != "name")
