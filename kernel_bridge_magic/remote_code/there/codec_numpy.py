# Formats for numpy. It runs behind codec.py, in the same namespace.
#
# An array is its dtype in words, its shape, its order in memory, and its bytes. The dtype is built from a list of what
# is allowed, never by numpy from a text of the other side's. An array arrives writable, and owns its memory.

DTYPE = re.compile(r"[<>|][biufcSUVMm][0-9]{0,9}(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")
OTHER_NAMES = "qQlLiIgG"  # types of C that have the size of another one: they are equal, but have scalars of their own
NO_OBJECTS = "copy {}.tolist()"
HINTS.update({
    "numpy.MaskedArray": "copy {}.filled() and its mask",
    "numpy.ndarray": "copy numpy.asarray({})",
    "numpy.dtype": "copy {}.str",
})  # fmt: skip


def numpy_here(reader):
    """Return numpy."""
    try:
        return __import__("numpy")
    except ImportError:
        raise Refused("needs numpy, which the receiving side does not have", "install numpy there, or copy {}.tolist()")


def needs_there(writer, library, remedy=""):
    """Refuse what the other side cannot read without a library."""
    if library not in writer.has:
        raise Refused("needs %s on the other side" % library, "install %s there%s" % (library, remedy), is_final=True)


# -- dtypes


def describe_dtype(writer, dtype, remedy=NO_OBJECTS):
    """Return a dtype in words, as JSON.

    Raises:
        Refused: another dtype would be built from them. `remedy` says what to do.
    """
    words = words_of_dtype(writer, dtype, remedy, 0)
    try:
        is_same = same_dtype(build_dtype(Reader([], sys.maxsize), words, 0), dtype)
    except Exception:  # whatever numpy says of words that are none of its own
        is_same = False
    if not is_same:
        raise Refused("has the dtype %s, which cannot be copied" % short_dtype(dtype), remedy)
    return words


def words_of_dtype(writer, dtype, remedy, depth):
    if dtype.hasobject or dtype.kind not in "biufcSUVMm":
        raise Refused("has the dtype %s, which cannot be copied" % short_dtype(dtype), remedy)
    if dtype.metadata or depth > DEPTH:
        raise Refused("has a dtype with metadata, which cannot be copied",
                      "copy {}.astype(...) with a plain dtype" if remedy == NO_OBJECTS else remedy)  # fmt: skip
    if dtype.subdtype:
        base, shape = dtype.subdtype
        return ["array", words_of_dtype(writer, base, remedy, depth + 1), list(shape)]
    if dtype.names is None:
        writer.spend(NODE)
        plain = sys.modules["numpy"].dtype(dtype.str)
        is_long = dtype.kind in "fc" and dtype.char in "gG"
        if is_long:  # its bytes mean what this processor makes of them
            return ["long", dtype.char, dtype.str, sys.modules["numpy"].finfo(dtype).nmant]
        return dtype.str if plain.char == dtype.char else ["char", dtype.char, dtype.str]
    fields, formats, offsets = [dtype.fields[name] for name in dtype.names], [], []
    for name, field in zip(dtype.names, fields):
        if len(field) > 2:
            raise Refused("has a dtype with titles, which cannot be copied", "copy it without the titles")
        formats.append(words_of_dtype(writer, field[0], remedy, depth + 1))
        offsets.append(field[1])
    names = [writer.write(name) for name in dtype.names]
    kind = {"void": "fields", "record": "record"}.get(dtype.type.__name__, "other")
    return [kind, names, formats, offsets, dtype.itemsize, dtype.isalignedstruct]


def build_dtype(reader, words, depth):
    """Return the dtype that is described, built from what is allowed."""
    numpy = numpy_here(reader)
    if type(words) is str:
        return plain_dtype(numpy, words)
    if depth > DEPTH or type(words) is not list:
        raise Refused(UNLIKE)
    kind, *parts = words
    if kind in ("char", "long"):
        return dtype_of_c(reader, numpy, *parts)
    if kind == "array":
        base, shape = parts
        shape = tuple(reader.whole(size, 0, 2**31 - 1) for size in shape)
        return numpy.dtype((build_dtype(reader, base, depth + 1), shape))
    names, formats, offsets, size, is_aligned = parts
    fields = {
        "names": [reader.text(reader.read(name)) for name in names],
        "formats": [build_dtype(reader, field, depth + 1) for field in formats],
        "offsets": [reader.whole(offset, 0, 2**31 - 1) for offset in offsets],
        "itemsize": reader.whole(size, 0, 2**31 - 1),
    }
    dtype = numpy.dtype(fields, align=is_aligned is True)
    return {"fields": dtype, "record": numpy.dtype((numpy.record, dtype))}[kind]


