"""Arrow's arrays and tables: what goes, what is refused, and bytes that were changed on the way."""

from __future__ import annotations

import datetime
import os
import random
import resource
import string
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("pyarrow")

import pandas as pd
import pyarrow as pa

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.tables import EXAMPLES

CODEC = codec()
MOST = 2**26
Pieces = tuple[bytearray, list[int]]


def packed(value: Any, has: dict[str, str] | None = None) -> Pieces:
    parcel = CODEC.pack({"x": value}, CODEC.libraries() if has is None else has, MOST)
    return bytearray(parcel.to_bytes()), parcel.sizes


def unpacked(pieces: Pieces, most: int = MOST) -> Any:
    data, sizes = pieces
    values, _ = CODEC.unpack(memoryview(data), sizes, zlib.crc32(data), most)
    data[:] = bytes(len(data))  # nothing that came may refer to it
    (value,) = values.values()
    return value


ARRAYS = [
    pa.array([1, None]),
    pa.array(["a", None]),
    pa.array([b"a", None], pa.large_binary()),
    pa.array([[1], None]),
    pa.array([[["a"]], [None]], pa.large_list(pa.list_(pa.string()))),
    pa.array([{"a": 1, "b": "x"}, None]),
    pa.array([None, None]),
    pa.array([[(1, "a")], None], pa.map_(pa.int64(), pa.string())),
    pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
    pa.array([True, None]),
    pa.array([b"abc"], pa.binary(3)),
    pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["b"])]
    ),
    pa.array(["a", "b", None, "a"]).dictionary_encode(),
    pa.array([datetime.datetime(2020, 1, 1)], pa.timestamp("ns", "UTC")),
    pa.array([1, None], pa.decimal128(5, 2)),
    pa.array([], pa.string()),
    pa.array([{}] * 3, pa.struct([])),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_an_array_arrives_as_it_was(array: pa.Array) -> None:
    for value in (array, array[1:], pa.chunked_array([array, array[:1]]), pa.chunked_array([], array.type)):
        found = unpacked(packed(value))
        assert type(found) is type(value) and found.type == value.type and found.equals(value)
        found.validate(full=True)


# A part of a dense union has all of its children.
@pytest.mark.parametrize(
    "array", [array for array in ARRAYS if "dense" not in str(array.type)], ids=lambda array: str(array.type)
)
def test_a_part_does_not_take_the_whole_along(array: pa.Array) -> None:
    whole = pa.concat_arrays([array] * 20_000)
    part = whole[3:7]
    data, sizes = packed(part)
    assert len(data) < 5_000
    assert unpacked((data, sizes)).equals(part)


def test_tables_keep_their_chunks_and_their_metadata() -> None:
    table = pa.table({"a": pa.chunked_array([[1], [2, 3]]), "b": ["x", None, "y"]}).replace_schema_metadata({"k": "v"})
    found = unpacked(packed(table))
    assert found.equals(table, check_metadata=True) and found.column("a").num_chunks == 2
    batch = pa.RecordBatch.from_pydict({"a": [1], "b": [[None]]})
    assert unpacked(packed(batch)).equals(batch, check_metadata=True)
    schema = pa.schema([pa.field("b", pa.string(), False, {"x": "y"}), ("a", pa.int8())])
    assert unpacked(packed(schema)).equals(schema, check_metadata=True)


def test_what_is_not_copied_names_the_column() -> None:
    period = pa.table({"a": [1], "p": pa.array(pd.period_range("2020", periods=1, freq="M"))})
    with pytest.raises(CODEC.Refused, match=r"extension type 'pandas\.period'") as caught:
        packed(period)
    assert caught.value.path == "x: column 'p'"
    with pytest.raises(CODEC.Refused, match=r"needs pyarrow 14\.0\.1 or newer on the other side"):
        packed(pa.table({"a": [1]}), {"pyarrow": "14.0.0"})
    with pytest.raises(CODEC.Refused) as caught:
        packed(pa.scalar(1))
    assert caught.value.remedy.startswith("copy {}.as_py()")


def test_offsets_that_point_elsewhere_are_refused() -> None:
    data, sizes = packed(pa.array(["a" * 300, "b" * 300] * 100))
    start = data.rindex((600).to_bytes(4, "little"))
    data[start : start + 4] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(CODEC.Refused):
        unpacked((data, sizes))


def test_indices_beyond_a_dictionary_are_refused() -> None:
    data, sizes = packed(pa.DictionaryArray.from_arrays(pa.array([1] * 1000, pa.int8()), pa.array(["a", "b"])))
    start = data.index(b"\1" * 1000)
    data[start + 500] = 2
    with pytest.raises(CODEC.Refused):
        unpacked((data, sizes))


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        (pa.null(), [8, ["AA=="], []]),
        (pa.null(), [8, [], []]),
        (pa.int8(), [8, [None], []]),
        (pa.int8(), [8, None, []]),
        (pa.int8(), [8, [None, None], []]),
        (pa.int8(), [8, [None, 5], []]),
        (pa.string(), [8, [None, None, None], []]),
        (pa.sparse_union([pa.field("a", pa.null())]), [1, ["AA==", "AA=="], [[1, [None], []]]]),
        (pa.dense_union([pa.field("a", pa.null())]), [1, ["AA==", "AA==", "AAAAAA=="], [[1, [None], []]]]),
        (pa.map_(pa.int8(), pa.null()), [1, [None, "AAAAAAEAAAA="], [[1, ["AA=="], [[1, [None, "AA=="], []]] * 2]]]),
        (pa.map_(pa.int8(), pa.int8()), [1, [None, "AAAAAAEAAAA="], [[1, [None], [[1, ["AA==", "AA=="], []]] * 2]]]),
        (pa.list_(pa.int8()), [1, [None, "AAAAAAEAAAA="], []]),
        (pa.list_(pa.int8()), [1, [None, "AAAAAAEAAAA="], [[0, [None, None], []]]]),
        (pa.list_(pa.int8(), 2**30), [2**30, [None], [[1, [None, "AA=="], []]]]),
        (pa.dictionary(pa.int8(), pa.int8()), [2, [], [[1, [None, "AA=="], []]] * 2]),
    ],
    ids=lambda part: str(part)[:30],
)
def test_buffers_that_make_no_array_are_refused(kind: pa.DataType, node: Any) -> None:
    reader = CODEC.Reader([], MOST)
    written = CODEC.write_type(CODEC.Writer(CODEC.libraries(), MOST), kind)
    with pytest.raises(CODEC.Refused):
        reader.read(["pyarrow.Array", written, node])


