# The columns of pandas' tables: their arrays, by dtype. It runs behind codec_polars.py, in the same namespace.
#
# Each column goes by itself: as numpy's arrays, as Arrow's where its dtype is Arrow's, or cell by cell. pandas is told
# no dtype in words that came: it is built of parts, each of which was checked.

PLAIN = "biufcMm"  # kinds of dtypes
COLUMNS = {}  # functions that read a column, by the first word of its JSON
MISSING = ("", "None", "nan", "NA", "NaT")  # what a cell of texts may be instead, by its mark
# Names of frequencies, in pandas 2.2 or newer, and before.
OLDER = {"ME": "M", "QE": "Q", "YE": "A", "BME": "BM", "BQE": "BQ", "BYE": "BA", "CBME": "CBM", "SME": "SM",
         "YS": "AS", "BYS": "BAS", "h": "H", "min": "T", "s": "S", "ms": "L", "us": "U", "ns": "N", "bh": "BH",
         "cbh": "CBH"}  # fmt: skip
OLDER_PERIODS = {name: OLDER[name] for name in ("h", "min", "s", "ms", "us", "ns")}
OLDER_PERIODS["Y"] = "A"
FREQUENCY = re.compile(r"(-?[0-9]{0,9})([A-Za-z]{1,5})((?:-[A-Z0-9]{1,5})?)")


def pandas_here():
    """Return pandas."""
    try:
        return __import__("pandas")
    except ImportError:
        raise Refused("needs pandas, which the receiving side does not have", "install pandas there")


def expect(fact):
    if not fact:
        raise Refused(UNLIKE)


# -- frequencies and time zones


def translated(pandas, text, names, is_newer):
    """Return a frequency in the words of this pandas, or, with `is_newer`, in those of newer ones."""
    found = FREQUENCY.fullmatch(text)
    if not found:
        raise Refused("has the frequency %s, which cannot be copied" % short(text), "set its freq to None")
    if parts_of_version(pandas.__version__) >= (2, 2):
        return text
    names = {older: newer for newer, older in names.items()} if is_newer else names
    return found.group(1) + names.get(found.group(2), found.group(2)) + found.group(3)


def write_freq(pandas, freq):
    """Return the frequency of an index in words, or None."""
    if freq is None:
        return None
    text = translated(pandas, freq.freqstr, OLDER, True)
    if offset_of(pandas, freq.freqstr) != freq:
        raise Refused("has the frequency %s, which cannot be copied" % short(str(freq)), "set its freq to None")
    return text


def read_freq(reader, pandas, text):
    """Return the frequency of an index."""
    found = offset_of(pandas, translated(pandas, reader.text(text), OLDER, False))
    if found is None:
        raise Refused("has the frequency %s, which pandas on the receiving side does not know" % short(text),
                      "set its freq to None")  # fmt: skip
    return found


def offset_of(pandas, text):
    """Return the frequency of that name; None where this pandas knows none: it does not read all that it writes."""
    try:
        return pandas.tseries.frequencies.to_offset(text)
    except ValueError:
        return None


def write_tz(writer, zone):
    """Return the time zone of a column or a Timestamp as JSON."""
    kind = "" if zone is None else type(zone).__module__.partition(".")[0]
    if kind in ("zoneinfo", "pytz"):
        name = zone.key if kind == "zoneinfo" else getattr(zone, "zone", None)
        if name:
            return [kind, name]
    if zone is None or type(zone) is datetime.timezone:
        return writer.write(zone)
    raise Refused("has a time zone of the type %s, which cannot be copied" % name_of(type(zone)),
                  "use tz_convert with the name of a time zone")  # fmt: skip


def read_tz(reader, node):
    """Return a time zone. Where its library is not installed, it is one of that name that pandas uses there."""
    if type(node) is not list or node[0] not in ("zoneinfo", "pytz"):
        return zone_of(reader, node)
    kind, name = node
    expect(re.fullmatch(r"[A-Za-z0-9_+\-]{1,40}(/[A-Za-z0-9_+\-]{1,40}){0,3}", reader.text(name)))
    try:
        library = __import__(kind)
    except ImportError:
        library = None
    try:
        if library is None:
            return pandas_here().DatetimeTZDtype("ns", name).tz
        return library.timezone(name) if kind == "pytz" else library.ZoneInfo(name)
    except Exception:  # several types of errors, by library
        raise Refused("has the time zone %s, which is not known on the receiving side" % short(name),
                      "install tzdata there")  # fmt: skip


# -- columns by dtype


