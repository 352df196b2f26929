"""What a file of each suffix can hold, and what is said of what it cannot."""

from __future__ import annotations

import io
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
        (".json", {1}, "x is of the type set, which .json files cannot hold; convert it in the other kernel first"),
        (".json", {"a": [1, {2}]}, "x['a'][1] is of the type set, which .json files cannot hold; convert it in the "
         "other kernel first"),
        (".json", [float("nan")], "x[0] is nan, which .json files cannot hold; replace it in the other kernel, for "
         "example by None"),
        (".json", {1: 2}, "x has a key of the type int, which .json files cannot hold; keys of JSON are texts; convert "
         "them in the other kernel"),
        (".json", [10**5000], "x has an integer of too many digits, which .json files cannot hold; convert it there "
         "with hex()"),
        (".txt", 1, "x is of the type int, which .txt files cannot hold; write it with --output FILE, where FILE ends "
         "in .json"),
        (".txt", "\ud800", "x has half of a surrogate pair, which .txt files cannot hold; .json files can hold it"),
        (".npy", "a", "x is of the type str, which .npy files cannot hold; write it with --output FILE, where FILE "
         "ends in .json or .txt"),
        (".csv", b"1", "x is of the type bytes, which .csv files cannot hold; convert it in the other kernel first"),
        (".png", None, "x is of the type NoneType, which .png files cannot hold; write it with --output FILE, where "
         "FILE ends in .json"),
    ],
)  # fmt: skip
def test_a_type_that_a_file_cannot_hold(tmp_path: Path, suffix: str, value: Any, says: str) -> None:
    assert refused(tmp_path, suffix, value) == says


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


def test_frames(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": pd.Categorical(["u", "v"])}, index=["r", "s"])
    pd.testing.assert_frame_equal(back(tmp_path, ".arrow", frame), frame)
    (tmp_path / "x.arrow").unlink()
    plain = pd.DataFrame({"a": [1, 2], "b": [0.5, 1e300]})
    pd.testing.assert_frame_equal(back(tmp_path, ".csv", plain), plain)
    (tmp_path / "x.csv").unlink()
    told = refused(tmp_path, ".arrow", pd.DataFrame({"a": [[1], 2]}))
    assert told.startswith("x['a'] has objects of the type list, which .arrow files cannot hold; give the column")
    assert "has labels or columns" in refused(tmp_path, ".arrow", pd.DataFrame([[1, 2]], columns=["a", "a"]))
    assert refused(tmp_path, ".json", frame).endswith("write it with --output FILE, where FILE ends in .csv or .arrow")
    Output(str(tmp_path / "x.csv"), replace=False).write("x", pd.Series([1, 2], index=["a", "b"], name="n"))
    assert (tmp_path / "x.csv").read_text() == ",n\na,1\nb,2\n"


def test_pictures(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = images.new(mode, (3, 2))
        came = back(tmp_path, ".png", picture)
        assert type(came) is images.Image
        assert (came.mode, came.size, came.tobytes()) == (picture.mode, picture.size, picture.tobytes())
    (tmp_path / "x.png").unlink()
    assert "is a picture of the mode CMYK" in refused(tmp_path, ".png", images.new("CMYK", (1, 1)))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.json", b"[1,", "is no JSON (line 1, column 4), so nothing was copied; check the file"),
        ("x.json", b"[NaN]", "has NaN, which is no JSON, so nothing was copied; replace it, for example by null"),
        ("x.json", b"\xff", "is not UTF-8 text, so nothing was copied; save it as UTF-8"),
        ("x.json", b"[" * 10**6, "is nested too deeply, so nothing was copied; check the file"),
        ("x.txt", b"\xff", "is not UTF-8 text, so nothing was copied; save it as UTF-8"),
        ("x.npy", b"no", "cannot be read as .npy (ValueError), so nothing was copied. Check the file"),
        ("x.npy", b"PK\x03\x04", "cannot be read as .npy (ValueError), so nothing was copied. Check the file"),
        ("x.png", b"no", "cannot be read as .png (UnidentifiedImageError), so nothing was copied. Check the file"),
        ("x.arrow", b"no", "cannot be read as .arrow (ArrowInvalid), so nothing was copied. Check the file"),
    ],
)
def test_a_file_that_is_not_what_it_says(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    for library in {"x.npy": ["numpy"], "x.png": ["PIL"], "x.arrow": ["pyarrow"]}.get(name, []):
        pytest.importorskip(library)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as problem:
        read(str(tmp_path / name), 2 * 10**6, None)
    assert str(problem.value).endswith(f"{name}' {says}")


def test_pickles_in_a_file_are_not_read(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"cannot be read as .npy"):
        read(str(tmp_path / "x.npy"), MOST, None)
