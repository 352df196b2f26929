"""`Pump`: the thread that handles what comes from kernels while no cell runs."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

_CLOSE_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Pump:
    """One thread that calls handlers in order, for all connections of a shell. It starts when it is first needed."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, handle: Callable[[], object]) -> None:
        """Have `handle` called in the thread, after all that was put before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kernel-bridge-pump", daemon=True)
                self._thread.start()
        self._items.put(handle)

    def settle(self, seconds: float) -> None:
        """Wait until all that was put before is handled, `seconds` at most."""
        if self._thread is None or self._thread is threading.current_thread():
            return
        reached = threading.Event()
        self._items.put(reached.set)
        reached.wait(seconds)

    def close(self) -> None:
        """End the thread once all that was put before is handled."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._items.put(None)
            thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while (handle := self._items.get()) is not None:
            try:
                handle()
            except Exception:
                # Whatever a front end raises for one message, the next ones are still to be shown.
                _log.warning("could not show what came after its cell", exc_info=True)
