# Formats for pandas: tables, their labels, scalars. It runs behind codec_extension.py, in the same namespace.

INDEX_KINDS = ("Index", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "IntervalIndex", "CategoricalIndex",
               "RangeIndex", "MultiIndex")  # fmt: skip


def within(step, write, *arguments):
    """Return what a function writes; `step` says where that is, for errors."""
    try:
        return write(*arguments)
    except Refused as problem:
        raise problem.within(step)


# -- labels


def write_index(writer, value):
    """Return an index as JSON."""
    pandas, kind = sys.modules["pandas"], type(value).__name__
    if getattr(pandas, kind, None) is not type(value) or kind not in INDEX_KINDS:
        raise Refused("is of the type %s, which cannot be copied" % name_of(type(value)), "copy pandas.Index({})")
    names = [within(" name", writer.write, name) for name in value.names]
    if kind == "RangeIndex":
        return ["range", names, value.start, value.stop, value.step]
    if kind == "MultiIndex":
        levels = [within(" level %d" % number, write_index, writer, level) for number, level in enumerate(value.levels)]
        codes = [write_array(writer, sys.modules["numpy"].asarray(codes), "i") for codes in value.codes]
        return ["multi", names, levels, codes]
    freq = write_freq(pandas, value.freq) if kind in ("DatetimeIndex", "TimedeltaIndex") else None
    return ["index", names, write_column(writer, value.array), freq]


