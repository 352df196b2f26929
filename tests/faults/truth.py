"""Ground truth for fault tests: a cell that leaves a trace for each line it prints, and what is held against it.

The cell prints `L<i>` and then appends `i` to a file, with fsync: whatever becomes of the link, the file says which
lines were printed, and how often. Each line is one message: `print` writes twice, which is sometimes two.
"""

from __future__ import annotations

import queue
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.events import Event, Lost, Note, Started, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.faults.proxy import FaultProxy
from tests.support.servers import JupyterServer
from tests.support.transports import found, transport_of

CODE = """
import os as _os, sys as _sys, time as _time
for _i in range({count}):
    _sys.stdout.write('L%d\\n' % _i); _sys.stdout.flush()
    with open({path!r}, 'a') as _file:
        _file.write('%d\\n' % _i); _file.flush(); _os.fsync(_file.fileno())
    _time.sleep({pause})
"""


#: A cell's messages on IOPub beside its lines: busy, execute_input, idle.
FRAME = 3


class Counting(WebSocketTransport):
    """Keeps how many messages came over IOPub for each request."""

    def __init__(self, kernel: Kernel, server: Server, vault: Vault) -> None:
        super().__init__(kernel, server, vault)
        self.came: Counter[str] = Counter()

    def _dispatch(self, message: Message) -> None:
        self.came[message.parent_id] += message.channel == "iopub"
        super()._dispatch(message)


def through(
    server: JupyterServer, proxy: FaultProxy, kernel_id: str
) -> tuple[KernelConnection, WebSocketTransport, Kernel]:
    """An open WebSocket to a kernel whose every byte goes through the proxy; REST does, too."""
    base = parse_base_url(f"http://127.0.0.1:{proxy.port}/")
    vault = Vault()
    vault.put(base.origin, Secret(server.token))
    where = Server(base.url, "proxied", base.origin, trusted=True)
    kernel = found(server, kernel_id)
    transport = Counting(kernel, where, vault)
    transport.open(75)
    return KernelConnection(kernel, transport, Control(kernel, ServerAPI(where, vault))), transport, kernel


@dataclass
class Run:
    """One cell, iterated in a thread of its own; `events` are those that came, each with its time in seconds."""

    execution: Execution
    path: Path
    count: int
    began: float = field(default_factory=time.monotonic)
    events: list[tuple[float, Event]] = field(default_factory=list)
    problem: BaseException | None = None
    came: Counter[str] | None = None
    #: when its fate was known, in seconds
    ended: float = 0.0

    def start(self) -> Run:
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="run")
        self._thread.start()
        return self

    def _work(self) -> None:
        try:
            for event in self.execution:
                self.events.append((time.monotonic() - self.began, event))
                self._news.put(None)
        except BaseException as problem:
            self.problem = problem
        finally:
            self.ended = self.now
            self._news.put(None)

    def until(self, condition: Callable[..., object], seconds: float = 30) -> None:
        """Wait until a condition on what came holds; it is called without arguments, as by `wait_for`."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0 and self._thread.is_alive(), (self.events[-5:], self.problem)
            self._news.get(timeout=left)

    def join(self, seconds: float = 60) -> Run:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.events[-5:]
        assert self.problem is None, self.problem
        return self

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    # -- what came

    @property
    def fate(self) -> Fate:
        assert self.execution.result is not None
        return self.execution.result.fate

    @property
    def told(self) -> str:
        """The cell's end in words."""
        assert self.execution.result is not None
        return str(self.execution.result.error or "ok")

    @property
    def started(self) -> bool:
        return any(isinstance(event, Started) for _, event in self.events)

    @property
    def lines(self) -> list[int]:
        """The numbers of the lines shown."""
        text = "".join(event.text for _, event in self.events if isinstance(event, Stream))
        return [int(number) for number in re.findall(r"^L(\d+)$", text, re.M)]

    @property
    def losses(self) -> list[Lost]:
        return [event for _, event in self.events if isinstance(event, Lost)]

    @property
    def notes(self) -> list[str]:
        return [event.text for _, event in self.events if isinstance(event, Note)]

    def when(self, words: str) -> float:
        """When a note with these words came, in seconds since the start."""
        for when, event in self.events:
            if isinstance(event, Note) and words in event.text:
                return when
        raise AssertionError(f"{words!r} was not said: {self.notes}")

    @property
    def missing_told(self) -> int:
        return sum(loss.count or 0 for loss in self.losses)

    @property
    def exact(self) -> bool:
        return not any("up to" in loss.reason for loss in self.losses)

    @property
    def uncounted(self) -> bool:
        """Whether it was told that nobody can tell how much is missing."""
        assert self.execution.result is not None
        said = any("cannot be told" in note for note in self.notes) or any(loss.count is None for loss in self.losses)
        return said and self.execution.result.missing is None

    # -- what was

    @property
    def printed(self) -> list[int]:
        """The numbers in the file."""
        return [int(line) for line in self.path.read_text().split()] if self.path.exists() else []

    def check(self) -> int:
        """Hold what was told against what was; give how many lines were lost."""
        printed, lines = self.printed, self.lines
        assert len(printed) == len(set(printed)), "the cell ran twice"
        assert lines == sorted(set(lines)), "twice, or out of order"
        assert set(lines) <= {*printed, max(printed, default=-1) + 1}, "shown, and never printed"
        lost = len(set(printed) - set(lines))
        if self.fate is Fate.OK:
            assert printed == list(range(self.count)), "ok, and not at its end"
            # What is told counts messages; all but the cell's frame are lines.
            messages = lost if self.came is None else self.count + FRAME - self.came[self.execution.msg_id]
            # A cell whose reply is in is not waited for any longer than R1 says: an idle that comes later is no loss.
            least = messages - (self.came is not None and not self.execution.request.idle)
            what = (self.missing_told, least, messages, lost, self.notes, self.losses)
            if self.uncounted:
                return lost
            assert least <= self.missing_told, what
            assert self.missing_told <= messages or not self.exact, what
        elif self.fate is Fate.NOT_RUN:
            assert not printed, "not run, and it ran"
        elif self.fate is Fate.UNKNOWN:
            assert self.uncounted or self.missing_told >= lost, (self.missing_told, lost, self.losses, self.notes)
        else:
            assert self.told
        return lost


def run(
    connection: KernelConnection,
    directory: Path,
    count: int,
    pause: float,
    timeout: float | None = None,
    *,
    durable: bool = False,
) -> Run:
    """Send a cell that prints `count` lines, `pause` seconds apart."""
    path = directory / f"truth-{uuid.uuid4().hex[:8]}"
    code = CODE.format(count=count, path=str(path), pause=pause)
    execution = connection.start(Cell(code, timeout=timeout, durable=durable))
    # What the link loses of a durable cell is fetched: its lines tell what came, and not the messages on the wire.
    came = None if durable else getattr(transport_of(connection), "came", None)
    return Run(execution, path, count, came=came).start()
