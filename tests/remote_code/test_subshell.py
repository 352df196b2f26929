"""The requests beside the main shell; what their files do over there is in `test_there.py`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kernel_bridge_magic.protocol.messages import evaluate_content
from kernel_bridge_magic.remote_code import subshell


def answer(value: str) -> dict[str, Any]:
    return {"user_expressions": {"value": {"data": {"text/plain": value}}}}


def test_each_request_is_silent_and_python() -> None:
    for content in (subshell.arrive(), subshell.leave(), subshell.interrupt(7), subshell.look_busy()):
        assert content["silent"] and not content["store_history"]
        for code in (content["code"], *content["user_expressions"].values()):
            compile(code or "None", "", "eval")


def test_only_expressions_are_guarded_and_by_constant_code() -> None:
    one, two = (subshell.guarded(evaluate_content(value=value)) for value in ("1", "2"))
    assert one["code"] == two["code"] and one["user_expressions"] == {"value": "1"}
    with pytest.raises(AssertionError):
        subshell.guarded(evaluate_content("print()"))


def test_the_thread_tells_its_identity() -> None:
    expression = subshell.arrive()["user_expressions"]["value"]
    assert subshell.thread(answer(str(eval(expression, {})))) == threading.get_ident()


@pytest.mark.parametrize("content", [{}, answer(""), answer("None"), answer("-1")])
def test_no_identity_is_0(content: dict[str, Any]) -> None:
    assert subshell.thread(content) == 0 and not subshell.reached(content)


def test_one_thread_is_reached() -> None:
    assert subshell.reached(answer("1")) and not subshell.reached(answer("0"))
