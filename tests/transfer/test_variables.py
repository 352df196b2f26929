"""What is copied with a cell."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.errors import BadOption
from kernel_bridge_magic.transfer.variables import MAX_SIZE, Variables, variables_with


def test_it_is_true_where_there_is_something_to_copy() -> None:
    assert not Variables()
    assert Variables(wanted={"a": "b"})
    sent = variables_with({"a": 1}, most=10)
    assert sent and sent.sent is not None and (sent.sent.most, sent.sent.pickles) == (10, False)
    assert Variables().most == MAX_SIZE == 10**9


def test_what_was_made_of_it_is_freed() -> None:
    Variables().release()
    variables = variables_with({"a": 1})
    assert variables.sent is not None
    first = variables.sent.parcel({})
    variables.release()
    assert variables.sent.parcel({}) is not first


@pytest.mark.parametrize("option", [{"most": "1GB"}, {"pickles": 1}, {"by_file": None}])
def test_options_of_a_wrong_type_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        Variables(**option)
