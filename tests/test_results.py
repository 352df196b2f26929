from __future__ import annotations

import copy
import dataclasses
import math
import operator
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.errors import Fate, FateError, RemoteError, fate_error, remote_error
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from tests.support.shells import private_shell

KERNEL = Kernel(id="k")


def test_a_value_is_its_bundle() -> None:
    data = {"text/plain": "<x>", "text/html": "<b>x</b>"}
    value = RemoteValue(data, {"text/html": {"isolated": True}})
    assert value.text == str(value) == f"{value}" == "<x>"
    assert value._repr_mimebundle_() == (data, {"text/html": {"isolated": True}})
    assert value._repr_mimebundle_(include=["text/html"], exclude=None)[0] == data


def test_a_value_without_text_says_what_it_is() -> None:
    assert repr(RemoteValue({"image/png": "iVBO", "image/svg+xml": "<svg/>"})) == (
        "<RemoteValue: image/png, image/svg+xml>"
    )
    assert repr(RemoteValue({})) == "<RemoteValue: empty>"
    assert RemoteValue({}).text == ""


def test_text_in_lines_is_joined() -> None:
    # nbformat's multiline strings
    assert RemoteValue({"text/plain": ["a\n", "b"]}).text == "a\nb"
    assert RemoteValue({"text/plain": 3}).text == "3"


def test_a_value_keeps_its_own_copy() -> None:
    data = {"text/plain": "1"}
    value = RemoteValue(data)
    data["text/plain"] = "2"
    assert value.text == "1"


TWO = RemoteValue({"text/plain": "2"})


def increased(value: Any) -> object:
    value += 1
    return value


#: What somebody may try who takes it for the value.
TRIED: dict[str, Callable[[Any], object]] = {
    "==": lambda value: value == 2,
    "!=": lambda value: value != 2,
    "== of two": lambda value: value == RemoteValue({"text/plain": "2"}),
    "== from the right": lambda value: 2 == value,  # noqa: SIM300
    "== None": lambda value: value == None,  # noqa: E711
    "truth": bool,
    "not": lambda value: not value,
    "or": lambda value: value or 3,
    "<": lambda value: value < 3,
    "> from the right": lambda value: 3 > value,  # noqa: SIM300
    "max": lambda value: max(value, 3),
    "sorted": lambda value: sorted([value, RemoteValue({})]),
    "+": lambda value: value + 1,
    "sum": lambda value: sum([value]),
    "text +": lambda value: "a" + value,
    "+=": increased,
    "*": lambda value: [1] * value,
    "/": lambda value: 1 / value,
    "%": lambda value: value % 2,
    "**": lambda value: 2**value,
    "divmod": lambda value: divmod(7, value),
    "@": lambda value: value @ value,
    "|": lambda value: value | {1},
    "-": operator.neg,
    "abs": abs,
    "int": int,
    "float": float,
    "round": round,
    "math": math.floor,
    "range": range,
    "index": lambda value: "abc"[value],
    "len": len,
    "for": list,
    "unpack": lambda value: dict(**value),
    "in it": lambda value: 2 in value,
    "[]": lambda value: value[0],
    "[:]": lambda value: value[1:],
    "[]=": lambda value: operator.setitem(value, "x", 1),
    "format": lambda value: f"{value:.2f}",
    "numpy": lambda value: import_module("numpy").arange(3) + value,
    "numpy ==": lambda value: import_module("numpy").arange(3) == value,
    "another one in a list": lambda value: value in [RemoteValue({"text/plain": "2"})],
    "a number in a list": lambda value: 2 in [value],
    "count": lambda value: [2, value].count(2) + [value].count(2),
}


@pytest.mark.parametrize("tried", TRIED)
def test_a_value_that_is_taken_for_the_object_says_what_it_is(tried: str) -> None:
    with pytest.raises(TypeError) as raised:
        TRIED[tried](TWO)
    if tried != "unpack":  # Python's own words there
        told = str(raised.value)
        assert told.startswith("this is a RemoteValue, what another kernel shows of its object, and not the object: ")
        assert all(way in told for way in (".text ", ".data ", ".literal() "))


