"""What comes late does not come between the end of a cell and what is cleared for it."""

from __future__ import annotations

import threading

from kernel_bridge_magic.display.group_sink import InBlocks
from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.notebook import NamedLateSink
from tests.support.fronts import Published


def late_sink(published: Published, heading: Heading, cell: str) -> NamedLateSink:
    return NamedLateSink(published, {"header": {"msg_id": cell}}, InBlocks(), heading, "north shows this")


def test_its_cell_is_known() -> None:
    heading = Heading()
    late_sink(Published(), heading, "this").stream("stdout", "late")
    assert heading.cells == {"this"} and heading.below == ("north shows this", "this")


def test_it_waits_while_a_cell_is_cleared() -> None:
    heading, published = Heading(), Published()
    sink = late_sink(published, heading, "this")
    begun = threading.Event()

    def show() -> None:
        begun.set()
        sink.stream("stdout", "late")

    thread = threading.Thread(target=show)
    with heading.lock:
        thread.start()
        assert begun.wait(10)
        assert not heading.cells, "whoever clears the cell sees all that has come, and nothing else comes meanwhile"
    thread.join(10)
    assert heading.cells == {"this"}
    assert [it["content"].get("text") for it in published.messages] == [None, "late"]
