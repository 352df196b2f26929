"""What is said of a cell that waits: whole texts, since they are the matter."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.display.waiting import waiting
from kernel_bridge_magic.protocol.events import Queued


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Queued(), "does not answer; it may be busy"),
        (Queued(starting=True), "does not answer; it may still be starting"),
        (
            Queued("22:18:48", ours=True),
            "is running an earlier cell of yours (since 22:18:48). Stop to leave this one in the queue; nothing will "
            "be interrupted",
        ),
        (
            Queued("22:18:48"),
            "is running another client's cell (since 22:18:48). Stop to leave this one in the queue; nothing will be "
            "interrupted",
        ),
        (
            Queued("22:18:48", ours=True, sure=False),
            "is probably still running an earlier cell of yours (since 22:18:48). Stop to leave this one in the queue; "
            "nothing will be interrupted",
        ),
        (
            Queued(ours=True),
            "is running an earlier cell of yours. Stop to leave this one in the queue; nothing will be interrupted",
        ),
    ],
)
def test_no_more_is_said_than_is_known(event: Queued, line: str) -> None:
    assert waiting(event, "work/a.ipynb", "Stop") == f"waiting: work/a.ipynb {line}"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Queued(), "is busy, as its server says. Stop to leave this one in the queue; nothing will be interrupted"),
        (Queued(starting=True), "does not answer; it may still be starting"),
        (
            Queued("22:18:48"),
            "is running another client's cell (since 22:18:48). Stop to leave this one in the queue; nothing will be "
            "interrupted",
        ),
    ],
)
def test_its_server_s_word_counts_where_nothing_else_is_known(event: Queued, line: str) -> None:
    assert waiting(event, "a.ipynb", "Stop", busy=True) == f"waiting: a.ipynb {line}"


def test_it_names_the_key_that_interrupts_here() -> None:
    assert "(since 10:00:00). Ctrl-C to leave" in waiting(Queued("10:00:00"), "a", "Ctrl-C")


def test_a_server_that_lets_nobody_in_is_told_of() -> None:
    assert waiting(Queued(connecting=True), "a.ipynb", "Stop") == (
        "waiting: the server of a.ipynb lets nobody in until the kernel answers, which may be busy or starting (a "
        "minute at most). Stop to give up; nothing was sent yet"
    )
