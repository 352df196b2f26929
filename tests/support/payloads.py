"""What a hostile kernel sends as variables. Each of these is refused by whoever reads it.

A payload is what would stand in the place of an honest parcel: the JSON of the variable `x`, the buffers, and what the
kernel says about them. Values that are bent were honest once, so that nothing but the bent part is wrong with them.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kernel_bridge_magic.remote_code.codec import codec

#: bytes that may be copied where these are read
MOST = 8 << 20
MIB = 1 << 20
Node = Any


@dataclass
class Payload:
    """`parts` are the JSON and the buffers. `told` changes what the kernel's answer says.

    `bends` is called with the parcel as it came, and changes its bytes. `piece` says what comes instead of a piece,
    by its number. `file` prepares a place in a folder, and returns it.
    """

    parts: list[bytes]
    told: dict[str, Any] = field(default_factory=dict)
    bends: Callable[[bytearray], None] = lambda whole: None
    piece: Callable[[int, bytes], bytes] | None = None
    file: Callable[[str, bytes], Any] | None = None

    def whole(self) -> bytearray:
        """All of it, each part aligned."""
        data = bytearray()
        for part in self.parts:
            data += part + bytes(-len(part) % codec().ALIGNED)
        return data

    def answer(self, whole: bytearray) -> dict[str, Any]:
        """What the kernel says of it, without the data."""
        about = {"sizes": [len(part) for part in self.parts], "crc": zlib.crc32(whole), "notes": [], "weights": {}}
        self.bends(whole)
        return {**about, **self.told}


def of(node: Node, *buffers: bytes, **more: Any) -> Payload:
    """A parcel with this node as its only variable."""
    return Payload([json.dumps({"x": node}).encode(), *buffers], **more)


def raw(head: bytes, *buffers: bytes) -> Payload:
    """A parcel with this JSON, whatever it is."""
    return Payload([head, *buffers])


def bent(value: Any, bend: Callable[[Node], Any]) -> Payload:
    """A value that was written as it should be, and then changed: `bend` gets its node, and may return another."""
    parcel = codec().pack({"x": value}, codec().libraries(), 10**9)
    whole = parcel.to_bytes()
    parts, start = [], 0
    for size in parcel.sizes:
        parts.append(bytes(whole[start : start + size]))
        start += size + -size % codec().ALIGNED
    node = json.loads(parts[0])["x"]
    changed = bend(node)
    return of(node if changed is None else changed, *parts[1:])


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def words(*numbers: int, size: int = 4) -> str:
    """Integers as they stand in Arrow's buffers and in numpy's arrays."""
    return b64(b"".join(number.to_bytes(size, "little", signed=number < 0) for number in numbers))


class Opens:
    """An object whose pickle makes a file: the canary."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


# -- pyarrow


def arrow(kind: Any, node: Node) -> Payload:
    """An array of a type, with this for its buffers."""
    writer = codec().Writer(codec().libraries(), MOST)
    return of(["pyarrow.Array", codec().write_type(writer, kind), node], *writer.buffers)


