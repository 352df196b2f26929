"""`Router`: who gets what a connection receives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.inbox import Item, Subscriber

_log = logging.getLogger(__name__)


class Router:
    """Hands each message to the request that it answers, by `parent_header.msg_id`, or else to all subscribers.

    Safe to use from any thread. Whoever is handed an item must return at once: nothing else is received meanwhile.
    `shown_for` returns which request shows what names another one as its parent, as `MainShell.shown_for` does.
    """

    def __init__(self, shown_for: Callable[[str], str] = str) -> None:
        self._shown_for = shown_for
        self._lock = threading.Lock()
        self._requests: dict[str, Subscriber] = {}
        self._subscribers: list[Subscriber] = []
        self._faults: list[str] = []

    @property
    def is_awaited(self) -> bool:
        """Whether a request waits for its answers."""
        return bool(self._requests)

    def expect(self, msg_id: str, inbox: Subscriber) -> None:
        """Hand what answers the request `msg_id` to `inbox` from now on."""
        with self._lock:
            self._requests[msg_id] = inbox

    def forget(self, msg_id: str) -> None:
        """Stop to wait for the answers of a request: those that still come go to the subscribers."""
        with self._lock:
            self._requests.pop(msg_id, None)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hand `subscriber` every message that answers no request, and every sign of an end."""
        with self._lock:
            self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """End a subscription. One that does not exist is no error."""
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def deliver(self, message: Message) -> None:
        """Hand a message to the request that it answers, or else to the subscribers."""
        if message.channel == "iopub" and message.msg_type != "status":
            shown_for = self._shown_for(message.parent_id)
            if shown_for != message.parent_id:
                message = replace(message, parent_header={**message.parent_header, "msg_id": shown_for})
        with self._lock:
            inbox = self._requests.get(message.parent_id)
            subscribers = [] if inbox is not None else list(self._subscribers)
        if inbox is not None:
            inbox.put(message)
        else:
            self._publish(message, subscribers)

    def tell_all(self, item: Item) -> None:
        """Hand an item to all requests and all subscribers, once to each."""
        with self._lock:
            inboxes = {id(inbox): inbox for inbox in self._requests.values()}
            # An inbox may be subscribed as well.
            subscribers = [subscriber for subscriber in self._subscribers if id(subscriber) not in inboxes]
        for inbox in inboxes.values():
            inbox.put(item)
        self._publish(item, subscribers)

    def tell_requests(self, item: Item) -> None:
        """Hand an item to every request that waits, once to each inbox."""
        with self._lock:
            inboxes = {id(inbox): inbox for inbox in self._requests.values()}
        for inbox in inboxes.values():
            inbox.put(item)

    def take_faults(self) -> list[str]:
        """Return, once, what subscribers did wrong since the last call, in words."""
        with self._lock:
            faults, self._faults = self._faults, []
        return faults

    def _publish(self, item: Item, subscribers: Iterable[Subscriber]) -> None:
        """Hand an item to subscribers. One that raises is unsubscribed: it may raise at every item."""
        for subscriber in subscribers:
            try:
                subscriber.put(item)
            except BaseException as problem:  # SystemExit, too, would end this thread, and every cell with it
                self.unsubscribe(subscriber)
                text = f"a subscriber ({type(subscriber).__name__}) raised {type(problem).__name__}; it gets no more"
                _log.warning(text, exc_info=True)
                with self._lock:
                    self._faults.append(text)
