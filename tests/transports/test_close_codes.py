"""What a close frame says (F27)."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.transports.close_codes import End, read_close


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", End("the server closed the connection")),
        (b"\x03", End("the server closed the connection")),
        ((1000).to_bytes(2, "big") + b"bye", End("the server closed the connection", 1000)),
        ((1001).to_bytes(2, "big"), End("the server closed the connection", 1001)),
        ((1008).to_bytes(2, "big") + b"no", End("the server closed the connection: 1008 no", 1008)),
        ((4001).to_bytes(2, "big"), End("the server closed the connection: 4001", 4001)),
    ],
)
def test_codes(data: bytes, end: End) -> None:
    assert read_close(data) == end
    assert end.unwanted == (end.code in (1008, 4001))


def test_a_message_that_was_too_large_is_told_with_its_size() -> None:
    end = read_close((1009).to_bytes(2, "big") + b"whatever", 3_000_000)
    assert end.reason.startswith("3.0 MB is too large for the server in one message (1009)")
    assert end.final


def test_a_server_s_words_are_short_and_cannot_steer_a_terminal() -> None:
    end = read_close((1011).to_bytes(2, "big") + b"\x1b[2J" + b"x" * 500 + b"\xff")
    assert "\x1b" not in end.reason and len(end.reason) < 200
