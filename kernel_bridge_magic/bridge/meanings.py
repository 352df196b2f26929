"""What a MATCH meant, for the next cell, and what each server listed last, for when one has fallen silent. No I/O.

A notebook may be renamed, closed, or get a namesake between two cells, so that a meaning is believed for a moment
only, and not after a listing. Times are of the monotonic clock.
"""

from __future__ import annotations

import dataclasses
import posixpath
import threading
from collections.abc import Callable
from typing import NamedTuple

from kernel_bridge_magic.models import Kernel, Origin
from kernel_bridge_magic.reports import Listing

__all__ = ["Meaning", "Meanings"]

_SECONDS = 2.0
_MOST = 1000  # MATCHes, and servers: only a fuzzer knows that many


class Meaning(NamedTuple):
    """The kernel that a MATCH meant, and when it was asked for."""

    kernel: Kernel
    when: float

    def is_fresh(self, now: float, last_listing: float) -> bool:
        """Return whether the next cell may believe it: soon after, and with no listing since."""
        return now - self.when < _SECONDS and last_listing <= self.when


class Meanings:
    """The memory of one `Bridge`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._meant: dict[tuple[str, str | None], Meaning] = {}
        self._rows: dict[Origin, tuple[float, tuple[Kernel, ...]]] = {}

    def get(self, match: str, server: str | None) -> Meaning | None:
        """Return what a MATCH meant last, fresh or not."""
        with self._lock:
            return self._meant.get((match, server))

    def put(self, match: str, server: str | None, kernel: Kernel, listing: Listing) -> None:
        """Remember what a MATCH means by a listing."""
        with self._lock:
            if len(self._meant) >= _MOST:
                self._meant.clear()
            self._meant[match, server] = Meaning(kernel, listing.when)

    def hear(self, listing: Listing) -> None:
        """Remember what each server lists that has answered in full."""
        rows: dict[Origin, list[Kernel]] = {it.server.origin: [] for it in listing.servers if not it.problem}
        for kernel in (*listing.kernels, *listing.claims):
            if kernel.server is not None and kernel.server.origin in rows:
                rows[kernel.server.origin].append(kernel)
        with self._lock:
            if len(self._rows) >= _MOST:
                self._rows.clear()
            for origin, kernels in rows.items():
                if self._rows.get(origin, (0.0, ()))[0] <= listing.when:
                    self._rows[origin] = listing.when, tuple(kernels)

    def fill(self, listing: Listing, known: Kernel, last_answer: Callable[[Origin], float]) -> Listing:
        """Put what was known last in the place of a kernel's server that was late, or of the kernel itself.

        `last_answer` tells when that server was asked that it answered somebody in this process: after what is
        remembered here, and that is not true any more.
        """
        # The kernel itself is stopped, or the disk is where its file is, and its server's.
        places = {known.connection_file, posixpath.dirname(known.connection_file)} - {""}
        lost = any(it.silent and it.path in places for it in listing.skipped)
        if known.server is None:
            return dataclasses.replace(listing, kernels=(*listing.kernels, known)) if lost else listing
        origin = known.server.origin
        at = {origin, known.server.hub.origin} if known.server.hub else {origin}
        told = [it.late for it in listing.servers if it.server.origin in at]
        with self._lock:
            when, rows = self._rows.get(origin, (0.0, ()))
        if last_answer(origin) > when or not (any(told) if told else lost):
            return listing
        ids = {kernel.id for kernel in rows}

        def stays(kernel: Kernel) -> bool:
            # While its server is silent, a kernel of this machine is found by its connection file, with no notebook.
            place = kernel.server.origin if kernel.server else None
            return place != origin and not (place is None and kernel.id in ids)

        return dataclasses.replace(
            listing,
            kernels=(*filter(stays, listing.kernels), *(it for it in rows if not it.claimed)),
            claims=(*filter(stays, listing.claims), *(it for it in rows if it.claimed)),
        )

    def clear(self) -> None:
        """Forget everything: what was found knows its server as it was."""
        with self._lock:
            self._meant.clear()
            self._rows.clear()
