"""What goes out for a cell. What is told of an end of the kernel before it is in test_execution.py."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.connection import sending
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.sending import send
from kernel_bridge_magic.errors import BadOption, Fate, LinkLost, NotRun
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.transports.inbox import Inbox
from tests.support.still import KERNEL, StillTransport
from tests.support.wire import msg, status, stream

IPYKERNEL_7 = {"implementation": "ipython", "implementation_version": "9.0", "language_info": {"name": "python"}}


@pytest.fixture
def transport() -> StillTransport:
    return StillTransport()


def put(transport: StillTransport, inbox: Inbox | None = None, subshell: str = "", **options: Any) -> Any:
    return send(
        transport,
        Cell("1", **options),
        Inbox() if inbox is None else inbox,
        {},
        kernel=KERNEL,
        served=True,
        subshell=subshell,
    )


def test_a_cell_goes_out_once_with_a_guest_s_manners(transport: StillTransport) -> None:
    sent = put(transport)
    *_, request = transport.of("execute_request")
    assert (request.msg_id, request.channel) == (sent.msg_id, "shell")
    assert request.content == {
        "code": "1",
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }
    assert request.metadata == {"kernel_bridge": {}, "cellId": sent.msg_id}


def test_an_ipython_kernel_is_prepared_first_so_that_it_shows_our_results(transport: StillTransport) -> None:
    put(transport)
    first, cell = transport.of("execute_request")
    assert (first.content["silent"], cell.content["silent"]) == (True, False)
    assert transport.farewell is not None
    transport.receive(msg("kernel_info_reply", {"implementation": "xeus"}, channel="shell"))
    put(transport)
    assert len(transport.of("execute_request")) == 3


def test_what_the_cell_says_goes_along(transport: StillTransport) -> None:
    put(transport, store_history=True, stdin=True, metadata={"chain": ["a"]})
    *_, request = transport.of("execute_request")
    assert (request.content["store_history"], request.content["allow_stdin"]) == (True, True)
    assert request.metadata["kernel_bridge"] == {"chain": ["a"]}


def test_a_subshell_s_cell_forbids_no_questions(transport: StillTransport) -> None:
    put(transport, subshell="s-1")
    *_, request = transport.of("execute_request")
    assert (request.content["allow_stdin"], request.header["subshell_id"]) == (True, "s-1")


def test_what_answers_it_comes_into_the_inbox(transport: StillTransport) -> None:
    inbox = Inbox()
    sent = put(transport, inbox)
    transport.receive(stream("on", parent=sent.msg_id))
    transport.receive(stream("off", parent="another's"))
    assert len(inbox) == 1
    assert inbox.get().content["text"] == "on"


def test_how_things_stood_before_is_kept(transport: StillTransport) -> None:
    transport.malformed, transport.unheld = 3, 4
    sent = put(transport)
    assert (sent.malformed, sent.unheld) == (3, 4)
    assert (sent.durable, sent.news, sent.watch.ending.awaited) == (None, None, None)


@pytest.mark.parametrize("durable", [False, True])
def test_over_a_closed_connection_nothing_is_left_behind(transport: StillTransport, durable: bool) -> None:
    transport.down = True
    inbox = Inbox()
    with pytest.raises(LinkLost):
        put(transport, inbox, durable=durable)
    assert transport.sent == []
    transport.receive(stream("on", parent=f"{transport.client_id}_1"))
    assert inbox.empty()


def test_a_kernel_that_ended_before_ran_nothing(transport: StillTransport) -> None:
    transport.receive(msg("status", {"execution_state": "dead"}, parent=""))
    transport.down = True
    with pytest.raises(NotRun, match=r"still: .* before the cell was sent, so it is safe to run the cell again"):
        put(transport)


def test_a_connection_that_closes_in_the_very_moment_tells_of_the_kernel_s_end_as_well(
    transport: StillTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(transport)  # the next cell needs no preparation
    transport.state.end(EndSignal.LEFT)
    monkeypatch.setattr(sending, "check", lambda: setattr(transport, "down", True))
    with pytest.raises(NotRun, match="before the cell was sent, so it is safe to run the cell again"):
        put(transport)
    with pytest.raises(LinkLost):
        put(transport)  # it was told once


def test_a_kernel_that_can_keep_nothing_is_sent_nothing(transport: StillTransport) -> None:
    transport.receive(msg("kernel_info_reply", {"implementation": "xeus"}, channel="shell"))
    with pytest.raises(BadOption):
        put(transport, durable=True)
    assert transport.sent == []


def test_what_keeps_the_messages_goes_out_before_the_cell(transport: StillTransport) -> None:
    sent = put(transport, durable=True)
    *_, first, second = transport.of("execute_request")
    assert sent.durable is not None and sent.durable.cell == second.msg_id == sent.msg_id
    assert first.content["silent"] and sent.msg_id in str(first.content["user_expressions"])


def test_what_went_wrong_here_before_the_cell_is_not_the_cell_s(transport: StillTransport) -> None:
    transport.malformed = transport.unheld = 7
    sent = put(transport)
    assert list(sent.faults(transport)) == []
    transport.malformed += 1
    transport.unheld += 2
    assert list(sent.faults(transport)) == [
        "dropped 1 message that is damaged or not signed by the kernel; output may be incomplete",
        "no memory was left here for 2 messages; output is incomplete",
    ]


def test_a_cell_that_tells_of_its_kernel_s_end_leaves_the_next_one_nothing_to_tell(transport: StillTransport) -> None:
    sent = put(transport)
    transport.receive(status("busy", parent=sent.msg_id))
    transport.receive(msg("status", {"execution_state": "restarting"}, parent=""))
    assert transport.state.has_news
    sent.watch.receive(status("busy", parent=sent.msg_id), sent.began)
    sent.watch.signal(EndSignal.RESTARTING, sent.began)
    sent.watch.tick(sent.began + 60)
    assert sent.watch.verdict.fate is Fate.DIED
    transport.state.end_cell(sent.watch.ending, sent.watch.verdict.fate)
    assert not transport.state.has_news


def test_an_end_behind_a_cell_is_left_to_the_next_one(transport: StillTransport) -> None:
    sent = put(transport)
    for message in (status("busy", parent=sent.msg_id), status("idle", parent=sent.msg_id)):
        sent.watch.receive(message, sent.began)
    sent.watch.receive(msg("execute_reply", {"status": "ok"}, channel="shell", parent=sent.msg_id), sent.began)
    transport.receive(msg("status", {"execution_state": "restarting"}, parent=""))
    assert sent.watch.verdict.fate is Fate.OK
    transport.state.end_cell(sent.watch.ending, sent.watch.verdict.fate)
    assert transport.state.has_news
