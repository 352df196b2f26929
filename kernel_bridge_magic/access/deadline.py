"""One deadline for several steps that wait."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Deadline:
    """A point of the monotonic clock, `at` (in seconds), by which something has to be done."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is so many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """The seconds until then, 0.0 once it has passed."""
        return max(self.at - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.at

    def require(self) -> float:
        """Return the seconds until then, for a step that cannot be made without time.

        Raises:
            TimeoutError: there are none.
        """
        if self.is_over:
            raise TimeoutError
        return self.left


#: The deadline of what may take as long as it likes.
NEVER = Deadline(math.inf)
