"""The end of a printed text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.protocol.ends import End, ending

printed = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("a\n", max_size=9)), max_size=60)


def test_what_fits_is_kept_as_it_came() -> None:
    end = End(80)
    for name, text in (("stdout", "a\n"), ("stdout", "b"), ("stderr", "c"), ("stdout", ""), ("stdout", "d")):
        end.add(name, text)
    kept = [("stdout", "a\nb"), ("stderr", "c"), ("stdout", "d")]
    assert end.texts() == end.texts() == kept and not end.is_cut
    assert (end.characters, end.lines) == (5, 1)
    assert end.last(2) == [("stderr", "c"), ("stdout", "d")] and end.last(0) == []


def test_of_more_the_last_whole_lines_are_kept_or_the_end_of_one_that_is_too_long() -> None:
    for text, kept in (
        ("one\ntwo\nthree\nfour\n", "four\n"),
        ("abcdefghijk", "defghijk"),
        ("abcdefghijk\n", "efghijk\n"),
    ):
        end = End(8)
        end.add("stdout", text)
        assert end.is_cut and end.texts() == [("stdout", kept)]


@given(printed, st.integers(0, 40))
def test_it_is_the_end_of_all_that_was_printed(pieces: list[tuple[str, str]], size: int) -> None:
    end = End(size)
    for name, text in pieces:
        end.add(name, text)
    whole = "".join(text for _, text in pieces)
    assert "".join(text for _, text in end.last(size)) == whole[max(len(whole) - size, 0) :]
    kept = "".join(text for _, text in end.texts())
    assert whole.endswith(kept) and len(kept) <= size
    assert (end.characters, end.lines) == (len(whole), whole.count("\n"))
    assert end.is_cut or kept == whole


def test_a_flood_of_tiny_pieces_takes_no_more_room_than_its_end() -> None:
    end = End(1 << 16)
    for number in range(200_000):
        end.add("stdout", f"{number}\n")
    held = sum(len(text) for _, text in end.last(1 << 30))
    assert 1 << 16 <= held <= (1 << 16) + (1 << 14)


@given(st.lists(st.text("ab", max_size=5)), st.integers(1, 20))
def test_the_ending_of_pieces_is_that_of_their_text(pieces: list[str], most: int) -> None:
    assert ending(reversed(pieces), most) == "".join(pieces)[-most:]


def test_no_more_pieces_are_asked_for_than_are_needed() -> None:
    newest_first = iter(["cd", "b", "a"])
    assert ending(newest_first, 3) == "bcd" and next(newest_first) == "a"