def test_an_attribute_of_the_object_is_none_of_the_value_s() -> None:
    with pytest.raises(AttributeError, match=r"this is a RemoteValue, .*: \.mean does not work"):
        TWO.mean()  # type: ignore[attr-defined]
    assert not hasattr(TWO, "shape") and not hasattr(TWO, "_repr_html_")


def test_a_value_may_be_kept_anywhere() -> None:
    value = RemoteValue({"text/plain": "2"}, {"x": 1})
    assert value in [TWO, value][1:] and value in {value} and {value: 1}[value] == 1
    assert hash(value) != hash(TWO)
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert again is not value
        assert (again.data, again.metadata, str(again)) == (value.data, value.metadata, "2")
    assert [value][0] is value and {"a": value}["a"] is value and (value is not None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("42", 42), ("'abc'", "abc"), ("None", None), ("{'a': [1, (2.5,)]}", {"a": [1, (2.5,)]}), (" -1\n", -1)],
)
def test_a_literal_is_a_python_value(text: str, value: object) -> None:
    assert RemoteValue({"text/plain": text}).literal() == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("np.int64(3)", "np.int64(3) is not a plain Python value"),
        ("   a\n0  1", "a 0 1 is not a plain Python value"),
        ("__import__('os').getcwd()", "__import__('os').getcwd() is not a plain Python value"),
        ("", "a value without text is not a plain Python value"),
        ("[" * 100_000, "[[[[[[["),
        ("-" * 900_000 + "1", "-------"),
        ("{[]: 1}", "{[]: 1} is not"),
        ("'" + "x" * (1 << 20) + "'", "a text of 1,048,578 characters is not read as a Python value"),
        ("\0", "\\x00 is not"),
    ],
)
def test_what_is_no_literal_is_said(text: str, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        RemoteValue({"text/plain": text}).literal()
    assert str(raised.value).startswith(told)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2", "<RemoteValue: 2>"),
        ("   a\n0  1", "<RemoteValue: a 0 1>"),
        ("x" * 10_000_000, f"<RemoteValue: {'x' * 59}…>"),
        ("\x1b[31mred", r"<RemoteValue: \x1b[31mred>"),
    ],
)
def test_a_value_s_repr_is_one_short_line(text: str, shown: str) -> None:
    assert repr(RemoteValue({"text/plain": text})) == shown
    assert str(RemoteValue({"text/plain": text})) == text


def test_ipython_keeps_a_value_as_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with private_shell(tmp_path) as shell:
        shell.user_ns["make"] = lambda: RemoteValue({"text/plain": "   a\n0  1"})
        for code in ("value = make()", "value", "_, __", "%who", "%whos", "Out", "[value]", "value;"):
            outcome = shell.run_cell(code, store_history=True)
            assert outcome.success, code
        assert shell.user_ns["Out"][2] is shell.user_ns["value"]
    shown = capsys.readouterr().out
    assert "Out[2]: \n   a\n0  1\n" in shown
    assert "[<RemoteValue: a 0 1>]" in shown


def test_ipython_shows_a_value_as_the_object_s_own_bundle() -> None:
    from IPython.core.formatters import DisplayFormatter

    bundle, metadata = DisplayFormatter().format(RemoteValue({"text/plain": "t", "image/png": "iVBO"}, {"w": 1}))
    assert (bundle, metadata) == ({"text/plain": "t", "image/png": "iVBO"}, {"w": 1})


def test_a_result_that_is_ok_raises_nothing() -> None:
    result = RemoteResult("ok", Fate.OK, KERNEL, value=RemoteValue({"text/plain": "2"}), seconds=0.1)
    result.raise_for_error()
    assert result.text == "2"
    assert (result.outputs, result.missing, result.error) == ([], 0, None)
    assert RemoteResult("ok", Fate.OK, KERNEL).text == ""


@pytest.mark.parametrize("error", [remote_error("ValueError", "no"), fate_error(Fate.DIED, "gone")])
def test_a_result_raises_what_the_cell_ended_with(error: RemoteError | FateError) -> None:
    with pytest.raises(type(error)) as raised:
        RemoteResult("error", Fate.FAILED, KERNEL, error=error).raise_for_error()
    assert raised.value is error