def write_column(writer, values):
    """Return an array of pandas' as JSON.

    Raises:
        Refused: it has a dtype that is not copied.
    """
    pandas, dtype = sys.modules["pandas"], values.dtype
    kind = type(dtype).__name__
    if kind in ("NumpyEADtype", "PandasDtype"):  # what pandas puts around numpy's, by version
        return write_plain(writer, dtype.numpy_dtype, values.__array__())  # older `to_numpy` fails for some dtypes
    if isinstance(dtype, sys.modules["numpy"].dtype):
        return write_plain(writer, dtype, values)
    is_pandas = type(dtype).__module__.partition(".")[0] == "pandas"
    write = COLUMN_WRITERS.get(kind) if is_pandas else None
    if write is None:
        raise Refused("has the dtype %s, which cannot be copied" % short(str(dtype)),
                      "convert it with astype, or leave it out")  # fmt: skip
    return write(writer, pandas, dtype, values)


def read_column(reader, node):
    """Return an array of pandas' or numpy's."""
    expect(type(node) is list and node and type(node[0]) is str)
    return COLUMNS[node[0]](reader, pandas_here(), *node[1:])


def write_plain(writer, dtype, values):
    """Return a column of numpy's dtypes as JSON."""
    numpy = sys.modules["numpy"]
    array = numpy.asarray(values)
    if dtype.kind == "O":
        return write_objects(writer, array)
    check_array(array, PLAIN)
    if array.flags.c_contiguous or array.nbytes <= 65536:
        return ["plain", writer.write(array)]
    # A column of a matrix: it is copied when it is sent, and not all of them at once before.
    words = describe_dtype(writer, array.dtype)
    return ["plain", ["ndarray", words, [len(array)], "C", writer.add(Strided(array))]]


class Strided(object):
    """A buffer of an array that lies in memory with gaps."""

    def __init__(self, array):
        self.array = array
        self.size = array.nbytes

    def write_to(self, file):
        numpy = sys.modules["numpy"]
        for start in range(0, len(self.array), 2**17):
            file.write(bytes_of_array(numpy.ascontiguousarray(self.array[start : start + 2**17])))


def is_in_columns(array, kinds):
    """Return whether a column may have such an array, of dtypes of these kinds."""
    dtype = array.dtype
    # What pandas does with bytes in the other order fails in many places. Of multiples of a unit, and of units that it
    # does not know, it divides by zero.
    is_unit = dtype.kind not in "mM" or dtype.str[3:] in ("[s]", "[ms]", "[us]", "[ns]")
    return array.ndim == 1 and dtype.kind in kinds and dtype.isnative and is_unit


def check_array(array, kinds):
    """Refuse an array that the other side would not read."""
    if is_in_columns(array, kinds):
        return
    dtype = array.dtype
    if array.ndim != 1:
        raise Refused("has %d dimensions, and cannot be copied" % array.ndim, "copy {}.to_numpy()")
    remedy = "convert it with astype, or leave it out"
    if dtype.kind in kinds and not dtype.isnative:
        remedy = "convert it with astype(%r)" % dtype.newbyteorder("=").str[1:]
    raise Refused("has the dtype %s, which cannot be copied" % (dtype if dtype.isnative else dtype.str), remedy)


def write_array(writer, array, kinds):
    """Return the node of a part of a column."""
    check_array(array, kinds)
    return writer.write(array)


def array_of(reader, node, kinds):
    """Return a one-dimensional array of numpy's, of dtypes of these kinds."""
    expect(type(node) is list and node and node[0] == "ndarray")
    found = reader.read(node)
    expect(is_in_columns(found, kinds))
    return found


def read_plain(reader, pandas, node):
    return array_of(reader, node, PLAIN)


def write_objects(writer, array):
    """Return the cells of an object column: texts in one buffer, others one by one."""
    numpy, pandas = sys.modules["numpy"], sys.modules["pandas"]
    cells = array.tolist()
    kinds = set(map(type, cells))
    lacks = {type(None): 1, float: 2, type(pandas.NA): 3, type(pandas.NaT): 4}
    is_text = str in kinds and kinds <= {str, *lacks}
    if is_text and not (float in kinds and any(type(cell) is float and cell == cell for cell in cells)):
        return texts_of(writer, cells, lacks if len(kinds) > 1 else None)
    if numpy.ndarray in kinds and any(type(cell) is numpy.ndarray and not cell.ndim for cell in cells):
        raise Refused("holds an array without dimensions, which cannot be copied", "put a number there")
    return ["objects", write_items(writer, cells)]


def texts_of(writer, cells, lacks):
    marks = None
    if lacks:
        marks = sys.modules["numpy"].array([lacks.get(type(cell), 0) for cell in cells], "u1")
        cells = [cell if type(cell) is str else "" for cell in cells]
    is_default = default_of_texts(sys.modules["pandas"]) is None and (marks is None or set(marks) <= {0, 2})
    return ["texts", is_default, write_items(writer, cells), None if marks is None else writer.write(marks)]


