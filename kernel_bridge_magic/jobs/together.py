"""`Together`: shows what comes of one cell on many kernels in one place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from kernel_bridge_magic.bridge.runner import note_interruption, say_beside
from kernel_bridge_magic.bridge.widgets import WidgetBridge
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.groups import Shown, not_shown, summary
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import BadVariable, Fate, FateError, NotCopied
from kernel_bridge_magic.jobs.fanout import Begun, Came, FanOut, run
from kernel_bridge_magic.jobs.results import RemoteResults, without_name
from kernel_bridge_magic.matching.several import headings_of
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import Parent
from kernel_bridge_magic.protocol.events import Event, Queued, Started
from kernel_bridge_magic.results import RemoteResult

#: How long what has changed waits to be painted. JupyterLab draws 50 changed blocks in a tenth of a second.
PAINT_SECONDS = 0.25


class Painter(Protocol):
    """Shows all kernels at once."""

    def paint(self, shown: Sequence[Shown], changed: Collection[int]) -> Collection[int] | None:
        """Show the kernels as they are now; those of the numbers `changed` are not as they were.

        Return the numbers of those that are to be shown the next time, where they are too many.
        """

    def end(self, shown: Sequence[Shown], seconds: float, *, group: bool) -> None:
        """Show what came of it, in place of what was shown before."""


class _One:
    """What is known of one kernel, and where its events go."""

    def __init__(self, kernel: Kernel, sink: GroupSink, relay: Relay) -> None:
        self.kernel = kernel
        self.sink = sink
        self.relay = relay
        self.doing = "connecting"
        self.why = ""
        self.result: RemoteResult | None = None
        self.stack = contextlib.ExitStack()


class Together:
    """Shows what comes of a fan-out. All methods belong to one thread."""

    def __init__(
        self,
        kernels: Sequence[Kernel],
        painter: Painter,
        new_sink: Callable[[str], GroupSink],
        *,
        widgets_of: Callable[[KernelConnection], WidgetBridge] | None = None,
        parent: Parent = None,
        links: Sequence[str] = (),
        hold_result: bool = False,
    ) -> None:
        self._painter = painter
        self._widgets_of = widgets_of
        self._parent = parent
        self._hold_result = hold_result
        self._names = headings_of(kernels)
        self._links = list(links) or [""] * len(kernels)
        self._ones = [self._one(kernel, new_sink(name)) for kernel, name in zip(kernels, self._names, strict=True)]
        self._began = time.monotonic()
        self._painted = float("-inf")
        self._changed = set(range(len(kernels)))

    def _one(self, kernel: Kernel, sink: GroupSink) -> _One:
        return _One(kernel, sink, Relay(sink, kernel, hold_result=self._hold_result))

    def take(self, number: int, came: Came) -> None:
        """Handle what came of one kernel."""
        one = self._ones[number]
        if isinstance(came, Begun):
            one.doing = "sent"
            with _told_in_its_block(one):
                self._begin(one, came)
        elif isinstance(came, RemoteResult):
            self._finish(one, came)
        else:
            self._note(one, came)
            with _told_in_its_block(one):
                one.relay.show(came)
        self._changed.add(number)

    def _begin(self, one: _One, begun: Begun) -> None:
        if self._widgets_of is not None:
            widgets = self._widgets_of(begun.connection)
            cell = one.stack.enter_context(widgets.cell(begun.execution, self._parent, one.sink, together=True))
            one.relay = Relay(one.sink, one.kernel, hold_result=self._hold_result, widgets=cell)

    def _note(self, one: _One, event: Event) -> None:
        if isinstance(event, Queued):
            one.doing, one.why = "connecting" if event.connecting else "queued", _why(event, one.kernel)
        elif isinstance(event, Started):
            one.doing, one.why = "running", ""

    def _finish(self, one: _One, result: RemoteResult) -> None:
        one.result = result
        with _told_in_its_block(one):
            one.relay.finish()
        with _told_in_its_block(one):
            if isinstance(result.error, FateError | BadVariable | NotCopied):
                one.sink.end(result.error, without_name(str(result.error), one.kernel.title))
            else:
                note_interruption(result.error, one.relay)
        with _told_in_its_block(one):
            one.stack.close()

    def look(self) -> None:
        """Paint what has changed, if it is time."""
        now = time.monotonic()
        if self._changed and now >= self._painted + PAINT_SECONDS:
            left = self._painter.paint(self._shown(recent=True), self._changed)
            self._painted = now
            self._changed = set(left or ())

    def end(self, *, group: bool) -> None:
        """Show what came of it."""
        self.close()
        self._painter.end(self._shown(), time.monotonic() - self._began, group=group)

    def close(self) -> None:
        """Let go of the widgets of all cells."""
        for one in self._ones:
            one.stack.close()

    def summary(self, results: Sequence[RemoteResult | None]) -> str:
        """Return one line about what became of all cells."""
        for one, result in zip(self._ones, results, strict=True):
            one.result = one.result or result
        return summary(self._shown(recent=True))

    def _shown(self, *, recent: bool = False) -> list[Shown]:
        """Return what each kernel has shown; or only the `recent` part of it, which is cheap."""
        return [
            Shown(
                name,
                link,
                None if one.result is None else one.result.fate,
                one.doing,
                _why_now(one),
                0.0 if one.result is None else one.result.seconds,
                one.sink.recent if recent else one.sink.items,
            )
            for name, link, one in zip(self._names, self._links, self._ones, strict=True)
        ]


def show(fan: FanOut, together: Together, *, group: bool) -> RemoteResults:
    """Run a fan-out to its end and show what comes of it; return the outcomes. With `group` equal outputs are one.

    An error while showing is raised. The cells are then left running, and a line on stderr says what became of them.
    """
    try:
        results = run(fan, together.take, together.look)
        together.end(group=group)
    except BaseException as problem:
        together.close()
        say_beside(problem, together.summary(fan.results))
        raise
    return results


@contextlib.contextmanager
def _told_in_its_block(one: _One) -> Iterator[None]:
    """Make an output of one kernel that cannot be shown a line in its block: the cells of the others go on.

    A stream that is broken is broken for all, and its error is raised.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as problem:
        one.sink.note(not_shown(problem))


def _why_now(one: _One) -> str:
    """Return what more is to be said of a kernel beside its state."""
    if one.result is None:
        return one.why
    return f"queued, {one.why}" if one.why and one.result.fate is Fate.LEFT_RUNNING else ""


def _why(event: Queued, kernel: Kernel) -> str:
    """Return in a few words what a cell for `kernel` waits for."""
    if event.connecting:
        return "its server lets nobody in yet"
    if event.starting:
        return "starting"
    if event.since or event.ours:
        return "busy for an earlier cell of yours" if event.ours else "busy for another client"
    return "busy, as its server says" if kernel.state == "busy" else "no answer yet"
