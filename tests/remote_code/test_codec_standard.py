"""Times, paths, pickles."""

from __future__ import annotations

import collections
import datetime
import io
import pathlib
import zoneinfo
from typing import Any

import numpy
import pandas
import pytest

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.values import round_trip, same

CODEC = codec()


class OtherZone(datetime.tzinfo):
    def __repr__(self) -> str:
        return "OtherZone()"

    def dst(self, when: Any) -> None:
        return None

    def tzname(self, when: Any) -> str:
        return "other"

    def utcoffset(self, when: Any) -> datetime.timedelta:
        return datetime.timedelta(0)


def test_zones_of_other_libraries_are_refused() -> None:
    with pytest.raises(CODEC.Refused, match="OtherZone") as caught:
        round_trip(datetime.datetime(2020, 1, 1, tzinfo=OtherZone()))
    assert "zoneinfo" in caught.value.remedy


def test_a_zone_from_a_file_is_not_the_one_of_its_name() -> None:
    key = "Europe/Berlin"
    place = next(it for it in map(pathlib.Path, [*zoneinfo.TZPATH]) if (it / key).exists())
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO((place / key).read_bytes()), key=key)
    with pytest.raises(CODEC.Refused, match="from a file"):
        round_trip(zone)


def test_a_zone_that_is_not_known_says_what_to_install() -> None:
    with pytest.raises(CODEC.Refused, match="does not know") as caught:
        CODEC.Reader([], 1000).read(["ZoneInfo", "Mars/Olympus"])
    assert "tzdata" in caught.value.remedy


def test_a_path_of_the_other_system_arrives_as_a_pure_one_and_says_so() -> None:
    reader = CODEC.Reader([], 1000)
    assert type(reader.read(["path", "WindowsPath", "c:\\x"])) is pathlib.PureWindowsPath
    assert reader.notes == ["a WindowsPath arrives as a PureWindowsPath"]


class Own:
    def __eq__(self, other: object) -> bool:
        return type(other) is Own


def test_a_pickle_is_written_and_read_only_where_that_was_asked_for() -> None:
    with pytest.raises(CODEC.Refused, match="Own"):
        round_trip([Own()])
    parcel = CODEC.pack({"x": [len]}, {}, 10**6, True)
    with pytest.raises(CODEC.Refused, match="nobody has asked for"):
        CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, 10**6)
    assert round_trip([len], pickles=True) == [len]


def test_a_pickle_that_cannot_be_read_or_written_says_so() -> None:
    with pytest.raises(CODEC.Refused, match=r"cannot be copied, nor pickled \("):
        round_trip(lambda: 1, pickles=True)
    with pytest.raises(CODEC.Refused, match="unpickled on the receiving side"):
        CODEC.Reader([memoryview(b"cnowhere\nnothing\n.")], 1000, True).read(["pickle", 0])
    with pytest.raises(CODEC.TooLarge):
        round_trip([[len] * 1000 + [Own]], pickles=True, most=300)


def cycles() -> Any:
    loop: list[Any] = [1]
    loop.append({"a": (loop,)})
    return loop


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


class Label:
    def __repr__(self) -> str:
        return "Label()"


REFUSED: dict[str, Any] = {
    "an object array": lambda: numpy.array([Label(), None]),
    "a masked array": lambda: numpy.ma.masked_array([1, 2], [True, False]),
    "a dtype with metadata": lambda: numpy.zeros(2, numpy.dtype("i4", metadata={"a": 1})),
    "a deep list": lambda: nested(150),
    "a frequency": lambda: pandas.Series([1], pandas.date_range("2020", periods=1, freq=pandas.DateOffset(hours=5))),
    "a name that is an object": lambda: pandas.Series([1, 2], name=(Label(), 1)),
    "big-endian columns": lambda: pandas.DataFrame({"a": numpy.arange(3, dtype=">f4")}),
    "a time zone": lambda: pandas.Timestamp("2020", tz=OtherZone()),
    "a subclass": lambda: collections.OrderedDict(a=numpy.arange(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_format_refuses_is_pickled_where_that_is_asked_for(name: str) -> None:
    value = REFUSED[name]()
    with pytest.raises(CODEC.Refused):
        round_trip(value)
    around = [numpy.arange(1000), {"a": value, "b": b"x" * 1000}]
    parcel = CODEC.pack({"x": around}, CODEC.libraries(), 10**8, True)
    one, found = CODEC.unpack(memoryview(parcel.to_bytes()), parcel.sizes, parcel.crc, 10**8, True)[0]["x"]
    assert type(found["a"]) is type(value) and repr(found["a"]) == repr(value)
    assert same(one, around[0]) and found["b"] == b"x" * 1000
    assert len(parcel.parts) == 4  # nothing that was begun is left: the JSON, the array, the pickle, the bytes


def test_a_container_within_itself_is_pickled_as_a_whole() -> None:
    found = round_trip([0, cycles()], pickles=True)
    assert found[1][1]["a"][0] is found[1] and found[1][0] == 1


def test_notes_of_what_was_begun_are_not_left() -> None:
    frame = pandas.DataFrame({"a": pandas.array(["x"], "string[pyarrow]"), "b": numpy.arange(1, dtype=">f4")})
    has = {name: version for name, version in CODEC.libraries().items() if name != "pyarrow"}
    with_note = CODEC.pack({"x": frame[["a"]]}, has, 10**6, True)
    pickled = CODEC.pack({"x": frame}, has, 10**6, True)
    assert with_note.notes and not pickled.notes and len(pickled.parts) == 2


@pytest.mark.parametrize("pickles", [False, True])
def test_what_is_not_a_matter_of_formats_is_not_pickled(pickles: bool) -> None:
    with pytest.raises(CODEC.TooLarge):
        round_trip([numpy.zeros(1000)], pickles=pickles, most=5000)
    with pytest.raises(CODEC.Refused, match="needs numpy on the other side"):
        round_trip([numpy.zeros(1000)], pickles=pickles, has={})


def test_a_value_that_cannot_be_pickled_is_tried_once() -> None:
    count: list[int] = []

    class Counted:
        def __reduce__(self) -> Any:
            count.append(1)
            raise TypeError

    with pytest.raises(CODEC.Refused, match=r"Counted, which cannot be copied, nor pickled \(TypeError\)") as caught:
        round_trip({"a": [(Counted(),)]}, pickles=True)
    assert caught.value.path == "x['a'][0][0]" and len(count) == 1
