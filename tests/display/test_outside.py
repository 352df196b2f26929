from __future__ import annotations

from typing import Any

import ipywidgets
import pytest

from kernel_bridge_magic.display.outside import outside


class Shell:
    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": "m1"}}


@pytest.mark.parametrize("ends", [True, False])
def test_the_widget_that_takes_the_cell_s_output_is_left_and_entered_again(ends: bool) -> None:
    taking, other = ipywidgets.Output(msg_id="m1"), ipywidgets.Output(msg_id="m2")
    try:
        with outside(Shell()):
            assert (taking.msg_id, other.msg_id) == ("", "m2")
            if not ends:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (taking.msg_id, other.msg_id) == ("m1", "m2")
    for widget in (taking, other):
        widget.close()


def test_widgets_one_in_the_other_are_not_left() -> None:
    both = [ipywidgets.Output(msg_id="m1") for _ in range(2)]
    with outside(Shell()):
        assert [it.msg_id for it in both] == ["m1", "m1"]
    for widget in both:
        widget.close()


def test_where_there_is_no_cell_nothing_is_left() -> None:
    widget = ipywidgets.Output(msg_id="m1")
    with outside(object()):
        assert widget.msg_id == "m1"
    widget.close()
