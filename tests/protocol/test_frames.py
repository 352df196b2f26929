from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.protocol.frames import V1, decode, encode, join_v1
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message

json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
dicts = st.dictionaries(st.text(max_size=6), json_values, max_size=4)
messages = st.builds(
    lambda channel, kind, parent, metadata, content, buffers: Message(
        channel, {"msg_type": kind}, parent, metadata, content, tuple(buffers)
    ),
    st.sampled_from(["shell", "iopub", "stdin", "control"]),
    st.text(max_size=10),
    dicts,
    dicts,
    dicts,
    st.lists(st.binary(max_size=20), max_size=3),
)


@pytest.mark.parametrize("subprotocol", [V1, ""])
# The text of a stream and of an error is put in where it is missing, so that a notebook can be saved.
@given(message=messages.filter(lambda message: message.msg_type not in ("stream", "error")))
def test_what_is_encoded_comes_back(subprotocol: str, message: Message) -> None:
    assert decode(encode(message, subprotocol), subprotocol) == message


@pytest.mark.parametrize("subprotocol", [V1, ""])
@given(payload=st.binary(max_size=200) | st.text(max_size=100))
def test_bytes_of_a_peer_raise_one_error_only(subprotocol: str, payload: str | bytes) -> None:
    with suppress(MalformedMessage):
        decode(payload, subprotocol)


@pytest.mark.parametrize("subprotocol", [V1, ""])
@given(message=messages, cut=st.floats(0, 1), position=st.floats(0, 1), byte=st.integers(0, 255))
def test_cut_and_flipped_frames_raise_one_error_only(
    subprotocol: str, message: Message, cut: float, position: float, byte: int
) -> None:
    frame = encode(message, subprotocol)
    data = bytearray(frame.encode("utf-8") if isinstance(frame, str) else frame)
    data[int(position * (len(data) - 1))] = byte
    for broken in (bytes(data), bytes(data[: int(cut * len(data))])):
        with suppress(MalformedMessage):
            decode(broken, subprotocol)


def test_the_binary_framing_is_the_documented_one() -> None:
    # jupyter_server, services/kernels/connection/base.py: serialize_msg_to_ws_v1
    frame = encode(Message("shell", {"msg_type": "t"}, {}, {}, {"code": "1"}, (b"\x01\x02",)), V1)
    assert isinstance(frame, bytes)
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    assert count == 7
    assert offsets[0] == 8 * (count + 1)
    assert offsets[-1] == len(frame)
    assert frame[offsets[0] : offsets[1]] == b"shell"
    assert json.loads(frame[offsets[4] : offsets[5]]) == {"code": "1"}
    assert frame[offsets[5] : offsets[6]] == b"\x01\x02"


def test_the_default_framing_is_text_without_buffers_and_binary_with() -> None:
    assert isinstance(encode(Message("shell", {"msg_type": "t"}), ""), str)
    framed = encode(Message("shell", {"msg_type": "t"}, buffers=(b"ab", b"c")), "")
    assert isinstance(framed, bytes)
    count, *offsets = struct.unpack_from(">4I", framed)
    assert count == 3
    assert framed[offsets[1] : offsets[2]] == b"ab"


@pytest.mark.parametrize("subprotocol", [V1, ""])
def test_half_of_a_pair_is_replaced_and_a_whole_one_survives(subprotocol: str) -> None:
    message = Message("iopub", {"msg_type": "stream", "\ud800": "\udfff"}, content={"text": "\ud83d\ude00 \ud800 😀"})
    read = decode(encode(message, subprotocol), subprotocol)
    assert read.content == {"text": "😀 \ufffd 😀"}
    assert read.header == {"msg_type": "stream", "\ufffd": "\ufffd"}


@pytest.mark.parametrize("where", ["header", "parent_header", "metadata", "content"])
def test_bytes_that_are_no_text_are_replaced_and_lose_no_message(where: str) -> None:
    parts = {"header": b'{"msg_type": "x"}', "parent_header": b"{}", "metadata": b"{}", "content": b"{}"}
    parts[where] = parts[where].replace(b"{", b'{"k": "\xed\xa0\x80 \x80", ' if where == "header" else b'{"k": "\xff"')
    message = decode(join_v1([b"iopub", *parts.values()]), V1)
    assert "\ufffd" in getattr(message, where)["k"]


def test_deep_nesting_is_malformed_and_no_crash() -> None:
    with pytest.raises(MalformedMessage):
        decode("[" * 100_000, "")


def test_a_missing_channel_is_iopub_in_the_default_framing() -> None:
    assert decode(json.dumps({"header": {"msg_type": "status"}, "parent_header": None}), "").channel == "iopub"