@pytest.mark.parametrize("kind", [pa.null(), pa.struct([]), pa.list_(pa.null(), 0)], ids=str)
def test_a_length_that_needs_no_bytes_is_counted(kind: pa.DataType) -> None:
    array = pa.array([None] * 7, kind)
    data, sizes = packed(array)
    head = bytes(data[: sizes[0]]).replace(b"[7,", b"[%d," % 2**40)
    data = bytearray(head + bytes(-len(head) % 64) + data[sizes[0] + -sizes[0] % 64 :])
    with pytest.raises(CODEC.TooLarge):
        unpacked((data, [len(head), *sizes[1:]]))


def test_a_registered_type_of_somebody_reads_nothing() -> None:
    called: list[bytes] = []

    class Type(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.int8(), "kernel_bridge.test")

        def __arrow_ext_serialize__(self) -> bytes:
            return b"state"

        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Type:
            called.append(serialized)
            return cls()

    data = pa.schema([pa.field("", Type())]).serialize().to_pybytes()
    pa.register_extension_type(Type())
    try:
        reader = CODEC.Reader([memoryview(data)], MOST)
        with pytest.raises(CODEC.Refused):
            CODEC.read_schema(reader, 0)
    finally:
        pa.unregister_extension_type("kernel_bridge.test")
    assert not called


NAMED = (
    pa.struct([("NAMENAME", pa.int8())]),
    pa.list_(pa.field("NAMENAME", pa.int8())),
    pa.timestamp("us", "NAMENAME"),
    pa.dense_union([pa.field("NAMENAME", pa.int8())]),
    pa.dictionary(pa.int8(), pa.struct([("NAMENAME", pa.int8())])),
)


@pytest.mark.parametrize("kind", NAMED, ids=str)
def test_names_that_are_no_utf_8_are_refused(kind: pa.DataType) -> None:
    for schema in (pa.schema([("", kind)]), pa.schema([("NAMENAME", pa.int8()), ("", kind)])):
        data = schema.serialize().to_pybytes()
        assert CODEC.read_schema(CODEC.Reader([memoryview(data)], MOST), 0) == schema
        data = data.replace(b"NAMENAME", b"NAME\xff\xfeME")
        with pytest.raises(CODEC.Refused, match="no UTF-8"):
            CODEC.read_schema(CODEC.Reader([memoryview(data)], MOST), 0)
        with pytest.raises(CODEC.Refused, match="no UTF-8"):
            packed(pa.ipc.read_schema(pa.py_buffer(data)))


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the memory of a process as Linux does")
@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.long)])
def test_changed_bytes_end_no_process(count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-P", __file__, str(count)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=100 if count < 1000 else 7200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    read, refused = map(int, done.stdout.split())
    assert read + refused == count and min(read, refused) > count / 10


# -- in a process of its own


DIGITS = "0123456789" + string.ascii_letters + "+/"


def changed(chance: random.Random, pieces: Pieces) -> Pieces:
    """Some bytes of it are others."""
    data, sizes = bytearray(pieces[0]), list(pieces[1])
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(sizes[0] if chance.random() < 0.5 else len(data))
        was = chr(data[at])
        if at < sizes[0] and was in DIGITS:  # it stays JSON, and base64
            data[at] = ord(chance.choice(DIGITS[:10] if was.isdigit() else DIGITS))
        else:
            data[at] = chance.choice((chance.randrange(256), 0, 255, data[at] ^ 1, data[at] ^ 128))
    return data, sizes


def use(value: Any) -> None:
    """Read all of it, as users might."""
    try:
        if isinstance(value, pd.DataFrame):
            repr(value)
            value.astype(object).to_numpy().tolist()
        else:
            value.to_pylist()
    except Exception:  # a moment beyond what Python has: it is theirs to see
        pass


def fuzz(count: int) -> None:
    chance = random.Random(1)
    values = [pa.concat_arrays([array] * 30)[:30] for array in ARRAYS if len(array)]
    values += [pa.Table.from_arrays(values, [str(number) for number in range(len(values))])]
    values += [build() for name, build in EXAMPLES.items() if name != "matrix"]
    whole = [packed(value) for value in values]
    for pieces in whole:
        use(unpacked((bytearray(pieces[0]), pieces[1])))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 3 * MOST, size + 3 * MOST))
    read = 0
    for number in range(count):
        try:
            value = unpacked(changed(chance, whole[number % len(whole)]))
        except CODEC.Refused as problem:
            assert not isinstance(problem.__cause__, MemoryError), number
            continue
        except Exception as problem:
            raise AssertionError(number) from problem
        read += 1
        use(value)
    print(read, count - read)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    fuzz(int(sys.argv[1]))
