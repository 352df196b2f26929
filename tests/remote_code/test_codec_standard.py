"""Times, paths, pickles."""

from __future__ import annotations

import datetime
import io
import pathlib
import zoneinfo
from typing import Any

import pytest

from kernel_bridge_magic.remote_code.codec import codec
from tests.support.values import round_trip

CODEC = codec()


class OtherZone(datetime.tzinfo):
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
    with pytest.raises(CODEC.Refused, match="cannot be pickled"):
        round_trip(lambda: 1, pickles=True)
    with pytest.raises(CODEC.Refused, match="unpickled on the receiving side"):
        CODEC.Reader([memoryview(b"cnowhere\nnothing\n.")], 1000, True).read(["pickle", 0])
    with pytest.raises(CODEC.TooLarge):
        round_trip([[len] * 1000 + [Own]], pickles=True, most=300)
