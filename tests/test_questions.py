"""Questions that are answered with yes or no."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.questions import says_yes


@pytest.mark.parametrize("answer", ["y", "Y", " yes ", "YES\n"])
def test_yes_is_yes(answer: str) -> None:
    asked: list[str] = []
    assert says_yes(lambda question: asked.append(question) or answer, "really? ")
    assert asked == ["really? "]


@pytest.mark.parametrize("answer", ["", "n", "no", "yess", "yes please", "\x04", "Ja", "1", "true"])
def test_anything_else_is_no(answer: str) -> None:
    assert not says_yes(lambda question: answer, "really? ")


@pytest.mark.parametrize(("ended", "told"), [(EOFError, None), (KeyboardInterrupt, KeyboardInterrupt)])
def test_no_answer_is_no_and_ctrl_c_is_no_answer(ended: type[BaseException], told: type[BaseException] | None) -> None:
    def ask(question: str) -> str:
        raise ended

    if told is None:
        assert not says_yes(ask, "really? ")
    else:
        with pytest.raises(told):
            says_yes(ask, "really? ")
