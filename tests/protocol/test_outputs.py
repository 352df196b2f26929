from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.protocol.events import (
    ClearOutput,
    CommMessage,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    Note,
    Page,
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.outputs import Outputs
from tests.support.wire import CELL, msg, save


def fold(*events: Event) -> list[dict[str, object]]:
    outputs = Outputs()
    for event in events:
        outputs.add(event)
    return outputs.items


def test_text_of_one_stream_is_one_output_and_order_between_streams_is_kept() -> None:
    items = fold(Stream("stdout", "a"), Stream("stdout", "b"), Stream("stderr", "c"), Stream("stdout", "d"))
    assert [(item["name"], item["text"]) for item in items] == [("stdout", "ab"), ("stderr", "c"), ("stdout", "d")]


def test_a_display_between_streams_separates_them() -> None:
    items = fold(Stream("stdout", "a"), DisplayData({"text/plain": "x"}, {}), Stream("stdout", "b"))
    assert [item["output_type"] for item in items] == ["stream", "display_data", "stream"]
    assert items[2]["text"] == "b"


def test_an_update_replaces_all_displays_of_its_id_where_they_stand() -> None:
    items = fold(
        DisplayData({"text/plain": "1"}, {}, "d"),
        Stream("stdout", "-"),
        DisplayData({"text/plain": "1"}, {}, "d"),
        DisplayData({"text/plain": "2"}, {"m": 1}, "d", update=True),
    )
    assert [item.get("data") for item in items] == [{"text/plain": "2"}, None, {"text/plain": "2"}]
    assert items[0]["metadata"] == {"m": 1}


def test_clear_is_at_once_or_with_the_next_output() -> None:
    assert fold(Stream("stdout", "a"), ClearOutput(False)) == []
    kept = fold(Stream("stdout", "a"), ClearOutput(True))
    assert kept[0]["text"] == "a"
    assert [item["text"] for item in fold(Stream("stdout", "a"), ClearOutput(True), Stream("stdout", "b"))] == ["b"]


def test_what_is_shown_twice_under_an_id_is_updated_where_it_stood() -> None:
    items = fold(
        DisplayData({"text/plain": "1"}, {}, "d"),
        ExecuteResult({"text/plain": "2"}, {"m": 1}, 7, "d"),
        DisplayData({"text/plain": "other"}, {}, "e"),
    )
    assert [item["data"] for item in items] == [{"text/plain": "2"}, {"text/plain": "2"}, {"text/plain": "other"}]
    assert [item["metadata"] for item in items] == [{"m": 1}, {"m": 1}, {}]


def update(display_id: str, value: str) -> DisplayData:
    return DisplayData({"text/plain": value}, {}, display_id, update=True)


def test_updates_of_displays_of_other_cells_are_kept_apart_the_newest_of_each() -> None:
    outputs = Outputs()
    for event in (update("a", "1"), DisplayData({}, {}, "b"), update("b", "2"), update("c", "3"), update("a", "4")):
        outputs.add(event)
    assert outputs.updates == (update("c", "3"), update("a", "4"))
    assert [item["data"] for item in outputs.items] == [{"text/plain": "2"}]


def test_of_such_updates_there_is_an_end() -> None:
    outputs = Outputs()
    for number in range(2000):
        outputs.add(update(str(number), "x"))
    assert len(outputs.updates) == 1000
    assert outputs.updates[-1].display_id == "1999"


# -- what an Output widget takes


def taken_by(comm_id: str, msg_id: object, kind: str = "comm_msg") -> CommMessage:
    data = {"method": "update", "state": {"msg_id": msg_id}}
    return CommMessage(msg(kind, {"comm_id": comm_id, "data": data}))


ALL_KINDS = (Stream("stdout", "x"), DisplayData({}, {}), ExecuteResult({}, {}), Error("E", "v"), ClearOutput())


def test_what_goes_into_an_output_widget_is_none_of_the_cell_s() -> None:
    kept = Stream("stdout", "kept\n")
    items = fold(kept, taken_by("o", CELL), *ALL_KINDS, ClearOutput(True), taken_by("o", ""), kept)
    assert [item["text"] for item in items] == ["kept\nkept\n"]


def test_widgets_within_widgets_take_it_until_the_last_one_ends() -> None:
    seen = Stream("stdout", "seen")
    assert fold(taken_by("a", CELL), taken_by("b", CELL), taken_by("b", ""), seen) == []
    assert fold(taken_by("a", CELL), taken_by("b", CELL), taken_by("b", ""), taken_by("a", ""), seen) != []
    assert fold(taken_by("a", CELL), CommMessage(msg("comm_close", {"comm_id": "a"})), seen) != []


def test_a_display_of_the_cell_s_own_is_none_of_an_earlier_one_s() -> None:
    shown = DisplayData({"text/plain": "1"}, {}, "a"), ExecuteResult({"text/plain": "1"}, {}, 1, "a")
    for begin in ([], [taken_by("w", CELL)]):
        for display in shown:
            outputs = Outputs()
            for event in (*begin, display, taken_by("w", ""), ClearOutput(), update("a", "2"), update("b", "2")):
                outputs.add(event)
            assert (outputs.items, outputs.updates) == ([], (update("b", "2"),))


def test_only_what_takes_this_very_cell_counts() -> None:
    seen = Stream("stdout", "seen")
    for other in (taken_by("o", "another-cell"), taken_by("o", None), taken_by("o", ["x"]), taken_by("o", "")):
        assert fold(other, seen) != []
    assert fold(CommMessage(msg("comm_msg", {"comm_id": "o", "data": "nonsense"})), seen) != []
    assert fold(CommMessage(msg("comm_open", {"comm_id": "o", "data": {"state": {"msg_id": CELL}}})), seen) == []


def test_an_update_goes_to_where_the_display_is() -> None:
    items = fold(DisplayData({"text/plain": "1"}, {}, "d"), taken_by("o", CELL), update("d", "2"))
    assert [item["data"] for item in items] == [{"text/plain": "2"}]


def test_reading_the_items_does_not_end_a_stream() -> None:
    outputs = Outputs()
    outputs.add(Stream("stdout", "a"))
    assert outputs.items[0]["text"] == "a"
    outputs.add(Stream("stdout", "b"))
    assert [item["text"] for item in outputs.items] == ["ab"]


text = st.text(max_size=5)
bundles = st.dictionaries(st.sampled_from(["text/plain", "text/html"]), text, max_size=2)
events = st.one_of(
    st.builds(Stream, st.sampled_from(["stdout", "stderr"]), text),
    st.builds(DisplayData, bundles, st.just({}), st.sampled_from(["", "d"]), st.booleans()),
    st.builds(ExecuteResult, bundles, st.just({}), st.integers(0, 9) | st.none()),
    st.builds(Error, text, text, st.just(("x",))),
    st.builds(ClearOutput, st.booleans()),
    st.builds(Page, bundles),
    st.sampled_from([Started(), Note("n")]),
)


@given(st.lists(events, max_size=20))
def test_whatever_comes_a_notebook_can_save_it(given_events: list[Event]) -> None:
    save(fold(*given_events))


def test_of_too_much_text_head_and_tail_are_kept() -> None:
    outputs = Outputs(1600)
    for number in range(5000):
        outputs.add(Stream("stdout", f"{number:09}\n"))
    head, said, tail = outputs.items
    assert head["text"] == "".join(f"{number:09}\n" for number in range(150))
    assert said["name"] == "stderr"
    lines = tail["text"].splitlines()
    assert lines and lines == [f"{number:09}" for number in range(5000 - len(lines), 5000)]
    assert said["text"] == f"\n… {5000 - 150 - len(lines):,} lines (0.0 MB) omitted\n"
    assert outputs.items == [head, said, tail]


def test_text_up_to_the_limit_stays_whole_and_in_order() -> None:
    outputs = Outputs(1600)
    outputs.add(Stream("stdout", "x" * 1550))
    outputs.add(DisplayData({"text/plain": "d"}, {}))
    outputs.add(Stream("stdout", "y" * 90))
    assert [item.get("text") for item in outputs.items] == ["x" * 1550, None, "y" * 90]


class Written:
    """A file as `Outputs` sees one."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def restart(self) -> None:
        self.text = ""


printed = st.builds(Stream, st.sampled_from(["stdout", "stderr"]), st.text("ab\n", max_size=70))


@given(st.lists(printed | st.sampled_from([DisplayData({"text/plain": "d"}, {}), ClearOutput(False)]), max_size=30))
def test_text_that_is_cut_is_whole_elsewhere_and_counted(given_events: list[Event]) -> None:
    written = Written()
    outputs, everything = Outputs(160, written), ""
    for event in given_events:
        outputs.add(event)
        if isinstance(event, Stream | ClearOutput):
            everything = everything + event.text if isinstance(event, Stream) else ""
    kept = "".join(str(item["text"]) for item in outputs.items if item["output_type"] == "stream")
    assert outputs.characters == len(everything)
    assert outputs.truncated == (" omitted\n" in kept)
    if outputs.truncated:
        assert written.text == everything
    else:
        assert sorted(kept) == sorted(everything)
    assert written.text in ("", everything)


class File:
    """What keeps the whole text."""

    def __init__(self) -> None:
        self.text, self.restarts = "", 0

    def write(self, text: str) -> None:
        self.text += text

    def restart(self) -> None:
        self.text, self.restarts = "", self.restarts + 1


def test_of_too_much_text_the_whole_is_handed_on_from_its_beginning() -> None:
    whole, printed = File(), ""
    outputs = Outputs(1600, whole)
    for number in range(300):
        printed += (text := f"{number:04}\n" * 2)
        outputs.add(Stream("stderr" if number % 50 == 0 else "stdout", text))
        assert whole.text in ("", printed)
    assert whole.text == printed and outputs.characters == len(printed)
    assert len("".join(item.get("text", "") for item in outputs.items)) < 1600 + 100 and outputs.truncated


def test_what_is_cleared_is_taken_out_of_the_whole() -> None:
    whole = File()
    outputs = Outputs(1600, whole)
    outputs.add(Stream("stdout", "x" * 5000))
    outputs.add(ClearOutput(False))
    assert (whole.text, whole.restarts) == ("", 1)
    outputs.add(Stream("stdout", "little"))
    outputs.add(ClearOutput(False))
    assert (whole.text, whole.restarts) == ("", 1), "nothing was handed on of it"


def test_text_in_many_pieces_is_one_output() -> None:
    outputs = Outputs()
    for number in range(20_000):
        outputs.add(Stream("stdout", f"{number} "))
    (item,) = outputs.items
    assert item["text"] == "".join(f"{number} " for number in range(20_000))


# -- looking at what there is


LINES = "".join(f"line {number:06}\n" for number in range(40_000))


def printed_in(size: int, look: bool) -> list[dict[str, object]]:
    """What is kept of a flood that comes in pieces, where somebody looks at it all the time or not."""
    outputs = Outputs(1 << 16)
    for number, start in enumerate(range(0, len(LINES), size)):
        outputs.add(Stream("stdout", LINES[start : start + size]))
        if look and number % 30 == 0:
            assert len(outputs.items) <= 3 and len(outputs.recent(20, 100)) <= 3
    return outputs.items


def test_looking_changes_nothing_and_pieces_do_not_matter() -> None:
    seen = printed_in(400, look=True)
    assert seen == printed_in(400, look=False) == printed_in(7, look=False) == printed_in(1 << 20, look=False)
    head, said, tail = seen
    assert len(str(head["text"])) == 61_440 and 4000 < len(str(tail["text"])) <= 4096
    assert str(tail["text"]).startswith("line ") and LINES.endswith(str(tail["text"]))
    assert "lines (0.4 MB) omitted" in str(said["text"])


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab\n", min_size=1, max_size=90)), max_size=12),
    st.lists(st.integers(1, 40), min_size=1),
    st.data(),
)
def test_what_is_kept_depends_on_the_text_alone(
    texts: list[tuple[str, str]], sizes: list[int], data: st.DataObject
) -> None:
    whole, pieces = Outputs(160), Outputs(160)
    for name, text in texts:
        whole.add(Stream(name, text))
        while text:
            size = data.draw(st.sampled_from(sizes))
            pieces.add(Stream(name, text[:size]))
            text = text[size:]
            if data.draw(st.booleans()):
                assert pieces.items == pieces.items
    assert pieces.items == whole.items
    assert (pieces.truncated, pieces.characters) == (whole.truncated, whole.characters)


def test_the_limit_holds_where_displays_come_in_between() -> None:
    outputs = Outputs(1600)
    for _ in range(100):
        outputs.add(Stream("stdout", "x" * 90))
        outputs.add(DisplayData({"text/plain": "d"}, {}))
    kept = "".join(str(item.get("text", "")) for item in outputs.items)
    assert len(kept) < 1600 + 100 and outputs.truncated


def test_the_recent_part_is_the_end_of_each_text_and_the_last_outputs() -> None:
    outputs = Outputs(1600)
    outputs.add(Stream("stdout", "x" * 100 + "end"))
    outputs.add(DisplayData({"text/plain": "d"}, {}))
    outputs.add(Stream("stdout", "y" * 100))
    outputs.add(Stream("stdout", "z"))
    texts = [item.get("text") for item in outputs.recent(20, 5)]
    assert texts == ["xxend", None, "yyyyz"]
    assert [item.get("text") for item in outputs.recent(2, 5)] == [None, "yyyyz"]
    outputs.add(Stream("stdout", "-" * 5000 + "the end"))
    texts = [item.get("text") for item in outputs.recent(20, 7)]
    assert texts == ["xxxxend", None, "-------", "\n…\n", "the end"]
    assert len(outputs.items) == 5 and str(outputs.items[2]["text"]).startswith("yyy")


def test_an_update_does_not_change_what_was_looked_at() -> None:
    outputs = Outputs()
    outputs.add(DisplayData({"text/plain": "1"}, {}, "d"))
    seen, recent = outputs.items, outputs.recent(20, 10)
    outputs.add(update("d", "2"))
    assert seen[0]["data"] == recent[0]["data"] == {"text/plain": "1"}
