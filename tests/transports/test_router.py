"""Who gets which message, and what becomes of one who cannot take it."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.protocol.events import Note
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.inbox import Closed
from kernel_bridge_magic.transports.router import Router
from tests.support.wire import status, stream

OF_THE_CELL = stream("mine", parent="our-session_1")
OF_NOBODY = stream("theirs", parent="their-session_1")
NO_PARENT = stream("nobody's", parent="")


class Listener:
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.came: list[Any] = []

    def put(self, item: Any) -> None:
        self.came.append(item)


class Raising(Listener):
    """Cannot take anything."""

    def put(self, item: Any) -> None:
        super().put(item)
        raise SystemExit("as a callback may")


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def cell(router: Router) -> Listener:
    cell = Listener()
    router.expect("our-session_1", cell)
    return cell


@pytest.fixture
def subscriber(router: Router) -> Listener:
    subscriber = Listener()
    router.subscribe(subscriber)
    return subscriber


def test_a_request_gets_its_answers_and_subscribers_the_rest(
    router: Router, cell: Listener, subscriber: Listener
) -> None:
    for message in (OF_THE_CELL, OF_NOBODY, NO_PARENT):
        router.deliver(message)
    assert cell.came == [OF_THE_CELL]
    assert subscriber.came == [OF_NOBODY, NO_PARENT]


def test_what_comes_of_a_forgotten_request_goes_to_the_subscribers(
    router: Router, cell: Listener, subscriber: Listener
) -> None:
    assert router.is_awaited
    router.forget("our-session_1")
    router.forget("our-session_1")
    router.deliver(OF_THE_CELL)
    assert not router.is_awaited
    assert (cell.came, subscriber.came) == ([], [OF_THE_CELL])


def test_a_subscription_ends_and_one_that_never_was_is_no_error(router: Router, subscriber: Listener) -> None:
    router.unsubscribe(subscriber)
    router.unsubscribe(subscriber)
    router.deliver(OF_NOBODY)
    assert subscriber.came == []


def test_all_are_told_once_however_often_they_listen(router: Router, cell: Listener, subscriber: Listener) -> None:
    router.expect("our-session_2", cell)  # one inbox for two requests
    router.subscribe(cell)
    router.tell_all(Closed(""))
    assert cell.came == subscriber.came == [Closed("")]


def test_what_concerns_requests_only_is_not_told_to_subscribers(
    router: Router, cell: Listener, subscriber: Listener
) -> None:
    router.expect("our-session_2", cell)
    router.tell_requests(Note("waiting"))
    assert (cell.came, subscriber.came) == ([Note("waiting")], [])


@pytest.mark.parametrize("item", [OF_NOBODY, Closed("")], ids=["a message", "the end"])
def test_a_subscriber_that_raises_is_taken_off_and_told_of_once(router: Router, item: Message | Closed) -> None:
    raising, other = Raising(), Listener()
    router.subscribe(raising)
    router.subscribe(other)
    for _ in range(2):
        router.tell_all(item) if isinstance(item, Closed) else router.deliver(item)
    assert (raising.came, other.came) == ([item], [item, item])
    assert router.take_faults() == ["a subscriber (Raising) raised SystemExit; it gets no more"]
    assert router.take_faults() == []


def test_a_subscriber_may_unsubscribe_while_it_is_handed_something(router: Router) -> None:
    class Once(Listener):
        def put(self, item: Any) -> None:
            super().put(item)
            router.unsubscribe(self)

    once, other = Once(), Listener()
    router.subscribe(once)
    router.subscribe(other)
    for _ in range(2):
        router.deliver(OF_NOBODY)
    assert (len(once.came), len(other.came)) == (1, 2)


def test_what_is_shown_in_answer_to_a_quiet_request_is_of_the_cell_before_it() -> None:
    router, cell, question, subscriber = (
        Router(lambda msg_id: msg_id.replace("2", "1")),
        Listener(),
        Listener(),
        Listener(),
    )
    router.expect("our-session_1", cell)
    router.expect("our-session_2", question)
    router.subscribe(subscriber)
    shown, state = stream("late", parent="our-session_2"), status("idle", parent="our-session_2")
    for message in (shown, state):
        router.deliver(message)
    router.forget("our-session_2")
    router.deliver(shown)
    router.forget("our-session_1")
    router.deliver(shown)
    assert [it.content["text"] for it in cell.came] == ["late"] * 2
    assert question.came == [state], "what it awaits itself"
    assert {it.parent_id for it in (*cell.came, *subscriber.came)} == {"our-session_1"}
    assert len(subscriber.came) == 1, "late output is the subscribers'"