def arrow_payloads() -> dict[str, Callable[[], Payload]]:
    import pyarrow as pa

    data = b64(b"abcd")
    lists, pairs = pa.list_(pa.int8()), pa.map_(pa.int8(), pa.int8())
    bytes_of_two = [2, [None, b64(b"ab")], []]

    def table(columns: list[Any], **more: Any) -> Payload:
        def bend(node: Node) -> None:
            node[2] = columns

        return bent(pa.table({"a": [1], "b": ["x"]}), bend)

    def deep(levels: int) -> Any:
        kind = pa.int8()
        for _ in range(levels):
            kind = pa.list_(kind)
        return kind

    def extension() -> Payload:
        name = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": b"cos\nsystem\n."}
        schema = pa.schema([pa.field("", pa.int8(), metadata=name)]).serialize().to_pybytes()
        return of(["pyarrow.Array", b64(schema), [0, [None, ""], []]])

    def renamed(kind: Any) -> Payload:
        schema = pa.schema([("", kind)]).serialize().to_pybytes().replace(b"NAMENAME", b"NAME\xff\xfeME")
        return of(["pyarrow.ChunkedArray", b64(schema), []])

    return {
        "offsets beyond the text": lambda: arrow(pa.string(), [2, [None, words(0, 2, 2**31 - 1), data], []]),
        "offsets that fall": lambda: arrow(pa.string(), [2, [None, words(4, 2, 4), data], []]),
        "offsets below zero": lambda: arrow(pa.string(), [2, [None, words(-(2**31), 2, 4), data], []]),
        "large offsets beyond": lambda: arrow(pa.large_string(), [2, [None, words(0, 2, 2**62, size=8), data], []]),
        "too few offsets": lambda: arrow(pa.string(), [2, [None, words(0, 2), data], []]),
        "a text that is no UTF-8": lambda: arrow(
            pa.string(), [2, [None, words(0, 2, 4), b64(b"\xff\xfe\xc0\x80")], []]
        ),
        "a length below zero": lambda: arrow(pa.string(), [-2, [None, words(0, 2, 4), data], []]),
        "a length beyond all": lambda: arrow(pa.int8(), [10**16, [None, data], []]),
        "a length that needs no bytes": lambda: arrow(pa.null(), [2**40, [None], []]),
        "a length that is a fraction": lambda: arrow(pa.int8(), [2.0, [None, data], []]),
        "validity that is too short": lambda: arrow(pa.int8(), [2000, [b64(b"\xff"), b64(bytes(2000))], []]),
        "lists beyond their items": lambda: arrow(lists, [1, [None, words(0, 2**31 - 1)], [bytes_of_two]]),
        "lists that begin below zero": lambda: arrow(lists, [1, [None, words(-5, 2)], [bytes_of_two]]),
        "lists of a fixed size beyond all": lambda: arrow(
            pa.list_(pa.int8(), 2**31 - 1), [2**31 - 1, [None], [bytes_of_two]]
        ),
        "a struct shorter than it says": lambda: arrow(pa.struct([("a", pa.int8())]), [9, [None], [bytes_of_two]]),
        "a map with missing keys": lambda: arrow(
            pairs, [1, [None, words(0, 2)], [[2, [None], [[2, [b64(b"\0"), b64(b"ab")], []], bytes_of_two]]]]
        ),
        "a union of no such child": lambda: arrow(
            pa.sparse_union([pa.field("a", pa.int8())]), [2, [None, b64(b"\x05\x7f")], [bytes_of_two]]
        ),
        "a union that points elsewhere": lambda: arrow(
            pa.dense_union([pa.field("a", pa.int8())]),
            [2, [None, b64(b"\0\0"), words(0, 2**31 - 1)], [bytes_of_two]],
        ),
        "indices beyond a dictionary": lambda: arrow(
            pa.dictionary(pa.int8(), pa.string()),
            [2, [], [[2, [None, b64(b"\0\x7f")], []], [2, [None, words(0, 2, 4), data], []]]],
        ),
        "indices below zero": lambda: arrow(
            pa.dictionary(pa.int64(), pa.string()),
            [1, [], [[1, [None, words(-(2**62), size=8)], []], [2, [None, words(0, 2, 4), data], []]]],
        ),
        "a dictionary whose texts are none": lambda: arrow(
            pa.dictionary(pa.int8(), pa.string()),
            [2, [], [[2, [None, b64(b"\0\1")], []], [2, [None, words(0, 2**30, 4), data], []]]],
        ),
        "decimals beyond their precision": lambda: arrow(pa.decimal128(3), [1, [None, b64(b"\x7f" * 16)], []]),
        "a buffer that is not there": lambda: arrow(pa.string(), [2, [None, 7, 8], []]),
        "a buffer below zero": lambda: arrow(pa.string(), [2, [None, -1, -2], []]),
        "buffers that are too many": lambda: arrow(pa.int8(), [2, [None, data, data, data], []]),
        "children that are too many": lambda: arrow(pa.int8(), [2, [None, data], [bytes_of_two] * 9]),
        "a type that is too deep": lambda: of(
            ["pyarrow.Array", b64(pa.schema([("", deep(150))]).serialize().to_pybytes()), [0, [None, ""], []]]
        ),
        "a schema of nonsense": lambda: of(["pyarrow.Schema", b64(b"\xff\xff\xff\xff\x40\0\0\0" + b"\xaa" * 64)]),
        "a schema that announces 2 GiB": lambda: of(["pyarrow.Schema", b64(b"\xff\xff\xff\xff\xff\xff\xff\x7f")]),
        "compressed rows for a column": lambda: arrow(pa.binary(), [1, [None, words(0, 64 * MIB), 0], []]),
        "an extension that runs a pickle": extension,
        "names that are no UTF-8": lambda: renamed(pa.struct([("NAMENAME", pa.int8())])),
        "a time zone that is no UTF-8": lambda: renamed(pa.timestamp("us", "NAMENAME")),
        "columns that are too few": lambda: table([[]]),
        "columns of other lengths": lambda: table(
            [[[1, [None, words(1, size=8)], []]], [[2, [None, words(0, 1, 2), b64(b"xy")], []]]]
        ),
        "a column of a type it has not": lambda: table(
            [[[1, [None, words(0, 9), b64(b"x")], []]], [[1, [None, words(7, size=8)], []]]]
        ),
    }


# -- numpy


def numpy_array(dtype: Node, shape: Node, data: bytes, order: Node = "C") -> Payload:
    return of(["ndarray", dtype, shape, order, 0], data)


