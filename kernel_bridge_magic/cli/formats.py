"""The table of file formats of variables: `.json`, `.npy`, `.arrow`, `.csv`, `.png`, `.txt`.

A file holds a value as it is, or `Unfit` says why not: nothing is converted in silence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from kernel_bridge_magic.cli.table_files import read_arrow, read_csv, write_arrow, write_csv
from kernel_bridge_magic.cli.unfit import HALF, Unfit, library, short, unfit_type
from kernel_bridge_magic.transfer.summary import is_exactly, name_of

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_HEADER = 26  # bytes of a PNG, up to the kind of its colours
_DEEPEST = 100


@dataclass(frozen=True)
class Format:
    """How a file of one suffix is read and written.

    `needs` is the library without which none can be, "" for none. `begins` is how each such file begins.
    """

    read: Callable[[BinaryIO], Any]
    write: Callable[[Any, BinaryIO], object]
    needs: str = ""
    begins: bytes = b""

    def check(self) -> None:
        """Check whether such a file can be read and written here.

        Raises:
            Lacking: its library is missing.
        """
        if self.needs:
            library(self.needs)


def suffixes() -> str:
    """Return the suffixes that are known, for an error text."""
    *most, last = FORMATS
    return f"{', '.join(most)} and {last}"


def json_text(value: Any) -> str:
    """Return a value as JSON, which holds it as it is; tuples become lists, as `json` has it.

    Raises:
        Unfit: it cannot hold it.
    """
    _check_json(value, "", 0)
    return json.dumps(value, allow_nan=False)


def _check_json(value: Any, path: str, depth: int) -> None:
    cls = type(value)
    if depth > _DEEPEST:
        raise Unfit("is nested too deeply", path=path)
    if cls is float and not math.isfinite(value):
        raise Unfit(f"is {value}", path=path, remedy="replace it in the other kernel, for example by None")
    if cls is int and not _is_written(value):
        raise Unfit(
            "is an integer of more digits than Python writes", path=path, remedy="convert it there with hex({})"
        )
    if cls in (list, tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]", depth + 1)
    elif cls is dict:
        for key, item in value.items():
            if type(key) is not str:
                told = f"has a key of the type {name_of(type(key))}"
                raise Unfit(told, path=path, remedy="keys of JSON are texts; convert them in the other kernel")
            _check_json(item, f"{path}[{key[:40]!r}]", depth + 1)
    elif value is not None and cls not in (bool, int, float, str):
        raise unfit_type(value, path)


# -- .json and .txt


def _is_written(number: int) -> bool:
    if number.bit_length() > 2000:  # Python writes 640 digits at least
        try:
            str(number)
        except ValueError:
            return False
    return True


def _read_json(file: BinaryIO) -> Any:
    try:
        return json.loads(
            file.read().decode("utf-8-sig"),
            parse_constant=_refuse_word,
            parse_float=_float,
            parse_int=_int,
            object_pairs_hook=_dict,
        )
    except json.JSONDecodeError as error:
        raise Unfit(f"is no JSON (line {error.lineno}, column {error.colno})", remedy="check the file") from None
    except RecursionError:
        raise Unfit("is nested too deeply", remedy="check the file") from None


# Python's reader takes more than JSON has, and numbers and keys that it cannot keep.


def _refuse_word(word: str) -> None:
    raise Unfit(f"has {word}, which is no JSON", remedy="replace it, for example by null")


def _float(text: str) -> float:
    value = float(text)
    digits = text.lower().partition("e")[0]
    if math.isinf(value) or (not value and digits.strip("-0.")):
        kept = "infinite" if value else "zero"
        raise Unfit(f"has the number {short(text)}, which would become {kept}", remedy="write it as a text")
    return value


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        digits = len(text.lstrip("-"))
        raise Unfit(
            f"has an integer of {digits:,} digits, more than Python reads", remedy="write it as a text"
        ) from None


def _dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise Unfit(f"has the key {short(repr(twice))} more than once in one object", remedy="remove all but one")
    return found


def _write_json(value: Any, file: BinaryIO) -> None:
    file.write(json_text(value).encode("ascii") + b"\n")


def _read_text(file: BinaryIO) -> str:
    return file.read().decode("utf-8")


def _write_text(value: Any, file: BinaryIO) -> None:
    if type(value) is not str:
        raise unfit_type(value)
    try:
        file.write(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise Unfit(HALF, remedy=".json files can hold it") from None


# -- .npy


def _read_npy(file: BinaryIO) -> Any:
    numpy = library("numpy")
    # `load` would also read archives, and pickles where it may.
    try:
        array = numpy.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise Unfit("has objects for items, which stand there as a pickle", remedy="save it with a dtype") from None
        raise
    if file.read(1):
        raise Unfit("has something behind its array", remedy="save each array in a file of its own")
    return array


def _write_npy(value: Any, file: BinaryIO) -> None:
    if not is_exactly(type(value), "numpy", "ndarray"):
        raise unfit_type(value)
    if value.dtype.hasobject:
        raise Unfit("has objects for items", remedy="convert it in the other kernel, for example with {}.astype(str)")
    library("numpy").lib.format.write_array(file, value, allow_pickle=False)


# -- .png


def _read_png(file: BinaryIO) -> Any:
    images = library("PIL.Image", "pillow")
    header = file.read(_HEADER)
    file.seek(0)
    try:
        with images.open(file, formats=["PNG"]) as picture:
            picture.load()
            if getattr(picture, "n_frames", 1) > 1:
                raise Unfit("has several pictures", remedy="save one of them")
            depth, colours = header[24], header[25]
            if depth == 16 and colours:  # of grey alone Pillow keeps all
                raise Unfit("has colours of 16 bits, of which Pillow keeps 8", remedy="save it with 8 bits, or as .npy")
            return picture.copy()  # of the plain class, which a copy to another kernel takes
    except images.DecompressionBombError:
        raise Unfit(f"has more pixels than Pillow reads ({2 * images.MAX_IMAGE_PIXELS:,})") from None


def _write_png(value: Any, file: BinaryIO) -> None:
    if is_exactly(type(value), "IPython.core.display", "Image"):  # what a figure arrives as where pillow is missing
        data = value.data
        if type(data) is not bytes or not data.startswith(_PNG):
            raise unfit_type(value)
        file.write(data)
        return
    if not is_exactly(type(value), "PIL.Image", "Image"):
        raise unfit_type(value)
    if value.mode not in _PNG_MODES:
        remedy = "convert it in the other kernel, for example with {}.convert('RGB')"
        raise Unfit(f"is a picture of the mode {value.mode}", remedy=remedy)
    if 0 in value.size:
        width, height = value.size
        raise Unfit(f"is a picture of {width} × {height} pixels")
    value.save(file, format="PNG")


#: by suffix
FORMATS = {
    ".json": Format(_read_json, _write_json),
    ".npy": Format(_read_npy, _write_npy, "numpy", b"\x93NUMPY"),
    ".arrow": Format(read_arrow, write_arrow, "pyarrow", b"ARROW1"),
    ".csv": Format(read_csv, write_csv),
    ".png": Format(_read_png, _write_png, begins=_PNG),
    ".txt": Format(_read_text, _write_text),
}
