"""Kernels that do not answer."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.fate.heart import MISSED_BEATS, Heart


@pytest.mark.parametrize(("beats", "greets", "words"), [(False, None, "suspended"), (True, False, "native code")])
def test_it_is_said_once_and_again_after_an_answer(beats: bool, greets: bool | None, words: str) -> None:
    heart = Heart()
    for _ in range(2):
        for missed in range(1, MISSED_BEATS + 3):
            heart.receive(beats, greets)
            note = heart.note()
            assert (note is not None and words in note.text) == (missed == MISSED_BEATS)
        heart.receive(True, True)
        assert heart.note() is None


def test_where_nobody_can_ask_nothing_is_said() -> None:
    heart = Heart()
    for _ in range(9):
        heart.receive(None, None)
    assert heart.note() is None