def numpy_payloads() -> dict[str, Callable[[], Payload]]:
    def fields(names: Node, formats: Node, offsets: Node, size: Node, aligned: Node = False) -> Payload:
        return numpy_array(["fields", names, formats, offsets, size, aligned], [1], bytes(16))

    def nested(levels: int) -> Node:
        words: Node = "<i8"
        for _ in range(levels):
            words = ["fields", ["a"], [words], [0], 8, False]
        return words

    return {
        "objects": lambda: numpy_array("|O", [2], bytes(16)),
        "objects by another name": lambda: numpy_array("object", [2], bytes(16)),
        "objects in a field": lambda: fields(["a", "b"], ["|O", "<i8"], [0, 8], 16),
        "objects in a field of a field": lambda: fields(["a"], [["array", ["char", "O", "|O"], [2]]], [0], 16),
        "a dtype of many words": lambda: numpy_array("i8,O", [1], bytes(16)),
        "a dtype that is code": lambda: numpy_array("__import__('os').system('true')", [1], bytes(8)),
        "fields that begin below zero": lambda: fields(["a"], ["<i8"], [-8], 16),
        "fields beyond their size": lambda: fields(["a"], ["<i8"], [12], 16),
        "fields of a size below zero": lambda: fields(["a"], ["<i8"], [0], -16),
        "fields of one name": lambda: fields(["a", "a"], ["<i8", "<i8"], [0, 8], 16),
        "fields that are no names": lambda: fields([["bytes", "YQ=="], 7], ["<i8", "<i8"], [0, 8], 16),
        "fewer fields than names": lambda: fields(["a", "b"], ["<i8"], [0], 16),
        "fields of fields without an end": lambda: numpy_array(nested(110), [1], bytes(8)),
        "an array in each item beyond all": lambda: fields(["a"], [["array", "<i8", [2**31 - 1] * 3]], [0], 16),
        "an item of 1 GB": lambda: numpy_array("|V999999999", [1], bytes(16)),
        "no items of 1 GB": lambda: numpy_array("|V999999999", [0], b""),
        "no items of fields of 2 GB": lambda: numpy_array(["fields", ["a"], ["<i8"], [0], 2**31 - 1, False], [0], b""),
        "an item beyond all": lambda: numpy_array("|V9999999999", [1], bytes(16)),
        "a shape that overflows": lambda: numpy_array("<i8", [2**32, 2**32], b""),
        "a shape that overflows to nothing": lambda: numpy_array("<i8", [2**40, 2**24], b""),
        "a shape below zero": lambda: numpy_array("<i8", [-1, -8], bytes(64)),
        "a shape of too many": lambda: numpy_array("<i8", [1] * 100, bytes(8)),
        "a shape that is a text": lambda: numpy_array("<i8", "8", bytes(64)),
        "a shape larger than its bytes": lambda: numpy_array("<i8", [10**6], bytes(8)),
        "items of no bytes without an end": lambda: numpy_array("|V0", [10**16], b""),
        "rows of no items without an end": lambda: numpy_array("<i8", [2**40, 0], b""),
        "fields above one another": lambda: numpy_array(
            ["fields", [f"f{at}" for at in range(1000)], ["<i8"] * 1000, [0] * 1000, 8, False], [2000], bytes(16_000)
        ),
        "a truth of 2": lambda: numpy_array("|b1", [3], b"\0\1\2"),
        "a truth of 2 in a field": lambda: numpy_array(
            ["fields", ["a"], ["|b1"], [15], 16, False], [1], bytes(15) + b"\2"
        ),
        "a character that is none": lambda: numpy_array("<U1", [1], b"\xff\xff\xff\x7f"),
        "an order that is none": lambda: numpy_array("<i8", [1], bytes(8), "K"),
        "a moment of no unit's time": lambda: numpy_array("<M8[0s]", [1], bytes(8)),
        "a long double of other digits": lambda: numpy_array(["long", "g", "<f16", 5], [1], bytes(16)),
    }


# -- pandas, polars


def column(dtype: str, data: str, count: int = 2) -> Node:
    return ["ndarray", dtype, [count], "C", data]


