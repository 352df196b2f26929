"""What each MATCH meant last, and what each server listed last, for when it does not answer. No I/O.

A notebook may be renamed, closed, or get a namesake between two cells. So a meaning is trusted for two seconds, and
only until the next listing. Times are of the monotonic clock.
"""

from __future__ import annotations

import dataclasses
import posixpath
import threading
from collections.abc import Callable
from typing import NamedTuple

from kernel_bridge_magic.models import Kernel, Origin
from kernel_bridge_magic.reports import Listing

_SECONDS = 2.0
_MOST = 1000  # MATCHes, and servers: nobody but a fuzzer has that many


class Meaning(NamedTuple):
    """The kernel that a MATCH meant, and when the listing began that said so."""

    kernel: Kernel
    when: float

    def is_fresh(self, now: float, last_listing: float) -> bool:
        """Return whether the next cell may use it without a look: soon after, and with no listing since."""
        return now - self.when < _SECONDS and last_listing <= self.when


class Meanings:
    """The meanings and listings that one `Bridge` remembers. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._meant: dict[tuple[str, str | None], Meaning] = {}
        self._rows: dict[Origin, tuple[float, tuple[Kernel, ...]]] = {}

    def get(self, match: str, server: str | None) -> Meaning | None:
        """Return what a MATCH meant last, fresh or not."""
        with self._lock:
            return self._meant.get((match, server))

    def put(self, match: str, server: str | None, kernel: Kernel, listing: Listing) -> None:
        """Record what a MATCH means according to a listing."""
        with self._lock:
            if len(self._meant) >= _MOST:
                self._meant.clear()
            self._meant[match, server] = Meaning(kernel, listing.when)

    def hear(self, listing: Listing) -> None:
        """Record what each server lists that has answered in full."""
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
        """Return the listing with what was known last of a server that was late, or of a kernel that was silent.

        `known` is the kernel; only its own server is filled in. `last_answer` returns when a server was asked for the
        last listing in this process that it answered. If that is later than what is remembered here, nothing is filled.
        """
        # Silent is the process of the kernel, or the disk that holds its file and its server's.
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
            # While its server is silent, a kernel of this machine is found by its connection file, without notebook.
            place = kernel.server.origin if kernel.server else None
            return place != origin and not (place is None and kernel.id in ids)

        return dataclasses.replace(
            listing,
            kernels=(*filter(stays, listing.kernels), *(it for it in rows if not it.claimed)),
            claims=(*filter(stays, listing.claims), *(it for it in rows if it.claimed)),
        )

    def clear(self) -> None:
        """Forget everything, since the servers have changed."""
        with self._lock:
            self._meant.clear()
            self._rows.clear()
