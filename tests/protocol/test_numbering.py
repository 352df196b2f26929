from __future__ import annotations

import pytest

from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD, Numbering, is_rate_limit, numbered, read_number


def sent(number: object, pid: int = 7, session: str = "s", channel: str = "iopub", **content: object) -> Message:
    kind = "status" if "execution_state" in content else "stream"
    header = {"msg_id": f"{session}_{pid}_{number}", "session": session, "msg_type": kind}
    return Message(channel, header, {"msg_id": "ours"}, content=dict(content))


def test_the_kernel_s_own_numbers_are_read() -> None:
    numbering = Numbering("me")
    assert [numbering.number(sent(it)) for it in (3, 4, 9)] == [3, 4, 9]
    assert (numbering.session, numbering.life, numbering.doubted) == ("s", "s_7", False)


@pytest.mark.parametrize("number", ["", "x", "-1", "1.0", "9" * 19])
def test_what_is_no_number_of_a_kernel_s(number: str) -> None:
    assert read_number(number) is None
    assert numbered(sent(number)) == ("", 0)
    assert Numbering("me").number(sent(number)) is None


def test_a_forked_child_s_numbers_are_not_the_kernel_s() -> None:
    numbering = Numbering("me")
    assert numbering.number(sent(1)) == 1
    assert numbering.number(sent(2, pid=8)) is None
    assert numbering.forked == {"ours"} and numbering.life == "s_7"
    assert numbering.number(sent(2)) == 2


def test_who_speaks_of_the_kernel_s_state_or_answers_is_the_kernel() -> None:
    numbering = Numbering("me")
    for pid, message in ((8, sent(1, pid=8, execution_state="busy")), (9, sent(1, pid=9, channel="shell"))):
        numbering.number(sent(5, pid=pid - 1))
        assert numbering.number(message) == 1
        assert numbering.life == f"s_{pid}"


def test_a_new_session_is_a_new_life() -> None:
    numbering = Numbering("me")
    numbering.number(sent(MOST_AHEAD))
    numbering.forked.add("ours")
    assert numbering.number(sent(0, session="t")) == 0
    assert (numbering.session, numbering.life, numbering.forked) == ("t", "t_7", set())


def test_a_number_too_far_ahead_is_not_believed() -> None:
    numbering = Numbering("me")
    numbering.number(sent(1))
    assert numbering.number(sent(MOST_AHEAD + 2)) is None
    assert numbering.doubted
    assert numbering.number(sent(2)) == 2


@pytest.mark.parametrize("what", ["data", "message"])
def test_a_server_s_word_that_it_drops_output(what: str) -> None:
    assert is_rate_limit(f"\nIOPub {what} rate exceeded.\nThe Jupyter server will …")
    assert not is_rate_limit(f"as I said: IOPub {what} rate exceeded")