def pandas_payloads() -> dict[str, Callable[[], Payload]]:
    two, far = ["range", [None], 0, 2, 1], words(0, 2**40, size=8)
    ones, codes = column("<i8", words(1, 1, size=8)), column("|i1", b64(b"\0\1"))

    def array(*node: Node) -> Callable[[], Payload]:
        return lambda: of(["array", [*node]])

    def index(*node: Node) -> Callable[[], Payload]:
        return lambda: of(["Index", [*node]])

    def frame(labels: Node, columns: Node, attrs: Node = None, twice: Node = True) -> Callable[[], Payload]:
        return lambda: of(["DataFrame", labels, two, columns, {} if attrs is None else attrs, twice])

    return {
        "codes beyond the categories": array("categories", column("|i1", b64(b"\0\x7f")), two, False),
        "codes below zero": array("categories", column("|i1", b64(b"\0\x80")), two, False),
        "categories that collide": array("categories", codes, ["index", [None], ["plain", ones], None], False),
        "categories that are pairs": array("categories", codes, ["multi", [None], [two], [codes]], False),
        "codes of a level that is not there": index("multi", [None], [two, two], [codes]),
        "codes beyond a level": index("multi", [None], [two], [column("|i1", b64(b"\0\x7f"))]),
        "codes below a level": index("multi", [None], [two], [column("<i8", words(0, -(2**63), size=8))]),
        "codes of several lengths": index("multi", [None, None], [two, two], [codes, column("|i1", "AAAA", 3)]),
        "levels that are none": index("multi", [], [], []),
        "names that are too many": index("range", [None, "a"], 0, 2, 1),
        "names that are lists": index("range", [["list", [1]]], 0, 2, 1),
        "a range that is endless": index("range", [None], 0, 10**16, 1),
        "a range without steps": index("range", [None], 0, 2, 0),
        "an index of another kind": index("__class__", [None], ["plain", ones], None),
        "a frequency that is none of these": index(
            "index", [None], ["plain", column("<M8[ns]", words(0, 7, size=8))], "D"
        ),
        "a frequency without steps": index("index", [None], ["plain", column("<M8[ns]", words(0, 0, size=8))], "0D"),
        "a frequency of months without steps": index(
            "index", [None], ["plain", column("<M8[ns]", words(0, 0, size=8))], "0ME"
        ),
        "a frequency that is code": array("periods", ones, "D; import os"),
        "a frequency that is an attribute": array("periods", ones, "__class__"),
        "columns that are too few for their labels": frame(two, [["plain", ones]]),
        "columns of other lengths than the index": frame(
            ["range", [None], 0, 1, 1], [["plain", column("<i8", words(1, 2, 3, size=8), 3)]]
        ),
        "labels that may not collide": frame(
            ["index", [None], ["plain", ones], None], [["plain", ones], ["plain", ones]], twice=False
        ),
        "attributes for attrs": frame(two, [["plain", ones]] * 2, attrs=["list", [["list", ["__class__", 1]]]]),
        "flags that are none": frame(two, [["plain", ones]] * 2, twice="yes"),
        "a column that is a function": frame(two, [["read_pickle", "/etc/passwd"]] * 2),
        "a column of matrices": frame(two, [["plain", ["ndarray", "<i8", [2, 1], "C", words(1, 2, size=8)]]] * 2),
        "a column of fields": frame(
            two, [["plain", ["ndarray", ["fields", ["a"], ["<i8"], [0], 8, False], [2], "C", words(1, 2, size=8)]]] * 2
        ),
        "a mask of another length": array("masked", ones, column("|b1", "AAAA", 3)),
        "a mask of twos": array("masked", ones, column("|b1", b64(b"\2\2"))),
        "a mask of numbers": array("masked", ones, ones),
        "moments of years": array("zoned", column("<M8[Y]", words(1, 2, size=8)), ["zoneinfo", "UTC"]),
        "a zone that is a path": array(
            "zoned", column("<M8[ns]", words(1, 2, size=8)), ["zoneinfo", "../../../etc/passwd"]
        ),
        "a zone of another library": array("zoned", column("<M8[ns]", words(1, 2, size=8)), ["os", "UTC"]),
        "places of a sparse column beyond it": array("sparse", "block", 5, column("<i4", words(1, 2**31 - 1)), ones, 0),
        "places of a sparse column below it": array("sparse", "integer", 5, column("<i4", words(-1, 3)), ones, 0),
        "a sparse column without an end": array("sparse", "block", 2**31 - 1, column("<i4", words(1, 2)), ones, 0),
        "intervals that end before they begin": array(
            "intervals", "left", ["plain", column("<i8", words(5, 5, size=8))], ["plain", ones]
        ),
        "intervals of texts": array("intervals", "left", *[["objects", [["a", "b"]]]] * 2),
        "marks that mean nothing": array("texts", True, [["a", "b"]], column("|u1", b64(b"\0\7"))),
        "texts that are numbers": array("texts", True, [[1, 2]], None),
        "texts in Arrow that are numbers": lambda: of(
            ["array", ["string", False, "pyarrow", b64(_schema_of("int8")), [[1, [None, "YQ=="], []]]]]
        ),
        "texts in Arrow beyond their end": lambda: of(
            [
                "array",
                ["string", False, "pyarrow", b64(_schema_of("large_string")), [[1, [None, far, "YQ=="], []]]],
            ]
        ),
    }


def _schema_of(kind: str | Callable[[Any], Any]) -> bytes:
    import pyarrow as pa

    made = getattr(pa, kind)() if isinstance(kind, str) else kind(pa)
    data: bytes = pa.schema([("", made)]).serialize().to_pybytes()
    return data


