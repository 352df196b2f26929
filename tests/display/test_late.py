"""Late output in the words of the messaging specification."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.display.late import LateSink
from kernel_bridge_magic.display.neutral import bundle, metadata
from kernel_bridge_magic.errors import remote_error
from kernel_bridge_magic.results import RemoteValue
from tests.support.fronts import Published

PARENT = {"header": {"msg_id": "here-1"}}


def test_everything_goes_under_the_message_it_belongs_to() -> None:
    kernel = Published()
    sink = LateSink(kernel, PARENT)
    sink.stream("stdout", "a")
    sink.display({"text/plain": "b"}, {"m": 1}, "id", False)
    sink.display({"text/plain": "c"}, {}, "id", True)
    sink.clear(True)
    sink.result(RemoteValue({"text/plain": "d"}))
    sink.error(remote_error("ValueError", "no", ["line"]))
    sink.note("e")
    sink.inform("widgets", "f")
    sink.inform("queued", "")
    said = [(message["msg_type"], message["content"]) for message in kernel.messages]
    assert said == [
        ("stream", {"name": "stdout", "text": "a"}),
        ("display_data", {"data": {"text/plain": "b"}, "metadata": {"m": 1}, "transient": {"display_id": "id"}}),
        ("update_display_data", {"data": {"text/plain": "c"}, "metadata": {}, "transient": {"display_id": "id"}}),
        ("clear_output", {"wait": True}),
        ("display_data", {"data": {"text/plain": "d"}, "metadata": {}, "transient": {}}),
        ("error", {"ename": "ValueError", "evalue": "no", "traceback": ["line"]}),
        ("stream", {"name": "stderr", "text": "kernel-bridge: e\n"}),
        ("display_data", {"data": bundle("f"), "metadata": metadata("widgets"), "transient": {}}),
    ]
    assert {message["parent"]["header"]["msg_id"] for message in kernel.messages} == {"here-1"}
    assert kernel.messages[0]["ident"] == b"kernel.k.stream"


def test_an_interrupt_is_stop_here() -> None:
    assert LateSink.stop == "Stop"


def test_nobody_is_asked() -> None:
    with pytest.raises(EOFError):
        LateSink(Published(), PARENT).ask("? ", False)
