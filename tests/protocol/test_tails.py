from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.protocol.tails import Tail, beginning, size_of, spoken


def test_what_fits_is_kept_as_it_came() -> None:
    tail = Tail(80)
    for name, text in (("stdout", "a\n"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d")):
        tail.add(name, text)
    assert tail.kept == 5
    assert tail.take() == [("stdout", "a\nb"), ("stderr", "c"), ("stdout", "d")]
    assert (tail.kept, tail.left_out, tail.take()) == (0, 0, [])


def test_of_more_the_last_whole_lines_are_kept() -> None:
    tail = Tail(8)
    tail.add("stdout", "one\ntwo\nthree\nfour\n")
    assert tail.take() == [("stdout", "four\n")]
    assert (tail.left_out, tail.lines) == (len("one\ntwo\nthree\n"), 3)


def test_a_line_without_end_is_cut() -> None:
    tail = Tail(4)
    tail.add("stdout", "abcdefgh")
    assert tail.take() == [("stdout", "efgh")]


def test_the_last_lines_of_a_flood_are_kept() -> None:
    tail = Tail(1 << 20)
    tail.add("stdout", flood := ("F" * 100_000 + "\n") * 12 + "LATER X\n")
    tail.add("stdout", "Z\n")
    end = "".join(text for _, text in tail.take())
    assert end == ("F" * 100_000 + "\n") * 9 + "LATER X\nZ\n"
    assert tail.left_out + len(end) == len(flood) + 2


def test_of_a_line_that_is_longer_than_what_is_kept_the_end_is_kept() -> None:
    tail = Tail(4)
    tail.add("stdout", "abcdefgh\n")
    assert tail.take() == [("stdout", "fgh\n")]
    # What comes behind what was taken is cut no more: nothing was let go of since.
    tail.add("stdout", "x\n")
    assert tail.take() == [("stdout", "x\n")]


@given(st.lists(st.text("a\n", max_size=9).map(lambda text: text + "\n"), min_size=1, max_size=60), st.integers(10, 40))
def test_of_whole_lines_no_more_is_let_go_of_than_must_be(lines: list[str], size: int) -> None:
    tail = Tail(size)
    for text in lines:
        tail.add("stdout", text)
    whole, end = "".join(lines), "".join(text for _, text in tail.take())
    assert end.endswith(lines[-1])
    assert whole.removesuffix(end)[-1:] in ("", "\n")
    assert end == whole or tail.left_out


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("a\n", max_size=9)), max_size=60),
    st.integers(1, 40),
)
def test_kept_and_left_out_are_all(pieces: list[tuple[str, str]], size: int) -> None:
    tail = Tail(size)
    for name, text in pieces:
        tail.add(name, text)
        assert tail.kept <= size + size // 8
    kept = tail.take()
    whole = "".join(text for _, text in pieces)
    end = "".join(text for _, text in kept)
    assert whole.endswith(end)
    assert tail.left_out + len(end) == len(whole)
    assert tail.lines + end.count("\n") == whole.count("\n")


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("aé🚀\x1b\n", max_size=9)), max_size=60),
    st.integers(8, 80),
)
def test_with_another_measure_it_is_that_which_is_kept(pieces: list[tuple[str, str]], size: int) -> None:
    tail = Tail(size, size_of, change=2)
    for name, text in pieces:
        tail.add(name, text)
    kept = tail.take()
    end = "".join(text for _, text in kept)
    # A long text of one stream is kept in pieces, which are no changes.
    changes = len(list(itertools.groupby(name for name, _ in kept)))
    assert size_of(end) + 2 * changes <= size + size // 8 + 2
    whole = "".join(text for _, text in pieces)
    assert whole.endswith(end)
    assert tail.left_out + len(end) == len(whole)


@given(st.text("aé🚀\x1b\n\ud800"), st.integers(0, 60))
def test_a_beginning_takes_no_more_than_it_may(text: str, size: int) -> None:
    cut = beginning(text, size)
    assert text.startswith(cut)
    assert size_of(cut) <= size
    if size_of(text) <= size:
        assert cut == text


@given(st.text())
def test_the_size_of_a_text_is_that_of_its_json(text: str) -> None:
    written = json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert size_of(text) == len(written) - len('{"text": ""}')


def test_sizes() -> None:
    assert size_of("aé") == 3
    assert size_of("\x1b[0m\n") == 11
    assert size_of("\ud800") == 3
    assert spoken(1234, 5_600_000) == "1,234 lines (5.6 MB)"