def polars_payloads() -> dict[str, Callable[[], Payload]]:
    def series(kind: str, node: Node, enum: Node = None, name: Node = "a") -> Callable[[], Payload]:
        return lambda: of(["polars.Series", name, b64(_schema_of(kind)), [node], enum])

    texts = [2, [None, words(0, 1, 2, size=8), b64(b"ab")], []]
    return {
        "texts of polars beyond their end": series("large_string", [1, [None, words(0, 2**40, size=8), "YQ=="], []]),
        "a column of polars of an interval": series("month_day_nano_interval", [1, [None, b64(bytes(16))], []]),
        "lists of intervals for polars": lambda: of(
            ["polars.Series", "a", b64(_schema_of(lambda pa: pa.large_list(pa.month_day_nano_interval()))), [], None]
        ),
        "unions in a struct for polars": lambda: of(
            [
                *("polars.Series", "a"),
                *(
                    b64(_schema_of(lambda pa: pa.struct([("u", pa.sparse_union([pa.field("a", pa.int8())]))]))),
                    [],
                    None,
                ),
            ]
        ),
        "offsets of 32 bits for polars": lambda: of(
            ["polars.Series", "a", b64(_schema_of(lambda pa: pa.large_list(pa.list_(pa.int64())))), [], None]
        ),
        "decimals of 256 bits for polars": lambda: of(
            ["polars.Series", "a", b64(_schema_of(lambda pa: pa.decimal256(60, 2))), [], None]
        ),
        "categories of polars that lack a text": series("large_string", texts, ["list", ["a"]]),
        "categories of polars that collide": series("large_string", texts, ["list", ["a", "a", "b"]]),
        "categories of polars that are numbers": series("large_string", texts, ["list", [1, 2]]),
        "a name of polars that is none": series("large_string", texts, name=["list", [1]]),
        "half a character for a name of polars": series("large_string", texts, name=["str", ""]),
        "columns of polars of one name": lambda: of(
            ["polars.DataFrame", [["a", b64(_schema_of("int8")), [[1, [None, "YQ=="], []]], None]] * 2]
        ),
        "columns of polars of several lengths": lambda: of(
            [
                "polars.DataFrame",
                [[name, b64(_schema_of("int8")), [[len(name), [None, "YWE="], []]], None] for name in ("a", "bb")],
            ]
        ),
    }


# -- pictures


def picture(
    mode: Node, size: Node, data: bytes, palette: Node = None, transparency: Node = None
) -> Callable[[], Payload]:
    return lambda: of(["picture", mode, size, palette, transparency, "Image", 0], data)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, which have right checksums."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", head), *chunks, (b"IEND", b"")):
        data += len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
    return data


@functools.cache
def bomb() -> bytes:
    """Return 200 MiB in 900 kB."""
    return zlib.compress(bytes(200 * MIB), 1)


