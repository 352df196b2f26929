from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import BadCell, BadOption


def test_a_cell_that_only_has_code_is_a_guest_s() -> None:
    cell = Cell("1")
    assert (cell.timeout, cell.since, cell.if_busy, cell.metadata, cell.whole) == (None, None, "wait", None, None)
    assert (cell.store_history, cell.stdin, cell.durable, cell.keep_outputs) == (False, False, False, True)


def test_it_cannot_be_changed_on_its_way() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cell("1").timeout = 2.0  # type: ignore[misc]


def test_the_code_is_kept_as_it_is_sent() -> None:
    assert Cell("\ufeff1").code == "1"


@pytest.mark.parametrize("code", ["", " \n", "a\0b", "'\ud800'", None, 7, b"1"])
def test_code_that_cannot_be_sent_is_refused(code: Any) -> None:
    with pytest.raises(BadCell):
        Cell(code)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": "x"}, "timeout='x' is not a duration"),
        ({"timeout": 0}, "timeout=0 is not a duration"),
        ({"timeout": True}, "timeout=True is not a duration"),
        ({"if_busy": "now"}, "if_busy is one of wait, fail, subshell, not 'now'"),
        ({"if_busy": None}, "if_busy is a word, not None"),
        ({"metadata": [1]}, "metadata is a dict, not [1]"),
        ({"durable": 1}, "an option that is on or off is True or False, not 1"),
        ({"stdin": "no"}, "an option that is on or off is True or False, not 'no'"),
        ({"keep_outputs": None}, "an option that is on or off is True or False, not None"),
        ({"store_history": []}, "an option that is on or off is True or False, not []"),
        ({"durable": True, "if_busy": "subshell"}, "a durable cell runs in the main shell"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadOption, match=re.escape(told)):
        Cell("1", **options)


@pytest.mark.parametrize(("given", "seconds"), [(5, 5.0), ("2m", 120.0), ("none", None), (None, None)])
def test_a_timeout_is_kept_in_seconds(given: Any, seconds: float | None) -> None:
    assert Cell("1", timeout=given).timeout == seconds
