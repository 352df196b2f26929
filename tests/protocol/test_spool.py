"""The reader of spools, without a kernel."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.spool import Catch, Spool, needs

CELL = "client_2"


def message(number: int, text: str = "") -> Message:
    header = {"msg_id": f"kernel_1_{number}", "msg_type": "stream", "session": "kernel"}
    return Message("iopub", header, {"msg_id": CELL}, {}, {"name": "stdout", "text": text or f"L{number}\n"})


def reply(base: int, start: int, end: int, *messages: Message) -> dict[str, Any]:
    items = [[m.channel, m.header, m.parent_header, m.metadata, m.content, []] for m in messages]
    packed = base64.b64encode(zlib.compress(json.dumps([base, start, end, items]).encode())).decode()
    return {"user_expressions": {"spool": {"data": {"text/plain": repr(packed)}}}}


def numbers(messages: list[Message]) -> list[int]:
    return [int(one.msg_id.rpartition("_")[2]) for one in messages]


def test_what_is_held_back_comes_behind_what_is_fetched_and_once() -> None:
    spool = Spool(CELL)
    assert numbers(spool.receive(message(0))) == [0]
    spool.broke()
    spool.back()
    assert spool.wanted
    assert spool.receive(message(3)) == spool.receive(message(4)) == []
    catch = Catch.parse(reply(0, 0, 4, *map(message, range(4))))
    assert numbers(spool.fetched(catch)) == [1, 2, 3, 4]
    assert not spool.holding and spool.lost == 0


def test_a_hole_is_fetched_though_no_link_broke() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    assert spool.receive(message(2)) == [] and spool.wanted
    assert numbers(spool.fetched(Catch.parse(reply(0, 0, 3, *map(message, range(3)))))) == [1, 2]


def test_what_the_ring_dropped_is_counted() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    spool.broke()
    spool.back()
    assert numbers(spool.fetched(Catch.parse(reply(5, 5, 7, message(5), message(6))))) == [5, 6]
    assert spool.lost == 4


def test_more_chunks_are_asked_for() -> None:
    spool = Spool(CELL)
    spool.hold()
    spool.wanted = False
    spool.fetched(Catch.parse(reply(0, 0, 2, message(0))))
    assert spool.wanted and spool.holding and spool.start == 1


@pytest.mark.parametrize("text", ["''", "'!'", "None", repr(base64.b64encode(zlib.compress(b"[1]")).decode())])
def test_no_chunk_is_no_crash(text: str) -> None:
    assert Catch.parse({"user_expressions": {"spool": {"data": {"text/plain": text}}}}) is None
    assert Catch.parse({}) is None
    spool = Spool(CELL)
    spool.hold()
    spool.receive(message(1))
    assert numbers(spool.fetched(None)) == [1] and not spool.usable


def test_who_cannot_is_told_what_it_is() -> None:
    # as ipykernel 7.4 and 6.29 say it, with IPython 8.20
    features = ["debugger", "kernel subshells"]
    ipython = {"implementation": "ipython", "implementation_version": "8.20.0"}
    assert needs({**ipython, "supported_features": features}) == ""
    assert "this one is older" in needs(ipython)
    assert "this one is older" in needs({**ipython, "supported_features": ["debugger"]})
    assert "this one is older" in needs({**ipython, "supported_features": 7})
    assert "this one is IRkernel 1.3" in needs({"implementation": "IRkernel", "implementation_version": "1.3"})
    assert "does not say" in needs({})