def picture_payloads() -> dict[str, Callable[[], Payload]]:
    two = (2).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    packed = zlib.compress(bytes(6))
    colors = ["bytes", b64(bytes(768))]

    def figure(data: bytes | Callable[[], bytes]) -> Callable[[], Payload]:
        return lambda: of(["figure", 0], data if isinstance(data, bytes) else data())

    return {
        "a picture of too few pixels": picture("RGB", [100, 100], bytes(30)),
        "a picture of too many pixels": picture("L", [1, 1], bytes(4096)),
        "a picture beyond all": picture("1", [2**31 - 1, 2**31 - 1], bytes(8)),
        "a picture below zero": picture("L", [-2, -2], bytes(4)),
        "a picture of no width and no end": picture("L", [0, 2**31 - 1], b""),
        "a picture of three sides": picture("L", [1, 1, 1], b"a"),
        "a picture of no mode": picture("BGR;15", [1, 1], bytes(2)),
        "a picture whose mode is an attribute": picture("__class__", [1, 1], bytes(2)),
        "a palette of too many colours": picture("P", [1, 1], b"a", ["RGB", ["bytes", b64(bytes(771))]]),
        "a palette of half a colour": picture("P", [1, 1], b"a", ["RGB", ["bytes", b64(bytes(5))]]),
        "a palette of another mode": picture("P", [1, 1], b"a", ["CMYK", ["bytes", b64(bytes(16))]]),
        "a palette for what has none": picture("RGB", [1, 1], b"abc", ["RGB", colors]),
        "a palette that is a text": picture("P", [1, 1], b"a", ["RGB", "abc"]),
        "a transparency that is a list": picture("P", [1, 1], b"a", ["RGB", colors], ["list", [1]]),
        "a figure that is no PNG": figure(b"GIF89a" + bytes(64)),
        "a figure that is PostScript": figure(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "a figure beyond all": figure(png(2**31 - 1, 2**31 - 1, (b"IDAT", packed))),
        "a figure of a second size": figure(png(2, 2, (b"IHDR", two[:3] + b"\xff" + two[4:]), (b"IDAT", packed))),
        "a figure that is cut off": figure(png(2, 2, (b"IDAT", packed))[:44]),
        "a figure with a text of 200 MiB": figure(lambda: png(2, 2, (b"zTXt", b"a\0\0" + bomb()), (b"IDAT", packed))),
        "a figure with colours of 200 MiB": figure(
            lambda: png(2, 2, (b"iCCP", b"a\0\0" + bomb()), (b"IDAT", packed[:4]))
        ),
    }


# -- what Python itself has


def plain_payloads() -> dict[str, Callable[[], Payload]]:
    deep = 10**5

    def x(text: bytes) -> Callable[[], Payload]:
        return lambda: raw(b'{"x":' + text + b"}")

    def one(*node: Node, buffers: tuple[bytes, ...] = ()) -> Callable[[], Payload]:
        return lambda: of([*node], *buffers)

    def colliding() -> Payload:
        return of(["set", [["int", f"{number * (2**61 - 1):x}"] for number in range(10**9, 10**9 + 25_000)]])

    return {
        "lists 100,000 deep": x(b'["list",[' * deep + b"1" + b"]]" * deep),
        "objects 100,000 deep": x(b'{"a":' * deep + b"1" + b"}" * deep),
        "brackets 100,000 deep": x(b"[" * deep),
        "tuples 200 deep": x(b'["tuple",[' * 200 + b"1" + b"]]" * 200),
        "400 MB in 4 MB": x(b'["list",[' + b",".join([b"[]"] * 1_300_000) + b"]]"),
        "texts of four bytes a character": x(b'"' + b"a" * (7 * MIB) + "\N{PILE OF POO}".encode() + b'"'),
        "texts of four bytes a character, escaped": x(b'"' + b"a" * (7 * MIB) + b'\\ud83d\\udca9"'),
        "JSON that is none": x(b"__import__('os')"),
        "JSON that is no object": lambda: raw(b"[1]"),
        "JSON of another encoding": lambda: raw('{"x":1}'.encode("utf-16")),
        "JSON that ends too early": lambda: raw(b'{"x":'),
        "JSON of several objects": lambda: raw(b'{"x":1}{"y":2}'),
        "other variables": lambda: raw(b'{"y":1}'),
        "more variables": lambda: raw(b'{"x":1,"y":2,"__builtins__":3}'),
        "no variables": lambda: raw(b"{}"),
        "a number that is none": x(b"NaN"),
        "a number without an end": x(b"-Infinity"),
        "a number of a million digits": x(b"9" * 10**6),
        "hexadecimal that is none": one("int", "0xg"),
        "hexadecimal of a number": one("int", 255),
        "a float that is a formula": one("float", "1e5"),
        "a decimal that is none": one("Decimal", "1.2.3"),
        "a decimal of a list": one("Decimal", [0, [1], 0]),
        "a format that is not known": one("os.system", "true"),
        "a format that is a number": one(7, 7),
        "a format of a list": one(["list"], 7),
        "a format that is an attribute": one("__class__", "__mro__"),
        "a value without a format": one(),
        "a text that is no UTF-8": one("str", 0, buffers=(b"\xff\xfe\xc0\x80",)),
        "a text in UTF-16": one("str", 0, buffers=("é".encode("utf-16"),)),
        "a buffer that is not there": one("str", 5),
        "a buffer below zero": one("bytes", -1),
        "a buffer that is a fraction": one("bytes", 0.0, buffers=(b"a",)),
        "a buffer that is a truth": one("bytes", False, buffers=(b"a",)),
        "base64 that is none": one("bytes", "_!"),
        "numbers of half a number": one("list", "q", 0, buffers=(bytes(13),)),
        "numbers of another type": one("list", "P", 0, buffers=(bytes(16),)),
        "texts whose lengths lie": one("list", "s", 0, 1, buffers=((2**62).to_bytes(8, "little"), b"a")),
        "texts whose lengths are below zero": one(
            "list", "s", 0, 1, buffers=(b"".join(it.to_bytes(8, "little", signed=True) for it in (-1, 2)), b"a")
        ),
        "texts whose lengths overflow": one("list", "s", 0, 1, buffers=((2**63 - 1).to_bytes(8, "little") * 2, b"a")),
        "keys that cannot be keys": one("dict", [["list", []]], [1]),
        "keys of one value": one("dict", [1, True], [1, 2]),
        "more keys than values": one("dict", [1, 2], [1]),
        "items of one value": one("set", [1, 1.0]),
        "keys that all collide": colliding,
        "a date that is a pickle": one("date", "\x07\xe4\x01\x01", 1, 1),
        "a moment that is a pickle": one("datetime", "\x07\xe4\x01\x01\xff\xff\xff\0\0\0", 0, None),
        "a moment of no hour": one("datetime", 2020, 1, 1, 99, 0, 0, 0, 0, None),
        "a moment in a zone that is a list": one("datetime", 2020, 1, 1, 0, 0, 0, 0, 0, ["list", []]),
        "a zone that is a file": one("ZoneInfo", "../../../../etc/passwd"),
        "a zone that is absolute": one("ZoneInfo", "/etc/localtime"),
        "a zone that is a module": one("ZoneInfo", "os.path"),
        "an offset of years": one("timezone", ["timedelta", 10**6, 0, 0]),
        "a duration beyond all": one("timedelta", 10**9, 0, 0),
        "a path that is a list": one("path", "PosixPath", ["list", []]),
        "a path of a class of another module": one("path", "Popen", "true"),
        "an identifier that is none": one("UUID", "zz", "unknown"),
        "an identifier of an attribute": one("UUID", "0" * 32, "__class__"),
        "a range without steps": one("range", 0, 1, 0),
        "a range of texts": one("range", "a", "b", "c"),
    }


# -- what surrounds the values: sizes, checksums, pieces, files


def honest() -> Payload:
    """A value in three pieces, which is as it should be."""
    return of(["bytes", 0], bytes(range(256)) * 9000)


def told(**more: Any) -> Callable[[], Payload]:
    return lambda: of(["bytes", 0], bytes(1000), told=more)


def flipped(at: int) -> Callable[[], Payload]:
    def bend(whole: bytearray) -> None:
        whole[at] ^= 1

    return lambda: of(["bytes", 0], bytes(1000), bends=bend)


def pieces(piece: Callable[[int, bytes], bytes]) -> Callable[[], Payload]:
    return lambda: Payload(honest().parts, piece=piece)


def parcel_payloads() -> dict[str, Callable[[], Payload]]:
    ours = [12, 1000]
    return {
        "one byte that was changed": flipped(-70),
        "one byte of the JSON that was changed": flipped(3),
        "a checksum that lies": told(crc=0),
        "a checksum that is a text": told(crc="0"),
        "no checksum": told(crc=None),
        "sizes that are more than came": told(sizes=[12, 5000]),
        "sizes that are less than came": told(sizes=[12]),
        "sizes below zero": told(sizes=[1152, -64]),
        "sizes beyond all": told(sizes=[12, 2**62]),
        "sizes beyond all numbers": told(sizes=[10**400]),
        "sizes whose sum overflows": told(sizes=[2**63, 2**63]),
        "sizes that are fractions": told(sizes=[12.0, 1000.0]),
        "sizes that are texts": told(sizes=["12", "1000"]),
        "sizes that are truths": told(sizes=[True, True]),
        "sizes of a million empty parts": told(sizes=[*ours, *[0] * 10**6]),
        "no sizes": told(sizes=[]),
        "sizes that are an object": told(sizes={"0": 12}),
        "sizes of another order": told(sizes=ours[::-1]),
        "data that is no base64": told(data="\N{PILE OF POO}" * 100),
        "data that is a list": told(data=[1, 2]),
        "data that is nothing": told(data=None),
        "data that is more than it says": told(data=b64(bytes(10 * MIB))),
        "a refusal that draws": told(refused=["x\ud800", "\x1b[2J\n\u202e", "look at {}\0", "x"]),
        "a refusal of no parts": told(refused=[]),
        "a refusal that is an object": told(refused={"path": "x"}),
        "a refusal of a size beyond all": told(refused=["x", "is large", "", 10**400]),
        "names that lack and were not asked for": told(missing=["\x1b[2J", "__builtins__"]),
        "names that lack and are none": told(missing={"x": {}}),
        "pieces that are missing": pieces(lambda number, data: b""),
        "pieces that are short": pieces(lambda number, data: data[:-1]),
        "pieces that are long": pieces(lambda number, data: data + b"\0"),
        "pieces of 64 MiB": pieces(lambda number, data: bytes(64 * MIB)),
        "a last piece that is missing": pieces(lambda number, data: b"" if number else data),
        "pieces that are other pieces": pieces(lambda number, data: bytes(len(data))),
        "less pieces than announced": lambda: Payload(
            honest().parts, told={"sizes": [12, 7 * MIB]}, piece=lambda number, data: data
        ),
    }


# -- files of this machine


def linux_files() -> dict[str, Callable[[], Payload]]:
    import os

    def placed(file: Callable[[str, bytes], Any]) -> Callable[[], Payload]:
        # What cannot be opened is asked for in pieces, of which there are none.
        return lambda: Payload(honest().parts, piece=lambda number, data: b"", file=file)

    name = "0123456789abcdef" * 2

    def path_of(folder: str) -> str:
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)

    def written(folder: str, data: bytes) -> Any:
        with open(path_of(folder), "wb") as file:
            file.write(data)
        return [name]

    def pipe(folder: str, data: bytes) -> Any:
        os.mkfifo(path_of(folder))
        return [name]

    def link(folder: str, data: bytes) -> Any:
        target = os.path.join(folder, "target")
        written(folder, data)
        os.rename(path_of(folder), target)
        os.symlink(target, path_of(folder))
        return [name]

    def directory(folder: str, data: bytes) -> Any:
        os.mkdir(path_of(folder))
        return [name]

    def sparse(folder: str, data: bytes) -> Any:
        written(folder, data)
        os.truncate(path_of(folder), 2**40)
        return [name]

    def memory(data: bytes, seals: int, title: str = "kernel_bridge") -> Any:
        import fcntl

        handle = os.memfd_create(title, os.MFD_ALLOW_SEALING)
        os.write(handle, data)
        fcntl.fcntl(handle, 1033, seals)
        return [os.getpid(), handle]

    def shrinking(folder: str, data: bytes) -> Any:
        """Somebody cuts the file off once its size was seen."""
        check = codec().is_private

        def is_private(handle: int, size: int) -> Any:
            found = check(handle, size)
            os.truncate(f"/proc/self/fd/{handle}", 100)
            return found

        vars(codec())["is_private"] = is_private
        return written(folder, data)

    def of_others(place: Any) -> Any:
        """This process is another user's than the one who made the file."""
        me = os.geteuid()
        os.geteuid = lambda: me + 1
        return place

    def anonymous_pipe(folder: str, data: bytes) -> Any:
        return [os.getpid(), os.pipe()[0]]

    return {
        "a file that is a pipe": placed(pipe),
        "a file that is a link": placed(link),
        "a file that is a folder": placed(directory),
        "a file that is shorter": placed(lambda folder, data: written(folder, data[:-1])),
        "a file that is longer": placed(lambda folder, data: written(folder, data + b"\0")),
        "a file that shrinks once it is open": placed(shrinking),
        "a file of another owner": placed(lambda folder, data: of_others(written(folder, data))),
        "memory of another owner": placed(lambda folder, data: of_others(memory(data, 15))),
        "a file of 1 TB": placed(sparse),
        "a file of others' bytes": placed(lambda folder, data: written(folder, bytes(len(data)))),
        "a file outside the folder": placed(lambda folder, data: [f"../{name}"]),
        "a file of an absolute path": placed(lambda folder, data: ["/etc/passwd"]),
        "a file that is not there": placed(lambda folder, data: [name]),
        "memory that can be written": placed(lambda folder, data: memory(data, 2 | 4)),
        "memory that can be cut off": placed(lambda folder, data: memory(data, 8)),
        "memory that can be sealed": placed(lambda folder, data: memory(data, 0)),
        "memory of another name": placed(lambda folder, data: memory(data, 15, "other")),
        "memory that is shorter": placed(lambda folder, data: memory(data[:-1], 15)),
        "memory of others' bytes": placed(lambda folder, data: memory(bytes(len(data)), 15)),
        "a descriptor that is a pipe": placed(anonymous_pipe),
        "a descriptor of another user": placed(lambda folder, data: [1, 0]),
        "a descriptor beyond all": placed(lambda folder, data: [2**62, 2**62]),
        "a descriptor below zero": placed(lambda folder, data: [-1, -1]),
        "a descriptor that is a path": placed(lambda folder, data: ["self", "../../etc/passwd"]),
        "a place of three": placed(lambda folder, data: [1, 2, 3]),
        "a place of objects": placed(lambda folder, data: [{}]),
        "a descriptor that nobody has asked for": lambda: Payload(
            honest().parts, told={"place": [os.getpid(), 0]}, piece=lambda number, data: b""
        ),
        "a place of nothing": placed(lambda folder, data: []),
    }


