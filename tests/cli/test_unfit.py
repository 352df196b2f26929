"""What is said of a value that a file cannot hold."""

from __future__ import annotations

import datetime
import decimal
import sys
import uuid
from typing import Any

import pytest

from kernel_bridge_magic.cli.unfit import Lacking, is_of_library, library, step, unfit_type


@pytest.mark.parametrize(
    ("value", "way"),
    [
        ({1}, "list({})"),
        (b"x", "{}.hex()"),
        (1j, "str({})"),
        (range(3), "list({})"),
        (decimal.Decimal(1), "str({})"),
        (uuid.UUID(int=1), "str({})"),
        (datetime.date(2026, 1, 2), "{}.isoformat()"),
        (datetime.datetime(2026, 1, 2), "{}.isoformat()"),
    ],
)
def test_a_way_to_convert_it_is_said(value: Any, way: str) -> None:
    found = unfit_type(value, "[1]")
    assert (found.what, found.path, found.suffixes) == (f"is of the type {type(value).__name__}", "[1]", ())
    assert found.remedy == f"convert it in the other kernel, for example with {way}"
    eval(way.replace("{}", "value"), {"value": value})


def test_ways_for_values_of_libraries_give_what_a_file_holds() -> None:
    np, pd, pa = (pytest.importorskip(name) for name in ("numpy", "pandas", "pyarrow"))
    from kernel_bridge_magic.cli.formats import json_text

    for value in (
        np.float32(1),
        np.int8(1),
        np.bool_(True),
        np.str_("a"),
        pd.Timestamp("2026"),
        pa.chunked_array([[1]]),
    ):
        way = unfit_type(value).remedy.rpartition(" ")[2]
        assert json_text(eval(way.replace("{}", "value"), {"value": value}))
    for index in (pd.Index([1]), pd.RangeIndex(3), pd.DatetimeIndex(["2026"])):
        assert unfit_type(index).remedy.endswith("for example with {}.to_frame()")
    assert unfit_type(np.zeros(1), "[1]").remedy.endswith("for example with {}.tolist()")
    assert unfit_type(np.zeros(1)).suffixes == (".npy", ".csv")


def test_nothing_is_said_of_a_type_that_only_has_such_a_name() -> None:
    named = type("float64", (), {"__module__": "numpy"})
    assert unfit_type(named()).remedy == ""
    assert unfit_type(type("Own", (), {"__module__": 1})()).remedy == ""


def test_a_step_is_one_short_line() -> None:
    assert step("a\x1b\n") == r"['a\x1b\n']"
    assert len(step("a" * 1000)) == 42


def test_errors_of_libraries_are_told_from_the_end_of_the_process() -> None:
    panic = type("PanicException", (BaseException,), {})
    assert is_of_library(ValueError()) and is_of_library(panic())
    assert not is_of_library(KeyboardInterrupt()) and not is_of_library(SystemExit())


def test_a_library_that_is_missing_is_named_as_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(Lacking) as problem:
        library("PIL.Image", "pillow")
    assert (problem.value.what, problem.value.remedy) == (
        "needs pillow, which is not installed here",
        "run pip install pillow",
    )