def objects_from(cells):
    found = __import__("numpy").empty(len(cells), object)
    for number, cell in enumerate(cells):
        found[number] = cell
    return found


def read_objects(reader, pandas, parts):
    cells = read_items(reader, *parts)
    reader.spend(8 * len(cells))
    return objects_from(cells)


def read_texts(reader, pandas, is_default, parts, marks):
    """Return texts as objects; as this side's own dtype for texts, if they were so there."""
    cells = texts_and_missing(reader, pandas, parts, marks)
    default = default_of_texts(pandas) if is_default is True else None
    return texts_in(reader, pandas, cells, default)


def texts_in(reader, pandas, cells, dtype):
    """Return texts in a dtype; as they are if it is None, or if Arrow holds them, which knows no half characters."""
    try:
        return cells if dtype is None else pandas.array(cells, dtype=dtype)
    except UnicodeEncodeError:
        reader.notes.append("texts with half of a surrogate pair arrive as objects")
        return cells


def default_of_texts(pandas):
    """Return the dtype that texts have here if nobody says another; None for plain objects."""
    dtype = pandas.Series(["a"]).dtype
    return None if isinstance(dtype, __import__("numpy").dtype) else dtype


def texts_and_missing(reader, pandas, parts, marks):
    found = read_objects(reader, pandas, parts)
    expect(set(map(type, found)) <= {str})
    if marks is not None:
        marks = array_of(reader, marks, "u")
        expect(marks.dtype.itemsize == 1 and len(marks) == len(found) and (marks < len(MISSING)).all())
        for mark, missing in enumerate((None, math.nan, pandas.NA, pandas.NaT), 1):
            found[marks == mark] = missing
    return found


# -- texts of pandas' own dtype


def write_string(writer, pandas, dtype, values):
    """Return a column of texts as JSON, and whether what is missing is NaN and not NA."""
    is_nan = dtype.na_value is not pandas.NA
    storage = "pyarrow" if dtype.storage.startswith("pyarrow") else "python"
    if storage == "pyarrow" and arrow_is_there(writer):
        array = values.__arrow_array__()
        chunks = array if hasattr(array, "chunks") else sys.modules["pyarrow"].chunked_array([array])
        return ["string", is_nan, storage, write_type(writer, chunks.type), write_chunks(writer, chunks)]
    cells = sys.modules["numpy"].asarray(values, dtype=object).tolist()
    lacks = {type(cell): 2 if is_nan else 3 for cell in cells if type(cell) is not str}
    numbers = sys.modules["numpy"].array([type(cell) is not str for cell in cells], bool) if lacks else None
    texts = [cell if type(cell) is str else "" for cell in cells]
    if storage == "pyarrow" and not is_nan:
        writer.notes.append("texts are held by Python there, where pyarrow is not installed")
    return ["string", is_nan, storage, write_items(writer, texts), None if numbers is None else writer.write(numbers)]


def read_string(reader, pandas, is_nan, storage, one, other):
    """Return a column of texts: of the dtype it had, or of this side's own for texts if that was so there."""
    expect(type(is_nan) is bool and storage in ("pyarrow", "python"))
    missing = math.nan if is_nan else pandas.NA
    # Without a pyarrow that pandas takes, it holds them by itself.
    if storage == "pyarrow":
        try:
            pandas.StringDtype("pyarrow")
        except ImportError:
            storage = "python"
    dtype = default_of_texts(pandas) if is_nan else pandas.StringDtype(storage)
    if type(one) is str or type(one) is int:
        pyarrow = arrow_here()
        kind = read_type(reader, one)
        expect(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))
        chunks = read_chunks(reader, pyarrow, kind, other)
        if dtype is not None and dtype.storage.startswith("pyarrow"):
            reader.spend(2 * chunks.nbytes)
            if parts_of_version(pandas.__version__) < (2, 2):
                chunks = chunks.cast(pyarrow.string())
            return dtype.__from_arrow__(chunks)
        reader.spend(NODE * len(chunks) + 4 * chunks.nbytes)
        cells, lacks = objects_from(chunks.to_pylist()), chunks.is_null().to_numpy()
    else:
        cells = read_objects(reader, pandas, one)
        expect(set(map(type, cells)) <= {str})
        lacks = None if other is None else array_of(reader, other, "b")
    if lacks is not None:
        expect(len(lacks) == len(cells))
        cells[lacks] = missing
    return texts_in(reader, pandas, cells, dtype)
