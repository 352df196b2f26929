"""What others run in a kernel, as it comes."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.jobs import follow as module
from kernel_bridge_magic.jobs.follow import Cleared, Ended, Follow, Input
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import DisplayData, Error, Lost, Stream
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.inbox import Closed


class Connection:
    """As much of a connection as following needs."""

    kernel = Kernel("k", started_by="a script")

    def __init__(self) -> None:
        self.subscribers: list[Any] = []
        self.kept: list[tuple[Any, bool]] = []

    def subscribe(self, one: Any) -> None:
        self.subscribers.append(one)

    def unsubscribe(self, one: Any) -> None:
        self.subscribers.remove(one)

    def keep(self, holder: Any, wanted: bool) -> None:
        self.kept.append((holder, wanted))

    def has_sent(self, msg_id: str) -> bool:
        return msg_id.startswith("ours_")


def message(kind: str, parent: str = "theirs", channel: str = "iopub", **content: Any) -> Message:
    return Message(channel, {"msg_type": kind, "msg_id": kind}, {"msg_id": parent}, {}, content)


def followed(*items: object, told: bool = True) -> list[object]:
    """What comes before the end of the connection, which is `told`."""
    connection: Any = Connection()
    with Follow(connection) as follow:
        assert connection.subscribers == [follow] and connection.kept == [(follow, True)]
        for item in (*items, Closed("the server has gone")):
            follow.put(item)
        came: list[object] = [it for it in follow if it is not None]
    assert connection.subscribers == [] and connection.kept == [(follow, True), (follow, False)]
    if told:
        assert came.pop() == Ended("the server has gone")
    return came


def test_a_cell_s_input_and_outputs_come_in_order() -> None:
    shown: dict[str, Any] = {"data": {"text/plain": "p"}, "metadata": {}, "transient": {"display_id": "d"}}
    assert followed(
        message("status", execution_state="busy"),
        message("execute_input", code="1 / 0", execution_count=5),
        message("stream", name="stdout", text="x"),
        message("display_data", **shown),
        message("update_display_data", **shown),
        message("execute_result", data={"text/plain": "42"}, metadata={}, execution_count=5),
        message("comm_open", comm_id="c", data={}),
        message("error", ename="E", evalue="v", traceback=["E: v"]),
        message("status", execution_state="idle"),
        message("execute_reply", channel="shell", status="error"),
    ) == [
        Input("1 / 0", 5), Stream("stdout", "x"), DisplayData({"text/plain": "p"}, {}, "d"),
        DisplayData({"text/plain": "p"}, {}, "d", update=True), DisplayData({"text/plain": "42"}, {}),
        Error("E", "v", ("E: v",)),
    ]  # fmt: skip


def test_what_came_of_a_cell_that_had_begun_before_is_shown_too() -> None:
    assert followed(message("stream", name="stderr", text="late")) == [Stream("stderr", "late")]


def test_an_end_of_the_kernel_is_told_and_following_goes_on() -> None:
    text, code = message("stream", name="stdout", text="x"), message("execute_input", code="1")
    assert followed(EndSignal.RESTART, text, EndSignal.NEW_LIFE, code) == [
        Ended("it was restarted by another client"), Stream("stdout", "x"), Input("1")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("signs", "end"),
    [
        # What ends over a WebSocket, and what ends over ZMQ: there the connection ends as well.
        ([EndSignal.RESTART, EndSignal.RESTARTING], Ended("it was restarted by another client")),
        ([EndSignal.RESTART, EndSignal.LEFT], Ended("it was restarted by another client")),
        ([EndSignal.SHUTDOWN, EndSignal.LEFT], Ended("it was shut down by another client", comes_back=False)),
        ([EndSignal.LEFT], Ended("its kernel process ended")),
    ],
)
def test_one_end_is_told_once(signs: list[EndSignal], end: Ended) -> None:
    assert followed(*signs, told=False) == [end]


def test_the_next_end_is_told_as_well() -> None:
    restart = [EndSignal.RESTART, EndSignal.NEW_LIFE]
    assert followed(*restart, *restart) == [Ended("it was restarted by another client")] * 2
    again = message("execute_input", code="1")
    assert followed(EndSignal.RESTARTING, again, EndSignal.RESTARTING, again) == [
        Ended("its kernel process ended"), Input("1")
    ] * 2  # fmt: skip


def test_nothing_is_followed_of_cells_that_were_sent_from_here() -> None:
    text: dict[str, Any] = {"name": "stdout", "text": "x"}
    assert followed(message("stream", "ours_3", **text), message("stream", "oursa_3", **text)) == [
        Stream("stdout", "x")
    ]


def test_whoever_clears_is_named() -> None:
    assert followed(
        message("execute_input", "a", code="1 / 0", execution_count=5),
        message("clear_output", "a", wait=True),
        message("clear_output", "b", wait=False),
    ) == [Input("1 / 0", 5), Cleared(True, Input("1 / 0", 5)), Cleared(False)]


def test_a_flood_that_nobody_can_show_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    came = followed(*(message("stream", name="stdout", text=str(n)) for n in range(10)))
    assert came[0] == Lost("7 messages omitted: they came faster than they can be shown here", 7)
    assert came[1:] == [Stream("stdout", str(n)) for n in range(3)]
