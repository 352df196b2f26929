"""Whoever owns a kernel, at work in it while we are guests."""

from __future__ import annotations

import threading
from pathlib import Path

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.protocol.events import Event, ExecuteResult
from tests.support.servers import wait_for

MAIN = "import os, time\nwhile not os.path.exists({go!r}): time.sleep(0.05)\n'main is done'"


class Owner:
    """Somebody else's cell, which runs in the kernel until `unharmed` is asked; `before` runs first."""

    def __init__(self, connection: KernelConnection, go: Path, code: str = MAIN, *, before: str = "") -> None:
        self.events: list[Event] = []
        self._go = go
        begun = go.with_name(f"{go.name}-begun")
        execution = connection.start(Cell(f"{before}open({str(begun)!r}, 'w').close()\n{code.format(go=str(go))}"))

        def work() -> None:
            for event in execution:
                self.events.append(event)

        self.thread = threading.Thread(target=work)
        self.thread.start()
        # `Started` comes before IPython calls the hooks of a cell that begins: its code may not run for a while.
        wait_for(begun.exists, "the owner's cell")

    def unharmed(self) -> bool:
        """Let it end, and say whether the cell came to that by itself."""
        self._go.touch()
        self.thread.join(30)
        results = [event for event in self.events if isinstance(event, ExecuteResult)]
        return [event.data["text/plain"] for event in results] == ["'main is done'"]
