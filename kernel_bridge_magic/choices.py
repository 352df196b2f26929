"""Values of options that all interfaces share: durations, transports, what to do with a busy kernel. Pure.

A value that cannot be used is an error of one line. `%load_ext` imports this module, so that it imports little.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from types import UnionType
from typing import Any

from kernel_bridge_magic.errors import BadInput, BadOption

#: How to connect to a kernel.
TRANSPORTS = ("auto", "zmq", "ws")
#: What can be done with a cell for a busy kernel.
IF_BUSY = ("wait", "fail", "subshell")
#: What can be done with it where a cell runs on several kernels.
IF_BUSY_OF_MANY = ("wait", "fail", "skip", "subshell")
#: For how many seconds a link is waited for since it last gave a sign, unless the user says otherwise.
RECONNECT = 300.0

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_MOST_SECONDS = 1e9  # thirty years; more is a slip, and overflows what waits on locks
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_LONGEST = 60


def check(name: str, value: object, wanted: type | UnionType, words: str, error: type[BadInput] = BadOption) -> None:
    """Check that a value is of the type `wanted`, which `words` describes.

    Raises:
        BadInput: it is not; the error is of the class `error`.
    """
    if not isinstance(value, wanted):
        raise error(f"{name} is {words}, not {shortened(value)} ({type(value).__name__}); nothing was sent")


def check_duration(name: str, value: object) -> float | None:
    """Return a length of time in seconds, as `duration` does.

    Raises:
        BadOption: it is not one.
    """
    try:
        return duration(value)
    except ValueError as problem:
        raise BadOption(f"{name}={problem}") from None


def check_size(name: str, value: object) -> int:
    """Return a number of bytes, as `byte_count` does.

    Raises:
        BadOption: it is none.
    """
    try:
        return byte_count(value)
    except ValueError as problem:
        raise BadOption(f"{name}={problem}") from None


def check_for_one(options: Any) -> None:
    """Refuse options of a cell that are for several kernels; call it where the cell runs on one.

    Raises:
        BadOption: there is one.
    """
    given = [name for name, value in (("-j", options.at_once), ("--no-group", options.no_group)) if value]
    given += ["--if-busy skip"] * (options.if_busy == "skip")
    if given:
        raise BadOption(f"{', '.join(given)} goes with --all, or with a list of kernels")


def check_for_many(options: Any) -> None:
    """Refuse options of a cell that are for one kernel; call it where the cell runs on several.

    Raises:
        BadOption: there is one.
    """
    if options.durable:
        raise BadOption("--durable is for one kernel: leave it out, or --all")


def shortened(value: object) -> str:
    """Return the repr of a value, cut if it is long."""
    if isinstance(value, str | bytes):
        value = value[: _LONGEST + 1]  # its whole repr may be large
    try:
        text = repr(value)
    except Exception:
        return "what cannot be shown"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def duration(value: object, otherwise: str = "none") -> float | None:
    """Return a length of time in seconds: a number, or a text such as `30`, `1.5s`, `5m`, `2h`; None for `none`.

    `otherwise` is how the error text says to set no limit.

    Raises:
        ValueError: it is no duration, not above 0, or absurdly long; the text says so.
    """
    if value is None or (isinstance(value, str) and value.lower() == "none"):
        return None
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) <= _MOST_SECONDS else math.inf
    elif isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*(ms|s|min|m|h|)\s*", value)
        with contextlib.suppress(ValueError):
            number = float(found[1]) * _UNITS[found[2]] if found else math.nan
    if not 0 < number <= _MOST_SECONDS:
        raise ValueError(f"{shortened(value)} is not a duration: use seconds (30), 5m or 2h, or {otherwise}")
    return number


def seconds(text: str, otherwise: str = "none") -> float | None:
    """Parse the value of a command line option, see `duration`.

    Raises:
        argparse.ArgumentTypeError: it is no duration.
    """
    try:
        return duration(text, otherwise)
    except ValueError as problem:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(str(problem)) from None


#: Parses the value of `--watch`.
every = functools.partial(seconds, otherwise="leave the time out")
#: Parses the value of `--timeout`.
timeout = functools.partial(seconds, otherwise="leave --timeout out")


def byte_count(value: object) -> int:
    """Return a number of bytes: a whole number, or a text such as `1GB`, `500MB`, `1.5 GB`, `200kB`.

    Raises:
        ValueError: it is none, or not above 0; the text says so.
    """
    number = 0
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= _LONGEST:
        found = re.fullmatch(r"\s*([0-9]+)(\.[0-9]+)?\s*(b|[kmgt]b?|[kmg]ib?|)\s*", value, re.ASCII | re.IGNORECASE)
        if found and (found[3] or not found[2]):
            unit = _BYTES[found[3].lower().removesuffix("b")]
            number = int(found[1]) * unit + int(float(found[2] or 0) * unit)
    if number < 1:
        raise ValueError(f"{shortened(value)} is not a size: use 500MB, 1GB or a number of bytes")
    return number


def size(text: str) -> int:
    """Parse the value of `--max-size`, see `byte_count`.

    Raises:
        argparse.ArgumentTypeError: it is no size.
    """
    try:
        return byte_count(text)
    except ValueError as problem:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(str(problem)) from None


def at_least_one(text: str) -> int:
    """Parse the value of a command line option that is a number from 1 on.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"{shortened(text)} is not a number from 1 on")
    return int(text)
