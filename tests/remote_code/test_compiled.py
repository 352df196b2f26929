"""What was made of a long text is kept in the other kernel, for a minute."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_bridge_magic.remote_code import call_kept, source

KEPT = "kernel_bridge_codec"


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Callable[[], object]]]:
    """The seconds that each timer waits, and what it does then."""
    started: list[tuple[float, Callable[[], object]]] = []

    def timer(seconds: float, what: Callable[..., object], arguments: list[Any]) -> Any:
        return SimpleNamespace(start=lambda: started.append((seconds, lambda: what(*arguments))))

    monkeypatch.setattr("threading.Timer", timer)
    return started


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    shell = SimpleNamespace()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell


def text(name: str) -> Any:
    """The value of a function of a file, run as the kernel runs it."""
    return eval(call_kept("Answer", "made", files=(name, "pieces")), {})


def test_it_is_made_once_and_goes_after_a_minute(
    shell: SimpleNamespace, timers: list[tuple[float, Callable[[], object]]]
) -> None:
    assert text("record").text == text("record").text == "made"
    assert list(vars(shell)) == [KEPT]
    ((seconds, end),) = timers
    assert seconds == 60
    end()
    assert not vars(shell)


def test_another_version_takes_its_place(
    shell: SimpleNamespace, timers: list[tuple[float, Callable[[], object]]]
) -> None:
    text("record")
    first = vars(shell)[KEPT]
    text("fetch")
    assert vars(shell)[KEPT] is not first
    (_, end_of_first), (_, end_of_second) = timers
    end_of_first()
    assert KEPT in vars(shell)
    end_of_second()
    assert not vars(shell)


def test_a_text_that_fails_is_not_kept(
    shell: SimpleNamespace, timers: list[tuple[float, Callable[[], object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kernel_bridge_magic.remote_code.source", lambda name: source("compiled") * (name == "compiled") or "1 / 0\n"
    )
    with pytest.raises(ZeroDivisionError):
        text("status")
    assert not vars(shell) and not timers
