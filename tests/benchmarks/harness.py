"""Measure rows in interleaved rounds, and state ratios: what a machine does meanwhile hits all cases of a row alike.

A row has several cases: *ours*, what ours cannot do without (its *floor*), and what others take for the same (*peers*).
Absolute times depend on the machine, so that a limit is a ratio to the floor wherever there is one.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: What is measured: it does the work once and returns nothing, or returns the seconds, or another figure, itself.
Case = Callable[[], float | None]
#: Prepares the cases of a row, by their names: the first is ours, one may be called `floor`.
Prepare = Callable[[contextlib.ExitStack], Mapping[str, Case]]


_MANY = 100  # of so many the slowest ones say something, too


@dataclass(frozen=True)
class Row:
    """What is measured. `limit` is in `unit`, or times the floor where there is one; None for no promise.

    The unit is seconds; where it is another one, a case returns its figure itself.
    """

    name: str
    prepare: Prepare
    limit: float | None = None
    rounds: int = 7
    warm_up: int = 2
    unit: str = "s"


@dataclass
class Measured:
    """The seconds of each case of a row, one for each round."""

    row: Row
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, case: str) -> float:
        """Return the median of a case, in seconds."""
        return statistics.median(self.seconds[case])

    @property
    def ours(self) -> str:
        """The name of our case."""
        return next(iter(self.seconds))

    @property
    def ratio(self) -> float | None:
        """How many times the floor ours takes: the median of the rounds' ratios. None without a floor."""
        if "floor" not in self.seconds:
            return None
        pairs = zip(self.seconds[self.ours], self.seconds["floor"], strict=True)
        return statistics.median(ours / floor for ours, floor in pairs)

    @property
    def holds(self) -> bool:
        """Whether the limit holds, if there is one."""
        if self.row.limit is None:
            return True
        return (self.median(self.ours) if self.ratio is None else self.ratio) <= self.row.limit

    def lines(self) -> list[str]:
        """Return what was measured, for people."""
        limit, ratio = self.row.limit, self.ratio
        promise = "" if limit is None else f", limit {limit:g}" + (f" {self.row.unit}" if ratio is None else "")
        times = "" if ratio is None else f"  {ratio:.2f} times the floor"
        head = f"{self.row.name}{times}{promise}{'' if self.holds else '  EXCEEDED'}"
        return [
            head,
            *(
                f"  {case:24} {self._figure(self.median(case))}  ({self._spread(them)})"
                for case, them in self.seconds.items()
            ),
        ]

    def _figure(self, number: float) -> str:
        return _time(number) if self.row.unit == "s" else f"{number:8.2f} {self.row.unit}"

    def _spread(self, numbers: list[float]) -> str:
        spread = f"{self._figure(min(numbers)).strip()} to {self._figure(max(numbers)).strip()}"
        if len(numbers) < _MANY:
            return spread
        return f"{spread}, 95 % within {self._figure(statistics.quantiles(numbers, n=20)[-1]).strip()}"

    def model(self) -> dict[str, Any]:
        """Return what was measured, for JSON."""
        return {
            "name": self.row.name,
            "unit": self.row.unit,
            "seconds": self.seconds,
            "medians": {case: self.median(case) for case in self.seconds},
            "ratio": self.ratio,
            "limit": self.row.limit,
            "holds": self.holds,
        }


def measure(row: Row, rounds: int | None = None) -> Measured:
    """Measure a row: each round runs all its cases, one after the other."""
    measured = Measured(row)
    with contextlib.ExitStack() as stack:
        cases = row.prepare(stack)
        for number in range(row.warm_up + (rounds or row.rounds)):
            for name, case in cases.items():
                seconds = _seconds(case)
                if number >= row.warm_up:
                    measured.seconds.setdefault(name, []).append(seconds)
    return measured


def report(measured: list[Measured]) -> dict[str, Any]:
    """Return everything as one JSON object, with what the machine is."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rows": [one.model() for one in measured],
    }


def _seconds(case: Case) -> float:
    began = time.perf_counter()
    given = case()
    return time.perf_counter() - began if given is None else given


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:8.2f} us"
    return f"{seconds * 1e3:8.1f} ms" if seconds < 1 else f"{seconds:8.2f} s "
