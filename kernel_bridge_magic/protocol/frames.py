"""How a WebSocket carries a message: two framings, both ways, with buffers. Every rule of them is here.

`V1` is `v1.kernel.websocket.jupyter.org`, binary only: little-endian u64 count of offsets, the offsets (the
last one is the end), then channel, header, parent_header, metadata, content and the buffers. The default
framing is JSON text; with buffers a binary frame: big-endian u32 count, u32 offsets, then the JSON, then the
buffers. Source: jupyter_server, services/kernels/connection/base.py.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

from kernel_bridge_magic.protocol.messages import MalformedMessage, Message, read_json

#: The subprotocol that asks for the binary framing. A server that does not know it speaks JSON.
V1 = "v1.kernel.websocket.jupyter.org"

_PARTS = 5  # channel, header, parent_header, metadata, content


def encode(message: Message, subprotocol: str) -> str | bytes:
    """Return the frame's payload: `str` goes out as a text frame, `bytes` as a binary one."""
    if subprotocol == V1:
        return join_v1([message.channel.encode(), *map(_dump, message.dicts.values()), *message.buffers])
    whole = _dump({"channel": message.channel, **message.dicts, "buffers": []})
    return join_offsets([whole, *message.buffers]) if message.buffers else whole.decode()


def decode(payload: str | bytes, subprotocol: str) -> Message:
    """Read a frame's payload.

    Raises:
        MalformedMessage: whatever is wrong with it: a peer's bytes never raise anything else.
    """
    try:
        if subprotocol == V1:
            return _decode_v1(payload)
        if isinstance(payload, str):
            return _from_json(read_json(payload), ())
        whole, *buffers = _decode_offsets(payload)
        return _from_json(read_json(whole), buffers)
    except MalformedMessage:
        raise
    except (ValueError, TypeError, RecursionError, struct.error) as error:
        # JSONDecodeError and UnicodeDecodeError are ValueErrors; deep nesting ends as RecursionError.
        raise MalformedMessage(type(error).__name__) from None


def _decode_v1(payload: str | bytes) -> Message:
    if isinstance(payload, str):
        raise MalformedMessage("a text frame in the binary framing")
    (count,) = struct.unpack_from("<Q", payload)
    if not _PARTS < count <= len(payload) // 8:
        raise MalformedMessage("a count of parts that does not fit")
    offsets = struct.unpack_from(f"<{count}Q", payload, 8)
    parts = _cut(payload, offsets)
    header, parent, metadata, content = map(read_json, parts[1:_PARTS])
    return Message.parse(parts[0].decode(), header, parent, metadata, content, parts[_PARTS:])


def join_v1(parts: Sequence[bytes]) -> bytes:
    """Return a payload in the binary framing, of the channel, the four dicts as JSON, and the buffers."""
    count = len(parts) + 1
    offsets = accumulate(map(len, parts), initial=8 * (count + 1))
    return b"".join([struct.pack(f"<Q{count}Q", count, *offsets), *parts])


def join_offsets(parts: Sequence[bytes]) -> bytes:
    """Return a payload in the default framing, of the whole message as JSON, and the buffers."""
    offsets = accumulate(map(len, parts[:-1]), initial=4 * (len(parts) + 1))
    return b"".join([struct.pack(f">I{len(parts)}I", len(parts), *offsets), *parts])


def _decode_offsets(payload: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">I", payload)
    if not 0 < count <= len(payload) // 4:
        raise MalformedMessage("a count of parts that does not fit")
    offsets = struct.unpack_from(f">{count}I", payload, 4)
    return _cut(payload, (*offsets, len(payload)))


def _cut(payload: bytes, offsets: Sequence[int]) -> list[bytes]:
    if offsets[-1] > len(payload) or any(a > b for a, b in pairwise(offsets)):
        raise MalformedMessage("offsets that do not fit")
    return [payload[a:b] for a, b in pairwise(offsets)]


def _from_json(model: object, buffers: Sequence[bytes]) -> Message:
    if not isinstance(model, dict):
        raise MalformedMessage("not a JSON object")
    # A few servers leave the channel out of iopub messages.
    return Message.read(model.get("channel") or "iopub", model, buffers)


def _dump(part: object) -> bytes:
    # ASCII only: a lone surrogate that a kernel printed survives as an escape instead of raising.
    return json.dumps(part, separators=(",", ":")).encode()