def pickles(canary: str) -> dict[str, Callable[[], Payload]]:
    """What would run code that makes the file `canary`."""
    import pickle

    data = pickle.dumps(Opens(canary))
    return {
        "a pickle": lambda: of(["pickle", 0], data),
        "a pickle as text": lambda: of(["pickle", b64(data)]),
        "a pickle in a list": lambda: of(["list", [1, ["pickle", 0]]], data),
        "a pickle for a key": lambda: of(["dict", [["pickle", 0]], [1]], data),
        "a pickle as objects of numpy": lambda: numpy_array("|O", [1], data),
        "a pickle in a column": lambda: of(["array", ["objects", [[["pickle", 0]]]]], data),
        "a pickle as attrs": lambda: of(
            ["DataFrame", ["range", [None], 0, 0, 1], ["range", [None], 0, 0, 1], [], ["pickle", 0], True], data
        ),
        "a pickle as bytes of an array": lambda: of(["numpy.bytes", ["pickle", 0]], data),
        "a pickle as a palette": lambda: of(
            ["picture", "P", [1, 1], ["RGB", ["pickle", 0]], None, "Image", "AA=="], data
        ),
        "a pickle as categories of polars": lambda: of(
            ["polars.Series", ["pickle", 0], b64(_schema_of("int8")), [[0, [None, ""], []]], None], data
        ),
    }


