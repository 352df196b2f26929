"""The end of what may wait."""

from __future__ import annotations

import queue

import pytest

from kernel_bridge_magic.protocol.events import Aside
from kernel_bridge_magic.transports.inbox import Inbox
from tests.support.wire import error, reply, status, stream


def test_items_come_out_as_they_went_in() -> None:
    inbox = Inbox()
    items = [stream("a"), "what a caller puts", status("idle")]
    for item in items:
        inbox.put(item)
    assert len(inbox) == 3
    assert [inbox.get(timeout=0) for _ in items] == items
    assert inbox.empty()
    with pytest.raises(queue.Empty):
        inbox.get(timeout=0)


def test_what_comes_beside_a_cell_weighs_as_much() -> None:
    inbox = Inbox(most=10_000)
    for item in (Aside(stream("x" * 5000)), Aside(stream("x" * 5000)), Aside(status("idle"))):
        inbox.put(item)
    assert (len(inbox), inbox.dropped) == (2, 1)


def test_what_only_shows_something_is_dropped_beyond_the_end_and_taken_again_below_it() -> None:
    inbox = Inbox(most=10_000)
    for item in (stream("x" * 5000), stream("x" * 5000), error("E"), reply(), status("idle"), object()):
        inbox.put(item)
    assert (len(inbox), inbox.dropped) == (5, 1)
    inbox.get(timeout=0)
    inbox.put(stream("y"))
    assert (len(inbox), inbox.dropped) == (5, 1)
