"""Messages put together from fragments."""

from __future__ import annotations

from kernel_bridge_magic.transports.fragments import Fragments


def test_a_message_in_one_piece() -> None:
    fragments = Fragments(100)
    assert fragments.take(b"all", text=False, last=True) == b"all"
    assert fragments.take("é".encode(), text=True, last=True) == "é"
    assert fragments.take(b"", text=True, last=True) == ""
    assert (fragments.count, fragments.size, fragments.begun) == (3, 0, False)


def test_a_message_in_three_pieces_is_of_the_kind_of_the_first() -> None:
    fragments = Fragments(100)
    assert fragments.take("é".encode()[:1], text=True, last=False) is None
    assert fragments.begun and (fragments.size, fragments.room, fragments.count) == (1, 99, 0)
    assert fragments.take("é".encode()[1:], text=None, last=False) is None
    assert fragments.take(b"!", text=None, last=True) == "é!"
    assert (fragments.count, fragments.room) == (1, 100)


def test_what_is_no_utf_8_is_replaced() -> None:
    assert Fragments(100).take(b"a\xff", text=True, last=True) == "a\ufffd"


def test_what_is_dropped_comes_no_more_and_is_counted() -> None:
    fragments = Fragments(100)
    fragments.take(b"half", text=False, last=False)
    fragments.drop()
    assert (fragments.begun, fragments.size, fragments.count) == (False, 0, 1)
    assert fragments.take(b"new", text=False, last=True) == b"new"
