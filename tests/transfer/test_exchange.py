"""Requests and answers, and what ends the wait for them."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.errors import LinkLost, NotCopied
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.protocol.events import Queued, Started
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.transfer import exchange as module
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transports.inbox import Broken, Closed, Inbox
from tests.support.other_kernel import OtherKernel


def silent(there: OtherKernel) -> None:
    there.answers = lambda asked, answer: None


def test_an_answer_comes_to_whoever_has_asked(there: OtherKernel) -> None:
    exchange = Exchange(there, "it")
    assert remote.read(exchange.ask(remote.tell()))
    exchange.close()
    assert not there.router.is_awaited


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (EndSignal.DEAD, "it: its kernel process ended for good"),
        (Broken("reset", "12:00:00"), "the connection to it broke"),
        (Closed("over"), "the connection to it was closed"),
    ],
    ids=str,
)
def test_an_end_ends_the_wait(item: Any, words: str, there: OtherKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACK_SECONDS", 0.2)

    def end(asked: Any, answer: Any) -> None:
        there.router.tell_requests(item)

    there.answers = end
    with pytest.raises(NotCopied, match=words):
        Exchange(there, "it").ask(remote.tell())
    assert not there.router.is_awaited


def test_a_link_that_is_lost_is_not_copied(there: OtherKernel) -> None:
    there.down = True
    with pytest.raises(NotCopied, match="link is lost"):
        Exchange(there, "it").ask(remote.tell())
    Exchange(there, "it").leave(remote.drop("x"))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("the connection broke while sending; the cell did not run", "the connection broke while sending"),
        ("the link is down; nothing was sent", "the link is down"),
        ("the connection is closed", "the connection is closed"),
    ],
)
def test_what_became_of_a_cell_is_not_said_of_variables(
    told: str, says: str, there: OtherKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*parts: Any, **named: Any) -> str:
        raise LinkLost(told)

    monkeypatch.setattr(there, "send", send)
    with pytest.raises(NotCopied) as caught:
        Exchange(there, "it").ask(remote.tell())
    assert str(caught.value) == says


def test_the_user_and_the_time_end_it(there: OtherKernel) -> None:
    silent(there)
    with pytest.raises(NotCopied, match="you have stopped it"):
        Exchange(there, "it", stopped=lambda: "you have stopped it").ask(remote.tell())
    with pytest.raises(NotCopied, match="the time is up"):
        Exchange(there, "it", at=0).ask(remote.tell())


def test_whoever_waits_is_told_for_what_and_when_it_is_over(
    there: OtherKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TELL_SECONDS", 0.0)
    shown: list[Any] = []
    silent(there)

    def show(event: Any) -> None:
        shown.append(event)
        if isinstance(event, Queued):
            there.come("execute_reply", "shell", {"status": "ok"})

    Exchange(there, "it", show=show).ask(remote.tell())
    assert [type(event) for event in shown] == [Queued, Started]


def test_beside_a_busy_main_shell_where_there_is_a_way(there: OtherKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(module, "_FROZEN_SECONDS", 0.0)
    silent(there)
    aside: list[Any] = []

    def send_aside(content: Any, inbox: Inbox) -> str:
        aside.append(content)
        return there.send("execute_request", content, channel="control", inbox=inbox)

    exchange = Exchange(there, "it", send_aside=send_aside)
    assert exchange.is_binary
    exchange.send(remote.tell())
    assert exchange.next() is None
    assert exchange.go_aside() and not exchange.is_binary
    with pytest.raises(NotCopied, match="does not answer"):
        exchange.ask(remote.tell())
    assert len(aside) == 1
    assert not Exchange(there, "it").go_aside()
    assert not Exchange(there, "it", subshell="x", send_aside=send_aside).go_aside()


def test_buffers_go_where_the_kernel_and_the_transport_can(there: OtherKernel) -> None:
    assert Exchange(there, "it").is_binary
    assert not Exchange(there, "it", subshell="x").is_binary
    there.carries_buffers = False
    assert not Exchange(there, "it").is_binary
    there.carries_buffers = True
    there.state.info = {"implementation": "xpython"}
    assert not Exchange(there, "it").is_binary
