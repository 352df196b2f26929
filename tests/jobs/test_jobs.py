"""The background jobs of one shell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from kernel_bridge_magic.errors import BadOption
from kernel_bridge_magic.jobs.jobs import JobList, Jobs
from kernel_bridge_magic.models import Kernel
from tests.support.matches import ANALYSIS


@dataclass
class Job:
    """As much of a job as its list needs."""

    number: int
    is_over: bool = False
    kernel: Kernel = ANALYSIS
    left: list[str] = field(default_factory=list)
    status: str = "running"

    def state(self) -> str:
        return "ok 0:05" if self.is_over else "running since 23:41, 0:42"

    def leave(self, why: str) -> None:
        self.left.append(why)
        self.status = "left running" if self.status == "running" else "not run"


def begun(jobs: Jobs, *over: bool) -> list[Any]:
    made: list[Any] = []
    for is_over in over:
        made.append(Job(jobs.number(), is_over))
        jobs.add(made[-1])
    return made


def test_a_job_is_found_by_its_number() -> None:
    jobs = Jobs()
    with pytest.raises(BadOption, match=r"^there is no job 1: no jobs were begun here$"):
        jobs.get("1")
    first, second = begun(jobs, True, False)
    assert (jobs.get("1"), jobs.get("2")) == (first, second)
    for number in ("3", "x", "-1", "1" * 30, "²", ""):
        with pytest.raises(BadOption, match=r"there are 1, 2$"):
            jobs.get(number)


def test_jobs_are_a_table() -> None:
    jobs = Jobs()
    assert repr(jobs.all) == "no jobs were begun here" and "no jobs" in jobs.all._repr_html_()
    begun(jobs, True, False)
    assert isinstance(jobs.all, JobList)
    assert repr(jobs.all).splitlines() == [
        "job  kernel               state",
        "  1  work/analysis.ipynb  ok 0:05",
        "  2  work/analysis.ipynb  running since 23:41, 0:42",
    ]
    assert "<td" in jobs.all._repr_html_()


def test_at_the_end_those_that_run_are_left_and_named() -> None:
    jobs = Jobs()
    assert jobs.leave("this shell has ended") == ""
    over, running, connecting = begun(jobs, True, False, False)
    connecting.status = "connecting"
    assert jobs.leave("this shell has ended") == (
        "1 job left running: 2 (work/analysis.ipynb); 1 job not sent, and so not run: 3 (work/analysis.ipynb)"
    )
    assert (over.left, running.left) == ([], ["this shell has ended"])


def test_of_many_that_are_over_the_oldest_are_forgotten() -> None:
    jobs = Jobs()
    begun(jobs, False, *[True] * 150)
    numbers = [job.number for job in jobs.all]
    assert len(numbers) < 110 and numbers[0] == 1 and numbers[-1] == 151
