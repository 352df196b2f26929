"""`Jobs`: the background jobs of one shell; `JobList`: their table."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import NamedTuple

from kernel_bridge_magic.display.grid import NO_TERMINAL, Column, Table, fit, html_page, html_table
from kernel_bridge_magic.errors import BadOption, Fate
from kernel_bridge_magic.jobs.job import RemoteJob
from kernel_bridge_magic.text import count, visible

_MOST_OVER = 100  # jobs that are over and are remembered: each keeps its outputs


class _Row(NamedTuple):
    number: str
    name: str
    state: str


_COLUMNS = (
    Column("number", "job", "number", always=True),
    Column("name", "kernel", "name", always=True, html=lambda row: html.escape(row.name)),
    Column("state", "state", always=True),
)


class JobList(Table, list[RemoteJob]):
    """Jobs, which notebooks and terminals show as a table."""

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return the table as lines of at most `width` columns."""
        return "\n".join(fit(_COLUMNS, self._rows(), width)) if self else _NONE

    def _repr_html_(self) -> str:
        return html_page(
            html_table(_COLUMNS, self._rows(), lambda row: ("", "")) if self else "", [] if self else [_NONE]
        )

    def _rows(self) -> list[_Row]:
        return [_Row(str(job.number), visible(job.kernel.title), job.state()) for job in self]


_NONE = "no jobs were begun here"


class Jobs:
    """The jobs that one shell has begun, by number. Those that are over are forgotten when there are many."""

    def __init__(self) -> None:
        self._jobs: dict[int, RemoteJob] = {}
        self._last = 0

    def number(self) -> int:
        """Return the number of the next job."""
        self._last += 1
        return self._last

    def add(self, job: RemoteJob) -> None:
        """Remember a job."""
        over = [number for number, it in self._jobs.items() if it.is_over]
        for number in over[: max(len(over) - _MOST_OVER, 0)]:
            del self._jobs[number]
        self._jobs[job.number] = job

    def get(self, number: str) -> RemoteJob:
        """Return the job that somebody calls `number`.

        Raises:
            BadOption: there is none.
        """
        job = self._jobs.get(int(number)) if number.isascii() and number.isdecimal() and len(number) < 10 else None
        if job is None:
            known = f"there are {', '.join(map(str, self._jobs))}" if self._jobs else _NONE
            raise BadOption(f"there is no job {visible(number)[:20]}: {known}")
        return job

    @property
    def all(self) -> JobList:
        """All jobs, the oldest first."""
        return JobList(self._jobs.values())

    def leave(self, why: str) -> str:
        """Stop waiting for the jobs that are not over; return a line about them, "" where there are none."""
        left = [job for job in self._jobs.values() if not job.is_over]
        for job in left:
            job.leave(why)
        not_sent = [job for job in left if job.status == Fate.NOT_RUN]
        running = [job for job in left if job not in not_sent]
        told = [(running, "left running"), (not_sent, "not sent, and so not run")]
        return "; ".join(f"{count(len(jobs), 'job')} {how}: {_named(jobs)}" for jobs, how in told if jobs)


def _named(jobs: Iterable[RemoteJob]) -> str:
    return ", ".join(f"{job.number} ({visible(job.kernel.title)})" for job in jobs)
