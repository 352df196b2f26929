from __future__ import annotations

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.repeats import Repeats


def numbered(number: int, *, channel: str = "iopub") -> Message:
    return Message(channel, {"msg_id": f"kernel_4242_{number}", "msg_type": "stream", "session": "kernel"})


def test_what_came_before_the_link_broke_is_a_repeat_and_nothing_else() -> None:
    repeats = Repeats()
    assert not any(repeats.is_repeat(numbered(number)) for number in range(10))
    assert not repeats.is_repeat(numbered(3, channel="shell")), "another channel"
    repeats.broke()
    assert repeats.is_repeat(numbered(9))
    assert not repeats.is_repeat(numbered(10))
    repeats.broke()
    assert repeats.is_repeat(numbered(9)) and repeats.is_repeat(numbered(10))


def test_what_is_remembered_does_not_grow_with_every_break() -> None:
    repeats = Repeats()
    for number in range(20_000):
        repeats.is_repeat(numbered(number))
        if number % 100 == 0:
            repeats.broke()
    assert len(repeats._before) <= 5000
    assert repeats.is_repeat(numbered(19_900))


def test_a_kernel_whose_ids_are_not_unique_loses_nothing() -> None:
    repeats = Repeats()
    assert not any(repeats.is_repeat(numbered(1)) for _ in range(3))
    repeats.broke()
    assert not repeats.is_repeat(numbered(1))
    nameless = Message.parse("iopub", {"msg_type": "stream"})
    assert not repeats.is_repeat(nameless) and not repeats.is_repeat(nameless)
