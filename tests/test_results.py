from __future__ import annotations

import dataclasses

import pytest

from kernel_bridge_magic.errors import Fate, FateError, RemoteError, fate_error, remote_error
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.results import RemoteResult, RemoteValue

KERNEL = Kernel(id="k")


def test_a_value_is_its_bundle() -> None:
    data = {"text/plain": "<x>", "text/html": "<b>x</b>"}
    value = RemoteValue(data, {"text/html": {"isolated": True}})
    assert value.text == repr(value) == "<x>"
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


def test_values_are_equal_when_all_they_hold_is() -> None:
    assert RemoteValue({"text/plain": "1"}) == RemoteValue({"text/plain": "1"}, {})
    assert RemoteValue({"text/plain": "1"}) != RemoteValue({"text/plain": "1"}, {"x": 1})
    assert RemoteValue({"text/plain": "1"}) != "1"
    with pytest.raises(TypeError):
        hash(RemoteValue({}))


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


def test_a_result_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RemoteResult("ok", Fate.OK, KERNEL).status = "error"  # type: ignore[misc]


def test_a_value_of_a_foreign_kernel_is_shown_as_what_cannot_act_and_kept_as_it_came() -> None:
    value = RemoteValue({"text/html": "<script>", "text/plain": "\x1b]0;x\x07"}, shown={"text/plain": "^[]0;x^G"})
    assert value._repr_mimebundle_() == ({"text/plain": "^[]0;x^G"}, {})
    assert repr(value) == "^[]0;x^G"
    assert value.text == "\x1b]0;x\x07"
    assert value.data["text/html"] == "<script>"
