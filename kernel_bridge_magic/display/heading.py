"""`Heading`: the lines that name a kernel above what it shows late, when its cell has ended there."""

from __future__ import annotations

import threading


class Heading:
    """What a front end showed last below a line that names a kernel, and in which cells there is such a line.

    Whoever shows something late, or clears a cell, holds `lock`: what came late must not be cleared.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.below: tuple[object, ...] = ()
        self.cells: set[object] = set()