def read_index(reader, node):
    kind, names, *parts = node
    names = [reader.read(name) for name in names]
    pandas = pandas_here()
    if kind == "range":
        start, stop, step = [reader.whole(part, -(2**63), 2**63 - 1) for part in parts]
        # It takes no memory, but what users do with it takes time.
        reader.spend(len(range(start, stop, step)) // 8)
        found = pandas.RangeIndex(start, stop, step)
    elif kind == "multi":
        found = read_levels(reader, pandas, *parts)
    else:
        expect(kind == "index")
        found = read_labels(reader, pandas, *parts)
    found.names = names
    return found


def read_levels(reader, pandas, levels, codes):
    """Return an index of several levels, as it was there.

    pandas would verify more: that no label stands twice in a level. But 1 and True may, and two not-a-numbers. And it
    would take codes for others that are too large for the integers in which it keeps them.
    """
    levels = [read_index(reader, level) for level in levels]
    codes = [array_of(reader, code, "i") for code in codes]
    expect(levels and len(levels) == len(codes) and len(set(map(len, codes))) == 1)
    for level, code in zip(levels, codes):
        expect(not len(code) or (code.min() >= -1 and code.max() < len(level)))
    return pandas.MultiIndex(levels, codes, verify_integrity=False)


def read_labels(reader, pandas, column, freq):
    array = read_column(reader, column)
    found = pandas.Index(array, dtype=array.dtype, copy=False, tupleize_cols=False)
    if freq is not None:
        # pandas compares the labels with what the frequency would give, as many of them.
        found.freq = read_freq(reader, pandas, freq)
    return found


# -- tables


def write_rest(writer, value):
    """Return what else a table has: its attrs, and whether labels may stand twice."""
    return [within(".attrs", writer.write, dict(value.attrs)), value.flags.allows_duplicate_labels]


def read_rest(reader, value, attrs, twice):
    attrs = reader.read(attrs)
    expect(type(attrs) is dict and type(twice) is bool)
    value.attrs.update(attrs)
    if not twice:
        value.flags.allows_duplicate_labels = False
    return value


def snapshot_of(value):
    """Return a frame or series of the columns that it has now. Another thread may set some, and their labels.

    `copy` would take its memory, and a moment later what lies where in it.
    """
    for _ in range(3):
        try:
            rows, found = value.index, value[:]
            if found.dtypes is not None:  # it has looked where each column lies
                if type(rows).__name__ == "RangeIndex" and rows.equals(found.index):
                    found.index = rows  # a slice of it may have another end
                return found
        except (IndexError, ValueError, AssertionError, TypeError):  # in the middle of a change
            pass
    raise Refused("has changed while it was copied", "try again", is_final=True)


def write_frame(writer, value):
    need_pandas(writer)
    value = snapshot_of(value)
    labels = within(".columns", write_index, writer, value.columns)
    index = within(".index", write_index, writer, value.index)
    columns = []
    for number, label in enumerate(value.columns):
        step = ": column %s" % short(label)
        columns.append(within(step, write_column, writer, value.iloc[:, number].array))
    return [labels, index, columns, *write_rest(writer, value)]


def read_frame(reader, labels, index, columns, *rest):
    pandas, labels, index = pandas_here(), read_index(reader, labels), read_index(reader, index)
    expect(type(columns) is list and len(columns) == len(labels))
    found = {}
    for number, column in enumerate(columns):
        found[number] = series_of(pandas, read_column(reader, column), index)
    frame = pandas.DataFrame(found, index=index, copy=False)
    frame.columns = labels
    return read_rest(reader, frame, *rest)


def series_of(pandas, array, index):
    expect(len(array) == len(index))
    return pandas.Series(array, index=index, dtype=array.dtype, copy=False)


def write_series(writer, value):
    need_pandas(writer)
    value = snapshot_of(value)
    name = within(" name", writer.write, value.name)
    index = within(".index", write_index, writer, value.index)
    return [name, index, write_column(writer, value.array), *write_rest(writer, value)]


def read_series(reader, name, index, column, *rest):
    found = series_of(pandas_here(), read_column(reader, column), read_index(reader, index))
    found.name = reader.read(name)
    return read_rest(reader, found, *rest)


def need_pandas(writer):
    needs_there(writer, "pandas", ", or copy what you need of it")


# -- scalars


def write_moment(writer, value):
    """Return the parts of a Timestamp."""
    need_pandas(writer)
    number = int(value.asm8.view("i8"))
    return [writer.write(number), value.unit, write_tz(writer, value.tzinfo), value.fold]


def read_moment(reader, number, unit, zone, fold):
    pandas, number, zone = pandas_here(), moment_of(reader, "M", number, unit), read_tz(reader, zone)
    expect(fold in (0, 1))
    found = pandas.Timestamp(number)
    if zone is not None:
        found = found.tz_localize("UTC").tz_convert(zone)
    return found if found.fold == fold else found.replace(fold=fold)


def moment_of(reader, kind, number, unit):
    number = reader.whole(reader.read(number), -(2**63) + 1, 2**63 - 1)
    expect(unit in ("s", "ms", "us", "ns"))
    numpy = numpy_here(reader)
    return numpy.array([number], "i8").view("%s8[%s]" % (kind, unit))[0]


def write_duration(writer, value):
    need_pandas(writer)
    return [writer.write(int(value.asm8.view("i8"))), value.unit]


def read_duration(reader, number, unit):
    return pandas_here().Timedelta(moment_of(reader, "m", number, unit))


def write_period(writer, value):
    need_pandas(writer)
    return [value.ordinal, translated(sys.modules["pandas"], value.freqstr, OLDER_PERIODS, True)]


def read_period(reader, ordinal, freq):
    pandas, ordinal = pandas_here(), reader.whole(ordinal, -(2**63), 2**63 - 1)
    return pandas.Period(ordinal=ordinal, freq=translated(pandas, reader.text(freq), OLDER_PERIODS, False))


def write_interval(writer, value):
    need_pandas(writer)
    return [writer.write(value.left), writer.write(value.right), value.closed]


def read_interval(reader, left, right, closed):
    expect(closed in ("left", "right", "both", "neither"))
    return pandas_here().Interval(reader.read(left), reader.read(right), closed)


def write_missing(writer, value):
    need_pandas(writer)
    return ["NaT" if value is sys.modules["pandas"].NaT else "NA"]


def read_missing(reader, name):
    return {"NaT": pandas_here().NaT, "NA": pandas_here().NA}[name]


def write_labels(writer, value):
    need_pandas(writer)
    return [write_index(writer, value)]


def write_extension_array(writer, value):
    need_pandas(writer)
    if getattr(value, "freq", None) is not None and value.dtype.kind in "mM":
        return [write_index(writer, sys.modules["pandas"].Index(value))]
    return [write_column(writer, value)]


def read_extension_array(reader, node):
    pandas = pandas_here()
    if node[0] == "index":
        return read_index(reader, node).array
    array = read_column(reader, node)
    return pandas.Series(array, dtype=array.dtype, copy=False).array


add_format("DataFrame", write_frame, read_frame, "pandas:DataFrame")
add_format("Series", write_series, read_series, "pandas:Series")
add_format("Index", write_labels, read_index, *map("pandas:{}".format, INDEX_KINDS))
add_format("Timestamp", write_moment, read_moment, "pandas:Timestamp")
add_format("Timedelta", write_duration, read_duration, "pandas:Timedelta")
add_format("Period", write_period, read_period, "pandas:Period")
add_format("Interval", write_interval, read_interval, "pandas:Interval")
add_format("missing", write_missing, read_missing, "pandas._libs.missing:NAType", "pandas._libs.tslibs.nattype:NaTType")
add_format("array", write_extension_array, read_extension_array, *map("pandas.arrays:{}".format, (
    "Categorical", "BooleanArray", "IntegerArray", "FloatingArray", "DatetimeArray", "TimedeltaArray", "PeriodArray",
    "IntervalArray", "SparseArray", "StringArray", "ArrowStringArray", "ArrowExtensionArray", "PandasArray",
    "NumpyExtensionArray")))  # fmt: skip
HINTS.update({
    "geopandas.GeoDataFrame": "copy {}.to_wkt()",
    "pandas.DataFrame": "copy pandas.DataFrame({})",
    "pandas.Series": "copy pandas.Series({})",
})  # fmt: skip
