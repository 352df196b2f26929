"""The requests that copy variables, run here as over there: what is read, set, and left."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_bridge_magic.remote_code import variables
from kernel_bridge_magic.remote_code.codec import codec

LARGE = bytes(range(256)) * 64


class Shell(SimpleNamespace):
    """An IPython shell, as far as our code uses it."""

    user_ns: dict[str, Any]

    def push(self, values: dict[str, Any]) -> None:
        self.user_ns.update(values)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell(user_ns={"a": {"b": (1, 2.5)}, "large": LARGE, "odd": object()})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    # The timers of what waits: nothing of this test is to outlive it.
    timer = SimpleNamespace(start=lambda: None, cancel=lambda: None)
    monkeypatch.setattr("threading.Timer", lambda *asked: timer)
    return shell


def order(**more: Any) -> variables.Order:
    return variables.Order(**{"has": codec().libraries(), "most": 10**6, "inline": 1000, **more})


def reply(content: dict[str, Any]) -> dict[str, Any]:
    """What the kernel answers to a request."""
    (expression,) = content["user_expressions"].values()
    value = eval(expression, {})
    return {"user_expressions": {variables.NAME: {"status": "ok", "data": value._repr_mimebundle_()}}}


def ask(content: dict[str, Any]) -> dict[str, Any]:
    answer = variables.read(reply(content))
    assert answer is not None
    return answer


def crc_of(text: str) -> int:
    """The checksum of a piece in base64."""
    return zlib.crc32(base64.b64decode(text))


def held(shell: Shell) -> list[str]:
    """The tokens of what waits there."""
    return list(vars(shell)["kernel_bridge_held"].items) if "kernel_bridge_held" in vars(shell) else []


def value_of(whole: Any, answer: dict[str, Any]) -> Any:
    values, _ = codec().unpack(memoryview(whole), answer["sizes"], answer["crc"], 10**6)
    return values


def test_small_variables_come_in_the_answer(shell: Shell) -> None:
    answer = ask(variables.ask(variables.give(["a"], "t", order())))
    assert value_of(base64.b64decode(answer["data"]), answer) == {"a": {"b": (1, 2.5)}}
    assert not held(shell)


def test_large_ones_wait_and_are_fetched_in_pieces(shell: Shell) -> None:
    answer = ask(variables.ask(variables.give(["large"], "t", order())))
    assert held(shell) == ["t"] and answer["place"] is None
    shell.user_ns["large"] = b"another"  # what waits is a snapshot
    size = codec().end_of(answer["sizes"])
    starts = range(0, size, 5000)
    texts = [variables.read_text(reply(variables.piece("t", start, min(start + 5000, size)))) for start in starts]
    crc = int(variables.read_text(reply(variables.checksum("t", size))))
    assert value_of(b"".join(map(base64.b64decode, texts)), {**answer, "crc": crc}) == {"large": LARGE}
    reply(variables.drop("t"))
    assert not held(shell) and "kernel_bridge_held" not in vars(shell)
    assert variables.read_text(reply(variables.piece("t", 0, 5))) == ""


def test_pieces_that_are_posted_go_to_whoever_asks(shell: Shell) -> None:
    sent: list[tuple[Any, ...]] = []
    shell.kernel = SimpleNamespace(
        _parent_ident={"shell": [b"us"]},
        get_parent=lambda: {"header": {}},
        session=SimpleNamespace(send=lambda *what, **more: sent.append((*what, more["ident"], more["buffers"]))),
        stdin_socket="stdin",
    )
    answer = ask(variables.ask(variables.give(["large"], "t", order())))
    assert variables.read_text(reply(variables.post("t", 2, 9, 3))) == "7"
    assert [about["start"] for _, _, about, _, _ in sent] == [2, 5, 8]
    assert all(about["crc"] == zlib.crc32(*buffers) for _, _, about, _, buffers in sent)
    assert [len(buffers[0]) for *_, buffers in sent] == [3, 3, 1]
    assert all(tuple(it) == ("stdin", variables.DATA, [b"us"]) for *it, _ in (
        (socket, kind, ident, about) for socket, kind, about, ident, _ in sent))  # fmt: skip
    assert codec().end_of(answer["sizes"]) > len(LARGE)
    reply(variables.drop("t"))
    assert variables.read_text(reply(variables.post("t", 2, 9, 3))) == "0" and len(sent) == 3


def test_large_ones_go_by_a_file_where_that_can_be(shell: Shell, tmp_path: Path) -> None:
    answer = ask(variables.ask(variables.give(["large"], "t", order(folder=str(tmp_path)))))
    size = codec().end_of(answer["sizes"])
    assert value_of(codec().open_shared(answer["place"], size, str(tmp_path)), answer) == {"large": LARGE}
    reply(variables.drop("t"))
    assert not held(shell) and not os.listdir(tmp_path)


def test_a_missing_name_is_told_and_nothing_comes(shell: Shell) -> None:
    assert ask(variables.ask(variables.give(["a", "nope"], "t", order()))) == {"missing": ["nope"]}
    assert not held(shell)


@pytest.mark.parametrize(
    ("name", "most", "what", "size"),
    [("odd", 10**6, "is of the type object", 0), ("large", 5000, "larger", len(LARGE))],
)
def test_what_cannot_come_is_told_in_words(shell: Shell, name: str, most: int, what: str, size: int) -> None:
    path, told, _, least = ask(variables.ask(variables.give([name], "t", order(most=most))))["refused"]
    assert path == name and least >= size and (what in told or size)
    assert not held(shell)


def parcel(**values: Any) -> tuple[list[int], int, bytearray]:
    made = codec().pack(values, codec().libraries(), 10**6)
    data = made.to_bytes()
    return made.sizes, made.crc, data


def test_variables_are_set_from_pieces(shell: Shell) -> None:
    sizes, crc, data = parcel(large=b"new" * 1000, n=1)
    assert ask(variables.expect("t", len(data))) == {"ready": True}
    for start in range(0, len(data), 1000):
        text = base64.b64encode(data[start : start + 1000]).decode()
        assert variables.read_text(reply(variables.fill("t", start, crc_of(text), text))) == "1"
    assert "n" not in shell.user_ns  # not before all of it is there
    assert ask(variables.bind("t", sizes, crc, order())) == {"replaced": ["large"], "notes": []}
    assert (shell.user_ns["large"], shell.user_ns["n"]) == (b"new" * 1000, 1)
    assert not held(shell)


def test_a_piece_that_has_no_room_is_refused(shell: Shell) -> None:
    text = base64.b64encode(b"12345").decode()
    assert variables.read_text(reply(variables.fill("t", 0, crc_of(text), text))) == "0"
    ask(variables.expect("t", 4))
    assert variables.read_text(reply(variables.fill("t", 0, crc_of(text), text))) == "0"


def test_a_piece_that_was_damaged_on_its_way_is_refused(shell: Shell) -> None:
    ask(variables.expect("t", 5))
    assert variables.read_text(reply(variables.fill("t", 0, 7, base64.b64encode(b"12345").decode()))) == "0"


def test_a_copy_that_was_changed_on_its_way_sets_nothing(shell: Shell) -> None:
    sizes, crc, data = parcel(a=1, n=2)
    data[5] ^= 1
    answer = ask(variables.bind("t", sizes, crc, order(), data=base64.b64encode(data).decode()))
    assert "refused" in answer and "n" not in shell.user_ns and shell.user_ns["a"] == {"b": (1, 2.5)}


def test_what_was_dropped_or_cannot_be_opened_sets_nothing(shell: Shell, tmp_path: Path) -> None:
    sizes, crc, _ = parcel(n=2)
    assert ask(variables.bind("t", sizes, crc, order())) == {"dropped": True}
    place = ["0" * 32]
    assert ask(variables.bind("t", sizes, crc, order(folder=str(tmp_path)), place=place)) == {"unreachable": True}
    assert "n" not in shell.user_ns


def test_no_more_than_eight_copies_wait(shell: Shell) -> None:
    for number in range(12):
        ask(variables.expect(f"t{number}", 10))
    assert held(shell) == [f"t{number}" for number in range(4, 12)]


def test_what_nobody_asks_for_goes_after_a_minute(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    ask(variables.expect("old", 10))
    ask(variables.expect("asked for", 10))
    now += 59
    reply(variables.piece("asked for", 0, 1))
    now += 2
    there: Any = vars(shell)["kernel_bridge_held"]
    there.look()
    assert held(shell) == ["asked for"]
    now += 60
    there.look()
    assert "kernel_bridge_held" not in vars(shell)


def test_the_libraries_of_this_side(shell: Shell) -> None:
    assert ask(variables.tell()) == {"has": codec().libraries()}
    assert not held(shell)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"user_expressions": None},
        {"user_expressions": {variables.NAME: {"status": "error", "ename": "MemoryError"}}},
        {"user_expressions": {variables.NAME: {"status": "ok", "data": {"text/plain": "no JSON"}}}},
        {"user_expressions": {variables.NAME: {"status": "ok", "data": {"text/plain": json.dumps([1])}}}},
        {"user_expressions": {variables.NAME: {"status": "ok", "data": {"text/plain": "[" * 10**5}}}},
    ],
)
def test_what_is_no_answer_is_none(content: dict[str, Any]) -> None:
    assert variables.read(content) is None


def test_what_was_raised_in_place_of_an_answer_is_a_word() -> None:
    raised = {"user_expressions": {variables.NAME: {"status": "error", "ename": "MemoryError"}}}
    assert (variables.problem(raised), variables.problem({}), variables.problem({"user_expressions": 5})) == (
        "MemoryError",
        "",
        "",
    )