def many() -> dict[str, Callable[[], Payload]]:
    """Return parcels of small values, as many as may come: each takes much more than its text does."""
    empty, none = ["range", [None], 0, 0, 1], ["ndarray", "<i8", [0], "C", ""]
    small: dict[str, Node] = {
        "palettes": ["picture", "P", [1, 1], ["RGB", ["bytes", "AAAA"]], None, "Image", "AA=="],
        "levels": ["Index", ["multi", [None], [empty], [none]]],
        "tables": ["DataFrame", empty, empty, [], {}, True],
        "fields": ["dtype", ["fields", ["a", "b"], ["<i8", "<i8"], [0, 8], 16, False]],
        "sets": ["set", []],
        "frames of polars": ["polars.DataFrame", []],
    }

    def filled(node: Node) -> Payload:
        reader = codec().Reader([], MOST)
        reader.read(node)
        counted = reader.size + codec().weight_of(json.dumps(node, separators=(",", ":")).encode()) + codec().NODE
        nodes = [node] * (MOST * 9 // 10 // counted)
        return raw(json.dumps({"x": ["list", nodes]}, separators=(",", ":")).encode())

    return {f"many {name}": functools.partial(filled, node) for name, node in small.items()}


def payloads(canary: str) -> dict[str, Callable[[], Payload]]:
    """Return all payloads, by what is wrong with them; each is built when it is called."""
    families = {
        "plain": plain_payloads(),
        "parcel": parcel_payloads(),
        "arrow": arrow_payloads(),
        "numpy": numpy_payloads(),
        "pandas": pandas_payloads(),
        "polars": polars_payloads(),
        "picture": picture_payloads(),
        "file": linux_files(),
        "pickle": pickles(canary),
    }
    return {f"{family}: {name}": build for family, some in families.items() for name, build in some.items()}
