"""Variables that come: by each way, and from a kernel that lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.get import INLINE, Getting
from tests.support.other_kernel import OtherKernel

LARGE = bytes(range(256)) * 12_000  # three pieces


def get(there: OtherKernel, wanted: dict[str, str], folder: str | None = None, most: int = 10**8) -> dict[str, Copied]:
    getting = Getting(wanted, most, pickles=False, folder=folder)
    exchange = Exchange(there, "it")
    reply = exchange.ask(remote.ask(getting.expression))
    return getting.receive(reply, exchange, lambda done, total: None)


def values(copied: dict[str, Copied]) -> dict[str, Any]:
    return {name: one.value for name, one in copied.items()}


def test_small_values_come_in_the_reply(there: OtherKernel) -> None:
    there.namespace.update(a=[1, None], b="x")
    assert values(get(there, {"mine": "a", "b": "b", "again": "a"})) == {
        "mine": [1, None],
        "b": "x",
        "again": [1, None],
    }
    assert len(there.sent) == 1


@pytest.mark.parametrize("way", ["file", "messages", "replies", "file of another system"])
def test_large_values_come_by_each_way_and_leave_nothing(way: str, there: OtherKernel, tmp_path: Path) -> None:
    there.namespace["a"] = LARGE
    there.carries_buffers = way != "replies"
    if way == "file of another system":

        def hide(asked: Message, answer: dict[str, Any]) -> dict[str, Any]:
            told = remote.read(answer)
            if told and "place" in told:
                answer["user_expressions"][remote.NAME]["data"]["text/plain"] = json.dumps({**told, "place": [1, 1]})
            return answer

        there.answers = hide
    found = get(there, {"a": "a"}, str(tmp_path) if way.startswith("file") else None)
    assert found["a"].value == LARGE and found["a"].size >= len(LARGE)
    assert (sum(there.posted) > len(LARGE)) == (way in ("messages", "file of another system"))
    assert "kernel_bridge_held" not in vars(there.shell)
    assert not list(tmp_path.iterdir()) and not there.router.is_awaited


@pytest.mark.parametrize("crc", [1, None, "1", True])
def test_a_piece_that_was_damaged_on_its_way_binds_nothing(crc: Any, there: OtherKernel) -> None:
    there.namespace["a"] = LARGE
    come = there.come

    def damage(msg_type: str, channel: str, content: Any, buffers: tuple[bytes, ...] = ()) -> None:
        come(msg_type, channel, {**content, "crc": crc} if buffers else content, buffers)

    there.come = damage  # type: ignore[method-assign]
    with pytest.raises(NotCopied, match="damaged"):
        get(there, {"a": "a"})
    assert "kernel_bridge_held" not in vars(there.shell)


def test_what_changes_there_behind_the_request_is_not_what_comes(there: OtherKernel) -> None:
    there.namespace["a"] = bytearray(LARGE)
    getting = Getting({"a": "a"}, 10**8, pickles=False, folder=None)
    exchange = Exchange(there, "it")
    reply = exchange.ask(remote.ask(getting.expression))
    there.namespace["a"][:] = b"changed"
    assert getting.receive(reply, exchange, lambda done, total: None)["a"].value == bytearray(LARGE)


def test_what_was_too_large_in_the_cell_s_turn_is_kept_for_whoever_is_asked(there: OtherKernel) -> None:
    there.namespace["a"] = LARGE
    first = Getting({"a": "a"}, 1000, keeps=True)
    exchange = Exchange(there, "it")
    with pytest.raises(BadVariable, match="larger than 1 kB") as refused:
        first.receive(exchange.ask(remote.ask(first.expression)), exchange, lambda done, total: None)
    there.namespace["a"] = "theirs"
    more = Getting({"mine": "a"}, 2000, keeps=True, kept=refused.value.kept)
    with pytest.raises(BadVariable, match="larger than 2 kB") as refused:
        more.receive(exchange.ask(remote.ask(more.expression)), exchange, lambda done, total: None)
    most = Getting({"mine": "a"}, 10**8, keeps=True, kept=refused.value.kept)
    reply = exchange.ask(remote.ask(most.expression))
    assert values(most.receive(reply, exchange, lambda done, total: None)) == {"mine": LARGE}
    assert "kernel_bridge_held" not in vars(there.shell)
    late = Getting({"a": "a"}, 10**8, kept=refused.value.kept)
    with pytest.raises(NotCopied, match="it has kept a for a minute only"):
        late.receive(exchange.ask(remote.ask(late.expression)), exchange, lambda done, total: None)


def test_where_nobody_is_asked_nothing_is_kept(there: OtherKernel) -> None:
    there.namespace["a"] = LARGE
    with pytest.raises(BadVariable, match="larger than 1 kB") as refused:
        get(there, {"a": "a"}, most=1000)
    assert refused.value.kept == "" and "kernel_bridge_held" not in vars(there.shell)


def test_how_far_it_is_is_told(there: OtherKernel) -> None:
    there.namespace["a"] = LARGE
    told: list[tuple[int, int]] = []
    getting = Getting({"a": "a"}, 10**8, pickles=False, folder=None)
    exchange = Exchange(there, "it")
    getting.receive(exchange.ask(remote.ask(getting.expression)), exchange, lambda *now: told.append(now))
    assert told == sorted(told) and told[-1][0] == told[-1][1] > len(LARGE)


def test_a_name_that_is_not_there_is_named(there: OtherKernel) -> None:
    there.namespace["a"] = 1
    with pytest.raises(BadVariable, match="it has no variable nope") as caught:
        get(there, {"a": "a", "b": "nope"})
    assert caught.value.name == "nope"


def test_what_cannot_be_copied_is_named_with_its_kernel(there: OtherKernel) -> None:
    there.namespace["a"] = {"x": [len]}
    with pytest.raises(BadVariable, match=r"a\['x'\]\[0\] .*\(in it\)"):
        get(there, {"a": "a"})
    there.namespace["a"] = LARGE
    with pytest.raises(BadVariable, match="larger than 1 kB") as caught:
        get(there, {"a": "a"}, most=1000)
    assert caught.value.size > len(LARGE)


# -- kernels that fail, or lie


def lying(there: OtherKernel, **parts: Any) -> None:
    """Have the kernel's first answer say this instead."""

    def lie(asked: Message, answer: dict[str, Any]) -> dict[str, Any]:
        told = remote.read(answer)
        if told is not None:
            answer["user_expressions"][remote.NAME]["data"]["text/plain"] = json.dumps({**told, **parts})
        return answer

    there.answers = lie