def test_a_result_s_repr_is_one_short_line() -> None:
    result = RemoteResult("ok", Fate.OK, KERNEL, outputs=[{"text": "x" * 10_000}])
    assert "xxx" not in repr(result)
    assert "\n" not in repr(result)


def test_a_result_s_repr_says_how_it_ended() -> None:
    kernel = Kernel(id="k", sessions=(Session("work/analysis.ipynb", "analysis.ipynb"),))
    ok = RemoteResult("ok", Fate.OK, kernel, value=RemoteValue({"text/plain": "2"}), seconds=0.123)
    assert repr(ok) == "<RemoteResult: ok, work/analysis.ipynb, 0.12 s, <RemoteValue: 2>>"
    assert repr(RemoteResult("ok", Fate.OK, kernel)) == "<RemoteResult: ok, work/analysis.ipynb, 0.00 s>"
    error = remote_error("ValueError", "no " * 1_000_000)
    failed = repr(RemoteResult("error", Fate.FAILED, kernel, error=error, seconds=2))
    assert failed.startswith("<RemoteResult: failed, work/analysis.ipynb, 2.00 s, ValueError: no no")
    assert len(failed) < 150


def test_results_are_equal_to_none_but_themselves() -> None:
    results = [RemoteResult("ok", Fate.OK, KERNEL, value=RemoteValue({"text/plain": "2"})) for _ in range(2)]
    assert results[0] != results[1] and results[1] in results
    assert len(set(results)) == 2


ANOTHER = "interrupted there by another client"


@pytest.mark.parametrize(
    ("ename", "evalue", "interruption", "told"),
    [
        ("ZeroDivisionError", "division by zero", "", "division by zero (in work/a.ipynb)"),
        ("KeyboardInterrupt", "", ANOTHER, f"(in work/a.ipynb, {ANOTHER})"),
        ("KeyboardInterrupt", "", "", "(in work/a.ipynb)"),
        ("", "127", "", "127 (in work/a.ipynb)"),
    ],
)
def test_an_error_that_python_code_is_given_names_its_kernel(
    ename: str, evalue: str, interruption: str, told: str
) -> None:
    error = remote_error(ename, evalue, ("the traceback",), "work/a.ipynb")
    error.interruption = interruption
    result = RemoteResult("error", Fate.FAILED, KERNEL, error=error)
    error.result = result
    assert str(error) == evalue  # what a notebook saves
    assert error._render_traceback_() == ["the traceback"]
    with pytest.raises(RemoteError) as raised:
        result.raise_for_error()
    assert str(raised.value) == told
    assert raised.value._render_traceback_() == ["the traceback", told[told.index("(") :]]
    assert (raised.value.ename, raised.value.evalue, raised.value.traceback) == (ename, evalue, ["the traceback"])


def test_what_a_result_has_printed() -> None:
    streams = [("stdout", "a"), ("stderr", "b"), ("stdout", "c\n")]
    outputs: list[dict[str, Any]] = [{"output_type": "stream", "name": name, "text": text} for name, text in streams]
    outputs.insert(1, {"output_type": "display_data", "data": {"text/plain": "x"}, "metadata": {}})
    result = RemoteResult("ok", Fate.OK, KERNEL, outputs)
    assert (result.stdout, result.stderr) == ("ac\n", "b")
    assert (RemoteResult("ok", Fate.OK, KERNEL).stdout, RemoteResult("ok", Fate.OK, KERNEL).stderr) == ("", "")


def test_a_result_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RemoteResult("ok", Fate.OK, KERNEL).status = "error"  # type: ignore[misc]


def test_a_value_of_a_foreign_kernel_is_shown_as_what_cannot_act_and_kept_as_it_came() -> None:
    value = RemoteValue({"text/html": "<script>", "text/plain": "\x1b]0;x\x07"}, shown={"text/plain": "^[]0;x^G"})
    assert value._repr_mimebundle_() == ({"text/plain": "^[]0;x^G"}, {})
    assert str(value) == "^[]0;x^G"
    assert repr(value) == "<RemoteValue: ^[]0;x^G>"
    assert value.text == "\x1b]0;x\x07"
    assert value.data["text/html"] == "<script>"
