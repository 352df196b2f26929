"""Variables that go: by each way, all or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.put import Outgoing, put
from tests.support.other_kernel import OtherKernel

LARGE = bytes(range(256)) * 12_000


def send(
    there: OtherKernel, values: dict[str, Any], folder: Path | None = None, most: int = 10**8
) -> dict[str, Copied]:
    where = None if folder is None else str(folder)
    return put(Outgoing(values, most), Exchange(there, "it"), where, lambda done, total: None)


def test_small_values_go_in_one_request(there: OtherKernel) -> None:
    there.namespace["b"] = "old"
    copied = send(there, {"a": [1, (2,)], "b": None})
    assert there.namespace == {"a": [1, (2,)], "b": None}
    assert {name: one.replaced for name, one in copied.items()} == {"a": False, "b": True}
    assert len(there.sent) == 2  # what it has, and the values


@pytest.mark.parametrize("way", ["file", "messages", "replies", "unreachable"])
def test_large_values_go_by_each_way_and_leave_nothing(
    way: str, there: OtherKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.carries_buffers = way != "replies"
    if way == "unreachable":
        monkeypatch.setattr(
            codec().SharedFile, "place", property(lambda self: [1, 1], lambda self, _: None), raising=False
        )
    send(there, {"a": LARGE, "b": 1}, tmp_path if way in ("file", "unreachable") else None)
    assert there.namespace == {"a": LARGE, "b": 1}
    carried = sum(len(buffer) for message in there.sent for buffer in message.buffers)
    assert (carried > len(LARGE)) == (way in ("messages", "unreachable"))
    assert max(len(str(message.content)) for message in there.sent) < 2 * 10**6
    assert "kernel_bridge_held" not in vars(there.shell) and not list(tmp_path.iterdir())


def test_what_cannot_be_copied_is_said_before_anything_is_sent(there: OtherKernel) -> None:
    with pytest.raises(BadVariable, match=r"a\[0\] "):
        send(there, {"b": 1, "a": [len]})
    with pytest.raises(BadVariable, match="larger") as caught:
        send(there, {"a": LARGE}, most=1000)
    assert caught.value.size and there.namespace == {}
    assert len(there.sent) == 2  # twice the question what it has


def test_what_cannot_be_read_there_binds_nothing(there: OtherKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(asked: Message, answer: dict[str, Any]) -> dict[str, Any]:
        return answer

    there.answers = refuse
    outgoing = Outgoing({"a": 1, "b": 2}, 10**6)
    parcel = outgoing.parcel(codec().libraries())
    parcel.crc = 5
    monkeypatch.setattr(type(parcel), "crc", property(lambda self: 5, lambda self, _: None), raising=False)
    with pytest.raises(BadVariable, match="damaged"):
        put(outgoing, Exchange(there, "it"), None, lambda done, total: None)
    assert there.namespace == {}


def test_a_piece_that_is_not_taken_binds_nothing(there: OtherKernel) -> None:
    def drop(asked: Message, answer: dict[str, Any]) -> dict[str, Any]:
        if asked.buffers:
            answer["user_expressions"][remote.NAME]["data"] = {"text/plain": "0"}
        return answer

    there.answers = drop
    with pytest.raises(NotCopied, match="no longer"):
        send(there, {"a": LARGE})
    assert there.namespace == {} and "kernel_bridge_held" not in vars(there.shell)


@pytest.mark.parametrize("answer", [{}, {"user_expressions": {remote.NAME: {"status": "error", "ename": "X"}}}])
def test_no_answer_is_not_copied(answer: dict[str, Any], there: OtherKernel) -> None:
    there.answers = lambda asked, _: answer
    with pytest.raises(NotCopied):
        send(there, {"a": 1})


def test_how_far_it_is_is_told(there: OtherKernel) -> None:
    told: list[tuple[int, int]] = []
    put(Outgoing({"a": LARGE}, 10**8), Exchange(there, "it"), None, lambda *now: told.append(now))
    assert told == sorted(told) and told[-1][0] == told[-1][1] > len(LARGE)


@pytest.mark.parametrize("way", ["file", "messages", "kept"])
def test_what_changes_while_it_is_written_is_an_error_of_ours(way: str, there: OtherKernel, tmp_path: Path) -> None:
    outgoing = Outgoing({"a": bytearray(LARGE)}, 10**8)
    libraries: list[dict[str, str]] = [{}, codec().libraries()]
    for has in libraries:
        outgoing.parcel(has).parts[1] = b"shorter"
    with pytest.raises(BadVariable, match="has changed while it was copied"):
        if way == "kept":
            outgoing.keep()
        else:
            folder = str(tmp_path) if way == "file" else None
            put(outgoing, Exchange(there, "it"), folder, lambda done, total: None)
    assert there.namespace == {} and not list(tmp_path.iterdir())


def test_what_is_kept_does_not_change(there: OtherKernel) -> None:
    value = [1, 2]
    outgoing = Outgoing({"a": value}, 10**6)
    outgoing.keep()
    value.append(3)
    put(outgoing, Exchange(there, "it"), None, lambda done, total: None)
    assert there.namespace["a"] == [1, 2]


def test_each_form_is_made_once_and_freed(tmp_path: Path) -> None:
    outgoing = Outgoing({"a": LARGE}, 10**8)
    parcel = outgoing.parcel({"python": "3"})
    assert outgoing.parcel({"python": "3"}) is parcel
    file = outgoing.form(parcel, "file", lambda: codec().share(parcel, str(tmp_path)))
    assert outgoing.form(parcel, "file", lambda: None) is file
    outgoing.release()
    assert file.handle == -1
