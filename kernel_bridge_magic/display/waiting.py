"""Say what a cell waits for, no more than is known, and what an interrupt here does."""

from __future__ import annotations

from kernel_bridge_magic.protocol.events import Queued


def waiting(event: Queued, kernel: str, stop: str, *, busy: bool = False) -> str:
    """Return the line for a cell that waits for its turn. `kernel` is the kernel's title, `stop` how one interrupts.

    `busy` is whether the kernel's server calls it busy. That counts if no connection of ours has heard what the kernel
    runs. A server that calls a kernel idle proves nothing, so no line says that.
    """
    left = f"{stop} to leave this one in the queue; nothing will be interrupted"
    if event.connecting:
        held_up = "lets nobody in until the kernel answers, which may be busy or starting (a minute at most)"
        return f"waiting: the server of {kernel} {held_up}. {stop} to give up; nothing was sent yet"
    if event.starting:
        return f"waiting: {kernel} does not answer; it may still be starting"
    if not event.since and not event.ours:
        if busy:
            return f"waiting: {kernel} is busy, as its server says. {left}"
        return f"waiting: {kernel} does not answer; it may be busy"
    whose = "an earlier cell of yours" if event.ours else "another client's cell"
    is_running = "is running" if event.sure else "is probably still running"
    since = f" (since {event.since})" if event.since else ""
    return f"waiting: {kernel} {is_running} {whose}{since}. {left}"
