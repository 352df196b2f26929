"""The reader of spools, without a kernel."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from kernel_bridge_magic.fate.spool import Catch, Spool
from kernel_bridge_magic.protocol.messages import Message

CELL = "client_2"


def message(number: int, text: str = "", *, pid: int = 1, parent: str = CELL, session: str = "kernel") -> Message:
    header = {"msg_id": f"{session}_{pid}_{number}", "msg_type": "stream", "session": session}
    return Message("iopub", header, {"msg_id": parent}, {}, {"name": "stdout", "text": text or f"L{number}\n"})


def limit() -> Message:
    return message(7, "IOPub data rate exceeded.\n", session="client")


def reply(base: int, start: int, end: int, *messages: Message) -> dict[str, Any]:
    items = [[m.channel, m.header, m.parent_header, m.metadata, m.content, []] for m in messages]
    packed = base64.b64encode(zlib.compress(json.dumps([base, start, end, items]).encode())).decode()
    return {"user_expressions": {"spool": {"data": {"text/plain": repr(packed)}}}}


def chunk(base: int, start: int, end: int, *messages: Message) -> Catch:
    caught = Catch.parse(reply(base, start, end, *messages))
    assert caught is not None
    return caught


def numbers(messages: list[Message]) -> list[int]:
    return [int(one.msg_id.rpartition("_")[2]) for one in messages]


def test_what_is_held_back_comes_behind_what_is_fetched_and_once() -> None:
    spool = Spool(CELL)
    assert numbers(spool.receive(message(0))) == [0]
    spool.broke()
    spool.back()
    assert spool.wanted
    assert spool.receive(message(3)) == spool.receive(message(4)) == []
    assert numbers(spool.fetched(chunk(0, 0, 4, *map(message, range(4))))) == [1, 2, 3, 4]
    assert not spool.holding and spool.lost == 0


def test_a_hole_is_fetched_though_no_link_broke() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    assert spool.receive(message(2)) == [] and spool.wanted
    assert numbers(spool.fetched(chunk(0, 0, 3, *map(message, range(3))))) == [1, 2]


def test_what_came_before_a_fetch_went_out_is_not_held_back_again() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    assert spool.receive(message(2)) == [] and spool.wanted
    spool.asked()
    assert numbers(spool.fetched(chunk(0, 0, 1, message(0)))) == [2]
    assert not spool.holding and not spool.wanted


def test_a_hole_that_came_after_a_fetch_went_out_is_fetched_by_the_next() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    spool.receive(message(2))
    spool.asked()
    spool.receive(message(4))
    assert numbers(spool.fetched(chunk(0, 0, 3, *map(message, range(3))))) == [1, 2]
    assert spool.holding and spool.wanted
    spool.asked()
    assert numbers(spool.fetched(chunk(0, 3, 5, message(3), message(4)))) == [3, 4]
    assert not spool.holding


def test_the_answer_to_a_question_about_the_cell_stays_behind_what_is_fetched_in_chunks() -> None:
    # Else the rules would take the cell to be over while its output is still being fetched.
    spool = Spool(CELL)
    spool.receive(message(0))
    spool.broke()
    spool.back()
    spool.asked()
    assert spool.receive(message(9, parent="client_3")) == []
    assert numbers(spool.fetched(chunk(0, 0, 3, message(0), message(1)))) == [1]
    spool.asked()
    assert numbers(spool.fetched(chunk(0, 2, 3, message(2)))) == [2, 9]


def test_what_a_child_prints_moves_no_number_of_the_ring() -> None:
    spool = Spool(CELL)
    assert numbers(spool.receive(message(0))) == [0]
    for number in (*range(1, 100), *range(200, 300)):  # two holes, and more than the margin
        assert numbers(spool.receive(message(number, pid=2))) == [number]
    assert not spool.holding and spool.start == 0
    assert numbers(spool.receive(message(1))) == [1]
    spool.broke()
    assert numbers(spool.receive(message(300, pid=2))) == [300]  # nothing that is fetched could be before it
    spool.back()
    assert numbers(spool.fetched(chunk(0, 0, 9, *map(message, range(9))))) == list(range(2, 9))
    assert spool.lost == 0 and not spool.holding


def test_a_child_s_message_that_was_held_back_before_the_kernel_s_own_were_known() -> None:
    spool = Spool(CELL)
    spool.broke()
    spool.back()
    spool.asked()
    assert spool.receive(message(40, pid=2)) == []
    assert numbers(spool.fetched(chunk(0, 0, 2, message(0), message(1)))) == [0, 1, 40]
    assert spool.start == 2 and spool.uncounted
    assert numbers(spool.receive(message(2))) == [2]


@pytest.mark.parametrize("child", [True, False])
@pytest.mark.parametrize("cause", ["link", "limit", ""])
def test_whether_a_child_s_output_was_lost_cannot_be_told(child: bool, cause: str) -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    if cause == "link":
        spool.broke()
    elif cause:
        spool.receive(limit())
    spool.receive(message(1, pid=2 if child else 1))
    assert spool.uncounted is (child and bool(cause))


def test_the_rate_limit_is_told_of_if_nothing_can_be_fetched() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    assert spool.receive(limit()) == []
    assert numbers(spool.fetched(chunk(0, 0, 2, message(0), message(1)))) == [1]
    spool.receive(limit())
    spool.receive(message(2))
    assert numbers(spool.give_up()) == [7, 2]


def test_what_the_ring_dropped_is_counted() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    spool.broke()
    spool.back()
    assert numbers(spool.fetched(chunk(5, 5, 7, message(5), message(6)))) == [5, 6]
    assert spool.lost == 4


def test_more_chunks_are_asked_for() -> None:
    spool = Spool(CELL)
    spool.hold()
    spool.wanted = False
    spool.fetched(chunk(0, 0, 2, message(0)))
    assert spool.wanted and spool.holding and spool.start == 1


@pytest.mark.parametrize("text", ["''", "'!'", "None", repr(base64.b64encode(zlib.compress(b"[1]")).decode())])
def test_no_chunk_is_no_crash(text: str) -> None:
    assert Catch.parse({"user_expressions": {"spool": {"data": {"text/plain": text}}}}) is None
    assert Catch.parse({}) is None
    spool = Spool(CELL)
    spool.hold()
    spool.receive(message(1))
    assert numbers(spool.give_up()) == [1] and not spool.usable


def state(number: int, value: str) -> Message:
    header = {"msg_id": f"kernel_1_{number}", "msg_type": "status", "session": "kernel"}
    return Message("iopub", header, {"msg_id": CELL}, {}, {"execution_state": value})


def on_shell(number: int) -> Message:
    header = {"msg_id": f"kernel_1_{number}", "msg_type": "execute_reply", "session": "kernel"}
    return Message("shell", header, {"msg_id": CELL}, {}, {"status": "ok"})


def test_a_cell_is_without_its_head_from_its_reply_to_its_idle() -> None:
    spool = Spool(CELL)
    heads = []
    for one in (state(0, "busy"), on_shell(9), message(1), state(2, "idle"), message(3), on_shell(10)):
        assert spool.receive(one) == [one]
        heads.append(spool.headless)
    assert heads == [False, True, True, False, False, False]


def test_what_answers_a_request_beside_the_cell_is_no_hole() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    spool.beside(message(1, parent="client_9"))
    assert numbers(spool.receive(message(2))) == [2] and not spool.wanted
    assert spool.receive(message(4)) == [] and spool.wanted


def test_what_is_held_back_shows_and_what_children_printed_cannot_be_counted_behind_a_loss() -> None:
    spool = Spool(CELL)
    spool.receive(message(0))
    spool.receive(message(1, pid=2))
    assert not spool.uncounted and not spool.waiting
    spool.broke()
    assert spool.uncounted and not spool.waiting
    spool.back()
    spool.receive(message(5))
    assert spool.waiting
    assert numbers(spool.give_up()) == [5] and not spool.waiting and not spool.usable
    assert numbers(spool.receive(message(9))) == [9], "nothing is held back any more"


def test_a_question_of_the_cell_is_never_held_back() -> None:
    spool = Spool(CELL)
    spool.broke()
    asked = Message("stdin", {"msg_id": "kernel_1_3", "msg_type": "input_request"}, {"msg_id": CELL}, {}, {})
    assert spool.receive(asked) == [asked]
