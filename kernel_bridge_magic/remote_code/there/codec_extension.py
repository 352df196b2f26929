# Columns of pandas' extension dtypes. It runs behind codec_columns.py, in the same namespace.


def write_masked(writer, pandas, dtype, values):
    mask = values._mask
    return ["masked", write_array(writer, values._data, "biuf"), write_array(writer, mask, "b") if mask.any() else None]


def read_masked(reader, pandas, data, mask):
    numpy, data = __import__("numpy"), array_of(reader, data, "biuf")
    mask = numpy.zeros(len(data), bool) if mask is None else array_of(reader, mask, "b")
    kind = {"b": "BooleanArray", "f": "FloatingArray"}.get(data.dtype.kind, "IntegerArray")
    return getattr(pandas.arrays, kind)(data, mask)


def write_zoned(writer, pandas, dtype, values):
    moments = values.asi8.view("M8[%s]" % dtype.unit)
    return ["zoned", write_array(writer, moments, "M"), write_tz(writer, dtype.tz)]


def read_zoned(reader, pandas, moments, zone):
    moments, zone = array_of(reader, moments, "M"), read_tz(reader, zone)
    expect(zone is not None)
    return pandas.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone).array


def write_periods(writer, pandas, dtype, values):
    freq = translated(pandas, str(dtype)[7:-1], OLDER_PERIODS, True)
    return ["periods", write_array(writer, values.asi8, "i"), freq]


def read_periods(reader, pandas, numbers, freq):
    freq = translated(pandas, reader.text(freq), OLDER_PERIODS, False)
    numbers = array_of(reader, numbers, "i")
    expect(numbers.dtype.itemsize == 8)
    return pandas.arrays.PeriodArray(numbers, dtype=pandas.PeriodDtype(freq))


def write_intervals(writer, pandas, dtype, values):
    return [
        "intervals",
        values.closed,
        write_column(writer, values.left.array),
        write_column(writer, values.right.array),
    ]


def read_intervals(reader, pandas, closed, left, right):
    expect(closed in ("left", "right", "both", "neither"))
    left, right = read_column(reader, left), read_column(reader, right)
    expect(left.dtype == right.dtype)
    return pandas.arrays.IntervalArray.from_arrays(left, right, closed)


def write_categories(writer, pandas, dtype, values):
    codes, categories = write_array(writer, values.codes, "i"), write_index(writer, dtype.categories)
    return ["categories", codes, categories, dtype.ordered is True]


def read_categories(reader, pandas, codes, categories, ordered):
    codes, categories = array_of(reader, codes, "i"), read_index(reader, categories)
    expect(type(ordered) is bool)
    return pandas.Categorical.from_codes(codes, dtype=pandas.CategoricalDtype(categories, ordered))


def write_sparse(writer, pandas, dtype, values):
    if dtype.subtype.kind == "O":
        raise Refused("has the dtype %s, which cannot be copied" % dtype, "copy it with .sparse.to_dense()")
    numbers = values.sp_index.to_int_index().indices
    return ["sparse", values.kind, len(values), write_array(writer, numbers, "i"),
            write_array(writer, values.sp_values, PLAIN), writer.write(values.fill_value)]  # fmt: skip


def read_sparse(reader, pandas, kind, length, numbers, values, fill):
    expect(kind in ("integer", "block"))
    # Much of what users do with it makes it dense.
    numbers, values, fill = array_of(reader, numbers, "i"), array_of(reader, values, PLAIN), reader.read(fill)
    reader.spend(reader.whole(length, 0, 2**31 - 1) * values.dtype.itemsize)
    expect(numbers.dtype.itemsize == 4 and len(numbers) == len(values))
    # pandas writes to where they say, and does not look.
    expect(not len(numbers) or (numbers[0] >= 0 and numbers[-1] < length and (numbers[1:] > numbers[:-1]).all()))
    dtype = pandas.SparseDtype(values.dtype, fill)
    if hasattr(pandas.arrays.SparseArray, "from_indices"):
        return pandas.arrays.SparseArray.from_indices(values, numbers, length, fill, kind, values.dtype)
    index = sys.modules["pandas.core.arrays.sparse.array"].make_sparse_index(length, numbers, kind)
    return pandas.arrays.SparseArray(values, sparse_index=index, fill_value=fill, dtype=dtype)


def write_arrow_column(writer, pandas, dtype, values):
    need_arrow(writer, ", or convert the column with astype")
    chunks = values.__arrow_array__()
    return ["arrow", write_type(writer, chunks.type), write_chunks(writer, chunks)]


def read_arrow_column(reader, pandas, kind, chunks):
    pyarrow = arrow_here()
    return pandas.arrays.ArrowExtensionArray(read_chunks(reader, pyarrow, read_type(reader, kind), chunks))


COLUMN_WRITERS = {
    "StringDtype": write_string, "CategoricalDtype": write_categories, "DatetimeTZDtype": write_zoned,
    "PeriodDtype": write_periods, "IntervalDtype": write_intervals, "SparseDtype": write_sparse,
    "ArrowDtype": write_arrow_column, "BooleanDtype": write_masked,
}  # fmt: skip
for _bits in ("8", "16", "32", "64"):
    COLUMN_WRITERS.update({"Int%sDtype" % _bits: write_masked, "UInt%sDtype" % _bits: write_masked,
                           "Float%sDtype" % _bits: write_masked})  # fmt: skip
COLUMNS.update({
    "plain": read_plain, "objects": read_objects, "texts": read_texts, "string": read_string,
    "categories": read_categories, "zoned": read_zoned, "periods": read_periods, "intervals": read_intervals,
    "sparse": read_sparse, "arrow": read_arrow_column, "masked": read_masked,
})  # fmt: skip