def plain_dtype(numpy, text):
    if not DTYPE.fullmatch(text):
        raise Refused("has a dtype that is not known here")
    return numpy.dtype(text)


def dtype_of_c(reader, numpy, char, text, digits=None):
    """Return a dtype by its name in C, in the byte order of `text`; of integers, one of that size will do."""
    if type(char) is not str or len(char) != 1 or char not in OTHER_NAMES:
        raise Refused("has a dtype that is not known here")
    dtype = numpy.dtype(char).newbyteorder(">" if text[:1] == ">" else "<")
    is_long = char in "gG"
    if is_long is not (digits is not None) or (is_long and (dtype.str, numpy.finfo(dtype).nmant) != (text, digits)):
        raise Refused("has the dtype longdouble, which is another one on the receiving side",
                      "copy {}.astype(float) or {}.astype(complex)")  # fmt: skip
    return dtype if dtype.str == text else plain_dtype(numpy, text)


def same_dtype(one, other):
    """Return whether two dtypes mean the same bytes and give scalars of the same type."""
    if one != other or one.type is not other.type or one.char != other.char or one.flags != other.flags:
        return False
    if one.names is not None:
        return all(same_dtype(one.fields[name][0], other.fields[name][0]) for name in one.names)
    return one.subdtype is None or same_dtype(one.subdtype[0], other.subdtype[0])


def short_dtype(dtype):
    text = str(dtype)
    return text if len(text) <= 60 else text[:59] + "…"


# -- arrays


def write_ndarray(writer, value):
    """Return the parts of an array. Memory that has no gaps is not copied here."""
    needs_there(writer, "numpy", ", or copy {}.tolist()")
    words = describe_dtype(writer, value.dtype)
    writer.spend(extra_of_array(value.dtype, value.shape))
    writer.check(value.nbytes)
    order = "C" if value.flags.c_contiguous else "F" if value.flags.f_contiguous else ""
    whole = value if order and not has_gaps(value.dtype) else filled_copy(value, order or "C")
    return [words, list(value.shape), order or "C", *write_bytes(writer, bytes_of_array(whole))]


def has_gaps(dtype):
    """Return whether a dtype has bytes that are none of a value: they may be of what was in that memory before."""
    if dtype.subdtype:
        return has_gaps(dtype.subdtype[0])
    if dtype.names is None:
        return dtype.kind in "fc" and dtype.char in "gG"
    end = 0
    for field in sorted(dtype.fields.values(), key=lambda field: field[1]):  # they may lie one above the other
        if field[1] > end or has_gaps(field[0]):
            return True
        end = max(end, field[1] + field[0].itemsize)
    return end != dtype.itemsize


def filled_copy(value, order):
    """Return a copy without gaps in memory, and with zeros in those between fields."""
    if not has_gaps(value.dtype):
        return value.copy(order)
    found = sys.modules["numpy"].zeros(value.shape, value.dtype, order)
    fill(found, value)
    return found


def fill(found, value):
    """Copy values field by field: numpy may copy what is between them as well."""
    if value.dtype.names is not None:
        for name in value.dtype.names:
            fill(found[name], value[name])
    else:
        found[...] = value
        if value.dtype.char in "gG":
            clear_padding(found)


def clear_padding(value):
    """Put zeros behind the ten bytes that a processor of Intel's uses of each longdouble."""
    numpy, dtype = sys.modules["numpy"], value.dtype
    size = dtype.itemsize // (2 if dtype.char == "G" else 1)
    if numpy.finfo(dtype).nmant != 63 or size <= 10:
        return
    starts = range(0, dtype.itemsize, size)
    padding = numpy.dtype({
        "names": ["p%d" % start for start in starts], "formats": ["V%d" % (size - 10)] * len(starts),
        # Big-endian ones have it in front.
        "offsets": [start + (0 if dtype.byteorder == ">" else 10) for start in starts], "itemsize": dtype.itemsize,
    })  # fmt: skip
    view = value.view(padding)
    for name in padding.names:
        view[name] = numpy.zeros((), padding[name])


def extra_of_array(dtype, shape):
    """Return what an array is counted for beyond its bytes: rows without any, and fields above others, take time."""
    count = math.prod(shape)
    if not count * dtype.itemsize:
        return dtype.itemsize + math.prod(filter(None, shape))
    return max(0, size_of_fields(dtype) - dtype.itemsize) * count


def size_of_fields(dtype):
    """Return how many bytes the fields of a dtype have together."""
    if dtype.subdtype:
        return size_of_fields(dtype.subdtype[0]) * math.prod(dtype.subdtype[1])
    if dtype.names is None:
        return dtype.itemsize
    return sum(size_of_fields(dtype.fields[name][0]) for name in dtype.names)


