"""What a file of each suffix can hold, and what is said of what it cannot."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.cli.files import Output, read
from kernel_bridge_magic.cli.formats import json_text
from kernel_bridge_magic.errors import BadInput

MOST = 10**7


def back(folder: Path, suffix: str, value: Any) -> Any:
    """Return the value once it was written to a file and read again."""
    path = folder / f"x{suffix}"
    Output(str(path), replace=True).write("x", value)
    assert not [it.name for it in folder.iterdir() if it.name.startswith(".")]
    return read(str(path), MOST, None)


def refused(folder: Path, suffix: str, value: Any) -> str:
    with pytest.raises(BadInput) as problem:
        Output(str(folder / f"x{suffix}"), replace=False).write("x", value)
    assert list(folder.iterdir()) == []
    return str(problem.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_is_like_json_comes_back(value: Any) -> None:
    text = json_text(value)
    assert text.isascii()
    assert repr(read("-", MOST, io.BytesIO(text.encode()))) == repr(value)


def test_tuples_are_lists_in_json() -> None:
    assert json_text((1, [(2,)])) == "[1, [[2]]]"


def test_texts_come_back(tmp_path: Path) -> None:
    for text in ("", "a\r\nb\n", "größe \U0001f600"):
        assert back(tmp_path, ".txt", text) == text
        assert back(tmp_path, ".json", [text]) == [text]


@pytest.mark.parametrize(
    ("suffix", "value", "says"),
    [
        (".json", {1}, "x is of the type set, which .json files cannot hold; convert it in the other kernel, for "
         "example with list(x)"),
        (".json", {"a": [1, {2}]}, "x['a'][1] is of the type set, which .json files cannot hold; convert it in the "
         "other kernel, for example with list(x['a'][1])"),
        (".json", [float("nan")], "x[0] is nan, which .json files cannot hold; replace it in the other kernel, for "
         "example by None"),
        (".json", {1: 2}, "x has a key of the type int, which .json files cannot hold; keys of JSON are texts; convert "
         "them in the other kernel"),
        (".json", [10**5000], "x[0] is an integer of more digits than Python writes, which .json files cannot hold; "
         "convert it there with hex(x[0])"),
        (".json", {"a": -(1 << 20000)}, "x['a'] is an integer of more digits than Python writes, which .json files "
         "cannot hold; convert it there with hex(x['a'])"),
        (".txt", 1, "x is of the type int, which .txt files cannot hold; write it with --output FILE, where FILE ends "
         "in .json"),
        (".txt", "\ud800", "x has half of a surrogate pair, which .txt files cannot hold; .json files can hold it"),
        (".npy", "a", "x is of the type str, which .npy files cannot hold; write it with --output FILE, where FILE "
         "ends in .json or .txt"),
        (".csv", b"1", "x is of the type bytes, which .csv files cannot hold; convert it in the other kernel, for "
         "example with x.hex()"),
        (".json", [object()], "x[0] is of the type object, which .json files cannot hold; convert it in the other "
         "kernel first"),
        (".png", None, "x is of the type NoneType, which .png files cannot hold; write it with --output FILE, where "
         "FILE ends in .json"),
    ],
)  # fmt: skip
def test_a_type_that_a_file_cannot_hold(tmp_path: Path, suffix: str, value: Any, says: str) -> None:
    assert refused(tmp_path, suffix, value) == says


def test_a_figure_that_came_without_pillow_is_written_as_it_is(tmp_path: Path) -> None:
    from IPython.display import Image

    png = b"\x89PNG\r\n\x1a\n" + bytes(30)
    Output(str(tmp_path / "x.png"), replace=False).write("x", Image(png, format="png"))
    assert (tmp_path / "x.png").read_bytes() == png
    for suffix in (".json", ".npy", ".txt"):
        remedy = "write it with --output FILE, where FILE ends in .png"
        with pytest.raises(BadInput) as problem:
            Output(str(tmp_path / f"x{suffix}"), replace=False).write("x", Image(png, format="png"))
        assert str(problem.value) == f"x is of the type Image, which {suffix} files cannot hold; {remedy}"


@pytest.mark.parametrize("data", [b"GIF89a", "text", None], ids=repr)
def test_what_is_no_png_is_not_written_as_one(tmp_path: Path, data: Any) -> None:
    from IPython.display import Image

    picture = Image(b"\x89PNG", format="png")
    picture.data = data
    assert "is of the type Image, which .png files cannot hold" in refused(tmp_path, ".png", picture)


@pytest.mark.parametrize(
    ("suffix", "library", "install"),
    [(".npy", "numpy", "numpy"), (".arrow", "pyarrow", "pyarrow"), (".csv", "pandas", "pandas")],
)
def test_what_a_file_needs_here_is_said(
    tmp_path: Path, suffix: str, library: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"a,b\n1,2\n")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadInput) as problem:
        read(str(tmp_path / f"x{suffix}"), MOST, None)
    says = f"x{suffix}' needs {install}, which is not installed here, so nothing was copied; run pip install {install}"
    assert says in str(problem.value)


@pytest.mark.parametrize(("suffix", "library"), [(".npy", "numpy"), (".arrow", "pyarrow")])
def test_what_a_file_needs_here_is_said_before_anything_is_copied(
    tmp_path: Path, suffix: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadInput) as problem:
        Output(str(tmp_path / f"x{suffix}"), replace=False)
    says = f"x{suffix}' needs {library}, which is not installed here, so nothing was copied; run pip install {library}"
    assert says in str(problem.value)


def test_what_is_missing_once_a_value_is_here_is_said_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    says = "x was read, but writing it needs pyarrow, which is not installed here; run pip install pyarrow"
    assert refused(tmp_path, ".csv", pa.table({"a": [1]})) == says


def test_arrays(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    for array in (
        np.array(1.5),
        np.zeros((2, 3), "f4", order="F"),
        np.zeros(2, [("a", "i4")]),
        np.arange(3, dtype=">i8"),
    ):
        came = back(tmp_path, ".npy", array)
        assert type(came) is np.ndarray
        assert (came.dtype, came.shape) == (array.dtype, array.shape)
        assert (came == array).all()
    back(tmp_path, ".npy", np.zeros(1))
    (tmp_path / "x.npy").unlink()
    assert "has objects for items" in refused(tmp_path, ".npy", np.array([{}], dtype=object))
    assert "has 3 dimensions" in refused(tmp_path, ".csv", np.zeros((1, 1, 1)))
    assert "has the dtype complex128" in refused(tmp_path, ".csv", np.zeros(1, complex))
    Output(str(tmp_path / "x.csv"), replace=False).write("x", np.array([[0.1, 1e300], [-1, 3]]))
    assert (tmp_path / "x.csv").read_text() == "0.1,1e+300\n-1.0,3.0\n"


def test_pictures(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = images.new(mode, (3, 2))
        came = back(tmp_path, ".png", picture)
        assert type(came) is images.Image
        assert (came.mode, came.size, came.tobytes()) == (picture.mode, picture.size, picture.tobytes())
    (tmp_path / "x.png").unlink()
    assert "is a picture of the mode CMYK" in refused(tmp_path, ".png", images.new("CMYK", (1, 1)))
    for mode, size in (("RGB", (0, 5)), ("L", (3, 0)), ("1", (0, 0)), ("P", (0, 1))):
        says = f"x is a picture of {size[0]} × {size[1]} pixels, which .png files cannot hold"
        assert refused(tmp_path, ".png", images.new(mode, size)).startswith(says)


def png(depth: int, colours: int, pixel: bytes) -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, depth, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + pixel)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colours", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_a_picture_that_pillow_would_round_is_not_read(tmp_path: Path, colours: int, channels: int) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "x.png").write_bytes(png(8, colours, bytes(channels)))
    assert read(str(tmp_path / "x.png"), MOST, None).size == (1, 1)
    (tmp_path / "x.png").write_bytes(png(16, colours, bytes(2 * channels)))
    with pytest.raises(BadInput, match="has colours of 16 bits, of which Pillow keeps 8"):
        read(str(tmp_path / "x.png"), MOST, None)
    (tmp_path / "x.png").write_bytes(png(16, 0, b"\1\2"))
    assert read(str(tmp_path / "x.png"), MOST, None).getpixel((0, 0)) == 0x0102


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.json", b"[1,", "is no JSON (line 1, column 4), so nothing was copied; check the file"),
        ("x.json", b"[NaN]", "has NaN, which is no JSON, so nothing was copied; replace it, for example by null"),
        ("x.json", b"\xff", "is not UTF-8 text, so nothing was copied; save it as UTF-8"),
        ("x.json", b"[" * 10**6, "is nested too deeply, so nothing was copied; check the file"),
        ("x.txt", b"\xff", "is not UTF-8 text, so nothing was copied; save it as UTF-8"),
        ("x.csv", b"a\n\xff\n", "is not UTF-8 text, so nothing was copied; save it as UTF-8"),
        ("x.json", b"[1e999]", "has the number 1e999, which would become infinite, so nothing was copied; write it "
         "as a text"),
        ("x.json", b'{"a": -1E400}', "has the number -1E400, which would become infinite, so nothing was copied; write "
         "it as a text"),
        ("x.json", b"1.5e-400", "has the number 1.5e-400, which would become zero, so nothing was copied; write it "
         "as a text"),
        ("x.json", b'{"a":1,"a":2}', "has the key 'a' more than once in one object, so nothing was copied; remove all "
         "but one"),
        ("x.json", b'[{"b":{"\\u001b":1,"c":0,"\\u001b":1}}]', "has the key '\\x1b' more than once in one object, so "
         "nothing was copied; remove all but one"),
        ("x.json", b"[-" + b"1" * 5000 + b"]", "has an integer of 5,000 digits, more than Python reads, so nothing was "
         "copied; write it as a text"),
        ("x.npy", b"no", "is no .npy file, so nothing was copied; check the file"),
        ("x.npy", b"PK\x03\x04", "is no .npy file, so nothing was copied; check the file"),
        ("x.npy", b"", "is no .npy file, so nothing was copied; check the file"),
        ("x.png", b"GIF89a", "is no .png file, so nothing was copied; check the file"),
        ("x.arrow", b"FEA1", "is no .arrow file, so nothing was copied; check the file"),
        ("x.npy", b"\x93NUMPY", "cannot be read as .npy (ValueError), so nothing was copied. Check the file"),
        ("x.png", b"\x89PNG\r\n\x1a\n", "cannot be read as .png (UnidentifiedImageError), so nothing was copied. Check "
         "the file"),
        ("x.arrow", b"ARROW1no", "cannot be read as .arrow (ArrowInvalid), so nothing was copied. Check the file"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_says(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    for library in {"x.npy": ["numpy"], "x.png": ["PIL"], "x.arrow": ["pyarrow"], "x.csv": ["pandas"]}.get(name, []):
        pytest.importorskip(library)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as problem:
        read(str(tmp_path / name), 2 * 10**6, None)
    assert str(problem.value).endswith(f"{name}' {says}")


@pytest.mark.parametrize(
    "text", ["[1e308, -0.0, 0e5, 0.000, -0E-400, 1e-320]", '{"a": {"a": 1}, "b": [{"a": 2}, {"a": 2}]}']
)
def test_numbers_and_keys_that_json_keeps(text: str) -> None:
    assert repr(read("-", MOST, io.BytesIO(text.encode()))) == repr(json.loads(text))


def test_pickles_in_a_file_are_not_read(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"has objects for items, which stand there as a pickle"):
        read(str(tmp_path / "x.npy"), MOST, None)


def test_of_several_arrays_in_a_file_none_is_read(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    with open(tmp_path / "x.npy", "wb") as file:
        np.save(file, np.zeros(1))
        np.save(file, np.ones(1))
    with pytest.raises(BadInput, match=r"has something behind its array"):
        read(str(tmp_path / "x.npy"), MOST, None)


FULL = """
import resource, sys
import numpy, pandas, polars, pyarrow, PIL.Image
from kernel_bridge_magic.cli.files import Output
from kernel_bridge_magic.errors import NotCopied

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = numpy.random.default_rng(1).integers(0, 256, 300_000, "u1")
table = pandas.DataFrame({"a": noise})
values = {
    ".json": noise.tolist(), ".npy": noise, ".txt": "x" * 300_000,
    ".png": PIL.Image.fromarray(noise.reshape(500, 600)),
}
tables = table, polars.DataFrame(table), pyarrow.table(table)
for suffix, value in [*values.items(), *((suffix, it) for it in tables for suffix in (".arrow", ".csv"))]:
    try:
        Output(sys.argv[1] + "/x" + suffix, replace=False).write("x", value)
    except NotCopied as problem:
        print(suffix, problem.problem.rpartition(" (")[2])
"""


def test_a_disk_that_is_full_is_told_as_that_by_every_format(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    for name in ("numpy", "pandas", "polars", "pyarrow", "PIL"):
        pytest.importorskip(name)
    run = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert run.stderr == ""
    suffixes = [".json", ".npy", ".txt", ".png", *[".arrow", ".csv"] * 3]
    assert run.stdout.splitlines() == [f"{suffix} File too large)" for suffix in suffixes]
    assert list(tmp_path.iterdir()) == []
