"""What a table says of a kernel or a server, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from kernel_bridge_magic.display.grid import NONE
from kernel_bridge_magic.errors import sentence
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import ServerReport, Usage
from kernel_bridge_magic.text import visible


class Row(NamedTuple):
    """The cells of one kernel. Control characters are escaped; nothing is shortened yet."""

    kernel: Kernel
    number: str
    name: str
    spec: str
    state: str
    idle: str
    clients: str
    server: str
    id: str
    activity: str  # what colours the state: it without a time


def row_of(kernel: Kernel, number: int | None, now: datetime, busy_since: str = "") -> Row:
    """Return the cells of `kernel`; `number` is its row in the table that was shown, None if it has none.

    `busy_since` is the time of day at which a connection of ours saw its running cell begin. Then it is shown as busy,
    whatever its server says.
    """
    more = f" +{len(kernel.sessions) - 1}" if len(kernel.sessions) > 1 else ""
    activity = "busy" if busy_since else visible(kernel.state) or "unknown"
    activity = "this kernel" if kernel.is_this_kernel else activity
    return Row(
        kernel=kernel,
        number=str(number) if number else "",
        name=visible(kernel.title) + more,
        spec=visible(_spec_words(kernel)),
        state=f"busy since {busy_since}" if busy_since and not kernel.is_this_kernel else activity,
        idle="" if busy_since else _idle_words(kernel, now),
        clients="" if kernel.connections is None else str(kernel.connections),
        server=visible(kernel.server.name) if kernel.server else NONE,
        id=visible(kernel.short_id),
        activity=activity,
    )


def _spec_words(kernel: Kernel) -> str:
    name, language = kernel.display_name, kernel.language
    known = not language or language.casefold() in name.casefold()
    return (name if known else f"{name} ({language})") or NONE


def _idle_words(kernel: Kernel, now: datetime) -> str:
    """Return how long ago a kernel was last active; "" while it is busy, and for this kernel."""
    if kernel.is_this_kernel or kernel.state == "busy" or kernel.last_activity is None:
        return ""
    seconds = (now - kernel.last_activity).total_seconds()
    if seconds < 60:  # the clocks of two machines differ: a time in the future means now, too
        return "now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    return f"{seconds // 3600:.0f} h" if seconds < 86400 else f"{seconds // 86400:.0f} d"


def usage_words(usage: Usage | None, language: str) -> str:
    """Return what a kernel's process uses (pid, memory, CPU, start), and its language; "" for what is not known."""
    words = []
    if usage is not None:
        memory = f"{usage.memory / 1e9:.1f} GB" if usage.memory >= 1e9 else f"{usage.memory / 1e6:.0f} MB"
        words = [f"pid {usage.pid}", memory, f"{usage.cpu:.0f} % CPU", f"started {usage.started:%Y-%m-%d %H:%M}"]
    return ", ".join(filter(None, [*words, visible(language)]))


def problem_line(report: ServerReport) -> str:
    """Return one line: why a server did not answer, and what to do."""
    name = "" if report.is_named else report.server.name or report.server.url
    return visible(sentence(name, report.problem, report.remedy))


def claim_lines(claims: Iterable[Kernel]) -> list[str]:
    """Return a line for each sandboxed server that lists ids of your own kernels: those rows are left out."""
    ids: dict[str, list[str]] = {}
    for kernel in claims:
        ids.setdefault(kernel.server.name if kernel.server else "", []).append(kernel.short_id)
    lines = []
    for name, them in ids.items():
        some = ", ".join(map(visible, them[:3])) + (", …" if len(them) > 3 else "")
        one = len(them) == 1
        what = "a kernel with an id of yours" if one else f"{len(them)} kernels with ids of yours"
        are, it = ("is", "it") if one else ("are", "them")
        server = visible(name)
        lines.append(f"{server} lists {what} ({some}), which {are} not shown here. {server}::MATCH means {it}")
    return lines


def transport(kernel: Kernel) -> str:
    """Return the transport that `--transport auto` would choose for `kernel`: `zmq`, `ws`, or "" for none."""
    if kernel.connection_file:
        return "zmq"
    return "ws" if kernel.server else ""