@pytest.mark.parametrize(
    "parts",
    [
        {"sizes": None},
        {"sizes": [10**12]},
        {"sizes": [-64]},
        {"sizes": ["64"]},
        {"crc": 1},
        {"crc": None},
        {"data": "!"},
        {"data": 5},
        {"data": ""},
        {"missing": "everything"},
        {"missing": 5},
        {"missing": ["another"]},
        {"refused": None},
        {"refused": [1, 2, 3]},
        {"refused": ["a" * 10**6, "\x1b[2J", {}, "x"]},
        {"refused": ["a" * 300, "is odd", "{} " * 10**6, "x"]},
    ],
    ids=lambda parts: str(parts)[:40],
)
def test_answers_that_lie_bind_nothing(parts: dict[str, Any], there: OtherKernel) -> None:
    there.namespace["a"] = 1
    lying(there, **parts)
    with pytest.raises((BadVariable, NotCopied)) as caught:
        get(there, {"a": "a"})
    assert len(str(caught.value)) < 1500 and "\x1b" not in str(caught.value)
    assert "no variable" not in str(caught.value)


def test_what_is_only_said_about_a_copy_is_no_matter(there: OtherKernel) -> None:
    there.namespace["a"] = 1
    for weight in ("much", -1, True, 10**400):
        lying(there, weights={"a": weight, "b": 7})
        assert get(there, {"a": "a"})["a"].size == 0
    lying(there, notes=[1, "x" * 10**6, None], weights={"a": "much", "b": 7})
    found = get(there, {"a": "a"})
    assert found["a"].value == 1 and found["a"].size == 0 and len(found["a"].note) < 500


def test_other_variables_than_those_asked_for_are_refused(there: OtherKernel) -> None:
    there.namespace.update(a=1, b=2)
    other = Getting({"b": "b"}, 10**6, pickles=False, folder=None)
    exchange = Exchange(there, "it")
    reply = exchange.ask(remote.ask(other.expression))
    with pytest.raises(NotCopied):
        Getting({"a": "a"}, 10**6, pickles=False, folder=None).receive(reply, exchange, lambda done, total: None)


@pytest.mark.parametrize("reply", [{}, {"status": "error"}, {"user_expressions": {remote.NAME: {"status": "error"}}}])
def test_no_answer_is_not_copied(reply: dict[str, Any], there: OtherKernel) -> None:
    there.answers = lambda asked, answer: reply
    with pytest.raises(NotCopied):
        get(there, {"a": "a"})


def test_an_error_there_is_named(there: OtherKernel) -> None:
    told = {"status": "error", "ename": "KeyboardInterrupt"}
    there.answers = lambda asked, answer: {"user_expressions": {remote.NAME: told}}
    with pytest.raises(NotCopied, match="KeyboardInterrupt"):
        get(there, {"a": "a"})


@pytest.mark.parametrize("way", ["messages", "replies"])
@pytest.mark.parametrize("what", ["dropped", "short", "long", "nothing"])
def test_pieces_that_are_not_what_they_should_be(way: str, what: str, there: OtherKernel) -> None:
    there.namespace["a"] = LARGE
    there.carries_buffers = way == "messages"
    held: list[Any] = []

    def spoil(asked: Message, answer: dict[str, Any]) -> dict[str, Any]:
        if there.shell.__dict__.get("kernel_bridge_held") and not held:
            held.append(there.shell.kernel_bridge_held)
            pieces = {"dropped": b"", "short": b"x", "long": b"x" * (2 << 20), "nothing": b""}
            held[0].piece = lambda token, start, stop: pieces[what]
        return answer

    there.answers = spoil
    with pytest.raises(NotCopied):
        get(there, {"a": "a"})
    assert "kernel_bridge_held" not in vars(there.shell)


def test_nothing_is_left_open_here(there: OtherKernel, tmp_path: Path) -> None:
    there.namespace["a"] = bytes(INLINE * 2)
    before = len(os.listdir("/proc/self/fd"))
    get(there, {"a": "a"}, str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
