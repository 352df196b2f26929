# Formats for polars, through Arrow. It runs behind codec_arrow.py, in the same namespace.

PLAIN_POLARS = frozenset((
    "Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64",
    "String", "Utf8", "Binary", "Date", "Time", "Datetime", "Duration", "Decimal", "Null", "Categorical", "List",
    "Array", "Struct",
))  # fmt: skip
# Types that no Series is written as: polars panics of some, and prints that; older ones take offsets of 32 bits for 64.
NO_POLARS = ("INTERVAL_MONTH_DAY_NANO", "DECIMAL256", "SPARSE_UNION", "DENSE_UNION", "LIST", "MAP", "STRING",
             "BINARY")  # fmt: skip


def polars_here():
    """Return polars."""
    try:
        return __import__("polars")
    except ImportError:
        raise Refused("needs polars, which the receiving side does not have", "install polars there")


def need_polars(writer):
    needs_there(writer, "polars", ", or copy {}.to_pandas()")
    need_arrow(writer)
    if "pyarrow" not in sys.modules:
        arrow_here()


def write_polars_column(writer, value):
    """Return a Series as JSON: its name, its type in Arrow, its rows, and the categories of an Enum."""
    polars = sys.modules["polars"]
    kind = value.dtype
    enum = kind.categories.to_list() if type(kind).__name__ == "Enum" else None
    if enum is None and not types_of_polars(polars, kind) <= PLAIN_POLARS:
        raise Refused("has the dtype %s, which cannot be copied" % kind, "cast it to another dtype")
    plain = value if enum is None else value.cast(polars.String)
    array = arrow_of_polars(polars, plain)
    back = series_of_arrow(polars, sys.modules["pyarrow"], array[:0])
    if enum is None and back.dtype != kind:
        raise Refused("has the dtype %s, which Arrow does not keep" % kind, "cast it to another dtype")
    chunks = array.chunks if hasattr(array, "chunks") else [array]
    return [writer.write(value.name), write_type(writer, array.type), [write_arrow(writer, one) for one in chunks],
            None if enum is None else writer.write(enum)]  # fmt: skip


def types_of_polars(polars, kind):
    """Return the names of a dtype and of all that are within it."""
    names = {type(kind).__name__ if isinstance(kind, polars.DataType) else kind.__name__}
    inner = [kind.inner] if getattr(kind, "inner", None) is not None else []
    for one in inner + [field.dtype for field in getattr(kind, "fields", None) or ()]:
        names |= types_of_polars(polars, one)
    return names


def arrow_of_polars(polars, value):
    """Return a Series as an array of Arrow's, of types that every pyarrow knows."""
    if hasattr(polars, "CompatLevel"):
        return value.to_arrow(compat_level=polars.CompatLevel.oldest())
    return value.to_arrow()


def series_of_arrow(polars, pyarrow, array):
    """Return an array of Arrow's as a Series.

    It goes in a table: of a list by itself, polars 1 takes what is in it for its own layout of texts and structs, and
    reads other memory.
    """
    return without_panic(polars.from_arrow, pyarrow.table({"": array})).to_series(0)


def read_polars_column(reader, name, part, chunks, enum):
    polars, pyarrow = polars_here(), arrow_here()
    kind = read_type(reader, part)
    check_polars_type(pyarrow, kind)
    array = read_chunks(reader, pyarrow, kind, chunks)
    found = series_of_arrow(polars, pyarrow, array)
    if enum is not None:
        categories = reader.read(enum)
        if found.dtype != polars.String or type(categories) is not list:
            raise Refused(UNLIKE)
        found = without_panic(found.cast, polars.Enum(categories))
    return found.alias(reader.text(reader.read(name)))


def check_polars_type(pyarrow, kind):
    """Refuse types of Arrow's that no Series is written as."""
    if kind.id in [getattr(pyarrow.lib, "Type_" + name) for name in NO_POLARS]:
        raise Refused(UNLIKE)
    for inner in types_within(pyarrow, kind):
        check_polars_type(pyarrow, inner)


def without_panic(convert, value):
    """Return what polars makes of a value. What its Rust raises is no `Exception`."""
    try:
        return convert(value)
    except BaseException as problem:
        if type(problem).__name__ == "PanicException":
            raise Refused("is not what it says it is (polars)")
        raise


def write_polars_series(writer, value):
    need_polars(writer)
    return write_polars_column(writer, value)


def write_polars_frame(writer, value):
    need_polars(writer)
    columns = []
    for column in value.get_columns():
        try:
            columns.append(write_polars_column(writer, column))
        except Refused as problem:
            raise problem.within(": column %s" % short(column.name))
    if not columns and value.height:
        raise Refused("has rows and no columns, and cannot be copied", "copy {}.height")
    return [columns]


def read_polars_frame(reader, columns):
    polars = polars_here()
    return without_panic(polars.DataFrame, [read_polars_column(reader, *column) for column in columns])


add_format("polars.Series", write_polars_series, read_polars_column, "polars:Series")
add_format("polars.DataFrame", write_polars_frame, read_polars_frame, "polars:DataFrame")