def bytes_of_array(value):
    """Return the memory of an array without gaps, in its order, as bytes."""
    return memoryview(flat_array(sys.modules["numpy"], value)) if value.nbytes else memoryview(b"")


def read_ndarray(reader, words, shape, order, part):
    numpy = numpy_here(reader)
    dtype = build_dtype(reader, words, 0)
    shape = tuple(reader.whole(size) for size in shape)
    count = math.prod(shape)
    data = bytes_of(reader, part)
    size = len(data)
    if dtype.hasobject or dtype.subdtype or order not in ("C", "F") or count * dtype.itemsize != size:
        raise Refused(UNLIKE)
    reader.spend(extra_of_array(dtype, shape))
    keeps = reader.may_keep(data) if size else False
    found = numpy.ndarray(shape, dtype, data if keeps else None, order=order)
    if found.dtype != dtype or found.nbytes != size:
        raise Refused("has a dtype that the numpy of the receiving side does not keep", "install another numpy there")
    if size:
        if not keeps:
            flat_array(numpy, found)[...] = numpy.frombuffer(data, numpy.uint8)
        check_items(numpy, found, dtype)
    return found


def flat_array(numpy, value):
    """Return the memory of an array without gaps, in its order, as an array of bytes."""
    line = value if value.flags.c_contiguous else value.T
    return line.reshape(-1).view(numpy.uint8)


def check_items(numpy, value, dtype):
    """Refuse bytes that are none of a type's values, where numpy or Python would trust them.

    numpy counts the truths of a mask in one way and collects them in another: a bool of 2 makes it write out of
    bounds. A text of numpy's has code points of Unicode.
    """
    if dtype.names is not None:
        for name in dtype.names:
            check_items(numpy, value[name], value[name].dtype)
    elif dtype.kind == "b" and value.size and value.view(numpy.uint8).max() > 1:
        raise Refused(UNLIKE)
    elif dtype.kind == "U" and value.nbytes:
        whole = value if value.flags.forc else value.copy("C")
        if flat_array(numpy, whole).view(dtype.byteorder + "u4").max() > 0x10FFFF:
            raise Refused(UNLIKE)


# -- scalars, dtypes


def write_scalar(writer, value):
    needs_there(writer, "numpy", ", or copy {}.item()")
    array_of_it = sys.modules["numpy"].array(value)
    words = describe_dtype(writer, array_of_it.dtype, "copy {}.item()")
    if has_gaps(array_of_it.dtype):
        array_of_it = filled_copy(array_of_it, "C")
    return [words, *write_bytes(writer, bytes_of_array(array_of_it))]


def read_scalar(reader, words, part):
    return read_ndarray(reader, words, [], "C", part)[()]


def write_numpy_str(writer, value):
    needs_there(writer, "numpy", ", or copy str({})")
    return [writer.write(str.__str__(value))]


def write_numpy_bytes(writer, value):
    needs_there(writer, "numpy", ", or copy bytes({})")
    return [writer.write(bytes(value))]


def read_numpy_str(reader, text):
    return numpy_here(reader).str_(reader.text(reader.read(text)))


def read_numpy_bytes(reader, node):
    data = reader.read(node)
    if type(data) is not bytes:
        raise Refused(UNLIKE)
    return numpy_here(reader).bytes_(data)


def write_dtype(writer, value):
    needs_there(writer, "numpy", ", or copy {}.str")
    return [describe_dtype(writer, value, "copy str({})")]


def read_dtype(reader, words):
    return build_dtype(reader, words, 0)


add_format("ndarray", write_ndarray, read_ndarray, "numpy:ndarray")
# What numpy 1 and 2 call them, on every platform.
add_format("numpy", write_scalar, read_scalar, *map("numpy:{}".format, (
    "bool_", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "intc", "uintc", "int_",
    "uint", "longlong", "ulonglong", "float16", "float32", "float64", "float96", "float128", "longdouble", "complex64",
    "complex128", "complex192", "complex256", "clongdouble", "datetime64", "timedelta64", "void", "record",
)))  # fmt: skip
add_format("numpy.str", write_numpy_str, read_numpy_str, "numpy:str_")
add_format("numpy.bytes", write_numpy_bytes, read_numpy_bytes, "numpy:bytes_")
add_format("dtype", write_dtype, read_dtype, *map("numpy.dtypes:{}DType".format, (
    "Bool", "Byte", "Bytes", "CLongDouble", "Complex128", "Complex64", "DateTime64", "Float16", "Float32", "Float64",
    "Int16", "Int32", "Int64", "Int8", "Int", "Long", "LongDouble", "LongLong", "Short", "Str", "TimeDelta64", "UByte",
    "UInt16", "UInt32", "UInt64", "UInt8", "UInt", "ULong", "ULongLong", "UShort", "Void")))  # fmt: skip
