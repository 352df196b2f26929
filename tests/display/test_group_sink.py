"""What one of many kernels shows is kept as it would be saved."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.groups import Shown, fold
from kernel_bridge_magic.display.neutral import QUEUED, REQUEST
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import Fate, NotRun, remote_error
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import ClearOutput, DisplayData, ExecuteResult, Stream
from kernel_bridge_magic.results import RemoteValue


@pytest.fixture
def elsewhere() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def sink(elsewhere: list[tuple[Any, ...]]) -> GroupSink:
    return GroupSink("Stop", 1 << 16, lambda *update: elsewhere.append(update))


def texts(sink: GroupSink) -> list[str]:
    return [item.get("text") or item.get("data", {}).get("text/plain") or item["evalue"] for item in sink.items]


def test_events_are_folded_as_in_a_saved_notebook(sink: GroupSink, elsewhere: list[tuple[Any, ...]]) -> None:
    sink.stream("stdout", "a")
    sink.stream("stdout", "b\n")
    sink.display({"text/plain": "old"}, {}, "d", False)
    sink.display({"text/plain": "new"}, {}, "d", True)
    sink.display({"text/plain": "of an earlier cell"}, {}, "e", True)
    sink.result(RemoteValue({"text/plain": "42"}))
    sink.error(remote_error("E", "v", ["E: v"]))
    sink.error(NotRun("k is busy"))
    sink.note("lost")
    assert texts(sink) == ["ab\n", "new", "42", "v", "k is busy", "kernel-bridge: lost\n"]
    assert elsewhere == [({"text/plain": "of an earlier cell"}, {}, "e")]
    sink.clear(True)
    assert len(sink.items) == 6
    sink.stream("stdout", "again")
    assert texts(sink) == ["again"]


def test_what_it_waits_for_is_no_output(sink: GroupSink) -> None:
    sink.inform(QUEUED, "waiting: x")
    assert (sink.waiting, sink.items) == ("waiting: x", [])
    sink.inform(QUEUED, "")
    sink.inform(REQUEST, "the cell asked")
    sink.inform(REQUEST, "")
    assert (sink.waiting, texts(sink)) == ("", ["the cell asked"])


def test_a_text_that_changes_is_one_output(sink: GroupSink) -> None:
    for text in (" 0%", "50%"):
        sink.draw("bar", text)
    assert texts(sink) == ["50%"]
    with pytest.raises(EOFError):
        sink.ask("who? ", False)


def test_a_sandboxed_kernel_s_html_comes_from_the_relay_in_its_frame(sink: GroupSink) -> None:
    relay = Relay(sink, Kernel("k"))
    relay.show(Stream("stdout", "\x1b]0;title\x07text\n"))
    relay.show(DisplayData({"text/html": "<img src=x onerror=alert(1)>"}, {"isolated": True}))
    relay.show(ExecuteResult({"text/plain": "\x1b[2J1"}, {}))
    relay.show(ClearOutput(wait=True))
    relay.finish()
    stream, html, value = sink.items
    assert stream["text"] == "^[]0;title^Gtext\n" and value["data"]["text/plain"] == "\x1b[2J1"
    assert html["data"]["text/html"].startswith("<iframe sandbox=") and html["metadata"] == {}


def test_the_limit_holds_while_somebody_looks(sink: GroupSink) -> None:
    for number in range(20_000):
        sink.stream("stdout", "x" * 99 + "\n")
        if number % 300 == 0:
            assert sum(len(item["text"]) for item in sink.recent) < 1 << 15
    head, said, tail = sink.items
    assert len(head["text"]) + len(said["text"]) + len(tail["text"]) < 1 << 16


def test_equal_floods_are_one_block_however_they_came(sink: GroupSink) -> None:
    text = "".join(f"line {number}\n" for number in range(30_000))
    other = GroupSink("Stop", 1 << 16, lambda *update: None)
    for one, size in ((sink, 100), (other, 7777)):
        for start in range(0, len(text), size):
            one.stream("stdout", text[start : start + size])
    assert fold([Shown(name, fate=Fate.OK, items=it.items) for name, it in (("a", sink), ("b", other))]) == [[0, 1]]
