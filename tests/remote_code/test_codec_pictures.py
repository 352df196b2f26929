"""Pictures: mode, size, palette and pixels; figures as pictures."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.values import round_trip, same

CODEC = codec()


@pytest.mark.parametrize("mode", sorted(CODEC.MODES))
def test_each_mode_arrives_as_it_was(mode: str) -> None:
    picture = Image.new(mode, (5, 3))
    data = bytes(range(1, 251))[: CODEC.size_of_pixels(mode, 5, 3)]
    picture.frombytes(data)
    found = round_trip(picture)
    assert (type(found), found.mode, found.size, found.tobytes()) == (Image.Image, mode, (5, 3), picture.tobytes())


def test_a_palette_and_its_transparent_colour_are_kept() -> None:
    picture = Image.new("P", (2, 2), 1)
    picture.putpalette([1, 2, 3, 4, 5, 6])
    picture.info["transparency"] = 1
    found = round_trip(picture)
    assert found.getpalette() == picture.getpalette()
    assert found.convert("RGBA").tobytes() == picture.convert("RGBA").tobytes()


@pytest.mark.parametrize(
    "info",
    [
        {"dpi": (72.5, 300), "icc_profile": bytes(range(256)) * 5, "comment": "é", "progressive": True, "loop": None},
        {"exif": b"Exif\0", "gamma": 0.45, "transparency": (1, 2, 3)},
        {"transparency": b"\0\1"},
        {},
    ],
    ids=[*"abcd"],
)
def test_what_a_picture_says_of_itself_is_kept(info: dict[str, Any]) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.info.update(info)
    parcel = CODEC.pack({"x": picture}, CODEC.libraries(), 10**6)
    found, notes = CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, 10**6)
    assert same(found["x"].info, info) and notes == [] and parcel.notes == []


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"made": object()}, "'made'"),
        ({"dpi": (1, [2])}, "'dpi'"),
        ({7: 1, "text": {"a": 1}}, "7, 'text'"),
        ({"transparency": 1.5}, "'transparency'"),
        ({key: [] for key in "abcde"}, "'a', 'b', 'c' and 2 more"),
    ],
    ids=range(5),
)
def test_what_a_picture_says_and_is_not_kept_is_noted(more: dict[Any, Any], note: str) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.info.update({"kept": 1, **more})
    parcel = CODEC.pack({"x": picture}, CODEC.libraries(), 10**6)
    assert parcel.notes == ["info of a picture is not kept where it is no plain value: " + note]
    found, _ = CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, 10**6)
    assert found["x"].info == {"kept": 1}


def test_an_opened_file_arrives_as_a_picture_and_says_so() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    picture = Image.open(io.BytesIO(file.getvalue()))
    parcel = CODEC.pack({"x": picture}, CODEC.libraries(), 10**6)
    found, notes = CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, 10**6)
    assert type(found["x"]) is Image.Image and found["x"].tobytes() == picture.tobytes()
    assert notes and "PngImageFile arrives as an Image" in notes[0]


def test_a_figure_arrives_as_a_picture_and_stays_as_it_is() -> None:
    figures = pytest.importorskip("matplotlib.figure")
    figure = figures.Figure(figsize=(3, 2), dpi=50)
    figure.add_subplot().plot([1, 2])
    parcel = CODEC.pack({"x": figure}, CODEC.libraries(), 10**7)
    found, notes = CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, 10**7)
    assert found["x"].size == (150, 100) and notes == [CODEC.FIGURE_NOTE]
    assert (figure.dpi, tuple(figure.get_size_inches())) == (50, (3, 2))


def png(width: int, height: int) -> bytes:
    """The beginning of a PNG of that size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    "node",
    [
        ["picture", "RGB", [2**31 - 1, 2**31 - 1], None, None, "Image", ""],
        ["picture", "RGB", [2, 2], None, None, "Image", "AAAA"],
        ["picture", "nothing", [1, 1], None, None, "Image", "AAAA"],
        ["picture", "RGB", [-1, 2], None, None, "Image", ""],
        ["picture", "P", [1, 1], ["RGB", ["bytes", "A" * 4000]], None, "Image", "AA=="],
        ["picture", "L", [1, 1], None, {"transparency": (1.5)}, "Image", "AA=="],
        ["picture", "L", [1, 1], None, {"transparency": ["tuple", [["bytes", "AA=="]]]}, "Image", "AA=="],
        ["picture", "L", [1, 1], None, {"dpi": ["list", [1]]}, "Image", "AA=="],
        ["picture", "L", [1, 1], None, ["dict", [[1]], [[1]]], "Image", "AA=="],
        ["picture", "L", [1, 1], None, 1, "Image", "AA=="],
        ["figure", 0],
        ["figure", 1],
        ["figure", 2],
    ],
    ids=lambda node: str(node)[:60],
)
def test_pictures_that_lie_are_refused(node: list[Any]) -> None:
    buffers = [memoryview(it) for it in (png(2**31 - 1, 2**31 - 1), png(10, 10), b"GIF89a" * 10)]
    with pytest.raises(CODEC.Refused):
        CODEC.Reader(buffers, 10**7).read(node)
