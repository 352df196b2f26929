"""What is found out of a cell whose link broke, or whose reply is lost."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.aftermath import Aftermath
from kernel_bridge_magic.fate.proof import Proof, ProofStep
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, entered, reply, status, stream

T = timing.current
NOW = 100.0
WHOLE = (status("busy", number=1), entered(number=2), stream("x", number=3), status("idle", number=5))


def after(*messages: Message) -> Aftermath:
    request = Request(CELL)
    made = Aftermath(request)
    for message in messages:
        request.receive(message)
        made.completion.receive(message)
    return made


def test_a_cell_has_ended_with_either_half_and_lacks_its_reply_only_if_it_began() -> None:
    assert not after(entered()).has_ended
    assert after(reply()).has_ended and not after(entered(), status("idle"), reply()).lacks_reply
    assert after(status("idle")).has_ended and not after(status("idle")).lacks_reply
    assert after(entered(), status("idle")).lacks_reply


def test_the_record_is_awaited_until_it_is_due_or_its_question_is_over() -> None:
    one = after(*WHOLE)
    assert not one.awaits_record and not one.is_unrecorded(1e9)
    one.ask_record(NOW)
    assert one.awaits_record and one.has_ended
    assert not one.is_unrecorded(NOW + T.kernel_answer - 0.1) and one.is_unrecorded(NOW + T.kernel_answer)
    one.record_heard(status("busy", parent="record"), NOW)
    assert not one.is_unrecorded(NOW + T.record_grace + 0.01)
    one.record_heard(status("idle", parent="record"), NOW)
    assert one.is_unrecorded(NOW + T.record_grace + 0.01), "the answer itself may be lost as well"
    one.broke()
    assert not one.awaits_record and not one.is_unrecorded(1e9)


def test_a_cell_without_a_record_is_complete_once_its_process_is_heard_to_go_on() -> None:
    one = after(*WHOLE)
    one.ask_record(NOW)
    assert one.complete(NOW, faultless=True) is None
    assert one.is_unrecorded(NOW), "the kernel has said that it does not remember"
    one.completion.receive_later(status("idle", parent="probe", number=9))
    assert one.complete(NOW, faultless=True) is True
    assert one.complete(NOW, faultless=False) is False


@pytest.mark.parametrize("messages", [WHOLE[1:3], (WHOLE[1], WHOLE[3]), (entered(), status("idle"))])
def test_a_cell_of_which_more_than_the_reply_may_be_missing_is_not_complete(messages: tuple[Message, ...]) -> None:
    one = after(*messages)
    one.ask_record(NOW)
    one.completion.receive_later(status("idle", parent="probe", number=9))
    assert one.complete(NOW, faultless=True) is False


def test_what_never_shows_itself_is_not_awaited_for_longer_than_the_record() -> None:
    one = after(*WHOLE)
    one.ask_record(NOW)
    assert one.complete(NOW + T.kernel_answer, faultless=True) is False


def test_a_proof_asks_and_wants_a_count_at_its_end() -> None:
    one = after()
    assert one.tick_proof(NOW) is None
    one.proof = Proof(NOW)
    assert one.tick_proof(NOW) is ProofStep.ASK_SERVER
    one.proof.server_says(1, NOW)
    for later in (T.socket_linger, T.socket_linger + 0.5):
        assert one.tick_proof(NOW + later) is ProofStep.ASK_KERNEL
        one.proof.answered(NOW + later)
    assert not one.wants_proof
    assert one.tick_proof(NOW + 5) is ProofStep.COUNT and one.wants_proof
    one.end_proof()
    assert one.proof is None and not one.wants_proof
