"""Which comm messages are forwarded, and what is changed in them."""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.protocol.comms import Comms
from kernel_bridge_magic.protocol.messages import Message

HERE = {"header": {"msg_id": "here-1"}}


def comm(kind: str, parent: str, comm_id: str = "c1", buffers: tuple[bytes, ...] = (), **data: Any) -> Message:
    content: dict[str, Any] = {"comm_id": comm_id, "data": data}
    if kind == "comm_open":
        content["target_name"] = "jupyter.widget"
    return Message("iopub", {"msg_type": kind}, {"msg_id": parent}, {"version": "2.1.0"}, content, buffers)


def comms_with(model: str = "IntSliderModel") -> Comms:
    comms = Comms()
    comms.sent("there-1", HERE)
    comms.receive(comm("comm_open", "there-1", state={"_model_name": model}))
    return comms


def test_a_comm_that_our_cell_opened_is_handed_on_whole() -> None:
    comms = Comms()
    comms.sent("there-1", HERE)
    message = comm("comm_open", "there-1", buffers=(b"\0\1",), state={"value": 1}, buffer_paths=[["x"]])
    got = comms.receive(message)
    assert got is not None
    assert (got.msg_type, got.comm_id, got.parent) == ("comm_open", "c1", HERE)
    assert (got.content, got.metadata, got.buffers) == (
        message.content,
        message.metadata,
        message.buffers,
    )
    assert comms.ids == ["c1"] and not got.captures


def test_a_comm_that_somebody_else_opened_is_left_alone() -> None:
    comms = comms_with()
    assert comms.receive(comm("comm_open", "theirs", "c2", state={})) is None
    assert comms.receive(comm("comm_msg", "theirs", "c2", method="update", state={"value": 2})) is None
    assert comms.receive(comm("comm_close", "there-1", "c2")) is None
    assert comms.ids == ["c1"]


def test_a_widget_of_ours_that_somebody_else_moves_moves_here() -> None:
    got = comms_with().receive(comm("comm_msg", "theirs", method="update", state={"value": 2}))
    assert got is not None and got.parent is None


def test_an_answer_belongs_to_the_message_that_it_answers() -> None:
    comms = comms_with()
    comms.sent("there-2", {"header": {"msg_id": "click"}})
    got = comms.receive(comm("comm_msg", "there-2", method="update", state={"value": 2}))
    assert got is not None and got.parent == {"header": {"msg_id": "click"}}


def test_an_output_widget_takes_the_output_of_the_message_here() -> None:
    comms = comms_with("OutputModel")
    begin = comms.receive(comm("comm_msg", "there-1", method="update", state={"msg_id": "there-1"}))
    assert begin is not None and begin.captures
    assert begin.content["data"] == {"method": "update", "state": {"msg_id": "here-1"}}
    end = comms.receive(comm("comm_msg", "there-1", method="update", state={"msg_id": ""}))
    assert end is not None and end.captures and end.content["data"]["state"] == {"msg_id": ""}


def test_an_output_widget_that_takes_somebody_elses_output_takes_nothing_here() -> None:
    got = comms_with("OutputModel").receive(comm("comm_msg", "theirs", state={"msg_id": "theirs"}))
    assert got is not None and got.content["data"]["state"]["msg_id"] == ""


def test_a_msg_id_of_another_model_is_its_own_affair() -> None:
    got = comms_with("OtherModel").receive(comm("comm_msg", "there-1", state={"msg_id": "there-1"}))
    assert got is not None and not got.captures and got.content["data"]["state"] == {"msg_id": "there-1"}


def test_closing_ends_it_on_either_side() -> None:
    comms = comms_with()
    closed = comms.receive(comm("comm_close", "there-1"))
    assert closed is not None and closed.msg_type == "comm_close" and comms.ids == []
    assert comms.receive(comm("comm_msg", "there-1", state={})) is None
    comms = comms_with()
    assert comms.close("c1") and not comms.close("c1")
    assert comms.receive(comm("comm_msg", "there-1", state={})) is None


def test_messages_that_are_no_comms_are_passed_over() -> None:
    comms = Comms()
    comms.sent("there-1", HERE)
    contents: list[dict[str, Any]] = [{}, {"comm_id": 7}, {"comm_id": None, "data": []}]
    for content in contents:
        assert comms.receive(Message("iopub", {"msg_type": "comm_open"}, {"msg_id": "there-1"}, {}, content)) is None
    odd = Message("iopub", {"msg_type": "comm_open"}, {"msg_id": "there-1"}, {}, {"comm_id": "c", "data": {"state": 1}})
    assert comms.receive(odd) is not None
    parts: list[object] = [None, [], {"state": None}, {"state": {"msg_id": 7}}]
    for data in parts:
        message = Message("iopub", {"msg_type": "comm_msg"}, {}, {}, {"comm_id": "c", "data": data})
        assert comms.receive(message) is not None


def test_requests_are_forgotten_when_there_are_too_many() -> None:
    comms = Comms()
    for number in range(2000):
        comms.sent(f"m{number}", None)
    assert comms.is_ours("m1999") and not comms.is_ours("m0")
