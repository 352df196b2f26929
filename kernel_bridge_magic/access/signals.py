"""Signals that tell a process to end: which of them there are here, and how to make them wait.

It imports next to nothing, since the command line calls `postpone` before anything else.
"""

import signal

#: What tells a process to end: SIGTERM, and SIGHUP where a terminal can go away.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def postpone() -> frozenset[int]:
    """Make Ctrl-C and the signals that tell this process to end wait; return what `resume` needs.

    Without `pthread_sigmask` nothing can wait, and nothing is done.
    """
    block = getattr(signal, "pthread_sigmask", None)
    return frozenset(block(signal.SIG_BLOCK, (signal.SIGINT, *ENDING)) if block else ())


def resume(mask: frozenset[int]) -> None:
    """Let the signals come that `postpone` made wait; `mask` is what that returned."""
    block = getattr(signal, "pthread_sigmask", None)
    if block:
        block(signal.SIG_SETMASK, mask)
