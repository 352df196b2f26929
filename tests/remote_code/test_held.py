"""What waits in the other kernel: not for long, and not much of it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_bridge_magic.remote_code import source
from kernel_bridge_magic.remote_code.codec import FILES


class Shell:
    """What stands in for IPython's."""


class File:
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Any:
    names: dict[str, Any] = {"__name__": "there"}
    for name in (*FILES, "held"):
        exec(source(name), names)
    names["clock"], names["timers"] = [0.0], []
    names["time"] = SimpleNamespace(monotonic=lambda: names["clock"][0])

    def timer(seconds: float, look: Any) -> Any:
        names["timers"].append(look)
        return SimpleNamespace(start=lambda: None, cancel=lambda: names["timers"].remove(look))

    names["threading"] = SimpleNamespace(RLock=threading.RLock, Timer=timer)
    return SimpleNamespace(**names)


def test_what_nobody_asks_for_goes_and_what_is_asked_for_stays(there: Any) -> None:
    shell, forgotten = Shell(), File()
    held = there.held_of(shell)
    held.add("forgotten", forgotten)
    held.add("wanted", bytearray(4))
    there.clock[0] = there.HELD_SECONDS - 1
    assert held.get("wanted") is not None
    there.clock[0] += 1
    held.look()
    assert forgotten.closed and list(held.items) == ["wanted"] and there.held_of(shell) is held
    there.clock[0] += there.HELD_SECONDS
    held.look()
    assert not vars(shell)


def test_one_timer_looks_after_all(there: Any) -> None:
    held = there.held_of(Shell())
    for token in "abc":
        held.add(token, b"")
    assert len(there.timers) == 1
    there.timers[0]()
    assert len(there.timers) == 2


def test_the_oldest_makes_room_and_a_token_used_again_closes_what_it_had(there: Any) -> None:
    held, files = there.held_of(Shell()), [File() for _ in range(there.MOST_HELD + 1)]
    for number, file in enumerate(files):
        held.add(str(number), file)
    assert [file.closed for file in files] == [True] + [False] * there.MOST_HELD
    held.add("1", File())
    assert files[1].closed and len(held.items) == there.MOST_HELD


def test_a_second_guest_finds_the_same_and_the_last_one_leaves_nothing(there: Any) -> None:
    shell = Shell()
    there.held_of(shell).add("one", bytearray(4))
    there.held_of(shell).add("two", b"abcd")
    held = there.held_of(shell)
    assert held.fill("one", 1, b"xy") and held.piece("one", 0, 4) == b"\0xy\0"
    assert not held.fill("one", 3, b"xy") and not held.fill("three", 0, b"")
    assert held.piece("two", 1, 3) == b"bc" and held.piece("three", 0, 1) == b""
    held.drop("one")
    held.drop("two")
    held.drop("two")
    assert not vars(shell)


def test_with_the_last_thing_its_timer_goes(there: Any) -> None:
    """Else thirty copies in a row would leave thirty threads that wait for nothing."""
    for number in range(30):
        held = there.held_of(Shell())
        held.add(str(number), bytearray(4))
        assert len(there.timers) == 1
        held.drop(str(number))
        assert not there.timers
