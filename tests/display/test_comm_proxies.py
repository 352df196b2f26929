"""CommProxies in the words of ipykernel; what a front end makes of them is seen in tests/browser/test_widgets.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel_bridge_magic.display.comm_proxies import CommProxies
from kernel_bridge_magic.protocol.comms import ForwardedComm
from tests.support.fronts import Published

PARENT = {"header": {"msg_id": "here-1"}}


def made(kind: str, **content: Any) -> ForwardedComm:
    return ForwardedComm(kind, "c1", {"comm_id": "c1", **content}, {"version": "2.1.0"}, (b"\0",), PARENT)


def test_what_the_other_kernel_says_is_published_as_it_came() -> None:
    kernel, said = Published(), []

    def forward(msg_type: str, msg: Mapping[str, Any]) -> None:
        said.append((msg_type, msg))

    proxies = CommProxies(kernel, forward)
    proxies.publish(made("comm_open", target_name="jupyter.widget", data={"state": {}}))
    assert kernel.messages == [
        {
            "msg_type": "comm_open",
            "content": {"comm_id": "c1", "target_name": "jupyter.widget", "data": {"state": {}}},
            "metadata": {"version": "2.1.0"},
            "parent": PARENT,
            "ident": b"comm-c1",
            "buffers": [b"\0"],
        }
    ]
    proxy = kernel.comm_manager.comms["c1"]  # where comm_info_request and comm_msg look
    assert proxy.target_name == "jupyter.widget"
    proxy.handle_msg({"content": 1})
    proxy.handle_close({"content": 2})
    assert said == [("comm_msg", {"content": 1}), ("comm_close", {"content": 2})]


def test_a_closed_comm_has_no_proxy() -> None:
    kernel = Published()
    proxies = CommProxies(kernel, lambda msg_type, msg: None)
    proxies.publish(made("comm_open", target_name="t"))
    proxies.publish(made("comm_close"))
    assert kernel.comm_manager.comms == {}
    proxies.close("c1")  # the other kernel's end, after its word
    assert [message["msg_type"] for message in kernel.messages] == ["comm_open", "comm_close"]


def test_a_twin_whose_kernel_is_gone_is_closed_here() -> None:
    kernel = Published()
    proxies = CommProxies(kernel, lambda msg_type, msg: None)
    proxies.publish(made("comm_open", target_name="t"))
    proxies.close("c1")
    assert kernel.comm_manager.comms == {}
    assert kernel.messages[-1]["msg_type"] == "comm_close"
    assert kernel.messages[-1]["content"] == {"comm_id": "c1", "data": {}}
