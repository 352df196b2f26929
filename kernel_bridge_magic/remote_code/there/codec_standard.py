# Formats for what Python's standard library has: times, paths, UUIDs, pickles. It runs behind codec.py, in the same
# namespace.


def zone_of(reader, node):
    """Return the time zone of a node, or None."""
    zone = reader.read(node)
    if zone is not None and not isinstance(zone, datetime.tzinfo):
        raise Refused(UNLIKE)
    return zone


def write_zone(writer, value):
    if value.tzinfo is not None and "%s.%s" % (type(value.tzinfo).__module__, type(value.tzinfo).__qualname__) not in (
        "datetime.timezone", "zoneinfo.ZoneInfo"):  # fmt: skip
        kind = name_of(type(value.tzinfo))
        raise Refused("has a time zone of the type %s, which cannot be copied" % kind, "use zoneinfo.ZoneInfo for it")
    return writer.write(value.tzinfo)


def read_zoneinfo(reader, key):
    try:
        return __import__("zoneinfo").ZoneInfo(reader.text(key))
    except ImportError:
        raise Refused("has a named time zone, which needs Python 3.9 or newer on both sides")
    except KeyError:  # ZoneInfoNotFoundError
        what = "has the time zone %s, which the receiving side does not know" % short(key)
        raise Refused(what, "install tzdata there")


def write_zoneinfo(writer, value):
    try:
        value.__reduce__()
    except Exception:  # one that was read from a file is not the one of that name
        raise Refused("is a time zone from a file, which cannot be copied", "use zoneinfo.ZoneInfo(NAME)")
    if value.key is None:
        raise Refused("is a time zone without a name, which cannot be copied", "use zoneinfo.ZoneInfo(NAME)")
    return [value.key]


def write_clock(writer, value):
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, write_zone(writer, value)]


def clock_of(reader, parts):
    *numbers, fold, zone = parts
    return whole_numbers(reader, numbers), {"fold": reader.whole(fold, 0, 1), "tzinfo": zone_of(reader, zone)}


def whole_numbers(reader, parts):
    """Return parts that must be integers: these types take other things as well, such as their own pickles."""
    return [reader.whole(part, -(10**9), 10**9) for part in parts]


def read_date(reader, year, month, day):
    return datetime.date(*whole_numbers(reader, (year, month, day)))


def read_timedelta(reader, days, seconds, microseconds):
    return datetime.timedelta(*whole_numbers(reader, (days, seconds, microseconds)))


def read_datetime(reader, *parts):
    (year, month, day, *numbers), rest = clock_of(reader, parts)
    hour, minute, second, microsecond = numbers
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, **rest)


def read_time(reader, *parts):
    (hour, minute, second, microsecond), rest = clock_of(reader, parts)
    return datetime.time(hour, minute, second, microsecond, **rest)


def write_path(writer, value):
    return [type(value).__name__, writer.write(str(value))]


def read_path(reader, kind, text):
    text = reader.text(reader.read(text))
    windows = {"WindowsPath": True, "PureWindowsPath": True, "PosixPath": False, "PurePosixPath": False}[kind]
    pure = pathlib.PureWindowsPath(text) if windows else pathlib.PurePosixPath(text)
    is_here = type(pathlib.PurePath()) is type(pure)
    if not is_here and not kind.startswith("Pure"):
        reader.notes.append("a %s arrives as a Pure%s" % (kind, kind))
    return pathlib.Path(text) if is_here and not kind.startswith("Pure") else pure


def write_pickle(writer, value, problem):
    """Return the node of a value as a pickle, where that is asked for. Its format has raised `problem`."""
    writer.spend(NODE)
    try:
        data = __import__("pickle").dumps(value, 4)  # what every Python from 3.8 on reads
    except Exception as why:
        refusal = Refused("%s, nor pickled (%s)" % (problem.what, type(why).__name__), problem.remedy, is_final=True)
        refusal.steps = problem.steps
        raise refusal
    return ["pickle", writer.add(data)]


def read_pickle(reader, number):
    if not reader.pickles:
        raise Refused("is a pickle, which nobody has asked for")
    try:
        return __import__("pickle").loads(reader.buffer(number))
    except Exception as problem:
        what = "cannot be unpickled on the receiving side (%s: %s)" % (type(problem).__name__, str(problem)[:200])
        raise Refused(what, "import there first what defines it")


add_format("datetime", lambda writer, value: [value.year, value.month, value.day, *write_clock(writer, value)],
           read_datetime, "datetime:datetime")  # fmt: skip
add_format("time", write_clock, read_time, "datetime:time")
add_format("date", lambda writer, value: [value.year, value.month, value.day],
           read_date, "datetime:date")  # fmt: skip
add_format("timedelta", lambda writer, value: [value.days, value.seconds, value.microseconds],
           read_timedelta, "datetime:timedelta")  # fmt: skip
add_format("timezone", lambda writer, value: [writer.write(part) for part in value.__getinitargs__()],
           lambda reader, *parts: datetime.timezone(*map(reader.read, parts)), "datetime:timezone")  # fmt: skip
add_format("ZoneInfo", write_zoneinfo, read_zoneinfo, "zoneinfo:ZoneInfo")
add_format("UUID", lambda writer, value: [value.hex, value.is_safe.name],
           lambda reader, digits, safe: uuid.UUID(hex=reader.text(digits), is_safe=uuid.SafeUUID[safe]),
           "uuid:UUID")  # fmt: skip
add_format("path", write_path, read_path, "pathlib:PosixPath", "pathlib:PurePosixPath", "pathlib:WindowsPath",
           "pathlib:PureWindowsPath")  # fmt: skip
READERS["pickle"] = read_pickle
