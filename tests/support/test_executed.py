"""A reply whose signal was lost is seen at the next look, not at the end of the timeout."""

from __future__ import annotations

import asyncio
from queue import Empty
from typing import Any

import pytest
import zmq.asyncio
from jupyter_client.session import Session

from tests.support.executed import LookingChannel


@pytest.mark.parametrize("timeout", [60, None])
def test_a_message_whose_signal_was_lost_is_found(monkeypatch: pytest.MonkeyPatch, timeout: float | None) -> None:
    async def look() -> dict[str, Any]:
        with zmq.asyncio.Context() as context, context.socket(zmq.PAIR) as ours, context.socket(zmq.PAIR) as theirs:
            ours.bind("inproc://looked-at")
            theirs.connect("inproc://looked-at")
            session.send(theirs, "execute_reply")
            monkeypatch.setattr(zmq.asyncio.Socket, "poll", poll)
            return await LookingChannel(ours, session).get_msg(timeout)

    async def poll(socket: object, timeout: int) -> int:
        waits.append(timeout)
        return len(waits) == 3  # twice no signal comes

    session, waits = Session(key=b""), list[int]()
    assert asyncio.run(look())["msg_type"] == "execute_reply"
    assert waits == [1000] * 3


def test_where_no_message_comes_the_timeout_counts() -> None:
    async def look() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.PAIR) as ours:
            ours.bind("inproc://nobody")
            await LookingChannel(ours, Session()).get_msg(0.01)

    with pytest.raises(Empty):
        asyncio.run(look())
