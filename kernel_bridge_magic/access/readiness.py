"""Wait until sockets can be read or written, on every platform.

`select` fails on descriptors above 1023, which notebooks reach; Windows has nothing else, and no such limit there.
"""

from __future__ import annotations

import select
import selectors
from typing import Any


def is_ready(sock: Any, seconds: float, *, write: bool = False) -> bool:
    """Return whether a read (or a write) would not wait, or would fail, within `seconds`."""
    if not hasattr(select, "poll"):
        return _is_selected(sock, seconds, write)
    poll = select.poll()
    try:
        poll.register(sock, select.POLLOUT if write else select.POLLIN)
    except (OSError, ValueError):
        return True  # another thread has closed it meanwhile: whoever uses it is told
    return bool(poll.poll(seconds * 1000))


def _is_selected(sock: Any, seconds: float, write: bool) -> bool:
    wanted = ([], [sock]) if write else ([sock], [])
    try:
        return any(select.select(*wanted, [sock], max(seconds, 0.0)))
    except (OSError, ValueError):
        return True


def selector() -> selectors.BaseSelector:
    """Return a selector for several sockets that needs no descriptor of its own."""
    kind: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return kind()
